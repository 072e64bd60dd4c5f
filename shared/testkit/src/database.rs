//! A fresh, migrated database for each test, on the cluster that all test processes share.

use std::path::{Path, PathBuf};

use diwan_pglocal::Detached;
use diwan_store::pool;
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, migrate::Migrator};
use tempfile::TempDir;

use crate::mutation;

/// Enough for tests that let 32 tasks loose.
const CONNECTIONS: u32 = 12;
/// Every database of a test begins like this.
const PREFIX: &str = "test_";
/// How many left by earlier tests one test removes.
const SWEEP: i64 = 3;

/// A database of one test. It goes when this value does: the next test removes it.
#[derive(Debug)]
pub struct TestDatabase {
    /// A pool of it, with Diwan's settings.
    pub pool: PgPool,
    /// Its URL.
    pub url: String,
    /// Holds the lock that says that the database is in use; the end of the session, even by kill -9, frees it.
    _owner: PgConnection,
    _cluster: Detached,
    _proxy: Option<TempDir>,
}

impl TestDatabase {
    /// Makes one with the migrations applied: a copy of a template that the first test with these migrations makes.
    pub async fn new(migrations: &Migrator) -> Self {
        let cluster = cluster().await;
        let mut owner = connect(&cluster, "postgres").await;
        let template = ensure_template(&cluster, &mut owner, migrations).await;
        let name = unused_name(&mut owner).await;
        run(&mut owner, format!("create database {name} template {template}")).await;
        tokio::spawn(sweep(connect(&cluster, "postgres").await));
        let (url, proxy) = mutation::way(cluster.url(&name));
        let pool = open(&url).await;
        Self { pool, url, _owner: owner, _cluster: cluster, _proxy: proxy }
    }

    /// One more pool of the same database, as another replica has.
    pub async fn another_pool(&self) -> PgPool {
        open(&self.url).await
    }
}

async fn open(url: &str) -> PgPool {
    let options = pool::Options { max_connections: CONNECTIONS, ..pool::Options::new("diwan-test") };
    pool::open(url, options).await.expect("a pool of the test database")
}

async fn cluster() -> Detached {
    let diwan = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.diwan");
    let binaries: PathBuf = diwan_pglocal::find_binaries(&diwan)
        .expect("no PostgreSQL: run deploy/local/postgres.sh, or set DIWAN_POSTGRES_BIN or DIWAN_TEST_POSTGRES");
    // Many test processes with a pool each.
    let options =
        diwan_pglocal::Options::throwaway(binaries, diwan.join("test-postgres")).with("max_connections", "500");
    diwan_pglocal::shared(options).await.expect("the test cluster starts")
}

async fn connect(cluster: &Detached, database: &str) -> PgConnection {
    PgConnection::connect(&cluster.url(database)).await.expect("a connection to the test cluster")
}

/// The name of the template, which is marked as one as soon as it is complete.
async fn ensure_template(cluster: &Detached, owner: &mut PgConnection, migrations: &Migrator) -> String {
    let name = template_name(migrations);
    // One process makes it, the others wait here: the lock is named after the template.
    lock(owner, &name).await;
    let complete: Option<bool> = sqlx::query_scalar("select datistemplate from pg_database where datname = $1")
        .bind(&name)
        .fetch_optional(&mut *owner)
        .await
        .expect("the list of databases");
    if complete != Some(true) {
        run(owner, format!("drop database if exists {name} with (force)")).await;
        run(owner, format!("create database {name} template template0")).await;
        let pool = open(&cluster.url(&name)).await;
        diwan_store::migrate(&pool, migrations).await.expect("the migrations");
        pool.close().await;
        run(owner, format!("alter database {name} is_template true")).await;
    }
    unlock(owner, &name).await;
    name
}

fn template_name(migrations: &Migrator) -> String {
    let mut digest = Sha256::new();
    migrations.iter().for_each(|migration| digest.update(&migration.checksum));
    format!("template_{}", &hex::encode(digest.finalize())[..16])
}

/// A name that no other test has, with its lock.
async fn unused_name(owner: &mut PgConnection) -> String {
    let name: String = sqlx::query_scalar("select $1 || replace(gen_random_uuid()::text, '-', '')")
        .bind(PREFIX)
        .fetch_one(&mut *owner)
        .await
        .expect("a name");
    lock(owner, &name).await;
    name
}

async fn lock(owner: &mut PgConnection, name: &str) {
    let query = sqlx::query("select pg_advisory_lock(hashtextextended($1, 0))").bind(name);
    query.execute(owner).await.expect("an advisory lock");
}

async fn unlock(owner: &mut PgConnection, name: &str) {
    let query = sqlx::query("select pg_advisory_unlock(hashtextextended($1, 0))").bind(name);
    query.execute(owner).await.expect("an advisory unlock");
}

/// Removes a few databases whose tests are gone. Whoever gets a database's lock knows that nobody uses it: its test
/// took the lock before it made the database and keeps it as long as it runs.
async fn sweep(mut connection: PgConnection) {
    let abandoned: Vec<String> = sqlx::query_scalar(
        "with tests as materialized (select datname::text as name from pg_database where starts_with(datname, $1)
         order by random() limit $2)
         select name from tests where pg_try_advisory_lock(hashtextextended(name, 0))",
    )
    .bind(PREFIX)
    .bind(SWEEP)
    .fetch_all(&mut connection)
    .await
    .unwrap_or_default();
    for name in abandoned {
        let drop = AssertSqlSafe(format!("drop database if exists {name} with (force)"));
        // Best effort: the test that this one runs in may end at any moment.
        let _ = sqlx::raw_sql(drop).execute(&mut connection).await;
    }
}

async fn run(connection: &mut PgConnection, statement: String) {
    let outcome = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(connection).await;
    outcome.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sqlx::{
        SqlSafeStr as _,
        migrate::{Migration, MigrationType},
    };

    use super::*;
    use crate::eventually;

    async fn database() -> TestDatabase {
        let sql = "create table things (id int primary key)".into_sql_str();
        let step = Migration::new(1, "step".into(), MigrationType::Simple, sql, false);
        TestDatabase::new(&Migrator::with_migrations(vec![step])).await
    }

    async fn exists(name: &str) -> bool {
        let mut connection = connect(&cluster().await, "postgres").await;
        let found = sqlx::query("select from pg_database where datname = $1").bind(name);
        found.fetch_optional(&mut connection).await.unwrap().is_some()
    }

    async fn things(test: &TestDatabase) -> i64 {
        sqlx::query_scalar("select count(*) from things").fetch_one(&test.pool).await.unwrap()
    }

    #[tokio::test]
    async fn tests_with_the_same_migrations_do_not_see_each_other() {
        let (one, other) = tokio::join!(database(), database());
        sqlx::query("insert into things values (1)").execute(&one.pool).await.unwrap();
        assert_eq!((things(&one).await, things(&other).await), (1, 0));
        assert_eq!(things(&database().await).await, 0, "the template stays clean");
    }

    #[tokio::test]
    async fn a_database_goes_after_its_test_and_not_before() {
        let kept = database().await;
        let gone = database().await.url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
        eventually("later tests remove it", Duration::from_secs(30), async || {
            database().await;
            !exists(&gone).await
        })
        .await;
        assert_eq!(things(&kept).await, 0);
    }
}
