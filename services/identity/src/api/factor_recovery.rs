//! Recoveries of lost second factors: operators begin and stop them, and the person refuses one that he has not asked for.

use diwan_access::{Operator, User as Caller, operator, user};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    self as proto, BeginFactorRecoveryRequest, BeginFactorRecoveryResponse, FactorRecovery, GetFactorRecoveryRequest,
    GetFactorRecoveryResponse, RefuseFactorRecoveryRequest, RefuseFactorRecoveryResponse, StopFactorRecoveryRequest,
    StopFactorRecoveryResponse, UserState, factor_recovery_service_server::FactorRecoveryService,
};
use diwan_runtime::{clock::after, ids};
use diwan_store::answers::{self, Request as Once};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Api, encode, operator::once, proof};
use crate::{
    client::Client,
    domain::FactorRefusal,
    error::Error,
    factors::Whose,
    recovery,
    store::{
        factor_recoveries::{self, Recovery},
        second_factors, users,
    },
    throttle,
};

#[tonic::async_trait]
impl FactorRecoveryService for Api {
    async fn begin_factor_recovery(
        &self,
        request: Request<BeginFactorRecoveryRequest>,
    ) -> Result<Response<BeginFactorRecoveryResponse>, Status> {
        let operator = operator(&request)?;
        Ok(Response::new(self.begin_recovery(&operator, request.get_ref()).await?))
    }

    async fn get_factor_recovery(
        &self,
        request: Request<GetFactorRecoveryRequest>,
    ) -> Result<Response<GetFactorRecoveryResponse>, Status> {
        let GetFactorRecoveryRequest { account_id, user_id } = request.get_ref();
        let mut fields = Fields::new();
        let whose = whose(&mut fields, account_id, user_id);
        fields.finish()?;
        let recovery = self.recovery_of(whose).await.map_err(Fault::from)?;
        let recovery = recovery.ok_or(FactorRefusal::RecoveryNotFound).map_err(Error::from).map_err(Fault::from)?;
        Ok(Response::new(GetFactorRecoveryResponse { recovery: Some(shown(&recovery)) }))
    }

    async fn stop_factor_recovery(
        &self,
        request: Request<StopFactorRecoveryRequest>,
    ) -> Result<Response<StopFactorRecoveryResponse>, Status> {
        let operator = operator(&request)?;
        Ok(Response::new(self.stop_recovery(&operator, request.get_ref()).await?))
    }

    async fn refuse_factor_recovery(
        &self,
        request: Request<RefuseFactorRecoveryRequest>,
    ) -> Result<Response<RefuseFactorRecoveryResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.refuse_recovery(&caller, &client, request.into_inner()).await?))
    }
}

impl Api {
    /// What a user has beside his password, and until when he has it.
    pub(super) async fn shown_factors(&self, whose: Whose) -> Result<proto::SecondFactors, Error> {
        let factors = self.factors_of(whose).await?;
        let due = self.recovery_of(whose).await?.map(|recovery| to_proto(recovery.due_at));
        Ok(proto::SecondFactors { recovery_due_at: due, ..encode::second_factors(&factors) })
    }

    async fn recovery_of(&self, whose: Whose) -> Result<Option<Recovery>, Error> {
        factor_recoveries::find(&mut *self.database.pool().acquire().await?, whose).await
    }

    async fn begin_recovery(
        &self,
        operator: &Operator,
        message: &BeginFactorRecoveryRequest,
    ) -> Result<BeginFactorRecoveryResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let whose = whose(&mut fields, &message.account_id, &message.user_id);
        let reason = fields.text("reason", &message.reason, 1..=500);
        fields.finish()?;
        let now = self.clock.now();
        let recovery = Recovery {
            id: ids::new_id(),
            whose,
            reason,
            begun_by: operator.name.clone(),
            begun_at: now,
            due_at: after(now, self.recovery_delay),
        };
        let request = once(operator, &request_id, "BeginFactorRecovery", message);
        let begun = self.database.answer_once(&request, now, async |tx: &mut PgConnection| {
            let going_on = self.begun_recovery(tx, &recovery, now).await?;
            Ok::<_, Error>(BeginFactorRecoveryResponse { recovery: Some(shown(&going_on)) })
        });
        let begun = begun.await?;
        self.effects.wake();
        Ok(begun)
    }

    /// The recovery that goes on, which is `new` if none did. The user's lock lets one begin at a time.
    async fn begun_recovery(&self, tx: &mut PgConnection, new: &Recovery, now: Timestamp) -> Result<Recovery, Error> {
        let user = users::find_for_update(tx, new.whose.account, new.whose.user).await?;
        user.filter(|user| user.state == UserState::Active).ok_or(Error::UserNotFound)?;
        if let Some(going_on) = factor_recoveries::find(tx, new.whose).await? {
            return Ok(going_on);
        }
        if !second_factors::find(tx, new.whose.account, new.whose.user).await?.any() {
            return Err(FactorRefusal::NothingToRecover.into());
        }
        throttle::count(tx, &self.limits.factor_recovery(&new.begun_by, new.whose.user), now).await?;
        recovery::begin(tx, new, now).await?;
        Ok(new.clone())
    }

    async fn stop_recovery(
        &self,
        operator: &Operator,
        message: &StopFactorRecoveryRequest,
    ) -> Result<StopFactorRecoveryResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let whose = whose(&mut fields, &message.account_id, &message.user_id);
        fields.finish()?;
        let now = self.clock.now();
        let request = once(operator, &request_id, "StopFactorRecovery", message);
        let stopped = self.database.answer_once(&request, now, async |tx: &mut PgConnection| {
            stop(tx, whose, now).await.map(|()| StopFactorRecoveryResponse {})
        });
        Ok(stopped.await?)
    }

    async fn refuse_recovery(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: RefuseFactorRecoveryRequest,
    ) -> Result<RefuseFactorRecoveryResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let given = proof::take(&mut fields, &mut message.password, &mut message.code);
        fields.finish()?;
        let request = Once::new(caller.account_id, &request_id, "RefuseFactorRecovery", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &request).await? {
            return Ok(answer);
        }
        let proof = self.proof(caller, client, given).await?;
        let now = self.clock.now();
        let refused = self.database.answer_once(&request, now, async |tx: &mut PgConnection| {
            let proved = self.proved(tx, &proof, now).await?;
            if !proved.recovery_ended {
                stop(tx, proved.whose, now).await?;
            }
            Ok(RefuseFactorRecoveryResponse {})
        });
        let refused = refused.await;
        Ok(self.counted(&proof, refused).await?)
    }
}

async fn stop(tx: &mut PgConnection, whose: Whose, now: Timestamp) -> Result<(), Error> {
    if recovery::stop(tx, whose, now).await? { Ok(()) } else { Err(FactorRefusal::RecoveryNotFound.into()) }
}

/// A recovery as a message.
pub fn shown(recovery: &Recovery) -> FactorRecovery {
    FactorRecovery {
        id: recovery.id.to_string(),
        account_id: recovery.whose.account.to_string(),
        user_id: recovery.whose.user.to_string(),
        reason: recovery.reason.clone(),
        begun_by: recovery.begun_by.clone(),
        begun_at: Some(to_proto(recovery.begun_at)),
        due_at: Some(to_proto(recovery.due_at)),
    }
}

fn whose(fields: &mut Fields, account: &str, user: &str) -> Whose {
    Whose { account: fields.uuid("account_id", account), user: fields.uuid("user_id", user) }
}
