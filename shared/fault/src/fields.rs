//! Checks of request fields that name every bad one at once.

use std::ops::RangeInclusive;

use tonic_types::{FieldViolation, LocalizedMessage};
use uuid::Uuid;

use crate::{Fault, Language, language, texts};

/// So many are named; whoever sent more has made one mistake many times.
const MOST: usize = 50;
/// What all that are named take up, bytes. A refusal travels in headers, a third longer for base64, and some clients take 8 KiB of them.
const LARGEST: usize = 4_500;
/// What one takes up beside its texts: tags and lengths.
const FRAME: usize = 24;

/// Collects what is wrong with the fields of a request. Each check returns a usable value, or a harmless one beside a
/// noted violation, so that all fields are looked at before [`Fields::finish`] refuses. Those beyond what fits into a refusal
/// are counted.
#[derive(Debug, Default)]
pub struct Fields {
    named: Vec<FieldViolation>,
    size: usize,
    more: usize,
}

impl Fields {
    /// Nothing is wrong yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `field` is refused for `reason`, whose text stands in `texts/*.toml`.
    pub fn refuse(&mut self, field: &str, reason: &str, metadata: &[(&'static str, String)]) {
        if self.more > 0 || self.named.len() == MOST {
            self.more += 1;
            return;
        }
        let violation = violation(field, reason, metadata);
        let size = self.size + size(&violation);
        if size > LARGEST && !self.named.is_empty() {
            self.more = 1;
            return;
        }
        self.size = size;
        self.named.push(violation);
    }

    /// Text of so many characters once white space around it is gone, without control characters other than line
    /// breaks and tabs.
    pub fn text(&mut self, field: &str, value: &str, chars: RangeInclusive<usize>) -> String {
        let value = value.trim();
        let limits = [("min", chars.start().to_string()), ("max", chars.end().to_string())];
        if !chars.contains(&value.chars().count()) {
            self.refuse(field, "FIELD_LENGTH", &limits);
        } else if value.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            self.refuse(field, "FIELD_CONTROL_CHARACTERS", &[]);
        }
        value.to_owned()
    }

    /// One line of text, as [`Fields::text`]: for names and subjects, which end in mail headers.
    pub fn line(&mut self, field: &str, value: &str, chars: RangeInclusive<usize>) -> String {
        let value = self.text(field, value, chars);
        if value.chars().any(|c| matches!(c, '\n' | '\r' | '\t')) {
            self.refuse(field, "FIELD_CONTROL_CHARACTERS", &[]);
        }
        value
    }

    /// A UUID; the nil one beside a violation.
    pub fn uuid(&mut self, field: &str, value: &str) -> Uuid {
        Uuid::try_parse(value).unwrap_or_else(|_| {
            self.refuse(field, "FIELD_UUID", &[]);
            Uuid::nil()
        })
    }

    /// A UUID, or `None` where the field is empty.
    pub fn optional_uuid(&mut self, field: &str, value: &str) -> Option<Uuid> {
        (!value.is_empty()).then(|| self.uuid(field, value))
    }

    /// An id that a caller made for a request, 1 to 64 characters.
    pub fn request_id(&mut self, value: &str) -> String {
        self.line("request_id", value, 1..=64)
    }

    /// A number within a range; the lower end beside a violation.
    pub fn number(&mut self, field: &str, value: i32, range: RangeInclusive<i32>) -> i32 {
        if range.contains(&value) {
            return value;
        }
        self.refuse(field, "FIELD_RANGE", &[("min", range.start().to_string()), ("max", range.end().to_string())]);
        *range.start()
    }

    /// Whether a list has so many entries. Whoever is told that it has not looks at none of them: there may be millions.
    pub fn entries(&mut self, field: &str, count: usize, range: RangeInclusive<usize>) -> bool {
        let fits = range.contains(&count);
        if !fits {
            let limits = [("min", range.start().to_string()), ("max", range.end().to_string())];
            self.refuse(field, "FIELD_ENTRIES", &limits);
        }
        fits
    }

    /// So many ids, in the order in which they are given; none beside a list of another length.
    pub fn uuids(&mut self, field: &str, values: &[String], range: RangeInclusive<usize>) -> Vec<Uuid> {
        if !self.entries(field, values.len(), range) {
            return Vec::new();
        }
        values.iter().enumerate().map(|(place, id)| self.uuid(&format!("{field}[{place}]"), id)).collect()
    }

    /// As [`Fields::uuids`], sorted, each once.
    pub fn distinct_uuids(&mut self, field: &str, values: &[String], range: RangeInclusive<usize>) -> Vec<Uuid> {
        let mut ids = self.uuids(field, values, range);
        ids.sort();
        ids.dedup();
        ids
    }

    /// One of the four languages; English beside a violation.
    pub fn language(&mut self, field: &str, value: &str) -> Language {
        Language::ALL.into_iter().find(|language| language.tag() == value).unwrap_or_else(|| {
            self.refuse(field, "FIELD_LANGUAGE", &[]);
            Language::En
        })
    }

    /// An e-mail address: one `@`, a local part of 1 to 64 bytes, a domain with a dot or `localhost`, no white space or
    /// control characters, at most 254 bytes (RFC 5321 section 4.5.3.1). Whether it exists only a mail to it can tell.
    pub fn email(&mut self, field: &str, value: &str) -> String {
        let value = value.trim();
        if !is_email(value) {
            self.refuse(field, "FIELD_EMAIL", &[]);
        }
        value.to_owned()
    }

    /// Refuses if any field was refused.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, reason INVALID_FIELDS, with every bad field, or with the first of them and, as `more`, the number of the
    /// others.
    pub fn finish(self) -> Result<(), Fault> {
        if self.named.is_empty() { Ok(()) } else { Err(Fault::invalid(self.named, self.more)) }
    }
}

fn violation(field: &str, reason: &str, metadata: &[(&'static str, String)]) -> FieldViolation {
    let language = language::current();
    let message = texts::text(reason, language, metadata);
    FieldViolation {
        field: texts::shortened(field).into_owned(),
        description: texts::text(reason, Language::En, metadata),
        reason: reason.to_owned(),
        localized_message: Some(LocalizedMessage { locale: language.tag().to_owned(), message }),
    }
}

fn size(violation: &FieldViolation) -> usize {
    let localized = violation.localized_message.as_ref().map_or(0, |text| text.locale.len() + text.message.len());
    FRAME + violation.field.len() + violation.description.len() + violation.reason.len() + localized
}

fn is_email(value: &str) -> bool {
    let Some((local, domain)) = value.rsplit_once('@') else { return false };
    let plain = |part: &str| !part.chars().any(|c| c.is_whitespace() || c.is_control() || "@<>,;:\\\"()[]".contains(c));
    let labels = |domain: &str| domain.split('.').all(|l| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-'));
    (1..=64).contains(&local.len())
        && value.len() <= 254
        && plain(local)
        && plain(domain)
        && labels(domain)
        && (domain.contains('.') || domain == "localhost")
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn every_bad_field_is_named_at_once() {
        let mut fields = Fields::new();
        fields.text("name", "  ", 1..=10);
        fields.uuid("team_id", "not-a-uuid");
        fields.email("email", "a@b@example.com");
        fields.number("limit", -1, 0..=10);
        fields.line("subject", "a\r\nBcc: x@example.com", 1..=100);
        let fault = fields.finish().unwrap_err();
        let named: Vec<_> = fault.fields().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["name", "team_id", "email", "limit", "subject"]);
    }

    /// What `status` takes up in headers, as HTTP/2 counts it (RFC 9113 section 6.5.2).
    fn on_the_wire(status: &tonic::Status) -> usize {
        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
    }

    #[tokio::test]
    async fn of_thousands_of_bad_fields_the_first_are_named_and_the_others_counted() {
        for language in Language::ALL {
            let status = language::scope(language, async {
                let mut fields = Fields::new();
                for place in 0..2000 {
                    fields.uuid(&format!("teams[0].removed_user_ids[{place}]"), "bad");
                }
                tonic::Status::from(fields.finish().unwrap_err())
            });
            let status = status.await;
            let named = status.get_details_bad_request().unwrap().field_violations;
            let more = status.get_details_error_info().unwrap().metadata["more"].clone();
            assert!((20..=MOST).contains(&named.len()), "{}", named.len());
            assert_eq!(named.len() + more.parse::<usize>().unwrap(), 2000);
            assert_eq!(named.last().unwrap().field, format!("teams[0].removed_user_ids[{}]", named.len() - 1));
            assert!(status.get_details_localized_message().unwrap().message.contains(&more), "{language:?}");
            assert!(status.message().contains(&more));
            assert!(on_the_wire(&status) < 8192, "{language:?}: {}", on_the_wire(&status));
        }
    }

    #[test]
    fn of_a_million_ids_the_list_is_named_and_nothing_in_it() {
        let ids = |count| vec!["019a0000-0000-7000-8000-000000000000".to_owned(); count];
        let mut fields = Fields::new();
        assert_eq!(fields.uuids("good", &ids(2), 0..=2).len(), 2);
        assert_eq!(fields.distinct_uuids("twice", &ids(2), 0..=2).len(), 1);
        assert!(fields.uuids("many", &vec!["bad".to_owned(); 1_000_000], 0..=2).is_empty());
        assert!(fields.distinct_uuids("none", &[], 1..=2).is_empty());
        let fault = fields.finish().unwrap_err();
        let named: Vec<_> = fault.fields().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(named, ["many", "none"]);
    }

    #[test]
    fn a_callers_own_words_are_cut_before_they_fill_a_refusal() {
        let words = "كلمة ".repeat(100_000);
        let mut fields = Fields::new();
        fields.refuse(&words, "FIELD_VALUE", &[("values", words.clone())]);
        let refusals = [
            fields.finish().unwrap_err(),
            Fault::new(crate::Code::AlreadyExists, "TEAM_NAME_TAKEN").with("name", words),
        ];
        for refusal in refusals {
            let size = on_the_wire(&refusal.into());
            assert!(size < 8192, "{size}");
        }
    }

    #[test]
    fn addresses_that_could_smuggle_headers_or_routes_are_refused() {
        for good in ["a@example.com", "o'neil+x@mail.example.co", "dev@localhost"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "a", "@b.c", "a@", "a b@c.d", "a@b", "a@b..c", "a@-b.c", "a\n@b.c", "<a@b.c>", "a,b@c.d"] {
            assert!(!is_email(bad), "{bad}");
        }
    }
}
