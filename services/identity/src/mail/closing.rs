//! Tells the owner how far the closing of his account is, and that the export of it is ready.

use diwan_proto::identity::v1::AccountState;
use diwan_store::Database;
use uuid::Uuid;

use super::{Courier, letters};
use crate::{
    error::Error,
    store::{accounts, closings, exports, jobs::Stage, users},
};

impl Courier {
    /// Tells the owner of an account of the stage that its closing is in, if it still is.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn tell_of_closing(
        &self,
        database: &Database,
        account_id: Uuid,
        stage: Stage,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let account = accounts::get(&mut connection, account_id).await?;
        let due = match stage {
            Stage::Begun | Stage::Soon => account.closes_at,
            Stage::Over => (account.state == AccountState::Closed).then(|| self.now()),
        };
        let Some(closes_at) = due else { return Ok(()) };
        let owner = closings::owner(&mut connection, account_id).await?;
        let Some(owner) = users::find(&mut connection, account_id, owner).await? else { return Ok(()) };
        drop(connection);
        self.deliver(&owner, letters::closing(&account, &owner, stage, closes_at), id).await
    }

    /// Tells the owner of an account that an export can be downloaded, if it still can.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn tell_of_export(
        &self,
        database: &Database,
        account_id: Uuid,
        export: Uuid,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let found = exports::find(&mut connection, account_id).await?.filter(|found| found.id == export);
        let Some(ready) = found.and_then(|found| found.ready) else { return Ok(()) };
        let account = accounts::get(&mut connection, account_id).await?;
        let owner = closings::owner(&mut connection, account_id).await?;
        let Some(owner) = users::find(&mut connection, account_id, owner).await? else { return Ok(()) };
        drop(connection);
        self.deliver(&owner, letters::export_ready(&account, &owner, ready.expires_at), id).await
    }
}
