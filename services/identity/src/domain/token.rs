//! Opaque tokens of sessions, invitations and whatever else an e-mail's link opens.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

const HALF: usize = 16;
const LENGTH: usize = 4 * HALF;
/// What every token begins with, so that a scanner for leaked secrets finds it in a log or a repository.
const PREFIX: &str = "diwan_";
/// So many bytes of the SHA-256 of what is before them: a mistyped or cut token is told from a good one without a look at the
/// database, and a scanner's finds are no guesses. It keeps nobody from making up a token.
const CHECKSUM: usize = 4;

/// Names what it opens, and proves the right to open it. The name tells where to look; only the secret's SHA-256 is
/// stored, which is enough for 128 random bits a half. It has no Debug.
///
/// On the wire: `diwan_`, then account, subject, both halves of the secret and the checksum, 68 bytes in unpadded base64url (RFC 4648
/// section 5): 97 characters.
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
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?);
        let (bytes, sum) = bytes.split_first_chunk::<LENGTH>()?;
        if sum != checksum(bytes) {
            return None;
        }
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
        let mut bytes = Zeroizing::new(parts.concat());
        let sum = checksum(&bytes);
        bytes.extend(sum);
        PREFIX.to_owned() + &BASE64_URL_SAFE_NO_PAD.encode(bytes)
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

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&Sha256::new().chain_update(PREFIX).chain_update(bytes).finalize()[..CHECKSUM]);
    sum
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
        for bad in ["", "x", "diwan_", &good[1..], &good[6..], &format!("{good}A"), &good.replace('_', "!")] {
            assert!(Token::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_prefix_and_a_cut_or_mistyped_one_by_its_checksum() {
        let good = Token::new(Uuid::from_u128(1), Uuid::from_u128(2)).write();
        assert!(good.starts_with("diwan_") && good.len() == 97 && Token::read(&good).is_some(), "{good}");
        for at in PREFIX.len()..good.len() {
            assert!(Token::read(&good[..at]).is_none(), "cut to {at}");
            let mut typed = good.clone().into_bytes();
            typed[at] = if typed[at] == b'x' { b'y' } else { b'x' };
            assert!(Token::read(std::str::from_utf8(&typed).unwrap()).is_none(), "mistyped at {at}");
            if at + 1 < good.len() && typed[at + 1] != good.as_bytes()[at] {
                let mut swapped = good.clone().into_bytes();
                swapped.swap(at, at + 1);
                assert!(Token::read(std::str::from_utf8(&swapped).unwrap()).is_none(), "swapped at {at}");
            }
        }
    }
}
