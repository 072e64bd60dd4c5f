//! Conversations with a bot: whose turn it is. A turn belongs to its conversation and is locked after it; a claim locks the turn alone.

use std::time::Duration;

use diwan_runtime::clock::after;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgExecutor, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, bots::Bot, jiff};
use crate::{Error, domain::menu::Place};

/// Whose turn it is in a conversation with a bot.
#[derive(Clone, Debug)]
#[expect(clippy::struct_field_names, reason = "as the columns are named")]
pub struct Turn {
    pub conversation_id: Uuid,
    pub bot_id: Uuid,
    /// Messages of the customer that want an answer, and how many of them have one.
    pub turn: i32,
    pub answered: i32,
    /// When the prospective team's queue gets it.
    pub due_at: Option<SqlTimestamp>,
    pub claim_id: Option<Uuid>,
    pub claimed_turn: Option<i32>,
    pub claimed_until: Option<SqlTimestamp>,
    pub page: i32,
    pub language: String,
    pub questions: i32,
    pub misunderstood: i32,
    pub asked_version: i64,
}

impl Turn {
    /// Whether the customer waits.
    pub fn waiting(&self) -> bool {
        self.answered < self.turn
    }

    /// Whether it is due by then.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|due| due.to_jiff() <= now)
    }

    /// The turn that this claim is good for; `None`: for nothing.
    pub fn claimed_by(&self, claim: Uuid, now: Timestamp) -> Option<i32> {
        let until = self.claimed_until.map(SqlTimestamp::to_jiff)?;
        self.claimed_turn.filter(|_| self.claim_id == Some(claim) && until > now && !self.is_due(now))
    }

    /// Where the customer is in a menu; in none where the menu has changed since.
    pub fn place(&self, bot: &Bot) -> Place {
        let page = if self.asked_version == bot.version { self.page } else { 0 };
        Place {
            page: usize::try_from(page).unwrap_or_default(),
            language: self.language.clone(),
            questions: self.questions,
            misunderstood: self.misunderstood,
        }
    }
}

/// Reads turns of the account `$1` that meet a condition.
macro_rules! select {
    ($condition:tt, $($argument:tt)*) => {
        sqlx::query_as!(
            Turn,
            r#"select conversation_id, bot_id, turn, answered, due_at as "due_at: SqlTimestamp", claim_id, claimed_turn,
                      claimed_until as "claimed_until: SqlTimestamp", page, language, questions, misunderstood, asked_version
               from bot_turns where account_id = $1 and "# + $condition,
            $($argument)*
        )
    };
}

/// Begins the first turn of a conversation that starts with a bot.
pub async fn begin(
    tx: &mut Tx,
    account: Uuid,
    (conversation, bot): (Uuid, Uuid),
    due: Option<Timestamp>,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into bot_turns (account_id, conversation_id, bot_id, turn, answered, due_at) values ($1, $2, $3, 1, 0, $4)",
        account,
        conversation,
        bot,
        due.map(Timestamp::to_sqlx) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("begin bot turn"))
    .await?;
    Ok(())
}

/// That of one conversation.
pub async fn find(executor: impl PgExecutor<'_>, account: Uuid, conversation: Uuid) -> Result<Option<Turn>, Error> {
    let found = select!("conversation_id = $2", account, conversation);
    Ok(found.fetch_optional(executor).instrument(diwan_store::span("find bot turn")).await?)
}

/// Those of a service principal's bots after one, by the ids of the conversations.
pub async fn list(
    pool: &PgPool,
    account: Uuid,
    principal: Uuid,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Turn>, Error> {
    let found = select!(
        "bot_id in (select id from bots where account_id = $1 and principal_id = $2)
         and ($3::uuid is null or conversation_id > $3) order by conversation_id limit $4",
        account,
        principal,
        after,
        limit
    );
    Ok(found.fetch_all(pool).instrument(diwan_store::span("list bot turns")).await?)
}

/// The customer has written: a new turn. Who waits already is due as before. The conversation is locked by the caller.
pub async fn wrote(tx: &mut Tx, account: Uuid, conversation: Uuid, due: Option<Timestamp>) -> Result<(), Error> {
    sqlx::query!(
        "update bot_turns set turn = turn + 1, due_at = case when answered < turn then due_at else $3 end
         where account_id = $1 and conversation_id = $2",
        account,
        conversation,
        due.map(Timestamp::to_sqlx) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("note customer's turn"))
    .await?;
    Ok(())
}

/// The menu has asked. The conversation is locked by the caller.
pub async fn asked(
    tx: &mut Tx,
    account: Uuid,
    conversation: Uuid,
    (place, version): (&Place, i64),
    due: Option<Timestamp>,
) -> Result<(), Error> {
    sqlx::query!(
        "update bot_turns set answered = turn, due_at = $3, page = $4, language = $5, questions = $6, misunderstood = $7,
                asked_version = $8
         where account_id = $1 and conversation_id = $2",
        account,
        conversation,
        due.map(Timestamp::to_sqlx) as _,
        i32::try_from(place.page).unwrap_or_default(),
        place.language,
        place.questions,
        place.misunderstood,
        version
    )
    .execute(tx)
    .instrument(diwan_store::span("note menu's question"))
    .await?;
    Ok(())
}

/// The claimed turn has its answer; due from now on as given. `false`: the claim has gone to somebody else meanwhile. The conversation is
/// locked by the caller.
pub async fn answered(
    tx: &mut Tx,
    account: Uuid,
    (conversation, claim): (Uuid, Uuid),
    due: Option<Timestamp>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update bot_turns set answered = claimed_turn, due_at = $4, claim_id = null, claimed_turn = null, claimed_until = null,
                lease_seconds = null
         where account_id = $1 and conversation_id = $2 and claim_id = $3",
        account,
        conversation,
        claim,
        due.map(Timestamp::to_sqlx) as _
    )
    .execute(tx)
    .instrument(diwan_store::span("answer bot turn"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The bot has said something and has more to say: its claim goes on for as long again as it was taken for, and the customer is due as given.
/// `false`: the claim has gone to somebody else meanwhile. The conversation is locked by the caller.
pub async fn renew(
    tx: &mut Tx,
    account: Uuid,
    (conversation, claim): (Uuid, Uuid),
    due: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update bot_turns
         set due_at = $4::timestamptz, claimed_until = least($5::timestamptz + make_interval(secs => lease_seconds), $4::timestamptz)
         where account_id = $1 and conversation_id = $2 and claim_id = $3",
        account,
        conversation,
        claim,
        due.map(Timestamp::to_sqlx) as _,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("renew claim"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Holds a claim until this transaction ends. `false`: it has gone to somebody else meanwhile. The conversation is locked by the caller.
pub async fn hold_claim(tx: &mut Tx, account: Uuid, (conversation, claim): (Uuid, Uuid)) -> Result<bool, Error> {
    let found = sqlx::query!(
        "select from bot_turns where account_id = $1 and conversation_id = $2 and claim_id = $3 for update",
        account,
        conversation,
        claim
    )
    .fetch_optional(tx)
    .instrument(diwan_store::span("hold claim"))
    .await?;
    Ok(found.is_some())
}

/// Locks turns of a principal's enabled bots that nobody has claimed, those due first: their conversations. Of two who look at once one
/// gets a turn: the other one passes over what is locked, and looks again at what he has waited for.
pub async fn lock_free(
    tx: &mut Tx,
    account: Uuid,
    principal: Uuid,
    most: i64,
    now: Timestamp,
) -> Result<Vec<Uuid>, Error> {
    let free = sqlx::query_scalar!(
        "select t.conversation_id from bot_turns t
         where t.account_id = $1 and t.answered < t.turn and t.due_at > $3
           and (t.claimed_until is null or t.claimed_until <= $3)
           and t.bot_id in (select id from bots where account_id = $1 and principal_id = $2 and enabled)
         order by t.due_at, t.conversation_id limit $4 for update of t skip locked",
        account,
        principal,
        now.to_sqlx() as _,
        most
    );
    Ok(free.fetch_all(tx).instrument(diwan_store::span("lock free bot turns")).await?)
}

/// Claims turns, which are locked by the caller. They come back in no particular order.
pub async fn claim(
    tx: &mut Tx,
    account: Uuid,
    conversations: &[Uuid],
    (claim, lease): (Uuid, Duration),
    now: Timestamp,
) -> Result<Vec<Turn>, Error> {
    let claimed = sqlx::query_as!(
        Turn,
        r#"update bot_turns set claim_id = $3, claimed_turn = turn, claimed_until = least($4, due_at), lease_seconds = $5
           where account_id = $1 and conversation_id = any($2)
           returning conversation_id, bot_id, turn, answered, due_at as "due_at: SqlTimestamp", claim_id, claimed_turn,
                     claimed_until as "claimed_until: SqlTimestamp", page, language, questions, misunderstood, asked_version"#,
        account,
        conversations,
        claim,
        after(now, lease).to_sqlx() as _,
        i32::try_from(lease.as_secs()).unwrap_or(i32::MAX)
    );
    Ok(claimed.fetch_all(tx).instrument(diwan_store::span("claim bot turns")).await?)
}

/// A bot is disabled: all that is with it is due. Its row is locked by the caller.
pub async fn expire(tx: &mut Tx, account: Uuid, bot: Uuid, now: Timestamp) -> Result<(), Error> {
    sqlx::query!(
        "update bot_turns set due_at = $3 where account_id = $1 and bot_id = $2",
        account,
        bot,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("expire bot turns"))
    .await?;
    Ok(())
}

/// A menu has another version and the same pages: whoever was asked by it stays where he is.
pub async fn keep_asked(tx: &mut Tx, account: Uuid, bot: Uuid, (old, new): (i64, i64)) -> Result<(), Error> {
    sqlx::query!(
        "update bot_turns set asked_version = $4 where account_id = $1 and bot_id = $2 and asked_version = $3",
        account,
        bot,
        old,
        new
    )
    .execute(tx)
    .instrument(diwan_store::span("keep menu's question"))
    .await?;
    Ok(())
}

/// These conversations are with no bot any more.
pub async fn end(tx: &mut Tx, account: Uuid, conversations: &[Uuid]) -> Result<(), Error> {
    sqlx::query!("delete from bot_turns where account_id = $1 and conversation_id = any($2)", account, conversations)
        .execute(tx)
        .instrument(diwan_store::span("end bot turns"))
        .await?;
    Ok(())
}

/// Conversations that are due, as (account, conversation), the longest ago first.
pub async fn due(pool: &PgPool, now: Timestamp, most: i64) -> Result<Vec<(Uuid, Uuid)>, Error> {
    let rows = sqlx::query!(
        "select account_id, conversation_id from bot_turns where due_at <= $1 order by due_at limit $2",
        now.to_sqlx() as _,
        most
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("find due bot turns"))
    .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row.conversation_id)).collect())
}

/// When the next one of any account is due.
pub async fn next_due(pool: &PgPool) -> Result<Option<Timestamp>, Error> {
    let next = sqlx::query_scalar!(r#"select min(due_at) as "next: SqlTimestamp" from bot_turns"#)
        .fetch_one(pool)
        .instrument(diwan_store::span("find next bot turn"))
        .await?;
    Ok(jiff(next))
}

/// What a conversation becomes when it leaves its bot for a queue.
#[derive(Clone, Debug)]
pub struct Leaving<'a> {
    pub team: Uuid,
    pub topics: &'a [Uuid],
    pub priority: i16,
}

/// Puts a conversation from its bot into a queue, if it still has this version.
pub async fn leave(
    tx: &mut Tx,
    account: Uuid,
    (id, version): (Uuid, i64),
    to: &Leaving<'_>,
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set state = 'QUEUED', team_id = $4, queued_at = $5, topic_ids = $6, priority = $7, wait_alerted = false,
                version = version + 1
         where account_id = $1 and id = $2 and version = $3 and state = 'BOT'",
        account,
        id,
        version,
        to.team,
        now.to_sqlx() as _,
        to.topics,
        to.priority
    )
    .execute(tx)
    .instrument(diwan_store::span("leave bot"))
    .await?;
    Ok(done.rows_affected() == 1)
}
