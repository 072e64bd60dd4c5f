//! Which tokens are no longer good, as far as identity has told.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use diwan_proto::identity::v1::{Revocation, RevocationSubject};
use diwan_runtime::clock::{after, between};
use jiff::Timestamp;
use uuid::Uuid;

use crate::token::AccessClaims;

/// A verifier that has not heard from identity for longer refuses instead of guessing.
pub const BOUND: Duration = Duration::from_secs(5);
/// A revocation is kept for twice the life of an access token; older tokens have expired by themselves.
const KEPT: Duration = Duration::from_mins(10);

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
pub struct Revocations(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The lowest good epoch of a subject, and when it was learnt.
    epochs: HashMap<Uuid, (i64, Timestamp)>,
    complete_until: Option<Timestamp>,
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
    }

    /// Until when nothing is missing.
    pub fn complete_until(&self) -> Option<Timestamp> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).complete_until
    }

    /// Whether identity has been heard within [`BOUND`].
    pub(crate) fn is_current(&self, now: Timestamp) -> bool {
        self.complete_until().is_some_and(|until| between(after(until, BOUND), now) == Duration::ZERO)
    }

    pub(crate) fn standing(&self, claims: &AccessClaims, now: Timestamp) -> Standing {
        if !self.is_current(now) {
            return Standing::Unknown;
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let epochs = [
            (claims.acc, claims.epochs.account),
            (claims.sub, claims.epochs.user),
            (claims.sid, claims.epochs.session),
        ];
        let revoked =
            |(subject, epoch): (Uuid, i64)| known.epochs.get(&subject).is_some_and(|(lowest, _)| epoch < *lowest);
        if epochs.into_iter().any(revoked) { Standing::Revoked } else { Standing::Good }
    }
}
