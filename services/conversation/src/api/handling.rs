//! HandlingService.

use std::{sync::Mutex, time::Duration};

use diwan_access::{User, user};
use diwan_fault::Fields;
use diwan_feed::time::from_proto;
use diwan_proto::conversation::v1::{
    AssignConversationRequest, AssignConversationResponse, GetQueuePositionRequest, GetQueuePositionResponse,
    GetReassignmentRequest, GetReassignmentResponse, HandOverConversationRequest, HandOverConversationResponse,
    ListReassignmentsRequest, ListReassignmentsResponse, SetPriorityRequest, SetPriorityResponse,
    SnoozeConversationRequest, SnoozeConversationResponse, StartReassignmentRequest, StartReassignmentResponse,
    UnsnoozeConversationRequest, UnsnoozeConversationResponse, handling_service_server::HandlingService,
};
use diwan_runtime::clock::after;
use diwan_store::{Page, answers};
use jiff::Timestamp;
use prost::Name;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, notes::LONGEST_NOTE, position::position, shown::shown};
use crate::{
    Error,
    domain::state::{Cause, Priority},
    flow::{
        self, Team,
        authority::{directs, require_director},
        hand_over::{Destination, Moved},
        reassign::Order,
    },
    store::{
        conversations,
        reassignments::{self, Reassignment},
    },
    worker::reassigner,
};

/// How far ahead a conversation can be put off.
const LONGEST_SNOOZE: Duration = Duration::from_hours(366 * 24);

#[tonic::async_trait]
impl HandlingService for Api {
    async fn assign_conversation(
        &self,
        request: Request<AssignConversationRequest>,
    ) -> Result<Response<AssignConversationResponse>, Status> {
        let caller = user(&request)?;
        require_director(&self.scope(&caller).await?)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let to = Destination { team: None, user: Some(fields.uuid("user_id", &message.user_id)) };
        fields.finish()?;
        let answer = self
            .hand_over(
                (&caller, "AssignConversation", Cause::Assigned),
                (&request_id, &message),
                (id, ""),
                to,
                |moved| {
                    Ok(AssignConversationResponse {
                        conversation: Some(shown(&moved.conversation, &caller)?),
                        over_limit: moved.over_limit,
                    })
                },
            )
            .await?;
        Ok(Response::new(answer))
    }

    async fn hand_over_conversation(
        &self,
        request: Request<HandOverConversationRequest>,
    ) -> Result<Response<HandOverConversationResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let to = destination(&mut fields, ("team_id", &message.team_id), ("user_id", &message.user_id));
        let note = fields.text("note", &message.note, 0..=LONGEST_NOTE);
        if to.team.is_none() && to.user.is_none() {
            fields.refuse("team_id", "FIELD_REQUIRED", &[]);
        }
        fields.finish()?;
        let method = "HandOverConversation";
        let answer = self
            .hand_over((&caller, method, Cause::HandedOver), (&request_id, &message), (id, &note), to, |moved| {
                Ok(HandOverConversationResponse {
                    conversation: Some(shown(&moved.conversation, &caller)?),
                    over_limit: moved.over_limit,
                })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn snooze_conversation(
        &self,
        request: Request<SnoozeConversationRequest>,
    ) -> Result<Response<SnoozeConversationResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let now = self.0.clock.now();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let until = until(&mut fields, message.until.as_ref().and_then(from_proto), now);
        let once = once(&caller, &request_id, "SnoozeConversation", &message);
        if let Err(refused) = fields.finish() {
            // Who asks again when the time has come gets the answer that he missed.
            let given = answers::find(self.0.database.pool(), &once).await.map_err(Error::from)?;
            return given.map(Response::new).ok_or_else(|| refused.into());
        }
        let scope = self.scope(&caller).await?;
        let snooze = async |tx: &mut PgConnection| {
            let after = flow::snooze::snooze(tx, (&caller, &scope), id, until, now).await?;
            Ok::<_, Error>(SnoozeConversationResponse { conversation: Some(shown(&after, &caller)?) })
        };
        let answer: SnoozeConversationResponse = self.0.database.answer_once(&once, now, snooze).await?;
        self.0.times_changed.notify_one();
        // A slot is free.
        self.wake_team(&caller, answer.conversation.as_ref().map(|conversation| &conversation.team_id));
        Ok(Response::new(answer))
    }

    async fn unsnooze_conversation(
        &self,
        request: Request<UnsnoozeConversationRequest>,
    ) -> Result<Response<UnsnoozeConversationResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        let once = once(&caller, &request_id, "UnsnoozeConversation", &message);
        let now = self.0.clock.now();
        let unsnooze = async |tx: &mut PgConnection| {
            let (after, over_limit) = flow::snooze::unsnooze(tx, (&caller, &scope), id, now).await?;
            Ok::<_, Error>(UnsnoozeConversationResponse { conversation: Some(shown(&after, &caller)?), over_limit })
        };
        let answer: UnsnoozeConversationResponse = self.0.database.answer_once(&once, now, unsnooze).await?;
        // It may wait in the queue now.
        self.wake_team(&caller, answer.conversation.as_ref().map(|conversation| &conversation.team_id));
        Ok(Response::new(answer))
    }

    async fn set_priority(
        &self,
        request: Request<SetPriorityRequest>,
    ) -> Result<Response<SetPriorityResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let priority = priority(&mut fields, &message);
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        let once = once(&caller, &request_id, "SetPriority", &message);
        let now = self.0.clock.now();
        let set = async |tx: &mut PgConnection| {
            let after = flow::label::set_priority(tx, (&caller, &scope), id, priority, now).await?;
            Ok::<_, Error>(SetPriorityResponse { conversation: Some(shown(&after, &caller)?) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, set).await?))
    }

    async fn get_queue_position(
        &self,
        request: Request<GetQueuePositionRequest>,
    ) -> Result<Response<GetQueuePositionResponse>, Status> {
        let caller = user(&request)?;
        let mut fields = Fields::new();
        let id = fields.uuid("conversation_id", &request.get_ref().conversation_id);
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        let found = conversations::visible(&mut *self.connection().await?, caller.account_id, id, &scope).await?;
        Ok(Response::new(position(&self.0, caller.account_id, &found).await?))
    }

    async fn start_reassignment(
        &self,
        request: Request<StartReassignmentRequest>,
    ) -> Result<Response<StartReassignmentResponse>, Status> {
        let caller = user(&request)?;
        let scope = self.scope(&caller).await?;
        require_director(&scope)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let order = order(&mut fields, &message);
        fields.finish()?;
        let once = once(&caller, &request_id, "StartReassignment", &message);
        let now = self.0.clock.now();
        let start = async |tx: &mut PgConnection| {
            let started = flow::reassign::start(tx, (&caller, &scope), order, now).await?;
            Ok::<_, Error>(StartReassignmentResponse { reassignment: Some(started.to_proto()) })
        };
        let answer = self.0.database.answer_once(&once, now, start).await?;
        self.0.database.wake().ring(reassigner::BELL);
        Ok(Response::new(answer))
    }

    async fn get_reassignment(
        &self,
        request: Request<GetReassignmentRequest>,
    ) -> Result<Response<GetReassignmentResponse>, Status> {
        let caller = user(&request)?;
        let scope = self.scope(&caller).await?;
        require_director(&scope)?;
        let mut fields = Fields::new();
        let id = fields.uuid("reassignment_id", &request.get_ref().reassignment_id);
        fields.finish()?;
        let found = reassignments::find(self.0.database.pool(), caller.account_id, id).await?;
        let found = found.filter(|found| scope.everything || found.team_id.is_some_and(|team| directs(&scope, team)));
        let found = found.ok_or(Error::ReassignmentNotFound)?;
        Ok(Response::new(GetReassignmentResponse { reassignment: Some(found.to_proto()) }))
    }

    async fn list_reassignments(
        &self,
        request: Request<ListReassignmentsRequest>,
    ) -> Result<Response<ListReassignmentsResponse>, Status> {
        let caller = user(&request)?;
        let scope = self.scope(&caller).await?;
        require_director(&scope)?;
        let mut fields = Fields::new();
        let asked = ("ListReassignments", caller.account_id);
        let page = Page::<Uuid>::read(&mut fields, &asked, request.get_ref().page.as_ref());
        fields.finish()?;
        let led: Vec<Uuid> = scope.led.iter().copied().collect();
        let teams = (!scope.everything).then_some(led.as_slice());
        let pool = self.0.database.pool();
        let rows = reassignments::list(pool, caller.account_id, teams, page.after().copied(), page.limit()).await?;
        let (rows, info) = page.finish(rows, |row| row.id);
        let reassignments = rows.iter().map(Reassignment::to_proto).collect();
        Ok(Response::new(ListReassignmentsResponse { reassignments, page: Some(info) }))
    }
}

impl Api {
    /// Hands over once, and wakes the team that it came from and the one that it went to.
    async fn hand_over<A: Name + Default>(
        &self,
        (caller, method, cause): (&User, &'static str, Cause),
        (request_id, message): (&str, &impl Name),
        (id, note): (Uuid, &str),
        to: Destination,
        answer: impl Fn(&Moved) -> Result<A, Error> + Send + Sync,
    ) -> Result<A, Status> {
        let scope = self.scope(caller).await?;
        let once = once(caller, request_id, method, message);
        let now = self.0.clock.now();
        let woken: Mutex<Vec<Team>> = Mutex::default();
        let moved = async |tx: &mut PgConnection| {
            let mut moved = flow::hand_over::hand_over(tx, (caller, &scope), id, to, cause, now).await?;
            if !note.is_empty() {
                moved.conversation = flow::notes::append(tx, caller, &moved.conversation, note, now).await?.1;
            }
            let teams = [moved.from, moved.conversation.team_id].map(|team| (caller.account_id, team));
            woken.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(teams);
            answer(&moved)
        };
        let answered = self.0.database.answer_once(&once, now, moved).await?;
        self.0.wake(woken.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(answered)
    }

    fn wake_team(&self, caller: &User, team: Option<&String>) {
        let team = team.and_then(|team| Uuid::try_parse(team).ok());
        self.0.wake(team.map(|team| (caller.account_id, team)));
    }
}

fn once(caller: &User, request_id: &str, method: &'static str, message: &impl Name) -> answers::Request {
    answers::Request::new(caller.account_id, request_id, method, message).by(caller.user_id)
}

fn destination(fields: &mut Fields, team: (&str, &str), user: (&str, &str)) -> Destination {
    Destination { team: fields.optional_uuid(team.0, team.1), user: fields.optional_uuid(user.0, user.1) }
}

fn order(fields: &mut Fields, message: &StartReassignmentRequest) -> Order {
    let order = Order {
        holder: fields.optional_uuid("holder_id", &message.holder_id),
        team: fields.optional_uuid("team_id", &message.team_id),
        queued: message.queued,
        to: destination(fields, ("to_team_id", &message.to_team_id), ("to_user_id", &message.to_user_id)),
    };
    if order.holder.is_none() && order.team.is_none() {
        fields.refuse("holder_id", "FIELD_REQUIRED", &[]);
    }
    order
}

fn until(fields: &mut Fields, until: Option<Timestamp>, now: Timestamp) -> Timestamp {
    match until {
        Some(until) if until > now && until <= after(now, LONGEST_SNOOZE) => until,
        _ => {
            fields.refuse("until", "FIELD_UNTIL", &[]);
            now
        }
    }
}

fn priority(fields: &mut Fields, message: &SetPriorityRequest) -> Priority {
    Priority::of_proto(message.priority()).unwrap_or_else(|| {
        let names = Priority::ALL.map(|priority| priority.to_proto().as_str_name());
        fields.refuse("priority", "FIELD_VALUE", &[("values", names.join(", "))]);
        Priority::Normal
    })
}
