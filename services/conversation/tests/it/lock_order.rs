//! The lock order: who waits for an earlier lock has none yet that somebody with that one waits for.

use diwan_proto::conversation::v1::{
    ConversationState, CreateBotRequest, IngestMessageRequest, LocalizedText, MenuBot, MenuEntry, MenuPage,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{overtaken::waits_for, support::Office};

/// Fails where somebody else has locked it.
async fn is_free(tx: &mut PgConnection, query: &'static str, id: Uuid) {
    sqlx::query(query).bind(id).execute(tx).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_a_membership_in_waits_for_the_user_before_he_locks_the_slot() {
    let office = Office::open(0).await;
    let leaver = office.agent().await;
    // As identity's events do: the user first, and then his slots.
    let mut other = office.pool().begin().await.unwrap();
    is_free(&mut other, "select from users where id = $1 for no key update", leaver.user).await;
    office.set_member(&leaver, office.team, 2, false);
    waits_for(&office, &mut other).await;
    is_free(&mut other, "select from slots where user_id = $1 for no key update nowait", leaver.user).await;
    is_free(&mut other, "select from teams where id = $1 for no key update nowait", office.team).await;
    other.rollback().await.unwrap();
    office.until("select count(*) from slots where member", 0).await;
}

fn menu() -> CreateBotRequest {
    let text = |text: &str| vec![LocalizedText { language: "en".into(), text: text.into() }];
    let entries = vec![MenuEntry { labels: text("A person"), ..MenuEntry::default() }];
    let pages = vec![MenuPage { texts: text("Whom do you want?"), entries }];
    let menu = MenuBot { default_language: "en".into(), pages, ..MenuBot::default() };
    CreateBotRequest { menu: Some(menu), patience_seconds: 600, ..CreateBotRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_leads_from_the_bot_to_an_agent_locks_his_slot_before_the_conversation() {
    let office = Office::open(0).await;
    office.set_team(office.team, 2, |team| (team.fallback, team.sticky_owner) = (true, true));
    office.until("select count(*) from teams where sticky_owner", 1).await;
    let agent = office.agent().await;
    let first = office.mail();
    let before = office.deliver(first.clone()).await;
    office.take(&agent, before).await.unwrap();
    office.close(&agent, before).await.unwrap();
    office.starts_with(menu()).await;
    let mail = IngestMessageRequest { from_email: first.from_email, ..office.mail() };
    let id = office.deliver(mail.clone()).await;
    assert_eq!(office.get(&office.owner, id).await.unwrap().state(), ConversationState::Bot);
    // As taking does: the slot first, and then the conversation.
    let mut taking = office.pool().begin().await.unwrap();
    is_free(&mut taking, "select from slots where user_id = $1 for no key update", agent.user).await;
    let answering = async { office.answers(&mail, "1").await };
    let looking = async {
        waits_for(&office, &mut taking).await;
        is_free(&mut taking, "select from conversations where id = $1 for no key update nowait", id).await;
        taking.rollback().await.unwrap();
    };
    let (answered, ()) = tokio::join!(answering, looking);
    assert_eq!(answered, id);
    assert_eq!(office.get(&office.owner, id).await.unwrap().state(), ConversationState::Queued);
    office.audit().await;
}
