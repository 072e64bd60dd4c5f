//! Turns and who has claimed them.

use std::{collections::BTreeSet, sync::Arc};

use diwan_proto::conversation::v1::{ConversationState, TransitionCause};
use uuid::Uuid;

use super::{clock, reason, seconds};
use crate::{
    bot_calls::{ANSWER, PATIENCE, Robot, new},
    support::Office,
};

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
async fn a_bot_that_says_something_and_has_more_to_say_keeps_its_claim_and_the_conversation() {
    let clock = clock();
    let office = Office::open_at(&clock, 1).await;
    let robot = office.external_bot().await;
    let id = office.arrive().await;
    let claimed = robot.claim_for("long", 20).await.unwrap();
    // Five times as long as its claim, and longer than a customer may wait for a word.
    for word in ["One moment", "I am looking", "It takes a while", "Nearly", "There it is"] {
        clock.advance(seconds(19));
        robot.answer(id, &claimed.claim_id, word, true).await.unwrap();
        assert_eq!(robot.claim().await.turns, [], "the turn is claimed");
    }
    assert_eq!(office.state(id).await, ConversationState::Bot);
    clock.advance(seconds(20));
    assert_eq!(reason(robot.answer(id, &claimed.claim_id, "Too late", true).await), "CLAIM_LOST");
    // Nobody else claims it, and the time for an answer runs from its last word.
    clock.advance(seconds(ANSWER - 21));
    assert_eq!(office.state(id).await, ConversationState::Bot);
    clock.advance(seconds(1));
    office.becomes(id, ConversationState::Queued).await;
    assert_eq!(office.causes(id).await, [TransitionCause::Arrival, TransitionCause::BotFailed]);
    office.sound().await;
}
