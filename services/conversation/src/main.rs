//! The conversation service as a process of its own: `serve` and `migrate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    diwan_launch::run(&diwan_conversation::Service)
}
