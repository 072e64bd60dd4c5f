//! Teams and memberships as messages and events.

use diwan_feed::{Change, time::to_proto};
use diwan_proto::team::v1::{self as proto, MembershipChanged, TeamChanged, VisibilityLevel};

use crate::domain::{Membership, Team, Visibility};

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
        }
    }
}

            sticky_owner: settings.sticky_owner,
            wait_alert_seconds: settings.wait_alert_seconds,
impl From<Membership> for proto::Membership {
    fn from(membership: Membership) -> Self {
        Self {
            team_id: membership.team.to_string(),
            user_id: membership.user.to_string(),
            joined_at: Some(to_proto(membership.joined_at)),
        }
    }
}

/// The event of a new or changed team.
pub(crate) fn team_changed(team: &Team) -> Change {
    Change::new(team.id, team.version, &TeamChanged { team: Some(team.clone().into()) })
}

/// The event of a membership that began (`member`) or ended.
pub(crate) fn membership_changed(membership: &Membership, member: bool) -> Change {
    let changed = MembershipChanged { membership: Some(membership.clone().into()), member };
    Change::new(membership.id, membership.version, &changed)
}
