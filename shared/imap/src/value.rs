//! The values a response is made of: atoms, strings, lists (RFC 3501, section 4).

use bytes::Bytes;

use crate::frame::{Frame, Part};

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Also numbers, flags, NIL, and `BODY[...]`.
    Atom(Bytes),
    /// A quoted string or literal.
    String(Bytes),
    /// A literal over the limit: its size.
    Skipped(u64),
    /// What stands between parentheses.
    List(Vec<Value>),
}

/// The text breaks the grammar.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Lists are dropped recursively, so their depth must not be the server's choice.
const MAX_DEPTH: usize = 32;

/// Reads a whole frame.
pub(crate) fn parse(frame: &Frame) -> Result<Vec<Value>, Malformed> {
    let mut open = vec![Vec::new()];
    for part in &frame.0 {
        match part {
            Part::Text(text) => scan(text, &mut open)?,
            Part::Literal(bytes) => push(&mut open, Value::String(bytes.clone()))?,
            Part::Skipped(size) => push(&mut open, Value::Skipped(*size))?,
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(values), true) => Ok(values),
        _ => Err(Malformed),
    }
}

fn push(open: &mut [Vec<Value>], value: Value) -> Result<(), Malformed> {
    open.last_mut().ok_or(Malformed)?.push(value);
    Ok(())
}

fn scan(text: &Bytes, open: &mut Vec<Vec<Value>>) -> Result<(), Malformed> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b' ' => at += 1,
            b'(' if open.len() > MAX_DEPTH => return Err(Malformed),
            b'(' => {
                open.push(Vec::new());
                at += 1;
            }
            b')' => {
                let list = open.pop().ok_or(Malformed)?;
                push(open, Value::List(list))?;
                at += 1;
            }
            b'"' => {
                let (string, length) = quoted(&text[at + 1..])?;
                push(open, Value::String(string))?;
                at += 1 + length;
            }
            _ => {
                let length = atom(&text[at..])?;
                push(open, Value::Atom(text.slice(at..at + length)))?;
                at += length;
            }
        }
    }
    Ok(())
}

/// The string up to the closing quote, and how many bytes it took with that quote.
fn quoted(text: &[u8]) -> Result<(Bytes, usize), Malformed> {
    let mut string = Vec::new();
    let mut at = 0;
    loop {
        match (text.get(at), text.get(at + 1)) {
            (Some(b'"'), _) => return Ok((string.into(), at + 1)),
            (Some(b'\\'), Some(escaped @ (b'"' | b'\\'))) => {
                string.push(*escaped);
                at += 2;
            }
            (Some(byte), _) => {
                string.push(*byte);
                at += 1;
            }
            (None, _) => return Err(Malformed),
        }
    }
}

/// How long the atom is. A section may hold spaces and lists: `BODY[HEADER.FIELDS (DATE)]`. Elsewhere a bracket is a
/// character like others: users may call their flags so.
fn atom(text: &[u8]) -> Result<usize, Malformed> {
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b' ' | b'(' | b')' | b'"' => break,
            0..=0x1f | 0x7f => return Err(Malformed),
            b'[' if has_section(&text[..at]) => at += text[at..].iter().position(|b| *b == b']').ok_or(Malformed)? + 1,
            _ => at += 1,
        }
    }
    Ok(at)
}

fn has_section(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"BODY") || name.eq_ignore_ascii_case(b"BINARY")
}

impl Value {
    /// The bytes of an atom or string; none for NIL (RFC 3501, 4.5).
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Atom(atom) if atom.eq_ignore_ascii_case(b"NIL") => None,
            Self::Atom(bytes) | Self::String(bytes) => Some(bytes),
            Self::Skipped(_) | Self::List(_) => None,
        }
    }

    /// As text, where it is text.
    pub(crate) fn text(&self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// As a number that fits.
    pub(crate) fn number<N: std::str::FromStr>(&self) -> Option<N> {
        let Self::Atom(digits) = self else { return None };
        // FromStr would take a sign as well, which no IMAP number has.
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Whether it is this atom, in any case.
    pub(crate) fn is_atom(&self, name: &str) -> bool {
        matches!(self, Self::Atom(atom) if atom.eq_ignore_ascii_case(name.as_bytes()))
    }

    pub(crate) fn list(&self) -> Option<&[Value]> {
        match self {
            Self::List(values) => Some(values),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Result<Vec<Value>, Malformed> {
        parse(&Frame(vec![Part::Text(Bytes::copy_from_slice(text.as_bytes()))]))
    }

    fn atom(text: &'static str) -> Value {
        Value::Atom(Bytes::from_static(text.as_bytes()))
    }

    fn string(text: &'static str) -> Value {
        Value::String(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn atoms_strings_and_lists_are_told_apart() {
        let got = of(r#"FETCH (FLAGS (\Seen $x[1) "a \"b\" \\ (c" BODY[HEADER.FIELDS (DATE TO)]<0> NIL)"#).unwrap();
        let flags = Value::List(vec![atom("\\Seen"), atom("$x[1")]);
        let body = atom("BODY[HEADER.FIELDS (DATE TO)]<0>");
        assert_eq!(got[0], atom("FETCH"));
        assert_eq!(got[1], Value::List(vec![atom("FLAGS"), flags, string(r#"a "b" \ (c"#), body, atom("NIL")]));
    }

    #[test]
    fn broken_text_is_malformed_rather_than_half_read() {
        for broken in ["(", ")", "(()", "\"open", "a\u{1}b", &"(".repeat(1000), &"()".repeat(3).replace("()(", ")(")] {
            assert_eq!(of(broken), Err(Malformed), "{broken}");
        }
    }

    #[test]
    fn numbers_are_digits_that_fit() {
        assert_eq!(atom("4294967295").number::<u32>(), Some(u32::MAX));
        for not in ["4294967296", "+1", "-1", "1a", ""] {
            assert_eq!(Value::Atom(Bytes::from_static(not.as_bytes())).number::<u32>(), None, "{not}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&Frame(vec![Part::Text(text.into())]));
        }

        #[test]
        fn any_quoted_string_is_read_back(text in "[ -~]{0,40}") {
            let quoted = format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            prop_assert_eq!(of(&quoted).unwrap(), vec![Value::String(text.into())]);
        }
    }
}
