//! E-mails to people, each as plain text and as HTML, in four languages. Names in them are one line each, as every request made sure.

mod closing;
mod courier;
mod letter;
mod letters;
mod sending;
#[cfg(test)]
mod tests;

pub use courier::{Courier, MailError};
use jiff::{Timestamp, tz::TimeZone};
pub use letter::{Letter, MAILS, Mail};

/// In the account's time zone, which the reader's is likely to be.
pub fn local(time: Timestamp, zone: &str) -> String {
    let zoned = time.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC));
    format!("{} ({zone})", zoned.strftime("%Y-%m-%d %H:%M"))
}
