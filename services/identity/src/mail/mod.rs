//! E-mails to people. A text is one file in four languages; names in it are one line each, as every request made sure, and a
//! link stands alone on its line, so that a right-to-left paragraph cannot reorder it.

mod confirmation;
mod courier;
mod invitation;
mod ownership;
mod reset;
mod sending;
#[cfg(test)]
mod tests;

pub use courier::{Courier, MailError};
use jiff::{Timestamp, tz::TimeZone};

/// Subject and text of an e-mail.
type Letter = (String, String);

/// In the account's time zone, which the reader's is likely to be.
fn local(time: Timestamp, zone: &str) -> String {
    let zoned = time.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC));
    format!("{} ({zone})", zoned.strftime("%Y-%m-%d %H:%M"))
}
