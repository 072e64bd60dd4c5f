//! What tests of several crates share: a fresh database each, an installation around the service under test, and waiting
//! for a condition.
//!
//! ```no_run
//! use std::time::Duration;
//! use diwan_testkit::{TestDatabase, eventually};
//! # static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate::Migrator::DEFAULT; // the service's `MIGRATIONS`
//!
//! # async fn a_test() {
//! let database = TestDatabase::new(&MIGRATIONS).await; // keep it: its database goes when it is dropped
//! eventually("a row appears", Duration::from_secs(5), async || {
//!     sqlx::query_scalar::<_, i64>("select count(*) from teams").fetch_one(&database.pool).await.unwrap() == 1
//! })
//! .await;
//! # }
//! ```

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on says so and fails")]

pub mod account_data;
mod authority;
mod database;
mod distribution;
mod eventually;
mod feed;
mod mutation;
mod status;
mod world;

pub use authority::Authority;
pub use database::TestDatabase;
pub use distribution::undistributed;
pub use eventually::{Outcome, eventually};
pub use feed::FakeFeed;
pub use status::{bad_fields, metadata, reason};
pub use world::{Person, World};
