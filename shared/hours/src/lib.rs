//! Working hours: whether a team is open at a moment, and when that changes.
//!
//! One rule decides everything: a team is open exactly while the clock on the wall of its account's time zone shows a time
//! within one of its shifts. What follows from it:
//! - An hour that the clock skips is not there: a shift that lies in it does not take place, one that begins in it begins when
//!   the clock has jumped.
//! - An hour that the clock repeats is worked twice as far as it lies in a shift.
//! - A shift belongs to the day on which it begins, also where it passes midnight: a holiday cancels the shifts that begin on it,
//!   and the one that began on its eve goes on to its end.
//!
//! Where no hours are set a team is always open; that is for the caller to know.

mod hours;
mod message;
mod schedule;

pub use hours::Hours;
pub use message::{read, trusted, write};
pub use schedule::{MOST_HOLIDAYS, MOST_SHIFTS, Schedule, Shift};
