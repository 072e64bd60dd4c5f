//! Codes that people type: six digits that were sent to them, and recovery codes.

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// Crockford's base32: without the letters that look like digits.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const GROUP: usize = 4;
const GROUPS: usize = 4;

/// What a code was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To answer a challenge: the request is the challenge.
    SignIn,
    /// To confirm a telephone number: the request is the confirmation.
    ConfirmNumber,
}

impl Purpose {
    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::SignIn => "SIGN_IN",
            Self::ConfirmNumber => "CONFIRM_NUMBER",
        }
    }
}

/// What a sent code is bound to: it is worth nothing for another request.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// The account.
    pub account: Uuid,
    /// What it is for.
    pub purpose: Purpose,
    /// Which request of that purpose.
    pub request: Uuid,
}

/// A code as it is sent, shown or typed: wiped when it is dropped, and without Debug.
#[derive(Clone)]
pub struct Code(Zeroizing<String>);

impl Code {
    /// Six random digits.
    pub fn six_digits() -> Self {
        Self(Zeroizing::new(format!("{:06}", rand::rng().random_range(0..1_000_000_u32))))
    }

    /// A recovery code of 80 random bits, in the form that is shown.
    pub fn recovery() -> Self {
        let mut rng = rand::rng();
        let mut group = || -> String { (0..GROUP).map(|_| char::from(ALPHABET[rng.random_range(0..32)])).collect() };
        Self(Zeroizing::new((0..GROUPS).map(|_| group()).collect::<Vec<_>>().join("-")))
    }

    /// What somebody typed, as it is compared: Arabic digits are digits, and case, spaces and hyphens do not matter.
    pub fn typed(text: &str) -> Self {
        let meant = text.chars().filter(|c| !c.is_whitespace() && *c != '-').flat_map(|c| match c {
            '\u{660}'..='\u{669}' => digit(c, '\u{660}').to_lowercase(),
            '\u{6f0}'..='\u{6f9}' => digit(c, '\u{6f0}').to_lowercase(),
            'O' | 'o' => '0'.to_lowercase(),
            'I' | 'i' | 'L' | 'l' => '1'.to_lowercase(),
            other => other.to_lowercase(),
        });
        Self(Zeroizing::new(meant.collect()))
    }

    /// For the one who sends, shows or computes with it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether it has the form of a sent code or of one that an authenticator shows.
    pub fn is_six_digits(&self) -> bool {
        self.0.len() == 6 && self.0.bytes().all(|byte| byte.is_ascii_digit())
    }

    /// What is stored of a sent code.
    pub fn hash_for(&self, bound: &Bound) -> Vec<u8> {
        let ids = [bound.account, bound.request];
        hash(bound.purpose.name(), ids, &Self::typed(&self.0))
    }

    /// What is stored of a user's recovery code.
    pub fn hash_of(&self, account: Uuid, user: Uuid) -> Vec<u8> {
        hash("RECOVERY", [account, user], &Self::typed(&self.0))
    }
}

fn hash(kind: &str, [one, other]: [Uuid; 2], code: &Code) -> Vec<u8> {
    let hash = Sha256::new().chain_update(kind).chain_update([0]);
    hash.chain_update(one).chain_update(other).chain_update(code.0.as_bytes()).finalize().to_vec()
}

fn digit(c: char, zero: char) -> char {
    u32::from(c).checked_sub(u32::from(zero)).and_then(|value| char::from_digit(value, 10)).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: (Uuid, Uuid) = (Uuid::from_u128(1), Uuid::from_u128(2));

    fn bound(purpose: Purpose, request: u128) -> Bound {
        Bound { account: Uuid::from_u128(1), purpose, request: Uuid::from_u128(request) }
    }

    #[test]
    fn a_code_is_read_however_it_is_typed() {
        for text in ["012345", " 012 345 ", "٠١٢٣٤٥", "۰۱۲۳۴۵", "O12-345"] {
            assert_eq!(Code::typed(text).expose(), "012345", "{text}");
            assert!(Code::typed(text).is_six_digits());
        }
        assert!(!Code::typed("12345").is_six_digits() && !Code::typed("12345x").is_six_digits());
        let code = Code::recovery();
        let sloppy = code.expose().to_uppercase().replace('-', " ").replace('0', "o").replace('1', "L");
        assert_eq!(Code::typed(&sloppy).hash_of(USER.0, USER.1), code.hash_of(USER.0, USER.1));
    }

    #[test]
    fn a_code_is_another_one_for_every_other_purpose_request_and_user() {
        let code = Code::typed("123456");
        let here = code.hash_for(&bound(Purpose::SignIn, 1));
        assert_ne!(here, code.hash_for(&bound(Purpose::SignIn, 2)));
        assert_ne!(here, code.hash_for(&bound(Purpose::ConfirmNumber, 1)));
        assert_ne!(code.hash_of(USER.0, USER.1), code.hash_of(USER.0, USER.0));
    }

    #[test]
    fn codes_have_the_form_that_people_are_told() {
        for _ in 0..1000 {
            assert!(Code::six_digits().is_six_digits());
        }
        let code = Code::recovery();
        let groups: Vec<&str> = code.expose().split('-').collect();
        assert!(groups.len() == 4 && groups.iter().all(|group| group.len() == 4), "{}", code.expose());
        assert_ne!(code.expose(), Code::recovery().expose());
    }
}
