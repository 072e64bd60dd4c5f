//! A database with the tables that these tests need.

use std::time::Duration;

use diwan_runtime::Drain;
use diwan_store::{Database, Error, Wake};
use diwan_testkit::{TestDatabase, eventually};
use sqlx::{
    PgConnection, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

pub const LIMIT: Duration = Duration::from_secs(20);

const TABLES: &str = concat!(
    include_str!("../../sql/answers.sql"),
    include_str!("../../../feed/sql/feed.sql"),
    "create table effects (id bigint generated always as identity, note text constraint effects_note unique);"
);

pub fn migrator(steps: &[(i64, &'static str)]) -> Migrator {
    let migration = |&(version, sql): &(i64, &'static str)| {
        Migration::new(version, "step".into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(steps.iter().map(migration).collect())
}

pub struct Setup {
    pub test: TestDatabase,
    pub database: Database,
    pub drain: Drain,
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

pub async fn setup() -> Setup {
    let test = TestDatabase::new(&migrator(&[(1, TABLES)])).await;
    let drain = Drain::new();
    let database = Database::new(test.pool.clone(), Wake::start(&drain, &test.pool));
    Setup { test, database, drain }
}

impl Setup {
    pub async fn effects(&self) -> i64 {
        sqlx::query_scalar("select count(*) from effects").fetch_one(&self.test.pool).await.unwrap()
    }

    /// Until a statement in this database waits for another transaction.
    pub async fn someone_waits_for_a_lock(&self) {
        eventually("a statement waits for a lock", LIMIT, async || {
            sqlx::query_scalar::<_, bool>(
                "select exists (select from pg_stat_activity
                 where datname = current_database() and wait_event_type = 'Lock')",
            )
            .fetch_one(&self.test.pool)
            .await
            .unwrap()
        })
        .await;
    }
}

pub async fn insert_effect(tx: &mut PgConnection, note: &str) -> Result<i64, Error> {
    let id = sqlx::query_scalar("insert into effects (note) values ($1) returning id").bind(note).fetch_one(tx).await?;
    Ok(id)
}
