//! What owner and admins say of second factors: whether everyone needs one, and that a colleague has lost his.

use diwan_access::User as Caller;
use diwan_fault::{Fault, Fields};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        GetUserSecondFactorsRequest, GetUserSecondFactorsResponse, ResetUserSecondFactorsRequest,
        ResetUserSecondFactorsResponse, SetSecondFactorPolicyRequest, SetSecondFactorPolicyResponse,
    },
};
use diwan_store::answers::{self, Request as Once};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Api, encode, fields};
use crate::{
    client::Client,
    domain::{FactorRefusal, Refusal},
    error::Error,
    events,
    factors::{self, Whose},
    store::{policies, second_factors, users},
};

impl Api {
    pub(super) async fn colleagues_factors(
        &self,
        caller: &Caller,
        message: &GetUserSecondFactorsRequest,
    ) -> Result<GetUserSecondFactorsResponse, Fault> {
        let mut fields = Fields::new();
        let id = fields.uuid("user_id", &message.user_id);
        fields.finish()?;
        let user = self.find(caller.account_id, id).await?;
        let found = self.shown_factors(Whose { account: user.account_id, user: user.id }).await?;
        Ok(GetUserSecondFactorsResponse { second_factors: Some(found) })
    }

    pub(super) async fn reset_factors(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: ResetUserSecondFactorsRequest,
    ) -> Result<ResetUserSecondFactorsResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("user_id", &message.user_id);
        fields::required(&mut fields, "password", &password);
        fields.finish()?;
        let (whose, now) = (Whose { account: caller.account_id, user: id }, self.clock.now());
        let once = Once::new(caller.account_id, &request_id, "ResetUserSecondFactors", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.require_password(&self.find(caller.account_id, caller.user_id).await?, client, password).await?;
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let user = users::find_for_update(tx, whose.account, id).await?.ok_or(Error::UserNotFound)?;
            if id == caller.user_id {
                return Err(FactorRefusal::Own.into());
            }
            if user.role == Role::Owner {
                return Err(Error::Refused(Refusal::OwnerIsProtected));
            }
            let before = second_factors::find(tx, whose.account, id).await?;
            let (after, _) = factors::change(tx, whose, &before, before.without_all(), now).await?;
            factors::end_sessions(tx, whose, now).await?;
            Ok(ResetUserSecondFactorsResponse { second_factors: Some(encode::second_factors(&after)) })
        });
        let answer = answer.await?;
        self.effects.wake();
        Ok(answer)
    }

    pub(super) async fn demands(&self, account: Uuid) -> Result<bool, Error> {
        policies::demands(&mut *self.database.pool().acquire().await?, account).await
    }

    /// Nobody without a factor keeps a session: whoever signs in at the same time holds his user's lock until his session is
    /// there to be ended here, or takes it afterwards and finds the policy.
    pub(super) async fn set_policy(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: SetSecondFactorPolicyRequest,
    ) -> Result<SetSecondFactorPolicyResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields::required(&mut fields, "password", &password);
        fields.finish()?;
        let (account, demanded, now) = (caller.account_id, message.demanded, self.clock.now());
        let once = Once::new(account, &request_id, "SetSecondFactorPolicy", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.require_password(&self.find(account, caller.user_id).await?, client, password).await?;
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            if policies::lock(tx, account).await? != demanded {
                if demanded && !second_factors::find(tx, account, caller.user_id).await?.any() {
                    return Err(FactorRefusal::Missing.into());
                }
                let version = policies::set(tx, account, demanded).await?;
                events::second_factor_policy_changed(tx, account, demanded, version, now).await?;
            }
            if demanded {
                for user in second_factors::lock_users_without(tx, account).await? {
                    factors::end_sessions(tx, Whose { account, user }, now).await?;
                }
            }
            Ok::<_, Error>(SetSecondFactorPolicyResponse { demanded })
        });
        Ok(answer.await?)
    }
}
