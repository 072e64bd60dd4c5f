//! `diwan audit verify`: proves the audit logs from the database, the heads that were exported, and the public keys, without any service.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use diwan_identity::audit_log::{self, Report};
use diwan_pglocal::{Postgres, detached};
use diwan_runtime::{Env, worker::chain};
use diwan_transport::BoxError;
use uuid::Uuid;

use crate::{databases, run, screen};

/// A log is not what it was.
const FLAWED: u8 = 1;
/// Nothing is known.
const NOT_VERIFIED: u8 = 2;
const DATABASE: &str = "DIWAN_IDENTITY_DATABASE_URL";

/// What there is to do with audit logs.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compute every hash again and compare with the exported heads. Exit code 0: nothing is wrong; 1: a log is not what it was; 2: it
    /// could not be found out.
    Verify(Arguments),
}

/// Which logs, and against what.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The account, a UUID, or `installation` for the log of the installation itself. Left out: every log.
    #[arg(long, value_parser = account)]
    account: Option<Uuid>,
    /// The folder of exported heads: DIWAN_IDENTITY_AUDIT_HEADS, or a copy of it that nobody else could reach.
    #[arg(long)]
    heads: Option<PathBuf>,
}

/// Neither an account nor the installation.
#[derive(Debug, thiserror::Error)]
#[error("a UUID, or `installation`")]
struct NoAccount;

/// There is nothing to verify.
#[derive(Debug, thiserror::Error)]
#[error("there is no database in {0}; set DIWAN_HOME, or {DATABASE}")]
struct NoDatabase(PathBuf);

fn account(text: &str) -> Result<Uuid, NoAccount> {
    if text == "installation" { Ok(Uuid::nil()) } else { Uuid::try_parse(text).map_err(|_| NoAccount) }
}

/// Verifies, and tells what was found on stdout.
pub(crate) fn verify(env: &Env, arguments: &Arguments) -> ExitCode {
    let found = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BoxError::from)
        .and_then(|runtime| runtime.block_on(report(env, arguments)));
    match found {
        Ok(report) => told(&report),
        Err(error) => {
            screen::failed(&format!("the audit log was not verified: {}", chain(error.as_ref())));
            ExitCode::from(NOT_VERIFIED)
        }
    }
}

async fn report(env: &Env, arguments: &Arguments) -> Result<Report, BoxError> {
    let home = run::home(env);
    let env = run::with_defaults(env.clone(), &home);
    let folder = arguments.heads.clone().unwrap_or_else(|| env.path("DIWAN_IDENTITY_AUDIT_HEADS", "audit-heads"));
    let keys = env.path("DIWAN_KEYS", home.join("keys"));
    let (started, url) = database(&env, &home).await?;
    let report = audit_log::verify(&url, &folder, &keys, arguments.account).await;
    if let Some(postgres) = started {
        postgres.stop().await?;
    }
    Ok(report?)
}

/// Identity's database: the one that the environment names, that of a Diwan which is running, or the private one, started for this.
async fn database(env: &Env, home: &Path) -> Result<(Option<Postgres>, String), BoxError> {
    if let Some(url) = env.get(DATABASE) {
        return Ok((None, url.to_owned()));
    }
    let data = home.join("postgres");
    if !data.exists() {
        return Err(NoDatabase(home.to_owned()).into());
    }
    if let Some((_, address)) = detached::status(&data)? {
        return Ok((None, address.url("identity")));
    }
    let (started, env) = databases::open(env, home).await?;
    Ok((started, env.require(DATABASE)?.to_owned()))
}

fn told(report: &Report) -> ExitCode {
    for verdict in &report.verdicts {
        screen::line(&verdict.to_string());
    }
    for unproven in &report.unproven {
        let (file, line) = (&unproven.file, unproven.line);
        screen::line(&format!(
            "{file}, line {line}: NOT A HEAD: identity has not signed this, or its key is in neither trust.json nor retired.json"
        ));
    }
    let bad = report.verdicts.iter().filter(|verdict| !verdict.is_good()).count();
    let (logs, heads, unproven) = (report.verdicts.len(), report.heads, report.unproven.len());
    if bad + unproven == 0 {
        screen::line(&format!("Nothing is wrong. Logs: {logs}. Exported heads: {heads}."));
        return ExitCode::SUCCESS;
    }
    screen::line(&format!(
        "SOMETHING IS WRONG. Logs: {logs}, wrong or not proved: {bad}. Exported heads: {heads}, lines that are none: {unproven}."
    ));
    ExitCode::from(FLAWED)
}
