//! The account's bots. A conversation starts with a bot while its row is shared, so a bot that is disabled finds all that is with it.

use diwan_feed::Change;
use diwan_proto::conversation::v1::BotChanged;
use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::types::Json;
use uuid::Uuid;

use super::rules as list;
use crate::{
    Error,
    domain::menu::Menu,
    store::{
        Tx, bot_turns,
        bots::{self, Bot},
        principals, rules, topics,
    },
};

/// The most bots of an account that are in use.
pub const MOST: i64 = 100;

/// What a bot is to be.
#[derive(Clone, Debug)]
pub struct Content {
    /// How people call it.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// For how long it waits for a customer's answer, in seconds; 0: for ever.
    pub patience_seconds: i32,
}

/// What a bot does.
#[derive(Clone, Debug)]
pub enum Kind {
    /// It offers a menu.
    Menu(Menu),
    /// A service principal answers, within so many seconds.
    External(Uuid, i32),
}

/// Makes a bot. The list of rules is locked, so that bots are counted one after the other.
pub async fn create(tx: &mut Tx, account: Uuid, content: &Content, now: Timestamp) -> Result<Bot, Error> {
    require(tx, account, content).await?;
    rules::lock_list(tx, account).await?;
    if bots::count_in_use(tx, account).await? >= MOST {
        return Err(Error::TooManyBots);
    }
    let bot = Bot {
        id: ids::new_id(),
        name: String::new(),
        menu: None,
        principal_id: None,
        answer_seconds: None,
        patience_seconds: 0,
        enabled: true,
        retired_at: None,
        version: 1,
        created_at: now.to_sqlx(),
    };
    save(tx, account, with(bot, content), now).await
}

/// Replaces what a bot is. Its kind stays: what it has asked and claimed would mean nothing.
pub async fn update(tx: &mut Tx, account: Uuid, id: Uuid, content: &Content, now: Timestamp) -> Result<Bot, Error> {
    require(tx, account, content).await?;
    let known = in_use(tx, account, id).await?;
    if known.menu.is_some() != matches!(content.kind, Kind::Menu(_)) {
        return Err(Error::OtherKind);
    }
    save(tx, account, with(Bot { version: known.version + 1, ..known }, content), now).await
}

/// Lets conversations start with it, or ends that, and with it all that it has.
pub async fn enable(tx: &mut Tx, account: Uuid, id: Uuid, enabled: bool, now: Timestamp) -> Result<Bot, Error> {
    let known = if enabled { in_use(tx, account, id).await? } else { lock(tx, account, id).await? };
    if known.enabled == enabled {
        return Ok(known);
    }
    if !enabled {
        bot_turns::expire(tx, account, id, now).await?;
    }
    save(tx, account, Bot { enabled, version: known.version + 1, ..known }, now).await
}

/// Disables it for ever, and takes it from the routing rules.
pub async fn retire(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<Bot, Error> {
    list::without_bot(tx, account, id, now).await?;
    let known = lock(tx, account, id).await?;
    if known.retired_at.is_some() {
        return Ok(known);
    }
    bot_turns::expire(tx, account, id, now).await?;
    let retired = Bot { enabled: false, retired_at: Some(now.to_sqlx()), version: known.version + 1, ..known };
    save(tx, account, retired, now).await
}

async fn lock(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Bot, Error> {
    bots::lock(tx, account, id).await?.ok_or(Error::BotNotFound)
}

async fn in_use(tx: &mut Tx, account: Uuid, id: Uuid) -> Result<Bot, Error> {
    let known = lock(tx, account, id).await?;
    if known.retired_at.is_some() { Err(Error::BotRetired) } else { Ok(known) }
}

/// A team was archived: menus that name it name the one that receives. Whoever is asked by one of them is not asked anew, since its pages
/// are what they were. The team's row and these bots are locked by the caller.
pub async fn redirect(
    tx: &mut Tx,
    account: Uuid,
    (archived, receiving): (Uuid, Uuid),
    now: Timestamp,
) -> Result<(), Error> {
    for known in bots::naming(tx, account, &[archived]).await? {
        let version = known.version + 1;
        let menu = known.menu.map(|menu| Json(menu.0.redirected(archived, receiving)));
        bot_turns::keep_asked(tx, account, known.id, (known.version, version)).await?;
        save(tx, account, Bot { menu, version, ..known }, now).await?;
    }
    Ok(())
}

/// The teams and topics of its menu are there, or its service principal is. Where a topic is archived later, the hand-over goes past it.
async fn require(tx: &mut Tx, account: Uuid, content: &Content) -> Result<(), Error> {
    let menu = match &content.kind {
        Kind::Menu(menu) => menu,
        Kind::External(principal, _) if principals::is_known(&mut *tx, account, *principal).await? => return Ok(()),
        Kind::External(..) => return Err(Error::PrincipalNotFound),
    };
    let (mut teams, mut named) = menu.names();
    teams.sort_unstable();
    teams.dedup();
    named.sort_unstable();
    named.dedup();
    if topics::share(tx, account, &named).await?.len() != named.len() {
        return Err(Error::TopicNotFound);
    }
    for team in teams {
        if !rules::share_active(tx, account, team).await? {
            return Err(Error::TeamNotFound);
        }
    }
    Ok(())
}

fn with(mut bot: Bot, content: &Content) -> Bot {
    let (menu, external) = match &content.kind {
        Kind::Menu(menu) => (Some(Json(menu.clone())), None),
        Kind::External(principal, seconds) => (None, Some((*principal, *seconds))),
    };
    bot.name.clone_from(&content.name);
    bot.menu = menu;
    (bot.principal_id, bot.answer_seconds) = external.unzip();
    bot.patience_seconds = content.patience_seconds;
    bot
}

async fn save(tx: &mut Tx, account: Uuid, bot: Bot, now: Timestamp) -> Result<Bot, Error> {
    bots::save(tx, account, &bot).await?;
    let payload = BotChanged { account_id: account.to_string(), bot: Some(bot.to_proto()) };
    diwan_feed::append(tx, account, now, &[Change::new(bot.id, bot.version, &payload)]).await?;
    Ok(bot)
}
