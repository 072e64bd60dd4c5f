//! What every service does with its PostgreSQL.
//!
//! # Opening
//! ```no_run
//! # use diwan_runtime::Drain; use diwan_store::{pool, Database, Wake};
//! # static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT; // sqlx::migrate!() in a service
//! # async fn start(drain: &Drain, url: &str) -> Result<(), diwan_store::Error> {
//! let pool = pool::open(url, pool::Options::new("diwan-team")).await?;
//! diwan_store::migrate(&pool, &MIGRATIONS).await?; // or refuse to serve unless diwan_store::is_current(..)
//! let database = Database::new(pool.clone(), Wake::start(drain, &pool));
//! # Ok(())
//! # }
//! ```
//! The first migration of a service contains `sql/answers.sql` of this crate and `sql/feed.sql` of diwan-feed (and its
//! `sql/cursors.sql`, where it follows others).
//!
//! # A handler that changes something
//! ```
//! # use diwan_store::{answers::Request, Database, Error}; use diwan_fault::{Fault, Fields}; use diwan_runtime::Clock;
//! # use diwan_proto::team::v1::{CreateTeamRequest, CreateTeamResponse}; use sqlx::PgConnection; use uuid::Uuid;
//! # struct Api { database: Database, clock: std::sync::Arc<dyn Clock> }
//! # async fn insert(_: &mut PgConnection, _: Uuid, _: &str) -> Result<diwan_proto::team::v1::Team, Error> { todo!() }
//! # impl Api {
//! async fn create_team(&self, account: Uuid, message: CreateTeamRequest) -> Result<CreateTeamResponse, Fault> {
//!     let mut fields = Fields::new();
//!     let id = fields.request_id(&message.request_id);
//!     let name = fields.line("name", &message.name, 1..=100);
//!     fields.finish()?;
//!     let request = Request::new(account, &id, "CreateTeam", &message);
//!     self.database
//!         .answer_once(&request, self.clock.now(), async |tx: &mut PgConnection| {
//!             let team = insert(tx, account, &name).await?; // and the event: diwan_feed::append(tx, ..)
//!             Ok(CreateTeamResponse { team: Some(team) })
//!         })
//!         .await
//! }
//! # }
//! ```
//! The error may be any `E: From<diwan_store::Error> + std::error::Error` that keeps its cause in `source()`: that is
//! where a lost race is looked for. `body` may run more than once, so it borrows and does not consume.
//!
//! # A list
//! ```
//! # use diwan_store::{Error, Page}; use diwan_fault::{Fault, Fields}; use sqlx::PgPool; use uuid::Uuid;
//! # use diwan_proto::team::v1::{ListTeamsRequest, ListTeamsResponse, Team};
//! async fn list_teams(pool: &PgPool, account: Uuid, message: ListTeamsRequest) -> Result<ListTeamsResponse, Fault> {
//!     let mut fields = Fields::new();
//!     let page = Page::<(String, Uuid)>::read(&mut fields, &("ListTeams", account), message.page.as_ref());
//!     fields.finish()?;
//!     let (name, id) = page.after().cloned().unzip();
//!     // `where account_id = $1 and ($2::text is null or (name, id) > ($2, $3)) order by name, id limit $4`
//!     let rows = teams_by_name(pool, account, name, id, page.limit()).await?;
//!     let (rows, info) = page.finish(rows, |(id, team)| (team.name.clone(), *id));
//!     Ok(ListTeamsResponse { teams: rows.into_iter().map(|(_, team)| team).collect(), page: Some(info) })
//! }
//! # async fn teams_by_name(_: &PgPool, _: Uuid, _: Option<String>, _: Option<Uuid>, _: i64)
//! #     -> Result<Vec<(Uuid, Team)>, Error> { todo!() }
//! ```
//!
//! # Waiting for work
//! ```no_run
//! # use diwan_store::Database; use std::time::Duration; async fn f(database: &Database) {
//! let mut woken = database.wake().subscribe("queue");
//! loop {
//!     // work off everything there is, then:
//!     woken.within(Duration::from_secs(30)).await;
//! }
//! // elsewhere, after the commit: database.wake().ring("queue");
//! # }
//! ```
//! Subscribe before the first look, so that nothing falls between. Do not NOTIFY inside a transaction: see [`wake`].

pub mod answers;
mod database;
mod error;
mod migrate;
mod operators;
pub mod outbox;
mod page;
pub mod pool;
mod span;
pub mod wake;

pub use database::Database;
pub use error::Error;
pub use migrate::{is_current, migrate};
pub use page::Page;
pub use span::span;
pub use wake::{Wake, Woken};
