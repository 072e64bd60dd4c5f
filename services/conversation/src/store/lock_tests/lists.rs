//! Rules, topics, groups and bots, and who names them.

use diwan_runtime::{Clock as _, SystemClock, ids};
use uuid::Uuid;

use super::{Middle, run};
use crate::{
    Error,
    domain::rules::Conditions,
    flow::{bot_talk, bots, groups, rules, topics},
    store::{bot_turns, topics as store},
};

fn content(team: Uuid) -> rules::Content {
    let conditions = Conditions { keywords: vec!["invoice".into()], ..Conditions::default() };
    rules::Content { name: String::new(), conditions, team, priority: None, add_topics: Vec::new(), bot: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rules_that_are_made_at_once_get_a_place_each() {
    let middle = Middle::new().await;
    let Middle { account, team, .. } = middle;
    let now = SystemClock.now();
    let mut before = middle.begin().await;
    rules::create(&mut before, account, &content(team), now).await.unwrap();
    before.commit().await.unwrap();
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    let place = rules::create(&mut first, account, &content(team), now).await.unwrap().position;
    let second = tokio::spawn(async move { rules::create(&mut second, account, &content(team), now).await });
    assert_eq!((place, middle.overtake(first, second).await.unwrap().position), (2, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_names_a_team_that_is_being_archived() {
    let middle = Middle::new().await;
    let Middle { account, team, heir, .. } = middle;
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    run(&mut first, format!("update teams set receiving_id = '{heir}' where id = '{team}'")).await;
    let second =
        tokio::spawn(async move { rules::create(&mut second, account, &content(team), SystemClock.now()).await });
    let made = middle.overtake(first, second).await;
    assert!(matches!(made, Err(Error::TeamNotFound)), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_topics_that_are_put_below_each_other_at_once_make_no_circle() {
    let middle = Middle::new().await;
    let account = middle.account;
    let now = SystemClock.now();
    let mut before = middle.begin().await;
    let one = topics::create(&mut before, account, "one", None, now).await.unwrap().id;
    let other = topics::create(&mut before, account, "other", None, now).await.unwrap().id;
    before.commit().await.unwrap();
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    topics::place(&mut first, account, one, Some(other), now).await.unwrap();
    let second = tokio::spawn(async move { topics::place(&mut second, account, other, Some(one), now).await });
    let placed = middle.overtake(first, second).await;
    assert!(matches!(placed, Err(Error::TopicCycle)), "{placed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_topic_that_is_being_archived_finds_it_archived() {
    let middle = Middle::new().await;
    let account = middle.account;
    let now = SystemClock.now();
    let mut before = middle.begin().await;
    let topic = topics::create(&mut before, account, "invoices", None, now).await.unwrap().id;
    before.commit().await.unwrap();
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    topics::archive(&mut first, account, topic, now).await.unwrap();
    let second = tokio::spawn(async move { store::share(&mut second, account, &[topic]).await.unwrap() });
    assert_eq!(middle.overtake(first, second).await, [(topic, true)]);
}

impl Middle {
    async fn group(&self, name: &str) -> Uuid {
        let mut tx = self.begin().await;
        let group = groups::create(&mut tx, self.account, name, SystemClock.now()).await.unwrap();
        tx.commit().await.unwrap();
        group.id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_into_a_group_while_it_is_removed_is_in_none() {
    let middle = Middle::new().await;
    let group = middle.group("VIP").await;
    let account = middle.account;
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    groups::set_member(&mut first, account, (group, account), true).await.unwrap();
    let second = tokio::spawn(async move {
        groups::delete(&mut second, account, group, SystemClock.now()).await.unwrap();
        second.commit().await.unwrap();
    });
    middle.overtake(first, second).await;
    assert_eq!(middle.count("select count(*) from contacts where group_ids <> '{}'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_into_two_groups_at_once_is_in_both() {
    let middle = Middle::new().await;
    let (one, other) = (middle.group("VIP").await, middle.group("shops").await);
    let account = middle.account;
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    groups::set_member(&mut first, account, (one, account), true).await.unwrap();
    let second = tokio::spawn(async move {
        groups::set_member(&mut second, account, (other, account), true).await.unwrap();
        second.commit().await.unwrap();
    });
    middle.overtake(first, second).await;
    assert_eq!(middle.count("select count(*) from contacts where cardinality(group_ids) = 2").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_starts_with_a_bot_while_it_is_disabled_does_not_stay_with_it() {
    let middle = Middle::new().await;
    middle.run(&middle.bot()).await;
    let Middle { account, user: bot, .. } = middle;
    let now = SystemClock.now();
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    assert!(bot_talk::starting(&mut first, account, (Some(bot), account), now).await.unwrap().is_some());
    let second = tokio::spawn(async move {
        bots::enable(&mut second, account, bot, false, now).await.unwrap();
        second.commit().await.unwrap();
    });
    // The key of the turn locks the bot too, but only from then on.
    middle.waits(&second).await;
    run(&mut first, middle.conversation("BOT")).await;
    bot_turns::begin(&mut first, account, (account, bot), None).await.unwrap();
    middle.overtake(first, second).await;
    assert_eq!(middle.count("select count(*) from bot_turns where due_at is not null").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_somebody_else_is_taking_over_is_good_for_nothing() {
    let middle = Middle::new().await;
    let Middle { account, user: bot, .. } = middle;
    let (old, new) = (ids::new_id(), ids::new_id());
    middle
        .run(&format!(
            "{}; {};
             insert into bot_turns (account_id, conversation_id, bot_id, turn, answered, due_at, claim_id, claimed_turn, claimed_until)
                 values ('{account}', '{account}', '{bot}', 1, 0, now() + interval '1 hour', '{old}', 1, now() - interval '1 second')",
            middle.bot(),
            middle.conversation("BOT")
        ))
        .await;
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    let now = SystemClock.now();
    let free = bot_turns::lock_free(&mut first, account, bot, 10, now).await.unwrap().pop().unwrap();
    let claimed = free.turns().claimed((new, 60), now).unwrap();
    bot_turns::claim(&mut first, account, &[free.with(claimed)]).await.unwrap();
    let second = tokio::spawn(async move { bot_turns::lock(&mut second, account, account).await.unwrap().unwrap() });
    assert_eq!(middle.overtake(first, second).await.claim_id, Some(new));
}
