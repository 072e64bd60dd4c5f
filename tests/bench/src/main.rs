//! `diwan-bench`: measures Diwan on this machine and says which bars it reaches. Throughput is compared with something that
//! was measured in the same run; latency and memory are as they are here. Run it on a quiet machine: `make bench`.
#![expect(clippy::print_stderr, reason = "its figures are for the terminal")]

mod cast;
mod copies;
mod cpu;
mod cut;
mod gateway;
mod open_transaction;
mod report;
mod revocation;
mod routing;
mod sign_in;
mod spread;
mod tokens;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use diwan_e2e::Failure;
use diwan_runtime::worker::chain;
use report::Report;

/// Measures Diwan on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
}

/// What to measure.
#[derive(Clone, Copy, Subcommand)]
enum Part {
    /// The gateway on one core, beside Envoy and HAProxy in front of the same service.
    Gateway,
    /// Proving a token that was seen before, beside an EdDSA verification.
    Tokens,
    /// A thousand people who sign in at once, and the time that each kind of refusal takes.
    SignIn,
    /// A backlog that is assigned, beside pgbench; and how long an arrival waits for its agent.
    Routing,
    /// How the time of a decision grows with the queue and with the team.
    Growth,
    /// What 10,000 teams and 51,000 agents cost when nothing happens.
    Idle,
    /// From a deactivation to the last call that anybody accepts.
    Revocation,
    /// The service that the gateway is measured in front of.
    #[command(hide = true)]
    Backend,
    /// The thousand people who sign in at once.
    #[command(hide = true)]
    Crowd,
}

const ALL: [Part; 7] =
    [Part::Tokens, Part::Gateway, Part::SignIn, Part::Revocation, Part::Routing, Part::Growth, Part::Idle];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.part {
        Some(Part::Backend) => return exit(gateway::backend::serve()),
        Some(Part::Crowd) => return exit(sign_in::crowd::sign_in()),
        _ => {}
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return exit(Err(error.into())),
    };
    let parts = arguments.part.map_or_else(|| ALL.to_vec(), |part| vec![part]);
    exit(runtime.block_on(measure(&parts)))
}

async fn measure(parts: &[Part]) -> Result<(), Failure> {
    let mut report = Report::new();
    for part in parts {
        match part {
            Part::Gateway => gateway::measure(&mut report).await?,
            Part::Tokens => tokens::measure(&mut report)?,
            Part::SignIn => sign_in::measure(&mut report).await?,
            Part::Revocation => revocation::measure(&mut report).await?,
            Part::Routing => routing::measure(&mut report).await?,
            Part::Growth => routing::growth(&mut report).await?,
            Part::Idle => routing::idle(&mut report).await?,
            Part::Backend | Part::Crowd => {}
        }
    }
    report.end()
}

fn exit(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("diwan-bench: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
