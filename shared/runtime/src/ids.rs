//! Where ids come from.

use uuid::Uuid;

/// A new UUIDv7 (RFC 9562 section 5.7): ids of one process sort by the time they were made.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes ids")]
pub fn new_id() -> Uuid {
    Uuid::now_v7()
}
