//! Tells the heads of the chains to the log stream, signed, where whoever can change the database cannot reach them.

use std::time::Duration;

use diwan_access::{Signer, token::Registered};
use diwan_launch::Context;
use diwan_runtime::{Clock, worker::supervise};
use diwan_store::Database;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use std::sync::Arc;
use uuid::Uuid;

use crate::{domain::audit::Head, error::Error, store::audit};

/// So often. What was appended and taken away again in between leaves no trace.
const EVERY: Duration = Duration::from_mins(1);
const AT_ONCE: i64 = 500;
/// No service accepts it as a token.
const AUDIENCE: &str = "diwan-audit-head";

/// A head as identity signs it: a JWT without an end, since it proves the past.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SignedHead {
    /// Issuer: identity.
    pub iss: String,
    /// Audience: none of the services.
    pub aud: String,
    /// When it was signed, seconds since 1970.
    pub iat: i64,
    /// The account; the nil UUID for the installation.
    pub account: Uuid,
    /// The number of the last entry.
    pub number: i64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

impl SignedHead {
    /// The head that it tells; `None` unless it is one.
    pub fn head(&self) -> Option<Head> {
        let hash = hex::decode(&self.hash).ok()?.try_into().ok()?;
        (self.aud == AUDIENCE && self.number > 0).then_some(Head { number: self.number, hash })
    }
}

/// What is signed of a head.
pub fn claims(signer: &Signer, account: Uuid, head: Head) -> SignedHead {
    let Registered { iss, aud, iat, .. } = signer.registered(AUDIENCE, Duration::ZERO);
    SignedHead { iss, aud, iat, account, number: head.number, hash: hex::encode(head.hash) }
}

/// Starts the worker.
pub fn start(context: &Context, database: &Database) {
    let (signer, clock, database) = (context.signer.clone(), context.clock.clone(), database.clone());
    supervise(&context.drain, "audit heads", move || export_all(signer.clone(), clock.clone(), database.clone()));
}

async fn export_all(signer: Signer, clock: Arc<dyn Clock>, database: Database) -> Result<(), Error> {
    loop {
        while export(&signer, &database).await? == AT_ONCE {}
        clock.sleep(EVERY).await;
    }
}

/// Tells the heads that have moved, and notes it in the same transaction: after a crash between they are told once more.
async fn export(signer: &Signer, database: &Database) -> Result<i64, Error> {
    let moved = database.transaction("export audit heads", async |tx: &mut PgConnection| {
        let moved = audit::moved(tx, AT_ONCE).await?;
        for (account, head) in &moved {
            let proof = signer.sign(&claims(signer, *account, *head)).map_err(|error| Error::Sign(error.into()))?;
            tracing::info!(target: "diwan::audit_head", %account, number = head.number, signed = proof, "audit head");
        }
        let accounts: Vec<Uuid> = moved.iter().map(|(account, _)| *account).collect();
        audit::exported(tx, &accounts).await?;
        Ok::<_, Error>(moved.len())
    });
    Ok(i64::try_from(moved.await?).unwrap_or_default())
}
