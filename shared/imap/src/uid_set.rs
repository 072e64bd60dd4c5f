//! Sets of UIDs as they are written in commands and responses (RFC 3501, section 9, `sequence-set`).

use std::{fmt::Write as _, ops::RangeInclusive};

/// Writes ascending UIDs, runs of neighbours as ranges.
pub(crate) fn format(ascending: impl IntoIterator<Item = u32>) -> String {
    let mut runs: Vec<RangeInclusive<u32>> = Vec::new();
    for uid in ascending {
        match runs.last_mut() {
            Some(run) if run.end().checked_add(1) == Some(uid) => *run = *run.start()..=uid,
            _ => runs.push(uid..=uid),
        }
    }
    let mut set = String::new();
    for run in runs {
        let comma = if set.is_empty() { "" } else { "," };
        let (first, last) = run.into_inner();
        // Writing to a String cannot fail.
        let _ = if first == last { write!(set, "{comma}{first}") } else { write!(set, "{comma}{first}:{last}") };
    }
    set
}

/// Reads a set without `*`; the ends of a range may come in either order.
pub(crate) fn parse(set: &[u8]) -> Option<Vec<RangeInclusive<u32>>> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|uid| *uid > 0);
    let run = |text: &str| match text.split_once(':') {
        Some((a, b)) => number(a).zip(number(b)).map(|(a, b)| a.min(b)..=a.max(b)),
        None => number(text).map(|uid| uid..=uid),
    };
    std::str::from_utf8(set).ok()?.split(',').map(run).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn neighbours_are_written_as_a_range() {
        assert_eq!(format([1, 2, 3, 7, 9, 10, u32::MAX]), "1:3,7,9:10,4294967295");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "0", "1,", "1:", "*", "a", "1:4294967296"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse(b"9:7"), Some(vec![7..=9]));
    }

    proptest! {
        #[test]
        fn any_set_is_read_back(uids in proptest::collection::btree_set(1_u32..300, 1..50)) {
            let read: BTreeSet<u32> = parse(format(uids.iter().copied()).as_bytes()).unwrap().into_iter().flatten().collect();
            prop_assert_eq!(read, uids);
        }
    }
}
