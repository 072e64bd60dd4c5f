//! InboxService.

use std::time::Duration;

use diwan_access::{User, user};
use diwan_fault::{Fields, language};
use diwan_feed::Position;
use diwan_proto::conversation::v1::{
    self as proto, AvailabilityState, GetMyAvailabilityRequest, GetMyAvailabilityResponse, ListAvailabilityRequest,
    ListAvailabilityResponse, SetAvailabilityRequest, SetAvailabilityResponse, WatchInboxRequest, WatchInboxResponse,
    inbox_service_server::InboxService,
};
use diwan_runtime::ids;
use diwan_store::answers;
use sqlx::PgConnection;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, stream::Stream};
use crate::{
    Error,
    domain::state::Availability,
    flow,
    store::presence::{self, NewSession, Presence},
};

/// How many responses wait for a client that reads slowly.
const BUFFER: usize = 64;

#[tonic::async_trait]
impl InboxService for Api {
    type WatchInboxStream = ReceiverStream<Result<WatchInboxResponse, Status>>;

    async fn watch_inbox(
        &self,
        request: Request<WatchInboxRequest>,
    ) -> Result<Response<Self::WatchInboxStream>, Status> {
        let caller = user(&request)?;
        let mut fields = Fields::new();
        let cursor = cursor(&mut fields, &request.get_ref().cursor);
        fields.finish()?;
        // Before anything is looked at: whatever changes from now on comes as an event.
        let (head, events) = self.0.hub.subscribe();
        let session = ids::new_id();
        let present = self.enter(&caller, session, self.0.settings.lease).await?;
        // Once it stands in the database: one that is listed here and not there counts as lost.
        let entry = self.0.sessions.open(caller.account_id, session);
        let scope = self.scope(&caller).await?;
        let (out, responses) = mpsc::channel(BUFFER);
        let stream = Stream::new(self.0.clone(), caller, scope, out, present.to_proto(), (cursor, head));
        self.0.drain.spawn(language::scope(language::current(), stream.run(entry, events)));
        Ok(Response::new(ReceiverStream::new(responses)))
    }

    async fn set_availability(
        &self,
        request: Request<SetAvailabilityRequest>,
    ) -> Result<Response<SetAvailabilityResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let state = chosen(&mut fields, message.state());
        fields.finish()?;
        let agent = (caller.account_id, caller.user_id, Some(caller.session_id));
        let once =
            answers::Request::new(caller.account_id, &request_id, "SetAvailability", &message).by(caller.user_id);
        let now = self.0.clock.now();
        let answer: SetAvailabilityResponse = self
            .0
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                let (present, _) = flow::presence::switch(tx, agent, state, now).await?;
                Ok::<_, Error>(SetAvailabilityResponse { availability: Some(present.to_proto()) })
            })
            .await?;
        self.0.wake(self.teams(&caller).await?);
        Ok(Response::new(answer))
    }

    async fn get_my_availability(
        &self,
        request: Request<GetMyAvailabilityRequest>,
    ) -> Result<Response<GetMyAvailabilityResponse>, Status> {
        let caller = user(&request)?;
        let present = presence::of(self.0.database.pool(), caller.account_id, caller.user_id).await?;
        let never_here = || proto::Availability {
            user_id: caller.user_id.to_string(),
            state: AvailabilityState::Offline.into(),
            since: None,
        };
        let availability = Some(present.map_or_else(never_here, Presence::to_proto));
        Ok(Response::new(GetMyAvailabilityResponse { availability }))
    }

    async fn list_availability(
        &self,
        request: Request<ListAvailabilityRequest>,
    ) -> Result<Response<ListAvailabilityResponse>, Status> {
        let caller = user(&request)?;
        let present = presence::list(self.0.database.pool(), caller.account_id).await?;
        let availabilities = present.into_iter().map(Presence::to_proto).collect();
        Ok(Response::new(ListAvailabilityResponse { availabilities }))
    }
}

impl Api {
    /// A live session begins, which lives for `lease` unless it is extended.
    pub(super) async fn enter(&self, caller: &User, id: Uuid, lease: Duration) -> Result<Presence, Error> {
        let (present, teams) = self
            .0
            .database
            .transaction("enter", async |tx: &mut PgConnection| {
                let now = self.0.clock.now();
                let session = NewSession { id, sign_in: caller.session_id, lease_until: presence::lease(now, lease) };
                flow::presence::enter(tx, caller, session, self.0.settings.grace, now).await
            })
            .await?;
        self.0.wake(teams);
        Ok(present)
    }

    async fn teams(&self, caller: &User) -> Result<Vec<flow::Team>, Error> {
        let mut connection = self.connection().await?;
        let teams = crate::store::slots::teams_of(&mut connection, caller.account_id, caller.user_id).await?;
        Ok(teams.into_iter().map(|team| (caller.account_id, team)).collect())
    }
}

pub(super) fn chosen(fields: &mut Fields, state: AvailabilityState) -> Availability {
    let chosen = Availability::of_proto(state).filter(|state| *state != Availability::Offline);
    chosen.unwrap_or_else(|| {
        let names = [Availability::Active, Availability::Watching].map(|state| state.to_proto().as_str_name());
        fields.refuse("state", "FIELD_VALUE", &[("values", names.join(", "))]);
        Availability::Watching
    })
}

/// Cursors are places in our feed. What is no such thing never was one of ours.
fn cursor(fields: &mut Fields, text: &str) -> Option<Position> {
    if text.is_empty() {
        return None;
    }
    let numbers: Option<Vec<i64>> = text.split('.').map(|number| number.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[generation, transaction, sequence]) if generation >= 0 && transaction >= 0 && sequence >= 0 => {
            Some(Position { generation, transaction, sequence })
        }
        _ => {
            fields.refuse("cursor", "FIELD_CURSOR", &[]);
            None
        }
    }
}
