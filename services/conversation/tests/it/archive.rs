//! A team is archived in favour of another, and comes back.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    ArchiveState, ConversationState, GetArchiveProgressRequest, GetArchiveProgressResponse, IngestMessageRequest,
    PreviewArchiveRequest, PreviewArchiveResponse, TransitionCause, archive_service_client::ArchiveServiceClient,
};
use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_testkit::eventually;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    acts::ahead,
    support::{LIMIT, Office},
};

impl Office {
    pub fn archive(&self, team: Uuid, heir: Uuid, version: i64) {
        self.set_team(team, version, |team| {
            team.archived_at = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
            team.receiving_team_id = heir.to_string();
        });
    }

    async fn preview(&self, team: Uuid, heir: Uuid) -> Result<PreviewArchiveResponse, Status> {
        let request = PreviewArchiveRequest { team_id: team.to_string(), receiving_team_id: heir.to_string() };
        let mut client = ArchiveServiceClient::new(self.world.to("conversation"));
        Ok(client.preview_archive(self.world.request(&self.owner, request)).await?.into_inner())
    }

    async fn progress(&self, team: Uuid) -> GetArchiveProgressResponse {
        let request = GetArchiveProgressRequest { team_id: team.to_string() };
        let mut client = ArchiveServiceClient::new(self.world.to("conversation"));
        client.get_archive_progress(self.world.request(&self.owner, request)).await.unwrap().into_inner()
    }

    async fn archived(&self, team: Uuid) -> GetArchiveProgressResponse {
        eventually("nothing is left with the team", LIMIT, async || {
            let progress = self.progress(team).await;
            (progress.state() == ArchiveState::Done).then_some(progress)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_who_belongs_to_the_receiving_team_keeps_his_and_the_others_wait_there() {
    let office = Office::open(0).await;
    let heir = office.second_team(1).await;
    let (stays, leaves) = (office.agent().await, office.agent().await);
    office.set_member(&stays, heir, 1, true);
    office.until("select count(*) from slots where member", 3).await;
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(office.arrive().await);
    }
    for (person, id) in [(&stays, ids[0]), (&stays, ids[1]), (&stays, ids[2]), (&leaves, ids[3]), (&leaves, ids[4])] {
        office.take(person, id).await.unwrap();
    }
    office.snooze(&stays, ids[2], ahead(SystemClock.now(), Duration::from_hours(1))).await.unwrap();
    office.close(&leaves, ids[4]).await.unwrap();

    let preview = office.preview(office.team, heir).await.unwrap();
    assert_eq!((preview.conversations, preview.with_holder, preview.queued), (5, 3, 2));
    assert_eq!((preview.members, preview.joining_members, preview.active_receivers), (2, 1, 0));
    assert_eq!((preview.free_slots, preview.receiving_queue), (Some(0), 0));
    assert_eq!(office.progress(office.team).await.state(), ArchiveState::Active);

    office.archive(office.team, heir, 2);
    let done = office.archived(office.team).await;
    assert_eq!((done.moved, done.left, done.receiving_team_id), (5, 0, heir.to_string()));
    for (id, state) in [
        (ids[0], ConversationState::Open),
        (ids[1], ConversationState::Open),
        (ids[2], ConversationState::Snoozed),
        (ids[3], ConversationState::Queued),
        (ids[5], ConversationState::Queued),
    ] {
        let found = office.get(&office.owner, id).await.unwrap();
        assert_eq!((found.state(), &found.team_id), (state, &heir.to_string()));
        assert_eq!(found.holder_id == stays.user.to_string(), state != ConversationState::Queued);
        assert_eq!(office.transitions(id).await.last().unwrap().cause(), TransitionCause::TeamArchived);
    }
    let over = office.transitions(ids[0]).await.last().unwrap().over_limit
        || office.transitions(ids[1]).await.last().unwrap().over_limit;
    assert!(over, "the second one is above the receiving team's limit, and the record says so");
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_for_an_archived_team_goes_to_the_one_that_has_taken_its_place_at_last() {
    let office = Office::open(0).await;
    let (heir, agent) = (office.second_team(0).await, office.agent().await);
    let last = ids::new_id();
    office.set_team(last, 1, |_| {});
    office.until("select count(*) from teams", 3).await;
    let first = office.mail();
    let closed = office.deliver(first.clone()).await;
    office.take(&agent, closed).await.unwrap();
    office.close(&agent, closed).await.unwrap();
    let mine = office.arrive().await;
    office.archive(office.team, heir, 2);
    office.archived(office.team).await;
    office.archive(heir, last, 2);
    office.archived(heir).await;

    // The first one still names the second one: its next event is on its way.
    let new = office.arrive().await;
    let answer = office.mail();
    let again = IngestMessageRequest { from_email: first.from_email, references: vec![first.rfc_message_id], ..answer };
    assert_eq!(office.deliver(again).await, closed);
    office.hand_over(&office.owner, mine, (Some(office.team), None)).await.unwrap();
    for id in [new, closed, mine] {
        let found = office.get(&office.owner, id).await.unwrap();
        assert_eq!((found.state(), &found.team_id), (ConversationState::Queued, &last.to_string()));
    }
    let refused = office.preview(office.team, last).await.unwrap_err();
    assert_eq!((refused.code(), reason_of(&refused).as_deref()), (Code::NotFound, Some("TEAM_NOT_FOUND")));
    assert_eq!(office.progress(office.team).await.state(), ArchiveState::Done);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_comes_back_while_its_conversations_move_keeps_those_that_are_left() {
    const ALL: i32 = 3_000;
    let office = Office::open(0).await;
    let heir = office.second_team(0).await;
    let one = office.arrive().await;
    sqlx::query(
        "insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at,
                                    queued_at, last_message_at)
         select account_id, gen_random_uuid(), team_id, contact_id, 'QUEUED', '', '', 1, now(),
                now() - make_interval(secs => number), now()
         from conversations, generate_series(2, $2) number where id = $1",
    )
    .bind(one)
    .bind(ALL)
    .execute(office.pool())
    .await
    .unwrap();
    // The chunk with this one waits, a few chunks after the first.
    let mut blocking = office.pool().begin().await.unwrap();
    sqlx::query("select from conversations where id = (select id from conversations order by queued_at offset 500 limit 1) for update")
        .execute(&mut *blocking)
        .await
        .unwrap();
    office.archive(office.team, heir, 2);
    eventually("some have moved", LIMIT, async || office.progress(office.team).await.moved >= 400).await;
    office.set_team(office.team, 3, |team| team.fallback = true);
    blocking.commit().await.unwrap();
    eventually("it is active", LIMIT, async || office.progress(office.team).await.state() == ArchiveState::Active)
        .await;
    let moved = office.progress(office.team).await.moved;
    assert!((400..ALL).contains(&moved), "{moved} have moved");
    assert_eq!(
        office.count("select count(*) from conversations c join teams t on t.id = c.team_id and t.fallback").await,
        i64::from(ALL - moved)
    );
    let new = office.arrive().await;
    assert_eq!(office.get(&office.owner, new).await.unwrap().team_id, office.team.to_string());
    assert_eq!(office.count("select sum(archive_moved) from teams").await, i64::from(moved), "nothing moves any more");
}
