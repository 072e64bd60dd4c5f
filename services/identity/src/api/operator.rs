//! Operators' tokens that are no longer good.

use std::sync::Arc;

use diwan_access::{Operator, operator};
use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    ListOperatorRevocationsRequest, ListOperatorRevocationsResponse, RevokeOperatorRequest, RevokeOperatorResponse,
    RevokeOperatorTokenRequest, RevokeOperatorTokenResponse, operator_service_server::OperatorService,
};
use diwan_runtime::{Clock, ids};
use diwan_store::{Database, Page, answers::Request as Once};
use jiff::Timestamp;
use prost::{Message, Name};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::encode;
use crate::{
    error::Error,
    store::operators::{self, OperatorRevocation, Tokens},
};

/// Answers for operators' tokens.
#[derive(Clone)]
pub struct OperatorApi {
    /// The database.
    pub database: Database,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

#[tonic::async_trait]
impl OperatorService for OperatorApi {
    async fn revoke_operator_token(
        &self,
        request: Request<RevokeOperatorTokenRequest>,
    ) -> Result<Response<RevokeOperatorTokenResponse>, Status> {
        let operator = operator(&request)?;
        Ok(Response::new(self.revoke_token(&operator, &request.into_inner()).await?))
    }

    async fn revoke_operator(
        &self,
        request: Request<RevokeOperatorRequest>,
    ) -> Result<Response<RevokeOperatorResponse>, Status> {
        let operator = operator(&request)?;
        Ok(Response::new(self.revoke(&operator, &request.into_inner()).await?))
    }

    async fn list_operator_revocations(
        &self,
        request: Request<ListOperatorRevocationsRequest>,
    ) -> Result<Response<ListOperatorRevocationsResponse>, Status> {
        Ok(Response::new(self.list(&request.into_inner()).await?))
    }
}

impl OperatorApi {
    async fn revoke_token(
        &self,
        operator: &Operator,
        message: &RevokeOperatorTokenRequest,
    ) -> Result<RevokeOperatorTokenResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let token = fields.uuid("token_id", &message.token_id);
        let reason = fields.text("reason", &message.reason, 1..=500);
        fields.finish()?;
        let now = self.clock.now();
        let revocation = revocation(operator, Tokens::One(token), now, reason, now);
        let request = once(operator, &request_id, "RevokeOperatorToken", message);
        let revoked = self.database.answer_once(&request, now, async |tx: &mut PgConnection| {
            operators::insert(tx, &revocation).await?;
            let first = operators::list(tx, None, Some(token), None, 1).await?.into_iter().next();
            let first = first.as_ref().unwrap_or(&revocation);
            Ok::<_, Error>(RevokeOperatorTokenResponse { revocation: Some(encode::operator_revocation(first)) })
        });
        Ok(revoked.await?)
    }

    async fn revoke(
        &self,
        operator: &Operator,
        message: &RevokeOperatorRequest,
    ) -> Result<RevokeOperatorResponse, Fault> {
        let now = self.clock.now();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let name = fields.line("operator", &message.operator, 1..=200);
        let until = message.issued_until.map_or(Some(now), |time| Timestamp::new(time.seconds, time.nanos).ok());
        let until = until.filter(|until| *until <= now).unwrap_or_else(|| {
            fields.refuse("issued_until", "FIELD_PAST", &[]);
            now
        });
        let reason = fields.text("reason", &message.reason, 1..=500);
        fields.finish()?;
        let revocation = revocation(operator, Tokens::Of(name), until, reason, now);
        let request = once(operator, &request_id, "RevokeOperator", message);
        let revoked = self.database.answer_once(&request, now, async |tx: &mut PgConnection| {
            operators::insert(tx, &revocation).await?;
            Ok::<_, Error>(RevokeOperatorResponse { revocation: Some(encode::operator_revocation(&revocation)) })
        });
        Ok(revoked.await?)
    }

    async fn list(&self, message: &ListOperatorRevocationsRequest) -> Result<ListOperatorRevocationsResponse, Fault> {
        let mut fields = Fields::new();
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &"ListOperatorRevocations", message.page.as_ref());
        fields.finish()?;
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        let rows = operators::list(&mut connection, None, None, page.after(), page.limit()).await?;
        let (rows, info) = page.finish(rows, |row| (row.revoked_at, row.id));
        let revocations = rows.iter().map(encode::operator_revocation).collect();
        Ok(ListOperatorRevocationsResponse { revocations, page: Some(info) })
    }
}

fn revocation(
    by: &Operator,
    tokens: Tokens,
    issued_until: Timestamp,
    reason: String,
    now: Timestamp,
) -> OperatorRevocation {
    OperatorRevocation { id: ids::new_id(), tokens, issued_until, reason, revoked_at: now, revoked_by: by.name.clone() }
}

/// An operator's request, in the nil account, which stands for the installation. A stranger's id there has no line breaks, so that
/// nobody is in the way of anybody else.
pub(super) fn once<M: Message + Name>(operator: &Operator, id: &str, method: &'static str, message: &M) -> Once {
    Once::new(Uuid::nil(), &format!("operator\n{}\n{id}", operator.name), method, message)
}
