//! A service's database as the place where calls of operators are written down.

use async_trait::async_trait;
use diwan_audit::{OperatorLog, Record, Refused};
use diwan_runtime::{Clock as _, SystemClock};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Database, Error, outbox};

#[async_trait]
impl OperatorLog for Database {
    async fn write(&self, account: Uuid, record: Record) -> Result<(), Refused> {
        let now = SystemClock.now();
        let written = self.transaction("write down operator's call", async |tx: &mut PgConnection| {
            outbox::record(tx, account, now, &record).await
        });
        written.await.map_err(|error: Error| Refused(error.into()))
    }
}
