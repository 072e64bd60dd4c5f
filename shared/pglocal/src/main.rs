//! `diwan-pglocal`: a private PostgreSQL for a command, or for a developer.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use diwan_pglocal::{Address, Options, Postgres, detached, find_binaries};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// A private PostgreSQL in a folder, reached by a Unix socket.
///
/// `deploy/local/postgres.sh` makes the server's programs available; DIWAN_POSTGRES_BIN names others.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Sub,
}

#[derive(Subcommand)]
enum Sub {
    /// Start it, run a command with DIWAN_<DATABASE>_DATABASE_URL set for each database, stop it.
    Run {
        #[command(flatten)]
        cluster: Cluster,
        /// The command.
        program: String,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Start it in the background, or find it running, and print the databases' URLs.
    Start {
        #[command(flatten)]
        cluster: Cluster,
        /// Stop by itself when unused for so many seconds.
        #[arg(long, value_name = "SECONDS")]
        idle: Option<u64>,
    },
    /// Stop it, whoever uses it.
    Stop {
        /// The cluster's folder.
        #[arg(long, default_value = ".diwan/postgres")]
        data: PathBuf,
    },
    /// Print its main process and URL; exit code 3 when it does not run.
    Status {
        /// The cluster's folder.
        #[arg(long, default_value = ".diwan/postgres")]
        data: PathBuf,
    },
}

#[derive(Args)]
struct Cluster {
    /// The cluster's folder.
    #[arg(long, default_value = ".diwan/postgres")]
    data: PathBuf,
    /// Databases to make where they are missing.
    #[arg(long, value_delimiter = ',', default_value = "postgres")]
    databases: Vec<String>,
    /// Begin with an empty cluster and do not sync to the disk: for tests.
    #[arg(long)]
    throwaway: bool,
}

impl Cluster {
    fn options(&self) -> Result<Options, Failure> {
        let binaries = find_binaries(Path::new(".diwan")).ok_or(Failure::NoBinaries)?;
        let make = if self.throwaway { Options::throwaway } else { Options::new };
        Ok(make(binaries, self.data.clone()))
    }

    /// Makes the databases; returns the variable and the URL of each.
    async fn databases(&self, address: &Address) -> Result<Vec<(String, String)>, Failure> {
        let mut urls = Vec::new();
        for database in &self.databases {
            address.ensure_database(database).await?;
            let variable = format!("DIWAN_{}_DATABASE_URL", database.to_uppercase().replace('-', "_"));
            urls.push((variable, address.url(database)));
        }
        Ok(urls)
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no PostgreSQL {} or newer: run deploy/local/postgres.sh", diwan_pglocal::OLDEST_MAJOR)]
    NoBinaries,
    #[error(transparent)]
    Cluster(#[from] diwan_pglocal::Error),
    #[error("cannot run {program}")]
    Command { program: String, source: std::io::Error },
    #[error("cannot write the answer")]
    Output(#[from] std::io::Error),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match perform(Cli::parse().command).await {
        Ok(code) => code,
        Err(failure) => {
            let mut causes = vec![failure.to_string()];
            let mut source = std::error::Error::source(&failure);
            while let Some(cause) = source {
                causes.push(cause.to_string());
                source = cause.source();
            }
            tracing::error!("{}", causes.join(": "));
            ExitCode::FAILURE
        }
    }
}

async fn perform(command: Sub) -> Result<ExitCode, Failure> {
    match command {
        Sub::Run { cluster, program, arguments } => {
            let mut command = Command::new(program);
            command.args(arguments);
            run(&cluster, command).await
        }
        Sub::Start { cluster, idle } => {
            let server = detached::start(cluster.options()?, idle.map(Duration::from_secs)).await?;
            for (variable, url) in cluster.databases(server.address()).await? {
                writeln!(std::io::stdout(), "{variable}={url}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Sub::Stop { data } => {
            let answer = if detached::stop(&data).await? { "stopped" } else { "does not run" };
            writeln!(std::io::stdout(), "{answer}")?;
            Ok(ExitCode::SUCCESS)
        }
        Sub::Status { data } => status(&data),
    }
}

fn status(data: &Path) -> Result<ExitCode, Failure> {
    let Some((pid, address)) = detached::status(data)? else {
        writeln!(std::io::stdout(), "does not run")?;
        return Ok(ExitCode::from(3));
    };
    writeln!(std::io::stdout(), "runs as process {pid}: {}", address.url("postgres"))?;
    Ok(ExitCode::SUCCESS)
}

/// The server outlives the command, whatever ends it.
async fn run(cluster: &Cluster, mut command: Command) -> Result<ExitCode, Failure> {
    let server = Postgres::start(cluster.options()?).await?;
    let ended = match cluster.databases(server.address()).await {
        Ok(urls) => execute(command.envs(urls)).await,
        Err(failure) => Err(failure),
    };
    server.stop().await?;
    let ended = ended?;
    // A shell's way to tell the signal that ended a command.
    let code = ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Ctrl-C reaches the command from the terminal itself; SIGTERM and SIGHUP are sent to us alone and passed on.
async fn execute(command: &mut Command) -> Result<ExitStatus, Failure> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let failed = |source| Failure::Command { program: program.clone(), source };
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terminations = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut child = command.spawn().map_err(failed)?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let pass_on = |signal| pid.map(|pid| kill(pid, signal));
    loop {
        tokio::select! {
            ended = child.wait() => return ended.map_err(failed),
            _ = interrupts.recv() => {}
            _ = terminations.recv() => { pass_on(Signal::SIGTERM); }
            _ = hangups.recv() => { pass_on(Signal::SIGHUP); }
        }
    }
}
