//! All that a client asks for first, in one call.

use std::{future::Future, time::Duration};

use diwan_access::{Pages, User, user};
use diwan_proto::{
    billing::v1::{GetSubscriptionRequest, subscription_service_client::SubscriptionServiceClient},
    common::v1::PageRequest,
    conversation::v1::{GetMyAvailabilityRequest, inbox_service_client::InboxServiceClient},
    gateway::v1::{GetBootstrapRequest, GetBootstrapResponse, bootstrap_service_server::BootstrapService},
    identity::v1::{
        GetAccountRequest, GetUserRequest, account_service_client::AccountServiceClient,
        user_service_client::UserServiceClient,
    },
    team::v1::{ListMyTeamsRequest, membership_service_client::MembershipServiceClient},
};
use diwan_transport::context;
use http::header::AUTHORIZATION;
use tokio::time::{Instant, timeout};
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

use crate::upstream::Upstream;

/// What one part gets, unless the caller gives less: a service that does not answer within it counts as missing.
const PART: Duration = Duration::from_secs(2);
const TEAMS: i32 = 200;

/// Asks the services side by side.
pub(crate) struct Bootstrap {
    pub(crate) identity: Upstream,
    pub(crate) team: Upstream,
    pub(crate) conversation: Upstream,
    pub(crate) billing: Upstream,
    pub(crate) pages: Pages,
}

/// What became of one part.
enum Part<T> {
    Here(T),
    /// Not for this caller.
    NotHis,
    Missing,
}

impl<T> Part<T> {
    /// The part, if it is here; the service goes onto the list if it is missing.
    fn or_name(self, service: &str, missing: &mut Vec<String>) -> Option<T> {
        match self {
            Self::Here(part) => return Some(part),
            Self::Missing if missing.last().is_none_or(|last| last != service) => missing.push(service.to_owned()),
            Self::NotHis | Self::Missing => {}
        }
        None
    }
}

/// Asks on behalf of one caller.
struct Asking<'a> {
    metadata: &'a MetadataMap,
    limit: Duration,
}

impl Asking<'_> {
    /// `message` with the caller's token.
    fn with<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        if let Some(token) = self.metadata.get(AUTHORIZATION.as_str()) {
            request.metadata_mut().insert(AUTHORIZATION.as_str(), token.clone());
        }
        request.set_timeout(self.limit);
        request
    }

    /// Waits for one part. Its own refusal of the token is the answer to the whole: access was cut a moment ago.
    async fn part<T>(
        &self,
        service: &str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<Part<T>, Status> {
        match timeout(self.limit, call).await {
            Ok(Ok(answer)) => Ok(Part::Here(answer.into_inner())),
            Ok(Err(status)) if status.code() == Code::Unauthenticated => Err(status),
            Ok(Err(status)) if status.code() == Code::PermissionDenied => Ok(Part::NotHis),
            Ok(Err(status)) => {
                tracing::warn!(service, %status, "a part of the bootstrap is missing");
                Ok(Part::Missing)
            }
            Err(_) => {
                tracing::warn!(service, limit = ?self.limit, "a part of the bootstrap took too long");
                Ok(Part::Missing)
            }
        }
    }
}

#[tonic::async_trait]
impl BootstrapService for Bootstrap {
    async fn get_bootstrap(
        &self,
        request: Request<GetBootstrapRequest>,
    ) -> Result<Response<GetBootstrapResponse>, Status> {
        let caller = user(&request)?;
        let asking = Asking { metadata: request.metadata(), limit: limit() };
        let (user, account, teams, availability, subscription) = tokio::try_join!(
            asking.part("identity", self.user(&asking, &caller)),
            asking.part("identity", self.account(&asking)),
            asking.part("team", self.teams(&asking)),
            asking.part("conversation", self.availability(&asking)),
            asking.part("billing", self.subscription(&asking)),
        )?;
        let mut missing = Vec::new();
        let user = user.or_name("identity", &mut missing).and_then(|answer| answer.user);
        let account = account.or_name("identity", &mut missing).and_then(|answer| answer.account);
        let teams = teams.or_name("team", &mut missing).unwrap_or_default();
        Ok(Response::new(GetBootstrapResponse {
            user,
            account,
            teams: teams.teams,
            led_team_ids: teams.led_team_ids,
            availability: availability.or_name("conversation", &mut missing).and_then(|answer| answer.availability),
            subscription: subscription.or_name("billing", &mut missing).and_then(|answer| answer.subscription),
            missing,
            pages: self.pages.of(&caller).into_iter().map(i32::from).collect(),
        }))
    }
}

type Answer<T> = Result<Response<T>, Status>;

impl Bootstrap {
    async fn user(&self, asking: &Asking<'_>, caller: &User) -> Answer<diwan_proto::identity::v1::GetUserResponse> {
        let request = asking.with(GetUserRequest { user_id: caller.user_id.to_string() });
        UserServiceClient::new(self.identity.clone()).get_user(request).await
    }

    async fn account(&self, asking: &Asking<'_>) -> Answer<diwan_proto::identity::v1::GetAccountResponse> {
        AccountServiceClient::new(self.identity.clone()).get_account(asking.with(GetAccountRequest {})).await
    }

    async fn teams(&self, asking: &Asking<'_>) -> Answer<diwan_proto::team::v1::ListMyTeamsResponse> {
        let page = Some(PageRequest { size: TEAMS, token: String::new() });
        let request = asking.with(ListMyTeamsRequest { page });
        MembershipServiceClient::new(self.team.clone()).list_my_teams(request).await
    }

    async fn availability(
        &self,
        asking: &Asking<'_>,
    ) -> Answer<diwan_proto::conversation::v1::GetMyAvailabilityResponse> {
        let request = asking.with(GetMyAvailabilityRequest {});
        InboxServiceClient::new(self.conversation.clone()).get_my_availability(request).await
    }

    async fn subscription(&self, asking: &Asking<'_>) -> Answer<diwan_proto::billing::v1::GetSubscriptionResponse> {
        let request = asking.with(GetSubscriptionRequest {});
        SubscriptionServiceClient::new(self.billing.clone()).get_subscription(request).await
    }
}

/// A part gets less than its caller gives to the whole: there has to be time left to say that it is missing.
fn limit() -> Duration {
    let left = context::deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()));
    left.map_or(PART, |left| PART.min(left * 3 / 4))
}
