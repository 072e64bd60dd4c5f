//! What identity is about: users and their states, tokens, sessions. No database, no network.

mod role;
mod session;
mod throttle;
mod token;
mod user;

pub use role::handed_over;
pub use session::{Presented, Remembered, presented};
pub use throttle::{Failures, Policy, Verdict};
pub use token::Token;
pub use user::{Account, Refusal, Seat, User, email_key, invited_user_id};
