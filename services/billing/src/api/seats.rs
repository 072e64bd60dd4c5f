//! Who holds the seats of an account.

use diwan_access::user;
use diwan_fault::Fields;
use diwan_feed::{Record, time::from_proto};
use diwan_proto::billing::v1::{
    self as proto, ListSeatsRequest, ListSeatsResponse, ReleaseSeatRequest, ReleaseSeatResponse, TakeSeatRequest,
    TakeSeatResponse, seat_service_server::SeatService,
};
use diwan_store::Page;
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    api::Api,
    domain::Seat,
    error::Error,
    store::{seats, subscriptions},
};

#[tonic::async_trait]
impl SeatService for Api {
    async fn take_seat(&self, request: Request<TakeSeatRequest>) -> Result<Response<TakeSeatResponse>, Status> {
        let message = request.into_inner();
        let now = self.clock.now();
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let user = fields.uuid("user_id", &message.user_id);
        let lease = lease(&mut fields, message.lease_expires_at, now);
        fields.finish()?;
        let seat = self
            .database
            .transaction("TakeSeat", async |tx: &mut PgConnection| take(tx, account, user, now, lease).await)
            .await?;
        Ok(Response::new(TakeSeatResponse { seat: Some(seat.into()) }))
    }

    async fn release_seat(
        &self,
        request: Request<ReleaseSeatRequest>,
    ) -> Result<Response<ReleaseSeatResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let user = fields.uuid("user_id", &message.user_id);
        fields.finish()?;
        let now = self.clock.now();
        self.database
            .transaction("ReleaseSeat", async |tx: &mut PgConnection| {
                seats::release(tx, account, user).await?;
                Ok::<_, Error>(diwan_feed::record(tx, account, now, &Record::of("diwan.billing.v1.Seat", user)).await?)
            })
            .await?;
        Ok(Response::new(ReleaseSeatResponse {}))
    }

    async fn list_seats(&self, request: Request<ListSeatsRequest>) -> Result<Response<ListSeatsResponse>, Status> {
        let account = user(&request)?.account_id;
        let mut fields = Fields::new();
        let page = request.into_inner().page;
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &("ListSeats", account), page.as_ref());
        fields.finish()?;
        let mut connection = self.connection().await?;
        let after = page.after().copied();
        let rows = seats::list(&mut connection, account, self.clock.now(), after, page.limit()).await;
        let (seats, info) = page.finish(rows.map_err(Error::from)?, |seat| (seat.taken_at, seat.user));
        Ok(Response::new(ListSeatsResponse { seats: seats.into_iter().map(Into::into).collect(), page: Some(info) }))
    }
}

fn lease(fields: &mut Fields, expires_at: Option<prost_types::Timestamp>, now: Timestamp) -> Option<Timestamp> {
    let expires_at = from_proto(&expires_at?).filter(|time| *time > now);
    if expires_at.is_none() {
        fields.refuse("lease_expires_at", "FIELD_FUTURE", &[]);
    }
    expires_at
}

async fn take(
    tx: &mut PgConnection,
    account: Uuid,
    user: Uuid,
    now: Timestamp,
    lease: Option<Timestamp>,
) -> Result<Seat, Error> {
    let seats = subscriptions::lock(tx, account).await?.ok_or(Error::SubscriptionNotFound)?;
    seats::remove_expired(tx, account, now).await?;
    let seat = seats::take(tx, account, user, seats, now, lease).await?.ok_or(Error::NoSeatLeft { seats })?;
    let taken = Record::change(user, None, Some(&proto::Seat::from(seat.clone())));
    diwan_feed::record(tx, account, now, &taken).await?;
    Ok(seat)
}
