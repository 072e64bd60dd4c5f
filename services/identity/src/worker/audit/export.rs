//! Exports the heads of the chains, signed, to where whoever can change the database cannot reach them: to the log stream, and into a
//! folder where one is set.

use std::{path::Path, sync::Arc, time::Duration};

use diwan_access::{Signer, token::Registered};
use diwan_blobs::Records;
use diwan_launch::Context;
use diwan_runtime::{Clock, clock::after, ids, worker::supervise};
use diwan_store::Database;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{domain::audit::Head, error::Error, store::audit_heads};

/// So often. What was appended and taken away again in between leaves no trace.
const EVERY: Duration = Duration::from_mins(1);
/// Longer than a round takes: whoever claimed a head has exported it by then, or is gone.
const LEASE: Duration = Duration::from_mins(2);
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

#[derive(Clone)]
struct Exporter {
    signer: Signer,
    clock: Arc<dyn Clock>,
    database: Database,
    folder: Option<Records>,
}

/// Starts the worker, which keeps heads in `folder` if there is one.
pub fn start(context: &Context, database: &Database, folder: Option<&Path>) -> Result<(), diwan_blobs::BlobError> {
    let exporter = Exporter {
        signer: context.signer.clone(),
        clock: context.clock.clone(),
        database: database.clone(),
        folder: folder.map(Records::folder).transpose()?,
    };
    supervise(&context.drain, "audit heads", move || export_all(exporter.clone()));
    Ok(())
}

async fn export_all(exporter: Exporter) -> Result<(), Error> {
    loop {
        while exporter.export().await? == AT_ONCE {}
        exporter.clock.sleep(EVERY).await;
    }
}

impl Exporter {
    /// Tells the heads that have moved, and notes it only then: after a crash between they are told once more.
    async fn export(&self) -> Result<i64, Error> {
        let now = self.clock.now();
        let until = after(now, LEASE);
        let kept = self.folder.is_some();
        let moved = self.database.transaction("claim audit heads", async |tx: &mut PgConnection| {
            audit_heads::claim(tx, kept, now, until, AT_ONCE).await
        });
        let moved = moved.await?;
        if moved.is_empty() {
            return Ok(0);
        }
        let mut lines = String::new();
        for (account, head) in &moved {
            let claims = claims(&self.signer, *account, *head);
            let signed = self.signer.sign(&claims).map_err(|error| Error::Sign(error.into()))?;
            tracing::info!(target: "diwan::audit_head", %account, number = head.number, signed, "audit head");
            lines += &signed;
            lines.push('\n');
        }
        if let Some(folder) = &self.folder {
            let day = now.strftime("%Y-%m-%d");
            let name = format!("{day}/{}-{}.jwt", now.strftime("%H%M%S"), ids::new_id());
            folder.put(&name, lines.into()).await.map_err(Error::Blob)?;
        }
        let noted = self.database.transaction("note audit heads", async |tx: &mut PgConnection| {
            audit_heads::exported(tx, kept, &moved, now).await
        });
        noted.await?;
        Ok(i64::try_from(moved.len()).unwrap_or_default())
    }
}
