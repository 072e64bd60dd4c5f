//! The audit: everything recounted by plain SQL, and everything that clients were told compared with what is there.

use std::time::{Duration, Instant};

use diwan_e2e::Failure;
use diwan_proto::conversation::v1::{CheckRoutingRequest, checker_service_client::CheckerServiceClient};
use sqlx::PgPool;
use tokio::time::sleep;
use uuid::Uuid;

use crate::{book::Told, call::As, call::At, stage::Stage};

/// How long the owner's stream may take to show the last events.
const SHOWN: Duration = Duration::from_mins(1);
/// So many rows go to the database at a time.
const ROWS: usize = 5000;

/// What must not be found: what it would mean, and the query that counts it.
const RULES: [(&str, &str); 28] = [
    (
        "messages lost: their customer was told that they are in",
        "select count(*) from chaos.mails t
         where not exists (select from messages m where m.id = t.id and m.direction = 'IN' and m.conversation_id = t.conversation)",
    ),
    (
        "messages that came in without anybody having sent them",
        "select count(*) from messages m where m.direction = 'IN' and not exists (select from chaos.mails t where t.id = m.id)",
    ),
    (
        "conversations without a message",
        "select count(*) from conversations c where not exists (select from messages m where m.conversation_id = c.id)",
    ),
    (
        "answers lost: their author was told that they are on their way",
        "select count(*) from chaos.replies t
         where not exists (select from messages m where m.id = t.id and m.direction = 'OUT' and m.conversation_id = t.conversation
                               and coalesce(m.author_id, m.bot_id) = t.author)",
    ),
    (
        "answers that nobody wrote, or that are there twice",
        "select count(*) from messages m
         where m.direction = 'OUT' and not exists (select from chaos.replies t where t.id = m.id)
           and not exists (select from chaos.bots b where b.id = m.bot_id and not b.external)",
    ),
    (
        "conversations in which the menu has asked more often than the customer wrote",
        "select count(*) from (select conversation_id from messages m left join chaos.bots b on b.id = m.bot_id
                               where m.direction = 'IN' or not b.external
                               group by conversation_id
                               having count(*) filter (where m.direction = 'OUT') > count(*) filter (where m.direction = 'IN')) t",
    ),
    (
        "answers that were not sent to the end",
        "select count(*) from messages where delivery = 'PENDING'",
    ),
    (
        "changes lost: closing, putting off and waking that were answered and are not in the history",
        "select count(*) from chaos.acts t
         where t.cause in ('CLOSED', 'SNOOZED', 'WOKEN')
           and not exists (select from transitions h where h.conversation_id = t.conversation and h.version = t.version
                               and h.cause = t.cause and coalesce(h.actor_id, h.bot_id) = t.actor)",
    ),
    (
        "changes of which the history says something else than their author was told",
        "select count(*) from chaos.acts t
         left join lateral (select * from transitions h where h.conversation_id = t.conversation and h.version <= t.version
                            order by h.version desc limit 1) h on true
         where (h.to_state, h.to_holder_id, h.team_id) is distinct from (t.state, t.holder, t.team)",
    ),
    (
        "changes by people and bots that nobody was told of, or that happened twice",
        "select count(*) from transitions h
         where h.cause in ('CLOSED', 'SNOOZED', 'WOKEN', 'TAKEN', 'ASSIGNED', 'HANDED_OVER')
           and (h.actor_id is not null or h.bot_id in (select id from chaos.bots where external))
           and not exists (select from chaos.acts t where t.conversation = h.conversation_id and t.version = h.version
                               and t.cause = h.cause and t.actor = coalesce(h.actor_id, h.bot_id))",
    ),
    // Whoever is given it by it has it one version later.
    (
        "what the bot handed over, lost",
        "select count(*) from chaos.acts t
         where t.cause = 'BOT_HANDED_OVER'
           and not exists (select from transitions h where h.conversation_id = t.conversation and h.cause = t.cause
                               and t.version - h.version in (0, 1) and h.bot_id = t.actor)",
    ),
    (
        "what the bot handed over, without having been told or twice",
        "select count(*) from transitions h
         where h.cause = 'BOT_HANDED_OVER' and h.bot_id in (select id from chaos.bots where external)
           and not exists (select from chaos.acts t where t.conversation = h.conversation_id and t.cause = h.cause
                               and t.version - h.version in (0, 1) and t.actor = h.bot_id)",
    ),
    (
        "changes that two people were told of",
        "select count(*) from (select from chaos.acts where cause in ('CLOSED', 'SNOOZED', 'WOKEN')
                               group by conversation, version having count(*) > 1) t",
    ),
    (
        "priorities lost",
        "select count(*) from chaos.priorities t join conversations c on c.id = t.conversation where c.priority <> t.priority",
    ),
    (
        "topics lost",
        // Bots add theirs.
        "select count(*) from chaos.topics t join conversations c on c.id = t.conversation
         where t.topic is not null and t.topic <> all (c.topic_ids)",
    ),
    (
        "bulk reassignments lost or made twice",
        "select count(*) from chaos.reassignments t full join reassignments r on r.id = t.id where t.id is null or r.id is null",
    ),
    (
        "conversations that bulk reassignments count and did not move, or moved and do not count",
        "select abs((select coalesce(sum(moved), 0) from reassignments)
                    - (select count(*) from transitions where cause = 'REASSIGNED'))::bigint",
    ),
    ("agents above the limit by something that they got automatically", "select count(*) from chaos.over_limit"),
    (
        "counters that differ from a recount",
        "select count(*) from slots s
         full join (select account_id, team_id, holder_id, count(*) as held from conversations
                    where state = 'OPEN' group by account_id, team_id, holder_id) c
             on (c.account_id, c.team_id, c.holder_id) = (s.account_id, s.team_id, s.user_id)
         where coalesce(s.open_count, 0) <> coalesce(c.held, 0)",
    ),
    (
        "transitions that do not begin where the one before ended",
        "select count(*) from (select from_state, from_holder_id, lag(to_state) over history as state,
                                      lag(to_holder_id) over history as holder
                               from transitions window history as (partition by account_id, conversation_id order by version)) t
         where (from_state, from_holder_id) is distinct from (state, holder)",
    ),
    (
        "conversations that are not where their history leads",
        "select count(*) from conversations c
         left join lateral (select * from transitions h where h.conversation_id = c.id order by version desc limit 1) h on true
         where (c.state, c.holder_id, c.team_id) is distinct from (h.to_state, h.to_holder_id, h.team_id)",
    ),
    (
        "held conversations without a holder, and others with one",
        "select count(*) from conversations where (holder_id is not null) <> (state in ('OPEN', 'SNOOZED'))",
    ),
    (
        "conversations without an active team",
        "select count(*) from conversations c
         where state <> 'CLOSED' and not exists (select from teams t where t.id = c.team_id and not t.archived)",
    ),
    (
        "conversations whose holder is deactivated, or no member though he did not take it",
        "select count(*) from conversations c
         left join users u on u.id = c.holder_id
         left join slots s on s.team_id = c.team_id and s.user_id = c.holder_id
         left join lateral (select cause from transitions h
                            where h.conversation_id = c.id and h.from_holder_id is distinct from h.to_holder_id
                            order by version desc limit 1) h on true
         where c.holder_id is not null and (not u.active or (s.member is not true and h.cause is distinct from 'TAKEN'))",
    ),
    (
        "events that are missing or there twice",
        "select count(*) from (
             select h.conversation_id, h.version, count(e.seq) as events from transitions h
             left join feed_events e on e.entity_id = h.conversation_id and e.entity_version = h.version
                 and e.kind = 'diwan.conversation.v1.ConversationChanged'
             group by h.conversation_id, h.version) t
         where events <> 1",
    ),
    (
        "conversations whose last event is not their last version",
        "select count(*) from conversations c
         where c.version is distinct from (select max(entity_version) from feed_events e where e.entity_id = c.id
                                               and e.kind = 'diwan.conversation.v1.ConversationChanged')",
    ),
    ("events that the owner's stream showed twice", "select count(*) from chaos.shown where times > 1"),
    ("automatic assignments: there were none", "select (count(*) = 0)::int::bigint from transitions where cause = 'AUTOMATIC'"),
];

/// What the owner's stream has left out. An event that comes after that of a newer version is passed over, which is as it should be.
const NOT_SHOWN: &str = "select count(*) from feed_events e
    where e.kind = 'diwan.conversation.v1.ConversationChanged'
      and not exists (select from chaos.shown s where s.conversation = e.entity_id and s.version = e.entity_version)
      and not exists (select from feed_events o
                      where o.entity_id = e.entity_id and o.kind = e.kind and o.entity_version > e.entity_version
                        and (o.xid, o.seq) < (e.xid, e.seq))";

impl Stage {
    /// Everything that is wrong.
    pub(crate) async fn audit(&self, pool: &PgPool) -> Result<Vec<String>, Failure> {
        self.stream_has_caught_up(pool).await?;
        let gaps_allowed = self.write_down(pool).await?;
        let mut found = Vec::new();
        let gaps = ("events that the owner's stream left out", NOT_SHOWN);
        for (what, query) in RULES.into_iter().chain((!gaps_allowed).then_some(gaps)) {
            let count: i64 = sqlx::query_scalar(query).fetch_one(pool).await?;
            if count > 0 {
                found.push(format!("{count} {what}"));
            }
        }
        // What nobody knows the end of may have happened without its author having been told.
        let uncertain = self.book.told().uncertain;
        if uncertain > 0 {
            found.push(format!("{uncertain} requests ended without anybody knowing how"));
        }
        let late = self.book.told().late_claims;
        if late > 0 {
            found.push(format!("{late} answers of the bot were taken after its claim was over"));
        }
        found.extend(self.checked().await?);
        Ok(found)
    }

    /// What the service's own checker finds.
    async fn checked(&self) -> Result<Vec<String>, Failure> {
        let scopes = vec!["routing.check".to_owned()];
        let token = self.operator.operator_token("chaos", scopes, Duration::from_mins(30))?;
        let request = CheckRoutingRequest::default();
        let answered = self.call(As::Operator(&token), At::Replica(0), &request, |channel, request| async move {
            CheckerServiceClient::new(channel).check_routing(request).await
        });
        let mut responses = answered.await?.answered()?;
        let (mut found, mut rules) = (Vec::new(), 0);
        while let Some(response) = responses.message().await? {
            rules += 1;
            let one = response.violations.first();
            found.extend(one.map(|one| format!("the checker: {} times {one:?}", response.violation_count)));
        }
        if rules == 0 {
            found.push("the checker checked nothing".into());
        }
        Ok(found)
    }

    async fn stream_has_caught_up(&self, pool: &PgPool) -> Result<(), Failure> {
        let (begun, mut before) = (Instant::now(), 0);
        let events = "select count(*) from feed_events where kind = 'diwan.conversation.v1.ConversationChanged'";
        while begun.elapsed() < SHOWN {
            let events: i64 = sqlx::query_scalar(events).fetch_one(pool).await?;
            let shown: usize = self.book.told().shown.values().map(std::collections::BTreeMap::len).sum();
            // Some are passed over: then it has shown what there is when nothing more comes.
            if usize::try_from(events)? <= shown || (shown > 0 && shown == before) {
                break;
            }
            before = shown;
            sleep(Duration::from_secs(2)).await;
        }
        Ok(())
    }

    /// Puts what was told into the database. Returns whether the owner's stream may have gaps.
    async fn write_down(&self, pool: &PgPool) -> Result<bool, Failure> {
        let told = std::mem::take(&mut *self.book.told());
        self.book.told().uncertain = told.uncertain;
        self.book.told().late_claims = told.late_claims;
        for (bot, external) in [(self.bots().external, true), (self.bots().menu, false)] {
            let insert = sqlx::query("insert into chaos.bots values ($1, $2)").bind(bot).bind(external);
            insert.execute(pool).await?;
        }
        messages(pool, &told).await?;
        acts(pool, &told).await?;
        labels(pool, &told).await?;
        let shown: Vec<(Uuid, i64, i64)> = told
            .shown
            .iter()
            .flat_map(|(id, versions)| versions.iter().map(|(version, times)| (*id, *version, i64::from(*times))))
            .collect();
        for rows in shown.chunks(ROWS) {
            sqlx::query("insert into chaos.shown select * from unnest($1::uuid[], $2::bigint[], $3::bigint[])")
                .bind(column(rows, |row| row.0))
                .bind(column(rows, |row| row.1))
                .bind(column(rows, |row| row.2))
                .execute(pool)
                .await?;
        }
        sqlx::raw_sql(
            "create index on chaos.acts (conversation, version); create index on feed_events (entity_id, entity_version);
             create index on transitions (conversation_id, version); analyze",
        )
        .execute(pool)
        .await?;
        Ok(told.stream_began_anew)
    }
}

async fn messages(pool: &PgPool, told: &Told) -> Result<(), Failure> {
    let mails: Vec<_> = told.mails.iter().collect();
    for rows in mails.chunks(ROWS) {
        sqlx::query("insert into chaos.mails select * from unnest($1::uuid[], $2::uuid[])")
            .bind(column(rows, |row| *row.0))
            .bind(column(rows, |row| *row.1))
            .execute(pool)
            .await?;
    }
    let replies: Vec<_> = told.replies.iter().collect();
    for rows in replies.chunks(ROWS) {
        sqlx::query("insert into chaos.replies select * from unnest($1::uuid[], $2::uuid[], $3::uuid[])")
            .bind(column(rows, |row| *row.0))
            .bind(column(rows, |row| row.1.0))
            .bind(column(rows, |row| row.1.1))
            .execute(pool)
            .await?;
    }
    let reassignments: Vec<Uuid> = told.reassignments.iter().filter_map(|id| id.parse().ok()).collect();
    sqlx::query("insert into chaos.reassignments select unnest($1::uuid[])").bind(reassignments).execute(pool).await?;
    Ok(())
}

async fn acts(pool: &PgPool, told: &Told) -> Result<(), Failure> {
    for rows in told.acts.chunks(ROWS) {
        let insert = "insert into chaos.acts
            select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::uuid[], $7::uuid[])";
        sqlx::query(insert)
            .bind(column(rows, |act| act.conversation))
            .bind(column(rows, |act| act.version))
            .bind(column(rows, |act| act.cause))
            .bind(column(rows, |act| act.actor))
            .bind(column(rows, |act| act.state))
            .bind(column(rows, |act| act.team))
            .bind(column(rows, |act| act.holder))
            .execute(pool)
            .await?;
    }
    Ok(())
}

async fn labels(pool: &PgPool, told: &Told) -> Result<(), Failure> {
    let priorities: Vec<_> = told.priorities.iter().collect();
    sqlx::query("insert into chaos.priorities select * from unnest($1::uuid[], $2::integer[])")
        .bind(column(&priorities, |row| *row.0))
        .bind(column(&priorities, |row| row.1.1))
        .execute(pool)
        .await?;
    let topics: Vec<_> = told.topics.iter().collect();
    sqlx::query("insert into chaos.topics select * from unnest($1::uuid[], $2::uuid[])")
        .bind(column(&topics, |row| *row.0))
        .bind(column(&topics, |row| row.1.1.first().copied()))
        .execute(pool)
        .await?;
    Ok(())
}

fn column<R, T>(rows: &[R], value: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}
