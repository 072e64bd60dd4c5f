//! How long something at a place of a queue may still wait.

use std::time::Duration;

/// The pace of a queue is that of this time before.
pub const WINDOW: Duration = Duration::from_hours(1);

/// Of fewer than these nothing can be said.
const LEAST: i64 = 3;

/// The wait at `position`, from 1, of a queue that gave out so many within the [`WINDOW`]. `None`: too few to tell.
pub fn expected_wait(position: i64, given_out: i64) -> Option<Duration> {
    if given_out < LEAST {
        return None;
    }
    let (position, given_out) = (u64::try_from(position).ok()?, u64::try_from(given_out).ok()?);
    // Seconds are as exact as an estimate can be.
    Some(Duration::from_secs(WINDOW.as_secs().saturating_mul(position) / given_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_place_at_the_pace_of_the_last_hour_and_nothing_where_the_queue_hardly_moved() {
        assert_eq!(expected_wait(1, 60), Some(Duration::from_mins(1)));
        assert_eq!(expected_wait(30, 60), Some(Duration::from_mins(30)));
        assert_eq!(expected_wait(i64::MAX, 3), Some(Duration::from_secs(u64::MAX / 3)));
        assert_eq!((expected_wait(1, 2), expected_wait(1, 0)), (None, None));
    }
}
