//! RoutingRuleService.

use std::ops::RangeInclusive;

use diwan_access::{User, user};
use diwan_fault::{Fields, Language};
use diwan_proto::conversation::v1::{
    self as proto, CreateRoutingRuleRequest, CreateRoutingRuleResponse, DeleteRoutingRuleRequest,
    DeleteRoutingRuleResponse, GetRoutingRuleRequest, GetRoutingRuleResponse, ListRoutingRulesRequest,
    ListRoutingRulesResponse, ReorderRoutingRulesRequest, ReorderRoutingRulesResponse, SetContactCountryRequest,
    SetContactCountryResponse, UpdateRoutingRuleRequest, UpdateRoutingRuleResponse,
    routing_rule_service_server::RoutingRuleService,
};
use diwan_store::answers;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Api, fields};
use crate::{
    Error,
    domain::{
        rules::{Channel, Conditions},
        state::Priority,
        text::Words,
    },
    flow::{
        self,
        rules::{Content, MOST},
    },
    store::{contacts, rules},
};

const LONGEST_NAME: usize = 100;
const LONGEST_KEYWORD: usize = 100;
const TOPICS: usize = 50;
const ADDED_TOPICS: usize = 20;
const MAILBOXES: usize = 200;
const COUNTRIES: usize = 300;
const KEYWORDS: usize = 100;
const GROUPS: usize = 50;

#[tonic::async_trait]
impl RoutingRuleService for Api {
    async fn create_routing_rule(
        &self,
        request: Request<CreateRoutingRuleRequest>,
    ) -> Result<Response<CreateRoutingRuleResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let asked = (message.name.as_str(), message.conditions.as_ref(), message.team_id.as_str());
        let content = content(&mut fields, asked, (message.priority, &message.add_topic_ids, &message.bot_id));
        fields.finish()?;
        let once = once(&caller, &request_id, "CreateRoutingRule", &message);
        let now = self.0.clock.now();
        let create = async |tx: &mut PgConnection| {
            let rule = flow::rules::create(tx, caller.account_id, &content, now).await?;
            Ok::<_, Error>(CreateRoutingRuleResponse { rule: Some(rule.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, create).await?))
    }

    async fn get_routing_rule(
        &self,
        request: Request<GetRoutingRuleRequest>,
    ) -> Result<Response<GetRoutingRuleResponse>, Status> {
        let caller = user(&request)?;
        let mut fields = Fields::new();
        let id = fields.uuid("rule_id", &request.get_ref().rule_id);
        fields.finish()?;
        let found = rules::find(self.0.database.pool(), caller.account_id, id).await?.ok_or(Error::RuleNotFound)?;
        Ok(Response::new(GetRoutingRuleResponse { rule: Some(found.to_proto()) }))
    }

    async fn list_routing_rules(
        &self,
        request: Request<ListRoutingRulesRequest>,
    ) -> Result<Response<ListRoutingRulesResponse>, Status> {
        let caller = user(&request)?;
        let found = rules::list(self.0.database.pool(), caller.account_id).await?;
        let rules = found.iter().map(rules::Stored::to_proto).collect();
        Ok(Response::new(ListRoutingRulesResponse { rules }))
    }

    async fn update_routing_rule(
        &self,
        request: Request<UpdateRoutingRuleRequest>,
    ) -> Result<Response<UpdateRoutingRuleResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("rule_id", &message.rule_id);
        let asked = (message.name.as_str(), message.conditions.as_ref(), message.team_id.as_str());
        let content = content(&mut fields, asked, (message.priority, &message.add_topic_ids, &message.bot_id));
        fields.finish()?;
        let once = once(&caller, &request_id, "UpdateRoutingRule", &message);
        let now = self.0.clock.now();
        let update = async |tx: &mut PgConnection| {
            let rule = flow::rules::update(tx, caller.account_id, id, &content, now).await?;
            Ok::<_, Error>(UpdateRoutingRuleResponse { rule: Some(rule.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, update).await?))
    }

    async fn delete_routing_rule(
        &self,
        request: Request<DeleteRoutingRuleRequest>,
    ) -> Result<Response<DeleteRoutingRuleResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("rule_id", &message.rule_id);
        fields.finish()?;
        let once = once(&caller, &request_id, "DeleteRoutingRule", &message);
        let now = self.0.clock.now();
        let delete = async |tx: &mut PgConnection| {
            flow::rules::delete(tx, caller.account_id, id, now).await?;
            Ok::<_, Error>(DeleteRoutingRuleResponse {})
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, delete).await?))
    }

    async fn reorder_routing_rules(
        &self,
        request: Request<ReorderRoutingRulesRequest>,
    ) -> Result<Response<ReorderRoutingRulesResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let order = fields.uuids("rule_ids", &message.rule_ids, 0..=MOST);
        fields.finish()?;
        let once = once(&caller, &request_id, "ReorderRoutingRules", &message);
        let now = self.0.clock.now();
        let reorder = async |tx: &mut PgConnection| {
            let rules = flow::rules::reorder(tx, caller.account_id, &order).await?;
            Ok::<_, Error>(ReorderRoutingRulesResponse { rules: rules.iter().map(rules::Stored::to_proto).collect() })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, reorder).await?))
    }

    async fn set_contact_country(
        &self,
        request: Request<SetContactCountryRequest>,
    ) -> Result<Response<SetContactCountryResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let contact = fields.uuid("contact_id", &message.contact_id);
        let country = (!message.country.is_empty()).then(|| fields::country(&mut fields, "country", &message.country));
        fields.finish()?;
        let once = once(&caller, &request_id, "SetContactCountry", &message);
        let now = self.0.clock.now();
        let set = async |tx: &mut PgConnection| {
            let known = contacts::set_country(tx, caller.account_id, contact, country.as_deref()).await?;
            if known { Ok(SetContactCountryResponse {}) } else { Err(Error::ContactNotFound) }
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, set).await?))
    }
}

fn once(caller: &User, request_id: &str, method: &'static str, message: &impl prost::Name) -> answers::Request {
    answers::Request::new(caller.account_id, request_id, method, message).by(caller.user_id)
}

fn content(
    fields: &mut Fields,
    (name, conditions, team): (&str, Option<&proto::RoutingConditions>, &str),
    (priority, add_topics, bot): (i32, &[String], &str),
) -> Content {
    Content {
        name: fields.line("name", name, 1..=LONGEST_NAME),
        conditions: conditions_of(fields, conditions.unwrap_or(&proto::RoutingConditions::default())),
        team: fields.uuid("team_id", team),
        priority: priority_of(fields, priority),
        add_topics: fields.uuids("add_topic_ids", add_topics, 0..=ADDED_TOPICS),
        bot: fields.optional_uuid("bot_id", bot),
    }
}

fn conditions_of(fields: &mut Fields, asked: &proto::RoutingConditions) -> Conditions {
    let conditions = Conditions {
        topics: fields.uuids("conditions.topic_ids", &asked.topic_ids, 0..=TOPICS),
        countries: each(fields, "conditions.countries", (&asked.countries, 0..=COUNTRIES), |fields, field, value| {
            fields::country(fields, field, value)
        }),
        mailboxes: fields.uuids("conditions.mailbox_ids", &asked.mailbox_ids, 0..=MAILBOXES),
        channels: each(fields, "conditions.channels", (&asked.channels, 0..=1), |fields, field, value| {
            channel(fields, field, *value)
        }),
        keywords: each(fields, "conditions.keywords", (&asked.keywords, 0..=KEYWORDS), |fields, field, value| {
            keyword(fields, field, value)
        }),
        languages: each(
            fields,
            "conditions.languages",
            (&asked.languages, 0..=Language::ALL.len()),
            |fields, field, value| fields.language(field, value).tag().to_owned(),
        ),
        groups: fields.uuids("conditions.contact_group_ids", &asked.contact_group_ids, 0..=GROUPS),
    };
    if conditions.is_empty() {
        fields.refuse("conditions", "FIELD_REQUIRED", &[]);
    }
    conditions
}

/// Reads each of a list of at most so many.
fn each<V, T>(
    fields: &mut Fields,
    field: &str,
    (values, entries): (&[V], RangeInclusive<usize>),
    read: impl Fn(&mut Fields, &str, &V) -> T,
) -> Vec<T> {
    if !fields.entries(field, values.len(), entries) {
        return Vec::new();
    }
    values.iter().enumerate().map(|(place, value)| read(fields, &format!("{field}[{place}]"), value)).collect()
}

fn keyword(fields: &mut Fields, field: &str, value: &str) -> String {
    let keyword = fields.line(field, value, 1..=LONGEST_KEYWORD);
    if !keyword.is_empty() && Words::of(&keyword).is_empty() {
        fields.refuse(field, "FIELD_WORD", &[]);
    }
    keyword
}

fn channel(fields: &mut Fields, field: &str, value: i32) -> Channel {
    if proto::Channel::try_from(value) != Ok(proto::Channel::Email) {
        fields.refuse(field, "FIELD_VALUE", &[("values", proto::Channel::Email.as_str_name().to_owned())]);
    }
    Channel::Email
}

fn priority_of(fields: &mut Fields, value: i32) -> Option<Priority> {
    if value == 0 {
        return None;
    }
    let priority = proto::Priority::try_from(value).ok().and_then(Priority::of_proto);
    if priority.is_none() {
        let names = Priority::ALL.map(|priority| priority.to_proto().as_str_name());
        fields.refuse("priority", "FIELD_VALUE", &[("values", names.join(", "))]);
    }
    priority
}
