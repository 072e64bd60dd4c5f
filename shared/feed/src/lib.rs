//! The change feed between services: a change writes an event in its own transaction, the service serves its events in an
//! order that skips none, and another service applies each one once.
//!
//! # Writing
//! The first migration contains `sql/feed.sql`. Then, in the transaction of the change:
//! ```
//! # use diwan_feed::Change; use diwan_fault::Fault; use diwan_proto::team::v1::{CreateTeamResponse, Team, TeamChanged};
//! # use diwan_store::{answers::Request, Database}; use sqlx::PgConnection; use uuid::Uuid; use jiff::Timestamp;
//! # async fn insert_team(_: &mut PgConnection, _: Uuid) -> Result<(Uuid, Team), diwan_store::Error> { todo!() }
//! # async fn f(database: &Database, request: &Request, account: Uuid, now: Timestamp) -> Result<CreateTeamResponse, Fault> {
//! database
//!     .answer_once(request, now, async |tx: &mut PgConnection| {
//!         let (id, team) = insert_team(tx, account).await?;
//!         let changed = TeamChanged { team: Some(team.clone()) };
//!         diwan_feed::append(tx, account, now, &[Change::new(id, team.version, &changed)]).await?;
//!         Ok(CreateTeamResponse { team: Some(team) })
//!     })
//!     .await
//! # }
//! ```
//! `now` is taken when the change begins, never made up: the feed's `complete_until` relies on a change being committed
//! after it happened.
//!
//! Each event also goes into the audit log, with whoever made the change. What no other service needs to know of is told to
//! the log alone, by [`record`]; a request answered by `answer_once` whose transaction told nothing is told of by itself.
//!
//! # Serving
//! `FeedServer::new(database, clock, drain).into_service()` goes into the service's router.
//!
//! # Following
//! The first migration contains `sql/cursors.sql`.
//! ```
//! # use diwan_feed::{Event, Handler, consume}; use diwan_proto::feed::v1::feed_service_client::FeedServiceClient;
//! # use diwan_proto::team::v1::TeamChanged; use diwan_runtime::Drain; use diwan_store::{Database, Error};
//! # use sqlx::PgConnection;
//! struct Teams {
//!     database: Database,
//! }
//!
//! impl Handler for Teams {
//!     type Error = diwan_store::Error; // or the service's own
//!
//!     async fn apply(&self, tx: &mut PgConnection, event: &Event) -> Result<(), Error> {
//!         if let Some(TeamChanged { team: Some(team) }) = event.payload()? {
//!             sqlx::query(
//!                 "insert into teams (account_id, id, version, name) values ($1, $2, $3, $4)
//!                  on conflict (account_id, id) do update set version = excluded.version, name = excluded.name
//!                  where teams.version < excluded.version", // an older event changes nothing
//!             )
//!             .bind(event.account).bind(event.entity).bind(event.version).bind(team.name)
//!             .execute(tx)
//!             .await?;
//!         }
//!         Ok(())
//!     }
//!
//!     fn committed(&self) {
//!         self.database.wake().ring("queue");
//!     }
//! }
//!
//! # fn start<S: diwan_feed::Source>(drain: &Drain, client: S, database: Database) {
//! // client: FeedServiceClient<_> over any transport
//! consume(drain, "team", client, database.clone(), Teams { database });
//! # }
//! ```
//!
//! # What holds
//! - *No event is skipped.* Numbers of transactions that have all ended never come again, so what is below the oldest running
//!   one is final, in whatever order the commits came. An open write transaction anywhere in the cluster delays the feed, and
//!   `complete_until` then says so.
//! - *Each event takes effect once*: cursor and effect commit together. What a handler does beside its transaction can happen
//!   again.
//! - *Events of one entity can overtake each other*, since transactions are ordered by when they began to write: whoever keeps
//!   state compares versions, as above.
//! - *CURSOR_GONE*: after the source's database was restored or rewound, or a purge overtook this consumer, the whole feed is
//!   replayed from the first event kept. Version checks make that harmless for state. A handler that reacts to each event
//!   (sends a mail, counts) remembers the `sequence` it has reacted to; a replay keeps it.

mod consume;
mod cursor;
mod event;
mod generation;
mod position;
mod purge;
mod read;
mod server;
mod source;
pub mod time;
mod trace;

pub use consume::{Handler, consume};
pub use diwan_store::outbox::{Change, Record, append, record};
pub use event::{Event, Malformed};
pub use generation::ensure_generation;
pub use position::Position;
pub use purge::purge;
pub use server::FeedServer;
pub use source::Source;
