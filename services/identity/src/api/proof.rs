//! Proving oneself once more: a stolen access token must not be enough to change a second factor.

use diwan_access::User as Caller;
use diwan_fault::Fields;
use diwan_proto::identity::v1::UserState;
use jiff::Timestamp;
use sqlx::PgConnection;

use super::{Api, fields};
use crate::{
    client::Client,
    domain::{Code, FactorRefusal, SecondFactors, User},
    error::Error,
    factors::{self, Whose},
    passwords::Password,
    recovery,
    store::{policies, second_factors, users},
    throttle::{self, Subject},
};

/// With what a caller proves himself.
pub(super) enum Given {
    /// His password.
    Password(Password),
    /// A code of his authenticator, or a recovery code.
    Code(Code),
}

/// A proof, as far as it can be looked at without the user's lock.
pub(super) struct Proof {
    whose: Whose,
    seen: Seen,
    subjects: Vec<Subject>,
}

enum Seen {
    /// The password was right; the hash that it was checked against.
    Password(String),
    /// A code, not looked at yet.
    Code(Code),
}

/// A caller who has proved himself, and whom nobody else changes meanwhile.
pub(super) struct Proved {
    /// He.
    pub(super) user: User,
    /// Whose factors they are.
    pub(super) whose: Whose,
    /// What he has.
    pub(super) factors: SecondFactors,
    /// Whether his account demands a factor.
    pub(super) demanded: bool,
    /// Whether his proof has ended a recovery of his factors.
    pub(super) recovery_ended: bool,
}

/// Takes the proof out of a message, so that neither a digest nor a log of the message can hold it.
pub(super) fn take(fields: &mut Fields, password: &mut String, code: &mut String) -> Given {
    let (password, code) = (fields::take_password(password), fields::take_password(code));
    if password.is_empty() && !code.is_empty() {
        return Given::Code(Code::typed(&code));
    }
    fields::required(fields, "password", &password);
    Given::Password(password)
}

impl Api {
    /// Checks a password. A code is looked at under the lock, where it is used up.
    pub(super) async fn proof(&self, caller: &Caller, client: &Client, given: Given) -> Result<Proof, Error> {
        let whose = Whose { account: caller.account_id, user: caller.user_id };
        let subjects = self.limits.code(whose.user, client.address);
        let seen = match given {
            Given::Password(password) => {
                let user = self.find(whose.account, whose.user).await?;
                Seen::Password(self.require_password(&user, client, password).await?)
            }
            Given::Code(code) => {
                self.admit(&subjects).await?;
                Seen::Code(code)
            }
        };
        Ok(Proof { whose, seen, subjects })
    }

    /// Locks the account's policy and the caller, and accepts his proof.
    pub(super) async fn proved(&self, tx: &mut PgConnection, proof: &Proof, now: Timestamp) -> Result<Proved, Error> {
        let whose = proof.whose;
        let demanded = policies::lock(tx, whose.account).await?;
        let user = users::find_for_update(tx, whose.account, whose.user).await?.ok_or(Error::UserNotFound)?;
        let recovery_ended = match &proof.seen {
            Seen::Password(hash) => {
                let credentials = users::credentials(tx, whose.account, whose.user).await?;
                if credentials != Some((UserState::Active, Some(hash.clone()))) {
                    return Err(Error::PasswordWrong);
                }
                false
            }
            Seen::Code(code) => self.spend(tx, proof, code, now).await?,
        };
        let factors = second_factors::find(tx, whose.account, whose.user).await?;
        Ok(Proved { user, whose, factors, demanded, recovery_ended })
    }

    /// Uses a code up. Whoever has one has not lost his factors: returns whether that ends a recovery of them.
    async fn spend(&self, tx: &mut PgConnection, proof: &Proof, code: &Code, now: Timestamp) -> Result<bool, Error> {
        let factors = second_factors::find(tx, proof.whose.account, proof.whose.user).await?;
        let is_good = if code.is_six_digits() {
            factors::spend_totp(tx, &self.vault, proof.whose, &factors, code, now).await?
        } else {
            factors::spend_recovery_code(tx, proof.whose, code).await?
        };
        if !is_good {
            return Err(FactorRefusal::CodeRefused.into());
        }
        throttle::succeed(tx, &proof.subjects, now).await?;
        recovery::stop(tx, proof.whose, now).await
    }

    /// Counts a code that was not good.
    pub(super) async fn counted<A>(&self, proof: &Proof, outcome: Result<A, Error>) -> Result<A, Error> {
        if matches!(outcome, Err(Error::Factor(FactorRefusal::CodeRefused))) {
            throttle::fail(&self.database, &proof.subjects, self.clock.now()).await?;
        }
        outcome
    }
}
