//! BotTurnService: what an external bot does, by its service principal.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use diwan_access::principal;
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1::{
    BotTurn, ClaimBotTurnsRequest, ClaimBotTurnsResponse, CloseBotConversationRequest, CloseBotConversationResponse,
    HandOverBotConversationRequest, HandOverBotConversationResponse, ListBotTurnsRequest, ListBotTurnsResponse,
    SendBotReplyRequest, SendBotReplyResponse, bot_turn_service_server::BotTurnService,
};
use diwan_store::{Page, answers};
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, conversations::LONGEST_ANSWER, notes::LONGEST_NOTE};
use crate::{
    Error,
    flow::{
        self, Team,
        bot_turns::{Claim, Claimed, Parting, Principal},
    },
    store::{
        Tx,
        bot_turns::{self, Turn},
        conversations, messages,
    },
};

const MOST_TURNS: i32 = 50;
/// In seconds.
const LONGEST_LEASE: i32 = 3_600;
const TOPICS: usize = 20;

#[tonic::async_trait]
impl BotTurnService for Api {
    async fn list_bot_turns(
        &self,
        request: Request<ListBotTurnsRequest>,
    ) -> Result<Response<ListBotTurnsResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let page = Page::<Uuid>::read(&mut fields, &("ListBotTurns", caller.account, caller.id), message.page.as_ref());
        fields.finish()?;
        let (pool, after) = (self.0.database.pool(), page.after().copied());
        let rows = bot_turns::list(pool, caller.account, caller.id, after, page.limit()).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.conversation_id).collect();
        let mut connection = self.connection().await?;
        let (last, fit) = messages::last_of_customers(&mut connection, caller.account, &ids).await?;
        let page = page.at_most(i64::try_from(fit).unwrap_or(i64::MAX));
        let (rows, info) = page.finish(rows, |row| row.conversation_id);
        let turns = shown(&mut connection, caller.account, (&rows, last), self.0.clock.now()).await?;
        Ok(Response::new(ListBotTurnsResponse { turns, page: Some(info) }))
    }

    async fn claim_bot_turns(
        &self,
        request: Request<ClaimBotTurnsRequest>,
    ) -> Result<Response<ClaimBotTurnsResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let most = fields.number("max_turns", message.max_turns, 1..=MOST_TURNS);
        let lease = fields.number("lease_seconds", message.lease_seconds, 1..=LONGEST_LEASE);
        fields.finish()?;
        let once = once(caller, &request_id, "ClaimBotTurns", &message);
        let now = self.0.clock.now();
        let claim = async |tx: &mut PgConnection| {
            let claimed = flow::bot_turns::claim(tx, caller, (i64::from(most), lease), now).await?;
            let Some(Claimed { claim, turns, last }) = claimed else { return Ok(ClaimBotTurnsResponse::default()) };
            let turns = shown(tx, caller.account, (&turns, last), now).await?;
            Ok::<_, Error>(ClaimBotTurnsResponse { claim_id: claim.to_string(), turns })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, claim).await?))
    }

    async fn send_bot_reply(
        &self,
        request: Request<SendBotReplyRequest>,
    ) -> Result<Response<SendBotReplyResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let claim = claim(&mut fields, &message.conversation_id, &message.claim_id);
        let text = fields.text("text", &message.text, 1..=LONGEST_ANSWER);
        fields.finish()?;
        let once = once(caller, &request_id, "SendBotReply", &message);
        let now = self.0.clock.now();
        let send = async |tx: &mut PgConnection| {
            let sent = flow::bot_turns::answer(tx, caller, claim, (&text, message.more), now).await?;
            Ok::<_, Error>(SendBotReplyResponse { message: Some(sent.to_proto()?) })
        };
        let answer = self.0.database.answer_once(&once, now, send).await?;
        self.0.bot_spoke();
        Ok(Response::new(answer))
    }

    async fn hand_over_bot_conversation(
        &self,
        request: Request<HandOverBotConversationRequest>,
    ) -> Result<Response<HandOverBotConversationResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let claim = claim(&mut fields, &message.conversation_id, &message.claim_id);
        let team = fields.optional_uuid("team_id", &message.team_id);
        let topics = fields.uuids("topic_ids", &message.topic_ids, 0..=TOPICS);
        let note = fields.text("note", &message.note, 0..=LONGEST_NOTE);
        fields.finish()?;
        let parting = Parting { topics: &topics, note: &note };
        let once = once(caller, &request_id, "HandOverBotConversation", &message);
        let now = self.0.clock.now();
        let woken: Mutex<Option<Team>> = Mutex::default();
        let hand_over = async |tx: &mut PgConnection| {
            let (after, waits) = flow::bot_turns::hand_over(tx, caller, claim, (team, parting), now).await?;
            *woken.lock().unwrap_or_else(PoisonError::into_inner) = waits;
            let conversation = Some(after.to_proto(caller.account)?);
            Ok::<_, Error>(HandOverBotConversationResponse { conversation })
        };
        let answer = self.0.database.answer_once(&once, now, hand_over).await?;
        self.0.wake(woken.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(Response::new(answer))
    }

    async fn close_bot_conversation(
        &self,
        request: Request<CloseBotConversationRequest>,
    ) -> Result<Response<CloseBotConversationResponse>, Status> {
        let caller = caller(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let claim = claim(&mut fields, &message.conversation_id, &message.claim_id);
        let topics = fields.uuids("topic_ids", &message.topic_ids, 0..=TOPICS);
        let note = fields.text("note", &message.note, 0..=LONGEST_NOTE);
        fields.finish()?;
        let parting = Parting { topics: &topics, note: &note };
        let once = once(caller, &request_id, "CloseBotConversation", &message);
        let now = self.0.clock.now();
        let close = async |tx: &mut PgConnection| {
            let closed = flow::bot_turns::close(tx, caller, claim, parting, now).await?;
            Ok::<_, Error>(CloseBotConversationResponse { conversation: Some(closed.to_proto(caller.account)?) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, close).await?))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Principal, Fault> {
    let caller = principal(request)?;
    Ok(Principal { account: caller.account_id, id: caller.mandate.sub })
}

fn once(caller: Principal, request_id: &str, method: &'static str, message: &impl prost::Name) -> answers::Request {
    answers::Request::new(caller.account, request_id, method, message).by(caller.id)
}

fn claim(fields: &mut Fields, conversation: &str, claim: &str) -> Claim {
    Claim { conversation: fields.uuid("conversation_id", conversation), claim: fields.uuid("claim_id", claim) }
}

/// Turns with their conversations and the customers' last messages, in this order.
async fn shown(
    tx: &mut Tx,
    account: Uuid,
    (turns, last): (&[Turn], Vec<messages::Message>),
    now: Timestamp,
) -> Result<Vec<BotTurn>, Error> {
    let ids: Vec<Uuid> = turns.iter().map(|turn| turn.conversation_id).collect();
    let mut conversations: HashMap<Uuid, conversations::Conversation> =
        conversations::load(tx, account, &ids).await?.into_iter().map(|found| (found.id, found)).collect();
    let mut last: HashMap<Uuid, messages::Message> =
        last.into_iter().map(|message| (message.conversation_id, message)).collect();
    let time = |time: Option<SqlTimestamp>| time.map(SqlTimestamp::to_jiff);
    let mut shown = Vec::with_capacity(turns.len());
    for turn in turns {
        let Some(conversation) = conversations.remove(&turn.conversation_id) else { continue };
        shown.push(BotTurn {
            conversation: Some(conversation.to_proto(account)?),
            message: last.remove(&turn.conversation_id).map(|message| message.to_proto()).transpose()?,
            waiting: turn.turns().waiting(),
            hand_over_at: time(turn.due_at).map(to_proto),
            claimed_until: time(turn.claimed_until).filter(|until| *until > now).map(to_proto),
        });
    }
    Ok(shown)
}
