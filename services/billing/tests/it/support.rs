//! Two replicas of billing on one database, and who calls them.

use std::{sync::Arc, time::Duration};

use diwan_proto::{
    billing::v1::{
        ListSeatsRequest, Seat, SetSeatLimitRequest, StartTrialRequest, Subscription, TakeSeatRequest,
        seat_service_client::SeatServiceClient, subscription_service_client::SubscriptionServiceClient,
    },
    common::v1::PageRequest,
};
use diwan_runtime::{Clock as _, MockClock, ids};
use diwan_testkit::{Person, TestDatabase, World};
use diwan_transport::Transport;
use jiff::Timestamp;
use tonic::Status;
use uuid::Uuid;

pub struct Billing {
    pub clock: MockClock,
    pub owner: Person,
    pub worlds: [World; 2],
    pub database: TestDatabase,
}

impl Billing {
    /// Without any subscription.
    pub async fn empty() -> Self {
        let database = TestDatabase::new(&diwan_billing::MIGRATOR).await;
        let clock = MockClock::at(Timestamp::from_second(1_800_000_000).unwrap());
        let worlds = [(); 2].map(|()| World::new(Arc::new(clock.clone())));
        for world in &worlds {
            world.start(&diwan_billing::Service, &database.url).await;
        }
        Self { clock, owner: Person::owner(), worlds, database }
    }

    /// With the owner's trial: five seats, one of them his.
    pub async fn with_trial() -> Self {
        let billing = Self::empty().await;
        billing.start_trial(0).await.unwrap();
        billing
    }

    /// Identity's way to seats, through one of the replicas.
    pub fn seats(&self, replica: usize) -> SeatServiceClient<Transport> {
        SeatServiceClient::new(self.worlds[replica % 2].to_as("billing", "identity"))
    }

    /// Identity's way to subscriptions, through one of the replicas.
    pub fn subscriptions(&self, replica: usize) -> SubscriptionServiceClient<Transport> {
        SubscriptionServiceClient::new(self.worlds[replica % 2].to_as("billing", "identity"))
    }

    pub async fn start_trial(&self, replica: usize) -> Result<Subscription, Status> {
        let message =
            StartTrialRequest { account_id: self.owner.account.to_string(), owner_id: self.owner.user.to_string() };
        let answer = self.subscriptions(replica).start_trial(message).await?;
        Ok(answer.into_inner().subscription.unwrap())
    }

    /// `lease` is from now; `None` is for good.
    pub async fn take(&self, user: Uuid, lease: Option<Duration>) -> Result<Seat, Status> {
        self.take_at(0, user, lease).await
    }

    pub async fn take_at(&self, replica: usize, user: Uuid, lease: Option<Duration>) -> Result<Seat, Status> {
        let lease_expires_at = lease.map(|lease| proto(self.clock.now() + lease));
        let (account_id, user_id) = (self.owner.account.to_string(), user.to_string());
        let answer = self.seats(replica).take_seat(TakeSeatRequest { account_id, user_id, lease_expires_at }).await?;
        Ok(answer.into_inner().seat.unwrap())
    }

    /// So many new users take a seat at once, half of them through either replica: those who got one, and the refusals.
    pub async fn rush(&self, count: usize, lease: Option<Duration>) -> (Vec<Seat>, Vec<Status>) {
        let takers = (0..count).map(|place| self.take_at(place, ids::new_id(), lease));
        let mut outcome = (Vec::new(), Vec::new());
        for taken in futures::future::join_all(takers).await {
            match taken {
                Ok(seat) => outcome.0.push(seat),
                Err(refusal) => outcome.1.push(refusal),
            }
        }
        outcome
    }

    pub async fn set_limit(&self, seats: i32) -> Result<Subscription, Status> {
        let message = SetSeatLimitRequest {
            request_id: ids::new_id().to_string(),
            account_id: self.owner.account.to_string(),
            seats,
        };
        let request = self.worlds[1].operator("billing.write", message);
        let answer = SubscriptionServiceClient::new(self.worlds[1].to("billing")).set_seat_limit(request).await?;
        Ok(answer.into_inner().subscription.unwrap())
    }

    /// Everybody who holds a seat, as the owner sees them, in pages of `size`.
    pub async fn holders(&self, size: i32) -> Vec<Seat> {
        let mut client = SeatServiceClient::new(self.worlds[0].to("billing"));
        let (mut seats, mut token) = (Vec::new(), String::new());
        loop {
            let message = ListSeatsRequest { page: Some(PageRequest { size, token }) };
            let answer = client.list_seats(self.worlds[0].request(&self.owner, message)).await.unwrap().into_inner();
            seats.extend(answer.seats);
            token = answer.page.unwrap().next_token;
            if token.is_empty() {
                return seats;
            }
        }
    }
}

pub fn proto(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}
