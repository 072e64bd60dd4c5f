//! Access tokens of principals, for their credentials.
//!
//! A token carries the epochs that its subjects had when it was read what it may say. Whatever cuts access raises an epoch in the
//! transaction that cuts it, so a token that was made of what no longer holds is refused, whichever came first.

use diwan_access::token::{AUDIENCE, AccessClaims, Epochs, Kind, Mandate, MandateEpochs, PrincipalClaims, UserClaims};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    ExchangeCredentialRequest, ExchangeCredentialResponse, principal_token_service_server::PrincipalTokenService,
};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{PrincipalApi, acting::acted};
use crate::{
    api::fields,
    client::Client,
    domain::{Credential, Presentation, Principal, Proved, User},
    error::Error,
    store::{principal_credentials as credentials, principals},
    throttle::{self, Subject},
};

/// Who has proved who it is.
struct Recognized {
    principal: Principal,
    credential: Credential,
}

/// What a token is for.
struct Asked {
    account: Option<Uuid>,
    user: Option<Uuid>,
}

/// Whom a token lets in.
struct Entry {
    account: Uuid,
    account_epoch: i64,
    user: Option<User>,
}

#[tonic::async_trait]
impl PrincipalTokenService for PrincipalApi {
    async fn exchange_credential(
        &self,
        request: Request<ExchangeCredentialRequest>,
    ) -> Result<Response<ExchangeCredentialResponse>, Status> {
        let client = Client::of(&request);
        Ok(Response::new(self.exchange(request.into_inner(), &client).await?))
    }
}

impl PrincipalApi {
    async fn exchange(
        &self,
        message: ExchangeCredentialRequest,
        client: &Client,
    ) -> Result<ExchangeCredentialResponse, Fault> {
        let mut fields = Fields::new();
        fields::required(&mut fields, "credential", &message.credential);
        let account = fields.optional_uuid("account_id", &message.account_id);
        let user = fields.optional_uuid("user_id", &message.user_id);
        fields.finish()?;
        let presented = Presentation::read(&message.credential);
        let subjects = self.api.limits.credential(presented.as_ref().map(Presentation::credential), client.address);
        let now = self.api.clock.now();
        let recognized = self.recognize(presented.as_ref(), &subjects, now).await?;
        let mut connection = self.api.database.pool().acquire().await.map_err(Error::from)?;
        let entry = enter(&mut connection, &recognized.principal, &Asked { account, user }).await?;
        Ok(self.token(&recognized, entry, now)?)
    }

    /// Whose credential it is. An unknown one, a wrong one and one that is no longer good take the same way to the same refusal.
    async fn recognize(
        &self,
        presented: Option<&Presentation<'_>>,
        subjects: &[Subject],
        now: Timestamp,
    ) -> Result<Recognized, Error> {
        throttle::admit(&mut *self.api.database.pool().acquire().await?, subjects, now).await?;
        if let Some(presented) = presented {
            let recognized = self.api.database.transaction("recognize principal", async |tx: &mut PgConnection| {
                let recognized = proved(tx, presented, now).await?;
                if recognized.is_some() {
                    throttle::succeed(tx, subjects, now).await?;
                }
                Ok::<_, Error>(recognized)
            });
            if let Some(recognized) = recognized.await? {
                return Ok(recognized);
            }
        }
        throttle::fail(&self.api.database, subjects, now).await?;
        Err(Error::CredentialRefused)
    }

    fn token(&self, who: &Recognized, entry: Entry, now: Timestamp) -> Result<ExchangeCredentialResponse, Error> {
        let registered = self.api.access.registered(AUDIENCE, who.credential.token_life(now));
        let expires_at = Timestamp::from_second(registered.exp).unwrap_or(Timestamp::MAX);
        let act = Mandate {
            sub: who.principal.id,
            cred: who.credential.id,
            scopes: who.principal.scopes.clone(),
            epochs: MandateEpochs { principal: who.principal.epoch, credential: who.credential.epoch },
        };
        let (acc, epoch) = (entry.account, entry.account_epoch);
        let access_token = match entry.user {
            None => self.api.access.sign(&PrincipalClaims { registered, kind: Kind::Principal, acc, epoch, act })?,
            Some(user) => {
                let epochs = Epochs { account: epoch, user: user.epoch, session: act.epochs.principal };
                let user = AccessClaims {
                    registered,
                    sub: user.id,
                    acc,
                    sid: act.sub,
                    role: user.role.into(),
                    grants: user.grants.iter().map(|grant| i32::from(*grant)).collect(),
                    epochs,
                };
                self.api.access.sign(&UserClaims { user, act: Some(act) })?
            }
        };
        Ok(ExchangeCredentialResponse {
            access_token,
            expires_at: Some(to_proto(expires_at)),
            principal_id: who.principal.id.to_string(),
            account_id: acc.to_string(),
        })
    }
}

/// The principal whose good credential is presented. An assertion is taken in the same transaction, once.
async fn proved(
    tx: &mut PgConnection,
    presented: &Presentation<'_>,
    now: Timestamp,
) -> Result<Option<Recognized>, Error> {
    let id = presented.credential();
    let Some((account, principal)) = credentials::owner(tx, id).await? else { return Ok(None) };
    let Some(credential) = credentials::find(tx, (account, principal), id).await? else { return Ok(None) };
    let Some(principal) = principals::find(tx, account, principal).await? else { return Ok(None) };
    let Some(proved) = presented.proves(&credential, principal.id, now) else { return Ok(None) };
    if !credential.is_good(now) || principal.disabled_at.is_some() {
        return Ok(None);
    }
    if let Proved::ByAssertion(taken) = proved
        && !credentials::take(tx, id, &taken).await?
    {
        return Ok(None);
    }
    Ok(Some(Recognized { principal, credential }))
}

/// Where the principal may go with a token, and as whom.
async fn enter(tx: &mut PgConnection, principal: &Principal, asked: &Asked) -> Result<Entry, Fault> {
    let account = match asked.account.or(principal.only_account()) {
        Some(account) if principal.may_enter(account) => account,
        Some(_) => return Err(Error::AccountNotFound.into()),
        None => {
            let mut fields = Fields::new();
            fields.refuse("account_id", "FIELD_REQUIRED", &[]);
            return Err(fields.finish().err().unwrap_or_else(|| Error::AccountNotFound.into()));
        }
    };
    let account_epoch = principals::account_epoch(tx, account).await?.ok_or(Error::AccountNotFound)?;
    let user = match asked.user {
        Some(user) => Some(acted(tx, principal, account, user).await?),
        None => None,
    };
    Ok(Entry { account, account_epoch, user })
}
