//! Checks of what the requests about teams have in common.

use diwan_fault::Fields;
use diwan_proto::team::v1::{self as proto, CreateTeamRequest, VisibilityLevel};
use prost_types::FieldMask;
use uuid::Uuid;

use super::automatic_reply::automatic_reply;
use crate::domain::{Changes, Settings, Visibility};

/// The most ids in one list.
const MOST_IDS: usize = 200;
const NAME: &str = "name";
const ASSIGNMENT_LIMIT: &str = "assignment_limit";
const TOPIC_MANDATORY: &str = "topic_mandatory";
const VISIBILITY_LEVEL: &str = "visibility_level";
const WIDE_TEAM_IDS: &str = "wide_team_ids";
const STICKY_OWNER: &str = "sticky_owner";
const WAIT_ALERT_SECONDS: &str = "wait_alert_seconds";
const NO_ANSWER_AFTER_MINUTES: &str = "no_answer_after_minutes";
const REASSIGN_WHEN_OFFLINE: &str = "reassign_when_offline";
const AUTOMATIC_REPLY: &str = "automatic_reply";
const CHANGEABLE: [&str; 10] = [
    NAME,
    ASSIGNMENT_LIMIT,
    TOPIC_MANDATORY,
    VISIBILITY_LEVEL,
    WIDE_TEAM_IDS,
    STICKY_OWNER,
    WAIT_ALERT_SECONDS,
    NO_ANSWER_AFTER_MINUTES,
    REASSIGN_WHEN_OFFLINE,
    AUTOMATIC_REPLY,
];
/// 30 days.
const LONGEST_WAIT: i32 = 30 * 24 * 60 * 60;
/// 7 days, in minutes.
const LONGEST_NO_ANSWER: i32 = 7 * 24 * 60;

/// The settings of a new team.
pub(super) fn settings(fields: &mut Fields, message: &CreateTeamRequest) -> Settings {
    Settings {
        name: name(fields, NAME, &message.name),
        assignment_limit: limit(fields, ASSIGNMENT_LIMIT, message.assignment_limit),
        topic_mandatory: message.topic_mandatory,
        visibility: visibility(fields, VISIBILITY_LEVEL, message.visibility_level),
        wide_teams: fields.distinct_uuids(WIDE_TEAM_IDS, &message.wide_team_ids, 0..=MOST_IDS),
        sticky_owner: message.sticky_owner,
        wait_alert_seconds: wait(fields, WAIT_ALERT_SECONDS, message.wait_alert_seconds),
        no_answer_after_minutes: no_answer(fields, NO_ANSWER_AFTER_MINUTES, message.no_answer_after_minutes),
        reassign_when_offline: message.reassign_when_offline,
        automatic_reply: automatic_reply(fields, AUTOMATIC_REPLY, message.automatic_reply.as_ref()),
    }
}

/// The new values of the fields that `mask` names; the others are not looked at.
pub(super) fn changes(fields: &mut Fields, team: &proto::Team, mask: Option<&FieldMask>) -> Changes {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        fields.refuse("update_mask", "FIELD_REQUIRED", &[]);
    } else if !paths.iter().all(|path| CHANGEABLE.contains(&path.as_str())) {
        fields.refuse("update_mask", "FIELD_VALUE", &[("values", CHANGEABLE.join(", "))]);
    }
    let named = |field: &str| paths.iter().any(|path| path == field);
    Changes {
        name: named(NAME).then(|| name(fields, "team.name", &team.name)),
        assignment_limit: named(ASSIGNMENT_LIMIT)
            .then(|| limit(fields, "team.assignment_limit", team.assignment_limit)),
        topic_mandatory: named(TOPIC_MANDATORY).then_some(team.topic_mandatory),
        visibility: named(VISIBILITY_LEVEL).then(|| visibility(fields, "team.visibility_level", team.visibility_level)),
        wide_teams: named(WIDE_TEAM_IDS)
            .then(|| fields.distinct_uuids("team.wide_team_ids", &team.wide_team_ids, 0..=MOST_IDS)),
        sticky_owner: named(STICKY_OWNER).then_some(team.sticky_owner),
        wait_alert_seconds: named(WAIT_ALERT_SECONDS)
            .then(|| wait(fields, "team.wait_alert_seconds", team.wait_alert_seconds)),
        no_answer_after_minutes: named(NO_ANSWER_AFTER_MINUTES)
            .then(|| no_answer(fields, "team.no_answer_after_minutes", team.no_answer_after_minutes)),
        reassign_when_offline: named(REASSIGN_WHEN_OFFLINE).then_some(team.reassign_when_offline),
        automatic_reply: named(AUTOMATIC_REPLY)
            .then(|| automatic_reply(fields, "team.automatic_reply", team.automatic_reply.as_ref())),
    }
}

/// Ids of teams, sorted, each once: at least one and not too many.
pub(super) fn team_ids(fields: &mut Fields, values: &[String]) -> Vec<Uuid> {
    fields.distinct_uuids("team_ids", values, 1..=MOST_IDS)
}

pub(super) fn name(fields: &mut Fields, field: &str, value: &str) -> String {
    fields.line(field, value, 1..=100)
}

fn limit(fields: &mut Fields, field: &str, value: i32) -> i32 {
    fields.number(field, value, 0..=10_000)
}

fn wait(fields: &mut Fields, field: &str, value: i32) -> i32 {
    fields.number(field, value, 0..=LONGEST_WAIT)
}

fn no_answer(fields: &mut Fields, field: &str, value: i32) -> i32 {
    fields.number(field, value, 0..=LONGEST_NO_ANSWER)
}

fn visibility(fields: &mut Fields, field: &str, value: i32) -> Visibility {
    match VisibilityLevel::try_from(value) {
        Ok(VisibilityLevel::Unspecified | VisibilityLevel::Default) => Visibility::Default,
        Ok(VisibilityLevel::Restricted) => Visibility::Restricted,
        Ok(VisibilityLevel::Queue) => Visibility::Queue,
        Ok(VisibilityLevel::Wide) => Visibility::Wide,
        Err(_) => {
            let known = [Visibility::Default, Visibility::Restricted, Visibility::Queue, Visibility::Wide];
            let names = known.map(|visibility| VisibilityLevel::from(visibility).as_str_name());
            fields.refuse(field, "FIELD_VALUE", &[("values", names.join(", "))]);
            Visibility::Default
        }
    }
}
