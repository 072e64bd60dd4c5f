//! Forward-only migrations, run by whichever replica comes first.

use sqlx::{
    Connection as _, PgConnection, PgPool,
    migrate::{Migrate as _, MigrateError, Migrator},
    postgres::PgPoolOptions,
};

use crate::Error;

/// sqlx's own, which its CLI shares.
const TABLE: &str = "_sqlx_migrations";
const UNDEFINED_TABLE: &str = "42P01";
/// A migration may take as long as it needs, and so may waiting for one's turn.
const UNLIMITED: [(&str, &str); 3] =
    [("statement_timeout", "0"), ("lock_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];

/// Runs the migrations that the database does not have yet. Replicas that start together take turns. Newer ones that a
/// later version of this binary has run are left alone: expand, then contract.
///
/// # Errors
/// [`Error::Migrate`]: one failed, or one that was run has been edited since; the earlier ones stay.
pub async fn migrate(pool: &PgPool, migrations: &Migrator) -> Result<(), Error> {
    let options = pool.connect_options().as_ref().clone().options(UNLIMITED);
    // One migrator at a time: this advisory lock belongs to the session, whose end frees it even after an error. sqlx's own
    // locking is off, since it would leave the lock behind in a pool when a migration fails.
    let mut turn = PgConnection::connect_with(&options).await?;
    turn.lock().await?;
    // Whoever waits for a table keeps all others from it meanwhile: better to fail and start anew.
    let worker = PgPoolOptions::new().max_connections(1).connect_lazy_with(options.options([("lock_timeout", "10s")]));
    let mut forward = Migrator::with_migrations(migrations.iter().cloned().collect());
    forward.set_ignore_missing(true).set_locking(false).run(&worker).await?;
    worker.close().await;
    Ok(turn.close().await?)
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
