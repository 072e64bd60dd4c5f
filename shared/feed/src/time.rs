//! Times between jiff and the protocol.

use jiff::Timestamp;

const NANOS: i128 = 1_000_000_000;

/// As `google.protobuf.Timestamp`, whose nanoseconds count forward even before 1970.
pub fn to_proto(time: Timestamp) -> prost_types::Timestamp {
    let nanos = time.as_nanosecond();
    prost_types::Timestamp {
        seconds: i64::try_from(nanos.div_euclid(NANOS)).unwrap_or_default(),
        nanos: i32::try_from(nanos.rem_euclid(NANOS)).unwrap_or_default(),
    }
}

/// From `google.protobuf.Timestamp`; `None` beyond the years -9999 to 9999.
pub fn from_proto(time: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_way_into_the_protocol_and_out_of_it() {
        for text in ["1969-12-31T23:59:59.25Z", "1970-01-01T00:00:00Z", "2026-02-28T12:00:00.000001Z"] {
            let time: Timestamp = text.parse().unwrap();
            let proto = to_proto(time);
            assert!((0..1_000_000_000).contains(&proto.nanos), "{proto:?}");
            assert_eq!(from_proto(&proto), Some(time));
        }
    }
}
