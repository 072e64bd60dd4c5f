//! What people do with conversations: the holder most of the time, now and then somebody else, who is refused or faster.

use std::time::Duration;

use diwan_e2e::{Failure, door::request_id};
use diwan_proto::conversation::v1::{
    AssignConversationRequest, CloseConversationRequest, Conversation, ConversationState, HandOverConversationRequest,
    Priority, ReplyRequest, SetConversationTopicsRequest, SetPriorityRequest, SnoozeConversationRequest,
    TakeConversationRequest, UnsnoozeConversationRequest, conversation_service_client::ConversationServiceClient,
    handling_service_client::HandlingServiceClient, topic_service_client::TopicServiceClient,
};
use diwan_runtime::{Clock as _, SystemClock, clock::after};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use uuid::Uuid;

use crate::{
    board::Known,
    call::{As, At, Ended},
    operation::Outcome,
    person::Person,
    stage::{Stage, timestamp},
};

const HELD: [ConversationState; 2] = [ConversationState::Open, ConversationState::Snoozed];
const UNCLOSED: [ConversationState; 4] =
    [ConversationState::Open, ConversationState::Snoozed, ConversationState::Queued, ConversationState::Bot];

/// Makes one call as `$person` about a conversation, and gives what it was answered with.
macro_rules! ask {
    ($stage:ident, $random:ident, $person:expr, $request:expr, $client:ident, $method:ident) => {
        $stage
            .call(As::Person($person), At::replica($random), &$request, |channel, request| async move {
                $client::new(channel).$method(request).await
            })
            .await?
    };
}

impl Stage {
    /// Whoever holds it, or now and then the owner or anybody.
    fn actor(&self, random: &mut StdRng, known: &Known) -> &Person {
        let holder = known.holder.and_then(|id| self.agent(id)).map(AsRef::as_ref);
        match random.random_range(0..20) {
            0 => self.anybody(random),
            1 => &self.owner,
            _ => holder.unwrap_or(&self.owner),
        }
    }

    pub(crate) fn anybody(&self, random: &mut StdRng) -> &Person {
        self.agents.choose(random).map_or(&self.owner, |agent| agent)
    }

    /// Notes what the author of a change was shown, a person or a bot.
    pub(crate) fn shown(
        &self,
        cause: &'static str,
        actor: Uuid,
        ended: Ended<Option<Conversation>>,
    ) -> Result<Outcome, Failure> {
        Ok(Some(match ended {
            Ended::Refused(reason) => Ended::Refused(reason),
            Ended::Answered(after) => {
                let after = after.ok_or("no conversation in the answer")?;
                self.board.seen(&after);
                self.book.acted(cause, actor, &after);
                Ended::Answered(())
            }
        }))
    }

    pub(crate) async fn reply(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &HELD) else { return Ok(None) };
        let actor = self.actor(random, &known);
        let request_id = request_id();
        let text = request_id.clone();
        let request = ReplyRequest { request_id, conversation_id: known.id.to_string(), text };
        Ok(Some(match ask!(self, random, actor, request, ConversationServiceClient, reply) {
            Ended::Refused(reason) => Ended::Refused(reason),
            Ended::Answered(answer) => {
                let message = answer.message.ok_or("no message in the answer")?;
                self.book.told().replies.insert(message.id.parse()?, (message.conversation_id.parse()?, actor.id));
                Ended::Answered(())
            }
        }))
    }

    pub(crate) async fn take(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &UNCLOSED[2..]) else { return Ok(None) };
        let actor = self.anybody(random);
        let request = TakeConversationRequest { request_id: request_id(), conversation_id: known.id.to_string() };
        let ended = ask!(self, random, actor, request, ConversationServiceClient, take_conversation);
        self.shown("TAKEN", actor.id, ended.map(|answer| answer.conversation))
    }

    pub(crate) async fn assign(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &UNCLOSED) else { return Ok(None) };
        let to = self.anybody(random);
        self.assign_as(random, &self.owner, &known, to).await
    }

    /// Somebody gives a conversation to somebody.
    pub(crate) async fn assign_as(
        &self,
        random: &mut StdRng,
        actor: &Person,
        known: &Known,
        to: &Person,
    ) -> Result<Outcome, Failure> {
        let request = AssignConversationRequest {
            request_id: request_id(),
            conversation_id: known.id.to_string(),
            user_id: to.id.to_string(),
        };
        let ended = ask!(self, random, actor, request, HandlingServiceClient, assign_conversation);
        self.shown("ASSIGNED", actor.id, ended.map(|answer| answer.conversation))
    }

    pub(crate) async fn hand_over(&self, random: &mut StdRng, to_person: bool) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &HELD) else { return Ok(None) };
        let actor = self.actor(random, &known);
        let team = self.teams.choose(random).cloned().unwrap_or_default();
        let (team_id, user_id) =
            if to_person { (String::new(), self.anybody(random).id.to_string()) } else { (team, String::new()) };
        let request = HandOverConversationRequest {
            request_id: request_id(),
            conversation_id: known.id.to_string(),
            team_id,
            user_id,
            ..HandOverConversationRequest::default()
        };
        let ended = ask!(self, random, actor, request, HandlingServiceClient, hand_over_conversation);
        self.shown("HANDED_OVER", actor.id, ended.map(|answer| answer.conversation))
    }

    pub(crate) async fn close(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &UNCLOSED) else { return Ok(None) };
        let actor = self.actor(random, &known);
        self.close_as(random, actor, &known).await
    }

    /// Somebody closes; where a topic is wanted he mostly sets one and tries again.
    pub(crate) async fn close_as(
        &self,
        random: &mut StdRng,
        actor: &Person,
        known: &Known,
    ) -> Result<Outcome, Failure> {
        let conversation_id = known.id.to_string();
        let close = || CloseConversationRequest { request_id: request_id(), conversation_id: conversation_id.clone() };
        let mut ended = ask!(self, random, actor, close(), ConversationServiceClient, close_conversation);
        if matches!(&ended, Ended::Refused(reason) if reason == "TOPIC_REQUIRED") && random.random_bool(0.9) {
            self.label_as(random, actor, known).await?;
            ended = ask!(self, random, actor, close(), ConversationServiceClient, close_conversation);
        }
        self.shown("CLOSED", actor.id, ended.map(|answer| answer.conversation))
    }

    pub(crate) async fn snooze(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &HELD) else { return Ok(None) };
        let actor = self.actor(random, &known);
        let until = after(SystemClock.now(), Duration::from_millis(random.random_range(2_000..8_000)));
        let request = SnoozeConversationRequest {
            request_id: request_id(),
            conversation_id: known.id.to_string(),
            until: Some(timestamp(until)),
        };
        let ended = ask!(self, random, actor, request, HandlingServiceClient, snooze_conversation);
        self.shown("SNOOZED", actor.id, ended.map(|answer| answer.conversation))
    }

    pub(crate) async fn unsnooze(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &[ConversationState::Snoozed]) else { return Ok(None) };
        let actor = self.actor(random, &known);
        let request = UnsnoozeConversationRequest { request_id: request_id(), conversation_id: known.id.to_string() };
        let ended = ask!(self, random, actor, request, HandlingServiceClient, unsnooze_conversation);
        self.shown("WOKEN", actor.id, ended.map(|answer| answer.conversation))
    }

    pub(crate) async fn prioritize(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &UNCLOSED) else { return Ok(None) };
        let actor = self.actor(random, &known);
        let priority = Priority::try_from(random.random_range(1..5))?;
        let request = SetPriorityRequest {
            request_id: request_id(),
            conversation_id: known.id.to_string(),
            priority: priority.into(),
        };
        let ended = ask!(self, random, actor, request, HandlingServiceClient, set_priority);
        self.labelled(ended.map(|answer| answer.conversation), false)
    }

    pub(crate) async fn label(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &UNCLOSED) else { return Ok(None) };
        let actor = self.actor(random, &known);
        self.label_as(random, actor, &known).await
    }

    async fn label_as(&self, random: &mut StdRng, actor: &Person, known: &Known) -> Result<Outcome, Failure> {
        let request = SetConversationTopicsRequest {
            request_id: request_id(),
            conversation_id: known.id.to_string(),
            topic_ids: self.topics.choose(random).cloned().into_iter().collect(),
        };
        let ended = ask!(self, random, actor, request, TopicServiceClient, set_conversation_topics);
        self.labelled(ended.map(|answer| answer.conversation), true)
    }

    fn labelled(&self, ended: Ended<Option<Conversation>>, topics: bool) -> Result<Outcome, Failure> {
        Ok(Some(match ended {
            Ended::Refused(reason) => Ended::Refused(reason),
            Ended::Answered(after) => {
                let after = after.ok_or("no conversation in the answer")?;
                self.board.seen(&after);
                self.book.labelled(&after, topics);
                Ended::Answered(())
            }
        }))
    }
}

impl<T> Ended<T> {
    /// With something else in place of the answer.
    pub(crate) fn map<O>(self, change: impl FnOnce(T) -> O) -> Ended<O> {
        match self {
            Self::Answered(answer) => Ended::Answered(change(answer)),
            Self::Refused(reason) => Ended::Refused(reason),
        }
    }

    /// Without the answer.
    #[expect(clippy::unnecessary_wraps, reason = "what operations return")]
    pub(crate) fn done(self) -> Outcome {
        Some(self.map(drop))
    }
}
