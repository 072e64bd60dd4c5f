//! Takes a mail apart, however broken it is: what can be read is read, and the rest is said to be broken.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use diwan_fault::Fields;
use mail_parser::{Address, HeaderValue, Message, MessageParser, MimeHeaders as _, PartType};

use super::automatic;

/// Longest text that is handed on, in bytes; the whole stays in the raw mail.
const TEXT: usize = 500_000;
/// Longest subject, in characters.
const SUBJECT: usize = 500;
/// Longest name of a person or file, in characters.
const NAME: usize = 200;
/// Longest Message-ID (RFC 5322, 2.1.1: a line), in characters.
const MESSAGE_ID: usize = 998;
/// How many Message-IDs of the thread are handed on, nearest first.
const THREAD: usize = 50;
/// How many files are taken out of one mail.
const FILES: usize = 100;

/// A file within a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    /// May be empty.
    pub(crate) name: String,
    /// E.g. `image/png`.
    pub(crate) media_type: String,
    pub(crate) content: Bytes,
}

/// What a mail says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    /// An address that can be answered; empty where there is none.
    pub(crate) from_email: String,
    pub(crate) from_name: String,
    /// Where the sender wants answers, if that is elsewhere and usable.
    pub(crate) reply_to: Option<(String, String)>,
    pub(crate) subject: String,
    /// Plain text; made from the HTML where there is none.
    pub(crate) text: String,
    /// Without angle brackets; empty where there is none.
    pub(crate) message_id: String,
    /// In-Reply-To and References without angle brackets, nearest first, each once.
    pub(crate) thread: Vec<String>,
    pub(crate) files: Vec<File>,
    /// Sent by a machine or a mailing list: never to be answered automatically (RFC 3834, section 2).
    pub(crate) automatic: bool,
    /// Whether anything could not be read.
    pub(crate) broken: bool,
}

/// Reads a mail. Takes time in proportion to its size: call it where blocking is allowed.
pub(crate) fn parse(raw: &[u8]) -> Parsed {
    let read = || MessageParser::default().parse(raw).map(|message| read(&message));
    // A parser that panics on somebody's mail must cost that mail its beauty, not the mailbox its sync.
    catch_unwind(AssertUnwindSafe(read)).ok().flatten().unwrap_or_else(unreadable)
}

/// What is said of a mail that cannot be read at all.
pub(crate) fn unreadable() -> Parsed {
    Parsed { broken: true, ..Parsed::default() }
}

fn read(message: &Message<'_>) -> Parsed {
    let (from_email, from_name, unsure) = sender(message);
    let (text, cut) = text(message);
    let (files, dropped) = files(message);
    Parsed {
        automatic: automatic::is_automatic(message, &from_email),
        from_email,
        from_name,
        reply_to: message.reply_to().and_then(first_usable),
        subject: line(message.subject().unwrap_or_default(), SUBJECT),
        text,
        message_id: message.message_id().map(message_id).unwrap_or_default(),
        thread: thread(message),
        files,
        broken: unsure || cut || dropped || message.parts.iter().any(|part| part.is_encoding_problem),
    }
}

/// Address and name of the sender, and whether that is a guess: From, else Sender, else Return-Path.
fn sender(message: &Message<'_>) -> (String, String, bool) {
    if let Some((email, name)) = message.from().and_then(first_usable) {
        return (email, name, false);
    }
    let name = message.from().and_then(Address::first).map(|from| from.name().or(from.address()).unwrap_or_default());
    let name = line(name.unwrap_or_default(), NAME);
    if let Some((email, _)) = message.sender().and_then(first_usable) {
        return (email, name, true);
    }
    (message.return_address().and_then(usable).unwrap_or_default(), name, true)
}

fn first_usable(addresses: &Address<'_>) -> Option<(String, String)> {
    addresses
        .iter()
        .find_map(|address| Some((usable(address.address()?)?, line(address.name().unwrap_or_default(), NAME))))
}

/// An address by the same rule as everywhere in Diwan.
fn usable(address: &str) -> Option<String> {
    let mut fields = Fields::new();
    let address = fields.email("from", address);
    fields.finish().is_ok().then_some(address)
}

fn text(message: &Message<'_>) -> (String, bool) {
    let mut text = String::new();
    for position in 0..message.text_body_count() {
        let Some(part) = message.body_text(position) else { continue };
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(part.trim_end());
        if text.len() > TEXT {
            break;
        }
    }
    let cut = text.len() > TEXT;
    text.truncate(text.floor_char_boundary(TEXT));
    // PostgreSQL's text cannot hold a zero byte, and nobody wants terminal commands in a mail.
    text.retain(|c| !c.is_control() || matches!(c, '\n' | '\t'));
    (text, cut)
}

fn files(message: &Message<'_>) -> (Vec<File>, bool) {
    let files = message.attachments().take(FILES).map(|part| File {
        name: line(part.attachment_name().unwrap_or_default(), NAME),
        media_type: match (&part.body, part.content_type()) {
            (PartType::Message(_), _) => "message/rfc822".to_owned(),
            (_, Some(kind)) => line(&format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("*")), NAME),
            (PartType::Text(_), None) => "text/plain".to_owned(),
            (_, None) => "application/octet-stream".to_owned(),
        },
        content: Bytes::copy_from_slice(part.contents()),
    });
    (files.collect(), message.attachment_count() > FILES)
}

/// In-Reply-To first: the mail that is answered is the nearest. References name the oldest first (RFC 5322, 3.6.4).
fn thread(message: &Message<'_>) -> Vec<String> {
    let answered = ids(message.in_reply_to());
    let referenced = ids(message.references()).into_iter().rev();
    let mut thread: Vec<String> = Vec::new();
    for id in answered.into_iter().chain(referenced) {
        if thread.len() < THREAD && !id.is_empty() && !thread.contains(&id) {
            thread.push(id);
        }
    }
    thread
}

fn ids(value: &HeaderValue<'_>) -> Vec<String> {
    value.as_text_list().unwrap_or_default().iter().map(|id| message_id(id)).collect()
}

fn message_id(id: &str) -> String {
    let id = id.trim().trim_start_matches('<').trim_end_matches('>');
    if id.len() > MESSAGE_ID { String::new() } else { line(id, MESSAGE_ID) }
}

/// One line of at most so many characters.
fn line(text: &str, chars: usize) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.trim().chars().take(chars).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
