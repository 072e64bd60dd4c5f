//! What is exported and what is deleted of an account: held against the schema.

use diwan_identity::{DATA, MIGRATIONS};
use diwan_testkit::account_data::Declared;

#[tokio::test]
async fn every_table_and_every_exported_column_is_decided_upon() {
    Declared::new(&MIGRATIONS, &DATA).await.is_complete().await;
}

#[tokio::test]
async fn an_export_has_every_row_once_and_no_secret() {
    Declared::new(&MIGRATIONS, &DATA).await.exports_every_row_and_no_secret().await;
}

#[tokio::test]
async fn of_a_deleted_account_nothing_is_left_but_that_it_was_deleted() {
    Declared::new(&MIGRATIONS, &DATA).await.deletes_everything_but(&["account_deletions", "audit_heads"]).await;
}
