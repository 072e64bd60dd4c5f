//! What becomes of a mail that came in.

use std::time::Duration;

use diwan_runtime::clock::after;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::parse::Parsed;

/// How far the mail server's clock may be behind ours.
const CLOCKS_APART: Duration = Duration::from_mins(5);

/// Where a stored mail is on its way into a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is to become a message of a conversation.
    Pending,
    /// It lay in the mailbox before that was connected.
    History,
    /// The mailbox itself sent it.
    Own,
}

impl Fate {
    /// As it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::History => "HISTORY",
            Self::Own => "OWN",
        }
    }
}

/// Whether the server received it before the mailbox was connected. Where that cannot be told, it did not: a mail too
/// many can be closed, one too few is lost.
pub(crate) fn is_history(received: Option<Timestamp>, connected: Timestamp) -> bool {
    received.is_some_and(|received| after(received, CLOCKS_APART) < connected)
}

/// Whose mail it is. A form on a web site often sends in the mailbox's own name and puts the customer into Reply-To; what
/// has no such way out is our own mail come back, and answering it would go round in circles (RFC 3834, section 2).
pub(crate) fn settle_sender(parsed: &mut Parsed, own_address: &str) -> Option<Fate> {
    if !parsed.from_email.eq_ignore_ascii_case(own_address) {
        return None;
    }
    match parsed.reply_to.take().filter(|(email, _)| !email.eq_ignore_ascii_case(own_address)) {
        Some((email, name)) => {
            (parsed.from_email, parsed.from_name) = (email, name);
            None
        }
        None => Some(Fate::Own),
    }
}

/// Tells the same mail when the server numbers its folder anew, also when it then adds or drops header fields: the
/// Message-ID and everything behind the header. Without a Message-ID all of it counts.
pub(crate) fn fingerprint(message_id: &str, raw: &[u8]) -> Vec<u8> {
    let body = if message_id.is_empty() { raw } else { body(raw) };
    Sha256::new().chain_update(message_id).chain_update([0]).chain_update(body).finalize().to_vec()
}

fn body(raw: &[u8]) -> &[u8] {
    let end = |gap: &[u8]| raw.windows(gap.len()).position(|bytes| bytes == gap).map(|at| at + gap.len());
    let start = [end(b"\r\n\r\n"), end(b"\n\n")].into_iter().flatten().min();
    start.map_or(raw, |start| &raw[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(from: &str, reply_to: Option<&str>) -> Parsed {
        let reply_to = reply_to.map(|email| (email.to_owned(), "Customer".to_owned()));
        Parsed { from_email: from.to_owned(), reply_to, ..Parsed::default() }
    }

    #[test]
    fn the_mailboxes_own_mail_makes_no_conversation_but_a_web_forms_customer_does() {
        let own = "support@shop.test";
        assert_eq!(settle_sender(&mut parsed("Support@Shop.test", None), own), Some(Fate::Own));
        assert_eq!(settle_sender(&mut parsed(own, Some(own)), own), Some(Fate::Own));
        assert_eq!(settle_sender(&mut parsed("ana@example.com", None), own), None);
        let mut form = parsed(own, Some("ana@example.com"));
        assert_eq!(settle_sender(&mut form, own), None);
        assert_eq!(form.from_email, "ana@example.com");
    }

    #[test]
    fn a_mail_is_known_again_by_message_id_and_body_whatever_the_server_does_to_its_header() {
        let mail = |header: &str, body: &str| [header, "Message-ID: <1@x>\r\n\r\n", body].concat().into_bytes();
        let first = fingerprint("1@x", &mail("", "text"));
        assert_eq!(fingerprint("1@x", &mail("X-UID: 7\r\n", "text")), first);
        assert_ne!(fingerprint("1@x", &mail("", "other text")), first, "one Message-ID, two mails");
        assert_ne!(fingerprint("2@x", &mail("", "text")), first);
        assert_ne!(fingerprint("", b"A: 1\r\n\r\ntext"), fingerprint("", b"A: 2\r\n\r\ntext"));
    }

    #[test]
    fn only_what_surely_came_before_the_connection_is_history() {
        let connected = Timestamp::from_second(1_800_000_000).unwrap();
        let at = |seconds: i64| Some(Timestamp::from_second(1_800_000_000 + seconds).unwrap());
        assert!(is_history(at(-3600), connected));
        assert!(!is_history(at(-60), connected), "the clocks may be apart");
        assert!(!is_history(at(5), connected));
        assert!(!is_history(None, connected));
    }
}
