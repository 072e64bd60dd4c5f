//! Hands e-mails to an SMTP server, or to a folder where there is none.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use diwan_runtime::Clock;
use jiff::Timestamp;
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
    transport::smtp,
};
use tokio::{fs, io::AsyncWriteExt as _, time::timeout};
use uuid::Uuid;

use super::letter::Letter;
use crate::{
    config::{Config, MailRoute},
    domain::{Token, User},
    error::Error,
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

    /// The time.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A link to what people open in a browser.
    pub(super) fn link(&self, page: &str, token: &Token) -> String {
        format!("{}/{page}/{}", self.public_url, token.write())
    }

    /// Sends a letter to a user, as plain text and as HTML. `id` becomes the Message-ID, so that a second try does not look like a
    /// second mail.
    pub async fn deliver(&self, user: &User, letter: Letter, id: Uuid) -> Result<(), Error> {
        let message = self.message(user, letter, id).map_err(Error::Mail)?;
        self.send(message, id).await.map_err(Error::Mail)
    }

    fn message(&self, user: &User, letter: Letter, id: Uuid) -> Result<Message, MailError> {
        let address = user.email.parse().map_err(MailError::Address)?;
        let mut message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(Some(user.name.clone()), address))
            .date(SystemTime::from(self.clock.now()))
            .message_id(Some(format!("<{id}@{}>", self.from.email.domain())))
            .subject(letter.subject)
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))
            .map_err(MailError::Content)?;
        // RFC 3834 section 5: so that no absence notice answers.
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
        Ok(message)
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
