//! When an e-mail is due, and what is in it. Each looks at the state when it is sent, which may be late: what is no longer true
//! is not sent.

use diwan_proto::identity::v1::UserState;
use diwan_store::Database;
use uuid::Uuid;

use super::{Courier, confirmation, invitation, ownership};
use crate::{
    domain::Token,
    error::Error,
    store::{accounts, confirmations, invitations, offers, users},
};

impl Courier {
    /// Sends the invitation of a user, if it is still open. The token is made here and only its hash is stored: the mail is
    /// the one place that has it. The renewal is read before the address, so that a token of this renewal never goes to the
    /// address of an earlier one.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn invite(&self, database: &Database, account_id: Uuid, user_id: Uuid, id: Uuid) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let newest = invitations::newest(&mut connection, account_id, user_id).await?;
        let Some((round, expires_at)) = newest else { return Ok(()) };
        let Some(user) = users::find(&mut connection, account_id, user_id).await? else { return Ok(()) };
        if user.state != UserState::Invited || expires_at <= self.now() {
            return Ok(());
        }
        let account = accounts::get(&mut connection, account_id).await?;
        let token = Token::new(account_id, user_id);
        if !invitations::add_token(&mut connection, &token, round).await? {
            return Ok(());
        }
        drop(connection);
        let letter = invitation::text(&account, &user, &self.link("invitations", &token), expires_at);
        self.deliver(&user, letter, id).await
    }

    /// Sends the owner the link that confirms his address, if it is not confirmed.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn ask_to_confirm(&self, database: &Database, account_id: Uuid, id: Uuid) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let Some(newest) = confirmations::newest(&mut connection, account_id).await? else { return Ok(()) };
        let account = accounts::get(&mut connection, account_id).await?;
        let Some(user) = users::find(&mut connection, account_id, newest.user_id).await? else { return Ok(()) };
        let token = Token::new(account_id, user.id);
        let is_due = !account.email_confirmed && newest.expires_at > self.now();
        if !is_due || !confirmations::add_token(&mut connection, &token, newest.round).await? {
            return Ok(());
        }
        drop(connection);
        let letter = confirmation::text(&account, &user, &self.link("confirm-email", &token), newest.expires_at);
        self.deliver(&user, letter, id).await
    }

    /// Tells an admin that the ownership is offered to him, if it still is.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn offer_ownership(
        &self,
        database: &Database,
        account_id: Uuid,
        user_id: Uuid,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let offer = offers::find(&mut connection, account_id, self.now()).await?;
        let Some(offer) = offer.filter(|offer| offer.user_id == user_id) else { return Ok(()) };
        let owner = users::find(&mut connection, account_id, offer.owner_id).await?;
        let admin = users::find(&mut connection, account_id, user_id).await?;
        let Some((owner, admin)) = owner.zip(admin) else { return Ok(()) };
        let account = accounts::get(&mut connection, account_id).await?;
        drop(connection);
        self.deliver(&admin, ownership::text(&account, &owner, &admin, offer.expires_at), id).await
    }
}
