//! How an answer is threaded (RFC 5322 section 3.6.4).

use uuid::Uuid;

/// References beyond these are dropped in the middle: the first one and the latest carry the thread.
const LONGEST_CHAIN: usize = 20;
/// What mail programs of several languages put before the subject of an answer.
const PREFIXES: [&str; 8] = ["re:", "رد:", "aw:", "sv:", "res:", "rif:", "antw:", "回复:"];

/// The message that is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// Its Message-ID without angle brackets, or empty.
    pub message_id: String,
    /// Its References, oldest first.
    pub references: Vec<String>,
}

/// The References of an answer: those of its parent and the parent, oldest first, each once.
pub fn references(parent: &Parent) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    for id in parent.references.iter().chain([&parent.message_id]) {
        if !id.is_empty() {
            chain.retain(|known| known != id);
            chain.push(id.clone());
        }
    }
    if chain.len() > LONGEST_CHAIN {
        chain.drain(1..=chain.len() - LONGEST_CHAIN);
    }
    chain
}

/// The subject of an answer: "Re: " once, however often it goes to and fro.
pub fn subject(subject: &str) -> String {
    let subject = subject.trim();
    let lower = subject.to_lowercase();
    if PREFIXES.iter().any(|prefix| lower.starts_with(prefix)) {
        return subject.to_owned();
    }
    format!("Re: {subject}").trim_end().to_owned()
}

/// A Message-ID for a message sent from `address`: unique by the id, in the sender's domain, without angle brackets. Only ASCII
/// passes every server, so a domain in another script stays out of it.
pub fn message_id(id: Uuid, address: &str) -> String {
    let domain = address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let domain = if domain.is_ascii() { domain } else { "localhost" };
    format!("{id}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_refers_to_its_parent_last_and_to_each_message_once() {
        let parent = Parent {
            message_id: "c@x".into(),
            references: vec!["a@x".into(), "b@x".into(), "a@x".into(), "c@x".into()],
        };
        assert_eq!(references(&parent), ["b@x", "a@x", "c@x"]);
        assert!(references(&Parent::default()).is_empty());
    }

    #[test]
    fn a_long_chain_keeps_the_first_and_the_latest() {
        let parent =
            Parent { message_id: "last@x".into(), references: (0..100).map(|number| format!("{number}@x")).collect() };
        let chain = references(&parent);
        assert_eq!(chain.len(), LONGEST_CHAIN);
        assert_eq!((chain[0].as_str(), chain[1].as_str()), ("0@x", "82@x"));
        assert_eq!(chain.last().unwrap(), "last@x");
    }

    #[test]
    fn a_message_id_is_ascii_in_every_domain() {
        assert_eq!(message_id(Uuid::nil(), "a@shop.example"), format!("{}@shop.example", Uuid::nil()));
        assert_eq!(message_id(Uuid::nil(), "دعم@متجر.إختبار"), format!("{}@localhost", Uuid::nil()));
    }

    #[test]
    fn a_subject_gets_one_prefix() {
        assert_eq!(subject("Broken lamp"), "Re: Broken lamp");
        assert_eq!(subject("RE: Broken lamp"), "RE: Broken lamp");
        assert_eq!(subject("رد: المصباح"), "رد: المصباح");
        assert_eq!(subject(""), "Re:");
    }
}
