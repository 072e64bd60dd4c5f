//! A running Diwan of one's own: real binaries, in one process or as six.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use diwan_access::keys;
use diwan_pglocal::{Options as PostgresOptions, Postgres, detached};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::{Failure, ports::free_address};

const READY_LIMIT: Duration = Duration::from_mins(2);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(25);
/// The services with a database, in the order in which they are started.
pub const SERVICES: [&str; 5] = ["identity", "team", "billing", "conversation", "mailbox"];

/// How the six services are divided into processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// All in `diwan`, with a PostgreSQL that it starts itself.
    Suite,
    /// Each a process of its own, talking over TCP, with one PostgreSQL for all.
    Separate,
}

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it is divided.
    pub topology: Topology,
    /// Where its data, keys and logs are.
    pub home: PathBuf,
    /// The PostgreSQL programs.
    pub postgres: PathBuf,
    /// Settings beyond those that the topology needs. `DIWAN_MTLS` is a folder of folders here, one for each process.
    pub settings: Vec<(String, String)>,
}

/// A running Diwan. Dropping it kills its processes.
pub struct Installation {
    gateway: SocketAddr,
    addresses: Vec<(&'static str, SocketAddr)>,
    processes: Vec<(String, Child)>,
    postgres: Option<Postgres>,
    options: Options,
}

impl Installation {
    /// Starts it, and returns when the gateway says that every service serves.
    ///
    /// # Errors
    /// When a binary has not been built, does not start, or does not become ready within two minutes.
    pub async fn start(options: Options) -> Result<Self, Failure> {
        std::fs::create_dir_all(&options.home)?;
        let home = options.home.canonicalize()?;
        let options = Options { home, ..options };
        let mut installation = match options.topology {
            Topology::Suite => Self::suite(options)?,
            Topology::Separate => Self::separate(options).await?,
        };
        installation.wait_until_serving().await?;
        Ok(installation)
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where a service listens, in the topology that gives it an address.
    pub fn address(&self, service: &str) -> Option<SocketAddr> {
        self.addresses.iter().find(|(name, _)| *name == service).map(|(_, address)| *address)
    }

    /// The database of a service, while PostgreSQL runs.
    pub fn database_url(&self, service: &str) -> Option<String> {
        match &self.postgres {
            Some(postgres) => Some(postgres.url(service)),
            None => {
                detached::status(&self.options.home.join("postgres")).ok()?.map(|(_, address)| address.url(service))
            }
        }
    }

    /// The process id of `diwan`, or of a service that is a process of its own.
    pub fn pid(&self, name: &str) -> Option<u32> {
        self.processes.iter().find(|(known, _)| known == name).and_then(|(_, child)| child.id())
    }

    /// The folder with the keys.
    pub fn keys(&self) -> PathBuf {
        self.options.home.join("keys")
    }

    /// Starts a further replica of `service`, in the topology where it is a process of its own: by `launcher`, such as
    /// `["taskset", "-c", "0"]`, and with `settings` beyond those of the others. Its process is `name`.
    ///
    /// # Errors
    /// When it cannot be started. It may not serve yet.
    pub fn replica(
        &mut self,
        service: &str,
        name: &str,
        launcher: &[&str],
        settings: &[(&str, String)],
    ) -> Result<SocketAddr, Failure> {
        let listen = free_address()?;
        let serve = self.serve(service, listen)?;
        let mut command = launched(serve, launcher);
        command.envs(settings.iter().map(|(name, value)| (*name, value)));
        self.processes.push((name.to_owned(), spawn(command, &self.options, name)?));
        Ok(listen)
    }

    /// Starts a process of `service` anew at the address that it had before it was killed. It may not serve yet.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn revive(&mut self, service: &str, name: &str, listen: SocketAddr) -> Result<(), Failure> {
        let command = self.serve(service, listen)?;
        // Before the gateway, which is the last: see `stop`.
        self.processes.insert(0, (name.to_owned(), spawn(command, &self.options, name)?));
        Ok(())
    }

    /// Ends PostgreSQL at once, as a crash does, and starts it again: it recovers from its log.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn crash_postgres(&mut self) -> Result<(), Failure> {
        let mut postgres =
            self.postgres.take().ok_or("only an installation of separate processes owns its PostgreSQL")?;
        let file = postgres.home().join("pgdata/postmaster.pid");
        let pid = std::fs::read_to_string(file)?.lines().next().unwrap_or_default().parse()?;
        kill(Pid::from_raw(pid), Signal::SIGQUIT)?;
        postgres.ended().await?;
        drop(postgres);
        self.postgres = Some(Postgres::start(postgres_options(&self.options)).await?);
        Ok(())
    }

    /// Kills a process with SIGKILL, and returns when it is gone.
    ///
    /// # Errors
    /// When there is no such process.
    pub async fn crash(&mut self, name: &str) -> Result<(), Failure> {
        let place = self.processes.iter().position(|(known, _)| known == name).ok_or("no such process")?;
        let (_, mut child) = self.processes.remove(place);
        Ok(child.kill().await?)
    }

    /// Starts a service, or `diwan`, anew where it was before it was killed, and returns when all serve.
    ///
    /// # Errors
    /// When it does not start, or does not become ready within two minutes.
    pub async fn again(&mut self, name: &'static str) -> Result<(), Failure> {
        let command = match self.options.topology {
            Topology::Suite => whole(&self.options, self.gateway)?,
            Topology::Separate => self.serve(name, self.address(name).ok_or("no address of its own")?)?,
        };
        // Before the gateway, which is the last: see `stop`.
        self.processes.insert(0, (name.to_owned(), spawn(command, &self.options, name)?));
        self.wait_until_serving().await
    }

    /// Ends it as SIGTERM does, and returns when every process has ended by itself.
    ///
    /// # Errors
    /// When one does not end within 20 s or ends with a failure.
    pub async fn stop(mut self) -> Result<(), Failure> {
        // The gateway first: nobody is sent to a service that is about to go.
        for (name, mut child) in self.processes.drain(..).rev() {
            terminate(&name, &mut child).await?;
        }
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await?;
        }
        Ok(())
    }

    fn suite(options: Options) -> Result<Self, Failure> {
        let gateway = free_address()?;
        let child = spawn(whole(&options, gateway)?, &options, "diwan")?;
        let processes = vec![("diwan".to_owned(), child)];
        Ok(Self { gateway, addresses: Vec::new(), processes, postgres: None, options })
    }

    async fn separate(options: Options) -> Result<Self, Failure> {
        keys::ensure(&options.home.join("keys"), &keys::ISSUERS)?;
        let postgres = Postgres::start(postgres_options(&options)).await?;
        let mut addresses = Vec::new();
        for service in SERVICES {
            postgres.ensure_database(service).await?;
            addresses.push((service, free_address()?));
        }
        let gateway = free_address()?;
        let mut made = Self { gateway, addresses, processes: Vec::new(), postgres: Some(postgres), options };
        for (service, listen) in made.addresses.clone().into_iter().chain([("gateway", gateway)]) {
            let command = made.serve(service, listen)?;
            made.processes.push((service.to_owned(), spawn(command, &made.options, service)?));
        }
        Ok(made)
    }

    /// How `service` is started as a process of its own.
    fn serve(&self, service: &str, listen: SocketAddr) -> Result<Command, Failure> {
        let home = &self.options.home;
        let postgres = self.postgres.as_ref().ok_or("only an installation of separate processes has replicas")?;
        let mut command = binary(&format!("diwan-{service}"))?;
        command.arg("serve").env("DIWAN_LISTEN", listen.to_string()).env("DIWAN_KEYS", home.join("keys"));
        command.env(format!("DIWAN_{}_DATABASE_URL", service.to_uppercase()), postgres.url(service));
        command
            .env("DIWAN_IDENTITY_BLOBS", home.join("blobs"))
            .env("DIWAN_MAILBOX_BLOBS", home.join("blobs"))
            .env("DIWAN_MAILBOX_ALLOW_PLAIN", "loopback");
        command.env("DIWAN_IDENTITY_MAIL_FOLDER", home.join("mail-out"));
        command.env("DIWAN_IDENTITY_WHATSAPP_FOLDER", home.join("whatsapp-out"));
        command.envs(self.options.settings.iter().cloned());
        let certificates = self.options.settings.iter().find(|(name, _)| name == "DIWAN_MTLS");
        if let Some((name, folder)) = certificates {
            command.env(name, Path::new(folder).join(service));
        }
        let scheme = if certificates.is_some() { "https" } else { "http" };
        for (name, address) in &self.addresses {
            command.env(format!("DIWAN_{}_ADDRESS", name.to_uppercase()), format!("{scheme}://{address}"));
        }
        Ok(command)
    }

    async fn wait_until_serving(&mut self) -> Result<(), Failure> {
        let channel = Endpoint::from_shared(format!("http://{}", self.gateway))?.connect_lazy();
        let mut health = HealthClient::new(channel);
        let serving = async {
            loop {
                let answer = health.check(HealthCheckRequest { service: String::new() }).await;
                if answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving) {
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(READY_LIMIT, serving).await {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("Diwan was not ready within {READY_LIMIT:?}{}", self.ended()).into()),
        }
    }

    /// Which processes have ended, and what they said.
    fn ended(&mut self) -> String {
        let log = self.options.home.join("log");
        let said = |name: &str| std::fs::read_to_string(log.join(format!("{name}.out"))).unwrap_or_default();
        let ended = self.processes.iter_mut().filter_map(|(name, child)| Some((name, child.try_wait().ok()??)));
        let told: Vec<_> =
            ended.map(|(name, status)| format!("; {name} ended with {status}: {}", said(name))).collect();
        told.concat()
    }
}

fn postgres_options(options: &Options) -> PostgresOptions {
    // A benchmark reads from commit to commit.
    PostgresOptions::new(options.postgres.clone(), options.home.join("postgres")).with("track_commit_timestamp", "on")
}

/// How `diwan`, which is all services, is started.
fn whole(options: &Options, listen: SocketAddr) -> Result<Command, Failure> {
    let mut command = binary("diwan")?;
    command.arg("run").env("DIWAN_HOME", &options.home).env("DIWAN_LISTEN", listen.to_string());
    command.env("DIWAN_POSTGRES_BIN", &options.postgres).envs(options.settings.iter().cloned());
    Ok(command)
}

/// Where the binaries of this build are: beside the one that asks, or above a test's.
fn binary(name: &str) -> Result<Command, Failure> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or("a binary without a folder")?;
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    if !path.exists() {
        return Err(format!("{} is not built: cargo build --workspace --bins", path.display()).into());
    }
    Ok(Command::new(path))
}

/// The command, started by another program that takes it as its arguments.
fn launched(command: Command, launcher: &[&str]) -> Command {
    let [program, arguments @ ..] = launcher else { return command };
    let inner = command.as_std();
    let mut outer = Command::new(program);
    outer.args(arguments).arg(inner.get_program()).args(inner.get_args());
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

fn spawn(mut command: Command, options: &Options, name: &str) -> Result<Child, Failure> {
    let logs = options.home.join("log");
    std::fs::create_dir_all(&logs)?;
    let output = File::create(logs.join(format!("{name}.out")))?;
    command.env("DIWAN_LOG_FILE", logs.join(format!("{name}.log")));
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn terminate(name: &str, child: &mut Child) -> Result<(), Failure> {
    let Some(pid) = child.id() else { return Err(format!("{name} had ended before it was told to").into()) };
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM)?;
    let status = tokio::time::timeout(STOP_LIMIT, child.wait()).await;
    let status = status.map_err(|_| format!("{name} did not end within {STOP_LIMIT:?}"))??;
    if status.success() { Ok(()) } else { Err(format!("{name} ended with {status}").into()) }
}

/// The PostgreSQL programs that `deploy/local/postgres.sh` made available, or that are installed.
///
/// # Errors
/// When there are none.
pub fn postgres_programs() -> Result<PathBuf, Failure> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found = diwan_pglocal::find_binaries(&workspace.join(".diwan"));
    found.ok_or_else(|| "no PostgreSQL programs: run deploy/local/postgres.sh".into())
}
