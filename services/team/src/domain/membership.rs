//! Who belongs to a team.

use jiff::Timestamp;
use uuid::Uuid;

/// That a user belongs to a team, or did.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// Names it in the feed: one id for one team and one user, for ever.
    pub(crate) id: Uuid,
    pub(crate) team: Uuid,
    pub(crate) user: Uuid,
    /// When he joined last.
    pub(crate) joined_at: Timestamp,
    /// Whether he is one of the team's leads.
    pub(crate) lead: bool,
    /// Rises whenever he joins or leaves, or the mark changes.
    pub(crate) version: i64,
}
