//! When an e-mail is due, and what is in it. Each looks at the state when it is sent, which may be late: what is no longer true
//! is not sent.

use diwan_proto::identity::v1::UserState;
use diwan_store::Database;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Courier, letters};
use crate::{
    domain::Token,
    error::Error,
    store::{accounts, confirmations, invitations, offers, passwords, users},
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
        let letter = letters::invitation(&account, &user, &self.link("invitations", &token), expires_at);
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
        let letter =
            letters::email_confirmation(&account, &user, &self.link("confirm-email", &token), newest.expires_at);
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
        self.deliver(&admin, letters::ownership_offer(&account, &owner, &admin, offer.expires_at), id).await
    }

    /// Sends a link to choose a new password to whom the address belongs, if he may sign in. The token is made here and only
    /// its hash is stored: the mail is the one place that has it.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn reset_password(
        &self,
        database: &Database,
        email_key: &str,
        good_until: Timestamp,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let Some((account, user)) = accounts::find_email(&mut connection, email_key).await? else { return Ok(()) };
        let user = users::find(&mut connection, account, user).await?;
        let Some(user) = user.filter(|user| user.state == UserState::Active && good_until > self.now()) else {
            return Ok(());
        };
        let account = accounts::get(&mut connection, account).await?;
        let token = Token::new(account.id, user.id);
        passwords::add_reset(&mut connection, &token, good_until).await?;
        drop(connection);
        let letter = letters::password_reset(&account, &user, &self.link("password-resets", &token), good_until);
        self.deliver(&user, letter, id).await
    }
}
