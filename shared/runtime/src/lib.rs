//! What every process of Diwan stands on: the clock, ids, the environment, telemetry, draining and worker loops.

pub mod backoff;
pub mod clock;
pub mod drain;
pub mod env;
pub mod ids;
pub mod telemetry;
pub mod worker;

pub use clock::{Clock, MockClock, SystemClock};
pub use drain::Drain;
pub use env::Env;
