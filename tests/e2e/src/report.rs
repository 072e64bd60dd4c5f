//! What the demo prints: each step with the time that it took, and a table at the end.
#![expect(clippy::print_stdout, reason = "the demo tells its story on the terminal")]

use std::{
    fmt::Display,
    io::{IsTerminal as _, Write as _, stdout},
    time::{Duration, Instant},
};

use crate::Failure;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("step «{step}» failed")]
pub struct StepFailed {
    step: String,
    source: Failure,
}

/// Prints a story while it happens.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<(String, String, String)>,
    quiet: bool,
}

impl Report {
    /// Prints on the terminal.
    pub fn on_terminal() -> Self {
        Self::default()
    }

    /// Prints nothing: for tests.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// Runs one step of the story.
    ///
    /// # Errors
    /// [`StepFailed`] with the step's name.
    pub async fn step<T>(&self, name: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, StepFailed> {
        let begun = Instant::now();
        if !self.quiet && stdout().is_terminal() {
            print!("  …  {name}");
            let _ = stdout().flush();
        }
        let done = work.await;
        if !self.quiet {
            let mark = if done.is_ok() { "✓" } else { "✗" };
            let back = if stdout().is_terminal() { "\r" } else { "" };
            println!("{back}  {mark}  {name:<76} {:>9}", millis(begun.elapsed()));
        }
        done.map_err(|source| StepFailed { step: name.to_owned(), source })
    }

    /// A line that explains what the steps show.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            println!("     {text}");
        }
    }

    /// A row of the table at the end.
    pub fn row(&mut self, what: &str, count: impl Display, time: Option<Duration>) {
        self.rows.push((what.to_owned(), count.to_string(), time.map(millis).unwrap_or_default()));
    }

    /// Prints the table.
    pub fn table(&self) {
        if self.quiet {
            return;
        }
        println!("\n  {:<60} {:>10} {:>12}\n  {}", "what", "count", "time", "─".repeat(84));
        for (what, count, time) in &self.rows {
            println!("  {what:<60} {count:>10} {time:>12}");
        }
    }
}

fn millis(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}
