//! The live board of a team.

use std::time::Duration;

use diwan_fault::reason_of;
use diwan_proto::{
    access::v1::Role,
    conversation::v1::{
        Availability, AvailabilityState, Board, GetBoardRequest, Priority, SetAvailabilityRequest,
        SetMemberAvailabilityRequest, WatchBoardRequest, WatchBoardResponse, WatchInboxRequest,
        board_service_client::BoardServiceClient, watch_board_response::Event as Shown,
    },
    identity::v1::UserState,
};
use diwan_runtime::ids;
use diwan_testkit::{Person, eventually};
use diwan_transport::Transport;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

use crate::support::Office;

const LONG: Duration = Duration::from_secs(30);

impl Office {
    fn boards(&self) -> BoardServiceClient<Transport> {
        BoardServiceClient::new(self.world.to("conversation"))
    }

    async fn board(&self, by: &Person, team: Uuid) -> Result<Board, Status> {
        let request = self.world.request(by, GetBoardRequest { team_id: team.to_string() });
        Ok(self.boards().get_board(request).await?.into_inner().board.unwrap())
    }

    async fn watch_board(&self, by: &Person, team: Uuid) -> Result<Streaming<WatchBoardResponse>, Status> {
        let request = self.world.request(by, WatchBoardRequest { team_id: team.to_string() });
        Ok(self.boards().watch_board(request).await?.into_inner())
    }

    pub async fn set_availability(&self, by: &Person, state: AvailabilityState) -> Result<(), Status> {
        let request = SetAvailabilityRequest { request_id: ids::new_id().to_string(), state: state.into() };
        self.inbox().set_availability(self.world.request(by, request)).await.map(drop)
    }

    async fn switch(
        &self,
        by: &Person,
        (team, member): (Uuid, &Person),
        state: AvailabilityState,
    ) -> Result<Availability, Status> {
        let request = SetMemberAvailabilityRequest {
            request_id: ids::new_id().to_string(),
            team_id: team.to_string(),
            user_id: member.user.to_string(),
            state: state.into(),
        };
        let answer = self.boards().set_member_availability(self.world.request(by, request)).await?;
        Ok(answer.into_inner().availability.unwrap())
    }
}

fn refusal<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), reason_of(&status).unwrap_or_default())
}

fn agents(board: &Board) -> Vec<(String, AvailabilityState, i32, bool)> {
    let agent = |agent: &diwan_proto::conversation::v1::BoardAgent| {
        let availability = agent.availability.as_ref().unwrap();
        (availability.user_id.clone(), availability.state(), agent.open, agent.lead)
    };
    board.agents.iter().map(agent).collect()
}

/// The next board.
async fn next(stream: &mut Streaming<WatchBoardResponse>) -> Result<Board, Status> {
    loop {
        let response = timeout(LONG, stream.message()).await.expect("a response in time")?;
        if let Shown::Board(board) = response.expect("the stream goes on").event.unwrap() {
            return Ok(board);
        }
    }
}

/// The first board for which this holds.
async fn until(stream: &mut Streaming<WatchBoardResponse>, holds: impl Fn(&Board) -> bool) -> Board {
    loop {
        let board = next(stream).await.unwrap();
        if holds(&board) {
            return board;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_shows_who_is_there_what_he_holds_and_what_waits() {
    let office = Office::open(3).await;
    let lead = office.lead_of(office.team).await;
    let (gone, idle) = (office.agent().await, office.agent().await);
    // An admin is WATCHING: what waits stays where it is.
    let watching = office.owner.colleague(Role::Admin);
    office.set_user(&watching, 1, UserState::Active);
    office.set_member(&watching, office.team, 1, true);
    office.until("select count(*) from slots where member", 4).await;
    let _inbox = office.watch(&watching).await;
    for (person, id) in
        [(&gone, office.arrive().await), (&gone, office.arrive().await), (&office.owner, office.arrive().await)]
    {
        office.take(person, id).await.unwrap();
    }
    let oldest = office.arrive().await;
    let urgent = office.arrive().await;
    office.set_priority(&office.owner, urgent, Priority::Urgent).await.unwrap();
    let board = office.board(&lead, office.team).await.unwrap();
    assert_eq!((board.assignment_limit, board.team_id.clone()), (3, office.team.to_string()));
    // The owner holds something without being a member; who is OFFLINE and holds nothing is not shown.
    let mut expected = vec![
        (watching.user.to_string(), AvailabilityState::Watching, 0, false),
        (gone.user.to_string(), AvailabilityState::Offline, 2, false),
        (office.owner.user.to_string(), AvailabilityState::Offline, 1, false),
    ];
    expected.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(agents(&board), expected, "not shown are {} and {}", idle.user, lead.user);
    let since = office.get(&office.owner, oldest).await.unwrap().queued_at;
    assert_eq!((board.queue_length, board.longest_wait_since), (2, since));
    let queues: Vec<_> = board.queues.iter().map(|queue| (queue.priority(), queue.waiting)).collect();
    assert_eq!(queues, [(Priority::Urgent, 1), (Priority::Normal, 1)]);
    // Owner, admins and the team's lead, and nobody else.
    assert_eq!(agents(&office.board(&office.owner, office.team).await.unwrap()), expected);
    let denied = (Code::PermissionDenied, "PERMISSION_DENIED".to_owned());
    assert_eq!(refusal(office.board(&gone, office.team).await), denied);
    assert_eq!(refusal(office.watch_board(&gone, office.team).await), denied);
    let other = office.second_team(0).await;
    assert_eq!(refusal(office.board(&lead, other).await), denied);
    let unknown = (Code::NotFound, "TEAM_NOT_FOUND".to_owned());
    assert_eq!(refusal(office.board(&office.owner, ids::new_id()).await), unknown);
    assert_eq!(refusal(office.board(&Person::owner(), office.team).await), unknown, "another account's owner");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_board_follows_every_change_and_makes_nobody_present() {
    let office = Office::open(0).await;
    let lead = office.lead_of(office.team).await;
    let agent = office.agent().await;
    let mut stream = office.watch_board(&lead, office.team).await.unwrap();
    assert_eq!(next(&mut stream).await.unwrap().agents, []);
    let id = office.arrive().await;
    until(&mut stream, |board| board.queue_length == 1 && board.longest_wait_since.is_some()).await;
    let inbox = office.watch(&agent).await;
    let one = vec![(agent.user.to_string(), AvailabilityState::Active, 1, false)];
    until(&mut stream, |board| agents(board) == one && board.queue_length == 0).await;
    office.close(&agent, id).await.unwrap();
    until(&mut stream, |board| board.agents.len() == 1 && board.agents[0].open == 0).await;
    office.set_team(office.team, 2, |team| (team.assignment_limit, team.fallback) = (7, true));
    until(&mut stream, |board| board.assignment_limit == 7).await;
    office.set_lead(&agent, office.team, 2, true).await;
    until(&mut stream, |board| board.agents.first().is_some_and(|agent| agent.lead)).await;
    drop(inbox);
    until(&mut stream, |board| board.agents.is_empty()).await;
    assert_eq!(office.availability(&lead).await, AvailabilityState::Offline);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_follow_one_another_quickly_are_shown_together() {
    let office = Office::open(0).await;
    let lead = office.lead_of(office.team).await;
    let mut stream = office.watch_board(&lead, office.team).await.unwrap();
    next(&mut stream).await.unwrap();
    let begun = tokio::time::Instant::now();
    let arrivals = async {
        for _ in 0..60 {
            office.arrive().await;
        }
    };
    let shown = async {
        let mut boards = 1_u32;
        while next(&mut stream).await.unwrap().queue_length < 60 {
            boards += 1;
        }
        boards
    };
    let ((), boards) = tokio::join!(arrivals, shown);
    let most = u32::try_from(begun.elapsed().as_millis() / 200).unwrap() + 2;
    assert!(boards <= most, "{boards} boards in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_board_ends_with_the_mark_and_with_the_team() {
    let office = Office::open(0).await;
    let heir = office.second_team(0).await;
    let lead = office.lead_of(office.team).await;
    let (mut leads, mut owners) = (
        office.watch_board(&lead, office.team).await.unwrap(),
        office.watch_board(&office.owner, office.team).await.unwrap(),
    );
    let ended = async |stream: &mut Streaming<WatchBoardResponse>| loop {
        if let Err(status) = next(stream).await {
            return (status.code(), reason_of(&status).unwrap_or_default());
        }
    };
    office.set_lead(&lead, office.team, 3, false).await;
    assert_eq!(ended(&mut leads).await, (Code::PermissionDenied, "PERMISSION_DENIED".into()));
    next(&mut owners).await.unwrap();
    office.set_team(office.team, 2, |team| {
        team.archived_at = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 });
        team.receiving_team_id = heir.to_string();
    });
    assert_eq!(ended(&mut owners).await, (Code::NotFound, "TEAM_NOT_FOUND".into()));
    assert_eq!(refusal(office.watch_board(&office.owner, office.team).await).1, "TEAM_NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_switches_who_is_there_and_what_waits_goes_out() {
    let office = Office::open(0).await;
    let lead = office.lead_of(office.team).await;
    let agent = office.agent().await;
    let team = (office.team, &agent);
    let offline = (Code::FailedPrecondition, "NO_LIVE_SESSION".to_owned());
    for state in [AvailabilityState::Active, AvailabilityState::Watching] {
        assert_eq!(refusal(office.switch(&lead, team, state).await), offline, "nobody is brought to life");
    }
    // In one sign-in, whatever becomes of his streams.
    let token = format!("Bearer {}", office.world.token_of(&agent, ids::new_id()));
    let watch = async || {
        let mut request = Request::new(WatchInboxRequest::default());
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        let mut stream = office.inbox().watch_inbox(request).await.unwrap().into_inner();
        timeout(LONG, stream.message()).await.unwrap().unwrap();
        stream
    };
    let inbox = watch().await;
    let switched = office.switch(&lead, team, AvailabilityState::Watching).await.unwrap();
    assert_eq!(
        (switched.user_id.as_str(), switched.state()),
        (agent.user.to_string().as_str(), AvailabilityState::Watching)
    );
    let waiting = office.arrive().await;
    // It is his own choice from now on: it holds over the loss of his streams.
    drop(inbox);
    eventually("he is OFFLINE", LONG, async || office.availability(&agent).await == AvailabilityState::Offline).await;
    let _inbox = watch().await;
    assert_eq!(office.availability(&agent).await, AvailabilityState::Watching);
    office.switch(&lead, team, AvailabilityState::Active).await.unwrap();
    office.held_by(&agent, waiting).await;
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_members_of_a_team_are_switched_and_only_by_who_directs_it() {
    let office = Office::open(0).await;
    let other = office.second_team(0).await;
    let (lead, agent, outsider) =
        (office.lead_of(office.team).await, office.agent().await, office.agent_of(other).await);
    let _inboxes = (office.watch(&agent).await, office.watch(&outsider).await);
    let watching = AvailabilityState::Watching;
    let denied = (Code::PermissionDenied, "PERMISSION_DENIED".to_owned());
    assert_eq!(refusal(office.switch(&agent, (office.team, &agent), watching).await), denied);
    assert_eq!(refusal(office.switch(&lead, (other, &outsider), watching).await), denied);
    let stranger = (Code::NotFound, "USER_NOT_FOUND".to_owned());
    assert_eq!(refusal(office.switch(&lead, (office.team, &outsider), watching).await), stranger);
    assert_eq!(refusal(office.switch(&office.owner, (other, &agent), watching).await), stranger);
    let unknown = (Code::NotFound, "TEAM_NOT_FOUND".to_owned());
    assert_eq!(refusal(office.switch(&office.owner, (ids::new_id(), &agent), watching).await), unknown);
    assert_eq!(refusal(office.switch(&Person::owner(), (office.team, &agent), watching).await), unknown);
    assert_eq!(office.availability(&agent).await, AvailabilityState::Active);
    assert!(office.switch(&office.owner, (office.team, &agent), watching).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_board_on_which_nothing_changes_shows_that_it_lives_and_ends_when_the_process_drains() {
    let office = Office::open(0).await;
    let mut stream = office.watch_board(&office.owner, office.team).await.unwrap();
    next(&mut stream).await.unwrap();
    let beat = timeout(LONG, stream.message()).await.unwrap().unwrap().unwrap();
    assert!(matches!(beat.event, Some(Shown::Heartbeat(_))), "{beat:?}");
    office.world.drain.begin();
    let ended = loop {
        if let Err(status) = timeout(LONG, stream.message()).await.unwrap() {
            break status;
        }
    };
    assert_eq!((ended.code(), reason_of(&ended).as_deref()), (Code::Unavailable, Some("UNAVAILABLE")));
    assert!(office.world.drain.finished(LONG).await, "a worker does not end");
}
