//! Errors that help: each refusal has a gRPC code, a reason for programs, and a text in the reader's language.
//!
//! A service's domain has one error enum; it becomes a [`Fault`], and a `Fault` becomes a [`tonic::Status`] with the
//! details of `google.rpc`: ErrorInfo (reason and metadata), BadRequest (every bad field at once, as far as a refusal has room),
//! RetryInfo (where waiting helps) and LocalizedMessage. Internal causes go to the log with the trace id and never to the caller.
//!
//! ```
//! use diwan_fault::{Code, Fault, Fields};
//!
//! fn create_team(name: &str, lead: &str) -> Result<(), Fault> {
//!     let mut fields = Fields::new();
//!     let _name = fields.text("name", name, 1..=100);
//!     let _lead = fields.uuid("lead_id", lead);
//!     fields.finish()?; // one INVALID_ARGUMENT that names both
//!     Err(Fault::new(Code::NotFound, "TEAM_NOT_FOUND").with("team_id", "0198..."))
//! }
//! # assert_eq!(create_team("", "x").unwrap_err().fields().len(), 2);
//! # assert_eq!(create_team("a", "0198f0a0-0000-7000-8000-000000000000").unwrap_err().reason(), "TEAM_NOT_FOUND");
//! ```

pub mod call;
mod fields;
pub mod language;
mod texts;

use std::{collections::HashMap, error::Error, fmt, time::Duration};

pub use fields::Fields;
pub use language::Language;
pub use tonic::Code;
use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The `domain` of every ErrorInfo that Diwan sends.
pub const DOMAIN: &str = "diwan";

/// One refusal.
#[derive(Debug)]
pub struct Fault {
    code: Code,
    reason: &'static str,
    /// Where its text stands: under its reason, but for one that has two.
    text: &'static str,
    metadata: Vec<(&'static str, String)>,
    fields: Vec<FieldViolation>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A refusal whose text stands in `texts/*.toml` under `reason`.
    pub fn new(code: Code, reason: &'static str) -> Self {
        let (metadata, fields) = (Vec::new(), Vec::new());
        Self { code, reason, text: reason, metadata, fields, retry_after: None, source: None }
    }

    /// Something failed that the caller can do nothing about: INTERNAL, with the cause in the log only.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "INTERNAL").because(source)
    }

    /// Something is out of reach for now: UNAVAILABLE, to be tried again after `retry_after`.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>, retry_after: Duration) -> Self {
        Self::new(Code::Unavailable, "UNAVAILABLE").retry_after(retry_after).because(source)
    }

    /// Adds metadata for programs, cut where it would fill the refusal; `{key}` in the text is replaced by it.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.metadata.push((key, texts::shortened(&value.into()).into_owned()));
        self
    }

    /// Says how long to wait before the next try.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// Adds the cause, for the log only.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The reason, in UPPER_SNAKE.
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// The fields that were refused, those that are named.
    pub fn fields(&self) -> &[FieldViolation] {
        &self.fields
    }

    /// Because of `fields`, and of so many `more` that are not named.
    fn invalid(fields: Vec<FieldViolation>, more: usize) -> Self {
        let fault = Self { fields, ..Self::new(Code::InvalidArgument, "INVALID_FIELDS") };
        match more {
            0 => fault,
            more => Self { text: "INVALID_FIELDS_AND_MORE", ..fault }.with("more", more.to_string()),
        }
    }

    fn log(&self) {
        let Some(source) = &self.source else { return };
        let cause = diwan_runtime::worker::chain(source.as_ref());
        let _said_of = call::span().entered();
        if matches!(self.code, Code::Internal | Code::Unknown | Code::DataLoss) {
            tracing::error!(reason = self.reason, cause, "a request failed");
        } else {
            tracing::warn!(reason = self.reason, cause, "a request was refused");
        }
    }

    fn details(&self, language: Language, text: &str) -> ErrorDetails {
        let metadata = self.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason, DOMAIN, metadata.collect::<HashMap<_, _>>());
        if !self.fields.is_empty() {
            details.set_bad_request(self.fields.clone());
        }
        if let Some(delay) = self.retry_after {
            details.set_retry_info(Some(delay));
        }
        details.set_localized_message(language.tag(), text);
        details
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&texts::text(self.text, Language::En, &self.metadata))
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl From<Fault> for Status {
    /// Logs the cause, and answers in the language of the current request. The status message stays English, for
    /// whoever reads a log or a terminal; LocalizedMessage is for the person.
    fn from(fault: Fault) -> Self {
        fault.log();
        let language = language::current();
        let localized = texts::text(fault.text, language, &fault.metadata);
        Self::with_error_details(fault.code, fault.to_string(), fault.details(language, &localized))
    }
}

/// Whether `reason` has a text in every language: for the test of each service's error enum.
pub fn has_texts(reason: &str) -> bool {
    texts::is_known(reason)
}

/// The text of `reason` in the language of the request that is being answered, with `{key}` replaced from `metadata`: for what is
/// explained to people without being a refusal.
pub fn text(reason: &str, metadata: &[(&'static str, String)]) -> String {
    texts::text(reason, language::current(), metadata)
}

/// The reason in a status that Diwan sent, or `None`.
pub fn reason_of(status: &Status) -> Option<String> {
    status.get_details_error_info().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_gets_the_text_in_his_language_and_the_cause_stays_inside() {
        let fault = || Fault::new(Code::NotFound, "TEAM_NOT_FOUND").with("team_id", "42").because("secret cause");
        let status = language::scope(Language::Ar, async { Status::from(fault()) }).await;
        let text = status.get_details_localized_message().unwrap();
        assert_eq!(text.locale, "ar");
        assert!(text.message.chars().any(|c| ('\u{600}'..'\u{700}').contains(&c)), "{}", text.message);
        assert_eq!(reason_of(&status).as_deref(), Some("TEAM_NOT_FOUND"));
        assert_eq!(status.get_details_error_info().unwrap().metadata["team_id"], "42");
        assert!(!format!("{status:?}").contains("secret cause"));
    }
}
