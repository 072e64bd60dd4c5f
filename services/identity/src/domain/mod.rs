//! What identity is about: users and their states, tokens, sessions. No database, no network.

pub mod archive;
pub mod audit;
mod closing;
mod code;
mod number;
mod principal;
mod profile;
mod role;
mod second_factor;
mod secret;
mod session;
mod signing_key;
mod throttle;
mod token;
mod user;

pub use code::{Bound, Code, Purpose};
pub use number::PhoneNumber;
pub use principal::{
    Credential, INSTALLATION, MOST_CREDENTIALS, MOST_PRINCIPALS, Presentation, Principal, Proof, Proved, Taken,
};
pub use profile::{Picture, Profile};
pub use role::handed_over;
pub use second_factor::{Authenticator, FactorRefusal, Pending, SecondFactors};
pub use secret::Secret;
pub use session::{Presented, Remembered, presented};
pub use signing_key::{AHEAD, Ring, SigningKey};
pub use throttle::{Failures, Policy, Verdict};
pub use token::Token;
pub use user::{Account, Refusal, Seat, User, email_key, invited_user_id};
