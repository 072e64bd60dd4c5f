//! Routing rules: which team a new conversation goes to.

use std::sync::Arc;

use diwan_fault::reason_of;
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        Channel, CreateRoutingRuleRequest, CreateTopicRequest, DeleteRoutingRuleRequest, IngestMessageRequest,
        ListRoutingRulesRequest, Priority, ReorderRoutingRulesRequest, RoutingConditions, RoutingRule,
        SetContactCountryRequest, UpdateRoutingRuleRequest, routing_rule_service_client::RoutingRuleServiceClient,
        topic_service_client::TopicServiceClient,
    },
};
use diwan_runtime::ids;
use diwan_testkit::{Person, eventually};
use diwan_transport::Transport;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::support::{LIMIT, Office};

fn id() -> String {
    ids::new_id().to_string()
}

fn keyword(word: &str) -> RoutingConditions {
    RoutingConditions { keywords: vec![word.into()], ..Default::default() }
}

impl Office {
    fn rules(&self) -> RoutingRuleServiceClient<Transport> {
        RoutingRuleServiceClient::new(self.world.to("conversation"))
    }

    /// A further team, known to the service.
    pub async fn further_team(&self) -> Uuid {
        let team = ids::new_id();
        self.set_team(team, 1, |_| {});
        eventually("the team is known", LIMIT, async || {
            let known = sqlx::query_scalar::<_, bool>("select exists (select from teams where id = $1)");
            known.bind(team).fetch_one(self.pool()).await.unwrap()
        })
        .await;
        team
    }

    pub async fn try_rule(&self, rule: CreateRoutingRuleRequest) -> Result<RoutingRule, Status> {
        let rule = CreateRoutingRuleRequest { request_id: id(), name: "A rule".into(), ..rule };
        Ok(self.rules().create_routing_rule(self.world.request(&self.owner, rule)).await?.into_inner().rule.unwrap())
    }

    pub async fn rule(&self, conditions: RoutingConditions, team: Uuid) -> RoutingRule {
        let rule =
            CreateRoutingRuleRequest { conditions: Some(conditions), team_id: team.to_string(), ..Default::default() };
        self.try_rule(rule).await.unwrap()
    }

    pub async fn rule_list(&self) -> Vec<RoutingRule> {
        let request = self.world.request(&self.owner, ListRoutingRulesRequest {});
        self.rules().list_routing_rules(request).await.unwrap().into_inner().rules
    }

    async fn reorder(&self, order: &[&RoutingRule]) -> Result<Vec<RoutingRule>, Status> {
        let rule_ids = order.iter().map(|rule| rule.id.clone()).collect();
        let request = ReorderRoutingRulesRequest { request_id: id(), rule_ids };
        let answer = self.rules().reorder_routing_rules(self.world.request(&self.owner, request)).await?;
        Ok(answer.into_inner().rules)
    }

    pub async fn topic(&self, name: &str) -> String {
        let request = CreateTopicRequest { request_id: id(), name: name.into(), ..Default::default() };
        let mut topics = TopicServiceClient::new(self.world.to("conversation"));
        let answer = topics.create_topic(self.world.request(&self.owner, request)).await.unwrap();
        answer.into_inner().topic.unwrap().id
    }

    /// The team of the conversation that a mail makes.
    async fn team_of(&self, mail: IngestMessageRequest) -> Uuid {
        let conversation = self.deliver(mail).await;
        self.get(&self.owner, conversation).await.unwrap().team_id.parse().unwrap()
    }

    fn saying(&self, text: &str) -> IngestMessageRequest {
        IngestMessageRequest { text: text.into(), ..self.mail() }
    }

    /// Of the last conversation: what led to its team, and by which rule.
    async fn last_routing(&self) -> Option<(String, Option<Uuid>)> {
        let query = "select via, rule_id from routings order by at desc, conversation_id desc limit 1";
        sqlx::query_as(query).fetch_optional(self.pool()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rule_that_matches_names_the_team_and_is_kept() {
    let office = Office::open(0).await;
    let (sales, billing) = (office.further_team().await, office.further_team().await);
    assert_eq!(office.team_of(office.saying("an invoice for the order")).await, office.team);
    assert_eq!(office.last_routing().await, None, "there is nothing to tell without rules");

    let by_invoice = office.rule(keyword("invoice"), billing).await;
    let by_order = office.rule(keyword("order"), sales).await;
    assert_eq!(office.team_of(office.saying("an INVOICE for the order")).await, billing);
    let kept = Some(("RULE".to_owned(), Some(by_invoice.id.parse().unwrap())));
    assert_eq!(office.last_routing().await, kept);
    assert_eq!(office.team_of(office.saying("my order")).await, sales);

    let order = office.reorder(&[&by_order, &by_invoice]).await.unwrap();
    assert_eq!(order, office.rule_list().await);
    assert_eq!(office.team_of(office.saying("an invoice for the order")).await, sales);
    assert_eq!(office.team_of(office.saying("hello")).await, office.team);
    assert_eq!(office.last_routing().await, Some(("MAILBOX".to_owned(), None)));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_without_a_team_feeds_the_fallback_team() {
    let office = Office::open(0).await;
    let mail = IngestMessageRequest { team_id: String::new(), ..office.mail() };
    assert_eq!(office.team_of(mail).await, office.team);
    assert_eq!(office.last_routing().await, Some(("FALLBACK".to_owned(), None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_condition_routes_and_all_of_a_rule_have_to_hold() {
    let office = Office::open(0).await;
    let teams = [
        office.further_team().await,
        office.further_team().await,
        office.further_team().await,
        office.further_team().await,
    ];
    let topic = office.topic("Returns").await;
    let mailbox = id();
    let none = RoutingConditions::default;
    let both = RoutingConditions { languages: vec!["ar".into()], keywords: vec!["فاتوره".into()], ..none() };
    office.rule(both, teams[0]).await;
    office.rule(RoutingConditions { countries: vec!["EG".into()], ..none() }, teams[1]).await;
    let by_mailbox =
        RoutingConditions { mailbox_ids: vec![mailbox.clone()], channels: vec![Channel::Email.into()], ..none() };
    office.rule(by_mailbox, teams[2]).await;
    office.rule(RoutingConditions { topic_ids: vec![topic.clone()], ..none() }, teams[3]).await;

    assert_eq!(office.team_of(office.saying("عندي مشكلة في فَاتُورَة الشهر الماضي")).await, teams[0]);
    assert_eq!(office.team_of(office.saying("عندي مشكلة في الطلب")).await, office.team);
    let egyptian = IngestMessageRequest { country: "EG".into(), ..office.mail() };
    assert_eq!(office.team_of(egyptian).await, teams[1]);
    let by_mailbox = IngestMessageRequest { mailbox_id: mailbox, ..office.mail() };
    assert_eq!(office.team_of(by_mailbox).await, teams[2]);
    let about = IngestMessageRequest { topic_ids: vec![topic, id()], ..office.mail() };
    assert_eq!(office.team_of(about).await, teams[3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_country_of_a_contact_can_be_set_and_only_those_who_may_see_it() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let brazil = office.further_team().await;
    office.rule(RoutingConditions { countries: vec!["BR".into()], ..Default::default() }, brazil).await;
    let mail = office.mail();
    let conversation = office.deliver(mail.clone()).await;
    let contact = office.get(&office.owner, conversation).await.unwrap().contact.unwrap();
    let set = async |person: &Person, contact_id: String, country: &str| {
        let request = SetContactCountryRequest { request_id: id(), contact_id, country: country.into() };
        office.rules().set_contact_country(office.world.request(person, request)).await
    };
    set(&office.owner, contact.id.clone(), "BR").await.unwrap();
    assert_eq!(office.get(&office.owner, conversation).await.unwrap().contact.unwrap().country, "BR");
    assert_eq!(office.get(&agent, conversation).await.unwrap().contact.unwrap().country, "");
    let again = IngestMessageRequest { message_id: id(), rfc_message_id: String::new(), ..mail };
    assert_eq!(office.team_of(again).await, brazil);

    assert_eq!(set(&agent, contact.id.clone(), "EG").await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(reason_of(&set(&office.owner, id(), "EG").await.unwrap_err()).as_deref(), Some("CONTACT_NOT_FOUND"));
    assert_eq!(set(&office.owner, contact.id, "eg").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_sets_priority_and_topics() {
    let office = Office::open(0).await;
    let topic = office.topic("Billing").await;
    let rule = CreateRoutingRuleRequest {
        conditions: Some(keyword("invoice")),
        team_id: office.team.to_string(),
        priority: Priority::Urgent.into(),
        add_topic_ids: vec![topic.clone()],
        ..Default::default()
    };
    office.try_rule(rule).await.unwrap();
    let conversation = office.deliver(office.saying("invoice")).await;
    let found = office.get(&office.owner, conversation).await.unwrap();
    assert_eq!((found.priority(), found.topic_ids), (Priority::Urgent, vec![topic]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_replaced_and_removed_and_unknown_things_are_refused() {
    let office = Office::open(0).await;
    let sales = office.further_team().await;
    let rule = office.rule(keyword("order"), sales).await;
    let update = async |rule_id: &str, team: String| {
        let request = UpdateRoutingRuleRequest {
            request_id: id(),
            rule_id: rule_id.into(),
            name: "Refunds".into(),
            conditions: Some(keyword("refund")),
            team_id: team,
            ..Default::default()
        };
        office.rules().update_routing_rule(office.world.request(&office.owner, request)).await
    };
    let delete = async || {
        let request = DeleteRoutingRuleRequest { request_id: id(), rule_id: rule.id.clone() };
        office.rules().delete_routing_rule(office.world.request(&office.owner, request)).await
    };
    update(&rule.id, sales.to_string()).await.unwrap();
    assert_eq!(office.team_of(office.saying("my order")).await, office.team);
    assert_eq!(office.team_of(office.saying("a refund")).await, sales);
    let reason = |refused: Result<_, Status>| reason_of(&refused.map(drop).unwrap_err());
    assert_eq!(reason(update(&id(), sales.to_string()).await.map(drop)).as_deref(), Some("RULE_NOT_FOUND"));
    assert_eq!(reason(update(&rule.id, id()).await.map(drop)).as_deref(), Some("TEAM_NOT_FOUND"));

    delete().await.unwrap();
    assert_eq!(office.team_of(office.saying("a refund")).await, office.team);
    assert_eq!(reason(delete().await.map(drop)).as_deref(), Some("RULE_NOT_FOUND"));
    let unknown = RoutingConditions { topic_ids: vec![id()], ..Default::default() };
    let asked = |conditions| CreateRoutingRuleRequest { conditions, team_id: sales.to_string(), ..Default::default() };
    assert_eq!(reason(office.try_rule(asked(Some(unknown))).await.map(drop)).as_deref(), Some("TOPIC_NOT_FOUND"));
    assert_eq!(office.try_rule(asked(None)).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_an_archived_team_name_the_one_that_receives_and_nobody_names_it_again() {
    let office = Office::open(0).await;
    let (sales, heir) = (office.further_team().await, office.further_team().await);
    let rule = office.rule(keyword("order"), sales).await;
    office.set_team(sales, 2, |team| {
        team.archived_at = Some(std::time::SystemTime::UNIX_EPOCH.into());
        team.receiving_team_id = heir.to_string();
    });
    eventually("the rule names the heir", LIMIT, async || {
        office
            .rule_list()
            .await
            .iter()
            .any(|listed| listed.team_id == heir.to_string() && listed.version > rule.version)
    })
    .await;
    assert_eq!(office.team_of(office.saying("my order")).await, heir);
    let late = CreateRoutingRuleRequest {
        conditions: Some(keyword("late")),
        team_id: sales.to_string(),
        ..Default::default()
    };
    assert_eq!(reason_of(&office.try_rule(late).await.unwrap_err()).as_deref(), Some("TEAM_NOT_FOUND"));
}

/// While the list is reversed again and again, every mail is routed by one of the two orders: the rule that is never first in either
/// never gets one.
#[tokio::test(flavor = "multi_thread")]
async fn mails_meet_the_list_before_or_after_a_change_of_its_order() {
    let office = Arc::new(Office::open(0).await);
    let teams = [office.further_team().await, office.further_team().await, office.further_team().await];
    let mut rules = Vec::new();
    for team in teams {
        rules.push(office.rule(keyword("order"), team).await);
    }
    let (turning, order) = (office.clone(), rules.clone());
    let turns = tokio::spawn(async move {
        for turn in 0..30 {
            let mut order: Vec<&RoutingRule> = order.iter().collect();
            if turn % 2 == 0 {
                order.reverse();
            }
            turning.reorder(&order).await.unwrap();
        }
    });
    while !turns.is_finished() {
        assert_ne!(office.team_of(office.saying("my order")).await, teams[1]);
    }
    turns.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_made_at_once_all_get_a_place_and_an_old_order_is_refused() {
    let office = Arc::new(Office::open(0).await);
    let first = office.rule(keyword("order"), office.team).await;
    let made: Vec<_> = (0..8)
        .map(|_| {
            let office = office.clone();
            tokio::spawn(async move { office.rule(keyword("order"), office.team).await.id })
        })
        .collect();
    let mut expected = vec![first.id.clone()];
    for made in made {
        expected.push(made.await.unwrap());
    }
    let listed = office.rule_list().await;
    let mut found: Vec<_> = listed.iter().map(|rule| rule.id.clone()).collect();
    assert_eq!(found[0], first.id);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let refused = office.reorder(&[&first]).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("RULES_CHANGED"));
    let twice: Vec<_> = listed.iter().skip(1).chain(listed.last()).collect();
    assert_eq!(reason_of(&office.reorder(&twice).await.unwrap_err()).as_deref(), Some("RULES_CHANGED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_owner_and_admins_touch_rules_and_another_tenants_are_unknown() {
    let office = Office::open(0).await;
    let rule = office.rule(keyword("order"), office.team).await;
    let stranger = Person::owner();
    let list = async |person: &Person| {
        let request = office.world.request(person, ListRoutingRulesRequest {});
        office.rules().list_routing_rules(request).await.map(|answer| answer.into_inner().rules)
    };
    assert_eq!(list(&office.owner.colleague(Role::Admin)).await.unwrap(), std::slice::from_ref(&rule));
    assert_eq!(list(&office.owner.colleague(Role::User)).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(list(&stranger).await.unwrap(), []);
    let request = DeleteRoutingRuleRequest { request_id: id(), rule_id: rule.id };
    let refused = office.rules().delete_routing_rule(office.world.request(&stranger, request)).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("RULE_NOT_FOUND"));
}
