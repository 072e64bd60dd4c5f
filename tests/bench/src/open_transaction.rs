//! A transaction that somebody forgot: it has a number and does not end, and so holds back whatever waits for all older ones.

use diwan_e2e::Failure;
use sqlx::{Connection as _, PgConnection};

/// It.
pub(crate) struct Open(PgConnection);

/// Begins one in the database at `url`.
pub(crate) async fn begin(url: &str) -> Result<Open, Failure> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql("begin; select pg_current_xact_id()").execute(&mut connection).await?;
    Ok(Open(connection))
}

impl Open {
    /// Ends it.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        sqlx::raw_sql("rollback").execute(&mut self.0).await?;
        Ok(self.0.close().await?)
    }
}
