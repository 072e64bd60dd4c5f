//! What identity keeps of an account. Passwords, tokens, codes and keys are kept as hashes or sealed; they leave in no export.

use diwan_account_data::{Data, Files, Table};

/// The declaration.
pub static DATA: Data = Data {
    tables: &[
        Table::new("export_pieces", &["export_id", "number"]),
        Table::new("export_files", &["export_id", "number"]),
        Table::new("export_parts", &["export_id", "position"]),
        Table::new("exports", &["id"]),
        Table::new("acted_users", &["principal_id", "user_account_id", "user_id"]).shows(&[
            "account_id",
            "principal_id",
            "user_account_id",
            "user_id",
            "named_by",
        ]),
        // For whom principals of the installation act.
        Table::new("acted_users", &["account_id", "principal_id", "user_id"]).by("user_account_id"),
        Table::new("principal_credentials", &["principal_id", "id"])
            .shows(&["account_id", "principal_id", "id", "created_at", "expires_at"])
            .withholds(&["public_key", "secret_hash", "secret_hint", "epoch"]),
        Table::new("service_principals", &["id"])
            .shows(&["account_id", "id", "name", "scopes", "disabled_at", "version", "created_at"])
            .withholds(&["account_ids", "all_accounts", "epoch"]),
        Table::new("sign_in_challenges", &["id"]),
        Table::new("one_time_codes", &["purpose", "request_id"]),
        Table::new("recovery_codes", &["user_id", "code_hash"]),
        Table::new("factor_recoveries", &["user_id"]).shows(&[
            "account_id",
            "user_id",
            "id",
            "reason",
            "begun_by",
            "begun_at",
            "due_at",
        ]),
        Table::new("password_resets", &["user_id", "token_hash"]),
        Table::new("email_confirmations", &[]),
        Table::new("invitations", &["user_id"])
            .shows(&["account_id", "user_id", "team_ids", "expires_at"])
            .withholds(&["token_hashes", "round"]),
        Table::new("ownership_offers", &[]).shows(&["account_id", "owner_id", "user_id", "expires_at"]),
        Table::new("second_factor_policies", &[]).shows(&["account_id", "demanded", "version"]),
        Table::new("second_factors", &["user_id"])
            .shows(&["account_id", "user_id", "whatsapp", "version"])
            .withholds(&["totp_secret", "totp_last_step", "pending_secret", "pending_until"]),
        Table::new("trusted_devices", &["id"])
            .shows(&[
                "account_id",
                "id",
                "user_id",
                "user_agent",
                "address",
                "trusted_at",
                "last_used_at",
                "expires_at",
            ])
            .withholds(&["secret_hash"]),
        Table::new("whatsapp_numbers", &["user_id"])
            // The owner is not the person whose number it is.
            .shows(&["account_id", "user_id", "confirmed_at"])
            .withholds(&["number", "pending_number", "pending_until", "confirmation_id"]),
        Table::new("sessions", &["id"])
            .shows(&[
                "account_id",
                "id",
                "user_id",
                "created_at",
                "expires_at",
                "ended_at",
                "last_used_at",
                "address",
                "user_agent",
            ])
            .withholds(&["epoch", "family_hash", "current_hash", "previous_hash"]),
        Table::new("email_addresses", &["email_key"]),
        Table::new("users", &["id"])
            .shows(&[
                "account_id",
                "id",
                "name",
                "first_name",
                "last_name",
                "phone",
                "email",
                "role",
                "grants",
                "language",
                "state",
                "version",
                "created_at",
            ])
            .withholds(&["password_hash", "epoch", "picture_large", "picture_small", "picture_id"]),
        Table::new("accounts", &[])
            .shows(&[
                "account_id",
                "name",
                "time_zone",
                "language",
                "show_agent_name",
                "email_confirmed_at",
                "state",
                "closes_at",
                "version",
                "created_at",
            ])
            .withholds(&["epoch", "remind_at", "delete_at"]),
        Table::new("audit_inbox", &["event_id"]),
        Table::new("audit_entries", &["number"]).shows(&[
            "account_id",
            "number",
            "event_id",
            "hash",
            "content",
            "occurred_at",
            "actor",
            "acting_for",
            "method",
            "call",
            "entity_kind",
            "entity_id",
            "entity_version",
        ]),
        // A number and a hash: what was told to the log of its heads stays provable.
        Table::new("audit_heads", &[]).stays(),
        Table::new("jobs", &["id"]),
        Table::new("revocations", &["id"]),
        Table::new("answers", &["request_id"]),
        // Whoever follows the feed from its beginning has to hear of it.
        Table::new("feed_events", &["xid", "seq"]).deleted_where("kind <> 'diwan.identity.v1.AccountDeleted'"),
        Table::new("account_deletions", &[]).stays(),
    ],
    files: &[Files {
        folder: "pictures",
        extension: "jpg",
        table: "users",
        key: "id",
        blob: "picture_large",
        space: PICTURES,
        within: Some("picture_id"),
    }],
    blobs: &[PICTURES, EXPORTS],
    others: &[
        "failures",
        "taken_assertions",
        "signing_keys",
        "operator_revocations",
        "feed_generation",
        "feed_cursors",
    ],
};

/// The part of the blob store with the pictures of people: each account has a part, and there each picture.
pub const PICTURES: &str = "pictures";
/// The part with what exports are made of: each account has a part, and there each export.
pub const EXPORTS: &str = "exports";
