//! Reading what to replay.

use std::{collections::BTreeSet, time::Duration};

use diwan_fault::{Fault, Fields};
use diwan_feed::time::from_proto;
use diwan_hours::{Hours, Schedule};
use diwan_proto::conversation::v1::{SimulateRoutingRequest, SimulatedHours, SimulatedSettings};
use diwan_runtime::clock::after;
use jiff::Timestamp;
use uuid::Uuid;

use super::TEAMS;
use crate::domain::simulation::Plan;

/// The longest period.
const LONGEST: Duration = Duration::from_hours(31 * 24);
/// The most members that a team gets or loses.
const MEMBERS: usize = 1000;
/// The highest limit.
const LIMIT: i32 = 10_000;

/// What to replay.
pub struct Asked {
    /// From when until when.
    pub period: (Timestamp, Timestamp),
    /// The teams, each with what is to be otherwise.
    pub teams: Vec<(Uuid, Plan)>,
    /// Their other hours, whose time zone is not known yet: by team.
    pub hours: Vec<(Uuid, Option<Schedule>)>,
}

/// Reads it, and names every bad field.
pub fn read(message: &SimulateRoutingRequest, now: Timestamp) -> Result<Asked, Fault> {
    let mut fields = Fields::new();
    let period = period(&mut fields, message, now);
    let fits = fields.entries("teams", message.teams.len(), 0..=TEAMS);
    let mut asked = Asked { period, teams: Vec::new(), hours: Vec::new() };
    let mut known = BTreeSet::new();
    for (place, settings) in message.teams.iter().enumerate().filter(|_| fits) {
        let field = format!("teams[{place}]");
        let team = fields.uuid(&format!("{field}.team_id"), &settings.team_id);
        if !known.insert(team) {
            fields.refuse(&format!("{field}.team_id"), "FIELD_REPEATED", &[]);
        }
        asked.teams.push((team, plan(&mut fields, &field, settings)));
        if let Some(SimulatedHours { hours }) = &settings.hours {
            let schedule =
                hours.as_ref().map(|hours| diwan_hours::read(&mut fields, &format!("{field}.hours.hours"), hours));
            asked.hours.push((team, schedule));
        }
    }
    fields.finish()?;
    Ok(asked)
}

fn period(fields: &mut Fields, message: &SimulateRoutingRequest, now: Timestamp) -> (Timestamp, Timestamp) {
    let mut time = |field, value: &Option<prost_types::Timestamp>| {
        let time = value.as_ref().and_then(from_proto);
        if time.is_none() {
            fields.refuse(field, "FIELD_REQUIRED", &[]);
        }
        time.unwrap_or(now)
    };
    let (from, to) = (time("from", &message.from), time("to", &message.to));
    if to <= from || to > now || to > after(from, LONGEST) {
        fields.refuse("to", "FIELD_PERIOD", &[("days", (LONGEST.as_secs() / 86_400).to_string())]);
    }
    (from, to)
}

fn plan(fields: &mut Fields, field: &str, settings: &SimulatedSettings) -> Plan {
    let limit = settings.assignment_limit.map(|limit| {
        let limit = fields.number(&format!("{field}.assignment_limit"), limit, 0..=LIMIT);
        (limit > 0).then_some(limit)
    });
    let removing = format!("{field}.removed_user_ids");
    let removed = fields.uuids(&removing, &settings.removed_user_ids, 0..=MEMBERS);
    let mut known = BTreeSet::new();
    for (place, _) in removed.iter().enumerate().filter(|(_, user)| !known.insert(**user)) {
        fields.refuse(&format!("{removing}[{place}]"), "FIELD_REPEATED", &[]);
    }
    let added = format!("{field}.added_members");
    let (mut members, mut adding) = (Vec::new(), BTreeSet::new());
    if fields.entries(&added, settings.added_members.len(), 0..=MEMBERS) {
        for (place, member) in settings.added_members.iter().enumerate() {
            let user = fields.uuid(&format!("{added}[{place}].user_id"), &member.user_id);
            if !adding.insert(user) {
                fields.refuse(&format!("{added}[{place}].user_id"), "FIELD_REPEATED", &[]);
            }
            members.push((user, member.always_active));
        }
    }
    Plan { limit, removed: known, added: members, hours: None, ignore_priorities: settings.ignore_priorities }
}

impl Asked {
    /// Who is named.
    pub fn users(&self) -> Vec<Uuid> {
        let plans = self.teams.iter().map(|(_, plan)| plan);
        let named = plans.flat_map(|plan| plan.removed.iter().chain(plan.added.iter().map(|(user, _)| user)));
        named.copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Sets the other hours of a team, by a time zone.
    pub fn set_hours(&mut self, team: Uuid, schedule: Option<Schedule>, zone: &str) {
        if let Some((_, plan)) = self.teams.iter_mut().find(|(of, _)| *of == team) {
            plan.hours = Some(schedule.map(|schedule| Hours::new(schedule, zone)));
        }
    }
}
