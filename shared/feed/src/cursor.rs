//! How far this service has come in another's feed.

use sqlx::PgConnection;

use crate::Position;

/// Where to go on.
pub(crate) async fn load(connection: &mut PgConnection, source: &str) -> Result<Position, sqlx::Error> {
    let row: Option<(i64, i64, i64)> =
        sqlx::query_as("select generation, transaction, sequence from feed_cursors where source = $1")
            .bind(source)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(position).unwrap_or_default())
}

/// Where to go on, which stays so until this transaction ends: whoever else wants to move it waits here.
pub(crate) async fn lock(tx: &mut PgConnection, source: &str) -> Result<Position, sqlx::Error> {
    // There is a row to lock from the first time on.
    sqlx::query(
        "insert into feed_cursors (source, generation, transaction, sequence)
         select $1, 0, 0, 0 where not exists (select from feed_cursors where source = $1)
         on conflict do nothing",
    )
    .bind(source)
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query_as("select generation, transaction, sequence from feed_cursors where source = $1 for update");
    row.bind(source).fetch_one(tx).await.map(position)
}

/// Moves it to the event that was handled last.
pub(crate) async fn save(tx: &mut PgConnection, source: &str, to: Position) -> Result<(), sqlx::Error> {
    sqlx::query("update feed_cursors set generation = $2, transaction = $3, sequence = $4 where source = $1")
        .bind(source)
        .bind(to.generation)
        .bind(to.transaction)
        .bind(to.sequence)
        .execute(tx)
        .await?;
    Ok(())
}

fn position((generation, transaction, sequence): (i64, i64, i64)) -> Position {
    Position { generation, transaction, sequence }
}
