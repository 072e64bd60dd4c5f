//! The methods: decode and check, act, encode.

mod encode;
mod seats;
mod subscriptions;

use std::{sync::Arc, time::Duration};

use diwan_runtime::Clock;
use diwan_store::Database;
use sqlx::{Postgres, pool::PoolConnection};

use crate::error::Error;

/// What the methods work with.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) database: Database,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long a trial is.
    pub(crate) trial: Duration,
}

impl Api {
    /// A connection to read with.
    async fn connection(&self) -> Result<PoolConnection<Postgres>, Error> {
        Ok(self.database.pool().acquire().await.map_err(diwan_store::Error::from)?)
    }
}
