//! A person's own second factors.

use std::time::Duration;

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    BeginTotpRequest, BeginTotpResponse, ConfirmTotpRequest, ConfirmTotpResponse, DisableTotpRequest,
    DisableTotpResponse, DisableWhatsAppRequest, DisableWhatsAppResponse, EnableWhatsAppRequest,
    EnableWhatsAppResponse, GetSecondFactorPolicyRequest, GetSecondFactorPolicyResponse, GetSecondFactorsRequest,
    GetSecondFactorsResponse, GetUserSecondFactorsRequest, GetUserSecondFactorsResponse,
    RegenerateRecoveryCodesRequest, RegenerateRecoveryCodesResponse, ResetUserSecondFactorsRequest,
    ResetUserSecondFactorsResponse, SetSecondFactorPolicyRequest, SetSecondFactorPolicyResponse, TotpSecret,
    second_factor_service_server::SecondFactorService,
};
use diwan_runtime::clock::after;
use diwan_store::answers::{self, Request as Once};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{
    Api, encode, fields,
    proof::{self, Given, Proved},
};
use crate::{
    client::Client,
    domain::{Code, FactorRefusal, Pending, SecondFactors},
    error::Error,
    factors::{self, Whose},
    store::{numbers, policies, second_factors, users},
    throttle,
    totp::Secret,
};

/// How long an authenticator can be confirmed.
const ENROLMENT_LIFE: Duration = Duration::from_mins(15);

#[tonic::async_trait]
impl SecondFactorService for Api {
    async fn get_second_factors(
        &self,
        request: Request<GetSecondFactorsRequest>,
    ) -> Result<Response<GetSecondFactorsResponse>, Status> {
        let caller = user(&request)?;
        let whose = Whose { account: caller.account_id, user: caller.user_id };
        let found = self.shown_factors(whose).await.map_err(Fault::from)?;
        Ok(Response::new(GetSecondFactorsResponse { second_factors: Some(found) }))
    }

    async fn begin_totp(&self, request: Request<BeginTotpRequest>) -> Result<Response<BeginTotpResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.begin_totp(&caller, &client, request.into_inner()).await?))
    }

    async fn confirm_totp(
        &self,
        request: Request<ConfirmTotpRequest>,
    ) -> Result<Response<ConfirmTotpResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.confirm_totp(&caller, &client, request.into_inner()).await?))
    }

    async fn disable_totp(
        &self,
        request: Request<DisableTotpRequest>,
    ) -> Result<Response<DisableTotpResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.disable_totp(&caller, &client, request.into_inner()).await?))
    }

    async fn enable_whats_app(
        &self,
        request: Request<EnableWhatsAppRequest>,
    ) -> Result<Response<EnableWhatsAppResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.enable_whatsapp(&caller, &client, request.into_inner()).await?))
    }

    async fn disable_whats_app(
        &self,
        request: Request<DisableWhatsAppRequest>,
    ) -> Result<Response<DisableWhatsAppResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.disable_whatsapp(&caller, &client, request.into_inner()).await?))
    }

    async fn regenerate_recovery_codes(
        &self,
        request: Request<RegenerateRecoveryCodesRequest>,
    ) -> Result<Response<RegenerateRecoveryCodesResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.regenerate(&caller, &client, request.into_inner()).await?))
    }

    async fn get_user_second_factors(
        &self,
        request: Request<GetUserSecondFactorsRequest>,
    ) -> Result<Response<GetUserSecondFactorsResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.colleagues_factors(&caller, request.get_ref()).await?))
    }

    async fn reset_user_second_factors(
        &self,
        request: Request<ResetUserSecondFactorsRequest>,
    ) -> Result<Response<ResetUserSecondFactorsResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.reset_factors(&caller, &client, request.into_inner()).await?))
    }

    async fn get_second_factor_policy(
        &self,
        request: Request<GetSecondFactorPolicyRequest>,
    ) -> Result<Response<GetSecondFactorPolicyResponse>, Status> {
        let caller = user(&request)?;
        let demanded = self.demands(caller.account_id).await.map_err(Fault::from)?;
        Ok(Response::new(GetSecondFactorPolicyResponse { demanded }))
    }

    async fn set_second_factor_policy(
        &self,
        request: Request<SetSecondFactorPolicyRequest>,
    ) -> Result<Response<SetSecondFactorPolicyResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.set_policy(&caller, &client, request.into_inner()).await?))
    }
}

impl Api {
    /// What a user has beside his password.
    pub(super) async fn factors_of(&self, whose: Whose) -> Result<SecondFactors, Error> {
        let mut connection = self.database.pool().acquire().await?;
        second_factors::find(&mut connection, whose.account, whose.user).await
    }

    async fn begin_totp(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: BeginTotpRequest,
    ) -> Result<BeginTotpResponse, Fault> {
        let proof = self.only_proof(caller, client, &mut message.password, &mut message.code).await?;
        let now = self.clock.now();
        let begun = self.database.transaction("begin authenticator", async |tx: &mut PgConnection| {
            let proved = self.proved(tx, &proof, now).await?;
            self.begin_enrolment(tx, proved.whose, proved.factors, &proved.user.email, now).await
        });
        let begun = begun.await;
        Ok(BeginTotpResponse { totp: Some(self.counted(&proof, begun).await?) })
    }

    /// Makes the secret of an authenticator that is to be confirmed.
    pub(super) async fn begin_enrolment(
        &self,
        tx: &mut PgConnection,
        whose: Whose,
        before: SecondFactors,
        email: &str,
        now: Timestamp,
    ) -> Result<TotpSecret, Error> {
        let (secret, until) = (Secret::new(), after(now, ENROLMENT_LIFE));
        let pending = Pending { sealed: secret.seal(&self.vault, whose.account, whose.user)?, until };
        second_factors::put(tx, whose.account, whose.user, &SecondFactors { pending: Some(pending), ..before }).await?;
        let shown = secret.show(email)?;
        Ok(TotpSecret { secret: shown.secret, uri: shown.uri, qr_svg: shown.qr_svg, expires_at: Some(to_proto(until)) })
    }

    async fn confirm_totp(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: ConfirmTotpRequest,
    ) -> Result<ConfirmTotpResponse, Fault> {
        let mut fields = Fields::new();
        fields::required(&mut fields, "code", &message.code);
        fields.finish()?;
        let code = Code::typed(&fields::take_password(&mut message.code));
        let whose = Whose { account: caller.account_id, user: caller.user_id };
        let subjects = self.limits.code(whose.user, client.address);
        self.admit(&subjects).await?;
        let now = self.clock.now();
        let confirmed = self.database.transaction("confirm authenticator", async |tx: &mut PgConnection| {
            policies::lock(tx, whose.account).await?;
            users::find_for_update(tx, whose.account, whose.user).await?.ok_or(Error::UserNotFound)?;
            let before = second_factors::find(tx, whose.account, whose.user).await?;
            before.pending_at(now).ok_or(FactorRefusal::EnrolmentNotFound)?;
            let confirmed = self.confirmed(whose, &before, &code, now)?.ok_or(FactorRefusal::CodeRefused)?;
            throttle::succeed(tx, &subjects, now).await?;
            factors::change(tx, whose, &before, confirmed, now).await
        });
        let confirmed: Result<_, Error> = confirmed.await;
        if matches!(confirmed, Err(Error::Factor(FactorRefusal::CodeRefused))) {
            throttle::fail(&self.database, &subjects, now).await?;
        }
        let (after, codes) = confirmed?;
        self.effects.wake();
        let second_factors = Some(encode::second_factors(&after));
        Ok(ConfirmTotpResponse { second_factors, recovery_codes: encode::codes(&codes) })
    }

    /// The factors with the pending authenticator, if `code` is of it now.
    pub(super) fn confirmed(
        &self,
        whose: Whose,
        before: &SecondFactors,
        code: &Code,
        now: Timestamp,
    ) -> Result<Option<SecondFactors>, Error> {
        let Some(pending) = before.pending_at(now) else { return Ok(None) };
        let secret = Secret::open(&self.vault, whose.account, whose.user, &pending.sealed)?;
        Ok(secret.step_of(code, now)?.and_then(|step| before.confirmed(step, now)))
    }

    async fn disable_totp(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: DisableTotpRequest,
    ) -> Result<DisableTotpResponse, Fault> {
        let (request_id, given) = read(&message.request_id.clone(), &mut message.password, &mut message.code)?;
        let once = Once::new(caller.account_id, &request_id, "DisableTotp", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        let proof = self.proof(caller, client, given).await?;
        let now = self.clock.now();
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let proved = self.proved(tx, &proof, now).await?;
            let after = if proved.factors.totp.is_some() {
                without(tx, &proved, SecondFactors::without_totp, now).await?
            } else {
                proved.factors
            };
            Ok(DisableTotpResponse { second_factors: Some(encode::second_factors(&after)) })
        });
        let answer = answer.await;
        let answer = self.counted(&proof, answer).await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn disable_whatsapp(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: DisableWhatsAppRequest,
    ) -> Result<DisableWhatsAppResponse, Fault> {
        let (request_id, given) = read(&message.request_id.clone(), &mut message.password, &mut message.code)?;
        let once = Once::new(caller.account_id, &request_id, "DisableWhatsApp", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        let proof = self.proof(caller, client, given).await?;
        let now = self.clock.now();
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let proved = self.proved(tx, &proof, now).await?;
            let after = if proved.factors.whatsapp {
                without(tx, &proved, SecondFactors::without_whatsapp, now).await?
            } else {
                proved.factors
            };
            Ok(DisableWhatsAppResponse { second_factors: Some(encode::second_factors(&after)) })
        });
        let answer = answer.await;
        let answer = self.counted(&proof, answer).await?;
        self.effects.wake();
        Ok(answer)
    }

    async fn enable_whatsapp(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: EnableWhatsAppRequest,
    ) -> Result<EnableWhatsAppResponse, Fault> {
        let proof = self.only_proof(caller, client, &mut message.password, &mut message.code).await?;
        let now = self.clock.now();
        let enabled = self.database.transaction("enable whatsapp", async |tx: &mut PgConnection| {
            let proved = self.proved(tx, &proof, now).await?;
            let (whose, before) = (proved.whose, proved.factors);
            if before.whatsapp {
                return Ok((before, Vec::new()));
            }
            numbers::confirmed(tx, whose.account, whose.user).await?.ok_or(FactorRefusal::NumberMissing)?;
            factors::change(tx, whose, &before, before.with_whatsapp(), now).await
        });
        let enabled = enabled.await;
        let (after, codes) = self.counted(&proof, enabled).await?;
        self.effects.wake();
        let second_factors = Some(encode::second_factors(&after));
        Ok(EnableWhatsAppResponse { second_factors, recovery_codes: encode::codes(&codes) })
    }

    async fn regenerate(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: RegenerateRecoveryCodesRequest,
    ) -> Result<RegenerateRecoveryCodesResponse, Fault> {
        let proof = self.only_proof(caller, client, &mut message.password, &mut message.code).await?;
        let now = self.clock.now();
        let renewed = self.database.transaction("renew recovery codes", async |tx: &mut PgConnection| {
            let proved = self.proved(tx, &proof, now).await?;
            if !proved.factors.any() {
                return Err(FactorRefusal::Missing.into());
            }
            factors::renew_recovery_codes(tx, proved.whose, &proved.factors, now).await
        });
        let renewed = renewed.await;
        let codes = self.counted(&proof, renewed).await?;
        self.effects.wake();
        Ok(RegenerateRecoveryCodesResponse { recovery_codes: encode::codes(&codes) })
    }

    /// The proof of a message that has nothing else in it.
    async fn only_proof(
        &self,
        caller: &Caller,
        client: &Client,
        password: &mut String,
        code: &mut String,
    ) -> Result<proof::Proof, Fault> {
        let mut fields = Fields::new();
        let given = proof::take(&mut fields, password, code);
        fields.finish()?;
        Ok(self.proof(caller, client, given).await?)
    }
}

/// Takes a factor away.
async fn without(
    tx: &mut PgConnection,
    proved: &Proved,
    less: fn(&SecondFactors, bool) -> Result<SecondFactors, FactorRefusal>,
    now: Timestamp,
) -> Result<SecondFactors, Error> {
    let after = less(&proved.factors, proved.demanded)?;
    Ok(factors::change(tx, proved.whose, &proved.factors, after, now).await?.0)
}

fn read(request_id: &str, password: &mut String, code: &mut String) -> Result<(String, Given), Fault> {
    let mut fields = Fields::new();
    let request_id = fields.request_id(request_id);
    let given = proof::take(&mut fields, password, code);
    fields.finish()?;
    Ok((request_id, given))
}
