//! Opaque tokens of invitations and sessions.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

const HALF: usize = 16;
const LENGTH: usize = 4 * HALF;

/// Names what it opens, and proves the right to open it. The name tells where to look; only the secret's SHA-256 is
/// stored, which is enough for 128 random bits a half. It has no Debug.
///
/// On the wire: account, subject and both halves of the secret, 64 bytes in unpadded base64url (RFC 4648 section 5).
#[derive(Clone)]
pub struct Token {
    /// The account.
    pub account: Uuid,
    /// The invited user, or the session.
    pub subject: Uuid,
    /// Stays the same in all refresh tokens of a session.
    family: Zeroizing<[u8; HALF]>,
    /// Is new in each.
    single: Zeroizing<[u8; HALF]>,
}

impl Token {
    /// A new one with a secret of 256 bits.
    pub fn new(account: Uuid, subject: Uuid) -> Self {
        Self { account, subject, family: random(), single: random() }
    }

    /// The next one of the same session.
    #[must_use]
    pub fn successor(&self) -> Self {
        Self { single: random(), ..self.clone() }
    }

    /// Reads one from the wire; `None` for what is no token.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?);
        let bytes: &[u8; LENGTH] = bytes.as_slice().try_into().ok()?;
        let (parts, []) = bytes.as_chunks::<HALF>() else { return None };
        let [account, subject, family, single] = parts else { return None };
        Some(Self {
            account: Uuid::from_bytes(*account),
            subject: Uuid::from_bytes(*subject),
            family: Zeroizing::new(*family),
            single: Zeroizing::new(*single),
        })
    }

    /// As it goes on the wire.
    pub fn write(&self) -> String {
        let parts: [&[u8]; 4] = [self.account.as_bytes(), self.subject.as_bytes(), &*self.family, &*self.single];
        BASE64_URL_SAFE_NO_PAD.encode(Zeroizing::new(parts.concat()))
    }

    /// What is stored of the whole secret.
    pub fn hash(&self) -> Vec<u8> {
        Sha256::new().chain_update(*self.family).chain_update(*self.single).finalize().to_vec()
    }

    /// What is stored of the half that all refresh tokens of a session share.
    pub fn family_hash(&self) -> Vec<u8> {
        Sha256::digest(*self.family).to_vec()
    }

    /// What is stored of the half that only this one has.
    pub fn single_hash(&self) -> Vec<u8> {
        Sha256::digest(*self.single).to_vec()
    }
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

fn random() -> Zeroizing<[u8; HALF]> {
    Zeroizing::new(rand::rng().random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_wire_and_its_successor_shares_only_the_family() {
        let token = Token::new(Uuid::from_u128(1), Uuid::from_u128(2));
        let read = Token::read(&token.write()).unwrap();
        assert_eq!((read.account, read.subject, read.hash()), (token.account, token.subject, token.hash()));
        let next = token.successor();
        assert_eq!((next.subject, next.family_hash()), (token.subject, token.family_hash()));
        assert_ne!(next.single_hash(), token.single_hash());
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let good = Token::new(Uuid::nil(), Uuid::nil()).write();
        for bad in ["", "x", &good[1..], &format!("{good}A"), &good.replace(&good[..1], "!")] {
            assert!(Token::read(bad).is_none(), "{bad}");
        }
    }
}
