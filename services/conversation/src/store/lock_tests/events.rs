//! What the feeds of team and identity change.

use diwan_proto::team::v1::Team as ProtoTeam;
use diwan_runtime::{Clock as _, SystemClock};
use sqlx::{PgConnection, types::Json};

use super::{Middle, run};
use crate::{
    domain::{
        menu::{Entry, Menu, Page, Target},
        state::State,
    },
    store::{
        conversations, handling,
        locks::{self, Concerned},
        slots, teams,
    },
};

/// What is locked for an event, in the lock order.
const ORDER: [&str; 7] = ["users", "teams", "routing_lists", "bots", "slots", "presence", "conversations"];

impl Middle {
    /// A row of each that an event of the team and one of its member concern.
    async fn staff(&self) {
        let Self { account, team, user, .. } = self;
        let entries = vec![Entry {
            labels: [("en".to_owned(), "Sales".to_owned())].into(),
            to: Target::HandOver { team: Some(*team), topics: Vec::new() },
        }];
        let texts = [("en".to_owned(), "Whom do you want?".to_owned())].into();
        let menu = Menu {
            default_language: "en".into(),
            pages: vec![Page { texts, entries }],
            farewells: [].into(),
            most_misunderstood: 3,
        };
        let bot = "insert into bots (account_id, id, name, menu, patience_seconds, enabled, version, created_at)
                   values ($1, $1, '', $2, 0, true, 1, now())";
        sqlx::query(bot).bind(account).bind(Json(menu)).execute(&self.database.pool).await.unwrap();
        self.run(&format!(
            "insert into users (account_id, id, role, active, version) values ('{account}', '{user}', 3, true, 1);
             insert into presence (account_id, user_id, state, since, version) values ('{account}', '{user}', 'ACTIVE', now(), 1);
             insert into routing_lists (account_id) values ('{account}');
             {}",
            self.conversation("OPEN")
        ))
        .await;
    }
}

async fn lock(connection: &mut PgConnection, table: &str, wait: &str) {
    run(connection, format!("select from {table} for no key update {wait}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_events_change_is_locked_before_one_has_its_effect_and_in_the_lock_order() {
    let middle = Middle::new().await;
    middle.staff().await;
    let Middle { account, team, user, .. } = middle;
    for (place, table) in ORDER.iter().enumerate() {
        let mut first = middle.begin().await;
        lock(&mut first, table, "").await;
        let mut second = middle.begin().await;
        let second = tokio::spawn(async move {
            let concerned = Concerned { teams: vec![team], users: vec![user], ..Concerned::default() };
            locks::take(&mut second, account, &concerned).await.unwrap();
        });
        assert!(middle.waits(&second).await, "{table}: it is not waited for");
        let mut third = middle.begin().await;
        for later in &ORDER[place + 1..] {
            lock(&mut third, later, "nowait").await;
        }
        third.rollback().await.unwrap();
        first.rollback().await.unwrap();
        second.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_just_left_comes_in_anew_when_he_joins_again() {
    let middle = Middle::new().await;
    let Middle { account, team, user, .. } = middle;
    let mut first = middle.begin().await;
    let left = slots::set_member(&mut first, account, (team, user), 1, (false, false)).await.unwrap();
    assert_eq!(left, Some(true), "he was a member");
    let mut second = middle.begin().await;
    let second =
        tokio::spawn(
            async move { slots::set_member(&mut second, account, (team, user), 2, (true, false)).await.unwrap() },
        );
    assert_eq!(middle.overtake(first, second).await, Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_has_just_been_lifted_is_not_lifted_again() {
    let middle = Middle::new().await;
    let Middle { account, team, .. } = middle;
    let unlimited = ProtoTeam { visibility_level: 1, ..ProtoTeam::default() };
    let mut first = middle.begin().await;
    let taken = teams::upsert(&mut first, account, team, 2, &unlimited).await.unwrap();
    assert!(taken.unwrap().limit_lifted);
    let mut second = middle.begin().await;
    let second =
        tokio::spawn(async move { teams::upsert(&mut second, account, team, 3, &unlimited).await.unwrap().unwrap() });
    assert!(!middle.overtake(first, second).await.limit_lifted);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_just_been_put_off_is_taken_away_as_such_and_frees_no_slot() {
    let middle = Middle::new().await;
    middle.run(&middle.conversation("OPEN")).await;
    let Middle { account, team, user, .. } = middle;
    let now = SystemClock.now();
    let mut first = middle.begin().await;
    assert!(handling::snooze(&mut first, account, (account, 1), now).await.unwrap());
    let mut second = middle.begin().await;
    let second =
        tokio::spawn(async move { conversations::take_away(&mut second, account, user, None, now).await.unwrap() });
    assert_eq!(middle.overtake(first, second).await, [(account, team, State::Snoozed)]);
}
