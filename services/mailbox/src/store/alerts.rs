//! Whom to tell that a mailbox needs credentials: that is identity's to know; here it is kept whether it has been asked.

use diwan_store::{Error, span};
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// Notes that the mailbox's people are to be told, unless they have been since it was last in sync.
pub(crate) async fn raise(tx: &mut PgConnection, (account, mailbox): (Uuid, Uuid), id: Uuid) -> Result<(), Error> {
    let raised = sqlx::query!(
        "insert into credential_alerts (account_id, mailbox_id, id) values ($1, $2, $3) on conflict do nothing",
        account,
        mailbox,
        id,
    );
    raised.execute(tx).instrument(span("raise alert")).await?;
    Ok(())
}

/// The alert that identity has not been asked for, and the mailbox's address.
pub(crate) async fn untold(
    tx: &mut PgConnection,
    (account, mailbox): (Uuid, Uuid),
) -> Result<Option<(Uuid, String)>, Error> {
    let found = sqlx::query!(
        "select a.id, m.address from credential_alerts a
         join mailboxes m on m.account_id = a.account_id and m.id = a.mailbox_id
         where a.account_id = $1 and a.mailbox_id = $2 and not a.told",
        account,
        mailbox,
    );
    let found = found.fetch_optional(tx).instrument(span("find untold alert")).await?;
    Ok(found.map(|row| (row.id, row.address)))
}

/// Notes that identity has been asked.
pub(crate) async fn told(tx: &mut PgConnection, (account, mailbox): (Uuid, Uuid), id: Uuid) -> Result<(), Error> {
    let told = sqlx::query!(
        "update credential_alerts set told = true where account_id = $1 and mailbox_id = $2 and id = $3",
        account,
        mailbox,
        id,
    );
    told.execute(tx).instrument(span("note told")).await?;
    Ok(())
}
