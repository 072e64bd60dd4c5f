//! How conversations with bots end: what a dead one has goes to its prospective team.

use diwan_launch::Component as _;
use diwan_proto::conversation::v1::{
    ConversationState, CreateRoutingRuleRequest, ExternalBot, IngestMessageRequest, TransitionCause, UpdateBotRequest,
    ViolationKind,
};
use diwan_runtime::Env;

use super::{clock, reason, seconds};
use crate::{
    bot_calls::{ANSWER, anything, new},
    support::Office,
};

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
        external: Some(ExternalBot { principal_id: robot.principal.to_string(), answer_seconds: 1 }),
        ..Default::default()
    };
    let changed = office.bots().update_bot(office.world.request(&office.owner, change)).await;
    assert_eq!(reason(changed), "BOT_RETIRED");
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
    let due = "update bot_turns set due_at = due_at - interval '1 hour'";
    // The running process has not heard of this time, as one that was down has not, unless it was still at the arrival.
    let id = loop {
        let id = office.arrive().await;
        sqlx::query(due).execute(office.pool()).await.unwrap();
        if office.state(id).await == ConversationState::Bot {
            break id;
        }
    };
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
