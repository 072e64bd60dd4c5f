//! Teams and agents who wait for work.

use diwan_e2e::{
    Failure,
    door::{Person, request_id},
};
use diwan_proto::{
    conversation::v1::{WatchInboxRequest, WatchInboxResponse, inbox_service_client::InboxServiceClient},
    team::v1::{CreateTeamRequest, Team, team_service_client::TeamServiceClient},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::Streaming;

use crate::cast::{Hired, Scene};

/// As many at once as the machine can hash passwords for, and a few to keep it busy.
const AT_ONCE: usize = 8;

/// An account with its teams, and so many agents in each.
pub(crate) struct Staff {
    pub(crate) owner: Person,
    pub(crate) teams: Vec<Team>,
    pub(crate) agents: Vec<Hired>,
}

impl Staff {
    /// Makes the teams without limits, and hires `agents` for each.
    pub(crate) async fn hire(scene: &Scene, teams: usize, agents: usize) -> Result<Self, Failure> {
        let owner = scene.owner().await?;
        scene.seats(&owner, teams * agents + 1).await?;
        let mut made = Vec::new();
        for place in 0..teams {
            let name = format!("Team {place}");
            let request = CreateTeamRequest { request_id: request_id(), name, ..CreateTeamRequest::default() };
            let answer = TeamServiceClient::new(owner.way()).create_team(request).await?.into_inner();
            made.push(answer.team.ok_or("no team was made")?);
        }
        let places = made.iter().flat_map(|team| std::iter::repeat_n(team, agents));
        let hired = stream::iter(places.map(|team| scene.hire(&owner, team)));
        let agents = hired.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Self { owner, teams: made, agents })
    }

    /// Signs everybody in and opens everybody's inbox, which makes them ACTIVE.
    pub(crate) async fn come_in(&self, scene: &Scene) -> Result<Vec<Streaming<WatchInboxResponse>>, Failure> {
        let opened = stream::iter(self.agents.iter().map(|agent| open(scene, agent)));
        opened.buffer_unordered(AT_ONCE).try_collect().await
    }
}

async fn open(scene: &Scene, agent: &Hired) -> Result<Streaming<WatchInboxResponse>, Failure> {
    let person = scene.sign_in(agent).await?;
    Ok(InboxServiceClient::new(person.way()).watch_inbox(WatchInboxRequest::default()).await?.into_inner())
}
