//! What team leads do for others, in their teams.

use diwan_e2e::{Failure, door::request_id};
use diwan_proto::{
    conversation::v1::{
        AvailabilityState, ConversationState, SetMemberAvailabilityRequest, board_service_client::BoardServiceClient,
    },
    team::v1::{SetTeamLeadRequest, membership_service_client::MembershipServiceClient},
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::{
    call::{As, At},
    operation::Outcome,
    person::Person,
    stage::Stage,
};

const WITH_PEOPLE: [ConversationState; 3] =
    [ConversationState::Open, ConversationState::Snoozed, ConversationState::Queued];

impl Stage {
    /// Makes somebody a lead of a team, or takes the mark from him.
    pub(crate) async fn set_lead(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let (team, agent) = (random.random_range(0..self.teams.len()), random.random_range(0..self.agents.len()));
        self.lead(team, agent, random.random_bool(0.7)).await
    }

    /// Sets the mark of a lead.
    pub(crate) async fn lead(&self, team: usize, agent: usize, lead: bool) -> Result<Outcome, Failure> {
        let request = SetTeamLeadRequest {
            request_id: request_id(),
            team_id: self.teams[team].clone(),
            user_id: self.agents[agent].id.to_string(),
            lead,
        };
        let set = self.call(As::Person(&self.owner), At::Gateway, &request, |channel, request| async move {
            MembershipServiceClient::new(channel).set_team_lead(request).await
        });
        let ended = set.await?;
        if ended.is_done() {
            let mut leads = self.leads.lock().await;
            leads.retain(|known| *known != (team, agent));
            leads.extend(lead.then_some((team, agent)));
        }
        Ok(ended.done())
    }

    /// Somebody who was named a lead, and his team. He may have lost the mark meanwhile.
    async fn some_lead(&self, random: &mut StdRng) -> Option<(String, &Person)> {
        let (team, agent) = self.leads.lock().await.choose(random).copied()?;
        Some((self.teams[team].clone(), &self.agents[agent]))
    }

    pub(crate) async fn lead_assigns(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some((team, lead)) = self.some_lead(random).await else { return Ok(None) };
        let Some(known) = self.board.of_team(random, &WITH_PEOPLE, &team) else { return Ok(None) };
        let to = if random.random_bool(0.5) { lead } else { self.anybody(random) };
        self.assign_as(random, lead, &known, to).await
    }

    pub(crate) async fn lead_closes(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some((team, lead)) = self.some_lead(random).await else { return Ok(None) };
        let Some(known) = self.board.of_team(random, &WITH_PEOPLE, &team) else { return Ok(None) };
        self.close_as(random, lead, &known).await
    }

    pub(crate) async fn lead_switches(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some((team_id, lead)) = self.some_lead(random).await else { return Ok(None) };
        let state = if random.random_bool(0.8) { AvailabilityState::Active } else { AvailabilityState::Watching };
        let user_id = self.anybody(random).id.to_string();
        let request = SetMemberAvailabilityRequest { request_id: request_id(), team_id, user_id, state: state.into() };
        let set = self.call(As::Person(lead), At::replica(random), &request, |channel, request| async move {
            BoardServiceClient::new(channel).set_member_availability(request).await
        });
        Ok(set.await?.done())
    }
}
