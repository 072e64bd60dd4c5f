//! The queue of what is still to be done elsewhere.

use diwan_runtime::ids;
use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    alerts::{Alert, Way},
    error::Error,
};

/// What is to be done. Doing it again changes nothing more, and doing it late does no harm: what depends on the state of a
/// user looks at that state when it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Effect {
    /// Give a new account its trial and its fallback team.
    ProvisionAccount {
        /// The owner.
        owner_id: Uuid,
        /// The language of the team's name.
        language: String,
    },
    /// Make a user, now active, a member of his teams.
    JoinTeams {
        /// The user.
        user_id: Uuid,
        /// The teams.
        team_ids: Vec<Uuid>,
    },
    /// Make billing hold, lease or free the seat of a user, as his state asks for.
    SettleSeat {
        /// The user, or who was to become one.
        user_id: Uuid,
    },
    /// Send a link to choose a new password, if the address is somebody's who may sign in. Who that is is not looked up before,
    /// so the job has the nil account.
    SendPasswordReset {
        /// The address in lower case.
        email: String,
        /// Until when the link is good.
        good_until: Timestamp,
    },
    /// Send the e-mail of an invitation, if it is still open.
    SendInvitation {
        /// The invited user.
        user_id: Uuid,
    },
    /// Send the code that confirms a WhatsApp number, if it still waits.
    SendNumberCode {
        /// Who wants to have it.
        user_id: Uuid,
        /// What the code is bound to.
        confirmation_id: Uuid,
    },
    /// Send a code to the confirmed WhatsApp number of a user who has to answer a challenge.
    SendSignInCode {
        /// Who signs in.
        user_id: Uuid,
        /// What the code is bound to.
        challenge_id: Uuid,
        /// After that it is not sent.
        good_until: Timestamp,
    },
    /// Tell a user of something.
    SendAlert {
        /// Whom.
        user_id: Uuid,
        /// Of what.
        alert: Alert,
        /// When it happened.
        at: Timestamp,
        /// How.
        way: Way,
    },
    /// Take the second factors of a user away, if this recovery of his still goes on.
    RecoverFactors {
        /// The user.
        user_id: Uuid,
        /// The recovery.
        recovery_id: Uuid,
    },
    /// Send the owner the e-mail that confirms his address, if it is not confirmed.
    SendEmailConfirmation,
    /// Tell an admin that the ownership is offered to him, if it still is.
    SendOwnershipOffer {
        /// The admin.
        user_id: Uuid,
    },
    /// Tell the owner how far the closing of his account is, if it still is.
    SendClosing {
        /// How far.
        stage: Stage,
    },
    /// Tell the owner that his export can be downloaded, if it still can.
    SendExportReady {
        /// The export.
        export_id: Uuid,
    },
    /// Delete a picture, if nobody has it.
    DropPicture {
        /// Its part of the blob store.
        picture_id: Uuid,
    },
    /// Free every seat of an account that is closed.
    ReleaseSeats,
}

/// How far the closing of an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// It has begun.
    Begun,
    /// It ends soon.
    Soon,
    /// The account is closed.
    Over,
}

/// An effect of one account in the queue.
#[derive(Clone, Debug)]
pub struct Job {
    /// The account.
    pub account_id: Uuid,
    /// Its id.
    pub id: Uuid,
    /// What is to be done.
    pub effect: Effect,
    /// How often it has been tried by a worker.
    pub attempts: i32,
    /// Whether the worker before has not said how its try ended: it died, or lost the database.
    pub interrupted: bool,
}

impl Job {
    /// A new one.
    pub fn new(account_id: Uuid, effect: Effect) -> Self {
        Self { account_id, id: ids::new_id(), effect, attempts: 0, interrupted: false }
    }
}

/// Queues a job in the transaction that makes it due. Workers leave it alone until `first_attempt_at`.
pub async fn insert(
    tx: &mut PgConnection,
    job: &Job,
    first_attempt_at: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into jobs (account_id, id, payload, next_attempt_at, created_at) values ($1, $2, $3, $4, $5)",
        job.account_id,
        job.id,
        Json(&job.effect) as _,
        first_attempt_at.to_sqlx() as _,
        now.to_sqlx() as _,
    )
    .execute(tx)
    .instrument(span("insert job"))
    .await?;
    Ok(())
}

/// Takes jobs that are due and keeps them until `lease`. No two workers have one at a time: the row is locked while it is
/// taken, and no longer due afterwards.
pub async fn claim(tx: &mut PgConnection, now: Timestamp, lease: Timestamp, limit: i64) -> Result<Vec<Job>, Error> {
    let rows = sqlx::query!(
        r#"update jobs j set next_attempt_at = $2, attempts = attempts + 1, begun = true
           from (select account_id, id, begun from jobs where next_attempt_at <= $1
                 order by next_attempt_at limit $3 for update skip locked) due
           where j.account_id = due.account_id and j.id = due.id
           returning j.account_id, j.id, j.payload as "payload: Json<Effect>", j.attempts, due.begun as interrupted"#,
        now.to_sqlx() as _,
        lease.to_sqlx() as _,
        limit,
    )
    .fetch_all(tx)
    .instrument(span("claim jobs"))
    .await?;
    let job = rows.into_iter().map(|row| Job {
        account_id: row.account_id,
        id: row.id,
        effect: row.payload.0,
        attempts: row.attempts,
        interrupted: row.interrupted,
    });
    Ok(job.collect())
}

/// Takes a job that is done out of the queue.
pub async fn finish(tx: &mut PgConnection, job: &Job) -> Result<(), Error> {
    sqlx::query!("delete from jobs where account_id = $1 and id = $2", job.account_id, job.id)
        .execute(tx)
        .instrument(span("finish job"))
        .await?;
    Ok(())
}

/// Puts a job that failed off until `next_attempt_at`.
pub async fn postpone(tx: &mut PgConnection, job: &Job, next_attempt_at: Timestamp, error: &str) -> Result<(), Error> {
    sqlx::query!(
        "update jobs set next_attempt_at = $3, last_error = $4, begun = false where account_id = $1 and id = $2",
        job.account_id,
        job.id,
        next_attempt_at.to_sqlx() as _,
        error,
    )
    .execute(tx)
    .instrument(span("postpone job"))
    .await?;
    Ok(())
}

/// When the next job is due.
pub async fn next_due(tx: &mut PgConnection) -> Result<Option<Timestamp>, Error> {
    let due = sqlx::query_scalar!(r#"select min(next_attempt_at) as "due: jiff_sqlx::Timestamp" from jobs"#)
        .fetch_one(tx)
        .instrument(span("next due job"))
        .await?;
    Ok(due.map(jiff_sqlx::Timestamp::to_jiff))
}
