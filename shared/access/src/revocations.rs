//! Which tokens are no longer good, as far as identity has told.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use diwan_proto::identity::v1::{OperatorRevocation, Revocation, RevocationSubject, operator_revocation::Tokens};
use diwan_runtime::{
    Clock,
    clock::{after, between},
};
use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use uuid::Uuid;

use crate::token::{OPERATOR_LIFE, OperatorClaims};

/// A verifier that has not heard from identity for longer refuses instead of guessing.
pub const BOUND: Duration = Duration::from_secs(5);
/// A revocation is kept for twice the life of an access token; older tokens have expired by themselves.
const KEPT: Duration = Duration::from_mins(10);
/// An operator's token lives longer, and so does its revocation; identity tells it for an hour beyond that life.
pub const OPERATORS_KEPT: Duration = OPERATOR_LIFE.saturating_add(Duration::from_hours(1));

/// What is known of a token's revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Good,
    Revoked,
    /// Identity has been silent for longer than [`BOUND`].
    Unknown,
}

/// The revocations that one process knows. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<RwLock<Known>>, Arc<watch::Sender<()>>);

#[derive(Debug, Default)]
struct Known {
    /// The lowest good epoch of a subject, and when it was learnt.
    epochs: HashMap<Uuid, (i64, Timestamp)>,
    operators: HashMap<Operators, (i64, Timestamp)>,
    complete_until: Option<Timestamp>,
    /// When identity was heard last, by the clock that nobody sets; `None` where nobody listens to it.
    heard: Option<Instant>,
}

/// Which tokens of operators; beside it stands until when they were issued, in seconds since 1970, and when that was learnt.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Operators {
    One(Uuid),
    Of(String),
}

impl Revocations {
    /// Takes in what identity sent: `revocations`, and that nothing committed before `complete_until` is missing. Both
    /// only ever rise, so a repeated or late message does no harm.
    pub fn learn(&self, revocations: &[Revocation], complete_until: Timestamp) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for revocation in revocations {
            debug_assert_ne!(revocation.subject(), RevocationSubject::Unspecified);
            let Ok(subject) = Uuid::try_parse(&revocation.subject_id) else { continue };
            let (epoch, learnt) = known.epochs.entry(subject).or_insert((revocation.epoch, complete_until));
            *epoch = (*epoch).max(revocation.epoch);
            *learnt = (*learnt).max(complete_until);
        }
        known.complete_until = known.complete_until.max(Some(complete_until));
        let horizon = complete_until.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        known.epochs.retain(|_, (_, learnt)| *learnt >= horizon);
        drop(known);
        if !revocations.is_empty() {
            self.1.send_replace(());
        }
    }

    /// Wakes when more is known.
    pub(crate) fn news(&self) -> watch::Receiver<()> {
        self.1.subscribe()
    }

    /// Whether one of the subjects is known to have a higher epoch by now.
    pub(crate) fn name_any(&self, subjects: &[(Uuid, i64)]) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        subjects.iter().any(|(subject, epoch)| known.epochs.get(subject).is_some_and(|(lowest, _)| epoch < lowest))
    }

    /// Takes in operators' tokens that are refused, before [`Revocations::learn`] says that nothing is missing.
    pub fn learn_operators(&self, revocations: &[OperatorRevocation], now: Timestamp) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for revocation in revocations {
            let (which, until) = match &revocation.tokens {
                Some(Tokens::TokenId(id)) => (Uuid::try_parse(id).ok().map(Operators::One), i64::MAX),
                Some(Tokens::Operator(name)) => {
                    let until = revocation.issued_until.map_or(i64::MIN, |until| until.seconds);
                    (Some(Operators::Of(name.clone())), until)
                }
                None => (None, i64::MIN),
            };
            let Some(which) = which else { continue };
            let (issued, learnt) = known.operators.entry(which).or_insert((until, now));
            *issued = (*issued).max(until);
            *learnt = (*learnt).max(now);
        }
        let horizon = now.checked_sub(OPERATORS_KEPT).unwrap_or(Timestamp::MIN);
        known.operators.retain(|_, (_, learnt)| *learnt >= horizon);
    }

    /// Identity is heard at this moment. From the first time on its silence is measured by the monotonic clock, too: a machine
    /// whose clock is set back must not take what it heard before for news.
    pub fn hear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).heard = Some(Instant::now());
    }

    /// Completes when identity has been silent for longer than [`BOUND`].
    pub(crate) async fn silence(&self, clock: &dyn Clock) {
        while self.is_current(clock.now()) {
            let (until, heard) = self.last_heard();
            // A little later than the bound, which itself is still within it.
            let bound = BOUND + Duration::from_millis(1);
            let unheard = async {
                match heard {
                    Some(heard) => sleep_until(heard + bound).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = clock.sleep_until(after(until.unwrap_or(Timestamp::MIN), bound)) => {}
                () = unheard => {}
            }
        }
    }

    fn last_heard(&self) -> (Option<Timestamp>, Option<Instant>) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (known.complete_until, known.heard)
    }

    /// Until when nothing is missing.
    pub fn complete_until(&self) -> Option<Timestamp> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).complete_until
    }

    /// Whether identity has been heard within [`BOUND`].
    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        let (until, heard) = self.last_heard();
        until.is_some_and(|until| between(after(until, BOUND), now) == Duration::ZERO)
            && heard.is_none_or(|heard| heard.elapsed() <= BOUND)
    }

    /// What has become of subjects since a token was issued in these epochs of theirs.
    pub(crate) fn standing(&self, subjects: impl IntoIterator<Item = (Uuid, i64)>, now: Timestamp) -> Standing {
        if !self.is_current(now) {
            return Standing::Unknown;
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let revoked =
            |(subject, epoch): (Uuid, i64)| known.epochs.get(&subject).is_some_and(|(lowest, _)| epoch < *lowest);
        if subjects.into_iter().any(revoked) { Standing::Revoked } else { Standing::Good }
    }

    pub(crate) fn operator_standing(&self, claims: &OperatorClaims, now: Timestamp) -> Standing {
        if !self.is_current(now) {
            return Standing::Unknown;
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let whose = [Operators::One(claims.jti), Operators::Of(claims.sub.clone())];
        let revoked = |which| known.operators.get(which).is_some_and(|(until, _)| claims.registered.iat <= *until);
        if whose.iter().any(revoked) { Standing::Revoked } else { Standing::Good }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_stretch_the_bound() {
        let (revocations, heard) = (Revocations::default(), Timestamp::UNIX_EPOCH);
        let set_back = heard.checked_sub(Duration::from_hours(1)).unwrap();
        revocations.learn(&[], heard);
        revocations.hear();
        assert!(revocations.is_current(set_back), "identity was heard a moment ago");
        let long_ago = Instant::now().checked_sub(BOUND + Duration::from_millis(1));
        revocations.0.write().unwrap().heard = long_ago;
        assert!(!revocations.is_current(set_back) && !revocations.is_current(heard));
        revocations.silence(&diwan_runtime::MockClock::at(set_back)).await;
        revocations.hear();
        assert!(revocations.is_current(heard));
    }
}
