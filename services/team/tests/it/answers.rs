//! What a team wants where its holders do not answer, and what it replies by itself.

use diwan_proto::team::v1::{AutomaticReply, AutomaticReplyText, CreateTeamRequest, Team};
use tonic::Code;

use diwan_testkit::bad_fields;

use crate::support::{Teams, named};

fn text(language: &str, text: &str) -> AutomaticReplyText {
    AutomaticReplyText { language: language.into(), text: text.into() }
}

#[tokio::test]
async fn a_team_keeps_what_it_was_told_of_unanswered_conversations_and_closed_hours() {
    let (teams, general) = Teams::with_fallback().await;
    assert_eq!(
        (general.no_answer_after_minutes, general.reassign_when_offline, general.automatic_reply),
        (0, false, None)
    );
    let reply =
        AutomaticReply { enabled: true, texts: vec![text("ar", "نعود {opens_at}"), text("en", "Back {opens_at}")] };
    let asked = CreateTeamRequest {
        no_answer_after_minutes: 10,
        reassign_when_offline: true,
        automatic_reply: Some(reply.clone()),
        ..named("Support")
    };
    let made = teams.create(0, asked).await.unwrap();
    assert_eq!((made.no_answer_after_minutes, made.reassign_when_offline), (10, true));
    assert_eq!(made.automatic_reply, Some(reply.clone()));

    // What the mask does not name stays, and each change is told in the feed.
    let off = Team { no_answer_after_minutes: 0, automatic_reply: None, ..made.clone() };
    let changed = teams.update(1, off, &["no_answer_after_minutes"]).await.unwrap();
    assert_eq!(changed, Team { no_answer_after_minutes: 0, version: 2, ..made.clone() });
    let silent = Team { reassign_when_offline: false, automatic_reply: None, ..changed };
    let changed = teams.update(0, silent, &["reassign_when_offline", "automatic_reply"]).await.unwrap();
    assert_eq!((changed.reassign_when_offline, changed.automatic_reply.clone(), changed.version), (false, None, 3));
    assert_eq!(teams.team_changes().await.last(), Some(&(3, changed)));
}

#[tokio::test]
async fn every_bad_field_of_an_automatic_reply_is_named() {
    let (teams, general) = Teams::with_fallback().await;
    let texts = vec![text("en", "One"), text("en", "Two"), text("de", "Drei"), text("ar", "")];
    let reply = Some(AutomaticReply { enabled: true, texts });
    let bad = Team { no_answer_after_minutes: 10_081, automatic_reply: reply, ..general.clone() };
    let refusal = teams.update(0, bad, &["no_answer_after_minutes", "automatic_reply"]).await.unwrap_err();
    assert_eq!(refusal.code(), Code::InvalidArgument);
    let expected = [
        "team.no_answer_after_minutes",
        "team.automatic_reply.texts[1].language",
        "team.automatic_reply.texts[2].language",
        "team.automatic_reply.texts[3].text",
    ];
    assert_eq!(bad_fields(&refusal), expected);
    let many = Some(AutomaticReply { enabled: false, texts: vec![text("en", "One"); 5] });
    let refusal = teams.update(0, Team { automatic_reply: many, ..general }, &["automatic_reply"]).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["team.automatic_reply.texts"]);
    let long = AutomaticReply { enabled: true, texts: vec![text("pt", &"x".repeat(2001))] };
    let asked = CreateTeamRequest { no_answer_after_minutes: -1, automatic_reply: Some(long), ..named("Long") };
    let refusal = teams.create(0, asked).await.unwrap_err();
    assert_eq!(bad_fields(&refusal), ["no_answer_after_minutes", "automatic_reply.texts[0].text"]);
}
