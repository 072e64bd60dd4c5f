//! `diwan-chaos`: the long form of the test. `make test-chaos`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it finds is for the terminal")]

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use clap::Parser;
use diwan_chaos::{Plan, Progress, Summary, run};

const WIDTH: usize = 40;

/// Several replicas, many clients, kills: and afterwards everything is recounted.
#[derive(Parser)]
struct Arguments {
    /// What is chosen follows from it; printed at the beginning and at the end.
    #[arg(long)]
    seed: Option<u64>,
    /// Operations of all clients together.
    #[arg(long)]
    operations: Option<usize>,
    /// The form that the tests run.
    #[arg(long)]
    short: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let mut plan = if arguments.short { Plan::short(seed) } else { Plan::long(seed) };
    if let Some(operations) = arguments.operations {
        plan = plan.of(operations);
    }
    println!(
        "{} replicas, {} clients, {} operations, {} agents in {} teams, seed {seed}",
        plan.replicas, plan.clients, plan.operations, plan.agents, plan.teams
    );
    let bar = Bar { begun: Instant::now(), all: plan.operations, shown: AtomicUsize::new(0) };
    match run(&plan, |progress| bar.show(progress)).await {
        Ok(summary) => tell(&summary, seed),
        Err(error) => {
            eprintln!("\nfailed: {error} (seed {seed})");
            ExitCode::FAILURE
        }
    }
}

struct Bar {
    begun: Instant,
    all: usize,
    /// Where nobody watches, a line for each cell is enough.
    shown: AtomicUsize,
}

impl Bar {
    fn show(&self, progress: Progress) {
        let Progress { what, done, kills, crashes } = progress;
        let full = (done * WIDTH / self.all.max(1)).min(WIDTH);
        let seconds = self.begun.elapsed().as_secs();
        let line = format!(
            "[{}{}] {done} of {} operations, {kills} kills, {crashes} crashes of PostgreSQL, {seconds} s: {what}",
            "#".repeat(full),
            " ".repeat(WIDTH - full),
            self.all
        );
        if std::io::stdout().is_terminal() {
            print!("\r{line:<120}");
            let _ = std::io::stdout().flush();
        } else if what != "operations" || self.shown.swap(full, Ordering::SeqCst) != full {
            println!("{line}");
        }
    }
}

fn tell(summary: &Summary, seed: u64) -> ExitCode {
    println!();
    let mut all = 0;
    for (kind, outcomes) in &summary.operations {
        let count: u64 = outcomes.values().sum();
        all += count;
        let outcomes: Vec<_> = outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
        println!("  {kind:<28} {count:>8}   {}", outcomes.join(", "));
    }
    println!("changes of conversations by their cause:");
    for (cause, count) in &summary.causes {
        println!("  {count:>8}   {cause}");
    }
    println!("calls that were repeated under their request id:");
    for (why, count) in &summary.repeats {
        println!("  {count:>8}   {why}");
    }
    let rate = f64::from(u32::try_from(all).unwrap_or(u32::MAX)) / summary.took.as_secs_f64();
    println!("{all} operations in {:.0?} ({rate:.0} a second), {} looks meanwhile", summary.took, summary.looks);
    println!("{} replicas killed, PostgreSQL crashed {} times, seed {seed}", summary.kills, summary.crashes);
    for violation in &summary.violations {
        println!("VIOLATION: {violation}");
    }
    println!("{} violations", summary.violations.len());
    if let Some(kept) = &summary.kept {
        println!("its files are in {}", kept.display());
    }
    if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
