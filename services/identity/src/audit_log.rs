//! Proving the audit logs without the service: what `diwan audit verify` does. It reads the database and the exported heads, and changes
//! nothing.

mod exported;
mod verdict;

use std::path::Path;

use diwan_access::{Keys, keys::KeysError};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

pub use self::{
    exported::{Exported, Unproven},
    verdict::{Finding, Verdict},
};
use crate::{
    domain::audit::{Flaw, Head, Verification},
    error::Error,
    store::{
        audit,
        audit_heads::{self, Deletion, Kept, Log},
    },
};

/// So many entries are read at once.
const AT_ONCE: i64 = 1000;

/// What could not be verified, for want of something.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The keys cannot be read.
    #[error("the public keys cannot be read")]
    Keys(#[source] KeysError),
    /// The folder of exported heads cannot be read.
    #[error("the exported heads cannot be read")]
    Heads(#[source] diwan_blobs::BlobError),
    /// The database does not answer, or has no audit log.
    #[error("identity's database cannot be read")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What was found.
pub struct Report {
    /// One for each log, in the order of the accounts.
    pub verdicts: Vec<Verdict>,
    /// What stands in the folder and proves nothing.
    pub unproven: Vec<Unproven>,
    /// How many heads the folder has.
    pub heads: usize,
}

/// Verifies the log of `account` (the nil UUID: of the installation), or every one, against the heads in `folder`, proved by the public
/// keys in `keys`.
///
/// # Errors
/// [`VerifyError`]: nothing is known then.
pub async fn verify(
    database_url: &str,
    folder: &Path,
    keys: &Path,
    account: Option<Uuid>,
) -> Result<Report, VerifyError> {
    let keys = Keys::load(keys).map_err(VerifyError::Keys)?;
    let unread = |error: Error| VerifyError::Database(error.into());
    let mut connection =
        PgConnection::connect(database_url).await.map_err(|error| VerifyError::Database(error.into()))?;
    // The exporter writes the file before the row: every head that is kept by now is in the folder, and every head in the folder is
    // one of the log that is read after it.
    let kept = audit_heads::kept(&mut connection).await.map_err(unread)?;
    let exported = Exported::read(folder, &keys).await.map_err(VerifyError::Heads)?;
    let mut accounts = match account {
        Some(account) => vec![account],
        None => audit_heads::accounts(&mut connection).await.map_err(unread)?,
    };
    if account.is_none() {
        accounts.extend(exported.accounts());
    }
    accounts.sort();
    accounts.dedup();
    let mut verdicts = Vec::with_capacity(accounts.len());
    for account in accounts {
        verdicts.push(verdict(&mut connection, account, &exported, kept.get(&account)).await.map_err(unread)?);
    }
    Ok(Report { verdicts, heads: exported.count(), unproven: exported.unproven })
}

async fn verdict(
    connection: &mut PgConnection,
    account: Uuid,
    exported: &Exported,
    kept: Option<&Kept>,
) -> Result<Verdict, Error> {
    let heads = exported.of(account);
    let stored = audit_heads::find(connection, account).await?;
    let (entries, proved) = prove(connection, account, heads.iter().map(|(head, _)| *head), stored.head).await?;
    let last = heads.iter().max_by_key(|(head, _)| head.number).map(|(head, at)| (head.number, *at));
    let absent = kept.copied().filter(|kept| last.is_none_or(|(number, _)| number < kept.number));
    // One that was kept after the newest head of all is no sign: what is here is a copy from before.
    let later = absent.filter(|kept| exported.newest().is_some_and(|newest| kept.at > newest));
    let missing = if later.is_none() { absent } else { None };
    let finding = finding(&stored, proved, missing);
    let later = later.map(|kept| (kept.number, kept.at));
    Ok(Verdict { account, entries, heads: heads.len(), last, later, finding })
}

fn finding(stored: &Log, proved: Result<Head, Flaw>, missing: Option<Kept>) -> Finding {
    match (stored.deletion, proved, missing) {
        (Some(Deletion::Done), ..) => Finding::Deleted,
        (Some(Deletion::UnderWay), ..) => Finding::BeingDeleted,
        (None, Err(flaw), _) => Finding::Flawed { kind: flaw.kind, number: flaw.number },
        (None, Ok(_), Some(kept)) => Finding::HeadsMissing { kept: kept.number },
        (None, Ok(_), None) => Finding::Sound,
    }
}

/// Reads a whole log, whose own head is `stored`, and computes every hash again. Returns how many entries are good, and what follows.
///
/// # Errors
/// When the database fails.
pub(crate) async fn prove(
    connection: &mut PgConnection,
    account: Uuid,
    heads: impl IntoIterator<Item = Head>,
    stored: Head,
) -> Result<(i64, Result<Head, Flaw>), Error> {
    let mut verification = Verification::new(account, heads);
    loop {
        let after = verification.head().number;
        let entries = audit::read(connection, account, after, AT_ONCE).await?;
        // What was appended since the head was read is not looked at.
        let mut entries = entries.iter().filter(|read| read.entry.number <= stored.number).peekable();
        if entries.peek().is_none() {
            break;
        }
        let looked = entries.try_for_each(|read| verification.take(&read.entry, |said| read.is_found_by(said)));
        if let Err(flaw) = looked {
            return Ok((verification.head().number, Err(flaw)));
        }
    }
    Ok((verification.head().number, verification.finish(stored)))
}
