//! Makes e-mails and hands them to an SMTP server, or to a folder where there is none.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use diwan_proto::identity::v1::UserState;
use diwan_runtime::Clock;
use diwan_store::Database;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp,
};
use tokio::{fs, io::AsyncWriteExt as _, time::timeout};
use uuid::Uuid;

use super::invitation;
use crate::{
    config::{Config, MailRoute},
    domain::{Account, Token, User},
    error::Error,
    store::{accounts, invitations, users},
};

/// The whole of a delivery. lettre's own timeout covers connecting only.
const LIMIT: Duration = Duration::from_secs(30);

/// An e-mail that could not be made or sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The address is none that an e-mail can go to.
    #[error("the address cannot be written to")]
    Address(#[source] lettre::address::AddressError),
    /// It could not be put together.
    #[error("the e-mail cannot be made")]
    Content(#[source] lettre::error::Error),
    /// The server refused it, or cannot be reached.
    #[error("the SMTP server did not take it")]
    Smtp(#[source] smtp::Error),
    /// The server took too long.
    #[error("the SMTP server took longer than {} s", LIMIT.as_secs())]
    Late,
    /// The folder cannot be written to.
    #[error("it cannot be written to the folder of e-mails")]
    Folder(#[source] io::Error),
}

/// Sends e-mails.
pub struct Courier {
    from: Mailbox,
    public_url: String,
    route: Route,
    clock: Arc<dyn Clock>,
}

enum Route {
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
    Folder(PathBuf),
}

impl Courier {
    /// By the settings.
    ///
    /// # Errors
    /// [`MailError::Smtp`]: the server's URL does not name one.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, MailError> {
        let route = match &config.mail {
            MailRoute::Smtp(url) => {
                Route::Smtp(AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(MailError::Smtp)?.build())
            }
            MailRoute::Folder(folder) => {
                tracing::info!(folder = %folder.display(), "no SMTP server is set: e-mails go to a folder");
                Route::Folder(folder.clone())
            }
        };
        Ok(Self { from: config.mail_from.clone(), public_url: config.public_url.clone(), route, clock })
    }

    /// Sends the invitation of a user, if it is still open. The token is made here and only its hash is stored: the mail is
    /// the one place that has it. `id` becomes the Message-ID, so that a second try does not look like a second mail.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn invite(&self, database: &Database, account_id: Uuid, user_id: Uuid, id: Uuid) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let Some(user) = users::find(&mut connection, account_id, user_id).await? else { return Ok(()) };
        let Some(expires_at) = invitations::expires_at(&mut connection, account_id, user_id).await? else {
            return Ok(());
        };
        if user.state != UserState::Invited || expires_at <= self.clock.now() {
            return Ok(());
        }
        let account = accounts::get(&mut connection, account_id).await?;
        let token = Token::new(account_id, user_id);
        invitations::add_token(&mut connection, &token).await?;
        drop(connection);
        let link = format!("{}/invitations/{}", self.public_url, token.write());
        let message = self.message(&account, &user, &link, expires_at, id).map_err(Error::Mail)?;
        self.send(message, id).await.map_err(Error::Mail)
    }

    fn message(
        &self,
        account: &Account,
        user: &User,
        link: &str,
        expires_at: jiff::Timestamp,
        id: Uuid,
    ) -> Result<Message, MailError> {
        let (subject, text) = invitation::text(account, user, link, expires_at);
        let address = user.email.parse().map_err(MailError::Address)?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(Some(user.name.clone()), address))
            .date(SystemTime::from(self.clock.now()))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(MailError::Content)
    }

    async fn send(&self, message: Message, id: Uuid) -> Result<(), MailError> {
        match &self.route {
            Route::Smtp(server) => {
                timeout(LIMIT, server.send(message)).await.map_err(|_| MailError::Late)?.map_err(MailError::Smtp)?;
                Ok(())
            }
            Route::Folder(folder) => write(folder, id, &message.formatted()).await.map_err(MailError::Folder),
        }
    }
}

/// Readable by this user only, since it holds a token; moved into place, so that nobody finds half of it.
async fn write(folder: &Path, id: Uuid, content: &[u8]) -> Result<(), io::Error> {
    fs::create_dir_all(folder).await?;
    let (beside, path) = (folder.join(format!("{id}.new")), folder.join(format!("{id}.eml")));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).await?;
    file.write_all(content).await?;
    file.sync_all().await?;
    fs::rename(beside, path).await
}
