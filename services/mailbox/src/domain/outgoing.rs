//! A mail to send: its text on the wire, and when to try again.

use std::{io, time::Duration};

use diwan_runtime::{backoff::delay_after, clock};
use jiff::Timestamp;
use mail_builder::{
    MessageBuilder,
    headers::{address::Address, date::Date, message_id::MessageId, raw::Raw},
};

/// Longest References field: more would break the line length limits of old servers for no gain; the first and the nearest
/// are what clients thread by (RFC 5322, 3.6.4).
const REFERENCES: usize = 30;

/// A mail to send.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) from_email: String,
    /// May be empty.
    pub(crate) from_name: String,
    pub(crate) to_email: String,
    /// May be empty.
    pub(crate) to_name: String,
    pub(crate) subject: String,
    pub(crate) text: String,
    /// Without angle brackets, as all ids here; empty where it answers nothing.
    pub(crate) in_reply_to: String,
    /// Oldest first.
    pub(crate) thread: Vec<String>,
    pub(crate) message_id: String,
    /// Whether nobody wrote it: then no machine may answer it (RFC 3834, section 5).
    pub(crate) automatic: bool,
}

impl Outgoing {
    /// The mail as RFC 5322 has it, with CRLF line ends. It is the same for the same `date`.
    ///
    /// # Errors
    /// None that memory does not give.
    pub(crate) fn to_bytes(&self, date: Timestamp) -> io::Result<Vec<u8>> {
        let mut mail = MessageBuilder::new()
            .from(address(&self.from_name, &self.from_email))
            .to(address(&self.to_name, &self.to_email))
            .subject(self.subject.as_str())
            .date(Date::new(date.as_second()))
            .message_id(self.message_id.as_str())
            .text_body(self.text.as_str());
        if is_id(&self.in_reply_to) {
            mail = mail.in_reply_to(self.in_reply_to.as_str());
        }
        if self.automatic {
            mail = mail.header("Auto-Submitted", Raw::new("auto-replied"));
        }
        let references = self.references();
        if !references.is_empty() {
            mail = mail.references(MessageId::new_list(references.into_iter()));
        }
        mail.write_to_vec()
    }

    /// The ids came in with other people's mail: what cannot stand in a header is left out.
    fn references(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = self.thread.iter().map(String::as_str).filter(|id| is_id(id)).collect();
        if is_id(&self.in_reply_to) && ids.last() != Some(&self.in_reply_to.as_str()) {
            ids.push(&self.in_reply_to);
        }
        let surplus = ids.len().saturating_sub(REFERENCES);
        ids.drain(1.min(ids.len())..(1 + surplus).min(ids.len()));
        ids
    }
}

fn address<'a>(name: &'a str, email: &'a str) -> Address<'a> {
    Address::new_address((!name.is_empty()).then_some(name), email)
}

/// Whether this can stand between the angle brackets of a Message-ID.
pub(crate) fn is_id(id: &str) -> bool {
    (1..=900).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
}

/// When a mail is tried again that surely did not leave; `None` when it has been tried for long enough.
pub(crate) fn next_try(
    attempts: u32,
    now: Timestamp,
    since: Timestamp,
    give_up: Duration,
    (first, longest): (Duration, Duration),
) -> Option<Timestamp> {
    let next = clock::after(now, delay_after(attempts.saturating_sub(1), first, longest));
    (next <= clock::after(since, give_up)).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail() -> Outgoing {
        Outgoing {
            from_email: "support@shop.test".into(),
            from_name: "Shop, Support \u{645}".into(),
            to_email: "ana@example.com".into(),
            to_name: "Ana".into(),
            subject: "Re: \u{645}\u{631}\u{62d}\u{628}\u{627}".into(),
            text: "Good morning.\n.\nFrom us: \u{645}\n".into(),
            in_reply_to: "c@x".into(),
            thread: vec!["a@x".into(), "b@x".into(), "c@x".into()],
            message_id: "reserved@shop.test".into(),
            automatic: false,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_mail_is_read_back_as_it_was_written() {
        let raw = mail().to_bytes(at(1_800_000_000)).unwrap();
        let read = crate::domain::parse::parse(&raw);
        assert_eq!((read.from_email, read.from_name), (mail().from_email, mail().from_name));
        assert_eq!((read.subject, read.message_id), (mail().subject, mail().message_id));
        assert_eq!(read.text.trim_end(), mail().text.trim_end());
        assert_eq!(read.thread, ["c@x", "b@x", "a@x"]);
        assert!(!read.broken && !read.automatic);
        let text = String::from_utf8(raw).unwrap();
        assert!(text.is_ascii(), "passes every server, also those without 8BITMIME");
        assert!(text.contains("References: <a@x> <b@x> <c@x>"), "{text}");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "only CRLF");
    }

    #[test]
    fn ids_from_other_peoples_mail_cannot_smuggle_headers() {
        let hostile = ["a@x\r\nBcc: evil@x", "b@x> <c@x", "", "d e@x", "\u{e9}@x"];
        let mail = Outgoing { in_reply_to: hostile[0].into(), thread: hostile.map(String::from).to_vec(), ..mail() };
        let text = String::from_utf8(mail.to_bytes(at(0)).unwrap()).unwrap();
        assert!(!text.contains("Bcc") && !text.contains("References") && !text.contains("In-Reply-To"), "{text}");
    }

    #[test]
    fn what_nobody_wrote_says_so_and_is_known_as_that_when_it_comes_back() {
        let raw = Outgoing { automatic: true, ..mail() }.to_bytes(at(0)).unwrap();
        assert!(crate::domain::parse::parse(&raw).automatic);
        let text = String::from_utf8(raw).unwrap();
        assert!(text.contains("\r\nAuto-Submitted: auto-replied\r\n"), "{text}");
    }

    #[test]
    fn of_a_long_thread_the_first_and_the_nearest_ids_stay() {
        let mail =
            Outgoing { thread: (0..100).map(|n| format!("{n}@x")).collect(), in_reply_to: "99@x".into(), ..mail() };
        let ids = mail.references();
        assert_eq!((ids.len(), ids[0], ids[1], ids[29]), (REFERENCES, "0@x", "71@x", "99@x"));
    }

    #[test]
    fn tries_become_rarer_and_end() {
        let pauses = (Duration::from_secs(10), Duration::from_mins(15));
        let next = |attempts, now| next_try(attempts, at(now), at(0), Duration::from_hours(1), pauses);
        let first = next(1, 0).unwrap();
        assert!(first >= at(5) && first <= at(10), "{first}");
        assert!(next(9, 100).unwrap() >= at(100 + 450));
        assert_eq!(next(9, 3500), None);
    }
}
