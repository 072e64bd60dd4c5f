//! Calls to billing and team, with this service's own token.

use std::time::Duration;

use diwan_launch::Context;
use diwan_proto::{
    billing::v1::{
        ReleaseSeatRequest, StartTrialRequest, TakeSeatRequest, seat_service_client::SeatServiceClient,
        subscription_service_client::SubscriptionServiceClient,
    },
    team::v1::{
        BatchGetTeamsRequest, CreateFallbackTeamRequest, JoinTeamsRequest,
        membership_service_client::MembershipServiceClient, team_service_client::TeamServiceClient,
    },
};
use diwan_transport::Transport;
use jiff::Timestamp;
use tonic::Status;
use uuid::Uuid;

use crate::error::Error;

/// The longest that one call may take.
pub const LIMIT: Duration = Duration::from_secs(5);

/// The other services that identity calls.
#[derive(Clone)]
pub struct Peers {
    subscriptions: SubscriptionServiceClient<Transport>,
    seats: SeatServiceClient<Transport>,
    teams: TeamServiceClient<Transport>,
    memberships: MembershipServiceClient<Transport>,
}

impl Peers {
    /// As this service's process reaches them.
    pub fn new(context: &Context) -> Self {
        let to = |service| context.network.to(service).signed(&context.signer).within(LIMIT);
        Self {
            subscriptions: SubscriptionServiceClient::new(to("billing")),
            seats: SeatServiceClient::new(to("billing")),
            teams: TeamServiceClient::new(to("team")),
            memberships: MembershipServiceClient::new(to("team")),
        }
    }

    /// Starts the trial of a new account, with its owner in the first seat.
    pub async fn start_trial(&self, account: Uuid, owner: Uuid) -> Result<(), Error> {
        let request = StartTrialRequest { account_id: account.to_string(), owner_id: owner.to_string() };
        self.subscriptions.clone().start_trial(request).await.map_err(billing)?;
        Ok(())
    }

    /// Makes the fallback team of a new account, with its owner in it.
    pub async fn create_fallback_team(&self, account: Uuid, owner: Uuid, language: &str) -> Result<(), Error> {
        let request = CreateFallbackTeamRequest {
            account_id: account.to_string(),
            owner_id: owner.to_string(),
            language: language.to_owned(),
        };
        self.teams.clone().create_fallback_team(request).await.map_err(team)?;
        Ok(())
    }

    /// Gives a user a seat, until `lease` if there is one.
    ///
    /// # Errors
    /// [`Error::NoSeatLeft`], [`Error::Peer`].
    pub async fn take_seat(&self, account: Uuid, user: Uuid, lease: Option<Timestamp>) -> Result<(), Error> {
        let request = TakeSeatRequest {
            account_id: account.to_string(),
            user_id: user.to_string(),
            lease_expires_at: lease.map(diwan_feed::time::to_proto),
        };
        self.seats.clone().take_seat(request).await.map_err(billing)?;
        Ok(())
    }

    /// Frees a user's seat.
    pub async fn release_seat(&self, account: Uuid, user: Uuid) -> Result<(), Error> {
        let request = ReleaseSeatRequest { account_id: account.to_string(), user_id: user.to_string() };
        self.seats.clone().release_seat(request).await.map_err(billing)?;
        Ok(())
    }

    /// Makes sure that every one of `teams` is an active team of the account.
    ///
    /// # Errors
    /// [`Error::TeamsNotFound`] with those that are not, [`Error::Peer`].
    pub async fn require_teams(&self, account: Uuid, teams: &[Uuid]) -> Result<(), Error> {
        let request = BatchGetTeamsRequest {
            account_id: account.to_string(),
            team_ids: teams.iter().map(Uuid::to_string).collect(),
        };
        let found = self.teams.clone().batch_get_teams(request).await.map_err(team)?.into_inner().teams;
        let is_found = |id: &Uuid| found.iter().any(|team| Uuid::try_parse(&team.id).as_ref() == Ok(id));
        let missing: Vec<Uuid> = teams.iter().copied().filter(|id| !is_found(id)).collect();
        if missing.is_empty() { Ok(()) } else { Err(Error::TeamsNotFound(missing)) }
    }

    /// Makes a user a member of teams.
    pub async fn join_teams(&self, account: Uuid, user: Uuid, teams: &[Uuid]) -> Result<(), Error> {
        let request = JoinTeamsRequest {
            account_id: account.to_string(),
            user_id: user.to_string(),
            team_ids: teams.iter().map(Uuid::to_string).collect(),
        };
        self.memberships.clone().join_teams(request).await.map_err(team)?;
        Ok(())
    }
}

fn billing(status: Status) -> Error {
    Error::of_peer("billing", status)
}

fn team(status: Status) -> Error {
    Error::of_peer("team", status)
}
