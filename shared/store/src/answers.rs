//! Answers to repeated requests. A client that does not know whether its request arrived sends it again under the same
//! `request_id` and gets the first answer. `sql/answers.sql` is the table; [`crate::Database::answer_once`] the use.

use std::{fmt, sync::Arc, time::Duration};

use diwan_audit::{Record, ledger, origin};
use diwan_runtime::{Clock, Drain, worker};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use prost::{Message, Name};
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{Error, outbox, span};

/// How long a repeated request gets its first answer. Clients give up long before.
const KEPT: Duration = Duration::from_hours(48);
const PAUSE: Duration = Duration::from_hours(1);

/// One request that changes something.
#[derive(Clone, Debug)]
pub struct Request {
    account: Uuid,
    id: String,
    pub(crate) method: &'static str,
    digest: Vec<u8>,
    asked: Asked,
}

/// What was asked, for the audit log.
#[derive(Clone)]
struct Asked {
    kind: String,
    message: Vec<u8>,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)
    }
}

impl Request {
    /// `id` is the caller's `request_id`; `method` the RPC's name, e.g. `CreateTeam`. What is asked before an account is
    /// known has the nil account. Take secrets out of `message` first: its digest is stored, and that of a weak password
    /// can be guessed. Two equal messages must encode alike, so no `map` fields.
    pub fn new<M: Message + Name>(account: Uuid, id: &str, method: &'static str, message: &M) -> Self {
        let asked = Asked { kind: M::full_name(), message: message.encode_to_vec() };
        Self { account, id: id.to_owned(), method, digest: Sha256::digest(&asked.message).to_vec(), asked }
    }

    /// Only `person` gets the answer again; from anybody else of the account this is another request. For answers that do not
    /// concern or show everybody the same.
    #[must_use]
    pub fn by(mut self, person: Uuid) -> Self {
        self.digest = Sha256::new().chain_update(&self.digest).chain_update(person).finalize().to_vec();
        self
    }
}

/// Claims the request within `tx`: `Some` is the answer that was given before, `None` means that the caller now does it
/// and calls [`keep`] before the transaction commits.
///
/// At most one transaction a request commits: the primary key makes every other one wait here until the first has
/// ended, and then shows it either the answer or a free place.
///
/// # Errors
/// [`Error::RequestIdReused`], or [`Error::Sqlx`].
pub(crate) async fn claim<A: Message + Default>(
    tx: &mut PgConnection,
    request: &Request,
    now: Timestamp,
) -> Result<Option<A>, Error> {
    let claimed = sqlx::query(
        "insert into answers (account_id, request_id, method, digest, answer, created_at) values ($1, $2, $3, $4, '', $5)
         on conflict do nothing",
    )
    .bind(request.account)
    .bind(&request.id)
    .bind(request.method)
    .bind(&request.digest)
    .bind(now.to_sqlx())
    .execute(&mut *tx)
    .instrument(span("claim request"))
    .await?;
    if claimed.rows_affected() == 1 { Ok(None) } else { given(tx, request).await.map(Some) }
}

async fn given<A: Message + Default>(tx: &mut PgConnection, request: &Request) -> Result<A, Error> {
    let (method, digest, answer): (String, Vec<u8>, Vec<u8>) =
        sqlx::query_as("select method, digest, answer from answers where account_id = $1 and request_id = $2")
            .bind(request.account)
            .bind(&request.id)
            .fetch_one(tx)
            .instrument(span("read answer"))
            .await?;
    if method != request.method || digest != request.digest {
        return Err(Error::RequestIdReused);
    }
    Ok(A::decode(answer.as_slice())?)
}

/// Stores the answer to a request that [`claim`] gave to this transaction.
///
/// # Errors
/// [`Error::Sqlx`].
pub(crate) async fn keep(tx: &mut PgConnection, request: &Request, answer: &impl Message) -> Result<(), Error> {
    sqlx::query("update answers set answer = $3 where account_id = $1 and request_id = $2")
        .bind(request.account)
        .bind(&request.id)
        .bind(answer.encode_to_vec())
        .execute(tx)
        .instrument(span("keep answer"))
        .await?;
    Ok(())
}

/// Tells the audit log of a request whose transaction has told nothing: whoever writes a handler cannot forget to. Strangers
/// without an account ask for what becomes a change only later, if at all, e.g. a password reset.
///
/// # Errors
/// [`Error::Sqlx`].
pub(crate) async fn tell<A: Message + Name>(
    tx: &mut PgConnection,
    request: &Request,
    answer: &A,
    now: Timestamp,
) -> Result<(), Error> {
    let by_stranger = origin::current().actor() == origin::ActorKind::Stranger;
    if ledger::has_told() || (by_stranger && request.account.is_nil()) {
        return Ok(());
    }
    let record = Record::answered(request.account, (&request.asked.kind, &request.asked.message), answer);
    outbox::record(tx, request.account, now, &record).await
}

/// The answer that was given before, without claiming anything: for a request that calls another service before its
/// transaction. That call needs a request id of its own that is the same at every try.
///
/// # Errors
/// [`Error::RequestIdReused`], or [`Error::Sqlx`].
pub async fn find<A: Message + Default>(pool: &PgPool, request: &Request) -> Result<Option<A>, Error> {
    let mut connection = pool.acquire().await?;
    match given(&mut connection, request).await {
        Err(Error::Sqlx(sqlx::Error::RowNotFound)) => Ok(None),
        found => found.map(Some),
    }
}

/// Forgets answers after two days, until the process drains.
pub fn purge_regularly(drain: &Drain, pool: &PgPool, clock: &Arc<dyn Clock>) {
    let (pool, clock) = (pool.clone(), clock.clone());
    worker::supervise(drain, "purge answers", move || {
        let (pool, clock) = (pool.clone(), clock.clone());
        async move {
            purge(&pool, clock.now(), KEPT).await?;
            clock.sleep(PAUSE).await;
            Ok::<_, Error>(())
        }
    });
}

/// Forgets answers older than `age`, a thousand at a time so that no lock is held for long. Returns how many.
///
/// # Errors
/// [`Error::Sqlx`]; what was forgotten before it stays forgotten.
pub async fn purge(pool: &PgPool, now: Timestamp, age: Duration) -> Result<u64, Error> {
    let oldest = now.checked_sub(age).unwrap_or(Timestamp::MIN);
    let mut total = 0;
    loop {
        let purged = purge_some(pool, oldest).await?;
        total += purged;
        if purged == 0 {
            return Ok(total);
        }
    }
}

async fn purge_some(pool: &PgPool, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query(
        "delete from answers where (account_id, request_id) in
         (select account_id, request_id from answers where created_at < $1 order by created_at limit 1000)",
    )
    .bind(oldest.to_sqlx())
    .execute(pool)
    .instrument(span("purge answers"))
    .await?;
    Ok(purged.rows_affected())
}
