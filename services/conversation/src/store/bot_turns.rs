//! Conversations with a bot: whose turn it is. A turn belongs to its conversation and is locked after it; a claim locks the turn alone.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgExecutor, PgPool};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, bots::Bot, jiff};
use crate::{
    Error,
    domain::{
        menu::Place,
        turns::{Claim, Turns},
    },
};

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
    /// For how long it was claimed.
    pub lease_seconds: Option<i32>,
    pub page: i32,
    pub language: String,
    pub questions: i32,
    pub misunderstood: i32,
    pub asked_version: i64,
}

impl Turn {
    /// What the rules look at.
    pub fn turns(&self) -> Turns {
        let claim = self.claim_id.zip(self.claimed_turn).zip(jiff(self.claimed_until));
        let lease = self.lease_seconds.unwrap_or_default();
        let claim = claim.map(|((id, turn), until)| Claim { id, turn, until, lease });
        Turns { begun: self.turn, answered: self.answered, due: jiff(self.due_at), claim }
    }

    /// The same conversation after the rules have looked.
    #[must_use]
    pub fn with(self, turns: Turns) -> Self {
        let claim = turns.claim;
        Self {
            turn: turns.begun,
            answered: turns.answered,
            due_at: turns.due.map(Timestamp::to_sqlx),
            claim_id: claim.map(|claim| claim.id),
            claimed_turn: claim.map(|claim| claim.turn),
            claimed_until: claim.map(|claim| claim.until.to_sqlx()),
            lease_seconds: claim.map(|claim| claim.lease),
            ..self
        }
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
                      claimed_until as "claimed_until: SqlTimestamp", lease_seconds, page, language, questions, misunderstood,
                      asked_version
               from bot_turns t where account_id = $1 and "# + $condition,
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

/// That of one conversation, which nobody claims or changes until this transaction ends. The conversation is locked by the caller.
pub async fn lock(tx: &mut Tx, account: Uuid, conversation: Uuid) -> Result<Option<Turn>, Error> {
    let found = select!("conversation_id = $2 for update", account, conversation);
    Ok(found.fetch_optional(tx).instrument(diwan_store::span("lock bot turn")).await?)
}

/// Stores what has become of a turn, which is locked by the caller.
pub async fn save(tx: &mut Tx, account: Uuid, conversation: Uuid, turns: Turns) -> Result<(), Error> {
    let Turns { begun, answered, due, claim } = turns;
    sqlx::query!(
        "update bot_turns set turn = $3, answered = $4, due_at = $5, claim_id = $6, claimed_turn = $7, claimed_until = $8, lease_seconds = $9
         where account_id = $1 and conversation_id = $2",
        account,
        conversation,
        begun,
        answered,
        due.map(Timestamp::to_sqlx) as _,
        claim.map(|claim| claim.id),
        claim.map(|claim| claim.turn),
        claim.map(|claim| claim.until.to_sqlx()) as _,
        claim.map(|claim| claim.lease)
    )
    .execute(tx)
    .instrument(diwan_store::span("save bot turn"))
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

/// Locks turns of a principal's enabled bots that nobody has claimed, those due first. Of two who look at once one gets a turn: the other
/// one passes over what is locked, and looks again at what he has waited for.
pub async fn lock_free(
    tx: &mut Tx,
    account: Uuid,
    principal: Uuid,
    most: i64,
    now: Timestamp,
) -> Result<Vec<Turn>, Error> {
    let free = select!(
        "answered < turn and due_at > $3 and (claimed_until is null or claimed_until <= $3)
         and bot_id in (select id from bots where account_id = $1 and principal_id = $2 and enabled)
         order by t.due_at, conversation_id limit $4 for update of t skip locked",
        account,
        principal,
        now.to_sqlx() as _,
        most
    );
    Ok(free.fetch_all(tx).instrument(diwan_store::span("lock free bot turns")).await?)
}

/// Stores the claims of turns, which are locked by the caller.
pub async fn claim(tx: &mut Tx, account: Uuid, turns: &[Turn]) -> Result<(), Error> {
    let conversations: Vec<Uuid> = turns.iter().map(|turn| turn.conversation_id).collect();
    let claims: Vec<Option<Uuid>> = turns.iter().map(|turn| turn.claim_id).collect();
    let claimed: Vec<Option<i32>> = turns.iter().map(|turn| turn.claimed_turn).collect();
    let until: Vec<Option<SqlTimestamp>> = turns.iter().map(|turn| turn.claimed_until).collect();
    let leases: Vec<Option<i32>> = turns.iter().map(|turn| turn.lease_seconds).collect();
    sqlx::query!(
        "update bot_turns t
         set claim_id = d.claim, claimed_turn = d.turn, claimed_until = d.until, lease_seconds = d.lease
         from unnest($2::uuid[], $3::uuid[], $4::integer[], $5::timestamptz[], $6::integer[]) as d (id, claim, turn, until, lease)
         where t.account_id = $1 and t.conversation_id = d.id",
        account,
        &conversations,
        &claims as _,
        &claimed as _,
        &until as _,
        &leases as _
    )
    .execute(tx)
    .instrument(diwan_store::span("claim bot turns"))
    .await?;
    Ok(())
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
