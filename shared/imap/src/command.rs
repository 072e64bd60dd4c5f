//! Commands as they are written (RFC 3501, section 6).

use zeroize::Zeroizing;

use crate::error::Kind;

/// What follows a piece of a command's text.
pub(crate) enum Then<'a> {
    /// The command ends here.
    End,
    /// A literal, which may be sent once the server says so.
    Literal(Zeroizing<Vec<u8>>),
    /// A message, borrowed since it may be large.
    Message(&'a [u8]),
}

/// A command without its tag. Every byte is wiped afterwards: it may be a password.
pub(crate) struct Command<'a> {
    pub(crate) name: &'static str,
    pub(crate) pieces: Vec<(Zeroizing<Vec<u8>>, Then<'a>)>,
    text: Zeroizing<Vec<u8>>,
}

impl<'a> Command<'a> {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, pieces: Vec::new(), text: Zeroizing::new(name.as_bytes().to_vec()) }
    }

    /// Adds a space and this text as it is.
    pub(crate) fn word(mut self, text: &str) -> Self {
        self.text.push(b' ');
        self.text.extend_from_slice(text.as_bytes());
        self
    }

    /// Adds a string: quoted where that is possible, else as a literal.
    ///
    /// # Errors
    /// NUL, which no IMAP string can hold.
    pub(crate) fn string(mut self, string: &[u8]) -> Result<Self, Kind> {
        if string.contains(&0) {
            return Err(Kind::Argument("a zero byte in a string"));
        }
        if !string.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Ok(self.announce(string.len(), Then::Literal(Zeroizing::new(string.to_vec()))));
        }
        self.text.extend_from_slice(b" \"");
        self.text.extend_from_slice(&quoted(string));
        self.text.push(b'"');
        Ok(self)
    }

    /// Adds a message.
    pub(crate) fn message(self, raw: &'a [u8]) -> Self {
        self.announce(raw.len(), Then::Message(raw))
    }

    fn announce(mut self, size: usize, then: Then<'a>) -> Self {
        self.text.extend_from_slice(format!(" {{{size}}}").as_bytes());
        self.pieces.push((std::mem::take(&mut self.text), then));
        self
    }

    /// The name and all pieces.
    pub(crate) fn into_pieces(mut self) -> Vec<(Zeroizing<Vec<u8>>, Then<'a>)> {
        self.pieces.push((self.text, Then::End));
        self.pieces
    }
}

/// The inside of a quoted string.
pub(crate) fn quoted(string: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut quoted = Zeroizing::new(Vec::with_capacity(2 * string.len()));
    for byte in string {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted
}
