//! What changes who may get something: availability, memberships, settings, archives.

use std::time::Duration;

use diwan_e2e::{Failure, door::request_id};
use diwan_proto::{
    conversation::v1::{
        AvailabilityState, HeartbeatRequest, SetAvailabilityRequest, StartReassignmentRequest,
        handling_service_client::HandlingServiceClient, inbox_service_client::InboxServiceClient,
        presence_service_client::PresenceServiceClient,
    },
    identity::v1::{DeactivateUserRequest, ReactivateUserRequest, user_service_client::UserServiceClient},
    team::v1::{
        AddMemberRequest, ArchiveTeamRequest, RemoveMemberRequest, SetWorkingHoursRequest, Shift, Team,
        UnarchiveTeamRequest, UpdateTeamRequest, WorkingDay, WorkingHours,
        archive_service_client::ArchiveServiceClient, hours_service_client::HoursServiceClient,
        membership_service_client::MembershipServiceClient, team_service_client::TeamServiceClient,
    },
};
use diwan_runtime::{Clock as _, SystemClock};
use jiff::tz::TimeZone;
use prost_types::FieldMask;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::time::sleep;

use crate::{
    call::{As, At, Ended},
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

    /// The client of somebody who cannot keep a stream says once that he is there.
    pub(crate) async fn beat_once(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let background = random.random_bool(0.2);
        self.beat(At::replica(random), self.anybody(random), background).await
    }

    /// Says that somebody is there.
    pub(crate) async fn beat(&self, at: At, person: &Person, background: bool) -> Result<Outcome, Failure> {
        Ok(ask!(self, at, person, HeartbeatRequest { background }, PresenceServiceClient, heartbeat).done())
    }

    /// Somebody signs out, which ends what he has open, and in again.
    pub(crate) async fn sign_out(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let number = random.random_range(0..self.agents.len());
        let _his = self.staff[number].lock().await;
        Ok(Some(match self.agents[number].sign_out().await {
            Ok(()) => Ended::Answered(()),
            Err(_) => Ended::Refused("PostgreSQL was away".into()),
        }))
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
        let team = Team { id, ..Team::default() };
        match random.random_range(0..4) {
            0 => self.update(Team { sticky_owner: on, ..team }, "sticky_owner").await,
            1 => self.update(Team { topic_mandatory: on, ..team }, "topic_mandatory").await,
            2 => self.update(Team { reassign_when_offline: on, ..team }, "reassign_when_offline").await,
            _ => self.no_answer(team.id, i32::from(on)).await,
        }
    }

    /// Sets after how many minutes without an answer others are asked; 0: never.
    pub(crate) async fn no_answer(&self, id: String, minutes: i32) -> Result<Outcome, Failure> {
        let team = Team { id, no_answer_after_minutes: minutes, ..Team::default() };
        self.update(team, "no_answer_after_minutes").await
    }

    async fn update(&self, team: Team, field: &str) -> Result<Outcome, Failure> {
        let update_mask = Some(FieldMask { paths: vec![field.to_owned()] });
        let request = UpdateTeamRequest { request_id: request_id(), team: Some(team), update_mask };
        Ok(ask!(self, At::Gateway, &self.owner, request, TeamServiceClient, update_team).done())
    }

    pub(crate) async fn set_hours(&self, random: &mut StdRng, open: bool) -> Result<Outcome, Failure> {
        let team = self.teams.choose(random).cloned().unwrap_or_default();
        self.hours(&team, open).await
    }

    /// Opens a team for ever, or has it work on one day only, three days from now. The account's time is UTC.
    pub(crate) async fn hours(&self, team: &str, open: bool) -> Result<Outcome, Failure> {
        let weekday = SystemClock.now().to_zoned(TimeZone::UTC).weekday().wrapping_add(3);
        let shifts = vec![Shift { start_minute: 9 * 60, end_minute: 17 * 60 }];
        let day = WorkingDay { weekday: i32::from(weekday.to_monday_one_offset()), shifts };
        let hours = (!open).then_some(WorkingHours { days: vec![day], holidays: Vec::new() });
        let request = SetWorkingHoursRequest { request_id: request_id(), team_id: team.to_owned(), hours };
        Ok(ask!(self, At::Gateway, &self.owner, request, HoursServiceClient, set_working_hours).done())
    }

    pub(crate) async fn join_some(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let team = self.teams.choose(random).cloned().unwrap_or_default();
        self.join(team, self.anybody(random).id.to_string()).await
    }

    pub(crate) async fn leave_some(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let team_id = self.teams.choose(random).cloned().unwrap_or_default();
        let user_id = self.anybody(random).id.to_string();
        let request = RemoveMemberRequest { request_id: request_id(), team_id, user_id };
        Ok(ask!(self, At::Gateway, &self.owner, request, MembershipServiceClient, remove_member).done())
    }

    /// Somebody joins a team.
    pub(crate) async fn join(&self, team_id: String, user_id: String) -> Result<Outcome, Failure> {
        let request = AddMemberRequest { request_id: request_id(), team_id, user_id };
        Ok(ask!(self, At::Gateway, &self.owner, request, MembershipServiceClient, add_member).done())
    }

    /// Archives a team, if none is.
    pub(crate) async fn archive(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let mut archived = self.archived.lock().await;
        if archived.is_some() {
            return Ok(None);
        }
        let team = random.random_range(0..self.teams.len());
        let to = (team + random.random_range(1..self.teams.len())) % self.teams.len();
        let request = ArchiveTeamRequest {
            request_id: request_id(),
            team_id: self.teams[team].clone(),
            receiving_team_id: self.teams[to].clone(),
        };
        let ended = ask!(self, At::Gateway, &self.owner, request, ArchiveServiceClient, archive_team);
        *archived = ended.is_done().then_some(team);
        Ok(ended.done())
    }

    /// Takes the archived team back into use.
    pub(crate) async fn unarchive_some(&self) -> Result<Outcome, Failure> {
        let mut archived = self.archived.lock().await;
        let Some(team) = *archived else { return Ok(None) };
        let team_id = self.teams[team].clone();
        let request = UnarchiveTeamRequest { request_id: request_id(), team_id, name: String::new() };
        let ended = ask!(self, At::Gateway, &self.owner, request, ArchiveServiceClient, unarchive_team);
        if ended.is_done() {
            *archived = None;
        }
        Ok(ended.done())
    }

    /// Deactivates somebody, and reactivates him a moment later.
    pub(crate) async fn deactivate(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let number = random.random_range(0..self.agents.len());
        let _his = self.staff[number].lock().await;
        let agent = &self.agents[number];
        let user_id = agent.id.to_string();
        agent.bar(true).await;
        let request = DeactivateUserRequest { request_id: request_id(), user_id: user_id.clone() };
        let ended = ask!(self, At::Gateway, &self.owner, request, UserServiceClient, deactivate_user);
        if ended.is_done() {
            sleep(Duration::from_millis(random.random_range(200..2000))).await;
            let request = ReactivateUserRequest { request_id: request_id(), user_id };
            ask!(self, At::Gateway, &self.owner, request, UserServiceClient, reactivate_user).answered()?;
        }
        agent.bar(false).await;
        Ok(ended.done())
    }
}
