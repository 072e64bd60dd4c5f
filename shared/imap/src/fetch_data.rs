//! What a FETCH response says about one message (RFC 3501, 7.4.2).

use bytes::Bytes;
use jiff::{Timestamp, fmt::strtime};

use crate::value::Value;

/// A message's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Raw(Bytes),
    /// Over the limit: its size.
    Skipped(u64),
}

/// The attributes that came, each `None` when it did not.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct FetchData {
    pub(crate) uid: Option<u32>,
    pub(crate) flags: Option<Vec<String>>,
    pub(crate) internal_date: Option<Timestamp>,
    pub(crate) size: Option<u64>,
    pub(crate) body: Option<Body>,
}

impl FetchData {
    /// Reads the list of names and values; `None` when it is no such list. Attributes never asked for are passed
    /// over, however they look.
    pub(crate) fn parse(values: &[Value]) -> Option<Self> {
        let [Value::List(attributes)] = values else { return None };
        let mut data = Self::default();
        let pairs = attributes.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return None;
        }
        for pair in pairs {
            data.set(&pair[0], &pair[1])?;
        }
        Some(data)
    }

    fn set(&mut self, name: &Value, value: &Value) -> Option<()> {
        let Value::Atom(name) = name else { return None };
        match name.to_ascii_uppercase().as_slice() {
            b"UID" => self.uid = Some(value.number().filter(|uid| *uid > 0)?),
            b"FLAGS" => self.flags = Some(value.list()?.iter().filter_map(Value::text).collect()),
            b"INTERNALDATE" => self.internal_date = value.text().as_deref().and_then(internal_date),
            b"RFC822.SIZE" => self.size = Some(value.number()?),
            b"BODY[]" => {
                self.body = match value {
                    Value::Skipped(size) => Some(Body::Skipped(*size)),
                    Value::List(_) => return None,
                    value => value.bytes().cloned().map(Body::Raw),
                }
            }
            _ => {}
        }
        Some(())
    }

    /// A server may spread what it says of one message over several responses.
    pub(crate) fn merge(&mut self, later: Self) {
        self.uid = later.uid.or(self.uid);
        self.flags = later.flags.or(self.flags.take());
        self.internal_date = later.internal_date.or(self.internal_date);
        self.size = later.size.or(self.size);
        self.body = later.body.or(self.body.take());
    }
}

/// RFC 3501, section 9, `date-time`: the day may be padded by a space.
fn internal_date(text: &str) -> Option<Timestamp> {
    strtime::parse("%d-%b-%Y %H:%M:%S %z", text.trim_start()).ok()?.to_timestamp().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Frame, Part},
        value,
    };

    fn of(parts: &[&'static str]) -> Option<FetchData> {
        let part = |(index, text): (usize, &&'static str)| {
            let bytes = Bytes::from_static(text.as_bytes());
            if index % 2 == 0 { Part::Text(bytes) } else { Part::Literal(bytes) }
        };
        FetchData::parse(&value::parse(&Frame(parts.iter().enumerate().map(part).collect())).unwrap())
    }

    #[test]
    fn what_was_asked_for_is_read_and_the_rest_passed_over() {
        let data = of(&[
            "(uid 7 X-GM-LABELS (\"\\\\Inbox\" a) FLAGS (\\Seen) INTERNALDATE \" 7-Jul-1996 02:44:25 -0700\" BODY[] ",
            "raw",
            " RFC822.SIZE 3)",
        ])
        .unwrap();
        assert_eq!((data.uid, data.size), (Some(7), Some(3)));
        assert_eq!(data.flags, Some(vec!["\\Seen".to_owned()]));
        assert_eq!(data.internal_date, Some("1996-07-07T09:44:25Z".parse().unwrap()));
        assert_eq!(data.body, Some(Body::Raw(Bytes::from_static(b"raw"))));
    }

    #[test]
    fn an_odd_list_a_zero_uid_and_a_body_that_is_a_list_are_refused() {
        for broken in ["(UID)", "(UID 0)", "(UID x)", "(BODY[] (a))", "UID 7", "(FLAGS x)", "((a) 1)"] {
            assert_eq!(of(&[broken]), None, "{broken}");
        }
    }

    #[test]
    fn a_body_of_nil_is_no_body_and_an_empty_one_is() {
        assert_eq!(of(&["(UID 7 BODY[] NIL)"]).unwrap().body, None);
        assert_eq!(of(&["(UID 7 BODY[] \"\")"]).unwrap().body, Some(Body::Raw(Bytes::new())));
    }

    #[test]
    fn a_date_that_is_none_costs_the_date_not_the_message() {
        let data = of(&["(UID 7 INTERNALDATE \"99-Foo-1996\")"]).unwrap();
        assert_eq!((data.uid, data.internal_date), (Some(7), None));
    }
}
