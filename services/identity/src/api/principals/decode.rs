//! Fields of requests about principals.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use diwan_access::Rules;
use diwan_fault::Fields;
use diwan_feed::time::from_proto;
use jiff::Timestamp;
use uuid::Uuid;

/// The reason of a scope that nobody can be given.
pub const SCOPE: &str = "FIELD_SCOPE";
/// The reason of what is no public key.
pub const PUBLIC_KEY: &str = "FIELD_PUBLIC_KEY";
/// The reason of a time that has passed.
pub const FUTURE: &str = "FIELD_FUTURE";

/// Every one of these reasons.
#[cfg(test)]
pub const REASONS: [&str; 3] = [SCOPE, PUBLIC_KEY, FUTURE];

/// So many fit into a token; a test in `diwan_access` says so.
const MOST_SCOPES: usize = 30;
const MOST_ACCOUNTS: usize = 200;
const MOST_USERS: usize = 100;
/// What precedes the 32 bytes of an Ed25519 key in a SubjectPublicKeyInfo (RFC 8410 section 4).
pub const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

pub fn name(fields: &mut Fields, value: &str) -> String {
    fields.line("name", value, 1..=100)
}

/// At least one scope, each once, each of a method that there is and that a principal may call.
pub fn scopes(fields: &mut Fields, rules: &Rules, values: &[String]) -> Vec<String> {
    if !fields.entries("scopes", values.len(), 1..=MOST_SCOPES) {
        return Vec::new();
    }
    for (index, scope) in values.iter().enumerate() {
        if !rules.can_grant(scope) {
            fields.refuse(&format!("scopes[{index}]"), SCOPE, &[]);
        }
    }
    let mut scopes = values.to_vec();
    scopes.sort();
    scopes.dedup();
    scopes
}

pub fn account_ids(fields: &mut Fields, values: &[String]) -> Vec<Uuid> {
    fields.distinct_uuids("account_ids", values, 0..=MOST_ACCOUNTS)
}

pub fn user_ids(fields: &mut Fields, values: &[String]) -> Vec<Uuid> {
    fields.distinct_uuids("user_ids", values, 0..=MOST_USERS)
}

/// A time to come, or none.
pub fn expires_at(fields: &mut Fields, value: Option<&prost_types::Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let value = value?;
    let time = from_proto(value).filter(|time| *time > now);
    if time.is_none() {
        fields.refuse("expires_at", FUTURE, &[]);
    }
    time
}

/// An Ed25519 public key in PEM: its 32 bytes.
pub fn public_key(fields: &mut Fields, value: &str) -> Vec<u8> {
    let key = read_pem(value);
    if key.is_none() {
        fields.refuse("public_key", PUBLIC_KEY, &[]);
    }
    key.unwrap_or_default()
}

fn read_pem(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD.decode(body).ok()?;
    let key = der.strip_prefix(&SPKI)?;
    (key.len() == 32).then(|| key.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ed25519_public_keys_are_read() {
        // RFC 8410 section 10.1.
        let good = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";
        assert_eq!(read_pem(good).unwrap().len(), 32);
        let short = good.replace("ZuE=", "Zg==");
        for bad in ["", "\u{1}", &good.replace("PUBLIC", "PRIVATE"), &good.replace("MCow", "MCox"), &short] {
            assert!(read_pem(bad).is_none(), "{bad}");
        }
    }
}
