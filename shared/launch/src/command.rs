//! The command line of a service that runs alone: `serve` and `migrate`.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use diwan_runtime::{Clock, Drain, Env, SystemClock, drain::signalled, telemetry, worker::chain};
use diwan_store::pool;
use diwan_transport::{BoxError, Network, SERVICES, Tls, bind, serve};

use crate::{Component, Context};

const GRACE: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(version, about = "One service of Diwan")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings the database to this version's schema, then serves on DIWAN_LISTEN until SIGTERM or SIGINT.
    Serve,
    /// Brings the database to this version's schema and ends.
    Migrate,
}

/// A signal came before the schema was this version's.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
struct Interrupted;

/// The `main` of a service's binary. Settings come from the environment; what goes wrong goes to stderr.
pub fn run(component: &'static dyn Component) -> ExitCode {
    let arguments = Arguments::parse();
    let env = Env::of_process();
    match work(component, &arguments.command, &env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = chain(error.as_ref());
            tracing::error!(service = component.name(), error, "the service could not run");
            tell(component.name(), &error);
            ExitCode::FAILURE
        }
    }
}

/// The log may be a file, and may be what could not be set up.
#[expect(clippy::print_stderr, reason = "the last words of a process")]
fn tell(service: &str, error: &str) {
    eprintln!("diwan-{service}: {error}");
}

fn work(component: &'static dyn Component, command: &Command, env: &Env) -> Result<(), BoxError> {
    // Ignored where it is installed already: one process has one provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = runtime()?;
    let name = format!("diwan-{}", component.name());
    let telemetry = runtime.block_on(async { telemetry::start(&name, env) })?;
    let result = runtime.block_on(async {
        let drain = Drain::new();
        // From the first moment: the first process of a container is not ended by a signal that it does not wait for.
        let signal = tokio::spawn(drain_at_signal(drain.clone()));
        let done = match command {
            Command::Migrate => drain.unless_begun(migrate(component, env)).await.unwrap_or(Err(Interrupted.into())),
            Command::Serve => serve_alone(component, env.clone(), &drain).await,
        };
        signal.abort();
        done
    });
    telemetry.flush();
    result
}

/// Where a process has one core, workers that steal from one another only cost.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut builder = match cores {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

/// Brings the database of a service to the schema of this version.
///
/// # Errors
/// When the database cannot be reached or a migration fails.
pub async fn migrate(component: &dyn Component, env: &Env) -> Result<(), BoxError> {
    if let Some(migrator) = component.migrator() {
        let url = env.require(&format!("DIWAN_{}_DATABASE_URL", component.name().to_uppercase()))?.to_owned();
        let pool = pool::open(&url, pool::Options::new(format!("diwan-{}", component.name()))).await?;
        diwan_store::migrate(&pool, migrator).await?;
        pool.close().await;
    }
    Ok(())
}

async fn drain_at_signal(drain: Drain) {
    match signalled().await {
        Ok(signal) => tracing::info!(signal, "draining"),
        Err(error) => tracing::error!(%error, "no signal can be waited for"),
    }
    drain.begin();
}

async fn between_services(env: &Env, clock: &Arc<dyn Clock>, drain: &Drain) -> Result<Option<Tls>, BoxError> {
    match env.get("DIWAN_MTLS") {
        Some(folder) => Ok(Some(Tls::between(PathBuf::from(folder), clock, drain).await?)),
        None => Ok(None),
    }
}

async fn serve_alone(component: &dyn Component, env: Env, drain: &Drain) -> Result<(), BoxError> {
    let address: SocketAddr =
        env.parse("DIWAN_LISTEN", "an address such as 0.0.0.0:7001", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let Some(migrated) = drain.unless_begun(migrate(component, &env)).await else { return Ok(()) };
    migrated?;
    let clock = SystemClock::shared();
    let tls = between_services(&env, &clock, drain).await?;
    let network = Network::remote_over(&env, tls.as_ref())?;
    let context = Context::new(component.name(), env, clock, drain.clone(), network)?;
    if let Some(started) = drain.unless_begun(component.start(context)).await {
        let front = match tls {
            Some(tls) if SERVICES.contains(&component.name()) => started?.behind_tls(tls),
            // Clients come to the gateway, and it has a certificate for them of its own.
            _ => started?,
        };
        let listener = bind(address).await?;
        tracing::info!(service = component.name(), address = %listener.local_addr()?, "ready");
        serve(listener, front, drain.clone(), GRACE).await;
    }
    drain.finished(GRACE).await;
    Ok(())
}
