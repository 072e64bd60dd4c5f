//! What mailbox keeps of an account. Its passwords for mail servers are sealed, and leave in no export.

use diwan_account_data::{Data, Files, Table};

/// The declaration.
pub static DATA: Data = Data {
    tables: &[
        Table::new("credential_alerts", &["mailbox_id"]),
        Table::new("leases", &["mailbox_id"]),
        Table::new("messages", &["id"])
            .shows(&[
                "account_id",
                "id",
                "mailbox_id",
                "uid_validity",
                "uid",
                "sha256",
                "size",
                "received_at",
                "state",
                "from_email",
                "from_name",
                "subject",
                "body",
                "rfc_message_id",
                "thread",
                "attachments",
                "automatic",
                "broken",
                "quarantine",
                "stored_at",
            ])
            .withholds(&["fingerprint"]),
        Table::new("outgoing", &["message_id"])
            .shows(&[
                "account_id",
                "message_id",
                "mailbox_id",
                "to_email",
                "to_name",
                "subject",
                "body",
                "in_reply_to",
                "thread",
                "rfc_message_id",
                "automatic",
                "state",
                "attempts",
                "error",
                "created_at",
            ])
            .withholds(&["due_at", "reported"]),
        Table::new("mailboxes", &["id"])
            .shows(&[
                "account_id",
                "id",
                "address",
                "display_name",
                "team_id",
                "imap_host",
                "imap_port",
                "imap_security",
                "imap_user",
                "smtp_host",
                "smtp_port",
                "smtp_security",
                "smtp_user",
                "state",
                "error",
                "synced_at",
                "messages",
                "quarantined",
                "created_at",
            ])
            .withholds(&["imap_secret", "smtp_secret", "uid_validity", "cursor_uid", "history_below"]),
        // Copies of what team keeps.
        Table::new("teams", &["id"]),
        Table::new("answers", &["request_id"]),
        Table::new("feed_events", &["xid", "seq"]),
        // Nothing begins anew for it.
        Table::new("closed_accounts", &[]).stays(),
        Table::new("account_deletions", &[]).stays(),
    ],
    // An attachment is a part of its mail.
    files: &[Files {
        folder: "mails",
        extension: "eml",
        table: "messages",
        key: "id",
        blob: "sha256",
        space: MAILS,
        within: None,
    }],
    blobs: &[MAILS],
    others: &["feed_generation", "feed_cursors"],
};

/// The part of the blob store with raw mail and attachments, where each account has a part.
pub(crate) const MAILS: &str = "mails";
