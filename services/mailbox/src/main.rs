//! The mailbox service as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    diwan_launch::run(&diwan_mailbox::Service)
}
