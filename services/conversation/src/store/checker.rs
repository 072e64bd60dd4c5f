//! Recounting what every transaction keeps right: each rule is one query that finds what breaks it. The rules are sound under
//! concurrency: one account's rows as they are in one snapshot never break one, whatever is going on.

mod ledger;

use diwan_proto::conversation::v1::{Violation, ViolationKind as Kind};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// Every rule, in the order in which they are checked: one that a later one relies on comes first.
pub const RULES: [Kind; 15] = [
    Kind::NoTransition,
    Kind::LastTransition,
    Kind::BrokenHistory,
    Kind::Version,
    Kind::OpenCount,
    Kind::AutomaticCount,
    Kind::Holder,
    Kind::HolderNotEntitled,
    Kind::OverLimit,
    Kind::NoTeam,
    Kind::Message,
    Kind::Send,
    Kind::Decision,
    Kind::Asked,
    Kind::Bot,
];

/// The most violations of one rule and account that are told; the queries say the same.
const MOST: usize = 1000;

/// What breaks one rule in one account.
#[derive(Debug)]
pub struct Found {
    /// The first of them.
    pub violations: Vec<Violation>,
    /// All of them.
    pub count: i64,
}

struct Row {
    conversation: Option<Uuid>,
    team: Option<Uuid>,
    user: Option<Uuid>,
    message: Option<Uuid>,
    found: String,
    expected: String,
    total: i64,
}

/// Every account that anything is known of, by id.
pub async fn accounts(pool: &PgPool) -> Result<Vec<Uuid>, Error> {
    let mut tx = snapshot(pool).await?;
    let accounts = sqlx::query_scalar!(
        r#"select account_id as "account_id!" from teams union select account_id from slots
           union select account_id from conversations order by 1"#
    )
    .fetch_all(&mut *tx)
    .instrument(diwan_store::span("list accounts"))
    .await?;
    Ok(accounts)
}

/// Whether anything is known of an account.
pub async fn is_known(pool: &PgPool, account: Uuid) -> Result<bool, Error> {
    let known = sqlx::query_scalar!(
        r#"select exists (select from teams where account_id = $1) or exists (select from users where account_id = $1)
               or exists (select from conversations where account_id = $1) as "known!""#,
        account
    )
    .fetch_one(pool)
    .instrument(diwan_store::span("look for account"))
    .await?;
    Ok(known)
}

/// A transaction that sees the database as it is now until its end, and changes nothing. Its statements may take minutes.
pub async fn snapshot(pool: &PgPool) -> Result<Transaction<'static, Postgres>, Error> {
    let mut tx = pool.begin_with("begin isolation level repeatable read read only").await?;
    sqlx::query("set local statement_timeout = '10min'").execute(&mut *tx).await?;
    Ok(tx)
}

/// Looks for what breaks a rule.
pub async fn check(tx: &mut PgConnection, account: Uuid, rule: Kind) -> Result<Found, Error> {
    let rows = match rule {
        Kind::OpenCount => open_counts(tx, account).await?,
        Kind::AutomaticCount => automatic_counts(tx, account).await?,
        Kind::NoTransition => without_transition(tx, account).await?,
        Kind::LastTransition => last_transitions(tx, account).await?,
        Kind::BrokenHistory => broken_histories(tx, account).await?,
        Kind::Version => versions(tx, account).await?,
        Kind::Holder => holders(tx, account).await?,
        Kind::HolderNotEntitled => entitlements(tx, account).await?,
        Kind::OverLimit => ledger::over_limit(tx, account).await?,
        Kind::NoTeam => without_team(tx, account).await?,
        Kind::Message => messages(tx, account).await?,
        Kind::Send => sends(tx, account).await?,
        Kind::Decision => ledger::decisions(tx, account).await?,
        Kind::Asked => asked(tx, account).await?,
        Kind::Bot => bots(tx, account).await?,
        Kind::Unspecified => Vec::new(),
    };
    let count = rows.first().map_or(0, |row| row.total);
    let violations = rows.into_iter().take(MOST).map(|row| row.violation(account, rule)).collect();
    Ok(Found { violations, count })
}

impl Row {
    fn violation(self, account: Uuid, kind: Kind) -> Violation {
        let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        Violation {
            kind: kind.into(),
            account_id: account.to_string(),
            conversation_id: id(self.conversation),
            team_id: id(self.team),
            user_id: id(self.user),
            message_id: id(self.message),
            found: self.found,
            expected: self.expected,
        }
    }
}

/// The rows of a query that yields conversation, team, user, message, found and expected: the first 1,000, and how many there are.
macro_rules! violations {
    ($tx:ident, $account:ident, $span:literal, $sql:tt) => {
        sqlx::query_as!(
            Row,
            r#"select conversation as "conversation?", team as "team?", "user" as "user?", message as "message?",
                      coalesce(found, '') as "found!", coalesce(expected, '') as "expected!", count(*) over () as "total!"
               from ("# + $sql
                + r#") as violated (conversation, team, "user", message, found, expected)
               order by conversation, team, "user", message limit 1000"#,
            $account
        )
        .fetch_all($tx)
        .instrument(diwan_store::span($span))
        .await
    };
}

async fn open_counts(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check open counts",
        "select null::uuid, coalesce(s.team_id, c.team_id), coalesce(s.user_id, c.holder_id), null::uuid,
                coalesce(s.open_count, 0)::text, coalesce(c.held, 0)::text
         from (select * from slots where account_id = $1) s
         full join (select team_id, holder_id, count(*) as held from conversations
                    where account_id = $1 and state = 'OPEN' and holder_id is not null group by team_id, holder_id) c
             on c.team_id = s.team_id and c.holder_id = s.user_id
         where coalesce(s.open_count, 0) <> coalesce(c.held, 0)"
    )
}

/// The count itself starts over when an agent comes or a limit goes; the time of the last one stays. What somebody else did not answer is
/// not counted. A minute, because the clocks of the replicas differ.
async fn automatic_counts(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check automatic counts",
        "select null::uuid, t.team_id, t.to_holder_id, null::uuid, coalesce(s.last_assigned_at::text, 'none'), t.last::text
         from (select team_id, to_holder_id, max(at) as last from transitions a
               where account_id = $1 and cause = 'AUTOMATIC'
                 and not exists (select from transitions n
                                 where n.account_id = $1 and n.conversation_id = a.conversation_id and n.version < a.version
                                   and n.cause = 'NO_ANSWER')
               group by team_id, to_holder_id) t
         left join slots s on s.account_id = $1 and s.team_id = t.team_id and s.user_id = t.to_holder_id
         where s.last_assigned_at is null or s.last_assigned_at < t.last - interval '1 minute'"
    )
}

async fn without_transition(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check for transitions",
        "select c.id, null::uuid, null::uuid, null::uuid, 'none', 'at least one'
         from conversations c
         where c.account_id = $1
           and not exists (select from transitions t where t.account_id = $1 and t.conversation_id = c.id)"
    )
}

async fn last_transitions(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check last transitions",
        "select c.id, null::uuid, null::uuid, null::uuid,
                format('%s in team %s with %s', c.state, c.team_id, coalesce(c.holder_id::text, 'nobody')),
                format('%s in team %s with %s', t.to_state, t.team_id, coalesce(t.to_holder_id::text, 'nobody'))
         from conversations c
         join (select distinct on (conversation_id) * from transitions
               where account_id = $1 order by conversation_id, version desc) t on t.conversation_id = c.id
         where c.account_id = $1
           and (c.state, c.team_id, c.holder_id) is distinct from (t.to_state, t.team_id, t.to_holder_id)"
    )
}

async fn broken_histories(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check histories",
        "select t.conversation_id, null::uuid, null::uuid, null::uuid,
                format('version %s from %s with %s', t.version, coalesce(t.from_state, 'nothing'),
                       coalesce(t.from_holder_id::text, 'nobody')),
                format('from %s with %s', coalesce(t.state, 'nothing'), coalesce(t.holder::text, 'nobody'))
         from (select *, lag(to_state) over history as state, lag(to_holder_id) over history as holder
               from transitions where account_id = $1
               window history as (partition by conversation_id order by version)) t
         where (t.from_state, t.from_holder_id) is distinct from (t.state, t.holder)"
    )
}

/// Not every version has a transition: messages, topics and priorities count as well.
async fn versions(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check versions",
        "select c.id, null::uuid, null::uuid, null::uuid, format('from %s to %s', t.first, t.last),
                format('from 1 to at most %s', c.version)
         from conversations c
         join (select conversation_id, min(version) as first, max(version) as last from transitions
               where account_id = $1 group by conversation_id) t on t.conversation_id = c.id
         where c.account_id = $1 and (t.first <> 1 or t.last > c.version)"
    )
}

async fn holders(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check holders",
        "select id, null::uuid, holder_id, null::uuid,
                format('%s with %s', state, coalesce(holder_id::text, 'nobody')),
                case when state in ('OPEN', 'SNOOZED') then 'its holder, who is its last one' else 'nobody' end
         from conversations
         where account_id = $1
           and ((holder_id is not null) <> (state in ('OPEN', 'SNOOZED'))
                or (holder_id is not null and last_holder_id is distinct from holder_id))"
    )
}

/// Somebody of another team who sees it may take it by hand, and keeps it then. A user who is not known yet passes: his token said
/// who he is before the feed did.
async fn entitlements(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check entitlements",
        "select c.id, c.team_id, c.holder_id, null::uuid,
                case when u.active = false then 'deactivated' else 'no member, by ' || coalesce(t.cause, 'nothing') end,
                'an active member'
         from conversations c
         left join users u on u.account_id = $1 and u.id = c.holder_id
         left join slots s on s.account_id = $1 and s.team_id = c.team_id and s.user_id = c.holder_id
         left join lateral (select cause from transitions t
                            where t.account_id = $1 and t.conversation_id = c.id
                              and t.from_holder_id is distinct from t.to_holder_id
                            order by t.version desc limit 1) t on true
         where c.account_id = $1 and c.state in ('OPEN', 'SNOOZED') and c.holder_id is not null
           and (u.active = false or (s.member is not true and t.cause is distinct from 'TAKEN'))"
    )
}

/// Until an answer or the end of the conversation, those who did not answer stand there.
async fn asked(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check who was asked",
        "select c.id, null::uuid, t.from_holder_id, null::uuid, array_length(c.asked, 1)::text || ' others', 'he among them'
         from conversations c
         join lateral (select cause, from_holder_id from transitions t
                       where t.account_id = $1 and t.conversation_id = c.id order by t.version desc limit 1) t on true
         where c.account_id = $1 and c.state = 'QUEUED' and t.cause = 'NO_ANSWER' and t.from_holder_id <> all (c.asked)"
    )
}

/// The turn and the state come and go together.
async fn bots(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check bots",
        "select c.id, null::uuid, null::uuid, null::uuid,
                c.state || case when t.bot_id is null then ' without a turn' else ' with a turn' end,
                case when c.state = 'BOT' then 'a turn of its bot' else 'no turn' end
         from conversations c
         left join bot_turns t on t.account_id = $1 and t.conversation_id = c.id
         where c.account_id = $1
           and (c.state = 'BOT' and (c.bot_id is null or t.bot_id is distinct from c.bot_id)
                or c.state <> 'BOT' and t.bot_id is not null)"
    )
}

async fn without_team(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check teams",
        "select c.id, c.team_id, null::uuid, null::uuid, 'no active team', 'an active team'
         from conversations c
         where c.account_id = $1 and c.state <> 'CLOSED'
           and not exists (select from teams t where t.account_id = $1 and t.id = c.team_id and not t.archived)"
    )
}

async fn messages(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check messages",
        "select m.conversation_id, null::uuid, null::uuid, m.id, 'no such conversation', 'its conversation'
         from messages m
         where m.account_id = $1
           and not exists (select from conversations c where c.account_id = $1 and c.id = m.conversation_id)"
    )
}

async fn sends(tx: &mut Tx, account: Uuid) -> sqlx::Result<Vec<Row>> {
    violations!(
        tx,
        account,
        "check sends",
        "select m.conversation_id, null::uuid, null::uuid, s.message_id, coalesce(m.direction, 'no such message'), 'OUT'
         from sends s left join messages m on m.account_id = $1 and m.id = s.message_id
         where s.account_id = $1 and m.direction is distinct from 'OUT'"
    )
}
