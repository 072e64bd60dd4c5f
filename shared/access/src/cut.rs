//! Calls that go on after they were let in: a stream is no better than the token it was opened with.

use std::{collections::BTreeSet, pin::Pin, sync::LazyLock};

use diwan_fault::Fault;
use diwan_proto::DESCRIPTORS;
use http::{HeaderMap, header::AUTHORIZATION};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use uuid::Uuid;

use crate::{
    Admission, Principal, Revocations, SERVICE_TOKEN, Verifier, keys,
    proven::Claims,
    token::{Mandate, UserClaims},
    verifier::{revoked, unknown},
};

/// Completes with the reason when an access is cut. Boxed, since most calls have none and every one has room for it.
pub type Cut = Pin<Box<dyn Future<Output = Fault> + Send>>;

/// The paths of the methods whose answer is a stream. The build checks the descriptors.
static STREAMS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap_or_default();
    let services: Vec<_> = pool.services().collect();
    let methods = services.iter().flat_map(|service| service.methods().collect::<Vec<_>>());
    let streams = methods.filter(MethodDescriptor::is_server_streaming);
    streams.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
});

impl Admission {
    /// Completes when the access is cut with which somebody was let in to the stream at `path`: his session was ended or revoked, he
    /// was deactivated, his account is closed, or the key of his token was withdrawn. What a token says of a role has changed then, too.
    /// Also when identity has been silent for too long: nobody knows then whether that has happened. What it gives is why. `None` where
    /// there is no stream, or no access token.
    pub fn cut(&self, path: &str, headers: &HeaderMap) -> Option<Cut> {
        if !STREAMS.contains(path) || headers.contains_key(SERVICE_TOKEN) {
            return None;
        }
        let subjects = match self.verifier().grounds(headers)? {
            Ok(subjects) => subjects,
            // He has been let in: its key was withdrawn a moment ago.
            Err(fault) => return Some(Box::pin(std::future::ready(fault))),
        };
        let (revocations, clock) = (self.verifier().revocations().clone(), self.verifier().clock());
        Some(Box::pin(async move {
            tokio::select! {
                () = named(&revocations, &subjects) => revoked(),
                () = revocations.silence(&*clock) => unknown(),
            }
        }))
    }
}

/// Subscribes before it looks, so that no revocation comes between.
async fn named(revocations: &Revocations, subjects: &[(Uuid, i64)]) {
    let mut news = revocations.news();
    while !revocations.name_any(subjects) {
        // Only a process that ends forgets what it has been told.
        if news.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Verifier {
    /// Whom and what an access token names, with the epochs that it was issued in, and its key. That leaves the set of keys some day,
    /// which ends nothing; a withdrawn one is revoked besides. Nothing but the signature is looked at.
    fn grounds(&self, headers: &HeaderMap) -> Option<Result<Vec<(Uuid, i64)>, Fault>> {
        let (_, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
        let proven = match self.proven(token.trim()) {
            Ok(proven) => proven,
            Err(fault) => return Some(Err(fault)),
        };
        let mut subjects: Vec<_> = match &proven.claims {
            Claims::User(UserClaims { user, act }) => {
                user.subjects().into_iter().chain(act.iter().flat_map(Mandate::subjects)).collect()
            }
            Claims::Principal(claims) => Principal::from(claims.clone()).subjects().collect(),
            Claims::Operator(_) | Claims::Service(..) => return None,
        };
        subjects.extend(keys::subject(&proven.kid).map(|key| (key, 0)));
        Some(Ok(subjects))
    }
}
