//! A database with the tables that these tests need.

use diwan_runtime::Drain;
use diwan_store::{Database, Wake};
use diwan_testkit::TestDatabase;
use sqlx::{
    SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};

const TABLES: &str = concat!(
    include_str!("../../sql/answers.sql"),
    "create table effects (id bigint generated always as identity, note text unique);"
);

pub fn migrations() -> Migrator {
    migrator(&[(1, TABLES)])
}

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

pub async fn setup() -> Setup {
    let test = TestDatabase::new(&migrations()).await;
    let drain = Drain::new();
    let database = Database::new(test.pool.clone(), Wake::start(&drain, &test.pool));
    Setup { test, database, drain }
}

impl Setup {
    pub async fn effects(&self) -> i64 {
        sqlx::query_scalar("select count(*) from effects").fetch_one(&self.test.pool).await.unwrap()
    }
}
