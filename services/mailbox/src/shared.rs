//! What all parts of the service share.

use std::sync::Arc;

use diwan_blobs::Blobs;
use diwan_proto::{
    conversation::v1::ingest_service_client::IngestServiceClient,
    identity::v1::alert_service_client::AlertServiceClient, team::v1::team_service_client::TeamServiceClient,
};
use diwan_runtime::{Clock, Drain};
use diwan_store::Database;
use diwan_transport::Transport;
use diwan_vault::Vault;
use uuid::Uuid;

use crate::{
    config::Config,
    data::MAILS,
    domain::server::{Password, Security, Server, Side},
    error::Error,
    store::mailboxes::Mailbox,
    vault::Label,
};

/// Rung when a mailbox was connected or given back, and when there is something to send.
pub(crate) const FLEET: &str = "mailbox fleet";

/// Rung when an account was closed: its mailboxes are to be let go of.
pub(crate) const CLOSED: &str = "account closed";

/// What all parts of the service share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) drain: Drain,
    pub(crate) database: Database,
    pub(crate) vault: Vault,
    pub(crate) blobs: Blobs,
    pub(crate) conversation: IngestServiceClient<Transport>,
    pub(crate) identity: AlertServiceClient<Transport>,
    pub(crate) team: TeamServiceClient<Transport>,
}

impl Shared {
    /// Where the raw mail and the attachments of an account are kept.
    pub(crate) fn mails(&self, account: Uuid) -> Blobs {
        self.blobs.of(MAILS).of(&account.to_string())
    }

    /// One side of a mailbox with its password.
    ///
    /// # Errors
    /// [`Error::Vault`].
    pub(crate) fn server(&self, mailbox: &Mailbox, side: Side) -> Result<Server, Error> {
        let (host, port, security, user, secret) = match side {
            Side::Imap => (
                &mailbox.imap_host,
                mailbox.imap_port,
                &mailbox.imap_security,
                &mailbox.imap_user,
                &mailbox.imap_secret,
            ),
            Side::Smtp => (
                &mailbox.smtp_host,
                mailbox.smtp_port,
                &mailbox.smtp_security,
                &mailbox.smtp_user,
                &mailbox.smtp_secret,
            ),
        };
        let label = Label { account: mailbox.account_id, mailbox: mailbox.id, side };
        let password: Password = label.open(&self.vault, secret)?;
        Ok(Server {
            host: host.clone(),
            // The table's check holds it within 1 to 65535.
            port: u16::try_from(port).unwrap_or_default(),
            security: Security::of(security),
            user: user.clone(),
            password,
        })
    }
}
