//! The schema as a whole.

use crate::support::Office;

#[tokio::test(flavor = "multi_thread")]
async fn every_table_is_named_in_distribute_sql() {
    let office = Office::open(0).await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public' and tablename <> '_sqlx_migrations'",
    )
    .fetch_all(office.pool())
    .await
    .unwrap();
    let distribution = include_str!("../../distribute.sql");
    for table in &tables {
        let named = [format!("create_distributed_table('{table}',"), format!("-- local: {table}\n")];
        assert!(named.iter().any(|line| distribution.contains(line)), "{table} is not named in distribute.sql");
    }
    assert_eq!(
        distribution.matches("create_distributed_table(").count() + distribution.matches("-- local: ").count(),
        tables.len()
    );
}
