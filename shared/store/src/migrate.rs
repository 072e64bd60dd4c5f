//! Forward-only migrations, run by whichever replica comes first.

use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::{Migrate as _, MigrateError, Migrator},
};

use crate::Error;

/// sqlx's own, which its CLI shares.
const TABLE: &str = "_sqlx_migrations";
const UNDEFINED_TABLE: &str = "42P01";

/// Runs the migrations that the database does not have yet. Replicas that start together take turns. Newer ones that a
/// later version of this binary has run are left alone: expand, then contract.
///
/// # Errors
/// [`Error::Migrate`]: one failed, or one that was run has been edited since; the earlier ones stay.
pub async fn migrate(pool: &PgPool, migrations: &Migrator) -> Result<(), Error> {
    let unlimited = [("statement_timeout", "0"), ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];
    // A connection of its own: sqlx keeps its advisory lock when a migration fails, and only the end of the session frees it.
    let mut connection =
        PgConnection::connect_with(&pool.connect_options().as_ref().clone().options(unlimited)).await?;
    // One migrator at a time: this advisory lock belongs to the session (and counts, so that `run` can take it again).
    connection.lock().await?;
    // Whoever waits for a table keeps all others from it meanwhile: better to fail and start anew.
    sqlx::query("set lock_timeout = '10s'").execute(&mut connection).await?;
    let mut forward = Migrator::with_migrations(migrations.iter().cloned().collect());
    forward.set_ignore_missing(true).run(&mut connection).await?;
    Ok(connection.close().await?)
}

/// Whether the database has every migration of ours, unedited. Changes nothing.
///
/// # Errors
/// [`Error::Sqlx`]: the database cannot be asked.
pub async fn is_current(pool: &PgPool, migrations: &Migrator) -> Result<bool, Error> {
    let mut connection = pool.acquire().await?;
    let applied = match connection.list_applied_migrations(TABLE).await {
        Ok(applied) => applied,
        Err(MigrateError::Execute(error)) if is_undefined_table(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let dirty = connection.dirty_version(TABLE).await?.is_some();
    let has = |version, checksum: &[u8]| applied.iter().any(|m| m.version == version && *m.checksum == *checksum);
    Ok(!dirty && migrations.iter().all(|ours| has(ours.version, &ours.checksum)))
}

fn is_undefined_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == UNDEFINED_TABLE)
}
