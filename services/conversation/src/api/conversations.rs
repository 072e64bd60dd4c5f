//! ConversationService.

use diwan_access::{user, viewer};
use diwan_fault::{Fault, Fields};
use diwan_proto::conversation::v1::{
    CloseConversationRequest, CloseConversationResponse, ConversationState, GetConversationRequest,
    GetConversationResponse, ListConversationsRequest, ListConversationsResponse, ListMessagesRequest,
    ListMessagesResponse, ListTransitionsRequest, ListTransitionsResponse, ReplyRequest, ReplyResponse,
    TakeConversationRequest, TakeConversationResponse, conversation_service_server::ConversationService,
};
use diwan_store::{Page, answers};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, shown::shown};
use crate::{
    Error,
    domain::state::State,
    flow,
    store::{
        conversations,
        lists::{self, Filter, Part},
        messages, transitions,
    },
    worker::sender,
};

/// The longest message to a customer, in characters.
pub const LONGEST_ANSWER: usize = 100_000;

/// Entries in the order of time.
type ByTime = (Timestamp, Uuid);

#[tonic::async_trait]
impl ConversationService for Api {
    async fn get_conversation(
        &self,
        request: Request<GetConversationRequest>,
    ) -> Result<Response<GetConversationResponse>, Status> {
        let caller = viewer(&request)?;
        let id = only_id(&request.get_ref().conversation_id)?;
        let scope = self.scope(&caller).await?;
        let found = conversations::visible(&mut *self.connection().await?, caller.account_id, id, &scope).await?;
        Ok(Response::new(GetConversationResponse { conversation: Some(shown(&found, &caller)?) }))
    }

    async fn list_conversations(
        &self,
        request: Request<ListConversationsRequest>,
    ) -> Result<Response<ListConversationsResponse>, Status> {
        let caller = viewer(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let filter = filter(&mut fields, &message);
        let asked = ("ListConversations", caller.account_id, message.state, filter.team, filter.holder);
        let page = Page::<ByTime>::read(&mut fields, &asked, message.page.as_ref());
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        let pool = self.0.database.pool();
        let part = Part { after: page.after().copied(), limit: page.limit() };
        let rows = lists::list(pool, caller.account_id, &scope, filter, part).await?;
        let (rows, info) = page.finish(rows, |row| (row.created_at.to_jiff(), row.id));
        let conversations = rows.iter().map(|row| shown(row, &caller)).collect::<Result<_, _>>()?;
        Ok(Response::new(ListConversationsResponse { conversations, page: Some(info) }))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let caller = viewer(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let page = Page::<ByTime>::read(&mut fields, &("ListMessages", id), message.page.as_ref());
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        conversations::visible(&mut *self.connection().await?, caller.account_id, id, &scope).await?;
        let pool = self.0.database.pool();
        let (rows, fit) = messages::list(pool, caller.account_id, id, page.after().copied(), page.limit()).await?;
        let (rows, info) = page.at_most(fit).finish(rows, |row| (row.created_at.to_jiff(), row.id));
        let messages = rows.iter().map(messages::Message::to_proto).collect::<Result<_, _>>()?;
        Ok(Response::new(ListMessagesResponse { messages, page: Some(info) }))
    }

    async fn list_transitions(
        &self,
        request: Request<ListTransitionsRequest>,
    ) -> Result<Response<ListTransitionsResponse>, Status> {
        let caller = viewer(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let page = Page::<i64>::read(&mut fields, &("ListTransitions", id), message.page.as_ref());
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        conversations::visible(&mut *self.connection().await?, caller.account_id, id, &scope).await?;
        let after = page.after().copied().unwrap_or_default();
        let rows = transitions::list(self.0.database.pool(), caller.account_id, id, after, page.limit()).await?;
        let (transitions, info) = page.finish(rows, |row| row.version);
        Ok(Response::new(ListTransitionsResponse { transitions, page: Some(info) }))
    }

    async fn reply(&self, request: Request<ReplyRequest>) -> Result<Response<ReplyResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let text = fields.text("text", &message.text, 1..=LONGEST_ANSWER);
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        let once = answers::Request::new(caller.account_id, &request_id, "Reply", &message).by(caller.user_id);
        let now = self.0.clock.now();
        let answer: ReplyResponse = self
            .0
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                let sent = flow::reply::reply(tx, &caller, &scope, id, &text, now).await?;
                Ok::<_, Error>(ReplyResponse { message: Some(sent.to_proto()?) })
            })
            .await?;
        self.0.database.wake().ring(sender::BELL);
        Ok(Response::new(answer))
    }

    async fn take_conversation(
        &self,
        request: Request<TakeConversationRequest>,
    ) -> Result<Response<TakeConversationResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let (request_id, id) = request_id_and_id(&message.request_id, &message.conversation_id)?;
        let once =
            answers::Request::new(caller.account_id, &request_id, "TakeConversation", &message).by(caller.user_id);
        let now = self.0.clock.now();
        let answer: TakeConversationResponse = self
            .0
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                let (taken, over_limit) = flow::take::take(tx, &caller, id, now).await?;
                Ok::<_, Error>(TakeConversationResponse { conversation: Some(shown(&taken, &caller)?), over_limit })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn close_conversation(
        &self,
        request: Request<CloseConversationRequest>,
    ) -> Result<Response<CloseConversationResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let (request_id, id) = request_id_and_id(&message.request_id, &message.conversation_id)?;
        let scope = self.scope(&caller).await?;
        let once =
            answers::Request::new(caller.account_id, &request_id, "CloseConversation", &message).by(caller.user_id);
        let now = self.0.clock.now();
        let answer: CloseConversationResponse = self
            .0
            .database
            .answer_once(&once, now, async |tx: &mut PgConnection| {
                let closed = flow::close::close(tx, &caller, &scope, id, now).await?;
                Ok::<_, Error>(CloseConversationResponse { conversation: Some(shown(&closed, &caller)?) })
            })
            .await?;
        // A slot is free: whoever waits for it gets it now.
        let team = answer.conversation.as_ref().and_then(|closed| Uuid::try_parse(&closed.team_id).ok());
        self.0.wake(team.map(|team| (caller.account_id, team)));
        Ok(Response::new(answer))
    }
}

fn only_id(id: &str) -> Result<Uuid, Fault> {
    let mut fields = Fields::new();
    let id = fields.uuid("conversation_id", id);
    fields.finish()?;
    Ok(id)
}

fn request_id_and_id(request_id: &str, id: &str) -> Result<(String, Uuid), Fault> {
    let mut fields = Fields::new();
    let request_id = fields.request_id(request_id);
    let id = fields.uuid("conversation_id", id);
    fields.finish()?;
    Ok((request_id, id))
}

fn filter(fields: &mut Fields, message: &ListConversationsRequest) -> Filter {
    let state = ConversationState::try_from(message.state).unwrap_or_else(|_| {
        let names = State::ALL.iter().map(|state| state.to_proto().as_str_name()).collect::<Vec<_>>().join(", ");
        fields.refuse("state", "FIELD_VALUE", &[("values", names)]);
        ConversationState::Unspecified
    });
    Filter {
        state: State::of_proto(state),
        team: fields.optional_uuid("team_id", &message.team_id),
        holder: fields.optional_uuid("holder_id", &message.holder_id),
    }
}
