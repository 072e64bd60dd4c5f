//! External bots: they claim, talk and hand over.

mod claims;
mod ends;
mod principals;

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    ConversationState, DeliveryState, IngestMessageRequest, ListConversationsRequest, RoutingConditions,
    SendBotReplyRequest, Transition, TransitionCause,
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::eventually;
use tonic::Status;
use uuid::Uuid;

use crate::{
    bot_calls::{Robot, new},
    support::{LIMIT, Office},
};

fn seconds(seconds: i32) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap())
}

fn clock() -> MockClock {
    MockClock::at("2026-11-23T09:00Z".parse().unwrap())
}

fn reason<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason_of(&answer.unwrap_err()).unwrap()
}

impl Office {
    async fn state(&self, id: Uuid) -> ConversationState {
        self.get(&self.owner, id).await.unwrap().state()
    }

    async fn becomes(&self, id: Uuid, state: ConversationState) {
        eventually("it has this state", LIMIT, async || self.state(id).await == state).await;
    }

    async fn causes(&self, id: Uuid) -> Vec<TransitionCause> {
        self.transitions(id).await.iter().map(Transition::cause).collect()
    }

    async fn sound(&self) {
        self.audit().await;
        assert_eq!(self.violations().await, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_talks_and_hands_over_with_team_topic_and_note() {
    let office = Office::open(1).await;
    let sales = office.second_team(1).await;
    let (agent, colleague) = (office.agent().await, office.agent_of(sales).await);
    let (_inbox, _other) = (office.watch(&agent).await, office.watch(&colleague).await);
    let robot = office.external_bot().await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    let found = office.get(&agent, id).await.unwrap();
    assert_eq!(
        (found.state(), found.team_id, found.bot_id),
        (ConversationState::Bot, office.team.to_string(), robot.id.clone())
    );

    let claimed = robot.claim().await;
    let turn = &claimed.turns[0];
    assert_eq!((turn.conversation.as_ref().unwrap().id.clone(), turn.waiting), (id.to_string(), true));
    assert_eq!(turn.message.as_ref().unwrap().text, mail.text);
    let request = SendBotReplyRequest {
        request_id: new(),
        conversation_id: id.to_string(),
        claim_id: claimed.claim_id.clone(),
        text: "Which lamp?".into(),
        more: false,
    };
    let said = robot.send(request.clone()).await.unwrap();
    assert_eq!((said.bot_id.as_str(), said.author_id.as_str(), said.automatic), (robot.id.as_str(), "", true));
    assert_eq!(robot.send(request).await.unwrap(), said, "the retry gets the first answer");
    office.until("select count(*) from sends", 0).await;
    let sent = office.mailbox.sent();
    assert_eq!(sent.len(), 1, "and sends nothing twice");
    assert_eq!(
        (sent[0].text.as_str(), sent[0].automatic, &sent[0].in_reply_to),
        ("Which lamp?", true, &mail.rfc_message_id)
    );
    assert_eq!(reason(robot.answer(id, &claimed.claim_id, "Well?", false).await), "CLAIM_LOST");
    assert_eq!(robot.claim().await.turns, [], "it is the customer's turn");

    assert_eq!(office.answers(&mail, "The blue one.").await, id);
    let claimed = robot.claim().await;
    assert_eq!(claimed.turns[0].message.as_ref().unwrap().text, "The blue one.");
    let topic = office.topic("Lamps").await;
    let note = "He has the blue lamp.";
    let after = robot.hand_over(id, &claimed.claim_id, (Some(sales), &[&topic], note)).await.unwrap();
    assert_eq!((after.team_id, after.topic_ids, after.bot_id.as_str()), (sales.to_string(), vec![topic], ""));
    office.held_by(&colleague, id).await;
    let notes = office.notes(&colleague, id).await.unwrap();
    assert_eq!((notes.len(), notes[0].text.as_str(), &notes[0].bot_id), (1, note, &robot.id));
    let told: Vec<_> = office.messages(&colleague, id).await.into_iter().map(|message| message.text).collect();
    assert_eq!(told, [mail.text.as_str(), "Which lamp?", "The blue one."], "the note is none of the messages");
    assert_eq!(
        office.causes(id).await,
        [TransitionCause::Arrival, TransitionCause::BotHandedOver, TransitionCause::Automatic]
    );
    let bots: Vec<_> = office.transitions(id).await.into_iter().map(|transition| transition.bot_id).collect();
    assert_eq!(bots, [robot.id.as_str(), robot.id.as_str(), ""]);
    assert_eq!(reason(robot.answer(id, &claimed.claim_id, "One more", false).await), "NOT_WITH_BOT");
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_sees_it_may_take_it_from_the_bot() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let robot = office.external_bot().await;
    let id = office.arrive().await;
    let claimed = robot.claim().await;
    let listed = ListConversationsRequest { state: ConversationState::Bot.into(), ..Default::default() };
    assert_eq!(office.list(&agent, listed.clone()).await.len(), 1);
    // A level without the bot's conversations.
    office.set_team(office.team, 2, |team| {
        team.fallback = true;
        team.visibility_level = diwan_proto::team::v1::VisibilityLevel::Queue.into();
    });
    eventually("it is hidden", LIMIT, async || office.list(&agent, listed.clone()).await.is_empty()).await;
    assert_eq!(reason(office.take(&agent, id).await), "CONVERSATION_NOT_FOUND");
    let taken = office.take(&office.owner, id).await.unwrap().conversation.unwrap();
    assert_eq!((taken.holder_id, taken.bot_id.as_str()), (office.owner.user.to_string(), ""));
    assert_eq!(reason(robot.answer(id, &claimed.claim_id, "Hello", false).await), "NOT_WITH_BOT");
    assert_eq!(robot.turns().await, []);
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_principal_sees_nothing_of_it() {
    let office = Office::open(1).await;
    let robot = office.external_bot().await;
    let id = office.arrive().await;
    let stranger = Robot { office: &office, principal: ids::new_id(), id: robot.id.clone() };
    assert_eq!(stranger.turns().await, []);
    assert_eq!(stranger.claim().await.turns, []);
    let claimed = robot.claim().await;
    assert_eq!(reason(stranger.answer(id, &claimed.claim_id, "Hello", false).await), "CONVERSATION_NOT_FOUND");
    assert_eq!(
        reason(stranger.answer(ids::new_id(), &claimed.claim_id, "Hello", false).await),
        "CONVERSATION_NOT_FOUND"
    );
    assert_eq!(office.state(id).await, ConversationState::Bot);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_team_the_rules_decide_by_the_topics_that_the_bot_gives() {
    let office = Office::open(1).await;
    let sales = office.second_team(1).await;
    let lamps = office.topic("Lamps").await;
    office.rule(RoutingConditions { topic_ids: vec![lamps.clone()], ..Default::default() }, sales).await;
    let robot = office.external_bot().await;
    let (first, second) = (office.arrive().await, office.arrive().await);
    let claimed = robot.claim().await;
    let after = robot.hand_over(first, &claimed.claim_id, (None, &[&lamps], "")).await.unwrap();
    assert_eq!((after.state(), after.team_id), (ConversationState::Queued, sales.to_string()));
    let after = robot.hand_over(second, &claimed.claim_id, (None, &[], "")).await.unwrap();
    assert_eq!(after.team_id, office.team.to_string(), "its prospective team");
    assert_eq!(reason(robot.hand_over(first, &claimed.claim_id, (None, &[], "")).await), "NOT_WITH_BOT");
    let third = office.arrive().await;
    let claimed = robot.claim().await;
    assert_eq!(
        reason(robot.hand_over(third, &claimed.claim_id, (Some(ids::new_id()), &[], "")).await),
        "TEAM_NOT_FOUND"
    );
    assert_eq!(reason(robot.hand_over(third, &claimed.claim_id, (None, &[&new()], "")).await), "TOPIC_NOT_FOUND");
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_closes_without_a_topic_and_a_customer_who_is_back_waits_for_people() {
    let office = Office::open(1).await;
    office.set_team(office.team, 2, |team| {
        team.fallback = true;
        team.topic_mandatory = true;
    });
    office.until("select count(*) from teams where topic_mandatory", 1).await;
    let robot = office.external_bot().await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    let claimed = robot.claim().await;
    assert_eq!(robot.close(id, &claimed.claim_id).await.unwrap().state(), ConversationState::Closed);
    assert_eq!(office.answers(&mail, "It does not work.").await, id);
    assert_eq!(office.state(id).await, ConversationState::Queued);
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_machine_writes_is_answered_by_no_bot() {
    let office = Office::open(1).await;
    let robot = office.external_bot().await;
    let machine = office.deliver(IngestMessageRequest { automatic: true, ..office.mail() }).await;
    let nobody = office.deliver(IngestMessageRequest { from_email: String::new(), ..office.mail() }).await;
    for id in [machine, nobody] {
        assert_eq!(office.state(id).await, ConversationState::Queued);
    }
    // An answer of a machine begins no turn.
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    let claimed = robot.claim().await;
    robot.answer(id, &claimed.claim_id, "Hello", false).await.unwrap();
    office.answers(&IngestMessageRequest { automatic: true, ..mail.clone() }, "I am away.").await;
    assert!(!robot.turns().await[0].waiting);
    // One that does not say so starts five conversations with a bot within an hour, and no more.
    for _ in 0..4 {
        let id =
            office.deliver(IngestMessageRequest { message_id: new(), rfc_message_id: new(), ..mail.clone() }).await;
        assert_eq!(office.state(id).await, ConversationState::Bot);
    }
    let sixth = office.deliver(IngestMessageRequest { message_id: new(), rfc_message_id: new(), ..mail.clone() }).await;
    assert_eq!(office.state(sixth).await, ConversationState::Queued);
    office.until("select count(*) from sends", 0).await;
    let delivered = office.messages(&office.owner, id).await;
    assert_eq!(delivered[1].delivery(), DeliveryState::Pending, "the mailbox has it and has not reported yet");
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_returning_customer_goes_from_the_bot_to_his_last_agent() {
    let office = Office::open(2).await;
    office.set_team(office.team, 2, |team| {
        team.fallback = true;
        team.sticky_owner = true;
        team.assignment_limit = 2;
    });
    office.until("select count(*) from teams where sticky_owner", 1).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    let mail = office.mail();
    let before = office.deliver(mail.clone()).await;
    office.take(&agent, before).await.unwrap();
    let (_inbox, _other) = (office.watch(&agent).await, office.watch(&colleague).await);
    let robot = office.external_bot().await;
    let id = office.deliver(IngestMessageRequest { message_id: new(), rfc_message_id: new(), ..mail }).await;
    let claimed = robot.claim().await;
    let after = robot.hand_over(id, &claimed.claim_id, (None, &[], "")).await.unwrap();
    assert_eq!((after.state(), after.holder_id), (ConversationState::Open, agent.user.to_string()));
    let causes = office.causes(id).await;
    assert_eq!(causes, [TransitionCause::Arrival, TransitionCause::BotHandedOver, TransitionCause::StickyOwner]);
    office.sound().await;
}
