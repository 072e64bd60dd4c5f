//! Runs a mail host until Ctrl-C or SIGTERM: `diwan-mailhost FOLDER`. Prints where it listens, then waits.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use diwan_mailhost::{MailHost, Options, PASSWORD};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done where even this cannot be written.
            let _ = writeln!(std::io::stderr(), "diwan-mailhost: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("name a folder for mail, queue, configuration and log")?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let host = MailHost::start(Options::new(folder)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "imap {}\nsmtp {}\nsubmission {}", host.imap(), host.smtp(), host.submission())?;
    writeln!(out, "every address is a user, with the password {PASSWORD}")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(host.stop().await?)
}

fn with_causes(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {}", with_causes(cause)))
}
