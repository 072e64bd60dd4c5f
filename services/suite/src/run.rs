//! Starts everything in the right order, waits for a signal, and ends everything in the reverse order.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use diwan_access::keys;
use diwan_launch::{Component, Context, migrate};
use diwan_pglocal::Postgres;
use diwan_runtime::{Drain, Env, SystemClock, drain::signalled, telemetry, worker::chain};
use diwan_transport::{BoxError, Front, Network, bind, serve};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{databases, screen};

const GRACE: Duration = Duration::from_secs(10);
const READY_LIMIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

const COMPONENTS: [&dyn Component; 5] = [
    &diwan_identity::Service,
    &diwan_team::Service,
    &diwan_billing::Service,
    &diwan_conversation::Service,
    &diwan_mailbox::Service,
];

/// Something did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the services were not ready within {} s; the log says why", READY_LIMIT.as_secs())]
struct NotReady;

/// The port cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("the gateway's address cannot be used; set DIWAN_LISTEN to another one, such as 127.0.0.1:7100")]
struct Listen(#[source] BoxError);

/// The database is gone.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL ended although nobody stopped it; its log is in {}. Start Diwan again: the data is kept", .0.display())]
struct PostgresEnded(PathBuf);

/// The folder of this installation: `DIWAN_HOME`, or `.diwan` in the working directory.
pub(crate) fn home(env: &Env) -> PathBuf {
    env.path("DIWAN_HOME", ".diwan")
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(env: &Env) -> Result<(), BoxError> {
    let home = home(env);
    std::fs::create_dir_all(&home)?;
    let home = home.canonicalize()?;
    let env = with_defaults(env.clone(), &home);
    // Ignored where it is installed already: one process has one provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let telemetry = runtime.block_on(async { telemetry::start("diwan", &env) })?;
    let result = runtime.block_on(start_and_serve(env, &home));
    runtime.shutdown_timeout(GRACE);
    telemetry.flush();
    result
}

/// What a laptop needs no setting for: files under the home folder, mail servers on loopback without TLS.
pub(crate) fn with_defaults(env: Env, home: &Path) -> Env {
    let file = |name: &str| home.join(name).display().to_string();
    let defaults = [
        ("DIWAN_KEYS", file("keys")),
        ("DIWAN_LOG_FILE", file("log/diwan.log")),
        ("DIWAN_LISTEN", "127.0.0.1:7000".to_owned()),
        ("DIWAN_IDENTITY_MAIL_FOLDER", file("mail-out")),
        ("DIWAN_IDENTITY_WHATSAPP_FOLDER", file("whatsapp-out")),
        ("DIWAN_IDENTITY_BLOBS", file("blobs")),
        ("DIWAN_IDENTITY_AUDIT_HEADS", file("audit-heads")),
        ("DIWAN_MAILBOX_BLOBS", file("blobs")),
        ("DIWAN_MAILBOX_ALLOW_PLAIN", "loopback".to_owned()),
    ];
    defaults
        .into_iter()
        .fold(env, |env, (name, value)| if env.get(name).is_none() { env.with(name, value) } else { env })
}

async fn start_and_serve(env: Env, home: &Path) -> Result<(), BoxError> {
    let begun = Instant::now();
    let drain = Drain::new();
    // A signal during the start ends it, too: what has been started by then is ended in order.
    let signal = tokio::spawn(end_at_signal(drain.clone()));
    keys::ensure(&env.path("DIWAN_KEYS", home.join("keys")), &keys::ISSUERS)?;
    let Some(opened) = drain.unless_begun(databases::open(&env, home)).await else { return Ok(()) };
    let (mut postgres, env) = opened?;
    screen::step("PostgreSQL", begun.elapsed());
    let served = tokio::select! {
        served = serve_until_drained(&env, home, &drain, begun) => served,
        error = lost(postgres.as_mut()) => Err(error),
    };
    drain.begin();
    drain.finished(GRACE).await;
    if let Some(postgres) = postgres {
        postgres.stop().await?;
    }
    signal.abort();
    served
}

async fn end_at_signal(drain: Drain) {
    match signalled().await {
        Ok(signal) => {
            tracing::info!(signal, "draining");
            screen::line(&format!("{signal}: draining"));
        }
        Err(error) => tracing::error!(%error, "no signal can be waited for"),
    }
    drain.begin();
}

/// Completes when the private PostgreSQL has ended although nobody stopped it; never where there is none.
async fn lost(postgres: Option<&mut Postgres>) -> BoxError {
    let Some(postgres) = postgres else { return std::future::pending().await };
    let log = postgres.home().join("log");
    let error: BoxError = match postgres.ended().await {
        Ok(()) => PostgresEnded(log).into(),
        Err(error) => error.into(),
    };
    tracing::error!(error = chain(error.as_ref()), "ending");
    error
}

async fn serve_until_drained(env: &Env, home: &Path, drain: &Drain, begun: Instant) -> Result<(), BoxError> {
    let address =
        env.parse("DIWAN_LISTEN", "an address such as 127.0.0.1:7000", SocketAddr::from(([127, 0, 0, 1], 0)))?;
    // Before the services are started: a port that is taken is told at once.
    let listener = bind(address).await.map_err(|error| Listen(error.into()))?;
    let address = listener.local_addr()?;
    let Some(started) = drain.unless_begun(start_services(env, drain, begun)).await else { return Ok(()) };
    let gateway = started?;
    let server = tokio::spawn(serve(listener, gateway.clone(), drain.clone(), GRACE));
    if let Some(ready) = drain.unless_begun(wait_until_serving(gateway)).await {
        ready?;
        let log = env.get("DIWAN_LOG_FILE").unwrap_or("stderr");
        screen::ready(address, home, log, env.get("DIWAN_TLS").is_some(), begun.elapsed());
        drain.begun().await;
    }
    server.await?;
    Ok(())
}

/// Migrates and starts the five services, each in its place of the network, then the gateway in front of them.
async fn start_services(env: &Env, drain: &Drain, begun: Instant) -> Result<Front, BoxError> {
    let network = Network::local();
    let gateway = Context::new("gateway", env.clone(), SystemClock::shared(), drain.clone(), network.clone())?;
    for component in COMPONENTS {
        migrate(component, env).await?;
        let front = component.start(gateway.beside(component.name())?).await?;
        if let Some(slot) = network.slot(component.name()) {
            slot.fill(front);
        }
        screen::step(component.name(), begun.elapsed());
    }
    diwan_gateway::Service.start(gateway).await
}

async fn wait_until_serving(gateway: Front) -> Result<(), BoxError> {
    let mut health = HealthClient::new(gateway);
    let serving = async {
        loop {
            let answer = health.check(HealthCheckRequest { service: String::new() }).await;
            if answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving) {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(READY_LIMIT, serving).await.map_err(|_| NotReady.into())
}
