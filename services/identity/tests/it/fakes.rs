//! Billing and team as identity sees them: they keep what they were told, and fail when they are asked to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use diwan_fault::{Code, Fault};
use diwan_proto::{
    billing::v1::{
        GetSubscriptionRequest, GetSubscriptionResponse, ListSeatsRequest, ListSeatsResponse, ReleaseSeatRequest,
        ReleaseSeatResponse, Seat, SetSeatLimitRequest, SetSeatLimitResponse, StartTrialRequest, StartTrialResponse,
        TakeSeatRequest, TakeSeatResponse,
        seat_service_server::{SeatService, SeatServiceServer},
        subscription_service_server::{SubscriptionService, SubscriptionServiceServer},
    },
    export::v1::account_data_service_server::AccountDataServiceServer,
    team::v1::{
        AddMemberRequest, AddMemberResponse, BatchGetTeamsRequest, BatchGetTeamsResponse, CreateFallbackTeamRequest,
        CreateFallbackTeamResponse, CreateTeamRequest, CreateTeamResponse, GetTeamRequest, GetTeamResponse,
        JoinTeamsRequest, JoinTeamsResponse, ListMembersRequest, ListMembersResponse, ListMyTeamsRequest,
        ListMyTeamsResponse, ListTeamsRequest, ListTeamsResponse, RemoveMemberRequest, RemoveMemberResponse,
        SetTeamLeadRequest, SetTeamLeadResponse, Team, UpdateTeamRequest, UpdateTeamResponse,
        membership_service_server::{MembershipService, MembershipServiceServer},
        team_service_server::{TeamService, TeamServiceServer},
    },
};
use diwan_runtime::ids;
use diwan_testkit::World;
use diwan_transport::Methods;
use tonic::{Request, Response, Status};

use crate::exports::Data;

type Answer<T> = Result<Response<T>, Status>;

/// What the fakes were told.
#[derive(Debug)]
pub struct Told {
    /// Owner of each account with a trial.
    pub trials: BTreeMap<String, String>,
    /// Who holds a seat, and whether it is leased.
    pub seats: BTreeMap<String, bool>,
    /// How many seats there are.
    pub limit: usize,
    /// The active teams, by id, with their account.
    pub teams: BTreeMap<String, String>,
    /// Team and user.
    pub members: BTreeSet<(String, String)>,
    /// So many calls fail as if nobody was there.
    pub failures: usize,
    /// Calls hang for as long as this is set.
    pub hanging: bool,
}

/// Billing and team.
#[derive(Clone)]
pub struct Others(Arc<Mutex<Told>>);

impl Others {
    /// Puts them into their places in `world`.
    pub async fn start(world: &World) -> Self {
        let others = Self(Arc::new(Mutex::new(Told {
            trials: BTreeMap::new(),
            seats: BTreeMap::new(),
            limit: 5,
            teams: BTreeMap::new(),
            members: BTreeSet::new(),
            failures: 0,
            hanging: false,
        })));
        let billing = Methods::new("billing")
            .with(SubscriptionServiceServer::new(others.clone()))
            .await
            .with(SeatServiceServer::new(others.clone()))
            .await
            .with(AccountDataServiceServer::new(Data::default()))
            .await;
        let team = Methods::new("team")
            .with(TeamServiceServer::new(others.clone()))
            .await
            .with(MembershipServiceServer::new(others.clone()))
            .await
            .with(AccountDataServiceServer::new(Data::default()))
            .await;
        for (name, methods) in [("billing", billing), ("team", team)] {
            let front = methods.into_front(world.admission.clone(), &world.drain).unwrap();
            world.network.slot(name).unwrap().fill(front);
        }
        others
    }

    pub fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }

    /// The next `calls` fail.
    pub fn fail(&self, calls: usize) {
        self.told().failures = calls;
    }

    /// Adds an active team.
    pub fn add_team(&self, account: &str) -> String {
        let id = ids::new_id().to_string();
        self.told().teams.insert(id.clone(), account.to_owned());
        id
    }

    async fn reached(&self) -> Result<MutexGuard<'_, Told>, Status> {
        while self.told().hanging {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut told = self.told();
        if told.failures > 0 {
            told.failures -= 1;
            return Err(Status::unavailable("out of reach"));
        }
        Ok(told)
    }
}

fn unused<T>() -> Answer<T> {
    Err(Status::unimplemented("identity does not call it"))
}

#[tonic::async_trait]
impl SubscriptionService for Others {
    async fn start_trial(&self, request: Request<StartTrialRequest>) -> Answer<StartTrialResponse> {
        let request = request.into_inner();
        let mut told = self.reached().await?;
        told.seats.insert(request.owner_id.clone(), false);
        told.trials.insert(request.account_id, request.owner_id);
        Ok(Response::new(StartTrialResponse::default()))
    }
    async fn get_subscription(&self, _: Request<GetSubscriptionRequest>) -> Answer<GetSubscriptionResponse> {
        unused()
    }
    async fn set_seat_limit(&self, _: Request<SetSeatLimitRequest>) -> Answer<SetSeatLimitResponse> {
        unused()
    }
}

#[tonic::async_trait]
impl SeatService for Others {
    async fn take_seat(&self, request: Request<TakeSeatRequest>) -> Answer<TakeSeatResponse> {
        let request = request.into_inner();
        let mut told = self.reached().await?;
        if !told.seats.contains_key(&request.user_id) && told.seats.len() >= told.limit {
            let fault = Fault::new(Code::ResourceExhausted, "NO_SEAT_LEFT").with("seats", told.limit.to_string());
            return Err(fault.into());
        }
        told.seats.insert(request.user_id.clone(), request.lease_expires_at.is_some());
        Ok(Response::new(TakeSeatResponse { seat: Some(Seat { user_id: request.user_id, ..Seat::default() }) }))
    }
    async fn release_seat(&self, request: Request<ReleaseSeatRequest>) -> Answer<ReleaseSeatResponse> {
        self.reached().await?.seats.remove(&request.into_inner().user_id);
        Ok(Response::new(ReleaseSeatResponse {}))
    }
    async fn list_seats(&self, _: Request<ListSeatsRequest>) -> Answer<ListSeatsResponse> {
        unused()
    }
}

#[tonic::async_trait]
impl TeamService for Others {
    async fn create_fallback_team(
        &self,
        request: Request<CreateFallbackTeamRequest>,
    ) -> Answer<CreateFallbackTeamResponse> {
        let request = request.into_inner();
        let mut told = self.reached().await?;
        if !told.teams.values().any(|account| *account == request.account_id) {
            let id = ids::new_id().to_string();
            told.teams.insert(id.clone(), request.account_id);
            told.members.insert((id, request.owner_id));
        }
        Ok(Response::new(CreateFallbackTeamResponse::default()))
    }
    async fn batch_get_teams(&self, request: Request<BatchGetTeamsRequest>) -> Answer<BatchGetTeamsResponse> {
        let request = request.into_inner();
        let told = self.reached().await?;
        let ours = request.team_ids.into_iter().filter(|id| told.teams.get(id) == Some(&request.account_id));
        Ok(Response::new(BatchGetTeamsResponse { teams: ours.map(|id| Team { id, ..Team::default() }).collect() }))
    }
    async fn create_team(&self, _: Request<CreateTeamRequest>) -> Answer<CreateTeamResponse> {
        unused()
    }
    async fn get_team(&self, _: Request<GetTeamRequest>) -> Answer<GetTeamResponse> {
        unused()
    }
    async fn list_teams(&self, _: Request<ListTeamsRequest>) -> Answer<ListTeamsResponse> {
        unused()
    }
    async fn update_team(&self, _: Request<UpdateTeamRequest>) -> Answer<UpdateTeamResponse> {
        unused()
    }
}

#[tonic::async_trait]
impl MembershipService for Others {
    async fn join_teams(&self, request: Request<JoinTeamsRequest>) -> Answer<JoinTeamsResponse> {
        let request = request.into_inner();
        let mut told = self.reached().await?;
        told.members.extend(request.team_ids.into_iter().map(|team| (team, request.user_id.clone())));
        Ok(Response::new(JoinTeamsResponse::default()))
    }
    async fn add_member(&self, _: Request<AddMemberRequest>) -> Answer<AddMemberResponse> {
        unused()
    }
    async fn remove_member(&self, _: Request<RemoveMemberRequest>) -> Answer<RemoveMemberResponse> {
        unused()
    }
    async fn set_team_lead(&self, _: Request<SetTeamLeadRequest>) -> Answer<SetTeamLeadResponse> {
        unused()
    }
    async fn list_members(&self, _: Request<ListMembersRequest>) -> Answer<ListMembersResponse> {
        unused()
    }
    async fn list_my_teams(&self, _: Request<ListMyTeamsRequest>) -> Answer<ListMyTeamsResponse> {
        unused()
    }
}
