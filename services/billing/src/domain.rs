//! Subscriptions and seats.

use jiff::Timestamp;
use uuid::Uuid;

/// The plan that every account begins with.
pub(crate) const TRIAL_PLAN: &str = "trial";
/// Seats of a new subscription, and the fewest that one can have.
pub(crate) const FEWEST_SEATS: i32 = 5;
/// The most that one can have.
pub(crate) const MOST_SEATS: i32 = 100_000;

/// Where a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In its trial.
    Trial,
}

/// What an account has subscribed to, at one point in time.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) account: Uuid,
    pub(crate) plan: String,
    pub(crate) state: State,
    pub(crate) seats: i32,
    /// Held by users, and by invitations that have not expired.
    pub(crate) seats_held: i32,
    pub(crate) trial_ends_at: Timestamp,
}

/// A seat that is held.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) user: Uuid,
    pub(crate) taken_at: Timestamp,
    /// When it frees itself; `None` is when it is released.
    pub(crate) lease_expires_at: Option<Timestamp>,
}
