//! Secrets of service principals.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// So that people and scanners of leaked secrets know what they have found.
const PREFIX: &str = "diwan_sp_";
const ID: usize = 16;
const SECRET: usize = 32;
const CHECKSUM: usize = 4;

/// A credential's id with 256 random bits. Only their SHA-256 is stored, which is enough for so many. It has no Debug.
///
/// On the wire: the prefix, then in unpadded base64url (RFC 4648 section 5) the id, the secret, and the first four bytes of
/// the SHA-256 of prefix and both: a mistyped one is told from a wrong one without asking anybody.
pub struct Secret {
    /// The credential.
    pub id: Uuid,
    secret: Zeroizing<[u8; SECRET]>,
}

impl Secret {
    /// A new one.
    pub fn new(id: Uuid) -> Self {
        Self { id, secret: Zeroizing::new(rand::rng().random()) }
    }

    /// Reads one from the wire; `None` for what is none.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?);
        let (id, rest) = bytes.split_first_chunk::<ID>()?;
        let (secret, rest) = rest.split_first_chunk::<SECRET>()?;
        let read = Self { id: Uuid::from_bytes(*id), secret: Zeroizing::new(*secret) };
        (rest == read.checksum()).then_some(read)
    }

    /// As it goes on the wire.
    pub fn write(&self) -> String {
        let parts: [&[u8]; 3] = [self.id.as_bytes(), &*self.secret, &self.checksum()];
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(Zeroizing::new(parts.concat())))
    }

    /// What is stored of it.
    pub fn hash(&self) -> Vec<u8> {
        Sha256::digest(*self.secret).to_vec()
    }

    /// Its last four characters, which say nothing of the secret: they are of the checksum.
    pub fn hint(&self) -> String {
        let text = Zeroizing::new(self.write());
        text[text.len() - 4..].to_owned()
    }

    fn checksum(&self) -> [u8; CHECKSUM] {
        let digest = Sha256::new().chain_update(PREFIX).chain_update(self.id).chain_update(*self.secret).finalize();
        std::array::from_fn(|index| digest[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_the_wire_and_a_changed_character_is_noticed() {
        let secret = Secret::new(Uuid::from_u128(5));
        let text = secret.write();
        let read = Secret::read(&text).unwrap();
        assert_eq!((read.id, read.hash()), (secret.id, secret.hash()));
        assert!(text.ends_with(&secret.hint()));
        for place in PREFIX.len()..text.len() {
            let other = if text.as_bytes()[place] == b'A' { "B" } else { "A" };
            let changed = format!("{}{other}{}", &text[..place], &text[place + 1..]);
            assert!(Secret::read(&changed).is_none(), "{place}");
        }
        for bad in ["", PREFIX, &text[PREFIX.len()..], &text[..text.len() - 1], &format!("{text}A")] {
            assert!(Secret::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn two_secrets_of_one_credential_differ() {
        let id = Uuid::from_u128(5);
        assert_ne!(Secret::new(id).hash(), Secret::new(id).hash());
    }
}
