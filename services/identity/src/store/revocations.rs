//! Revocations: written where a token loses its force, read by the one reader of the process.

use diwan_feed::Change;
use diwan_proto::identity::v1::{RevocationSubject, SessionEnded};
use diwan_runtime::ids;
use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::Error;

/// Tokens of a subject with a lower epoch are refused.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its own id.
    pub id: Uuid,
    /// What kind of thing the subject is.
    pub subject: RevocationSubject,
    /// The account, user or session.
    pub subject_id: Uuid,
    /// The lowest epoch that is still good.
    pub epoch: i64,
    /// When it was written.
    pub at: Timestamp,
}

/// What one look found.
pub struct Look {
    /// The rows, in no particular order.
    pub rows: Vec<Row>,
    /// Transactions below it had ended when the look was taken: the next one begins here.
    pub horizon: i64,
}

/// Revokes, in the transaction that raises the epoch. Of a session that ends by it the feed tells too.
pub async fn insert(
    tx: &mut PgConnection,
    account: Uuid,
    (subject, subject_id): (RevocationSubject, Uuid),
    epoch: i64,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into revocations (account_id, id, subject, subject_id, epoch, at) values ($1, $2, $3, $4, $5, $6)",
        account,
        ids::new_id(),
        subject.as_str_name(),
        subject_id,
        epoch,
        now.to_sqlx() as _,
    )
    .execute(&mut *tx)
    .instrument(span("insert revocation"))
    .await?;
    if subject == RevocationSubject::Session {
        tell_of_session(tx, account, (subject_id, epoch), now).await?;
    }
    Ok(())
}

async fn tell_of_session(
    tx: &mut PgConnection,
    account: Uuid,
    (session, epoch): (Uuid, i64),
    now: Timestamp,
) -> Result<(), Error> {
    let user = sqlx::query_scalar!("select user_id from sessions where account_id = $1 and id = $2", account, session)
        .fetch_one(&mut *tx)
        .instrument(span("read user of session"))
        .await?;
    let ended = SessionEnded { session_id: session.to_string(), user_id: user.to_string() };
    Ok(diwan_feed::append(tx, account, now, &[Change::new(session, epoch, &ended)]).await?)
}

/// The visible rows written since `since` by transactions of `horizon` and above, with the horizon for the next look. One
/// statement, so that rows and horizon are of one snapshot.
pub async fn look(tx: &mut PgConnection, horizon: i64, since: Timestamp) -> Result<Look, Error> {
    let found = sqlx::query!(
        r#"select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as "horizon!", r.id as "id?", r.subject as "subject?",
                  r.subject_id as "subject_id?", r.epoch as "epoch?", r.at as "at?: jiff_sqlx::Timestamp"
           from (select) as always
           left join revocations r on r.xid >= $1::bigint::text::xid8 and r.at >= $2"#,
        horizon,
        since.to_sqlx() as _,
    )
    .fetch_all(tx)
    .instrument(span("look for revocations"))
    .await?;
    let mut look = Look { rows: Vec::new(), horizon };
    for row in found {
        look.horizon = row.horizon;
        let (Some(id), Some(subject), Some(subject_id), Some(epoch), Some(at)) =
            (row.id, row.subject, row.subject_id, row.epoch, row.at)
        else {
            continue;
        };
        let subject = RevocationSubject::from_str_name(&subject).ok_or(Error::Unreadable("subject"))?;
        look.rows.push(Row { id, subject, subject_id, epoch, at: at.to_jiff() });
    }
    Ok(look)
}

/// Forgets what is older than `oldest`, at most a thousand. Returns how many.
pub async fn purge(tx: &mut PgConnection, oldest: Timestamp) -> Result<u64, Error> {
    let purged = sqlx::query!(
        "delete from revocations where (account_id, id) in
         (select account_id, id from revocations where at < $1 order by at limit 1000)",
        oldest.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("purge revocations"))
    .await?;
    Ok(purged.rows_affected())
}
