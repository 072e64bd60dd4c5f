//! IMAP sessions of a mailbox: connecting, and its Sent folder.

use std::time::Duration;

use diwan_imap::{Credentials, Endpoint, Error, FolderName, Limits, Options, Secret, Session, SpecialUse};

use crate::{
    domain::server::{Security, Server},
    reach::Reach,
};

/// Opens a session that is signed in.
///
/// # Errors
/// As [`diwan_imap::connect`].
pub(crate) async fn connect(server: &Server, reach: Reach, limits: Limits) -> Result<Session, Error> {
    let endpoint = Endpoint {
        host: server.host.clone(),
        port: server.port,
        security: match server.security {
            Security::Tls => diwan_imap::Security::Tls,
            Security::StartTls => diwan_imap::Security::StartTls,
            Security::Plain => diwan_imap::Security::Plain,
        },
    };
    let credentials =
        Credentials::Password { user: server.user.clone(), password: Secret::new(server.password.expose()) };
    let options = Options { limits, permits: reach.permits(), ..Options::default() };
    diwan_imap::connect(&endpoint, &credentials, &options).await
}

/// The folder whose mail is synced. Every server has it (RFC 3501, 5.1).
pub(crate) fn inbox() -> FolderName {
    FolderName::new("INBOX")
}

/// Limits for somebody who waits.
pub(crate) fn impatient() -> Limits {
    Limits {
        connect: Duration::from_secs(10),
        silence: Duration::from_secs(10),
        command: Duration::from_secs(20),
        ..Limits::default()
    }
}

/// The folder that the server says sent mail belongs to (RFC 6154, section 2), if it says so.
pub(crate) async fn sent_folder(session: &mut Session) -> Result<Option<FolderName>, Error> {
    let folders = session.list().await?;
    let sent = folders.into_iter().find(|folder| folder.selectable && folder.special_use == Some(SpecialUse::Sent));
    Ok(sent.map(|folder| folder.name))
}
