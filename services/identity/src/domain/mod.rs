//! What identity is about: users and their states, tokens, sessions. No database, no network.

mod session;
mod token;
mod user;

pub use session::{Presented, Remembered, presented};
pub use token::Token;
pub use user::{Account, Refusal, Seat, User, email_key, invited_user_id};
