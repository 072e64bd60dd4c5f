//! Conversations: reading them, and the changes of one.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Tx, jiff};
use crate::{
    Error,
    domain::{
        scope::{Facts, Scope},
        state::{Priority, State},
    },
};

/// A conversation with its contact, as it is stored.
#[derive(Clone, Debug)]
pub struct Conversation {
    pub id: Uuid,
    pub team_id: Uuid,
    pub state: String,
    pub holder_id: Option<Uuid>,
    pub last_holder_id: Option<Uuid>,
    pub contact_id: Uuid,
    pub contact_name: String,
    pub contact_email: String,
    pub contact_country: Option<String>,
    pub contact_groups: Vec<Uuid>,
    pub subject: String,
    pub mailbox_id: Option<Uuid>,
    pub mailbox_address: String,
    pub version: i64,
    pub created_at: SqlTimestamp,
    pub queued_at: Option<SqlTimestamp>,
    pub assigned_at: Option<SqlTimestamp>,
    pub closed_at: Option<SqlTimestamp>,
    pub last_message_at: SqlTimestamp,
    pub priority: i16,
    pub topic_ids: Vec<Uuid>,
    pub snoozed_until: Option<SqlTimestamp>,
    /// Since when its customer waits for an answer of a person.
    pub unanswered_since: Option<SqlTimestamp>,
    /// Whether its team may take it from a holder who does not answer.
    pub reoffered: Option<bool>,
    /// The bot that it is or was with.
    pub bot_id: Option<Uuid>,
}

impl Conversation {
    /// Where it is.
    pub fn state(&self) -> Result<State, Error> {
        State::of_name(&self.state).ok_or(Error::Unknown("state"))
    }

    /// How urgent it is.
    pub fn priority(&self) -> Result<Priority, Error> {
        Priority::of_level(self.priority).ok_or(Error::Unknown("priority"))
    }

    /// Whether its customer waits for the answer of an agent who may lose it for that.
    pub fn waits_for_holder(&self) -> bool {
        self.unanswered_since.is_some() && self.state == State::Open.name() && self.reoffered == Some(true)
    }

    /// What visibility looks at.
    pub fn facts(&self) -> Result<Facts, Error> {
        let state = self.state()?;
        let holder = if state == State::Closed { self.last_holder_id } else { self.holder_id };
        Ok(Facts { state, team: self.team_id, holder })
    }

    /// As the protocol shows it to whoever may see everything of it.
    pub fn to_proto(&self, account: Uuid) -> Result<proto::Conversation, Error> {
        let time = |time: Option<SqlTimestamp>| jiff(time).map(to_proto);
        let facts = self.facts()?;
        Ok(proto::Conversation {
            id: self.id.to_string(),
            account_id: account.to_string(),
            team_id: self.team_id.to_string(),
            state: facts.state.to_proto().into(),
            holder_id: facts.holder.map(|id| id.to_string()).unwrap_or_default(),
            contact: Some(proto::Contact {
                id: self.contact_id.to_string(),
                name: self.contact_name.clone(),
                email: self.contact_email.clone(),
                country: self.contact_country.clone().unwrap_or_default(),
                group_ids: self.contact_groups.iter().map(ToString::to_string).collect(),
            }),
            subject: self.subject.clone(),
            mailbox_id: self.mailbox_id.map(|id| id.to_string()).unwrap_or_default(),
            version: self.version,
            created_at: time(Some(self.created_at)),
            queued_at: time(self.queued_at),
            assigned_at: time(self.assigned_at),
            closed_at: time(self.closed_at),
            last_message_at: time(Some(self.last_message_at)),
            priority: self.priority()?.to_proto().into(),
            topic_ids: self.topic_ids.iter().map(ToString::to_string).collect(),
            snoozed_until: time(self.snoozed_until),
            bot_id: self.bot_id.filter(|_| facts.state == State::Bot).map(|id| id.to_string()).unwrap_or_default(),
        })
    }
}

/// Reads conversations of the account `$1`, each called `c`, from a source of them, where they meet a condition. What the source needs
/// may stand before.
macro_rules! select {
    ($with:tt, $from:tt, $condition:tt $(+ $more:tt)*, $($argument:tt)*) => {
        sqlx::query_as!(
            Conversation,
            $with + r#"
               select c.id, c.team_id, c.state, c.holder_id, c.last_holder_id, c.contact_id, k.name as contact_name,
                      k.email as contact_email, k.country as contact_country, k.group_ids as contact_groups, c.subject, c.mailbox_id,
                      c.mailbox_address, c.version,
                      c.created_at as "created_at: SqlTimestamp", c.queued_at as "queued_at: SqlTimestamp",
                      c.assigned_at as "assigned_at: SqlTimestamp", c.closed_at as "closed_at: SqlTimestamp",
                      c.last_message_at as "last_message_at: SqlTimestamp", c.priority, c.topic_ids,
                      c.snoozed_until as "snoozed_until: SqlTimestamp", c.bot_id,
                      c.unanswered_since as "unanswered_since: SqlTimestamp",
                      (select t.no_answer_after_minutes > 0 or t.reassign_when_offline from teams t
                       where t.account_id = c.account_id and t.id = c.team_id) as reoffered
               from "# + $from + r#"
               cross join lateral (select * from contacts where account_id = c.account_id and id = c.contact_id limit 1) k
               where c.account_id = $1 and "# + $condition $(+ $more)*,
            $($argument)*
        )
    };
}
pub(super) use select;

/// Those of the given ones that exist, in no particular order.
///
/// Each is looked up by its key: a plan for all of them, made while the table was young, would read all of it for each arrival.
pub async fn load(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<Vec<Conversation>, Error> {
    let found = select!(
        "",
        "unnest($2::uuid[]) asked (id)
         cross join lateral (select * from conversations where account_id = $1 and id = asked.id limit 1) c",
        "true",
        account,
        ids
    );
    Ok(found.fetch_all(tx).instrument(diwan_store::span("load conversations")).await?)
}

/// One that `scope` sees.
///
/// # Errors
/// [`Error::NotFound`]: there is none, or he does not see it.
pub async fn visible(tx: &mut Tx, account: Uuid, id: Uuid, scope: &Scope) -> Result<Conversation, Error> {
    let found = load(tx, account, &[id]).await?.pop().ok_or(Error::NotFound)?;
    if scope.sees(found.facts()?) { Ok(found) } else { Err(Error::NotFound) }
}

/// A conversation that comes in.
#[derive(Clone, Debug)]
pub struct New<'a> {
    pub id: Uuid,
    pub team: Uuid,
    pub contact: Uuid,
    pub subject: &'a str,
    pub mailbox: Uuid,
    pub mailbox_address: &'a str,
    pub priority: Priority,
    pub topics: &'a [Uuid],
    /// The bot that it starts with; `None`: in its team's queue.
    pub bot: Option<Uuid>,
    /// When its first message came in.
    pub created_at: Timestamp,
    /// Whether its customer waits for an answer: not where a machine wrote.
    pub wants_answer: bool,
}

/// Stores a new one, with its bot or in its team's queue, and returns it.
pub async fn insert(tx: &mut Tx, account: Uuid, new: &New<'_>, now: Timestamp) -> Result<Conversation, Error> {
    let made = select!(
        "with made as (
             insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_id, mailbox_address, version,
                                        created_at, queued_at, last_message_at, priority, topic_ids, bot_id,
                                        unanswered_since)
             values ($1, $2, $3, $4, case when $12::uuid is null then 'QUEUED' else 'BOT' end, $5, $6, $7, 1,
                     $8, case when $12::uuid is null then $9::timestamptz end, $8, $10, $11, $12,
                     case when $13::boolean then $9::timestamptz end)
             returning *)",
        "made c",
        "true",
        account,
        new.id,
        new.team,
        new.contact,
        new.subject,
        new.mailbox,
        new.mailbox_address,
        new.created_at.to_sqlx() as _,
        now.to_sqlx() as _,
        new.priority.level(),
        new.topics,
        new.bot,
        new.wants_answer
    );
    Ok(made.fetch_one(tx).instrument(diwan_store::span("insert conversation")).await?)
}

/// Gives it to `holder` in `team`, if it still has this version. The slots that this concerns are locked by the caller.
pub async fn hold(
    tx: &mut Tx,
    account: Uuid,
    (id, version): (Uuid, i64),
    (team, holder): (Uuid, Uuid),
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set state = 'OPEN', team_id = $4, holder_id = $5, last_holder_id = $5, assigned_at = $6,
                queued_at = null, closed_at = null, snoozed_until = null, version = version + 1
         where account_id = $1 and id = $2 and version = $3",
        account,
        id,
        version,
        team,
        holder,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("hold conversation"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts it into the queue of `team`, if it still has this version. What waits already goes on waiting there: as long as it has.
pub async fn queue(
    tx: &mut Tx,
    account: Uuid,
    (id, version): (Uuid, i64),
    team: Uuid,
    now: Timestamp,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set state = 'QUEUED', team_id = $4, holder_id = null, queued_at = coalesce(queued_at, $5),
                closed_at = null, snoozed_until = null, wait_alerted = wait_alerted and state = 'QUEUED', version = version + 1
         where account_id = $1 and id = $2 and version = $3",
        account,
        id,
        version,
        team,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("queue conversation"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Closes it, if it still has this version.
pub async fn close(tx: &mut Tx, account: Uuid, id: Uuid, version: i64, now: Timestamp) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update conversations set state = 'CLOSED', holder_id = null, queued_at = null, snoozed_until = null, closed_at = $4,
                unanswered_since = null, asked = '{}', version = version + 1
         where account_id = $1 and id = $2 and version = $3",
        account,
        id,
        version,
        now.to_sqlx() as _
    )
    .execute(tx)
    .instrument(diwan_store::span("close conversation"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Who wrote a message, as far as an answer is concerned.
#[derive(Clone, Copy, Debug)]
pub enum Writer {
    /// The customer, who waits for an answer now if he did not already.
    Customer(Timestamp),
    /// A person, who answers by it.
    Person,
    /// A machine, a bot, or nobody.
    Nobody,
}

/// A message came or went, if it still has this version.
pub async fn touch(
    tx: &mut Tx,
    account: Uuid,
    (id, version): (Uuid, i64),
    writer: Writer,
    at: Timestamp,
) -> Result<bool, Error> {
    let (waits, answered) = match writer {
        Writer::Customer(now) => (Some(now), false),
        Writer::Person => (None, true),
        Writer::Nobody => (None, false),
    };
    let done = sqlx::query!(
        "update conversations set last_message_at = greatest(last_message_at, $4), version = version + 1,
                unanswered_since = case when not $6::boolean then coalesce(unanswered_since, $5) end,
                asked = case when $6 then '{}' else asked end
         where account_id = $1 and id = $2 and version = $3",
        account,
        id,
        version,
        at.to_sqlx() as _,
        waits.map(Timestamp::to_sqlx) as _,
        answered
    )
    .execute(tx)
    .instrument(diwan_store::span("touch conversation"))
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes from a user what he holds, of one team or of all, and puts it into the queues. His slots are locked by the caller.
/// Returns each with its team and its state before.
pub async fn take_away(
    tx: &mut Tx,
    account: Uuid,
    user: Uuid,
    team: Option<Uuid>,
    now: Timestamp,
) -> Result<Vec<(Uuid, Uuid, State)>, Error> {
    let rows = sqlx::query!(
        r#"with held as (
               select id, state from conversations
               where account_id = $1 and holder_id = $2 and ($3::uuid is null or team_id = $3)
               order by id for no key update)
           update conversations c set state = 'QUEUED', holder_id = null, queued_at = $4, snoozed_until = null, wait_alerted = false,
                  version = c.version + 1
           from held where c.account_id = $1 and c.id = held.id
           returning c.id, c.team_id, held.state as "before!""#,
        account,
        user,
        team,
        now.to_sqlx() as _
    )
    .fetch_all(tx)
    .instrument(diwan_store::span("take conversations away"))
    .await?;
    let state = |name: &str| State::of_name(name).ok_or(Error::Unknown("state"));
    rows.into_iter().map(|row| Ok((row.id, row.team_id, state(&row.before)?))).collect()
}
