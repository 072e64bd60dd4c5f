//! The keys of access tokens: the public set for anybody, the rest for operators.

use std::{sync::Arc, time::Duration};

use diwan_access::{Operator, keys::JWKS_MAX_AGE, operator};
use diwan_fault::{Code, Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    GetKeySetRequest, GetKeySetResponse, ListSigningKeysRequest, ListSigningKeysResponse, RotateSigningKeyRequest,
    RotateSigningKeyResponse, SigningKey, WithdrawSigningKeyRequest, WithdrawSigningKeyResponse,
    signing_key_service_server::SigningKeyService,
};
use diwan_runtime::{
    Clock,
    clock::{after, between},
};
use diwan_store::Database;
use jiff::Timestamp;
use sqlx::PgConnection;
use tokio::{sync::watch, time::timeout};
use tonic::{Request, Response, Status};

use super::operator::once;
use crate::{
    domain::{self, Ring},
    error::Error,
    signing::{self, AccessSigner},
    store::signing_keys,
    worker::revocations::Log,
};

/// As many keys that have left the set are shown.
const PAST: i64 = 100;
/// A set that is older is not given out.
const OLDEST: Duration = Duration::from_secs(5);
/// How long a caller waits for the first look after a start.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Answers for the keys.
#[derive(Clone)]
pub struct SigningKeyApi {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes keys.
    pub signer: AccessSigner,
    /// How long each signs.
    pub period: Duration,
    /// The set, as verifiers are told it.
    pub told: watch::Receiver<Log>,
}

#[tonic::async_trait]
impl SigningKeyService for SigningKeyApi {
    async fn get_key_set(&self, _: Request<GetKeySetRequest>) -> Result<Response<GetKeySetResponse>, Status> {
        let mut told = self.told.clone();
        let is_current = |log: &Log| {
            log.complete_until.is_some_and(|until| between(after(until, OLDEST), self.clock.now()) == Duration::ZERO)
        };
        let looked = timeout(FIRST_LOOK, told.wait_for(is_current)).await;
        let set = looked.ok().and_then(Result::ok).map(|log| log.standing.key_set.clone());
        let set = set.ok_or_else(|| Fault::new(Code::Unavailable, "REVOCATION_UNKNOWN").retry_after(OLDEST))?;
        let max_age_seconds = i32::try_from(JWKS_MAX_AGE.as_secs()).unwrap_or(i32::MAX);
        Ok(Response::new(GetKeySetResponse { key_set: Some(set), max_age_seconds }))
    }

    async fn list_signing_keys(
        &self,
        _: Request<ListSigningKeysRequest>,
    ) -> Result<Response<ListSigningKeysResponse>, Status> {
        let keys = self.list().await.map_err(Fault::from)?;
        Ok(Response::new(ListSigningKeysResponse { keys }))
    }

    async fn rotate_signing_key(
        &self,
        request: Request<RotateSigningKeyRequest>,
    ) -> Result<Response<RotateSigningKeyResponse>, Status> {
        let operator = operator(&request)?;
        Ok(Response::new(self.rotate(&operator, &request.into_inner()).await?))
    }

    async fn withdraw_signing_key(
        &self,
        request: Request<WithdrawSigningKeyRequest>,
    ) -> Result<Response<WithdrawSigningKeyResponse>, Status> {
        let operator = operator(&request)?;
        Ok(Response::new(self.withdraw(&operator, &request.into_inner()).await?))
    }
}

impl SigningKeyApi {
    async fn list(&self) -> Result<Vec<SigningKey>, Error> {
        shown(&mut *self.database.pool().acquire().await?, self.clock.now()).await
    }

    async fn rotate(
        &self,
        operator: &Operator,
        message: &RotateSigningKeyRequest,
    ) -> Result<RotateSigningKeyResponse, Fault> {
        let mut fields = Fields::new();
        let id = fields.request_id(&message.request_id);
        fields.finish()?;
        let request = once(operator, &id, "RotateSigningKey", message);
        let now = self.clock.now();
        let rotated = self.database.answer_once(&request, now, async |tx: &mut PgConnection| {
            signing::rotate(tx, now).await?;
            self.signer.settle(tx, now, self.period).await?;
            Ok::<_, Error>(RotateSigningKeyResponse { keys: shown(tx, now).await? })
        });
        Ok(rotated.await?)
    }

    async fn withdraw(
        &self,
        operator: &Operator,
        message: &WithdrawSigningKeyRequest,
    ) -> Result<WithdrawSigningKeyResponse, Fault> {
        let mut fields = Fields::new();
        let id = fields.request_id(&message.request_id);
        let key = key_id(&mut fields, &message.key_id);
        let reason = fields.text("reason", &message.reason, 1..=500);
        fields.finish()?;
        let request = once(operator, &id, "WithdrawSigningKey", message);
        let now = self.clock.now();
        let withdrawn = self.database.answer_once(&request, now, async |tx: &mut PgConnection| {
            signing::withdraw(tx, &key, &reason, now).await?;
            self.signer.settle(tx, now, self.period).await?;
            Ok::<_, Error>(WithdrawSigningKeyResponse { keys: shown(tx, now).await? })
        });
        Ok(withdrawn.await?)
    }
}

fn key_id(fields: &mut Fields, value: &str) -> String {
    let good = value.len() == 16 && value.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !good {
        fields.refuse("key_id", "FIELD_KEY_ID", &[]);
    }
    value.to_owned()
}

/// The keys as operators see them, the newest first.
async fn shown(tx: &mut PgConnection, now: Timestamp) -> Result<Vec<SigningKey>, Error> {
    let keys: Vec<domain::SigningKey> =
        signing_keys::list(tx, PAST).await?.into_iter().map(|stored| stored.key).collect();
    let ring = Ring { keys: &keys, now };
    let shown = keys.iter().map(|key| SigningKey {
        key_id: key.id.clone(),
        state: ring.state(key).into(),
        published_at: Some(to_proto(key.published_at)),
        signs_from: Some(to_proto(key.signs_from)),
        withdrawn_at: key.withdrawn_at.map(to_proto),
        reason: key.reason.clone(),
    });
    Ok(shown.collect())
}
