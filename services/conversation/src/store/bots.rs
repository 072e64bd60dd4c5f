//! The account's bots.

use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1 as proto;
use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::{PgExecutor, PgPool, types::Json};
use tracing::Instrument as _;
use uuid::Uuid;

use super::{LARGEST, Tx, fitting, jiff};
use crate::{
    Error,
    domain::{
        menu::{Entry, Menu, Page, Target, Texts},
        turns::Waits,
    },
};

/// A bot as it is stored.
#[derive(Clone, Debug)]
pub struct Bot {
    pub id: Uuid,
    pub name: String,
    /// What a menu bot says; `None`: an external one.
    pub menu: Option<Json<Menu>>,
    /// Of an external one.
    pub principal_id: Option<Uuid>,
    /// Of an external one: for how long a customer may wait.
    pub answer_seconds: Option<i32>,
    /// For how long it waits for a customer; 0: for ever.
    pub patience_seconds: i32,
    pub enabled: bool,
    pub retired_at: Option<SqlTimestamp>,
    pub version: i64,
    pub created_at: SqlTimestamp,
}

impl Bot {
    /// For how long it and a customer wait for each other.
    pub fn waits(&self) -> Waits {
        Waits { answer: self.answer_seconds, patience: self.patience_seconds }
    }

    /// As the protocol shows it.
    pub fn to_proto(&self) -> proto::Bot {
        let external = self.principal_id.map(|principal| proto::ExternalBot {
            principal_id: principal.to_string(),
            answer_seconds: self.answer_seconds.unwrap_or_default(),
        });
        proto::Bot {
            id: self.id.to_string(),
            name: self.name.clone(),
            menu: self.menu.as_ref().map(|menu| shown(menu)),
            external,
            patience_seconds: self.patience_seconds,
            enabled: self.enabled,
            retired_at: jiff(self.retired_at).map(to_proto),
            version: self.version,
            created_at: Some(to_proto(self.created_at.to_jiff())),
        }
    }
}

fn shown(menu: &Menu) -> proto::MenuBot {
    let page =
        |page: &Page| proto::MenuPage { texts: texts(&page.texts), entries: page.entries.iter().map(entry).collect() };
    proto::MenuBot {
        default_language: menu.default_language.clone(),
        pages: menu.pages.iter().map(page).collect(),
        farewells: texts(&menu.farewells),
        most_misunderstood: menu.most_misunderstood,
    }
}

fn entry(entry: &Entry) -> proto::MenuEntry {
    let labels = texts(&entry.labels);
    match &entry.to {
        Target::Page(page) => {
            proto::MenuEntry { labels, page: i32::try_from(*page).unwrap_or_default(), ..Default::default() }
        }
        Target::HandOver { team, topics } => proto::MenuEntry {
            labels,
            page: 0,
            team_id: team.map(|id| id.to_string()).unwrap_or_default(),
            topic_ids: topics.iter().map(ToString::to_string).collect(),
        },
    }
}

fn texts(texts: &Texts) -> Vec<proto::LocalizedText> {
    let text =
        |(language, text): (&String, &String)| proto::LocalizedText { language: language.clone(), text: text.clone() };
    texts.iter().map(text).collect()
}

/// Reads bots of the account `$1` that meet a condition.
macro_rules! select {
    ($condition:tt, $($argument:tt)*) => {
        sqlx::query_as!(
            Bot,
            r#"select id, name, menu as "menu: Json<Menu>", principal_id, answer_seconds, patience_seconds, enabled,
                      retired_at as "retired_at: SqlTimestamp", version, created_at as "created_at: SqlTimestamp"
               from bots where account_id = $1 and "# + $condition,
            $($argument)*
        )
    };
}

/// One bot.
pub async fn find(executor: impl PgExecutor<'_>, account: Uuid, id: Uuid) -> Result<Option<Bot>, Error> {
    let found = select!("id = $2", account, id);
    Ok(found.fetch_optional(executor).instrument(diwan_store::span("find bot")).await?)
}

/// One bot, which nobody else changes until this transaction ends, and with which no conversation starts meanwhile.
pub async fn lock(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<Bot>, Error> {
    let found = select!("id = $2 for update", account, id);
    Ok(found.fetch_optional(tx).instrument(diwan_store::span("lock bot")).await?)
}

/// One bot, which stays as it is until this transaction ends.
pub async fn share(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<Bot>, Error> {
    let found = select!("id = $2 for share", account, id);
    Ok(found.fetch_optional(tx).instrument(diwan_store::span("share bot")).await?)
}

/// One that is not retired, which stays as it is until this transaction ends.
pub async fn share_in_use(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Option<Bot>, Error> {
    Ok(share(tx, account, id).await?.filter(|bot| bot.retired_at.is_none()))
}

/// Bots after one, by the time they were made, and how many of them fit into an answer with their menus.
pub async fn list(
    pool: &PgPool,
    account: Uuid,
    retired: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<(Vec<Bot>, i64), Error> {
    let rows = sqlx::query!(
        r#"select id, name, menu as "menu: Json<Menu>", principal_id, answer_seconds, patience_seconds, enabled,
                  retired_at as "retired_at: SqlTimestamp", version, created_at as "created_at: SqlTimestamp", bytes <= $5 as "fits!"
           from (select *, sum(size) over (order by id) as bytes, row_number() over (order by id) as place
                 from (select *, coalesce(octet_length(menu::text), 0) as size from bots
                       where account_id = $1 and ($2 or retired_at is null) and ($3::uuid is null or id > $3)
                       order by id limit $4) as found) as sized
           where bytes - size <= $5 or place <= 2
           order by id"#,
        account,
        retired,
        after,
        limit,
        LARGEST
    )
    .fetch_all(pool)
    .instrument(diwan_store::span("list bots"))
    .await?;
    let fit = fitting(rows.iter().map(|row| row.fits));
    let bots = rows.into_iter().map(|row| Bot {
        id: row.id,
        name: row.name,
        menu: row.menu,
        principal_id: row.principal_id,
        answer_seconds: row.answer_seconds,
        patience_seconds: row.patience_seconds,
        enabled: row.enabled,
        retired_at: row.retired_at,
        version: row.version,
        created_at: row.created_at,
    });
    Ok((bots.collect(), fit))
}

/// Those whose menus name one of these teams, by id; locked where the caller has locked the teams and [`lock_all`] these.
pub async fn naming(tx: &mut Tx, account: Uuid, teams: &[Uuid]) -> Result<Vec<Bot>, Error> {
    let found = select!(
        "retired_at is null
         and exists (select from unnest($2::uuid[]) team where menu::text like '%' || team::text || '%') order by id",
        account,
        teams
    );
    Ok(found.fetch_all(tx).instrument(diwan_store::span("find menus of teams")).await?)
}

/// Locks bots, which nobody else changes until this transaction ends.
pub async fn lock_all(tx: &mut Tx, account: Uuid, ids: &[Uuid]) -> Result<(), Error> {
    let found = select!("id = any($2) order by id for update", account, ids);
    found.fetch_all(tx).instrument(diwan_store::span("lock bots")).await?;
    Ok(())
}

/// How many are not retired.
pub async fn count_in_use(tx: &mut Tx, account: Uuid) -> Result<i64, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from bots where account_id = $1 and retired_at is null"#,
        account
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("count bots"))
    .await?;
    Ok(count)
}

/// Stores a bot, new or in place of what it was.
pub async fn save(tx: &mut Tx, account: Uuid, bot: &Bot) -> Result<(), Error> {
    sqlx::query!(
        "insert into bots (account_id, id, name, menu, principal_id, answer_seconds, patience_seconds, enabled, retired_at, version,
                           created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (account_id, id) do update set name = excluded.name, menu = excluded.menu,
             principal_id = excluded.principal_id, answer_seconds = excluded.answer_seconds,
             patience_seconds = excluded.patience_seconds, enabled = excluded.enabled, retired_at = excluded.retired_at,
             version = excluded.version",
        account,
        bot.id,
        bot.name,
        bot.menu.as_ref() as _,
        bot.principal_id,
        bot.answer_seconds,
        bot.patience_seconds,
        bot.enabled,
        bot.retired_at as _,
        bot.version,
        bot.created_at as _
    )
    .execute(tx)
    .instrument(diwan_store::span("save bot"))
    .await?;
    Ok(())
}

/// Counts that a contact starts with a bot, within an hour that begins with the first time. Returns how often he has. His row is
/// locked by it.
pub async fn count_start(
    tx: &mut Tx,
    account: Uuid,
    contact: Uuid,
    (hour_ago, now): (Timestamp, Timestamp),
) -> Result<i16, Error> {
    let starts = sqlx::query_scalar!(
        "update contacts set
             bot_starts = case when bot_hour_began_at > $3 then least(bot_starts, 1000) + 1 else 1 end,
             bot_hour_began_at = case when bot_hour_began_at > $3 then bot_hour_began_at else $4 end
         where account_id = $1 and id = $2 returning bot_starts",
        account,
        contact,
        hour_ago.to_sqlx() as _,
        now.to_sqlx() as _
    )
    .fetch_one(tx)
    .instrument(diwan_store::span("count start with bot"))
    .await?;
    Ok(starts)
}
