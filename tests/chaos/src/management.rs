//! What changes who may get something: availability, memberships, settings, archives, rules.

use std::time::Duration;

use diwan_e2e::{Failure, door::request_id};
use diwan_proto::{
    conversation::v1::{
        AvailabilityState, CreateRoutingRuleRequest, DeleteRoutingRuleRequest, ReorderRoutingRulesRequest,
        RoutingConditions, SetAvailabilityRequest, StartReassignmentRequest,
        handling_service_client::HandlingServiceClient, inbox_service_client::InboxServiceClient,
        routing_rule_service_client::RoutingRuleServiceClient,
    },
    identity::v1::{DeactivateUserRequest, ReactivateUserRequest, user_service_client::UserServiceClient},
    team::v1::{
        AddMemberRequest, ArchiveTeamRequest, RemoveMemberRequest, SetWorkingHoursRequest, Team, UnarchiveTeamRequest,
        UpdateTeamRequest, Weekday, WorkingDay, WorkingHours, archive_service_client::ArchiveServiceClient,
        hours_service_client::HoursServiceClient, membership_service_client::MembershipServiceClient,
        team_service_client::TeamServiceClient,
    },
};
use prost_types::FieldMask;
use rand::{
    RngExt as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};
use tokio::time::sleep;

use crate::{
    call::{As, At, Ended},
    customers::WORDS,
    operation::Outcome,
    person::Person,
    stage::Stage,
};

/// Makes one call and gives what it was answered with.
macro_rules! ask {
    ($stage:ident, $at:expr, $person:expr, $request:expr, $client:ident, $method:ident) => {
        $stage
            .call(As::Person($person), $at, &$request, |channel, request| async move {
                $client::new(channel).$method(request).await
            })
            .await?
    };
}

impl Stage {
    pub(crate) async fn switch(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let active = random.random_bool(0.75);
        let person = self.anybody(random);
        self.become_available(At::replica(random), person, active).await
    }

    /// Switches somebody to ACTIVE or WATCHING.
    pub(crate) async fn become_available(&self, at: At, person: &Person, active: bool) -> Result<Outcome, Failure> {
        let state = if active { AvailabilityState::Active } else { AvailabilityState::Watching };
        let request = SetAvailabilityRequest { request_id: request_id(), state: state.into() };
        Ok(ask!(self, at, person, request, InboxServiceClient, set_availability).done())
    }

    #[expect(clippy::unnecessary_wraps, reason = "what operations return")]
    pub(crate) fn come_or_go(&self, random: &mut StdRng) -> Outcome {
        let agent = self.anybody(random);
        agent.want(!agent.is_wanted() || random.random_bool(0.3));
        Some(Ended::Answered(()))
    }

    pub(crate) async fn reassign(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let mut request = StartReassignmentRequest { request_id: request_id(), ..StartReassignmentRequest::default() };
        let team = |random: &mut StdRng| self.teams.choose(random).cloned().unwrap_or_default();
        if random.random_bool(0.5) {
            request.holder_id = self.anybody(random).id.to_string();
        } else {
            request.team_id = team(random);
            request.queued = random.random_bool(0.3);
        }
        match random.random_range(0..3) {
            0 => request.to_user_id = self.anybody(random).id.to_string(),
            1 => request.to_team_id = team(random),
            _ => {}
        }
        let ended = ask!(self, At::replica(random), &self.owner, request, HandlingServiceClient, start_reassignment);
        if let Ended::Answered(answer) = &ended {
            self.book.told().reassignments.extend(answer.reassignment.as_ref().map(|started| started.id.clone()));
        }
        Ok(ended.done())
    }

    pub(crate) async fn set_limit(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let limit = if random.random_bool(0.2) { 0 } else { random.random_range(1..6) };
        let team = self.teams.choose(random).cloned().unwrap_or_default();
        self.limit(&team, limit).await
    }

    /// Sets the limit of a team; 0: none.
    pub(crate) async fn limit(&self, team: &str, limit: i32) -> Result<Outcome, Failure> {
        let team = Team { id: team.to_owned(), assignment_limit: limit, ..Team::default() };
        self.update(team, "assignment_limit").await
    }

    pub(crate) async fn set_team(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let id = self.teams.choose(random).cloned().unwrap_or_default();
        let on = random.random_bool(0.5);
        if random.random_bool(0.5) {
            self.update(Team { id, sticky_owner: on, ..Team::default() }, "sticky_owner").await
        } else {
            self.update(Team { id, topic_mandatory: on, ..Team::default() }, "topic_mandatory").await
        }
    }

    async fn update(&self, team: Team, field: &str) -> Result<Outcome, Failure> {
        let update_mask = Some(FieldMask { paths: vec![field.to_owned()] });
        let request = UpdateTeamRequest { request_id: request_id(), team: Some(team), update_mask };
        Ok(ask!(self, At::Gateway, &self.owner, request, TeamServiceClient, update_team).done())
    }

    pub(crate) async fn set_hours(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let team = self.teams.choose(random).cloned().unwrap_or_default();
        self.hours(&team, random.random_bool(0.6)).await
    }

    /// Opens a team for ever, or closes it every day.
    pub(crate) async fn hours(&self, team: &str, open: bool) -> Result<Outcome, Failure> {
        let every = Weekday::Monday as i32..=Weekday::Sunday as i32;
        let days_off = every.map(|weekday| WorkingDay { weekday, shifts: Vec::new() }).collect();
        let hours = (!open).then_some(WorkingHours { days: days_off, holidays: Vec::new() });
        let request = SetWorkingHoursRequest { request_id: request_id(), team_id: team.to_owned(), hours };
        Ok(ask!(self, At::Gateway, &self.owner, request, HoursServiceClient, set_working_hours).done())
    }

    pub(crate) async fn join_or_leave(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let team_id = self.teams.choose(random).cloned().unwrap_or_default();
        let user_id = self.anybody(random).id.to_string();
        if random.random_bool(0.6) {
            return self.join(team_id, user_id).await;
        }
        let request = RemoveMemberRequest { request_id: request_id(), team_id, user_id };
        Ok(ask!(self, At::Gateway, &self.owner, request, MembershipServiceClient, remove_member).done())
    }

    /// Somebody joins a team.
    pub(crate) async fn join(&self, team_id: String, user_id: String) -> Result<Outcome, Failure> {
        let request = AddMemberRequest { request_id: request_id(), team_id, user_id };
        Ok(ask!(self, At::Gateway, &self.owner, request, MembershipServiceClient, add_member).done())
    }

    /// Archives a team, or takes the archived one back into use.
    pub(crate) async fn archive(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let mut archived = self.archived.lock().await;
        if let Some(team) = *archived {
            let back = self.unarchive(team).await?;
            *archived = None;
            return Ok(back);
        }
        let team = random.random_range(1..self.teams.len());
        let to = (team + random.random_range(1..self.teams.len())) % self.teams.len();
        let request = ArchiveTeamRequest {
            request_id: request_id(),
            team_id: self.teams[team].clone(),
            receiving_team_id: self.teams[to].clone(),
        };
        let ended = ask!(self, At::Gateway, &self.owner, request, ArchiveServiceClient, archive_team);
        if matches!(ended, Ended::Answered(_)) {
            *archived = Some(team);
        }
        Ok(ended.done())
    }

    /// Takes a team back into use.
    pub(crate) async fn unarchive(&self, team: usize) -> Result<Outcome, Failure> {
        let team_id = self.teams[team].clone();
        let request = UnarchiveTeamRequest { request_id: request_id(), team_id, name: String::new() };
        Ok(ask!(self, At::Gateway, &self.owner, request, ArchiveServiceClient, unarchive_team).done())
    }

    /// Deactivates somebody, and reactivates him a moment later.
    pub(crate) async fn deactivate(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let number = random.random_range(0..self.agents.len());
        let _his = self.staff[number].lock().await;
        let user_id = self.agents[number].id.to_string();
        let request = DeactivateUserRequest { request_id: request_id(), user_id: user_id.clone() };
        let ended = ask!(self, At::Gateway, &self.owner, request, UserServiceClient, deactivate_user);
        if matches!(ended, Ended::Answered(_)) {
            sleep(Duration::from_millis(random.random_range(200..2000))).await;
            let request = ReactivateUserRequest { request_id: request_id(), user_id };
            ask!(self, At::Gateway, &self.owner, request, UserServiceClient, reactivate_user).answered()?;
        }
        Ok(ended.done())
    }

    /// Makes a rule, removes one, or puts all into another order.
    pub(crate) async fn change_rules(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let mut rules = self.rules.lock().await;
        let at = At::replica(random);
        match random.random_range(0..3) {
            0 if !rules.is_empty() => {
                let place = random.random_range(0..rules.len());
                let rule_id = rules.swap_remove(place);
                let request = DeleteRoutingRuleRequest { request_id: request_id(), rule_id };
                Ok(ask!(self, at, &self.owner, request, RoutingRuleServiceClient, delete_routing_rule).done())
            }
            1 if !rules.is_empty() => {
                rules.shuffle(random);
                let request = ReorderRoutingRulesRequest { request_id: request_id(), rule_ids: rules.clone() };
                Ok(ask!(self, at, &self.owner, request, RoutingRuleServiceClient, reorder_routing_rules).done())
            }
            _ => {
                let word = WORDS.choose(random).copied().unwrap_or_default();
                let request = CreateRoutingRuleRequest {
                    request_id: request_id(),
                    name: format!("Whoever writes of {word}"),
                    conditions: Some(RoutingConditions { keywords: vec![word.into()], ..RoutingConditions::default() }),
                    team_id: self.teams.choose(random).cloned().unwrap_or_default(),
                    ..CreateRoutingRuleRequest::default()
                };
                let made = ask!(self, at, &self.owner, request, RoutingRuleServiceClient, create_routing_rule);
                if let Ended::Answered(answer) = &made {
                    rules.extend(answer.rule.as_ref().map(|rule| rule.id.clone()));
                }
                Ok(made.done())
            }
        }
    }
}
