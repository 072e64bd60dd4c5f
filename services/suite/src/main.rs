//! `diwan`: all six services in one process, with a private PostgreSQL that it starts itself.

mod audit;
mod databases;
mod keys;
mod operator;
mod run;
mod screen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use diwan_runtime::{Env, worker::chain};

/// The back end of a multi-tenant team inbox, in one process.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything and serve until SIGTERM or SIGINT (what `diwan` alone does, too).
    Run,
    /// Make the keys that the key folder lacks.
    MakeKeys,
    /// Print a token for an operator of this installation.
    OperatorToken(operator::Arguments),
    /// Prove the audit logs.
    #[command(subcommand)]
    Audit(audit::Command),
}

fn main() -> ExitCode {
    let env = Env::of_process();
    let done = match Arguments::parse().command {
        None | Some(Command::Run) => run::run(&env),
        Some(Command::MakeKeys) => keys::make(&env),
        Some(Command::OperatorToken(arguments)) => operator::print_token(&env, &arguments),
        Some(Command::Audit(audit::Command::Verify(arguments))) => return audit::verify(&env, &arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen::failed(&chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
