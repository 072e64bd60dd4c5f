//! What an e-mail is made of: a subject, and one text that is written both plainly and as HTML. The texts of every e-mail stand in
//! `texts/mails.toml`.

use std::{fmt::Write as _, sync::LazyLock};

use diwan_fault::Language;
use serde::Deserialize;

/// An e-mail in one language.
#[derive(Debug)]
pub struct Letter {
    /// Its subject.
    pub subject: String,
    /// Its plain text.
    pub text: String,
    /// The same as a document of HTML.
    pub html: String,
}

/// The texts of every e-mail.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mails {
    pub invitation: Mail,
    pub email_confirmation: Mail,
    pub password_reset: Mail,
    pub ownership_offer: Mail,
    pub closing_begun: Mail,
    pub closing_soon: Mail,
    pub account_closed: Mail,
    pub export_ready: Mail,
    pub new_device: Mail,
    pub password_changed: Mail,
    pub factor_changed: Mail,
    /// An operator has begun to take somebody's second factors away.
    pub factor_recovery_begun: Mail,
    /// A service principal may act for somebody from now on.
    pub acting_begun: Mail,
    pub mailbox_needs_credentials: Mail,
    pub payment_failed: Mail,
}

/// The texts of one e-mail.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    ar: Text,
    en: Text,
    es: Text,
    pt: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    subject: String,
    /// The words of the button that opens the link, in an e-mail that has one.
    #[serde(default)]
    action: String,
    body: String,
}

/// What stands for a placeholder: its name and the value.
pub type Value<'a> = (&'a str, &'a str);

#[expect(clippy::expect_used, reason = "the file is part of the binary, and the tests read it")]
pub static MAILS: LazyLock<Mails> =
    LazyLock::new(|| toml::from_str(include_str!("../../texts/mails.toml")).expect("texts/mails.toml"));

/// A placeholder that stands alone in its paragraph.
const LINK: &str = "{link}";
/// For the outermost block: clients drop what stands at `html` and `body`.
const BLOCK: &str =
    "max-width:36em;margin:0 auto;font:16px/1.6 system-ui,-apple-system,Segoe UI,Tahoma,Arial,sans-serif;color:#1f2933";
const BUTTON: &str =
    "display:inline-block;padding:10px 20px;border-radius:6px;background:#1a56db;color:#ffffff;text-decoration:none";

impl Mail {
    /// The e-mail in a language. Values are single lines and may be anything: in HTML each is escaped, and isolated so that a name in
    /// another direction does not reorder what is around it.
    pub fn letter(&self, language: Language, values: &[Value<'_>]) -> Letter {
        let text = match language {
            Language::Ar => &self.ar,
            Language::En => &self.en,
            Language::Es => &self.es,
            Language::Pt => &self.pt,
        };
        let (subject, body) = (fill(&text.subject, values, str::to_owned), fill(&text.body, values, str::to_owned));
        Letter { html: html(language, &subject, text, values), subject, text: format!("{body}\n") }
    }
}

/// Puts the values in place in one pass, so that a value with braces in it stays what it is.
fn fill(template: &str, values: &[Value<'_>], show: impl Fn(&str) -> String) -> String {
    let mut parts = template.split('{');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        let value = values.iter().find(|(key, _)| *key == name);
        filled += &value.map_or_else(|| format!("{{{name}}}"), |(_, value)| show(value));
        filled += rest;
    }
    filled
}

fn html(language: Language, subject: &str, text: &Text, values: &[Value<'_>]) -> String {
    let direction = if language == Language::Ar { "rtl" } else { "ltr" };
    let scope = format!(r#"lang="{}" dir="{direction}""#, language.tag());
    let mut html = format!(
        "<!DOCTYPE html>\n<html {scope}>\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{}</title></head>\n<body>\n<div {scope} style=\"{BLOCK}\">\n",
        escaped(subject)
    );
    for paragraph in text.body.split("\n\n") {
        if paragraph == LINK {
            let link = escaped(&fill(LINK, values, str::to_owned));
            let action = escaped(&text.action);
            let _ = write!(
                html,
                "<p><a href=\"{link}\" style=\"{BUTTON}\">{action}</a></p>\n<p dir=\"ltr\" style=\"font-size:13px\">{link}</p>\n"
            );
        } else {
            let paragraph = fill(&escaped(paragraph), values, |value| format!("<bdi>{}</bdi>", escaped(value)));
            let _ = writeln!(html, "<p>{paragraph}</p>");
        }
    }
    html + "</div>\n</body>\n</html>\n"
}

/// Text as HTML, also for attributes in quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}
