//! The words of a status response: response code and text (RFC 3501, 7.1; RFC 5530).

use std::{fmt, time::Duration};

/// A response code, e.g. `[UIDNEXT 4392]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// In capitals.
    pub name: String,
    /// What follows the name, as sent.
    pub arguments: String,
}

/// What the server says beside OK, NO, BAD or BYE.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The response code, if there is one.
    pub code: Option<Code>,
    /// For people; control characters removed, at most 200 characters.
    pub text: String,
}

/// Longest text that is kept: it goes into logs and to users.
const TEXT_CHARS: usize = 200;

/// Codes after which the same request cannot succeed (RFC 5530, section 3).
const LASTING: [&str; 7] =
    ["AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "PRIVACYREQUIRED", "NOPERM", "NONEXISTENT", "CANNOT"];

/// Codes that speak of the server rather than of the request: RFC 5530, section 3, and what Gmail and Yahoo add.
const PASSING: [&str; 6] = ["UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "OVERQUOTA", "THROTTLED"];

impl Answer {
    /// Reads what follows OK, NO, BAD, BYE or PREAUTH.
    pub(crate) fn parse(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let text = text.trim_start();
        let coded = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (code, text) = match coded {
            Some((code, text)) => (Some(Code::parse(code)), text.trim_start()),
            None => (None, text),
        };
        Self { code, text: text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS).collect() }
    }

    /// The arguments of the code of that name.
    pub(crate) fn arguments(&self, name: &str) -> Option<&str> {
        self.code.as_ref().filter(|code| code.name == name).map(|code| code.arguments.as_str())
    }

    /// The number that the code of that name carries.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.arguments(name)?.parse().ok()
    }

    fn has_code(&self, names: &[&str]) -> bool {
        self.code.as_ref().is_some_and(|code| names.contains(&code.name.as_str()))
    }

    /// The code says that the same request will be refused again.
    pub(crate) fn is_lasting(&self) -> bool {
        self.has_code(&LASTING)
    }

    /// The server has trouble of its own, whatever was asked.
    pub(crate) fn is_passing(&self) -> bool {
        self.has_code(&PASSING) || self.pause().is_some() || self.text.to_ascii_lowercase().contains("too many")
    }

    /// Exchange Online: `Request is throttled. Suggested Backoff Time: 92415 milliseconds`.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let (_, rest) = self.text.split_once("Suggested Backoff Time:")?;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().map(Duration::from_millis)
    }

    /// Servers that echo the command in their refusal must not carry a password into a log.
    pub(crate) fn without(mut self, secrets: &[&str]) -> Self {
        // The text may have been cut in the middle of the secret, so its beginning is enough to withhold all.
        let beginning = |secret: &&str| secret.chars().take(4).collect::<String>();
        let told =
            |text: &str| secrets.iter().filter(|secret| !secret.is_empty()).any(|s| text.contains(&beginning(s)));
        if told(&self.text) || self.code.as_ref().is_some_and(|code| told(&code.arguments) || told(&code.name)) {
            self = Self { code: None, text: "(withheld: repeats the credentials)".into() };
        }
        self
    }
}

impl Code {
    fn parse(code: &str) -> Self {
        let (name, arguments) = code.split_once(' ').unwrap_or((code, ""));
        Self { name: name.to_ascii_uppercase(), arguments: arguments.trim().to_owned() }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = &self.code {
            write!(f, "[{}] ", code.name)?;
        }
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_its_number_are_read() {
        let answer = Answer::parse(b"[uidnext 4392] Predicted next UID");
        assert_eq!(answer.number("UIDNEXT"), Some(4392_u32));
        assert_eq!(answer.text, "Predicted next UID");
        assert_eq!(answer.number::<u32>("UIDVALIDITY"), None);
    }

    #[test]
    fn text_that_only_looks_like_a_code_stays_text() {
        assert_eq!(Answer::parse(b"[unfinished"), Answer { code: None, text: "[unfinished".into() });
    }

    #[test]
    fn control_characters_and_excess_length_do_not_reach_a_log() {
        let answer = Answer::parse(&[b"\x1b[31m".as_slice(), &[b'x'; 1000]].concat());
        assert_eq!(answer.text.len(), TEXT_CHARS);
        assert!(!answer.text.contains('\x1b'));
    }

    #[test]
    fn the_pause_that_exchange_asks_for_is_read() {
        let answer = Answer::parse(b"Request is throttled. Suggested Backoff Time: 92415 milliseconds");
        assert_eq!(answer.pause(), Some(Duration::from_millis(92_415)));
        assert!(answer.is_passing());
    }

    #[test]
    fn an_echoed_password_is_withheld() {
        let answer = Answer::parse(b"Unknown command: LOGIN joe hunter2").without(&["hunter2"]);
        assert!(!answer.to_string().contains("hunter2"));
        let token = "t0ken".repeat(100);
        let answer = Answer::parse(format!("Unknown: {token}").as_bytes()).without(&[&token]);
        assert!(!answer.to_string().contains("t0ken"), "cut short by the length limit, and still a secret");
        assert_eq!(Answer::parse(b"Wrong password").without(&["hunter2", ""]).text, "Wrong password");
    }
}
