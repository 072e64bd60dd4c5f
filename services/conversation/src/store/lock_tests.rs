//! Locks that make one wait for the other: in each test the second transaction decides on what the first one leaves. Without the lock it
//! would go on at once, with what was there before.
//!
//! Of the routing here; `events`: of what the feeds tell. `lists`: of rules, topics, groups and bots. `people`: of who is there. `work`: of
//! what workers do. `order`: of several rows at once. `make test-mutation` takes each of these locks away.

mod events;
mod lists;
mod order;
mod people;
mod work;

use std::time::Duration;

use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_testkit::{TestDatabase, eventually};
use sqlx::{AssertSqlSafe, PgConnection, PgTransaction};
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
        run(&mut self.database.pool.acquire().await.unwrap(), sql.to_owned()).await;
    }

    /// Nothing in it ends for its length, however slow the machine is.
    async fn begin(&self) -> PgTransaction<'static> {
        let mut tx = self.database.pool.begin().await.unwrap();
        for limit in ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"] {
            run(&mut tx, format!("set local {limit} = 0")).await;
        }
        tx
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(&self.database.pool).await.unwrap()
    }

    /// Puts a conversation of this state into the team, with its user where somebody holds it. Its id is the account's.
    fn conversation(&self, state: &str) -> String {
        let Self { account, team, user, .. } = self;
        let holder = if matches!(state, "OPEN" | "SNOOZED") { format!("'{user}'") } else { "null".to_owned() };
        format!(
            "insert into conversations (account_id, id, team_id, contact_id, state, holder_id, last_holder_id, subject,
                                        mailbox_address, version, created_at, queued_at, last_message_at)
                 values ('{account}', '{account}', '{team}', '{account}', '{state}', {holder}, {holder}, '', '', 1,
                         now() - interval '1 hour', case '{state}' when 'QUEUED' then now() - interval '1 hour' end, now());
             update slots set open_count = (select count(*) from conversations where state = 'OPEN')"
        )
    }

    /// Makes an external bot; its id and its principal's are the user's.
    fn bot(&self) -> String {
        let Self { account, user, .. } = self;
        format!(
            "insert into bots (account_id, id, name, principal_id, answer_seconds, patience_seconds, enabled, version, created_at)
                 values ('{account}', '{user}', '', '{user}', 60, 0, true, 1, now())"
        )
    }

    /// Waits until `second` waits for somebody, or has gone on without: whether it waits.
    async fn waits<T>(&self, second: &JoinHandle<T>) -> bool {
        eventually("the second one waits, or has not waited", LIMIT, async || {
            let waits = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                            and datname = current_database())";
            second.is_finished() || sqlx::query_scalar(waits).fetch_one(&self.database.pool).await.unwrap()
        })
        .await;
        !second.is_finished()
    }

    /// Lets `first` commit as soon as `second` waits for it, or has gone on without.
    async fn overtake<T>(&self, first: PgTransaction<'static>, second: JoinHandle<T>) -> T {
        self.waits(&second).await;
        first.commit().await.unwrap();
        second.await.unwrap()
    }
}

async fn run(connection: &mut PgConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
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
    run(&mut first, middle.conversation("QUEUED")).await;
    let mut second = middle.begin().await;
    let second = tokio::spawn(async move {
        let emptied = archive::finish(&mut second, account, team, SystemClock.now()).await.unwrap();
        second.commit().await.unwrap();
        emptied
    });
    assert!(!middle.overtake(first, second).await, "something arrived");
}
