//! The subscription of an account.

use diwan_access::user;
use diwan_fault::Fields;
use diwan_feed::Record;
use diwan_proto::billing::v1::{
    self as proto, GetSubscriptionRequest, GetSubscriptionResponse, SetSeatLimitRequest, SetSeatLimitResponse,
    StartTrialRequest, StartTrialResponse, subscription_service_server::SubscriptionService,
};
use diwan_runtime::clock::after;
use diwan_store::answers;
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    api::Api,
    domain::{FEWEST_SEATS, MOST_SEATS, Subscription, TRIAL_PLAN},
    error::Error,
    store::{seats, subscriptions},
};

#[tonic::async_trait]
impl SubscriptionService for Api {
    async fn get_subscription(
        &self,
        request: Request<GetSubscriptionRequest>,
    ) -> Result<Response<GetSubscriptionResponse>, Status> {
        let account = user(&request)?.account_id;
        let mut connection = self.connection().await?;
        let found = find(&mut connection, account, self.clock.now()).await?;
        Ok(Response::new(GetSubscriptionResponse { subscription: Some(found.into()) }))
    }

    async fn start_trial(&self, request: Request<StartTrialRequest>) -> Result<Response<StartTrialResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let owner = fields.uuid("owner_id", &message.owner_id);
        fields.finish()?;
        let now = self.clock.now();
        let ends_at = after(now, self.trial);
        let started = self
            .database
            .transaction("StartTrial", async |tx: &mut PgConnection| {
                // Whoever comes second waits here until the first has committed, and then finds its trial.
                if subscriptions::start_trial(tx, account, TRIAL_PLAN, FEWEST_SEATS, now, ends_at).await? {
                    seats::take(tx, account, owner, FEWEST_SEATS, now, None).await?;
                    let started = proto::Subscription::from(find(tx, account, now).await?);
                    diwan_feed::record(tx, account, now, &Record::change(account, None, Some(&started))).await?;
                }
                find(tx, account, now).await
            })
            .await?;
        Ok(Response::new(StartTrialResponse { subscription: Some(started.into()) }))
    }

    async fn set_seat_limit(
        &self,
        request: Request<SetSeatLimitRequest>,
    ) -> Result<Response<SetSeatLimitResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let account = fields.uuid("account_id", &message.account_id);
        let seats = fields.number("seats", message.seats, FEWEST_SEATS..=MOST_SEATS);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "SetSeatLimit", &message);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let subscription = set_seat_limit(tx, account, seats, now).await?;
                Ok::<_, Error>(SetSeatLimitResponse { subscription: Some(subscription.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }
}

async fn set_seat_limit(
    tx: &mut PgConnection,
    account: Uuid,
    limit: i32,
    now: Timestamp,
) -> Result<Subscription, Error> {
    subscriptions::lock(tx, account).await?.ok_or(Error::SubscriptionNotFound)?;
    let held = seats::count(tx, account, now).await?;
    if held > limit {
        return Err(Error::SeatsInUse { held });
    }
    subscriptions::set_seats(tx, account, limit).await?;
    find(tx, account, now).await
}

async fn find(connection: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<Subscription, Error> {
    subscriptions::find(connection, account, now).await?.ok_or(Error::SubscriptionNotFound)
}
