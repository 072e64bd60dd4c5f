//! What billing keeps of an account. There are no invoices yet; those will have to stay for as long as the law says.

use diwan_account_data::{Data, Table};

/// The declaration.
pub static DATA: Data = Data {
    tables: &[
        Table::new("seats", &["user_id"]).shows(&["account_id", "user_id", "taken_at", "lease_expires_at"]),
        Table::new("subscriptions", &[]).shows(&[
            "account_id",
            "plan",
            "state",
            "seats",
            "trial_ends_at",
            "version",
            "created_at",
        ]),
        Table::new("answers", &["request_id"]),
        Table::new("feed_events", &["xid", "seq"]),
        Table::new("account_deletions", &[]).stays(),
    ],
    files: &[],
    blobs: &[],
    others: &["feed_generation", "feed_cursors"],
};
