//! How far a bot may go: how long it talks, over what it closes, how large its menu is.

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    ConversationState, CreateBotRequest, LocalizedText, MenuBot, MenuEntry, MenuPage, TransitionCause,
};
use diwan_runtime::MockClock;
use diwan_testkit::bad_fields;

use crate::support::Office;

fn clock() -> MockClock {
    MockClock::at("2026-11-23T09:00Z".parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_does_not_say_so_gets_a_person_after_thirty_turns_of_an_external_bot() {
    let office = Office::open_at(&clock(), 0).await;
    let _robot = office.external_bot().await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    for _ in 1..30 {
        office.answers(&mail, "I am away until Monday.").await;
    }
    assert_eq!(office.get(&office.owner, id).await.unwrap().state(), ConversationState::Bot, "thirty turns");
    assert_eq!(office.answers(&mail, "I am away until Monday.").await, id);
    assert_eq!(office.get(&office.owner, id).await.unwrap().state(), ConversationState::Queued);
    assert_eq!(office.last_transition(id).await.cause(), TransitionCause::BotFailed);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_does_not_close_over_a_message_that_it_has_not_seen() {
    let office = Office::open_at(&clock(), 0).await;
    let robot = office.external_bot().await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    let claimed = robot.claim().await;
    office.answers(&mail, "Wait, one more thing.").await;
    let refused = robot.close(id, &claimed.claim_id).await.unwrap_err();
    assert_eq!(reason_of(&refused).as_deref(), Some("CUSTOMER_WROTE"));
    assert_eq!(office.get(&office.owner, id).await.unwrap().state(), ConversationState::Bot);
    robot.answer(id, &claimed.claim_id, "Here you are.", false).await.unwrap();
    let next = robot.claim().await;
    assert_eq!(next.turns[0].message.as_ref().unwrap().text, "Wait, one more thing.");
    assert_eq!(robot.close(id, &next.claim_id).await.unwrap().state(), ConversationState::Closed);
    office.audit().await;
}

/// Pages that lead from one to the next, with texts of so many letters in all four languages.
pub fn menu(letter: &str, letters: usize) -> CreateBotRequest {
    let text = |language: &&str| LocalizedText { language: (*language).to_owned(), text: letter.repeat(letters) };
    let pages = (1..=50).map(|page| MenuPage {
        texts: ["ar", "en", "es", "pt"].iter().map(text).collect(),
        entries: vec![MenuEntry {
            labels: vec![LocalizedText { language: "en".into(), text: "On".into() }],
            page: if page < 50 { page + 1 } else { 1 },
            ..MenuEntry::default()
        }],
    });
    let menu = MenuBot { default_language: "en".into(), pages: pages.collect(), ..MenuBot::default() };
    CreateBotRequest { menu: Some(menu), patience_seconds: 600, ..CreateBotRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_menu_that_no_event_would_hold_is_refused_and_one_within_its_bounds_is_not() {
    let office = Office::open(0).await;
    office.create_bot(menu("a", 2_000)).await.unwrap();
    let refused = office.create_bot(menu("ش", 2_000)).await.unwrap_err();
    assert_eq!(bad_fields(&refused), ["menu"]);
}
