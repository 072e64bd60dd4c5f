//! The menu bot: it asks by mail, understands the answer, and hands over.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    ConversationState, CreateBotRequest, GetBotRequest, IngestMessageRequest, LocalizedText, MenuBot, MenuEntry,
    MenuPage, TransitionCause, UpdateBotRequest,
};
use diwan_runtime::MockClock;
use diwan_testkit::eventually;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    bot_calls::new,
    support::{LIMIT, Office},
};

fn texts(texts: &[(&str, &str)]) -> Vec<LocalizedText> {
    let text = |(language, text): &(&str, &str)| LocalizedText { language: (*language).into(), text: (*text).into() };
    texts.iter().map(text).collect()
}

fn entry(label: &[(&str, &str)], page: i32, team: Option<Uuid>, topics: &[&str]) -> MenuEntry {
    MenuEntry {
        labels: texts(label),
        page,
        team_id: team.map(|team| team.to_string()).unwrap_or_default(),
        topic_ids: topics.iter().map(|topic| (*topic).to_owned()).collect(),
    }
}

/// Sales, or a second page that leads to the rules; one answer in a row may not be understood.
fn menu(sales: Uuid, topic: &str) -> MenuBot {
    let first = vec![
        entry(&[("en", "Sales"), ("ar", "المبيعات")], 0, Some(sales), &[topic]),
        entry(&[("en", "Something else"), ("ar", "شيء آخر")], 2, None, &[]),
    ];
    let second = vec![entry(&[("en", "A person")], 0, None, &[]), entry(&[("en", "Back")], 1, None, &[])];
    MenuBot {
        default_language: "en".into(),
        pages: vec![
            MenuPage { texts: texts(&[("en", "What is it about?"), ("ar", "ما الموضوع؟")]), entries: first },
            MenuPage { texts: texts(&[("en", "And now?")]), entries: second },
        ],
        farewells: texts(&[("en", "Somebody will answer you.")]),
        most_misunderstood: 1,
    }
}

fn bot(menu: MenuBot) -> CreateBotRequest {
    CreateBotRequest { menu: Some(menu), patience_seconds: 600, ..Default::default() }
}

impl Office {
    /// What was sent to the customers, in its order, once it is all sent.
    async fn said(&self, count: usize) -> Vec<String> {
        eventually("it is said", LIMIT, async || self.mailbox.sent().len() >= count).await;
        self.until("select count(*) from sends", 0).await;
        let mut sent = self.mailbox.sent();
        sent.sort_by(|a, b| a.message_id.cmp(&b.message_id));
        assert!(sent.iter().all(|mail| mail.automatic));
        sent.into_iter().map(|mail| mail.text).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_and_hands_over_to_the_team_and_topic_of_the_answer() {
    let office = Office::open(1).await;
    let sales = office.second_team(1).await;
    let topic = office.topic("Sales").await;
    let bot = office.starts_with(bot(menu(sales, &topic))).await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    let first = "What is it about?\n\n1. Sales\n2. Something else";
    assert_eq!(office.said(1).await, [first]);
    assert_eq!(office.deliver(mail.clone()).await, id, "the same mail again");
    office.answers(&mail, "2\n\nOn Monday, Shop wrote:\n> 1. Sales").await;
    office.answers(&mail, "Back").await;
    office.answers(&mail, "١").await;
    let farewell = "Somebody will answer you.";
    assert_eq!(office.said(4).await, [first, "And now?\n\n1. A person\n2. Back", first, farewell]);
    let found = office.get(&office.owner, id).await.unwrap();
    assert_eq!(
        (found.state(), found.team_id, found.topic_ids),
        (ConversationState::Queued, sales.to_string(), vec![topic])
    );
    let last = office.last_transition(id).await;
    assert_eq!((last.cause(), last.bot_id), (TransitionCause::BotHandedOver, bot.id));
    office.answers(&mail, "Hello?").await;
    assert_eq!(office.mailbox.sent().len(), 4, "it is with people now");
    office.audit().await;
    assert_eq!(office.violations().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_the_customers_language() {
    let office = Office::open(1).await;
    office.starts_with(bot(menu(office.team, &office.topic("Sales").await))).await;
    let text = "صباح الخير، المصباح الذي اشتريته من متجركم لا يعمل".to_owned();
    let mail = IngestMessageRequest { subject: "المصباح".into(), text, ..office.mail() };
    office.deliver(mail.clone()).await;
    office.answers(&mail, "ماذا؟").await;
    let said = office.said(2).await;
    assert_eq!(said[0], "ما الموضوع؟\n\n1. المبيعات\n2. شيء آخر");
    assert!(said[1].starts_with("عذرًا") && said[1].ends_with(&said[0]), "{}", said[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_understood_gets_a_person_and_a_machine_gets_no_answer() {
    let office = Office::open(1).await;
    office.starts_with(bot(menu(office.team, &office.topic("Sales").await))).await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    office.answers(&IngestMessageRequest { automatic: true, ..mail.clone() }, "I am away until Monday.").await;
    assert_eq!(office.said(1).await.len(), 1);
    office.answers(&mail, "It still does not light").await;
    office.answers(&mail, "Is anybody there?").await;
    assert_eq!(office.said(2).await.len(), 2, "it asks once more and then no more");
    let found = office.get(&office.owner, id).await.unwrap();
    assert_eq!((found.state(), found.team_id), (ConversationState::Queued, office.team.to_string()));
    let automatic = office.deliver(IngestMessageRequest { automatic: true, ..office.mail() }).await;
    assert_eq!(office.get(&office.owner, automatic).await.unwrap().state(), ConversationState::Queued);
    assert_eq!(office.mailbox.sent().len(), 2);
    assert_eq!(office.violations().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_does_not_answer_gets_a_person() {
    let clock = MockClock::at("2026-11-23T09:00Z".parse().unwrap());
    let office = Office::open_at(&clock, 1).await;
    office.starts_with(bot(menu(office.team, &office.topic("Sales").await))).await;
    let id = office.arrive().await;
    assert_eq!(office.said(1).await.len(), 1);
    clock.advance(Duration::from_mins(10));
    eventually("it waits", LIMIT, async || {
        office.get(&office.owner, id).await.unwrap().state() == ConversationState::Queued
    })
    .await;
    assert_eq!(office.last_transition(id).await.cause(), TransitionCause::CustomerSilent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_that_has_changed_asks_anew_and_an_archived_team_gives_way_to_the_one_that_receives() {
    let office = Office::open(1).await;
    let sales = office.second_team(1).await;
    let topic = office.topic("Sales").await;
    let made = office.starts_with(bot(menu(sales, &topic))).await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    let mut changed = menu(sales, &topic);
    changed.pages[0].entries.reverse();
    let change = UpdateBotRequest {
        request_id: new(),
        bot_id: made.id.clone(),
        name: "Menu".into(),
        menu: Some(changed),
        patience_seconds: 600,
        ..Default::default()
    };
    office.bots().update_bot(office.world.request(&office.owner, change)).await.unwrap();
    office.answers(&mail, "1").await;
    assert_eq!(office.said(2).await[1], "What is it about?\n\n1. Something else\n2. Sales");
    let team = office.team.to_string();
    office.set_team(sales, 2, |archived| {
        archived.archived_at = Some(prost_types::Timestamp::default());
        archived.receiving_team_id = team;
    });
    office.until("select count(*) from teams where receiving_id is not null", 1).await;
    let request = GetBotRequest { bot_id: made.id.clone() };
    let shown = office.bots().get_bot(office.world.request(&office.owner, request)).await.unwrap().into_inner();
    let entries = shown.bot.unwrap().menu.unwrap().pages.remove(0).entries;
    assert_eq!((entries[0].team_id.as_str(), &entries[1].team_id), ("", &office.team.to_string()));
    let archived = office.create_bot(bot(menu(sales, &topic))).await.unwrap_err();
    assert_eq!(reason_of(&archived).as_deref(), Some("TEAM_NOT_FOUND"));
    // Whoever was asked before that is not asked anew.
    office.answers(&mail, "2").await;
    let found = office.get(&office.owner, id).await.unwrap();
    assert_eq!((found.state(), found.team_id), (ConversationState::Queued, office.team.to_string()));
    assert_eq!(office.violations().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_that_leads_nowhere_is_refused_with_every_bad_field() {
    let office = Office::open(1).await;
    let mut bad = menu(office.team, &new());
    bad.pages[0].entries[1].page = 3;
    bad.pages[1].texts = texts(&[("ar", "ماذا؟")]);
    bad.farewells = texts(&[("en", "Bye"), ("en", "Bye bye")]);
    bad.most_misunderstood = 11;
    let refused = office.create_bot(bot(bad)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let named = refused.get_details_bad_request().unwrap().field_violations;
    let named: Vec<_> = named.iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "menu.pages[0].entries[1].page",
        "menu.pages[1].texts",
        "menu.farewells",
        "menu.most_misunderstood",
        "menu.pages[1]",
    ];
    assert_eq!(named, expected);
    let unknown = office.create_bot(bot(menu(office.team, &new()))).await.unwrap_err();
    assert_eq!(reason_of(&unknown).as_deref(), Some("TOPIC_NOT_FOUND"));
    let unknown = office.create_bot(bot(menu(Uuid::nil(), &office.topic("Sales").await))).await.unwrap_err();
    assert_eq!(reason_of(&unknown).as_deref(), Some("TEAM_NOT_FOUND"));
}
