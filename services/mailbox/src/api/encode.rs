//! Stored mailboxes as messages.

use diwan_proto::mailbox::v1 as proto;
use jiff::Timestamp;

use crate::{domain::server::Security, store::mailboxes::Mailbox};

/// A mailbox as callers see it: without passwords.
pub(crate) fn mailbox(row: &Mailbox) -> proto::Mailbox {
    proto::Mailbox {
        id: row.id.to_string(),
        account_id: row.account_id.to_string(),
        address: row.address.clone(),
        display_name: row.display_name.clone(),
        team_id: row.team_id.to_string(),
        imap: Some(server(&row.imap_host, row.imap_port, &row.imap_security, &row.imap_user)),
        smtp: Some(server(&row.smtp_host, row.smtp_port, &row.smtp_security, &row.smtp_user)),
        state: state(&row.state).into(),
        error: row.error.clone(),
        synced_at: row.synced_at.map(|time| timestamp(time.to_jiff())),
        messages: row.messages,
        quarantined: row.quarantined,
        created_at: Some(timestamp(row.created_at.to_jiff())),
    }
}

fn server(host: &str, port: i32, security: &str, user: &str) -> proto::ServerSettings {
    let security = match Security::of(security) {
        Security::Tls => proto::Security::Tls,
        Security::StartTls => proto::Security::Starttls,
        Security::Plain => proto::Security::Plain,
    };
    proto::ServerSettings {
        host: host.to_owned(),
        port,
        security: security.into(),
        user: user.to_owned(),
        password: String::new(),
    }
}

fn state(name: &str) -> proto::MailboxState {
    match name {
        "SYNCED" => proto::MailboxState::Synced,
        "RETRYING" => proto::MailboxState::Retrying,
        "CREDENTIALS_REFUSED" => proto::MailboxState::CredentialsRefused,
        _ => proto::MailboxState::Connecting,
    }
}

/// A time as protobuf has it.
pub(crate) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}
