//! What conversation keeps of an account.

use diwan_account_data::{Data, Table};

/// The declaration.
pub static DATA: Data = Data {
    tables: &[
        Table::new("answer_timers", &["conversation_id"]),
        Table::new("bot_turns", &["conversation_id"]),
        Table::new("sends", &["message_id"]),
        Table::new("notes", &["id"]).shows(&[
            "account_id",
            "id",
            "conversation_id",
            "author_id",
            "bot_id",
            "text",
            "created_at",
        ]),
        Table::new("messages", &["id"]).shows(&[
            "account_id",
            "id",
            "conversation_id",
            "direction",
            "author_id",
            "bot_id",
            "automatic",
            "text",
            "subject",
            "rfc_message_id",
            "rfc_references",
            "attachments",
            "delivery",
            "delivery_error",
            "broken",
            "created_at",
        ]),
        Table::new("transitions", &["conversation_id", "version"]).shows(&[
            "account_id",
            "conversation_id",
            "version",
            "at",
            "cause",
            "actor_id",
            "bot_id",
            "from_state",
            "to_state",
            "from_holder_id",
            "to_holder_id",
            "team_id",
            "over_limit",
            "decision_id",
        ]),
        Table::new("routings", &["conversation_id", "version"]).shows(&[
            "account_id",
            "conversation_id",
            "version",
            "at",
            "via",
            "rule_id",
            "rule_version",
            "team_id",
            "facts",
        ]),
        Table::new("decisions", &["id"])
            .shows(&["account_id", "id", "team_id", "team_version", "decided_at", "kind", "refusal"])
            .withholds(&["ledger"]),
        Table::new("reassignments", &["id"])
            .shows(&[
                "account_id",
                "id",
                "actor_id",
                "holder_id",
                "team_id",
                "queued",
                "to_team_id",
                "to_user_id",
                "moved",
                "over_limit",
                "skipped",
                "created_at",
                "finished_at",
            ])
            .withholds(&["done_up_to", "last_id"]),
        Table::new("conversations", &["id"])
            .shows(&[
                "account_id",
                "id",
                "team_id",
                "contact_id",
                "state",
                "holder_id",
                "last_holder_id",
                "bot_id",
                "subject",
                "mailbox_id",
                "mailbox_address",
                "priority",
                "topic_ids",
                "version",
                "created_at",
                "queued_at",
                "assigned_at",
                "snoozed_until",
                "closed_at",
                "last_message_at",
                "unanswered_since",
            ])
            .withholds(&["wait_alerted", "asked", "replied_until"]),
        Table::new("contacts", &["id"])
            .shows(&["account_id", "id", "name", "email", "country", "group_ids", "created_at"])
            .withholds(&["email_key", "bot_hour_began_at", "bot_starts"]),
        Table::new("contact_groups", &["id"])
            .shows(&["account_id", "id", "name", "version", "created_at"])
            .withholds(&["name_key"]),
        Table::new("bots", &["id"]).shows(&[
            "account_id",
            "id",
            "name",
            "menu",
            "principal_id",
            "answer_seconds",
            "patience_seconds",
            "enabled",
            "retired_at",
            "version",
            "created_at",
        ]),
        Table::new("topics", &["id"])
            .shows(&["account_id", "id", "parent_id", "name", "archived_at", "version", "created_at"])
            .withholds(&["name_key"])
            .at_once(),
        Table::new("topic_trees", &[]),
        Table::new("routing_rules", &["id"]).shows(&[
            "account_id",
            "id",
            "position",
            "name",
            "conditions",
            "team_id",
            "bot_id",
            "priority",
            "add_topic_ids",
            "version",
            "created_at",
        ]),
        Table::new("routing_lists", &[]),
        Table::new("live_sessions", &["id"]),
        Table::new("presence", &["user_id"])
            .shows(&["account_id", "user_id", "state", "since", "chosen"])
            .withholds(&["version", "sign_ins"]),
        Table::new("slots", &["team_id", "user_id"])
            .shows(&["account_id", "team_id", "user_id", "member", "open_count", "automatic_count", "last_assigned_at"])
            .withholds(&["membership_version", "lead"]),
        // Copies of what identity and team keep.
        Table::new("users", &["id"]),
        Table::new("teams", &["id"]),
        Table::new("account_languages", &[]),
        Table::new("answers", &["request_id"]),
        Table::new("feed_events", &["xid", "seq"]),
        Table::new("account_deletions", &[]).stays(),
    ],
    files: &[],
    blobs: &[],
    others: &["feed_generation", "feed_cursors"],
};
