//! The WhatsApp Cloud API: `POST {base}/{phone-number-id}/messages`.
//!
//! What an error means is told by its `code` before its HTTP status, as the documentation of the API asks for: limits of a pair of numbers
//! come with status 400, and a missing permission with 500.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use tokio::fs;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Message, SendError, Sender,
    http::{Answer, Cause, Client, Failure},
};

/// Codes that say: the same message may be taken later. Service down (1, 2, 131000, 131016), too much by the app (4), the account (80007), the
/// number (130429) or to one person (131056), the server under maintenance (131057, 133004).
const LATER: [i64; 10] = [1, 2, 4, 80007, 130_429, 131_000, 131_016, 131_056, 131_057, 133_004];
/// Codes that say: never, as long as nobody changes something, whatever the HTTP status. Credentials and permissions.
const NEVER: [i64; 4] = [0, 3, 10, 190];

/// How to reach it.
#[derive(Clone)]
pub struct Settings {
    /// With the version, e.g. `https://graph.facebook.com/v25.0`.
    pub base: Url,
    /// The id of the number that sends.
    pub phone_number_id: String,
    /// Where the access token is.
    pub token: TokenSource,
    /// What the names of the templates begin with.
    pub prefix: String,
    /// How long the server may think about a message.
    pub limit: Duration,
}

/// Where an access token is. It has no Debug.
#[derive(Clone)]
pub enum TokenSource {
    /// Here.
    Given(Zeroizing<String>),
    /// In a file, read for each message: a new token needs no restart.
    File(PathBuf),
}

/// A client of the Cloud API.
pub struct CloudApi {
    settings: Settings,
    url: Url,
    client: Client,
}

/// The documented form of an error.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: Details,
}

#[derive(Default, Deserialize)]
struct Details {
    code: Option<i64>,
    fbtrace_id: Option<String>,
}

impl CloudApi {
    /// By the settings.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, Cause> {
        let mut url = settings.base.clone();
        let path = format!("{}/{}/messages", url.path().trim_end_matches('/'), settings.phone_number_id);
        url.set_path(&path);
        Ok(Self { client: Client::new(settings.limit)?, url, settings })
    }

    async fn token(&self) -> Result<Zeroizing<String>, SendError> {
        match &self.settings.token {
            TokenSource::Given(token) => Ok(token.clone()),
            TokenSource::File(path) => {
                let text = Zeroizing::new(fs::read_to_string(path).await.map_err(SendError::Token)?);
                Ok(Zeroizing::new(text.trim().to_owned()))
            }
        }
    }
}

#[async_trait]
impl Sender for CloudApi {
    async fn send(&self, message: &Message, _: Uuid) -> Result<(), SendError> {
        let payload = message.payload(&self.settings.prefix).to_string();
        match self.client.post(&self.url, &self.token().await?, payload).await {
            Ok(answer) => judge(&answer),
            Err(Failure::Unsent(cause)) => Err(SendError::Unreachable(cause)),
            Err(Failure::Unanswered(cause)) => Err(SendError::Unknown(cause)),
        }
    }
}

/// A success counts by its status alone: whatever is wrong with the rest, the message is on its way.
fn judge(answer: &Answer) -> Result<(), SendError> {
    let Answer { status, retry_after, body } = answer;
    if (200..300).contains(status) {
        return Ok(());
    }
    let Details { code, fbtrace_id: trace } = serde_json::from_slice::<Refusal>(body).unwrap_or_default().error;
    let later = match code {
        Some(code) if NEVER.contains(&code) || (200..300).contains(&code) => false,
        Some(code) if LATER.contains(&code) => true,
        // The gateway before the API gave up waiting: the API may have the message.
        None if *status == 504 => return Err(SendError::Unknown("HTTP 504".into())),
        _ => matches!(*status, 408 | 429 | 500..=599),
    };
    let (status, trace) = (*status, trace.map(|trace| trace.chars().take(64).collect()));
    Err(if later {
        SendError::Busy { status, code, trace, retry_after: *retry_after }
    } else {
        SendError::Refused { status, code, trace }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, code: Option<i64>) -> &'static str {
        let body = code.map_or_else(|| "<html>".to_owned(), |code| format!(r#"{{"error": {{"code": {code}}}}}"#));
        match judge(&Answer { status, retry_after: None, body: body.into() }) {
            Ok(()) => "taken",
            Err(SendError::Busy { .. }) => "later",
            Err(SendError::Unknown(_)) => "unknown",
            Err(_) => "never",
        }
    }

    #[test]
    fn the_code_of_an_error_counts_before_its_status() {
        let later = [(400, 131_056), (400, 80007), (400, 4), (429, 130_429), (500, 131_000), (503, 2), (503, 131_016)];
        for (status, code) in later {
            assert_eq!(outcome(status, Some(code)), "later", "{status} {code}");
        }
        let never = [
            (401, 0),
            (500, 3),
            (403, 10),
            (401, 190),
            (403, 200),
            (400, 100),
            (400, 131_026),
            (404, 132_001),
            (301, 1000),
        ];
        for (status, code) in never {
            assert_eq!(outcome(status, Some(code)), "never", "{status} {code}");
        }
    }

    #[test]
    fn without_a_code_the_status_counts() {
        for (status, expected) in [
            (200, "taken"),
            (202, "taken"),
            (302, "never"),
            (404, "never"),
            (408, "later"),
            (429, "later"),
            (500, "later"),
            (502, "later"),
        ] {
            assert_eq!(outcome(status, None), expected, "{status}");
        }
        assert_eq!(outcome(504, None), "unknown");
        assert_eq!(outcome(200, Some(131_026)), "taken");
    }
}
