//! A message, and its form in the Cloud API.

use std::{collections::HashMap, sync::LazyLock};

use diwan_fault::Language;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::{Code, PhoneNumber};

/// WhatsApp takes parameters of one line, of at most so many characters together with the others and the text: 1024.
const LONGEST_PARAMETER: usize = 120;

/// A message to one person.
pub struct Message {
    /// His number.
    pub to: PhoneNumber,
    /// His language.
    pub language: Language,
    /// What it says.
    pub content: Content,
}

/// What a message says. It may be a secret, so it has no Debug.
pub enum Content {
    /// A code, with a button that copies it.
    Code(Code),
    /// A text with parameters in their order.
    Alert(Template, Vec<String>),
}

/// The templates of alerts, by the names that they are registered under after the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// `new_device`
    NewDevice,
    /// `password_changed`
    PasswordChanged,
    /// `factor_changed`
    FactorChanged,
    /// `factor_recovery_begun`
    FactorRecoveryBegun,
    /// `acting_begun`
    ActingBegun,
    /// `mailbox_needs_credentials`
    MailboxNeedsCredentials,
    /// `payment_failed`
    PaymentFailed,
}

impl Template {
    /// What follows the prefix in its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewDevice => "new_device",
            Self::PasswordChanged => "password_changed",
            Self::FactorChanged => "factor_changed",
            Self::FactorRecoveryBegun => "factor_recovery_begun",
            Self::ActingBegun => "acting_begun",
            Self::MailboxNeedsCredentials => "mailbox_needs_credentials",
            Self::PaymentFailed => "payment_failed",
        }
    }
}

#[derive(Deserialize)]
struct Bodies {
    ar: String,
    en: String,
    es: String,
    pt: String,
}

#[expect(clippy::expect_used, reason = "the file is part of the binary, and the tests read it")]
static BODIES: LazyLock<HashMap<Template, Bodies>> =
    LazyLock::new(|| toml::from_str(include_str!("../../texts/whatsapp.toml")).expect("texts/whatsapp.toml"));

impl Message {
    /// The body of `POST /{phone-number-id}/messages`, as the Cloud API documents template messages: a code stands in an authentication
    /// template twice, in the body and in its button.
    pub fn payload(&self, prefix: &str) -> Value {
        let (name, components) = match &self.content {
            Content::Code(code) => {
                let parameter = json!([{"type": "text", "text": code.expose()}]);
                let button = json!({"type": "button", "sub_type": "url", "index": "0", "parameters": parameter});
                ("code", json!([{"type": "body", "parameters": parameter}, button]))
            }
            Content::Alert(template, parameters) => {
                let parameters: Vec<_> =
                    parameters.iter().map(|text| json!({"type": "text", "text": one_line(text)})).collect();
                (template.name(), json!([{"type": "body", "parameters": parameters}]))
            }
        };
        json!({
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": self.to.as_str(),
            "type": "template",
            "template": {
                "name": format!("{prefix}{name}"),
                "language": {"code": code_of(self.language)},
                "components": components,
            },
        })
    }

    /// What the person reads, nearly: a code's words are WhatsApp's own.
    pub fn shown(&self) -> String {
        match &self.content {
            Content::Code(code) => code.expose().to_owned(),
            Content::Alert(template, parameters) => {
                let bodies = BODIES.get(template);
                let body = bodies.map(|bodies| match self.language {
                    Language::Ar => &bodies.ar,
                    Language::En => &bodies.en,
                    Language::Es => &bodies.es,
                    Language::Pt => &bodies.pt,
                });
                filled(body.map_or("", String::as_str), parameters)
            }
        }
    }
}

/// In one pass, so that a parameter with braces stays what it is.
fn filled(body: &str, parameters: &[String]) -> String {
    let mut parts = body.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once("}}").unwrap_or((part, ""));
        let index = number.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let value = index.and_then(|index| parameters.get(index));
        filled += &value.map_or_else(|| format!("{{{{{number}}}}}"), |value| one_line(value));
        filled += rest;
    }
    filled
}

/// The Portuguese texts are those of Portugal.
fn code_of(language: Language) -> &'static str {
    match language {
        Language::Pt => "pt_PT",
        other => other.tag(),
    }
}

/// WhatsApp refuses parameters with line breaks, tabs or runs of spaces, and empty ones.
fn one_line(text: &str) -> String {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()).collect();
    let line: String = words.join(" ").chars().take(LONGEST_PARAMETER).collect();
    if line.is_empty() { "?".to_owned() } else { line }
}
