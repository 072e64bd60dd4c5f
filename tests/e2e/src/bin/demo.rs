//! `diwan-demo`: the whole path once, on this machine, with real mail servers on loopback.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the demo tells its story on the terminal")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use diwan_e2e::{
    Failure,
    installation::{Installation, Options, Topology, postgres_programs},
    report::Report,
    story,
};
use diwan_mailhost::MailHost;
use diwan_runtime::worker::chain;

/// Plays the main job of Diwan on real input and says how long each step took.
#[derive(Parser)]
struct Arguments {
    /// Where everything of the demo is kept; emptied at the start.
    #[arg(long, default_value = ".diwan/demo")]
    home: PathBuf,
    /// Six processes that talk over TCP, instead of one.
    #[arg(long)]
    separate: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("diwan-demo: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(play(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndiwan-demo: {}\nlogs: {}", chain(error.as_ref()), arguments.home.join("diwan/log").display());
            ExitCode::FAILURE
        }
    }
}

async fn play(arguments: &Arguments) -> Result<(), Failure> {
    let begun = Instant::now();
    println!("Diwan's main job, once, with real mail servers. Everything lies in {}.\n", arguments.home.display());
    // The mail servers run chrooted as users of their own, which takes root; nothing else here does.
    let mut report = Report::on_terminal();
    let state = arguments.home.join("mail");
    let mail = report
        .step("Dovecot and OpenSMTPD start on loopback", async {
            Ok(MailHost::start(diwan_mailhost::Options::new(state)).await?)
        })
        .await?;
    let installation =
        report.step("Diwan starts: PostgreSQL, five databases, six services", start(arguments, &mail)).await?;
    let told = story::tell(installation.gateway(), &mail, &mut report).await;
    if told.is_ok() {
        report.table();
    }
    installation.stop().await?;
    mail.stop().await?;
    told?;
    println!("\n  Done in {:.1} s.", begun.elapsed().as_secs_f64());
    Ok(())
}

async fn start(arguments: &Arguments, mail: &MailHost) -> Result<Installation, Failure> {
    let home = arguments.home.join("diwan");
    remove(&home)?;
    let topology = if arguments.separate { Topology::Separate } else { Topology::Suite };
    let settings = vec![("DIWAN_IDENTITY_SMTP".to_owned(), format!("smtp://{}", mail.smtp()))];
    Installation::start(Options { topology, home, postgres: postgres_programs()?, settings }).await
}

/// Each demo begins with an empty installation.
fn remove(home: &Path) -> Result<(), Failure> {
    if home.exists() {
        std::fs::remove_dir_all(home)?;
    }
    Ok(())
}
