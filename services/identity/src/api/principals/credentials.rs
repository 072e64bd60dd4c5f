//! Credentials of principals: several at once, so that a new one is in use before the old one goes.

use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    AddPrincipalCredentialRequest, AddPrincipalCredentialResponse, ExpirePrincipalCredentialRequest,
    ExpirePrincipalCredentialResponse, RemovePrincipalCredentialRequest, RemovePrincipalCredentialResponse,
    RevocationSubject,
};
use diwan_runtime::ids;
use diwan_store::answers;
use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Manager, PrincipalApi,
    acting::spare_owner,
    change::{locked, told},
    decode, encode,
};
use crate::{
    api::fields,
    domain::{Credential, MOST_CREDENTIALS, Principal, Proof, Secret},
    error::Error,
    store::{principal_credentials as credentials, principals, revocations},
};

impl PrincipalApi {
    pub(super) async fn add_credential(
        &self,
        manager: &Manager,
        mut message: AddPrincipalCredentialRequest,
    ) -> Result<AddPrincipalCredentialResponse, Fault> {
        let now = self.api.clock.now();
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let principal = fields.uuid("principal_id", &message.principal_id);
        let expires_at = decode::expires_at(&mut fields, message.expires_at.as_ref(), now);
        let key = (!message.public_key.is_empty()).then(|| decode::public_key(&mut fields, &message.public_key));
        manager.gives(&mut fields, &password);
        fields.finish()?;
        let once = manager.once(&request_id, "AddPrincipalCredential", &message);
        if let Some(answer) = answers::find(self.api.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.require_password(manager, password).await?;
        let id = ids::new_id();
        let secret = Secret::new(id);
        let proof = match key {
            Some(key) => Proof::Key(key),
            None => Proof::Secret { hash: secret.hash(), hint: secret.hint() },
        };
        let credential = Credential { id, proof, epoch: 0, created_at: now, expires_at };
        let added = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let principal = locked(tx, manager, principal).await?;
            spare_owner(tx, manager, &principal).await?;
            add(tx, principal, &credential, now).await?;
            // The answer that is stored is without the secret.
            let credential = Some(encode::credential(&credential));
            Ok::<_, Error>(AddPrincipalCredentialResponse { credential, secret: String::new() })
        });
        let mut added = added.await?;
        let mine = added.credential.as_ref().is_some_and(|added| added.id == id.to_string());
        if mine && matches!(credential.proof, Proof::Secret { .. }) {
            added.secret = secret.write();
        }
        Ok(added)
    }

    pub(super) async fn expire_credential(
        &self,
        manager: &Manager,
        message: &ExpirePrincipalCredentialRequest,
    ) -> Result<ExpirePrincipalCredentialResponse, Fault> {
        let now = self.api.clock.now();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let principal = fields.uuid("principal_id", &message.principal_id);
        let id = fields.uuid("credential_id", &message.credential_id);
        let expires_at = decode::expires_at(&mut fields, message.expires_at.as_ref(), now);
        fields.finish()?;
        let once = manager.once(&request_id, "ExpirePrincipalCredential", message);
        let expired = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let principal = locked(tx, manager, principal).await?;
            let whose = (principal.account, principal.id);
            let before = credentials::find(tx, whose, id).await?.ok_or(Error::CredentialNotFound)?;
            if before.is_prolonged_by(expires_at) {
                spare_owner(tx, manager, &principal).await?;
            }
            let mut after = Credential { expires_at, ..before.clone() };
            if before.is_cut_short_by(expires_at, now) {
                after.epoch += 1;
                cut(tx, &principal, id, after.epoch, now).await?;
            }
            credentials::update(tx, whose, &after).await?;
            changed(tx, principal, now).await?;
            Ok::<_, Error>(ExpirePrincipalCredentialResponse { credential: Some(encode::credential(&after)) })
        });
        Ok(expired.await?)
    }

    pub(super) async fn remove_credential(
        &self,
        manager: &Manager,
        message: &RemovePrincipalCredentialRequest,
    ) -> Result<RemovePrincipalCredentialResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let principal = fields.uuid("principal_id", &message.principal_id);
        let id = fields.uuid("credential_id", &message.credential_id);
        fields.finish()?;
        let now = self.api.clock.now();
        let once = manager.once(&request_id, "RemovePrincipalCredential", message);
        let removed = self.api.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let principal = locked(tx, manager, principal).await?;
            let whose = (principal.account, principal.id);
            let credential = credentials::find(tx, whose, id).await?.ok_or(Error::CredentialNotFound)?;
            credentials::delete(tx, whose, id).await?;
            cut(tx, &principal, id, credential.epoch + 1, now).await?;
            changed(tx, principal, now).await?;
            Ok::<_, Error>(RemovePrincipalCredentialResponse {})
        });
        Ok(removed.await?)
    }
}

async fn add(
    tx: &mut PgConnection,
    principal: Principal,
    credential: &Credential,
    now: Timestamp,
) -> Result<(), Error> {
    // The principal's lock makes additions wait for each other, so the count stays.
    if credentials::list(tx, principal.account, principal.id).await?.len() >= MOST_CREDENTIALS {
        return Err(Error::TooManyCredentials);
    }
    credentials::insert(tx, (principal.account, principal.id), credential).await?;
    changed(tx, principal, now).await
}

async fn changed(tx: &mut PgConnection, mut principal: Principal, now: Timestamp) -> Result<(), Error> {
    principal.version += 1;
    principals::update(tx, &principal).await?;
    told(tx, &principal, now).await?;
    Ok(())
}

/// Revokes the tokens that were got for a credential.
async fn cut(
    tx: &mut PgConnection,
    principal: &Principal,
    credential: Uuid,
    epoch: i64,
    now: Timestamp,
) -> Result<(), Error> {
    revocations::insert(tx, principal.account, (RevocationSubject::Credential, credential), epoch, now).await
}
