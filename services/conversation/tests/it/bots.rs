//! External bots: they claim, talk and hand over, and what a dead one has goes to its prospective team.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use diwan_fault::reason_of;
use diwan_launch::Component as _;
use diwan_proto::conversation::v1::{
    ConversationState, CreateRoutingRuleRequest, DeliveryState, ExternalBot, IngestMessageRequest,
    ListConversationsRequest, RoutingConditions, SendBotReplyRequest, Transition, TransitionCause, UpdateBotRequest,
    ViolationKind,
};
use diwan_runtime::{Env, MockClock, ids};
use diwan_testkit::eventually;
use tonic::Status;
use uuid::Uuid;

use crate::{
    bot_calls::{ANSWER, PATIENCE, Robot, anything, new},
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
async fn a_dead_bots_conversation_goes_to_its_prospective_team_once_at_its_time() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    let robot = office.external_bot().await;
    let id = office.arrive().await;
    let claimed = robot.claim_for("dead", ANSWER).await.unwrap();
    clock.advance(seconds(ANSWER - 1));
    assert_eq!(office.state(id).await, ConversationState::Bot);
    clock.advance(seconds(1));
    office.becomes(id, ConversationState::Queued).await;
    // It wakes up too late: what it has claimed is good for nothing.
    assert_eq!(reason(robot.answer(id, &claimed.claim_id, "Hello", false).await), "NOT_WITH_BOT");
    assert_eq!(reason(robot.hand_over(id, &claimed.claim_id, (None, &[], "")).await), "NOT_WITH_BOT");
    assert_eq!(reason(robot.close(id, &claimed.claim_id).await), "NOT_WITH_BOT");
    let history = office.transitions(id).await;
    let last = history.last().unwrap();
    assert_eq!(
        (history.len(), last.cause(), last.from_state()),
        (2, TransitionCause::BotFailed, ConversationState::Bot)
    );
    assert_eq!((last.team_id.clone(), last.bot_id.clone()), (office.team.to_string(), robot.id.clone()));
    assert_eq!(office.mailbox.sent().len(), 0);
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    office.held_by(&agent, id).await;
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_has_ended_is_good_for_nothing_and_the_turn_is_somebody_elses() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    let robot = office.external_bot().await;
    let id = office.arrive().await;
    let late = robot.claim_for("late", 10).await.unwrap();
    clock.advance(seconds(10));
    assert_eq!(reason(robot.answer(id, &late.claim_id, "Late", false).await), "CLAIM_LOST");
    let other = robot.claim_for("other", 10).await.unwrap();
    assert_eq!(other.turns.len(), 1);
    assert_eq!(reason(robot.answer(id, &late.claim_id, "Late", false).await), "CLAIM_LOST");
    assert_eq!(reason(robot.answer(id, &new(), "Made up", false).await), "CLAIM_LOST");
    assert_eq!(robot.claim_for("late", 10).await.unwrap(), late, "a retry gets the first answer, and no new claim");
    robot.answer(id, &other.claim_id, "In time", true).await.unwrap();
    robot.answer(id, &other.claim_id, "And more", false).await.unwrap();
    assert!(!robot.turns().await[0].waiting);
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_writes_while_the_bot_thinks_gets_another_turn() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    let robot = office.external_bot().await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    let first = robot.claim().await;
    office.answers(&mail, "And the switch too.").await;
    assert_eq!(robot.claim().await.turns, [], "the turn is claimed");
    robot.answer(id, &first.claim_id, "The lamp...", false).await.unwrap();
    let second = robot.claim().await;
    assert_eq!(second.turns[0].message.as_ref().unwrap().text, "And the switch too.");
    assert_eq!(reason(robot.answer(id, &first.claim_id, "Again", false).await), "CLAIM_LOST");
    robot.answer(id, &second.claim_id, "The switch...", false).await.unwrap();
    // Now the customer is silent.
    clock.advance(seconds(PATIENCE - 1));
    assert_eq!(office.state(id).await, ConversationState::Bot);
    clock.advance(seconds(1));
    office.becomes(id, ConversationState::Queued).await;
    assert_eq!(office.causes(id).await, [TransitionCause::Arrival, TransitionCause::CustomerSilent]);
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_instances_one_gets_a_turn() {
    let office = Arc::new(Office::open(1).await);
    let robot = office.external_bot().await;
    let (principal, id) = (robot.principal, robot.id.clone());
    let mut arrived = BTreeSet::new();
    for _ in 0..30 {
        arrived.insert(office.arrive().await);
    }
    let instances: Vec<_> = (0..8)
        .map(|_| {
            let (office, id) = (office.clone(), id.clone());
            tokio::spawn(async move {
                let robot = Robot { office: &office, principal, id };
                let mut answered = Vec::new();
                loop {
                    let claimed = robot.claim().await;
                    if claimed.turns.is_empty() && robot.turns().await.iter().all(|turn| !turn.waiting) {
                        return answered;
                    }
                    for turn in claimed.turns {
                        let id: Uuid = turn.conversation.unwrap().id.parse().unwrap();
                        robot.answer(id, &claimed.claim_id, "Hello", false).await.unwrap();
                        answered.push(id);
                    }
                }
            })
        })
        .collect();
    let mut answered = Vec::new();
    for instance in instances {
        answered.extend(instance.await.unwrap());
    }
    assert_eq!(answered.len(), arrived.len(), "each was answered once");
    assert_eq!(answered.into_iter().collect::<BTreeSet<_>>(), arrived);
    office.until("select count(*) from sends", 0).await;
    assert_eq!(office.mailbox.sent().len(), 30);
    office.sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_answer_a_taker_and_the_end_of_the_time_each_leaves_one_truth() {
    let clock = clock();
    let office = Office::open_at(&clock, 0).await;
    let robot = office.external_bot().await;
    let mail = office.mail();
    for _ in 0..10 {
        let id = office
            .deliver(IngestMessageRequest {
                message_id: new(),
                rfc_message_id: new(),
                from_email: format!("{}@c.example", new()),
                ..mail.clone()
            })
            .await;
        let claimed = robot.claim_for(&new(), ANSWER).await.unwrap();
        let by_hand = async { office.take(&office.owner, id).await };
        let bot = async { robot.hand_over(id, &claimed.claim_id, (None, &[], "")).await };
        let time = async { clock.advance(seconds(ANSWER)) };
        let (taken, handed, ()) = tokio::join!(by_hand, bot, time);
        assert!(taken.is_ok(), "whoever has it, it is unassigned: {taken:?}");
        let causes = office.causes(id).await;
        let left =
            causes.iter().filter(|cause| matches!(cause, TransitionCause::BotHandedOver | TransitionCause::BotFailed));
        assert!(left.count() <= 1, "{causes:?}");
        let by_bot = causes.contains(&TransitionCause::BotHandedOver);
        assert_eq!(handed.is_ok(), by_bot, "{handed:?} {causes:?}");
        assert_eq!(office.state(id).await, ConversationState::Open);
        office.close(&office.owner, id).await.unwrap();
    }
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
async fn a_bot_that_is_disabled_or_retired_gives_back_what_it_has_and_gets_nothing() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    let robot = office.external_bot().await;
    let (waiting, claimed) = (office.arrive().await, robot.claim_for("1", 30).await.unwrap());
    assert_eq!(claimed.turns.len(), 1);
    assert!(!office.disable_bot(&robot.id).await.enabled);
    office.becomes(waiting, ConversationState::Queued).await;
    assert_eq!(office.causes(waiting).await, [TransitionCause::Arrival, TransitionCause::BotFailed]);
    let next = office.arrive().await;
    assert_eq!(office.state(next).await, ConversationState::Queued);
    assert!(office.retire_bot(&robot.id).await.retired_at.is_some());
    assert_eq!(office.rule_list().await[0].bot_id, "", "the rule stays without it");
    let rule = CreateRoutingRuleRequest {
        conditions: Some(anything()),
        team_id: office.team.to_string(),
        bot_id: robot.id.clone(),
        ..Default::default()
    };
    assert_eq!(reason(office.try_rule(rule).await), "BOT_NOT_FOUND");
    let change = UpdateBotRequest {
        request_id: new(),
        bot_id: robot.id.clone(),
        name: "Again".into(),
        external: Some(ExternalBot { principal_id: new(), answer_seconds: 1 }),
        ..Default::default()
    };
    let changed = office.bots().update_bot(office.world.request(&office.owner, change)).await;
    assert_eq!(reason(changed), "BOT_RETIRED");
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

#[tokio::test(flavor = "multi_thread")]
async fn the_checker_finds_a_bot_without_a_turn_and_a_turn_without_a_bot() {
    let office = Office::open(1).await;
    let robot = office.external_bot().await;
    let with_bot = office.arrive().await;
    let taken = office.arrive().await;
    office.take(&office.owner, taken).await.unwrap();
    office.sound().await;
    let bot = &robot.id;
    for (damage, damaged) in [
        (format!("delete from bot_turns where bot_id = '{bot}'"), with_bot),
        (
            format!(
                "insert into bot_turns (account_id, conversation_id, bot_id, turn, answered)
                     values ('{}', '{taken}', '{bot}', 1, 0)",
                office.owner.account
            ),
            taken,
        ),
        ("update conversations set bot_id = null where state = 'BOT'".into(), with_bot),
    ] {
        let keep = "create table kept as table bot_turns";
        let mend = "delete from bot_turns; insert into bot_turns select * from kept; drop table kept;
                    update conversations set bot_id = bots.id from bots";
        office.damage(keep).await;
        office.damage(&damage).await;
        let found = office.violations().await;
        assert_eq!(found.len(), 1, "{damage}: {found:?}");
        assert_eq!((found[0].kind(), found[0].conversation_id.clone()), (ViolationKind::Bot, damaged.to_string()));
        office.damage(mend).await;
        assert_eq!(office.violations().await, [], "after mending: {damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_due_while_no_process_ran_is_ended_when_one_starts() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    office.external_bot().await;
    let id = office.arrive().await;
    // The running process has not heard of this time, as one that was down has not.
    let due = "update bot_turns set due_at = due_at - interval '1 hour'";
    sqlx::query(due).execute(office.pool()).await.unwrap();
    assert_eq!(office.state(id).await, ConversationState::Bot);
    let env = Env::default().with("DIWAN_CONVERSATION_DATABASE_URL", &office.database.url);
    let _second = diwan_conversation::Service.start(office.world.context("conversation", env)).await.unwrap();
    office.becomes(id, ConversationState::Queued).await;
    assert_eq!(
        office.causes(id).await,
        [TransitionCause::Arrival, TransitionCause::BotFailed],
        "once, though two looked"
    );
    office.sound().await;
}
