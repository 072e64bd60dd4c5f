//! Teams and memberships as messages and events.

use diwan_feed::{Change, time::to_proto};
use diwan_proto::team::v1::{
    self as proto, DepartmentAssigned, DepartmentChanged, MembershipChanged, TeamChanged, VisibilityLevel,
};

use uuid::Uuid;

use crate::domain::{AutomaticReply, Department, Membership, Team, Visibility};

impl From<Visibility> for VisibilityLevel {
    fn from(visibility: Visibility) -> Self {
        match visibility {
            Visibility::Default => Self::Default,
            Visibility::Restricted => Self::Restricted,
            Visibility::Queue => Self::Queue,
            Visibility::Wide => Self::Wide,
        }
    }
}

impl From<Team> for proto::Team {
    fn from(team: Team) -> Self {
        let settings = team.settings;
        let (archived_at, receiving) = team.archived.unzip();
        Self {
            working_hours: team.hours.as_ref().map(diwan_hours::write),
            time_zone: team.zone,
            id: team.id.to_string(),
            account_id: team.account.to_string(),
            name: settings.name,
            assignment_limit: settings.assignment_limit,
            topic_mandatory: settings.topic_mandatory,
            visibility_level: VisibilityLevel::from(settings.visibility).into(),
            wide_team_ids: settings.wide_teams.iter().map(ToString::to_string).collect(),
            fallback: team.fallback,
            version: team.version,
            created_at: Some(to_proto(team.created_at)),
            sticky_owner: settings.sticky_owner,
            wait_alert_seconds: settings.wait_alert_seconds,
            no_answer_after_minutes: settings.no_answer_after_minutes,
            reassign_when_offline: settings.reassign_when_offline,
            automatic_reply: (!settings.automatic_reply.is_default()).then(|| (&settings.automatic_reply).into()),
            archived_at: archived_at.map(to_proto),
            receiving_team_id: receiving.flatten().map(|id| id.to_string()).unwrap_or_default(),
        }
    }
}

impl From<&AutomaticReply> for proto::AutomaticReply {
    fn from(reply: &AutomaticReply) -> Self {
        let text = |(language, text): (&str, &str)| proto::AutomaticReplyText {
            language: language.to_owned(),
            text: text.to_owned(),
        };
        Self { enabled: reply.enabled, texts: reply.texts().map(text).collect() }
    }
}

impl From<Membership> for proto::Membership {
    fn from(membership: Membership) -> Self {
        Self {
            team_id: membership.team.to_string(),
            user_id: membership.user.to_string(),
            joined_at: Some(to_proto(membership.joined_at)),
            lead: membership.lead,
        }
    }
}

/// The event of a new or changed team.
pub(crate) fn team_changed(team: &Team) -> Change {
    Change::new(team.id, team.version, &TeamChanged { team: Some(team.clone().into()) })
}

/// The event of a membership that began or changed (`member`), or ended.
pub(crate) fn membership_changed(membership: &Membership, member: bool) -> Change {
    let changed = MembershipChanged { membership: Some(membership.clone().into()), member };
    Change::new(membership.id, membership.version, &changed)
}

impl From<Department> for proto::Department {
    fn from(department: Department) -> Self {
        Self {
            id: department.id.to_string(),
            name: department.name,
            parent_id: department.parent.map(|id| id.to_string()).unwrap_or_default(),
            head_id: department.head.to_string(),
            version: department.version,
        }
    }
}

/// The event of a new, changed or removed department.
pub(crate) fn department_changed(department: &Department, removed: bool) -> Change {
    let changed = DepartmentChanged { department: Some(department.clone().into()), removed };
    Change::new(department.id, department.version, &changed)
}

/// The event of a user who is in another department now, or in none.
pub(crate) fn department_assigned(user: Uuid, department: Option<Uuid>, version: i64) -> Change {
    let department_id = department.map(|id| id.to_string()).unwrap_or_default();
    Change::new(user, version, &DepartmentAssigned { user_id: user.to_string(), department_id })
}
