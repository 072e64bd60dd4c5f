//! Large mails: what is shown of them comes in answers that every client can read.

use std::collections::BTreeSet;

use diwan_fault::reason_of;
use diwan_proto::{
    common::v1::{PageInfo, PageRequest},
    conversation::v1::{
        AddNoteRequest, CreateRoutingRuleRequest, IngestMessageRequest, ListBotTurnsRequest, ListBotsRequest,
        ListMessagesRequest, ListNotesRequest, ListRoutingRulesResponse, RoutingConditions, RoutingRule,
        UpdateRoutingRuleRequest, note_service_client::NoteServiceClient,
        routing_rule_service_client::RoutingRuleServiceClient,
    },
};
use prost::Message as _;
use tonic::{Code, Status};

use crate::{
    bot_bounds::menu,
    bot_calls::{Robot, new},
    support::Office,
};

/// What one answer may have, if it has more than one entry: a mebibyte of texts, and a little around each.
const LARGEST: usize = 1_100_000;
/// As long as the mailbox hands them on.
const LONG: usize = 450_000;
/// Longer than an answer.
const LONGEST: usize = 1_500_000;

/// All entries of a list, page by page, of which there are several, each small enough or with one entry.
async fn all<A: prost::Message, T>(
    page: impl AsyncFn(PageRequest) -> A,
    read: impl Fn(A) -> (Vec<T>, Option<PageInfo>),
) -> Vec<T> {
    let (mut token, mut found, mut pages) = (String::new(), Vec::new(), 0);
    loop {
        let answer = page(PageRequest { size: 200, token }).await;
        let bytes = answer.encoded_len();
        let (entries, info) = read(answer);
        assert!(!entries.is_empty() && (bytes <= LARGEST || entries.len() == 1), "{bytes} in {}", entries.len());
        found.extend(entries);
        (pages, token) = (pages + 1, info.unwrap().next_token);
        if token.is_empty() {
            assert!(pages > 1);
            return found;
        }
    }
}

/// As many mails as no client reads in one answer, and one that is too large for any other beside it.
async fn deliver(office: &Office) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for length in [LONG; 9].into_iter().chain([LONGEST]) {
        let mail = IngestMessageRequest { text: "x".repeat(length), ..office.mail() };
        ids.insert(office.deliver(mail).await.to_string());
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_claims_as_many_large_mails_as_an_answer_holds_and_the_rest_with_the_next_ones() {
    let office = Office::open(0).await;
    let robot = office.external_bot().await;
    let waiting = deliver(&office).await;
    let (mut claimed, mut claims) = (BTreeSet::new(), 0);
    loop {
        let claim = robot.claim().await;
        if claim.turns.is_empty() {
            break;
        }
        let (bytes, turns) = (claim.encoded_len(), claim.turns.len());
        assert!(bytes <= LARGEST || turns == 1, "{bytes} in {turns}");
        for turn in claim.turns {
            let id = turn.conversation.unwrap().id;
            robot.answer(id.parse().unwrap(), &claim.claim_id, "Here you are.", false).await.unwrap();
            assert!(claimed.insert(id));
        }
        claims += 1;
    }
    assert_eq!(claimed, waiting);
    assert!(claims < waiting.len(), "several at a time where they fit");
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_of_small_mails_takes_them_all() {
    let office = Office::open(0).await;
    let robot = office.external_bot().await;
    for _ in 0..20 {
        office.arrive().await;
    }
    assert_eq!(robot.claim().await.turns.len(), 20);
}

async fn turns(robot: &Robot<'_>) -> BTreeSet<String> {
    let list = async |page| {
        let request = robot.request(ListBotTurnsRequest { page: Some(page) });
        robot.office.turns().list_bot_turns(request).await.unwrap().into_inner()
    };
    let turns = all(list, |answer| (answer.turns, answer.page)).await;
    turns.into_iter().map(|turn| turn.conversation.unwrap().id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_reads_its_turns_with_large_mails_page_by_page() {
    let office = Office::open(0).await;
    let robot = office.external_bot().await;
    let waiting = deliver(&office).await;
    assert_eq!(turns(&robot).await, waiting);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_of_large_mails_is_read_page_by_page_each_once_and_in_order() {
    let office = Office::open(0).await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    for length in [1, LONG, LONG, 10, LONGEST, LONG, LONG, LONG, LONG, LONG, 2, LONG] {
        assert_eq!(office.answers(&mail, &"x".repeat(length)).await, id);
    }
    let list = async |page| {
        let request = ListMessagesRequest { conversation_id: id.to_string(), page: Some(page) };
        office.conversations().list_messages(office.world.request(&office.owner, request)).await.unwrap().into_inner()
    };
    let messages = all(list, |answer| (answer.messages, answer.page)).await;
    let lengths: Vec<usize> = messages.iter().map(|message| message.text.len()).collect();
    let first = mail.text.len();
    assert_eq!(lengths, [first, 1, LONG, LONG, 10, LONGEST, LONG, LONG, LONG, LONG, LONG, 2, LONG]);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_notes_are_read_page_by_page() {
    let office = Office::open(0).await;
    let id = office.arrive().await.to_string();
    let mut notes = NoteServiceClient::new(office.world.to("conversation"));
    for _ in 0..30 {
        let (request_id, conversation_id, text) = (new(), id.clone(), "\u{1f4a1}".repeat(10_000));
        let note = AddNoteRequest { request_id, conversation_id, text };
        notes.add_note(office.world.request(&office.owner, note)).await.unwrap();
    }
    let list = async |page| {
        let request = ListNotesRequest { conversation_id: id.clone(), page: Some(page) };
        notes.clone().list_notes(office.world.request(&office.owner, request)).await.unwrap().into_inner()
    };
    assert_eq!(all(list, |answer| (answer.notes, answer.page)).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_menus_are_read_page_by_page() {
    let office = Office::open(0).await;
    for _ in 0..4 {
        office.create_bot(menu("a", 2_000)).await.unwrap();
    }
    let list = async |page| {
        let request = ListBotsRequest { include_retired: false, page: Some(page) };
        office.bots().list_bots(office.world.request(&office.owner, request)).await.unwrap().into_inner()
    };
    assert_eq!(all(list, |answer| (answer.bots, answer.page)).await.len(), 4);
}

/// As large as one rule can be by its words, or small.
fn conditions(large: bool) -> RoutingConditions {
    let word = "\u{10400}".repeat(if large { 100 } else { 1 });
    RoutingConditions { keywords: vec![word; 100], ..RoutingConditions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_rules_together_stay_small_enough_for_one_answer() {
    let office = Office::open(0).await;
    let team_id = office.team.to_string();
    let create = async |large| {
        let rule = CreateRoutingRuleRequest {
            conditions: Some(conditions(large)),
            team_id: team_id.clone(),
            ..Default::default()
        };
        office.try_rule(rule).await
    };
    let update = async |rule: &RoutingRule, large| {
        let (request_id, name, rule_id) = (new(), rule.name.clone(), rule.id.clone());
        let (conditions, team_id) = (Some(conditions(large)), team_id.clone());
        let rule = UpdateRoutingRuleRequest { request_id, rule_id, name, conditions, team_id, ..Default::default() };
        let mut rules = RoutingRuleServiceClient::new(office.world.to("conversation"));
        rules.update_routing_rule(office.world.request(&office.owner, rule)).await.map(drop)
    };
    let too_large = |refused: &Status| {
        (refused.code(), reason_of(refused)) == (Code::FailedPrecondition, Some("RULES_TOO_LARGE".into()))
    };
    let (small, first) = (create(false).await.unwrap(), create(true).await.unwrap());
    let mut made = 2;
    let refused = loop {
        match create(true).await {
            Ok(_) => made += 1,
            Err(refused) => break refused,
        }
    };
    assert!(too_large(&refused), "{refused:?}");
    let rules = office.rule_list().await;
    assert!(made == rules.len() && made > 50);
    let bytes = ListRoutingRulesResponse { rules }.encoded_len();
    assert!((2_050_000..2_100_000).contains(&bytes), "{bytes}");
    assert!(too_large(&update(&small, true).await.unwrap_err()));
    update(&first, false).await.unwrap();
    update(&small, true).await.unwrap();
    assert!(too_large(&create(true).await.unwrap_err()));
    create(false).await.unwrap();
}
