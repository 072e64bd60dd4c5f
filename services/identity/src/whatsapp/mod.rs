//! Messages to people by WhatsApp: what they are, and who takes them.

mod cloud;
mod folder;
mod http;
mod message;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
pub use cloud::CloudApi;
pub use folder::Folder;
pub use message::{Content, Message, Template};
use uuid::Uuid;

/// Takes messages.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Hands a message over. `id` is the same at every try of it.
    ///
    /// # Errors
    /// [`SendError`] says whether it may be handed over again.
    async fn send(&self, message: &Message, id: Uuid) -> Result<(), SendError>;
}

/// A message that was not taken, or that may have been.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The server could not be reached: it knows nothing of the message.
    #[error("the WhatsApp API cannot be reached")]
    Unreachable(#[source] http::Cause),
    /// The server has no time for it now.
    #[error("the WhatsApp API puts the message off (HTTP {status}, code {code:?}, trace {trace:?})")]
    Busy {
        /// The HTTP status.
        status: u16,
        /// Its code for the error.
        code: Option<i64>,
        /// What its support asks for.
        trace: Option<String>,
        /// How long it wants to be left alone, if it says so.
        retry_after: Option<Duration>,
    },
    /// The server has the message and said nothing: it may be delivered or not.
    #[error("the WhatsApp API left open what became of the message")]
    Unknown(#[source] http::Cause),
    /// The message will never be taken as it is.
    #[error("the WhatsApp API refuses the message (HTTP {status}, code {code:?}, trace {trace:?})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its code for the error.
        code: Option<i64>,
        /// What its support asks for.
        trace: Option<String>,
    },
    /// The access token cannot be read.
    #[error("the access token of the WhatsApp API cannot be read")]
    Token(#[source] io::Error),
    /// The folder cannot be written to.
    #[error("it cannot be written to the folder of WhatsApp messages")]
    Folder(#[source] io::Error),
}

impl SendError {
    /// Whether the same message may be handed over again without being delivered twice, and may then be taken.
    pub fn is_repeatable(&self) -> bool {
        !matches!(self, Self::Unknown(_) | Self::Refused { .. })
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Where messages go. It may hold a secret, so it has no Debug.
#[derive(Clone)]
pub enum Route {
    /// To WhatsApp.
    Cloud(Settings),
    /// A file each.
    Folder(PathBuf),
}

pub use cloud::{Settings, TokenSource};

/// The sender for a route.
pub fn sender(route: &Route) -> Result<Arc<dyn Sender>, http::Cause> {
    Ok(match route {
        Route::Cloud(settings) => Arc::new(CloudApi::new(settings.clone())?),
        Route::Folder(folder) => {
            tracing::info!(folder = %folder.display(), "no WhatsApp number is set: messages go to a folder");
            Arc::new(Folder::new(folder.clone()))
        }
    })
}
