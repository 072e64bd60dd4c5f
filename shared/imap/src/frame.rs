//! Where one response ends and the next begins: lines, and literals of an announced length (RFC 3501, 2.2 and 4.3).
//!
//! Framing knows nothing of what a response means, so one that cannot be understood does not take the next with it.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::error::Kind;

/// A piece of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text without its line end and without the announcement of the literal after it.
    Text(Bytes),
    /// A literal.
    Literal(Bytes),
    /// A literal over the limit, thrown away as it came in: how many bytes it had.
    Skipped(u64),
}

/// One whole response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Vec<Part>);

#[derive(Debug, Clone, Copy)]
enum State {
    Line,
    Literal(usize),
    Skip { total: u64, left: u64 },
}

/// Cuts the byte stream into frames. Holds whatever has come in of an unfinished one, so reading may be interrupted
/// anywhere.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) buffer: BytesMut,
    scanned: usize,
    parts: Vec<Part>,
    text_bytes: usize,
    state: State,
    max_literal: usize,
    max_line: usize,
    allowance: usize,
    text_allowance: usize,
}

/// Never ask the allocator for more than this ahead of what has come in.
const READ_AHEAD: usize = 64 << 10;

/// How much text one answer may have in all, in lines of the greatest length. What an answer says is gathered in
/// memory until its tagged line.
const LINES_AT_FULL_LENGTH: usize = 4;

impl Decoder {
    pub(crate) fn new(max_literal: usize, max_line: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            parts: Vec::new(),
            text_bytes: 0,
            state: State::Line,
            max_literal,
            max_line,
            allowance: 0,
            text_allowance: 0,
        }
    }

    /// Begins a new answer, of whose literals this many bytes are kept; what exceeds it is skipped. A server may
    /// announce any size for each message, and answer with more messages than it was asked for.
    pub(crate) fn allow(&mut self, bytes: usize) {
        self.allowance = bytes;
        self.text_allowance = self.max_line.saturating_mul(LINES_AT_FULL_LENGTH);
    }

    /// The buffer, with room to read into.
    pub(crate) fn room(&mut self) -> &mut BytesMut {
        let wanted = match self.state {
            State::Literal(size) => size.saturating_sub(self.buffer.len()).clamp(1, READ_AHEAD),
            State::Line | State::Skip { .. } => READ_AHEAD / 8,
        };
        self.buffer.reserve(wanted);
        &mut self.buffer
    }

    /// The next frame, or `None` until more has been read into `buffer`.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, Kind> {
        loop {
            let advanced = match self.state {
                State::Line => self.line()?,
                State::Literal(size) => self.literal(size),
                State::Skip { total, left } => self.skip(total, left),
            };
            match advanced {
                Advance::NeedMore => return Ok(None),
                Advance::Part => {}
                Advance::Frame => {
                    self.text_bytes = 0;
                    return Ok(Some(Frame(std::mem::take(&mut self.parts))));
                }
            }
        }
    }

    fn line(&mut self) -> Result<Advance, Kind> {
        let end = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n');
        let length = end.map_or(self.buffer.len(), |end| self.scanned + end + 1);
        if self.text_bytes + length > self.max_line || length > self.text_allowance {
            return Err(Kind::Garbage("a response beyond the length limit"));
        }
        if end.is_none() {
            self.scanned = self.buffer.len();
            return Ok(Advance::NeedMore);
        }
        self.scanned = 0;
        self.text_bytes += length;
        self.text_allowance -= length;
        let mut line = self.buffer.split_to(length).freeze();
        line.truncate(line.strip_suffix(b"\r\n").map_or(line.len() - 1, <[u8]>::len));
        self.end_line(line)
    }

    fn end_line(&mut self, mut line: Bytes) -> Result<Advance, Kind> {
        let announced = if self.parts.is_empty() && is_free_text(&line) { None } else { announcement(&line)? };
        let Some((text, size)) = announced else {
            self.parts.push(Part::Text(line));
            return Ok(Advance::Frame);
        };
        line.truncate(text);
        self.parts.push(Part::Text(line));
        self.state = match usize::try_from(size) {
            Ok(fits) if fits <= self.max_literal.min(self.allowance) => {
                self.allowance -= fits;
                State::Literal(fits)
            }
            _ => State::Skip { total: size, left: size },
        };
        Ok(Advance::Part)
    }

    fn literal(&mut self, size: usize) -> Advance {
        if self.buffer.len() < size {
            return Advance::NeedMore;
        }
        self.parts.push(Part::Literal(self.buffer.split_to(size).freeze()));
        self.state = State::Line;
        Advance::Part
    }

    fn skip(&mut self, total: u64, left: u64) -> Advance {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
        self.buffer.advance(here);
        let left = left - here as u64;
        if left > 0 {
            self.state = State::Skip { total, left };
            return Advance::NeedMore;
        }
        self.parts.push(Part::Skipped(total));
        self.state = State::Line;
        Advance::Part
    }
}

enum Advance {
    NeedMore,
    Part,
    Frame,
}

/// Status responses, tagged answers and continuations end in words for people, which may well end in `{5}`.
fn is_free_text(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"* ") else { return true };
    let word = rest.split(|byte| *byte == b' ').next().unwrap_or_default();
    ["OK", "NO", "BAD", "BYE", "PREAUTH"].iter().any(|status| word.eq_ignore_ascii_case(status.as_bytes()))
}

/// Where the text ends and how many bytes follow, for a line that ends in `{n}`, or `~{n}` (RFC 3516).
fn announcement(line: &[u8]) -> Result<Option<(usize, u64)>, Kind> {
    let Some(open) = line.iter().rposition(|byte| *byte == b'{') else { return Ok(None) };
    let Some(digits) = line[open + 1..].strip_suffix(b"}") else { return Ok(None) };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Ok(None);
    }
    let size = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let text = if line[..open].ends_with(b"~") { open - 1 } else { open };
    size.map(|size| Some((text, size))).ok_or(Kind::Garbage("a literal without end"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(chunks: &[&[u8]], max_literal: usize, allowance: usize) -> Result<Vec<Frame>, Kind> {
        let mut decoder = Decoder::new(max_literal, 1 << 20);
        decoder.allow(allowance);
        let mut frames = Vec::new();
        for chunk in chunks {
            decoder.buffer.extend_from_slice(chunk);
            while let Some(frame) = decoder.next()? {
                frames.push(frame);
            }
        }
        Ok(frames)
    }

    fn text(text: &'static str) -> Part {
        Part::Text(Bytes::from_static(text.as_bytes()))
    }

    const STREAM: &[u8] = b"* OK ready {5}\r\n* 1 FETCH (UID 7 BODY[] {12}\r\nab\r\n* 2 EXIST FLAGS ())\r\n\
        * 2 FETCH (BODY[] ~{0}\r\n)\nA1 OK done\r\n";

    fn expected() -> Vec<Frame> {
        vec![
            Frame(vec![text("* OK ready {5}")]),
            Frame(vec![
                text("* 1 FETCH (UID 7 BODY[] "),
                Part::Literal(Bytes::from_static(b"ab\r\n* 2 EXIS")),
                text("T FLAGS ())"),
            ]),
            Frame(vec![text("* 2 FETCH (BODY[] "), Part::Literal(Bytes::new()), text(")")]),
            Frame(vec![text("A1 OK done")]),
        ]
    }

    proptest! {
        #[test]
        fn the_frames_do_not_depend_on_how_the_bytes_arrive(cuts in proptest::collection::vec(0..STREAM.len(), 0..8)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &STREAM[cut[0]..cut[1]]).collect();
            prop_assert_eq!(frames(&chunks, 100, 100).unwrap(), expected());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = frames(&[&bytes], 10, 100);
        }
    }

    #[test]
    fn a_literal_over_the_limit_is_skipped_and_what_follows_is_found() {
        let stream = [b"* 1 FETCH (BODY[] {1000}\r\n".as_slice(), &[b'x'; 1000], b" UID 7)\r\n* 2 EXISTS\r\n"].concat();
        let frames = frames(&[&stream], 999, 10_000).unwrap();
        assert_eq!(frames[0].0, [text("* 1 FETCH (BODY[] "), Part::Skipped(1000), text(" UID 7)")]);
        assert_eq!(frames[1].0, [text("* 2 EXISTS")]);
    }

    #[test]
    fn many_literals_share_one_allowance() {
        let stream = b"* LIST () NIL {4}\r\nabcd\r\n".repeat(3);
        let kept = |frame: &Frame| frame.0.contains(&Part::Literal(Bytes::from_static(b"abcd")));
        assert_eq!(frames(&[&stream], 10, 8).unwrap().iter().filter(|frame| kept(frame)).count(), 2);
    }

    #[test]
    fn an_announced_literal_takes_no_memory_before_its_bytes_come() {
        let mut decoder = Decoder::new(usize::MAX, 100);
        decoder.allow(usize::MAX);
        decoder.buffer.extend_from_slice(b"* 1 FETCH (BODY[] {536870912}\r\n");
        assert!(decoder.next().unwrap().is_none());
        assert!(decoder.room().capacity() <= 2 * READ_AHEAD);
    }

    #[test]
    fn an_answer_without_end_is_an_error() {
        let mut decoder = Decoder::new(10, 100);
        decoder.allow(0);
        let lines = (0..).map(|_| {
            decoder.buffer.extend_from_slice(b"* SEARCH 1 2 3\r\n");
            decoder.next()
        });
        assert_eq!(lines.take_while(Result::is_ok).count(), 100 * LINES_AT_FULL_LENGTH / 16);
    }

    #[test]
    fn a_line_without_end_and_a_size_beyond_all_numbers_are_errors() {
        let mut decoder = Decoder::new(10, 100);
        decoder.allow(0);
        decoder.buffer.extend_from_slice(&[b'x'; 101]);
        assert!(matches!(decoder.next(), Err(Kind::Garbage(_))));
        assert!(frames(&[b"* 1 FETCH (BODY[] {99999999999999999999999}\r\n"], 10, 10).is_err());
    }
}
