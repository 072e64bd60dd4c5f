//! The methods: decode and check, act, encode.

mod archive;
mod automatic_reply;
mod decode;
mod departments;
mod hours;
mod memberships;
mod teams;

use std::sync::Arc;

use diwan_runtime::Clock;
use diwan_store::Database;
use sqlx::{Postgres, pool::PoolConnection};

use crate::error::Error;

/// What the methods work with.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) database: Database,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Api {
    /// A connection to read with.
    async fn connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        Ok(self.database.pool().acquire().await.map_err(diwan_store::Error::from)?)
    }
}
