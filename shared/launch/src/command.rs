//! The command line of a service that runs alone: `serve` and `migrate`.

use std::{net::SocketAddr, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use diwan_runtime::{Drain, Env, SystemClock, drain::signalled, telemetry, worker::chain};
use diwan_store::pool;
use diwan_transport::{BoxError, Network, bind, serve};

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

/// The `main` of a service's binary. Settings come from the environment; what goes wrong goes to stderr.
pub fn run(component: &'static dyn Component) -> ExitCode {
    let arguments = Arguments::parse();
    let env = Env::of_process();
    match work(component, &arguments.command, &env) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(service = component.name(), error = chain(error.as_ref()), "the service could not run");
            ExitCode::FAILURE
        }
    }
}

fn work(component: &'static dyn Component, command: &Command, env: &Env) -> Result<(), BoxError> {
    // Ignored where it is installed already: one process has one provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let name = format!("diwan-{}", component.name());
    let telemetry = runtime.block_on(async { telemetry::start(&name, env) })?;
    let result = runtime.block_on(async {
        migrate(component, env).await?;
        match command {
            Command::Migrate => Ok(()),
            Command::Serve => serve_alone(component, env.clone()).await,
        }
    });
    telemetry.flush();
    result
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

async fn serve_alone(component: &dyn Component, env: Env) -> Result<(), BoxError> {
    let drain = Drain::new();
    let address: SocketAddr =
        env.parse("DIWAN_LISTEN", "an address such as 0.0.0.0:7001", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let network = Network::remote(&env)?;
    let context = Context::new(component.name(), env, SystemClock::shared(), drain.clone(), network)?;
    let front = component.start(context).await?;
    let listener = bind(address).await?;
    tracing::info!(service = component.name(), address = %listener.local_addr()?, "ready");
    let server = tokio::spawn(serve(listener, front, drain.clone(), GRACE));
    let signal = signalled().await?;
    tracing::info!(signal, "draining");
    drain.begin();
    server.await?;
    drain.finished(GRACE).await;
    Ok(())
}
