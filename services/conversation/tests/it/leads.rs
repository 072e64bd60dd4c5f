//! Team leads: what they see and direct, and how it ends.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::{
    conversation::v1::{
        AvailabilityState, ConversationState, GetReassignmentRequest, ListConversationsRequest,
        ListReassignmentsRequest, Priority, Reassignment, StartReassignmentRequest, TransitionCause,
        watch_inbox_response::Event as Shown,
    },
    team::v1::{Membership, MembershipChanged},
};
use diwan_runtime::{Clock as _, MockClock, SystemClock, ids};
use diwan_testkit::{Person, eventually};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    acts::ahead,
    support::{Inbox, LIMIT, Office},
};

impl Office {
    /// Team says whether a member leads.
    pub async fn set_lead(&self, person: &Person, team: Uuid, version: i64, lead: bool) {
        let (team_id, user_id) = (team.to_string(), person.user.to_string());
        let membership = Membership { team_id, user_id, lead, ..Default::default() };
        let changed = MembershipChanged { membership: Some(membership), member: true };
        self.teams.write(person.account, ids::new_id(), version, &changed);
        let query = "select count(*) from slots where user_id = $1 and team_id = $2 and lead = $3 and member";
        eventually("the mark is known", LIMIT, async || {
            let query = sqlx::query_scalar::<_, i64>(query).bind(person.user).bind(team).bind(lead);
            query.fetch_one(self.pool()).await.unwrap() == 1
        })
        .await;
    }

    /// A new member of a team who leads it.
    pub async fn lead_of(&self, team: Uuid) -> Person {
        let person = self.agent_of(team).await;
        self.set_lead(&person, team, 2, true).await;
        person
    }

    async fn reassign_as(&self, by: &Person, request: StartReassignmentRequest) -> Result<Reassignment, Status> {
        let request = StartReassignmentRequest { request_id: ids::new_id().to_string(), ..request };
        let answer = self.handling().start_reassignment(self.world.request(by, request)).await?;
        Ok(answer.into_inner().reassignment.unwrap())
    }

    async fn reassignments(&self, by: &Person) -> Result<Vec<String>, Status> {
        let request = self.world.request(by, ListReassignmentsRequest::default());
        let found = self.handling().list_reassignments(request).await?.into_inner().reassignments;
        Ok(found.into_iter().map(|reassignment| reassignment.id).collect())
    }

    /// A conversation that somebody has taken.
    async fn held_in(&self, team: Uuid, holder: &Person) -> Uuid {
        let id = self.deliver(self.mail_to(team)).await;
        self.take(holder, id).await.unwrap();
        id
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

fn not_allowed() -> (Code, String) {
    (Code::PermissionDenied, "PERMISSION_DENIED".into())
}

fn not_found() -> (Code, String) {
    (Code::NotFound, "CONVERSATION_NOT_FOUND".into())
}

/// Watches without being given anything.
async fn watch(office: &Office, person: &Person) -> Inbox {
    let inbox = office.watch(person).await;
    office.set_availability(person, AvailabilityState::Watching).await.unwrap();
    inbox
}

/// Waits until a conversation leaves the stream. What left just before the stream began may leave it
/// once more: its first look reaches back to the oldest transaction that was still open.
async fn gone(inbox: &mut Inbox, conversation: Uuid) {
    let wanted = Shown::GoneConversationId(conversation.to_string());
    while inbox.next().await != wanted {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_sees_everything_of_his_team_in_get_list_and_stream_and_nothing_more_of_others() {
    let office = Office::open(0).await;
    let other = office.second_team(0).await;
    let (agent, colleague) = (office.agent().await, office.agent_of(other).await);
    let lead = office.agent().await;
    let (held, elsewhere) = (office.held_in(office.team, &agent).await, office.held_in(other, &colleague).await);
    let closed = office.held_in(office.team, &agent).await;
    office.close(&agent, closed).await.unwrap();
    assert_eq!(refusal(office.get(&lead, held).await), not_found());
    office.set_lead(&lead, office.team, 2, true).await;
    for id in [held, closed] {
        let seen = office.get(&lead, id).await.unwrap();
        assert!(seen.contact.unwrap().email.contains('*'), "he holds it no more than before: its contact is masked");
    }
    let mut listed: Vec<_> = office.list(&lead, ListConversationsRequest::default()).await;
    listed.sort_by_key(|conversation| conversation.created_at.map(|at| (at.seconds, at.nanos)));
    assert_eq!(listed.iter().map(|seen| &seen.id).collect::<Vec<_>>(), [&held.to_string(), &closed.to_string()]);
    assert_eq!(refusal(office.get(&lead, elsewhere).await), not_found());
    let mut inbox = office.watch(&lead).await;
    let before = office.get(&lead, held).await.unwrap().version;
    office.reply(&colleague, elsewhere, "Not for him").await.unwrap();
    office.reply(&agent, held, "Soon").await.unwrap();
    // What happened just before the stream began may be told once more.
    loop {
        let shown = inbox.change().await;
        assert_ne!(shown.id, elsewhere.to_string());
        if shown.id == held.to_string() && shown.version > before {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_does_for_others_in_his_team_what_an_administrator_may() {
    let office = Office::open(1).await;
    let (agent, colleague, lead) = (office.agent().await, office.agent().await, office.lead_of(office.team).await);
    let id = office.held_in(office.team, &agent).await;
    office.set_priority(&lead, id, Priority::High).await.unwrap();
    let topic = office.create_topic(&office.owner, "Lamps", "").await.unwrap();
    office.label(&lead, id, &[&topic]).await.unwrap();
    let until = ahead(SystemClock.now(), Duration::from_hours(1));
    office.snooze(&lead, id, until).await.unwrap();
    office.unsnooze(&lead, id).await.unwrap();
    // Take away and give, above a limit too; the record names him.
    let given = office.assign(&lead, id, &colleague).await.unwrap();
    assert_eq!(given.conversation.unwrap().holder_id, colleague.user.to_string());
    let record = office.last_transition(id).await;
    assert_eq!((record.cause(), record.actor_id), (TransitionCause::Assigned, lead.user.to_string()));
    let second = office.held_in(office.team, &agent).await;
    assert!(office.assign(&lead, second, &colleague).await.unwrap().over_limit);
    assert!(office.assign(&lead, second, &lead).await.is_ok());
    office.hand_over(&lead, id, (Some(office.team), None)).await.unwrap();
    office.close(&lead, second).await.unwrap();
    assert_eq!(refusal(office.reply(&lead, id, "Hello").await), (Code::FailedPrecondition, "NOT_HOLDER".into()));
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_has_no_power_over_another_team_nor_over_what_is_handed_out_of_his() {
    let office = Office::open(0).await;
    let other = office.second_team(0).await;
    let (agent, colleague) = (office.agent().await, office.agent_of(other).await);
    let lead = office.lead_of(office.team).await;
    // He is a member there, too: what he sees of its queue he may take, and no more.
    office.set_member(&lead, other, 1, true);
    office.until("select count(*) from slots where member", 4).await;
    let waiting = office.deliver(office.mail_to(other)).await;
    assert_eq!(refusal(office.assign(&lead, waiting, &colleague).await), not_allowed());
    let until = ahead(SystemClock.now(), Duration::from_hours(1));
    assert_eq!(refusal(office.snooze(&lead, waiting, until).await).1, "NOT_HOLDER");
    assert_eq!(refusal(office.close(&lead, waiting).await).1, "NOT_HOLDER");
    let foreign = office.held_in(other, &colleague).await;
    for refused in [refusal(office.assign(&lead, foreign, &lead).await), refusal(office.close(&lead, foreign).await)] {
        assert_eq!(refused, not_found());
    }
    let mut inbox = watch(&office, &lead).await;
    let id = office.held_in(office.team, &agent).await;
    office.hand_over(&lead, id, (Some(other), Some(colleague.user))).await.unwrap();
    gone(&mut inbox, id).await;
    assert_eq!(refusal(office.get(&lead, id).await), not_found());
    assert_eq!(refusal(office.close(&lead, id).await), not_found());
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_mark_loses_sight_and_power_and_nothing_of_his_own() {
    let office = Office::open(0).await;
    let (agent, lead) = (office.agent().await, office.lead_of(office.team).await);
    let (held, own) = (office.held_in(office.team, &agent).await, office.held_in(office.team, &lead).await);
    let mut inbox = office.watch(&lead).await;
    let counts = "select automatic_count from slots where user_id = $1";
    sqlx::query("update slots set automatic_count = 7 where user_id = $1")
        .bind(lead.user)
        .execute(office.pool())
        .await
        .unwrap();
    office.set_lead(&lead, office.team, 3, false).await;
    gone(&mut inbox, held).await;
    assert_eq!(refusal(office.get(&lead, held).await), not_found());
    assert_eq!(refusal(office.assign(&lead, own, &agent).await), not_allowed());
    office.close(&lead, own).await.unwrap();
    // An older event brings nothing back, and the mark is no reason to count anew.
    office.set_lead(&lead, office.team, 4, true).await;
    let count: i64 = sqlx::query_scalar(counts).bind(lead.user).fetch_one(office.pool()).await.unwrap();
    assert_eq!(count, 7);
    // With the membership it ends as well, and who comes back is a member like the others.
    office.set_member(&lead, office.team, 5, false);
    office.until("select count(*) from slots where lead", 0).await;
    office.set_member(&lead, office.team, 6, true);
    office.until("select count(*) from slots where member", 2).await;
    assert_eq!(refusal(office.get(&lead, held).await), not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_reassigns_within_his_team_and_finds_only_those_reassignments() {
    let office = Office::open(0).await;
    let other = office.second_team(0).await;
    let (agent, colleague) = (office.agent().await, office.agent().await);
    office.set_member(&agent, other, 1, true);
    let lead = office.lead_of(office.team).await;
    office.until("select count(*) from slots where member", 4).await;
    for _ in 0..3 {
        office.held_in(office.team, &agent).await;
    }
    let outside = office.held_in(other, &agent).await;
    let (holder_id, to_user_id) = (agent.user.to_string(), colleague.user.to_string());
    let anywhere = StartReassignmentRequest { holder_id, to_user_id, ..Default::default() };
    let within = StartReassignmentRequest { team_id: office.team.to_string(), ..anywhere.clone() };
    let out = StartReassignmentRequest { to_team_id: other.to_string(), to_user_id: String::new(), ..within.clone() };
    let into = StartReassignmentRequest {
        team_id: other.to_string(),
        to_team_id: office.team.to_string(),
        ..anywhere.clone()
    };
    for beyond in [anywhere.clone(), out, into] {
        assert_eq!(refusal(office.reassign_as(&lead, beyond).await), not_allowed());
    }
    let own = office.reassign_as(&lead, within).await.unwrap();
    let done = office.reassigned(&own.id).await;
    assert_eq!((done.moved, done.actor_id), (3, lead.user.to_string()));
    assert_eq!(office.get(&office.owner, outside).await.unwrap().holder_id, agent.user.to_string());
    let owners = office.reassign_as(&office.owner, anywhere).await.unwrap();
    assert_eq!(office.reassignments(&lead).await.unwrap(), std::slice::from_ref(&own.id));
    assert_eq!(office.reassignments(&office.owner).await.unwrap(), [owners.id.clone(), own.id]);
    let request = office.world.request(&lead, GetReassignmentRequest { reassignment_id: owners.id });
    let hidden = office.handling().get_reassignment(request).await;
    assert_eq!(refusal(hidden), (Code::NotFound, "REASSIGNMENT_NOT_FOUND".into()));
    assert_eq!(refusal(office.reassignments(&agent).await), not_allowed());
    assert!(office.reassignments(&office.owner.colleague(diwan_proto::access::v1::Role::Admin)).await.is_ok());
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_of_an_archived_team_keeps_what_is_left_there_and_gets_nothing_of_what_has_moved() {
    let office = Office::open(0).await;
    let heir = office.second_team(0).await;
    let (agent, lead) = (office.agent().await, office.lead_of(office.team).await);
    let (moves, stays) = (office.held_in(office.team, &agent).await, office.held_in(office.team, &agent).await);
    office.close(&agent, stays).await.unwrap();
    let mut inbox = watch(&office, &lead).await;
    office.set_team(office.team, 2, |team| {
        team.archived_at = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
        team.receiving_team_id = heir.to_string();
    });
    gone(&mut inbox, moves).await;
    assert_eq!(refusal(office.get(&lead, moves).await), not_found());
    assert_eq!(office.get(&lead, stays).await.unwrap().state(), ConversationState::Closed);
    // Back in use, it is his again.
    office.set_team(office.team, 3, |_| {});
    office.until("select count(*) from teams where receiving_id is null", 2).await;
    let id = office.held_in(office.team, &agent).await;
    office.close(&lead, id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_is_alerted_of_long_waits_in_his_team_only() {
    let clock = MockClock::at(jiff::Timestamp::from_second(1_800_000_000).unwrap());
    let office = Office::open_at(&clock, 0).await;
    let other = office.second_team(0).await;
    let lead = office.lead_of(other).await;
    let mut inbox = watch(&office, &lead).await;
    for (team, version) in [(office.team, 2), (other, 2)] {
        office.set_team(team, version, |team| team.wait_alert_seconds = 60);
    }
    office.until("select count(*) from teams where wait_alert_seconds = 60", 2).await;
    let (_, his) = (office.arrive().await, office.deliver(office.mail_to(other)).await);
    clock.advance(Duration::from_mins(2));
    office.until("select count(*) from feed_events where kind like '%.ConversationWaitsLong'", 2).await;
    let alert = loop {
        if let Shown::WaitsLong(alert) = inbox.next().await {
            break alert.conversation.unwrap();
        }
    };
    assert_eq!(alert.id, his.to_string());
    assert!(alert.contact.unwrap().email.contains('*'));
    office.close(&office.owner, his).await.unwrap();
    loop {
        match inbox.next().await {
            Shown::WaitsLong(other) => panic!("not his: {other:?}"),
            Shown::Changed(_) => break,
            _ => {}
        }
    }
}
