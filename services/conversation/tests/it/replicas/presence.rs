//! Who is there when the replica that knew it is killed.

use std::time::Duration;

use diwan_proto::conversation::v1::{
    AvailabilityState, HeartbeatRequest, ListAvailabilityRequest, WatchInboxRequest,
    inbox_service_client::InboxServiceClient, presence_service_client::PresenceServiceClient,
};
use diwan_testkit::{Person, eventually};
use tonic::Status;

use super::Company;

const LIMIT: Duration = Duration::from_secs(30);

impl Company {
    async fn beat(&self, replica: usize, person: &Person) -> Result<(), Status> {
        let request = self.world.request(person, HeartbeatRequest { background: false });
        PresenceServiceClient::new(self.to(replica)).heartbeat(request).await.map(drop)
    }

    async fn state(&self, replica: usize, person: &Person) -> AvailabilityState {
        let request = self.world.request(&self.owner, ListAvailabilityRequest {});
        let listed = InboxServiceClient::new(self.to(replica)).list_availability(request).await.unwrap().into_inner();
        let user = person.user.to_string();
        let own = listed.availabilities.into_iter().find(|availability| availability.user_id == user);
        own.map_or(AvailabilityState::Offline, |availability| availability.state())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_leaves_no_ghost_and_whoever_beats_on_elsewhere_stays() {
    let mut company = Company::open().await;
    for (name, millis) in [("GRACE", 500), ("LEASE", 1500), ("HEARTBEAT", 1500)] {
        company.environment.push((format!("DIWAN_CONVERSATION_{name}_MS"), millis.to_string()));
    }
    let [first, _second] = [company.start(0).await, company.start(1).await];
    let [streaming, beating, moving] = [0, 1, 2].map(|number| company.agents[number].0.clone());
    let watch = |replica: usize, person: &Person| {
        let request = company.world.request(person, WatchInboxRequest::default());
        let mut client = InboxServiceClient::new(company.to(replica));
        async move { client.watch_inbox(request).await.unwrap().into_inner() }
    };
    let _cut_off = watch(0, &streaming).await;
    let _lost = watch(0, &moving).await;
    company.beat(0, &beating).await.unwrap();
    for person in [&streaming, &beating, &moving] {
        eventually("the other replica knows him", LIMIT, async || {
            company.state(1, person).await == AvailabilityState::Active
        })
        .await;
    }
    let since = company.count("select count(*) from presence where state = 'ACTIVE'").await;
    assert_eq!(since, 3);
    drop(first); // kill -9
    let _back = watch(1, &moving).await;
    eventually("whose stream is gone is OFFLINE", LIMIT, async || {
        company.beat(1, &beating).await.unwrap();
        company.state(1, &streaming).await == AvailabilityState::Offline
    })
    .await;
    for person in [&beating, &moving] {
        assert_eq!(company.state(1, person).await, AvailabilityState::Active);
    }
    let interrupted = "select count(*) from presence where state = 'ACTIVE' and version > 1";
    assert_eq!(company.count(interrupted).await, 0, "they never were away");
    eventually("who beats no more is OFFLINE", LIMIT, async || {
        company.state(1, &beating).await == AvailabilityState::Offline
    })
    .await;
    assert_eq!(company.state(1, &moving).await, AvailabilityState::Active);
}
