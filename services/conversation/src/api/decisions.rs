//! DecisionService: why a conversation went where it went, and why it still waits.

use std::collections::HashMap;

use diwan_access::{User, user};
use diwan_fault::Fields;
use diwan_proto::conversation::v1::{
    ExplainRoutingRequest, ExplainRoutingResponse, RoutingStep, RoutingWait, Transition,
    decision_service_server::DecisionService,
};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    Api,
    explained::{self, Reader},
    waits,
};
use crate::{
    Error,
    domain::state::State,
    flow::authority::directs,
    store::{checker, conversations, explanations, transitions},
};

/// The most transitions that one answer explains.
const STEPS: i64 = 100;

#[tonic::async_trait]
impl DecisionService for Api {
    async fn explain_routing(
        &self,
        request: Request<ExplainRoutingRequest>,
    ) -> Result<Response<ExplainRoutingResponse>, Status> {
        let caller = user(&request)?;
        let mut fields = Fields::new();
        let id = fields.uuid("conversation_id", &request.get_ref().conversation_id);
        fields.finish()?;
        Ok(Response::new(self.explain(&caller, id).await?))
    }
}

impl Api {
    /// Everything is read in one snapshot, so history and wait agree.
    async fn explain(&self, caller: &User, id: Uuid) -> Result<ExplainRoutingResponse, Error> {
        let (account, scope) = (caller.account_id, self.scope(caller).await?);
        let tx = &mut *checker::snapshot(self.0.database.pool()).await?;
        let found = conversations::visible(tx, account, id, &scope).await?;
        let facts = found.facts()?;
        let reader = Reader {
            user: caller.user_id,
            administrates: caller.is_administrator(),
            directs: Box::new(move |team| directs(&scope, team)),
            // As api::shown masks the contact.
            sees_contact: caller.is_administrator()
                || (facts.holder == Some(caller.user_id) && matches!(facts.state, State::Open | State::Snoozed)),
        };
        let steps = steps(tx, account, id, &reader).await?;
        let wait: Option<RoutingWait> = waits::why(tx, account, &found, &reader, self.0.clock.now()).await?;
        Ok(ExplainRoutingResponse { steps, wait })
    }
}

async fn steps(tx: &mut PgConnection, account: Uuid, id: Uuid, reader: &Reader) -> Result<Vec<RoutingStep>, Error> {
    let behind: HashMap<i64, Option<Uuid>> = explanations::behind(tx, account, id, STEPS).await?.into_iter().collect();
    let first = behind.keys().min().copied().unwrap_or_default();
    let list: Vec<Transition> = transitions::list(&mut *tx, account, id, first - 1, STEPS).await?;
    let ids: Vec<Uuid> = behind.values().filter_map(|decision| *decision).collect();
    let kept = explanations::decisions(tx, account, &ids).await?;
    let origins = explanations::origins(tx, account, id).await?;
    let step = |transition: Transition| {
        let decision = behind.get(&transition.version).copied().flatten();
        let kept = decision.and_then(|decision| kept.get(&decision));
        let origin = origins.get(&transition.version);
        explained::step(reader, id, transition, (decision.is_some(), kept), origin)
    };
    list.into_iter().map(step).collect()
}
