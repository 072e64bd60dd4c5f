//! What team keeps of an account.

use diwan_account_data::{Data, Table};

/// The declaration.
pub static DATA: Data = Data {
    tables: &[
        Table::new("department_members", &["user_id"]).shows(&["account_id", "user_id", "department_id", "version"]),
        Table::new("departments", &["id"])
            .shows(&["account_id", "id", "name", "parent_id", "head_id", "version"])
            .withholds(&["name_key"])
            .at_once(),
        Table::new("department_trees", &[]),
        Table::new("memberships", &["team_id", "user_id"]).shows(&[
            "account_id",
            "id",
            "team_id",
            "user_id",
            "lead",
            "joined_at",
            "left_at",
            "version",
        ]),
        Table::new("team_visible_teams", &["team_id", "visible_team_id"]).shows(&[
            "account_id",
            "team_id",
            "visible_team_id",
        ]),
        Table::new("teams", &["id"])
            .shows(&[
                "account_id",
                "id",
                "name",
                "assignment_limit",
                "topic_mandatory",
                "visibility_level",
                "fallback",
                "working_hours",
                "sticky_owner",
                "wait_alert_seconds",
                "no_answer_after_minutes",
                "reassign_when_offline",
                "automatic_reply",
                "archived_at",
                "receiving_id",
                "version",
                "created_at",
            ])
            .withholds(&["name_key"])
            .at_once(),
        Table::new("members", &["user_id"]),
        Table::new("accounts", &[]),
        Table::new("user_states", &["user_id"]),
        Table::new("answers", &["request_id"]),
        Table::new("feed_events", &["xid", "seq"]),
        Table::new("account_deletions", &[]).stays(),
    ],
    files: &[],
    blobs: &[],
    others: &["feed_generation", "feed_cursors"],
};
