//! E-mails to people.

mod courier;
mod invitation;

pub use courier::{Courier, MailError};
