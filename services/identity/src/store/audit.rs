//! The audit log's tables.

use diwan_store::span;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use prost::Message as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    domain::audit::{Content, Entry, Hash, Head, own_name},
    error::Error,
};

/// What a feed told: of which account, the event's id, and what goes into the chain.
pub type Told = (Uuid, Hash, Content);

/// Keeps what a feed told, in this order, until it stands in the chain.
pub async fn receive(tx: &mut PgConnection, told: &[Told]) -> Result<(), Error> {
    sqlx::query!(
        "insert into audit_inbox (account_id, event_id, content)
         select account_id, event_id, content
         from unnest($1::uuid[], $2::bytea[], $3::bytea[]) with ordinality as told (account_id, event_id, content, place)
         where not exists (select from account_deletions d where d.account_id = told.account_id)
         order by place
         on conflict do nothing",
        &column(told, |(account, ..)| *account),
        &column(told, |(_, event_id, _)| event_id.to_vec()),
        &column(told, |(.., content)| content.encode_to_vec()),
    )
    .execute(tx)
    .instrument(span("receive audit event"))
    .await?;
    Ok(())
}

/// Whether what an account is told now may go into its chain at once: nothing waits that came before, and its data is not deleted.
pub async fn waits_for_nothing(tx: &mut PgConnection, account: Uuid) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select not exists (select from audit_inbox where account_id = $1)
              and not exists (select from account_deletions where account_id = $1) as "found!""#,
        account
    );
    Ok(found.fetch_one(tx).instrument(span("look for waiting audit events")).await?)
}

/// Whether there is such an account.
pub async fn is_account(tx: &mut PgConnection, account: Uuid) -> Result<bool, Error> {
    let found =
        sqlx::query_scalar!(r#"select exists (select from accounts where account_id = $1) as "found!""#, account);
    Ok(found.fetch_one(tx).instrument(span("look for account")).await?)
}

/// Accounts for which something waits, by their ids, those after `after`.
pub async fn waiting(tx: &mut PgConnection, after: Option<Uuid>, limit: i64) -> Result<Vec<Uuid>, Error> {
    let found = sqlx::query_scalar!(
        "select distinct account_id from audit_inbox where $1::uuid is null or account_id > $1 order by account_id limit $2",
        after,
        limit
    );
    Ok(found.fetch_all(tx).instrument(span("find waiting audit events")).await?)
}

/// The head of an account's chain, which stays so until this transaction ends: whoever else wants to append waits here.
pub async fn lock_head(tx: &mut PgConnection, account: Uuid) -> Result<Head, Error> {
    ensure_head(tx, account).await?;
    let row = sqlx::query!("select number, hash from audit_heads where account_id = $1 for update", account)
        .fetch_one(tx)
        .instrument(span("lock audit head"))
        .await?;
    Ok(head(row.number, row.hash))
}

/// The same, or `None` where it would have to wait for somebody.
pub async fn lock_free_head(tx: &mut PgConnection, account: Uuid) -> Result<Option<Head>, Error> {
    ensure_head(tx, account).await?;
    let row =
        sqlx::query!("select number, hash from audit_heads where account_id = $1 for update skip locked", account)
            .fetch_optional(tx)
            .instrument(span("lock free audit head"))
            .await?;
    Ok(row.map(|row| head(row.number, row.hash)))
}

async fn ensure_head(tx: &mut PgConnection, account: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "insert into audit_heads (account_id, hash) values ($1, $2) on conflict do nothing",
        account,
        Head::START.hash.as_slice()
    )
    .execute(tx)
    .instrument(span("ensure audit head"))
    .await?;
    Ok(())
}

/// The head of an account's chain.
pub async fn find_head(tx: &mut PgConnection, account: Uuid) -> Result<Head, Error> {
    let row = sqlx::query!("select number, hash from audit_heads where account_id = $1", account)
        .fetch_optional(tx)
        .instrument(span("find audit head"))
        .await?;
    Ok(row.map_or(Head::START, |row| head(row.number, row.hash)))
}

fn head(number: i64, hash: Vec<u8>) -> Head {
    // The table's check holds the length; another one would differ from every hash there is.
    Head { number, hash: hash.try_into().unwrap_or_default() }
}

/// Takes what waits for an account, in the order of arrival: the ids and contents of events.
pub async fn take_waiting(tx: &mut PgConnection, account: Uuid, limit: i64) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Error> {
    let mut taken = sqlx::query!(
        "delete from audit_inbox where account_id = $1 and event_id in
             (select event_id from audit_inbox where account_id = $1 order by arrival limit $2)
         returning arrival, event_id, content",
        account,
        limit
    )
    .fetch_all(tx)
    .instrument(span("take waiting audit events"))
    .await?;
    taken.sort_by_key(|row| row.arrival);
    Ok(taken.into_iter().map(|row| (row.event_id, row.content)).collect())
}

/// Those of the events that stand in the chain already.
pub async fn known(tx: &mut PgConnection, account: Uuid, event_ids: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    // One look into the unique index for each: with `any` the planner reads the account's whole log while the table is new to it.
    let found = sqlx::query_scalar!(
        r#"select told.event_id as "event_id!" from unnest($2::bytea[]) as told (event_id)
           cross join lateral
               (select from audit_entries e where e.account_id = $1 and e.event_id = told.event_id limit 1) as known"#,
        account,
        event_ids
    );
    Ok(found.fetch_all(tx).instrument(span("find known audit events")).await?)
}

/// Appends entries and moves the head, which this transaction holds.
pub async fn append(
    tx: &mut PgConnection,
    account: Uuid,
    entries: &[(Entry, Content)],
    head: Head,
) -> Result<(), Error> {
    sqlx::query!(
        "insert into audit_entries (account_id, number, event_id, hash, content, occurred_at, actor, acting_for, method,
                                    call, entity_kind, entity_id, entity_version)
         select $1, * from unnest($2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::text[], $8::text[],
                                  $9::text[], $10::text[], $11::text[], $12::uuid[], $13::bigint[])",
        account,
        &column(entries, |(entry, _)| entry.number),
        &column(entries, |(entry, _)| entry.event_id.clone()),
        &column(entries, |(entry, _)| entry.hash.clone()),
        &column(entries, |(entry, _)| entry.content.clone()),
        &column(entries, |(_, content)| content.occurred_at().to_sqlx()) as _,
        &column(entries, |(_, content)| content.actor()) as _,
        &column(entries, |(_, content)| content.acting_for()) as _,
        &column(entries, |(_, content)| content.method()) as _,
        &column(entries, |(_, content)| content.call()) as _,
        &column(entries, |(_, content)| content.entity_kind.as_str()) as _,
        &column(entries, |(_, content)| content.entity()) as _,
        &column(entries, |(_, content)| content.entity_version),
    )
    .execute(&mut *tx)
    .instrument(span("append audit entries"))
    .await?;
    sqlx::query!(
        "update audit_heads set number = $2, hash = $3 where account_id = $1",
        account,
        head.number,
        head.hash.as_slice()
    )
    .execute(tx)
    .instrument(span("move audit head"))
    .await?;
    Ok(())
}

fn column<'a, T, V>(rows: &'a [T], value: impl Fn(&'a T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

/// What is looked for; `None` does not filter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Who did it, or for whom it was done.
    pub actor: Option<String>,
    /// What kind of thing.
    pub entity_kind: Option<String>,
    /// Which thing.
    pub entity: Option<Uuid>,
    /// What was called: with its gRPC service, or its own name alone.
    pub method: Option<String>,
    /// From then on.
    pub from: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// An entry, and what its entity was before it as the entry before it about the same tells.
pub struct Listed {
    /// The entry.
    pub entry: Entry,
    /// The content of that other one.
    pub earlier: Option<Vec<u8>>,
}

/// The most bytes of contents in one answer, unless its only entry has more: so that it stays well below gRPC's usual 4 MiB.
const LARGEST: i64 = 1024 * 1024;

/// Entries that match, the newest first, below the number `after`, and how many of the first ones fit into an answer. There is one more
/// than that if there are more.
pub async fn list(
    tx: &mut PgConnection,
    account: Uuid,
    filter: &Filter,
    after: Option<i64>,
    limit: i64,
) -> Result<(Vec<Listed>, i64), Error> {
    let call = filter.method.as_deref().map(own_name);
    let whole = filter.method.as_deref().filter(|method| method.contains('/'));
    // Events of one thing can overtake one another: what it was before is what the next lower version says, however late
    // that came. What has no version goes by the order of the log.
    let rows = sqlx::query!(
        r#"with sized as (
               select found.number, found.event_id, found.hash, found.content, earlier.content as earlier, size,
                      sum(size) over (order by found.number desc) as bytes, row_number() over (order by found.number desc) as place
               from (select * from audit_entries
                     where account_id = $1 and ($2::bigint is null or number < $2)
                       and ($3::text is null or actor = $3 or (acting_for = $3 and acting_for <> ''))
                       and ($4::text is null or entity_kind = $4) and ($5::uuid is null or entity_id = $5)
                       and ($6::text is null or call = $6) and ($7::text is null or method = $7)
                       and ($8::timestamptz is null or occurred_at >= $8) and ($9::timestamptz is null or occurred_at < $9)
                     order by number desc limit $10) as found
               left join lateral
                    (select content from audit_entries
                     where account_id = $1 and entity_id = found.entity_id and entity_kind = found.entity_kind
                       and entity_kind <> '' and (entity_version, number) < (found.entity_version, found.number)
                     order by entity_version desc, number desc limit 1) as earlier on true
               cross join lateral (select octet_length(found.content) + coalesce(octet_length(earlier.content), 0) as size) as sizes)
           select number, event_id, hash, content, earlier as "earlier?", bytes <= $11 as "fits!"
           from sized where bytes - size <= $11 or place <= 2
           order by number desc"#,
        account,
        after,
        filter.actor,
        filter.entity_kind,
        filter.entity,
        call,
        whole,
        filter.from.map(jiff_sqlx::ToSqlx::to_sqlx) as _,
        filter.until.map(jiff_sqlx::ToSqlx::to_sqlx) as _,
        limit,
        LARGEST,
    )
    .fetch_all(tx)
    .instrument(span("list audit entries"))
    .await?;
    let fit = rows.iter().filter(|row| row.fits).count();
    let listed = rows.into_iter().map(|row| Listed {
        entry: Entry { number: row.number, event_id: row.event_id, hash: row.hash, content: row.content },
        earlier: row.earlier,
    });
    Ok((listed.collect(), i64::try_from(fit).unwrap_or(i64::MAX)))
}

/// An entry with what it is found by.
pub struct Stored {
    /// The entry.
    pub entry: Entry,
    occurred_at: jiff_sqlx::Timestamp,
    actor: String,
    acting_for: String,
    method: String,
    call: String,
    entity_kind: String,
    entity_id: Uuid,
    entity_version: i64,
}

impl Stored {
    /// Whether it is found by what its content says.
    pub fn is_found_by(&self, content: &Content) -> bool {
        self.occurred_at.to_jiff() == content.occurred_at()
            && self.actor == content.actor()
            && self.acting_for == content.acting_for()
            && self.method == content.method()
            && self.call == content.call()
            && self.entity_kind == content.entity_kind
            && self.entity_id == content.entity()
            && self.entity_version == content.entity_version
    }
}

/// Entries in their order, after the number `after`.
pub async fn read(tx: &mut PgConnection, account: Uuid, after: i64, limit: i64) -> Result<Vec<Stored>, Error> {
    let rows = sqlx::query!(
        r#"select number, event_id, hash, content, occurred_at as "occurred_at: jiff_sqlx::Timestamp", actor, acting_for, method,
                  call, entity_kind, entity_id, entity_version
           from audit_entries where account_id = $1 and number > $2 order by number limit $3"#,
        account,
        after,
        limit
    )
    .fetch_all(tx)
    .instrument(span("read audit entries"))
    .await?;
    let stored = rows.into_iter().map(|row| Stored {
        entry: Entry { number: row.number, event_id: row.event_id, hash: row.hash, content: row.content },
        occurred_at: row.occurred_at,
        actor: row.actor,
        acting_for: row.acting_for,
        method: row.method,
        call: row.call,
        entity_kind: row.entity_kind,
        entity_id: row.entity_id,
        entity_version: row.entity_version,
    });
    Ok(stored.collect())
}
