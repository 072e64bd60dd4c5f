//! Who may call what, and proof of who is calling.
//!
//! [`Rules`] is the table that the .proto files declare. A [`Verifier`] turns the tokens of a request into a [`Caller`],
//! and [`Admission`] lets him through to a method or refuses. The gateway asks it, and every service asks it again.

mod access_keys;
mod admission;
mod caller;
mod cut;
pub mod keys;
mod pages;
mod principal;
mod proven;
mod revocations;
mod rules;
mod signed;
mod signer;
pub mod token;
mod verifier;

#[cfg(test)]
mod tests;

pub use access_keys::AccessKeys;
pub use admission::Admission;
pub use caller::{Caller, Operator, User, caller, operator, user};
pub use cut::Cut;
pub use keys::Keys;
pub use pages::Pages;
pub use principal::{Principal, account, principal, viewer};
pub use revocations::{OPERATORS_KEPT, Revocations};
pub use rules::{Rule, Rules};
pub use signer::Signer;
pub use verifier::Verifier;

/// The header that carries a service's own token, next to a user's in `authorization`.
pub const SERVICE_TOKEN: http::HeaderName = http::HeaderName::from_static("diwan-service-token");
