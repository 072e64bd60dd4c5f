//! The methods: decode and check, act, encode.

mod archive;
mod board;
mod bot_turns;
mod bots;
mod checker;
mod conversations;
mod decisions;
mod explained;
mod fields;
mod groups;
mod handling;
mod inbox;
mod ingest;
mod menus;
mod notes;
mod position;
mod presence;
mod rules;
mod shown;
pub mod simulations;
mod stream;
mod topics;
mod waits;

use std::sync::Arc;

use diwan_access::User;
use sqlx::{Postgres, pool::PoolConnection};

use crate::{Error, app::App, domain::scope::Scope, store::scopes};

/// The services of this process.
#[derive(Clone)]
pub struct Api(pub Arc<App>);

impl Api {
    /// A connection to read with.
    async fn connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        Ok(self.0.database.pool().acquire().await?)
    }

    /// What the caller sees.
    async fn scope(&self, caller: &User) -> Result<Scope, Error> {
        scopes::of(self.0.database.pool(), caller).await
    }
}
