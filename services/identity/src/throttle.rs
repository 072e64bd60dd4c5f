//! Slows down whoever guesses. Failures are counted in the database, so that all replicas count together, and by a hash, so that an
//! address that nobody has is counted like any other.
//!
//! A try is refused unseen while its subject is closed. One that was let through is judged a second time when it is known to be
//! right or wrong, under the lock of the counter: of many tries at once no more than the limit learn whether they were right.

use std::{net::IpAddr, num::NonZero};

use diwan_store::Database;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{Failures, PhoneNumber, Policy, Verdict},
    error::Error,
    store::failures,
};

/// So many failures in a row, and only a reset by e-mail opens an address again.
const RESET_AFTER: i32 = 100;

/// How many failures are too many, as the settings say.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one e-mail address or user.
    pub per_address: NonZero<u16>,
    /// For one IP address, behind which many people may be.
    pub per_ip: NonZero<u32>,
}

/// What is counted: failures of one kind by one subject. The order of the subjects of a try is the order of their locks.
#[derive(Clone, Debug)]
pub struct Subject {
    counter: &'static str,
    key: Vec<u8>,
    policy: Policy,
    /// Whether a success wipes its failures out. Not those of an IP address: whoever has one account could guess at all others.
    forgiven: bool,
}

impl Limits {
    /// Who signs in: the address, and the IP address where it is known.
    pub fn sign_in(self, email_key: &str, address: Option<IpAddr>) -> Vec<Subject> {
        let email = self.with_reset(SIGN_IN, email_key.as_bytes());
        std::iter::once(email).chain(self.ip("SIGN_IN_FROM_IP", address)).collect()
    }

    /// Who gives his current password.
    pub fn password_change(self, user: Uuid, address: Option<IpAddr>) -> Vec<Subject> {
        let user = self.with_reset(PASSWORD_CHANGE, user.as_bytes());
        std::iter::once(user).chain(self.ip("PASSWORD_CHANGE_FROM_IP", address)).collect()
    }

    /// Who asks for e-mails to an address. Every request counts.
    pub fn reset_request(self, email_key: &str, address: Option<IpAddr>) -> Vec<Subject> {
        let email = self.of("PASSWORD_RESET", email_key.as_bytes(), false);
        std::iter::once(email).chain(self.ip("PASSWORD_RESET_FROM_IP", address)).collect()
    }

    /// Who has codes sent to a number that he wants to confirm, and the number, which may be a stranger's. Every request counts.
    pub fn number_code(self, user: Uuid, number: &PhoneNumber) -> Vec<Subject> {
        let number = self.of("NUMBER_CODE_TO", number.as_str().as_bytes(), false);
        vec![self.of("NUMBER_CODE", user.as_bytes(), false), number]
    }

    /// Who gives a code, for a challenge or to prove himself once more. Counted apart from passwords: whoever fails here knows the
    /// password.
    pub fn code(self, user: Uuid, address: Option<IpAddr>) -> Vec<Subject> {
        let user = self.with_reset(CODE, user.as_bytes());
        std::iter::once(user).chain(self.ip("CODE_FROM_IP", address)).collect()
    }

    /// Who has codes sent to answer challenges. Every request counts.
    pub fn challenge_code(self, user: Uuid) -> Vec<Subject> {
        vec![self.of("CHALLENGE_CODE", user.as_bytes(), false)]
    }

    /// The operator who begins recoveries of second factors, and whose they are. Every one counts.
    pub fn factor_recovery(self, operator: &str, user: Uuid) -> Vec<Subject> {
        let operator = self.of("FACTOR_RECOVERY_BY", operator.as_bytes(), false);
        vec![operator, self.of("FACTOR_RECOVERY_OF", user.as_bytes(), false)]
    }

    /// Who is told that an address is taken when he signs up.
    pub fn sign_up(self, address: Option<IpAddr>) -> Vec<Subject> {
        let key = address.map(network);
        key.iter().map(|key| self.of("EMAIL_TAKEN_FROM_IP", key, false)).collect()
    }

    /// Who is told that an address is taken when somebody of his account invites.
    pub fn invitation(self, account: Uuid) -> Vec<Subject> {
        vec![self.of("EMAIL_TAKEN_IN_ACCOUNT", account.as_bytes(), false)]
    }

    /// Who is sent e-mails because somebody else asks for them. Every e-mail counts.
    pub fn asked_mail(self, email_key: &str) -> Vec<Subject> {
        vec![self.of("ASKED_MAIL", email_key.as_bytes(), false)]
    }

    /// Who presents a credential of a service principal, which may be nobody's.
    pub fn credential(self, credential: Option<Uuid>, address: Option<IpAddr>) -> Vec<Subject> {
        let one = credential.map(|id| self.of("CREDENTIAL", id.as_bytes(), true));
        one.into_iter().chain(self.ip("CREDENTIAL_FROM_IP", address)).collect()
    }

    fn with_reset(self, counter: &'static str, key: &[u8]) -> Subject {
        let policy = Policy { limit: self.per_address.into(), reset_after: Some(RESET_AFTER) };
        Subject { counter, key: digest(key), policy, forgiven: true }
    }

    fn of(self, counter: &'static str, key: &[u8], forgiven: bool) -> Subject {
        let policy = Policy { limit: self.per_address.into(), reset_after: None };
        Subject { counter, key: digest(key), policy, forgiven }
    }

    fn ip(self, counter: &'static str, address: Option<IpAddr>) -> Option<Subject> {
        let policy = Policy { limit: self.per_ip, reset_after: None };
        address.map(|address| Subject { counter, key: digest(&network(address)), policy, forgiven: false })
    }
}

/// Counts failed sign-ins of an address.
const SIGN_IN: &str = "SIGN_IN";
/// Counts wrong passwords of a user who is signed in.
const PASSWORD_CHANGE: &str = "PASSWORD_CHANGE";
/// Counts wrong codes of a user.
const CODE: &str = "CODE";

/// Lets a try through or refuses it unseen.
///
/// # Errors
/// [`Error::Throttled`], [`Error::NeedsReset`].
pub async fn admit(tx: &mut PgConnection, subjects: &[Subject], now: Timestamp) -> Result<(), Error> {
    for subject in subjects {
        let found = failures::find(tx, subject.counter, &subject.key).await?;
        judge(subject, found, now)?;
    }
    Ok(())
}

/// Counts a failed try, if it may still be known that it failed. Exact with any number at once: each waits for the lock of the
/// counter and sees what those before it left.
///
/// # Errors
/// [`Error::Throttled`], [`Error::NeedsReset`]: others failed meanwhile, and this one counts for nothing.
pub async fn fail(database: &Database, subjects: &[Subject], now: Timestamp) -> Result<(), Error> {
    database.transaction("count failure", async |tx: &mut PgConnection| count(tx, subjects, now).await).await
}

/// Counts what happens in this transaction, or refuses it; see [`fail`].
///
/// # Errors
/// [`Error::Throttled`], [`Error::NeedsReset`].
pub async fn count(tx: &mut PgConnection, subjects: &[Subject], now: Timestamp) -> Result<(), Error> {
    for subject in subjects {
        let failures = failures::find_for_update(tx, subject.counter, &subject.key, now).await?;
        judge(subject, Some(failures), now)?;
        let failures = failures.with_another(subject.policy, now);
        failures::update(tx, subject.counter, &subject.key, &failures).await?;
    }
    Ok(())
}

/// Lets a right try pass and forgets the failures before it.
///
/// # Errors
/// [`Error::Throttled`], [`Error::NeedsReset`]: others failed meanwhile, and nobody learns that this one was right.
pub async fn succeed(tx: &mut PgConnection, subjects: &[Subject], now: Timestamp) -> Result<(), Error> {
    for subject in subjects {
        let found = if subject.forgiven {
            failures::take(tx, subject.counter, &subject.key).await?
        } else {
            failures::find(tx, subject.counter, &subject.key).await?
        };
        judge(subject, found, now)?;
    }
    Ok(())
}

/// Forgets the wrong passwords of a user and of his address: the password is a new one. Its user's wrong codes no longer need a reset, but
/// they stay as slow as they were: whoever reads his mail could otherwise guess codes between one reset and the next.
pub async fn reset(tx: &mut PgConnection, email_key: &str, user: Uuid, now: Timestamp) -> Result<(), Error> {
    failures::take(tx, SIGN_IN, &digest(email_key.as_bytes())).await?;
    let key = digest(user.as_bytes());
    failures::take(tx, PASSWORD_CHANGE, &key).await?;
    let failures = Failures { in_a_row: 0, ..failures::find_for_update(tx, CODE, &key, now).await? };
    failures::update(tx, CODE, &key, &failures).await
}

fn judge(subject: &Subject, found: Option<Failures>, now: Timestamp) -> Result<(), Error> {
    match found.unwrap_or(Failures::none(now)).verdict(subject.policy, now) {
        Verdict::Open => Ok(()),
        Verdict::Closed(wait) => Err(Error::Throttled(wait)),
        Verdict::NeedsReset => Err(Error::NeedsReset),
    }
}

fn digest(key: &[u8]) -> Vec<u8> {
    Sha256::digest(key).to_vec()
}

/// An IPv4 address, or the /64 that an IPv6 address is in: who has one of those has all of its addresses.
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_and_in_ipv4_are_not() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
