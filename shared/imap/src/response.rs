//! What a response means (RFC 3501, section 7).

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{
    error::Kind,
    fetch_data::FetchData,
    frame::{Frame, Part},
    status::Answer,
    uid_set,
    value::{self, Value},
};

/// The condition of a status response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Ok,
    No,
    Bad,
    Bye,
    PreAuth,
}

/// One response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Response {
    Tagged(Bytes, Status, Answer),
    /// The server waits for more; its words are for people, or a SASL challenge that none of ours heeds.
    Continue,
    Untagged(Data),
}

/// One untagged response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    Status(Status, Answer),
    Capability(Vec<String>),
    Exists(u32),
    Expunge(u32),
    Vanished(Vec<RangeInclusive<u32>>),
    Search(Vec<u32>),
    Fetch(u32, FetchData),
    /// A FETCH response that cannot be understood: its longest literal, where there is one.
    BrokenFetch(Option<Bytes>),
    List(ListData),
    /// Nothing this client has a use for.
    Other,
}

/// One LIST response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ListData {
    pub(crate) attributes: Vec<String>,
    pub(crate) delimiter: Option<char>,
    pub(crate) name: Bytes,
}

impl Response {
    /// What cannot be IMAP at all is an error, and so is a broken response whose loss would falsify an answer (a
    /// search result, say). What is merely unknown is [`Data::Other`].
    pub(crate) fn parse(frame: &Frame) -> Result<Self, Kind> {
        let Some(Part::Text(line)) = frame.0.first() else { return Err(Kind::Garbage("no line at all")) };
        if line.starts_with(b"+") {
            return Ok(Self::Continue);
        }
        let (tag, rest) = split_word(line);
        let (word, text) = split_word(rest);
        match (tag, Status::parse(word)) {
            (b"*", Some(status)) => Ok(Self::Untagged(Data::Status(status, Answer::parse(text)))),
            (b"*", None) => data(frame).map(Self::Untagged),
            (tag, Some(status @ (Status::Ok | Status::No | Status::Bad))) => {
                Ok(Self::Tagged(line.slice_ref(tag), status, Answer::parse(text)))
            }
            _ => Err(Kind::Garbage("neither a tagged nor an untagged line")),
        }
    }
}

impl Status {
    fn parse(word: &[u8]) -> Option<Self> {
        match word.to_ascii_uppercase().as_slice() {
            b"OK" => Some(Self::Ok),
            b"NO" => Some(Self::No),
            b"BAD" => Some(Self::Bad),
            b"BYE" => Some(Self::Bye),
            b"PREAUTH" => Some(Self::PreAuth),
            _ => None,
        }
    }
}

fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| *byte == b' ').unwrap_or(text.len());
    (&text[..end], text.get(end + 1..).unwrap_or_default())
}

fn data(frame: &Frame) -> Result<Data, Kind> {
    let keyword = keyword(frame);
    let known = match value::parse(frame) {
        Ok(values) => understand(&keyword, &values),
        Err(value::Malformed) => None,
    };
    match (known, keyword.as_slice()) {
        (Some(data), _) => Ok(data),
        (None, b"FETCH") => Ok(Data::BrokenFetch(longest_literal(frame))),
        (None, b"EXISTS" | b"EXPUNGE" | b"VANISHED" | b"SEARCH" | b"CAPABILITY" | b"LIST") => {
            Err(Kind::Garbage("a response that cannot be read"))
        }
        (None, word) if word.iter().any(u8::is_ascii_alphabetic) => Ok(Data::Other),
        (None, _) => Err(Kind::Garbage("an untagged line without a keyword")),
    }
}

/// The word that says what kind of data this is: the second, or the third after a number.
fn keyword(frame: &Frame) -> Vec<u8> {
    let Some(Part::Text(line)) = frame.0.first() else { return Vec::new() };
    let (_, rest) = split_word(line);
    let (first, rest) = split_word(rest);
    let numbered = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
    if numbered { split_word(rest).0 } else { first }.to_ascii_uppercase()
}

/// `values` begins with `*`, a number for some, and the keyword.
fn understand(keyword: &[u8], values: &[Value]) -> Option<Data> {
    let number = || values.get(1)?.number::<u32>();
    let after = values.get(2..).unwrap_or_default();
    match keyword {
        b"EXISTS" => Some(Data::Exists(number()?)),
        b"EXPUNGE" => Some(Data::Expunge(number().filter(|number| *number > 0)?)),
        b"FETCH" => Some(Data::Fetch(number()?, FetchData::parse(values.get(3..)?)?)),
        b"SEARCH" => search(after).map(Data::Search),
        b"VANISHED" => uid_set::parse(after.last()?.bytes()?).map(Data::Vanished),
        b"CAPABILITY" => Some(Data::Capability(after.iter().filter_map(Value::text).collect())),
        b"LIST" => list(after).map(Data::List),
        _ => None,
    }
}

/// A CONDSTORE server may close the numbers with `(MODSEQ n)` (RFC 7162, 3.1.5).
fn search(values: &[Value]) -> Option<Vec<u32>> {
    let numbers = match values {
        [numbers @ .., Value::List(modseq)] if modseq.first().is_some_and(|name| name.is_atom("MODSEQ")) => numbers,
        numbers => numbers,
    };
    numbers.iter().map(|value| value.number().filter(|uid| *uid > 0)).collect()
}

fn list(values: &[Value]) -> Option<ListData> {
    // Not `bytes()`: a folder may be called NIL.
    let [Value::List(attributes), delimiter, Value::Atom(name) | Value::String(name), ..] = values else {
        return None;
    };
    Some(ListData {
        attributes: attributes.iter().filter_map(Value::text).collect(),
        delimiter: delimiter.text().and_then(|text| text.chars().next()),
        name: name.clone(),
    })
}

fn longest_literal(frame: &Frame) -> Option<Bytes> {
    let literals = frame.0.iter().filter_map(|part| match part {
        Part::Literal(bytes) => Some(bytes),
        _ => None,
    });
    literals.max_by_key(|bytes| bytes.len()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Response, Kind> {
        Response::parse(&Frame(vec![Part::Text(Bytes::copy_from_slice(line.as_bytes()))]))
    }

    fn untagged(line: &str) -> Data {
        match of(line).unwrap() {
            Response::Untagged(data) => data,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_of_data_is_understood() {
        assert_eq!(untagged("* 23 exists"), Data::Exists(23));
        assert_eq!(untagged("* 1 EXPUNGE"), Data::Expunge(1));
        assert_eq!(untagged("* SEARCH"), Data::Search(vec![]));
        assert_eq!(untagged("* SEARCH 2 5 (MODSEQ 917162500)"), Data::Search(vec![2, 5]));
        assert_eq!(untagged("* VANISHED (EARLIER) 41,43:116"), Data::Vanished(vec![41..=41, 43..=116]));
        assert_eq!(untagged("* CAPABILITY IMAP4rev1 IDLE"), Data::Capability(vec!["IMAP4rev1".into(), "IDLE".into()]));
        let sent = ListData { attributes: vec!["\\Sent".into()], delimiter: Some('/'), name: "Sent Mail".into() };
        assert_eq!(untagged(r#"* LIST (\Sent) "/" "Sent Mail""#), Data::List(sent));
        assert!(matches!(untagged("* 1 FETCH (UID 9)"), Data::Fetch(1, FetchData { uid: Some(9), .. })));
    }

    #[test]
    fn a_broken_answer_is_an_error_and_never_a_smaller_answer() {
        let overflow = "* 4294967296 EXISTS";
        for line in ["* SEARCH 1 x 3", "* SEARCH 1 0", "* SEARCH 4294967296", overflow, "* LIST () NIL", "* 0 EXPUNGE"]
        {
            assert!(matches!(of(line), Err(Kind::Garbage(_))), "{line}");
        }
    }

    #[test]
    fn a_broken_fetch_keeps_its_literal() {
        let parts = vec![
            Part::Text("* 4 FETCH (ENVELOPE (\"unterminated) UID 4 BODY[] ".into()),
            Part::Literal("raw".into()),
            Part::Text(")".into()),
        ];
        let response = Response::parse(&Frame(parts)).unwrap();
        assert_eq!(response, Response::Untagged(Data::BrokenFetch(Some("raw".into()))));
    }

    #[test]
    fn unknown_data_is_passed_over_and_noise_is_not() {
        for line in ["* XYZZY \"open", "* 5 RECENT", "* FLAGS (\\Seen)", "* ESEARCH (TAG \"A\") UID"] {
            assert_eq!(untagged(line), Data::Other, "{line}");
        }
        for line in ["", "*", "* ", "* 5", "* (", "noise", "A1", "A1 BYE x", "\u{0}\u{1}"] {
            assert!(matches!(of(line), Err(Kind::Garbage(_))), "{line:?}");
        }
    }

    #[test]
    fn tagged_answers_and_continuations_are_told_apart() {
        assert_eq!(
            of("A1 no [Limit] x").unwrap(),
            Response::Tagged("A1".into(), Status::No, Answer::parse(b"[LIMIT] x"))
        );
        assert_eq!(of("+").unwrap(), Response::Continue);
        assert_eq!(of("+ go on").unwrap(), Response::Continue);
    }
}
