//! What `distribute.sql` beside a service's migrations has to name.

use sqlx::PgPool;

/// The tables of a migrated database that `script` does not name.
pub async fn undistributed(pool: &PgPool, script: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public' and tablename <> '_sqlx_migrations'",
    )
    .fetch_all(pool)
    .await
    .expect("the list of tables");
    assert!(!tables.is_empty(), "the database is not migrated");
    let named = |table: &String| script.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == table);
    tables.into_iter().filter(|table| !named(table)).collect()
}
