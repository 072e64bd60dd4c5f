//! Who deletes an account when its worker goes on for long, is gone, or hears of it once more.

use std::{sync::Arc, time::Duration};

use diwan_account_data::deletion::{Deletions, note};
use diwan_identity::{DATA, MIGRATIONS};
use diwan_runtime::{Clock as _, Drain, MockClock, clock::after, ids};
use diwan_store::pool;
use diwan_testkit::{TestDatabase, eventually};
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, PgTransaction};
use uuid::Uuid;

const LIMIT: Duration = Duration::from_mins(1);
const LEASE: Duration = Duration::from_secs(30);
/// More than one statement deletes.
const ROWS: i32 = 1500;

struct Scene {
    database: TestDatabase,
    clock: MockClock,
}

impl Scene {
    async fn new() -> Self {
        let clock = MockClock::at("2026-03-01T08:00:00Z".parse().unwrap());
        Self { database: TestDatabase::new(&MIGRATIONS).await, clock }
    }

    /// A replica that deletes: what waits in the database waits in its name, as long as it has to.
    async fn replica(&self, name: &str) -> Drain {
        let (long, drain) = (LIMIT * 10, Drain::new());
        let options = pool::Options { statement_timeout: long, lock_timeout: long, ..pool::Options::new(name) };
        let pool = pool::open(&self.database.url, options).await.unwrap();
        Deletions { pool, blobs: None, data: &DATA, clock: Arc::new(self.clock.clone()) }.start(&drain);
        drain
    }

    async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.database.pool).await.unwrap();
    }

    /// Lets an account be deleted.
    async fn note(&self, account: Uuid) {
        note(&mut self.database.pool.acquire().await.unwrap(), account, self.clock.now()).await.unwrap();
    }

    /// Holds what `statement` locks.
    async fn hold(&self, statement: &str) -> PgTransaction<'static> {
        let mut gate = self.database.pool.begin().await.unwrap();
        let hold = format!("set local idle_in_transaction_session_timeout = 0; {statement}");
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut *gate).await.unwrap();
        gate
    }

    async fn count(&self, what: &str) -> i64 {
        let query = AssertSqlSafe(format!("select count(*) from {what}"));
        sqlx::query_scalar(query).fetch_one(&self.database.pool).await.unwrap()
    }

    /// How many statements of a replica wait for a lock.
    async fn waiting(&self, replica: &str) -> i64 {
        self.count(&format!(
            "pg_stat_activity where datname = current_database() and application_name = '{replica}'
             and wait_event_type = 'Lock'"
        ))
        .await
    }

    async fn due_at(&self, account: Uuid) -> Timestamp {
        let query = sqlx::query_scalar("select due_at from account_deletions where account_id = $1").bind(account);
        query.fetch_one(&self.database.pool).await.map(jiff_sqlx::Timestamp::to_jiff).unwrap()
    }

    async fn is_finished(&self, account: Uuid) -> bool {
        self.count(&format!("account_deletions where account_id = '{account}' and finished_at is not null")).await == 1
    }

    async fn answers(&self, account: Uuid) {
        self.run(&format!(
            "insert into answers (account_id, request_id, method, digest, answer, created_at)
             select '{account}', n::text, 'x', '', '', now() from generate_series(1, {ROWS}) n"
        ))
        .await;
    }
}

#[tokio::test]
async fn what_a_replica_that_is_gone_had_begun_to_delete_another_deletes_after_its_lease() {
    let (scene, account) = (Scene::new().await, ids::new_id());
    scene.answers(account).await;
    scene.note(account).await;
    let gate = scene.hold("lock table answers in share mode").await;
    let first = scene.replica("first").await;
    eventually("the first is in the midst of it", LIMIT, async || scene.waiting("first").await == 1).await;
    first.begin();
    assert!(first.finished(LIMIT).await, "it is gone, without a word");
    gate.rollback().await.unwrap();
    let _second = scene.replica("second").await;
    // In this limit the clock goes on for less than ten minutes.
    eventually("the second has finished", LIMIT, async || {
        scene.clock.advance(Duration::from_millis(100));
        scene.is_finished(account).await
    })
    .await;
    assert_eq!(scene.count("answers").await, 0);
}

#[tokio::test]
async fn a_deletion_that_takes_longer_than_a_lease_stays_with_its_worker() {
    let (scene, account, other) = (Scene::new().await, ids::new_id(), ids::new_id());
    scene.answers(account).await;
    scene.note(account).await;
    let gate = scene.hold(&format!("select from answers where account_id = '{account}' for update")).await;
    let _first = scene.replica("first").await;
    eventually("the first is in the midst of it", LIMIT, async || scene.waiting("first").await == 1).await;
    let _second = scene.replica("second").await;
    for _ in 0..12 {
        scene.clock.advance(LEASE / 3);
        let renewed = after(scene.clock.now(), LEASE);
        eventually("the lease is renewed", LIMIT, async || scene.due_at(account).await == renewed).await;
    }
    // Whoever looks for work finds this one, and only this one.
    scene.note(other).await;
    eventually("the second deletes another account", LIMIT, async || {
        scene.clock.advance(Duration::from_millis(50));
        scene.is_finished(other).await
    })
    .await;
    assert_eq!((scene.waiting("first").await, scene.waiting("second").await), (1, 0));
    gate.rollback().await.unwrap();
    eventually("the first has finished", LIMIT, async || scene.is_finished(account).await).await;
    assert_eq!(scene.count("answers").await, 0);
}

#[tokio::test]
async fn an_account_that_is_noted_again_while_it_is_looked_through_is_looked_through_once_more() {
    let (scene, account) = (Scene::new().await, ids::new_id());
    scene.note(account).await;
    // Behind the table of jobs, where something comes late.
    let gate = scene.hold("lock table answers in share mode").await;
    let _replica = scene.replica("first").await;
    eventually("it has found no job", LIMIT, async || scene.waiting("first").await == 1).await;
    scene
        .run(&format!(
            "insert into jobs (account_id, id, payload, next_attempt_at, created_at)
             values ('{account}', '{account}', jsonb_build_object('kind', 'late'), now(), now())"
        ))
        .await;
    scene.note(account).await;
    gate.rollback().await.unwrap();
    eventually("what came late is deleted", LIMIT, async || scene.count("jobs").await == 0).await;
    eventually("it is finished", LIMIT, async || scene.is_finished(account).await).await;
}
