//! Who sees what: in a list, by id, in the stream.

use std::collections::BTreeSet;

use diwan_fault::reason_of;
use diwan_proto::{
    access::v1::Role,
    common::v1::PageRequest,
    conversation::v1::{
        ConversationState, IngestMessageRequest, ListConversationsRequest, watch_inbox_response::Event as Shown,
    },
    team::v1::{Team, VisibilityLevel},
};
use diwan_runtime::ids;
use diwan_testkit::{Person, eventually};
use tonic::Code;
use uuid::Uuid;

use crate::support::{LIMIT, Office};

/// One conversation of each kind in each of two teams: what they are, and whether it is the first team.
async fn matrix(office: &Office, me: &Person, other_team: Uuid) -> Vec<(Uuid, &'static str, bool)> {
    let mut all = Vec::new();
    let stranger = ids::new_id();
    for (team, first) in [(office.team, true), (other_team, false)] {
        for (kind, state, holder, last) in [
            ("bot", "BOT", None, None),
            ("queue", "QUEUED", None, None),
            ("mine", "OPEN", Some(me.user), Some(me.user)),
            ("snoozed", "SNOOZED", Some(me.user), Some(me.user)),
            ("closed", "CLOSED", None, Some(me.user)),
            ("others", "OPEN", Some(stranger), Some(stranger)),
            ("others' closed", "CLOSED", None, Some(stranger)),
        ] {
            let id = office.arrive().await;
            sqlx::query(
                "update conversations set team_id = $2, state = $3, holder_id = $4, last_holder_id = $5,
                        queued_at = case when $3 = 'QUEUED' then now() end, closed_at = case when $3 = 'CLOSED' then now() end,
                        snoozed_until = case when $3 = 'SNOOZED' then now() + interval '1 day' end
                 where id = $1",
            )
            .bind(id)
            .bind(team)
            .bind(state)
            .bind(holder)
            .bind(last)
            .execute(office.pool())
            .await
            .unwrap();
            all.push((id, kind, first));
        }
    }
    all
}

async fn listed(office: &Office, person: &Person) -> BTreeSet<Uuid> {
    let page = Some(PageRequest { size: 200, token: String::new() });
    let request = ListConversationsRequest { page, ..Default::default() };
    office.list(person, request).await.into_iter().map(|conversation| conversation.id.parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_single_reads_show_the_same_by_each_level() {
    let office = Office::open(0).await;
    let other = ids::new_id();
    let me = office.agent().await;
    let all = matrix(&office, &me, other).await;
    let held_elsewhere = ["mine", "snoozed"];
    let levels: [(VisibilityLevel, &[&str], bool); 5] = [
        (VisibilityLevel::Default, &["bot", "queue", "mine", "snoozed", "closed"], false),
        (VisibilityLevel::Restricted, &["mine", "snoozed", "closed"], false),
        (VisibilityLevel::Queue, &["queue", "mine", "snoozed", "closed"], false),
        (VisibilityLevel::Wide, &["bot", "queue", "mine", "snoozed", "closed", "others", "others' closed"], false),
        (VisibilityLevel::Wide, &["bot", "queue", "mine", "snoozed", "closed", "others", "others' closed"], true),
    ];
    for (version, (level, kinds, wide)) in (2..).zip(levels) {
        office.set_team(office.team, version, |team| {
            team.visibility_level = level.into();
            team.wide_team_ids = wide.then(|| other.to_string()).into_iter().collect();
        });
        eventually("the level is known", LIMIT, async || office.count("select version from teams").await == version)
            .await;
        let seen = listed(&office, &me).await;
        for (id, kind, first) in &all {
            let expected = if *first || wide { kinds.contains(kind) } else { held_elsewhere.contains(kind) };
            assert_eq!(seen.contains(id), expected, "{level:?} {kind} {first}");
            assert_eq!(office.get(&me, *id).await.is_ok(), expected, "{level:?} {kind} {first}");
        }
    }
    assert_eq!(listed(&office, &office.owner).await.len(), all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_not_see_is_not_found_as_is_what_does_not_exist_or_is_another_account_s() {
    let office = Office::open(0).await;
    let id = office.arrive().await;
    let stranger = office.owner.colleague(Role::User);
    let foreigner = Person::owner();
    let unknown = ids::new_id();
    for (person, id) in [(&stranger, id), (&foreigner, id), (&office.owner, unknown)] {
        let refusals = [
            office.get(person, id).await.unwrap_err(),
            office.take(person, id).await.unwrap_err(),
            office.close(person, id).await.unwrap_err(),
            office.reply(person, id, "Hello").await.unwrap_err(),
        ];
        for status in refusals {
            assert_eq!(
                (status.code(), reason_of(&status).as_deref()),
                (Code::NotFound, Some("CONVERSATION_NOT_FOUND"))
            );
        }
    }
    assert!(listed(&office, &foreigner).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_masked_for_a_user_until_he_holds_the_conversation() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let mut mail = office.mail();
    mail.from_email = "maha@customer.example".into();
    let id = office.deliver(mail).await;
    let email = |conversation: diwan_proto::conversation::v1::Conversation| conversation.contact.unwrap().email;
    assert_eq!(email(office.get(&agent, id).await.unwrap()), "m***@c***.example");
    assert_eq!(email(office.get(&office.owner, id).await.unwrap()), "maha@customer.example");
    let taken = office.take(&agent, id).await.unwrap();
    assert_eq!(email(taken.conversation.unwrap()), "maha@customer.example");
    assert_eq!(email(office.close(&agent, id).await.unwrap()), "m***@c***.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_filters_show_each_conversation_once() {
    let office = Office::open(0).await;
    let mut expected = BTreeSet::new();
    for _ in 0..7 {
        expected.insert(office.arrive().await.to_string());
    }
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let page = Some(PageRequest { size: 3, token });
        let request = ListConversationsRequest {
            page,
            state: ConversationState::Queued.into(),
            team_id: office.team.to_string(),
            ..Default::default()
        };
        let request = office.world.request(&office.owner, request);
        let answer = office.conversations().list_conversations(request).await.unwrap().into_inner();
        seen.extend(answer.conversations.into_iter().map(|conversation| conversation.id));
        token = answer.page.unwrap().next_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    let held = ListConversationsRequest { holder_id: office.owner.user.to_string(), ..Default::default() };
    assert!(office.list(&office.owner, held).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_is_named() {
    let office = Office::open(0).await;
    let request = ListConversationsRequest {
        page: Some(PageRequest { size: 1000, token: "x".into() }),
        state: 77,
        team_id: "team".into(),
        holder_id: "holder".into(),
    };
    let request = office.world.request(&office.owner, request);
    let status = office.conversations().list_conversations(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let named: Vec<_> = tonic_types::StatusExt::get_details_bad_request(&status)
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(named, ["state", "team_id", "holder_id", "page.size", "page.token"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_another_one_takes_leaves_the_stream() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let mut inbox = office.watch(&agent).await;
    let other = office.agent().await;
    // Nobody gets it by itself: the one who is there takes by hand only.
    let request = diwan_proto::conversation::v1::SetAvailabilityRequest {
        request_id: "w".into(),
        state: diwan_proto::conversation::v1::AvailabilityState::Watching.into(),
    };
    office.inbox().set_availability(office.world.request(&agent, request)).await.unwrap();
    let id = office.arrive().await;
    assert_eq!(inbox.change().await.id, id.to_string());
    office.take(&other, id).await.unwrap();
    assert_eq!(inbox.next().await, Shown::GoneConversationId(id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_resumed_misses_nothing_and_repeats_nothing() {
    let office = Office::open(0).await;
    let mut inbox = office.watch(&office.owner).await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(office.arrive().await.to_string());
    }
    let mut seen = vec![inbox.change().await.id];
    let cursor = inbox.cursor.clone();
    drop(inbox);
    for _ in 0..3 {
        expected.push(office.arrive().await.to_string());
    }
    let mut resumed = office.watch_from(&office.owner, &cursor).await.unwrap();
    while seen.len() < expected.len() {
        seen.push(resumed.change().await.id);
    }
    assert_eq!(seen, expected);
    expected.push(office.arrive().await.to_string());
    assert_eq!(&resumed.change().await.id, expected.last().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_narrower_level_hides_leaves_the_stream_and_a_stale_cursor_is_refused() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let mut inbox = office.watch(&agent).await;
    let before = inbox.cursor.clone();
    let mine = office.arrive().await;
    office.held_by(&agent, mine).await;
    let unknown = office.owner.colleague(Role::User).user;
    let id = office.arrive().await;
    office.held_by(&agent, id).await;
    sqlx::query("update conversations set state = 'BOT', holder_id = null, last_holder_id = $2 where id = $1")
        .bind(id)
        .bind(unknown)
        .execute(office.pool())
        .await
        .unwrap();
    office.set_team(office.team, 2, |team| team.visibility_level = VisibilityLevel::Restricted.into());
    eventually("it leaves the stream", LIMIT, async || inbox.next().await == Shown::GoneConversationId(id.to_string()))
        .await;
    let mut resumed = office.watch_from(&agent, &before).await.unwrap();
    let refused = loop {
        if let Err(status) = resumed.try_next().await {
            break status;
        }
    };
    assert_eq!(reason_of(&refused).as_deref(), Some("CURSOR_GONE"));
    let nonsense = office.watch_from(&agent, "nonsense").await.err().unwrap();
    assert_eq!(nonsense.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_is_archived_shows_its_members_nothing_of_other_teams_any_more() {
    let office = Office::open(0).await;
    let (other, heir) = (ids::new_id(), ids::new_id());
    office.set_team(other, 1, |_| {});
    office.set_team(heir, 1, |team| team.visibility_level = VisibilityLevel::Restricted.into());
    office.until("select count(*) from teams", 3).await;
    let wide = |team: &mut Team| {
        team.visibility_level = VisibilityLevel::Wide.into();
        team.wide_team_ids = vec![other.to_string()];
        team.fallback = true;
    };
    office.set_team(office.team, 2, wide);
    office.until("select count(*) from teams where visibility = 4", 1).await;
    let (me, agent) = (office.agent().await, office.agent_of(other).await);
    office.set_member(&me, heir, 1, true);
    office.until("select count(*) from slots where member", 3).await;
    let mail = IngestMessageRequest { team_id: other.to_string(), ..office.mail() };
    let (open, closed) = (office.deliver(mail).await, office.arrive().await);
    office.take(&agent, open).await.unwrap();
    office.take(&me, closed).await.unwrap();
    office.close(&me, closed).await.unwrap();
    let mut inbox = office.watch(&me).await;
    assert_eq!(listed(&office, &me).await, BTreeSet::from([open, closed]));
    office.set_team(office.team, 3, |team| {
        wide(team);
        team.archived_at = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
        team.receiving_team_id = heir.to_string();
    });
    let leaves =
        async { while !matches!(inbox.next().await, Shown::GoneConversationId(gone) if gone == open.to_string()) {} };
    tokio::time::timeout(LIMIT, leaves).await.expect("what he sees no longer leaves his stream");
    assert_eq!(listed(&office, &me).await, BTreeSet::from([closed]), "what he closed himself stays with the team");
    // It comes back with its settings.
    office.set_team(office.team, 4, wide);
    eventually("he sees it again", LIMIT, async || office.get(&me, open).await.is_ok()).await;
}
