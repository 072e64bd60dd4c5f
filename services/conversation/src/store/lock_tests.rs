//! Locks that make one wait for the other: in each test the second transaction decides on what the first one leaves. Without the lock it
//! would go on at once, with what was there before.

use std::time::Duration;

use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_testkit::{TestDatabase, eventually};
use sqlx::{AssertSqlSafe, PgTransaction};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{archive, slots};

const LIMIT: Duration = Duration::from_secs(30);

/// A team and a member of it, in the middle of two transactions.
struct Middle {
    database: TestDatabase,
    account: Uuid,
    team: Uuid,
    heir: Uuid,
    user: Uuid,
}

impl Middle {
    async fn new() -> Self {
        let database = TestDatabase::new(&crate::MIGRATOR).await;
        let [account, team, heir, user] = std::array::from_fn(|_| ids::new_id());
        let middle = Self { database, account, team, heir, user };
        middle
            .run(&format!(
                "insert into teams (account_id, id, assignment_limit, visibility, wide_team_ids, fallback, version)
                     select '{account}', id, 2, 1, '{{}}', false, 1 from unnest(array['{team}'::uuid, '{heir}'::uuid]) id;
                 insert into slots (account_id, team_id, user_id, member) values ('{account}', '{team}', '{user}', true);
                 insert into contacts (account_id, id, name, email, email_key, created_at)
                     values ('{account}', '{account}', '', 'maha@example.com', 'maha@example.com', now())"
            ))
            .await;
        middle
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.database.pool).await.unwrap();
    }

    async fn begin(&self) -> PgTransaction<'static> {
        self.database.pool.begin().await.unwrap()
    }

    /// Waits until `second` waits for `first`, or has gone on without, and lets the first one commit.
    async fn overtake<T>(&self, first: PgTransaction<'static>, second: JoinHandle<T>) -> T {
        eventually("the second one waits, or has not waited", LIMIT, async || {
            let waits = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                            and datname = current_database())";
            second.is_finished() || sqlx::query_scalar(waits).fetch_one(&self.database.pool).await.unwrap()
        })
        .await;
        first.commit().await.unwrap();
        second.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_locks_a_slot_sees_what_the_one_before_him_left() {
    let middle = Middle::new().await;
    let Middle { account, team, user, .. } = middle;
    let mut first = middle.begin().await;
    assert_eq!(slots::lock(&mut first, account, team, user).await.unwrap(), 0);
    slots::add_open(&mut first, account, team, user, 1).await.unwrap();
    let mut second = middle.begin().await;
    let second = tokio::spawn(async move { slots::lock(&mut second, account, team, user).await.unwrap() });
    assert_eq!(middle.overtake(first, second).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_locks_all_slots_of_a_user_sees_what_the_one_before_him_left() {
    let middle = Middle::new().await;
    let Middle { account, team, user, .. } = middle;
    let mut first = middle.begin().await;
    slots::lock(&mut first, account, team, user).await.unwrap();
    slots::add_open(&mut first, account, team, user, 1).await.unwrap();
    let mut second = middle.begin().await;
    let second = tokio::spawn(async move {
        slots::lock_of_user(&mut second, account, user).await.unwrap();
        let held = "select open_count from slots where account_id = $1 and user_id = $2";
        sqlx::query_scalar::<_, i32>(held).bind(account).bind(user).fetch_one(&mut *second).await.unwrap()
    });
    assert_eq!(middle.overtake(first, second).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_does_not_count_as_emptied_while_something_is_on_its_way_to_it() {
    let middle = Middle::new().await;
    let Middle { account, team, heir, .. } = middle;
    let mut first = middle.begin().await;
    assert_eq!(archive::resolve(&mut first, account, team).await.unwrap(), Some(team));
    middle.run(&format!("update teams set receiving_id = '{heir}' where id = '{team}'")).await;
    sqlx::query(
        "insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at,
                                    queued_at, last_message_at)
         values ($1, $2, $2, $1, 'QUEUED', '', '', 1, now(), now(), now())",
    )
    .bind(account)
    .bind(team)
    .execute(&mut *first)
    .await
    .unwrap();
    let mut second = middle.begin().await;
    let second = tokio::spawn(async move {
        let emptied = archive::finish(&mut second, account, team, SystemClock.now()).await.unwrap();
        second.commit().await.unwrap();
        emptied
    });
    assert!(!middle.overtake(first, second).await, "something arrived");
}
