//! The events of one account from every service, for a service principal.

use std::time::Duration;

use diwan_access::{
    keys,
    token::{AUDIENCE, Kind, Mandate, MandateEpochs, PrincipalClaims},
};
use diwan_proto::{
    conversation::v1::InboxScopeChanged,
    gateway::v1::{WatchEventsRequest, WatchEventsResponse, event_service_client::EventServiceClient},
    identity::v1::{Revocation, RevocationSubject},
    team::v1::{Team, TeamChanged},
};
use diwan_runtime::{SystemClock, ids};
use diwan_testkit::{FakeFeed, Person, World, eventually, reason};
use diwan_transport::Front;
use jiff::Timestamp;
use prost::Message as _;
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming};
use uuid::Uuid;

use crate::support::{LIMIT, gateway};

const SERVICES: [&str; 5] = ["identity", "team", "conversation", "mailbox", "billing"];
const SCOPE: &str = "diwan.gateway.v1.EventService/WatchEvents";
const PRINCIPAL: Uuid = Uuid::from_u128(7);

/// Five services whose feeds a test writes, behind a gateway.
struct House {
    world: World,
    gateway: Front,
    feeds: [FakeFeed; 5],
}

impl House {
    async fn new() -> Self {
        let world = World::new(SystemClock::shared());
        let feeds: [FakeFeed; 5] = Default::default();
        for (service, feed) in SERVICES.into_iter().zip(&feeds) {
            start(&world, service, feed).await;
        }
        let gateway = gateway(&world, &[]).await;
        Self { world, gateway, feeds }
    }

    fn request(&self, account: Uuid, scope: &str, cursor: &str) -> Request<WatchEventsRequest> {
        let signer = self.world.signer(keys::ACCESS);
        let registered = signer.registered(AUDIENCE, Duration::from_mins(5));
        let (cred, epochs) = (Uuid::from_u128(8), MandateEpochs::default());
        let act = Mandate { sub: PRINCIPAL, cred, scopes: vec![scope.into()], epochs };
        let claims = PrincipalClaims { registered, kind: Kind::Principal, acc: account, epoch: 0, act };
        let mut request = Request::new(WatchEventsRequest { cursor: cursor.into() });
        let token = format!("Bearer {}", signer.sign(&claims).unwrap());
        request.metadata_mut().insert("authorization", token.parse().unwrap());
        request
    }

    async fn watch(&self, account: Uuid, cursor: &str) -> Result<Streaming<WatchEventsResponse>, Status> {
        let request = self.request(account, SCOPE, cursor);
        Ok(EventServiceClient::new(self.gateway.clone()).watch_events(request).await?.into_inner())
    }

    /// Responses after a cursor until they tell of `count` teams: each response's cursor with the names in it.
    async fn read(&self, account: Uuid, cursor: &str, count: usize) -> Vec<(String, Vec<String>)> {
        let mut stream = self.watch(account, cursor).await.unwrap();
        let mut read: Vec<(String, Vec<String>)> = Vec::new();
        while read.iter().map(|(_, names)| names.len()).sum::<usize>() < count {
            let sent = next(&mut stream).await.unwrap();
            read.push((sent.cursor.clone(), names(&sent)));
        }
        read
    }
}

async fn start(world: &World, service: &'static str, feed: &FakeFeed) {
    let front = feed.methods(service).await.into_front(world.admission.clone(), &world.drain).unwrap();
    world.network.slot(service).unwrap().fill(front);
}

fn write(feed: &FakeFeed, account: Uuid, name: &str) {
    let changed = TeamChanged { team: Some(Team { name: name.into(), ..Team::default() }) };
    feed.write(account, ids::new_id(), 1, &changed);
}

async fn next(stream: &mut Streaming<WatchEventsResponse>) -> Result<WatchEventsResponse, Status> {
    timeout(LIMIT, stream.message()).await.unwrap().map(|sent| sent.unwrap())
}

fn names(sent: &WatchEventsResponse) -> Vec<String> {
    let name = |value: &[u8]| TeamChanged::decode(value).unwrap().team.unwrap().name;
    sent.events.iter().map(|event| name(&event.payload.as_ref().unwrap().value)).collect()
}

#[tokio::test]
async fn all_services_events_come_in_their_order_and_go_on_after_every_cut_without_gap_or_repeat() {
    let house = House::new().await;
    let account = ids::new_id();
    let feeds = [(0, "identity"), (1, "team"), (2, "conversation")];
    for number in 0..4 {
        for (index, service) in feeds {
            write(&house.feeds[index], account, &format!("{service} {number}"));
        }
    }
    let first = house.read(account, "", 12).await;
    let all: Vec<String> = first.iter().flat_map(|(_, names)| names.clone()).collect();
    for (_, service) in feeds {
        let own: Vec<_> = all.iter().filter(|name| name.starts_with(service)).cloned().collect();
        assert_eq!(own, (0..4).map(|number| format!("{service} {number}")).collect::<Vec<_>>());
    }
    write(&house.feeds[1], account, "last");
    for (cut, (cursor, _)) in first.iter().enumerate() {
        let mut before: Vec<String> = first[..=cut].iter().flat_map(|(_, names)| names.clone()).collect();
        let after = house.read(account, cursor, 13 - before.len()).await;
        before.extend(after.into_iter().flat_map(|(_, names)| names));
        before.sort();
        let mut expected = all.clone();
        expected.push("last".into());
        expected.sort();
        assert_eq!(before, expected, "cut {cut}");
    }
}

#[tokio::test]
async fn other_accounts_events_and_what_is_not_published_stay_inside_and_are_passed_over_for_good() {
    let house = House::new().await;
    let (account, other) = (ids::new_id(), ids::new_id());
    write(&house.feeds[1], other, "foreign");
    house.feeds[1].write(account, ids::new_id(), 1, &InboxScopeChanged::default());
    write(&house.feeds[1], account, "own");
    let read = house.read(account, "", 1).await;
    let seen: Vec<_> = read.iter().flat_map(|(_, names)| names.clone()).collect();
    assert_eq!(seen, ["own"]);
    let mut stream = house.watch(account, &read.last().unwrap().0).await.unwrap();
    write(&house.feeds[1], other, "foreign again");
    write(&house.feeds[1], account, "next");
    let mut sent = next(&mut stream).await.unwrap();
    while sent.events.is_empty() {
        sent = next(&mut stream).await.unwrap();
    }
    assert_eq!(names(&sent), ["next"]);
}

#[tokio::test]
async fn the_stream_ends_when_the_principals_access_is_cut() {
    let house = House::new().await;
    let account = ids::new_id();
    let mut stream = house.watch(account, "").await.unwrap();
    next(&mut stream).await.unwrap();
    let (subject, epoch) = (RevocationSubject::Principal.into(), 1);
    house.world.revocations.learn(&[Revocation { subject, subject_id: PRINCIPAL.to_string(), epoch }], Timestamp::MAX);
    write(&house.feeds[1], account, "too late");
    let ended = loop {
        match next(&mut stream).await {
            Ok(sent) => assert_eq!(names(&sent), Vec::<String>::new(), "nothing goes out after the cut"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert_eq!(house.watch(account, "").await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn only_a_principal_with_the_scope_follows_and_only_with_a_cursor_of_its_account() {
    let house = House::new().await;
    let (account, other) = (ids::new_id(), ids::new_id());
    let mut client = EventServiceClient::new(house.gateway.clone());
    let unscoped = client.watch_events(house.request(account, "diwan.team.v1.TeamService", "")).await.unwrap_err();
    assert_eq!((unscoped.code(), reason(&unscoped).as_str()), (Code::PermissionDenied, "SCOPE_MISSING"));
    let owner = house.world.request(&Person::owner(), WatchEventsRequest::default());
    assert_eq!(client.watch_events(owner).await.unwrap_err().code(), Code::PermissionDenied);
    write(&house.feeds[1], account, "own");
    let cursor = house.read(account, "", 1).await.pop().unwrap().0;
    for bad in ["\u{1}", "AQ", &cursor[1..]] {
        assert_eq!(house.watch(account, bad).await.unwrap_err().code(), Code::InvalidArgument, "{bad}");
    }
    assert_eq!(house.watch(other, &cursor).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn while_a_service_is_away_the_others_go_on_and_its_own_events_follow() {
    let world = World::new(SystemClock::shared());
    let feeds: [FakeFeed; 5] = Default::default();
    for index in [0, 2, 3, 4] {
        start(&world, SERVICES[index], &feeds[index]).await;
    }
    let gateway = gateway(&world, &[]).await;
    let house = House { world, gateway, feeds };
    let account = ids::new_id();
    write(&house.feeds[1], account, "from team");
    write(&house.feeds[2], account, "from conversation");
    let mut stream = house.watch(account, "").await.unwrap();
    let mut seen = Vec::new();
    while seen.is_empty() {
        seen.extend(names(&next(&mut stream).await.unwrap()));
    }
    assert_eq!(seen, ["from conversation"]);
    start(&house.world, "team", &house.feeds[1]).await;
    while seen.len() < 2 {
        seen.extend(names(&next(&mut stream).await.unwrap()));
    }
    assert_eq!(seen[1], "from team");
}

#[tokio::test]
async fn a_reader_who_comes_back_late_gets_everything_in_order_and_once() {
    let house = House::new().await;
    let account = ids::new_id();
    let stream = house.watch(account, "").await.unwrap();
    for number in 0..50 {
        write(&house.feeds[1], account, &format!("{number}"));
    }
    // He comes back: all of it is there, in order, and none twice.
    let mut stream = stream;
    let mut seen = Vec::new();
    while seen.len() < 50 {
        seen.extend(names(&next(&mut stream).await.unwrap()));
    }
    assert_eq!(seen, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
    eventually("a heartbeat", LIMIT, async || next(&mut stream).await.unwrap().events.is_empty().then_some(())).await;
}
