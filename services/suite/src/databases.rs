//! The five databases: those that the environment names, and a private PostgreSQL for the rest.

use std::path::Path;

use diwan_pglocal::{Options, Postgres, find_binaries};
use diwan_runtime::Env;
use diwan_transport::{BoxError, SERVICES};

/// There is no PostgreSQL to start.
#[derive(Debug, thiserror::Error)]
#[error(
    "no PostgreSQL server is to be found: run deploy/local/postgres.sh, or set DIWAN_POSTGRES_BIN or every DIWAN_<SERVICE>_DATABASE_URL"
)]
struct NoPostgres;

/// Starts the private PostgreSQL where a service has no `DIWAN_<SERVICE>_DATABASE_URL`, and returns the environment with
/// every one of them set.
pub(crate) async fn open(env: &Env, home: &Path) -> Result<(Option<Postgres>, Env), BoxError> {
    let missing: Vec<_> = SERVICES.into_iter().filter(|service| env.get(&variable(service)).is_none()).collect();
    if missing.is_empty() {
        return Ok((None, env.clone()));
    }
    let binaries = find_binaries(home).ok_or(NoPostgres)?;
    let postgres = Postgres::start(Options::new(binaries, home.join("postgres"))).await?;
    let mut complete = env.clone();
    for service in missing {
        postgres.ensure_database(service).await?;
        complete = complete.with(variable(service), postgres.url(service));
    }
    Ok((Some(postgres), complete))
}

fn variable(service: &str) -> String {
    format!("DIWAN_{}_DATABASE_URL", service.to_uppercase())
}
