//! The audit log: for owners and admins their account's, for operators every one.

use diwan_access::{Keys, Signer, account};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::{from_proto, to_proto};
use diwan_proto::{
    common::v1::{PageInfo, PageRequest},
    identity::v1::{
        AuditEntry, AuditFilter, AuditHead, GetAuditHeadRequest, GetAuditHeadResponse, InspectAuditEntriesRequest,
        InspectAuditEntriesResponse, ListAuditEntriesRequest, ListAuditEntriesResponse, VerifyAuditLogRequest,
        VerifyAuditLogResponse, audit_inspection_service_server::AuditInspectionService,
        audit_service_server::AuditService,
    },
};
use diwan_store::{Database, Page};
use jiff::Timestamp;
use prost::Message as _;
use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::Value as Json;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    SERVICE,
    audit_log::prove,
    domain::audit::{Content, Flaw, Head},
    error::Error,
    store::{
        audit::{self, Filter, Listed},
        closings,
    },
    worker::audit::{SignedHead, claims},
};

const MOST_HEADS: usize = 100;

/// Answers for the audit log.
#[derive(Clone)]
pub struct AuditApi {
    /// The database.
    pub database: Database,
    /// Signs heads.
    pub signer: Signer,
    /// Proves heads that were signed before.
    pub keys: Keys,
}

#[tonic::async_trait]
impl AuditService for AuditApi {
    async fn list_audit_entries(
        &self,
        request: Request<ListAuditEntriesRequest>,
    ) -> Result<Response<ListAuditEntriesResponse>, Status> {
        let account = account(&request)?;
        let message = request.into_inner();
        let (entries, page) = self.list(Fields::new(), account, message.filter, message.page).await?;
        Ok(Response::new(ListAuditEntriesResponse { entries, page: Some(page) }))
    }

    async fn get_audit_head(
        &self,
        request: Request<GetAuditHeadRequest>,
    ) -> Result<Response<GetAuditHeadResponse>, Status> {
        let account = account(&request)?;
        let head = self.head(account).await.map_err(Fault::from)?;
        let head = self.shown_head(account, head).map_err(Fault::from)?;
        Ok(Response::new(GetAuditHeadResponse { head }))
    }
}

#[tonic::async_trait]
impl AuditInspectionService for AuditApi {
    async fn inspect_audit_entries(
        &self,
        request: Request<InspectAuditEntriesRequest>,
    ) -> Result<Response<InspectAuditEntriesResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.optional_uuid("account_id", &message.account_id).unwrap_or_default();
        let (entries, page) = self.list(fields, account, message.filter, message.page).await?;
        Ok(Response::new(InspectAuditEntriesResponse { entries, page: Some(page) }))
    }

    async fn verify_audit_log(
        &self,
        request: Request<VerifyAuditLogRequest>,
    ) -> Result<Response<VerifyAuditLogResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.optional_uuid("account_id", &message.account_id).unwrap_or_default();
        let heads = self.heads(&mut fields, account, &message.heads);
        fields.finish()?;
        Ok(Response::new(self.verify(account, heads).await.map_err(Fault::from)?))
    }
}

impl AuditApi {
    async fn list(
        &self,
        mut fields: Fields,
        account: Uuid,
        filter: Option<AuditFilter>,
        page: Option<PageRequest>,
    ) -> Result<(Vec<AuditEntry>, PageInfo), Fault> {
        let filter = filter.unwrap_or_default();
        let page = Page::<i64>::read(&mut fields, &("audit", account, filter.encode_to_vec()), page.as_ref());
        let filter = read_filter(&mut fields, &filter);
        fields.finish()?;
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        let (listed, fit) = audit::list(&mut connection, account, &filter, page.after().copied(), page.limit()).await?;
        let (listed, info) = page.at_most(fit).finish(listed, |listed| listed.entry.number);
        let entries = listed.into_iter().map(shown).collect::<Result<_, _>>()?;
        Ok((entries, info))
    }

    async fn head(&self, account: Uuid) -> Result<Head, Error> {
        audit::find_head(&mut *self.database.pool().acquire().await?, account).await
    }

    fn shown_head(&self, account: Uuid, head: Head) -> Result<Option<AuditHead>, Error> {
        if head == Head::START {
            return Ok(None);
        }
        let claims = claims(&self.signer, account, head);
        let signed = self.signer.sign(&claims).map_err(|error| Error::Sign(error.into()))?;
        Ok(Some(AuditHead { account_id: account.to_string(), number: head.number, hash: claims.hash, signed }))
    }

    /// The heads that identity has signed of the log of `account`; another one is refused.
    fn heads(&self, fields: &mut Fields, account: Uuid, signed: &[String]) -> Vec<Head> {
        if signed.len() > MOST_HEADS {
            let limits = [("min", "0".to_owned()), ("max", MOST_HEADS.to_string())];
            fields.refuse("heads", "FIELD_LENGTH", &limits);
            return Vec::new();
        }
        let mut heads = Vec::new();
        for (index, signed) in signed.iter().enumerate() {
            let claims = self.keys.signed::<SignedHead>(signed, SERVICE).filter(|head| head.account == account);
            if let Some(head) = claims.and_then(|claims| claims.head()) {
                heads.push(head);
            } else {
                let values = "AuditHead.signed of this log".to_owned();
                fields.refuse(&format!("heads[{index}]"), "FIELD_VALUE", &[("values", values)]);
            }
        }
        heads
    }

    async fn verify(&self, account: Uuid, heads: Vec<Head>) -> Result<VerifyAuditLogResponse, Error> {
        let mut connection = self.database.pool().acquire().await?;
        if closings::is_deleted(&mut connection, account).await? {
            return Err(Error::AccountNotFound);
        }
        // The head before the entries: what is appended meanwhile is not looked at.
        let stored = audit::find_head(&mut connection, account).await?;
        let (entries, proved) = prove(&mut connection, account, heads, stored).await?;
        match proved {
            Ok(head) => {
                let head = self.shown_head(account, head)?;
                Ok(VerifyAuditLogResponse { entries, head, ..VerifyAuditLogResponse::default() })
            }
            Err(Flaw { kind, number }) => {
                tracing::error!(%account, number, flaw = kind.as_str_name(), "an audit log is not what it was");
                Ok(VerifyAuditLogResponse { flaw: kind.into(), number, entries, head: None })
            }
        }
    }
}

fn read_filter(fields: &mut Fields, filter: &AuditFilter) -> Filter {
    let mut line =
        |field: &str, value: &str| (!value.is_empty()).then(|| fields.line(&format!("filter.{field}"), value, 1..=200));
    let actor = line("actor", &filter.actor);
    let entity_kind = line("entity_kind", &filter.entity_kind);
    let method = line("method", &filter.method);
    let entity = fields.optional_uuid("filter.entity_id", &filter.entity_id);
    let from = time(fields, "filter.from", filter.from.as_ref());
    let until = time(fields, "filter.until", filter.until.as_ref());
    Filter { actor, entity_kind, entity, method, from, until }
}

fn time(fields: &mut Fields, field: &str, time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    let read = from_proto(time?);
    if read.is_none() {
        fields.refuse(field, "FIELD_VALUE", &[("values", "-9999 to 9999".to_owned())]);
    }
    read
}

fn shown(listed: Listed) -> Result<AuditEntry, Error> {
    let content = |encoded: &[u8]| Content::decode(encoded).map_err(diwan_store::Error::from);
    let said = content(&listed.entry.content)?;
    let earlier = listed.earlier.map(|earlier| content(&earlier)).transpose()?;
    let before = if said.before.is_empty() {
        earlier.map(|earlier| earlier.after).unwrap_or_default()
    } else {
        said.before.clone()
    };
    let entity = said.entity();
    Ok(AuditEntry {
        number: listed.entry.number,
        occurred_at: Some(to_proto(said.occurred_at())),
        service: said.service,
        origin: said.origin,
        event: said.event,
        entity_kind: said.entity_kind,
        entity_id: if entity.is_nil() { String::new() } else { entity.to_string() },
        request: object(&said.request),
        before: object(&before),
        after: object(&said.after),
        trace_id: said.trace_id,
        hash: hex::encode(&listed.entry.hash),
    })
}

/// A stored JSON object; `None` for none.
fn object(text: &str) -> Option<Struct> {
    match value(serde_json::from_str(text).ok()?) {
        Value { kind: Some(Kind::StructValue(object)) } => Some(object),
        _ => None,
    }
}

fn value(json: Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::StringValue(value),
        Json::Array(values) => Kind::ListValue(ListValue { values: values.into_iter().map(value).collect() }),
        Json::Object(fields) => {
            Kind::StructValue(Struct { fields: fields.into_iter().map(|(name, json)| (name, value(json))).collect() })
        }
    };
    Value { kind: Some(kind) }
}
