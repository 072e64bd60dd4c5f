//! What the terminal shows: the machine, each figure as it comes, and at the end which bars were reached.
#![expect(clippy::print_stdout, reason = "its figures are for the terminal")]

use std::{
    fmt::Display,
    fs,
    io::{IsTerminal as _, Write as _},
};

use diwan_e2e::Failure;

/// Prints figures and remembers the bars.
pub(crate) struct Report {
    bars: Vec<Bar>,
}

struct Bar {
    what: String,
    measured: String,
    reached: bool,
}

impl Report {
    /// Names the machine first: a latency means nothing without it.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let cpu = first("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = first("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown".to_owned());
        let build = if cfg!(debug_assertions) { "DEBUG BUILD: use make bench" } else { "release build" };
        println!("machine: {cores} cores, {cpu}, {memory}; {build}");
        Self { bars: Vec::new() }
    }

    /// A figure with a bar.
    pub(crate) fn bar(&mut self, what: &str, measured: impl Display, reached: bool) {
        let measured = measured.to_string();
        figure(what, format!("{measured} {}", mark(reached)));
        self.bars.push(Bar { what: what.to_owned(), measured, reached });
    }

    /// Every bar once more.
    ///
    /// # Errors
    /// When one was missed.
    pub(crate) fn end(self) -> Result<(), Failure> {
        println!("\nbars");
        for bar in &self.bars {
            println!("  {} {:<66} {:>18}", mark(bar.reached), bar.what, bar.measured);
        }
        let missed = self.bars.iter().filter(|bar| !bar.reached).count();
        if missed == 0 { Ok(()) } else { Err(format!("{missed} of {} bars missed", self.bars.len()).into()) }
    }
}

/// A heading.
pub(crate) fn part(title: &str) {
    println!("\n{title}");
}

/// A figure without a bar.
pub(crate) fn figure(what: &str, measured: impl Display) {
    println!("  {what:<66} {measured:>20}");
}

/// How far something long has come. On a terminal each says more on the same line; elsewhere only its end stands there.
pub(crate) fn progress(what: &str, done: usize, of: usize) {
    let mut out = std::io::stdout().lock();
    let terminal = out.is_terminal();
    let line = format!("  … {what}: {done} of {of}");
    // Whoever cannot be told of the progress is told of the figures, or nobody is there any more.
    let _ = match (terminal, done >= of) {
        (true, true) => write!(out, "\r{:<100}\r", ""),
        (true, false) => write!(out, "\r{line:<100}"),
        (false, true) => writeln!(out, "{line}"),
        (false, false) => Ok(()),
    };
    let _ = out.flush();
}

fn mark(reached: bool) -> char {
    if reached { '✓' } else { '✗' }
}

fn first(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
