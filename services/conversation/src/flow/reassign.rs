//! Many conversations move, chunk by chunk: each chunk is one transaction that moves them and notes how far it is, so whoever goes on
//! after a crash moves nothing twice and leaves nothing out.

use std::collections::BTreeSet;

use diwan_access::User;
use diwan_runtime::ids;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use uuid::Uuid;

use super::{
    Team,
    authority::directs,
    hand_over::{Destination, is_there, lock_slots, relocate},
};
use crate::{
    Error,
    domain::{
        scope::{Facts, Scope},
        state::{Cause, State},
    },
    store::{
        Tx, archive,
        conversations::{self, Conversation},
        handling, lost_race,
        reassignments::{self, Reassignment},
        record::{Changed, Why, record},
        rules, teams, users,
    },
};

/// The most conversations of one chunk: the locks of their holders' slots are held for as long as it takes.
const CHUNK: i64 = 50;

/// The most of one account that go on: each takes turns with the others.
const MOST: i64 = 5;

/// What moves where.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Only what this user holds.
    pub holder: Option<Uuid>,
    /// Only what is with this team.
    pub team: Option<Uuid>,
    /// Also what waits in the queue.
    pub queued: bool,
    /// Where to.
    pub to: Destination,
}

/// Begins one. Conversations that come later than it are not its. What was begun goes on when its author loses the mark of a lead.
pub async fn start(
    tx: &mut Tx,
    (caller, scope): (&User, &Scope),
    order: Order,
    now: Timestamp,
) -> Result<Reassignment, Error> {
    let account = caller.account_id;
    if !may_reassign(scope, order) {
        return Err(Error::NotAllowed);
    }
    if let Some(holder) = order.holder {
        users::require_known(tx, account, holder).await?;
    }
    if let Some(user) = order.to.user {
        users::require_assignable(tx, account, user).await?;
    }
    for team in order.team.into_iter().chain(order.to.team).collect::<BTreeSet<_>>() {
        teams::require(tx, account, team).await?;
    }
    rules::lock_list(tx, account).await?;
    if reassignments::count_running(tx, account).await? >= MOST {
        return Err(Error::TooManyReassignments);
    }
    let new = Reassignment {
        id: ids::new_id(),
        actor_id: caller.user_id,
        holder_id: order.holder,
        team_id: order.team,
        queued: order.queued,
        to_team_id: order.to.team,
        to_user_id: order.to.user,
        done_up_to: Uuid::nil(),
        last_id: handling::newest(tx, account).await?.unwrap_or(Uuid::nil()),
        moved: 0,
        over_limit: 0,
        skipped: 0,
        created_at: now.to_sqlx(),
        finished_at: None,
    };
    reassignments::insert(tx, account, &new).await?;
    Ok(new)
}

/// Whether he may: who directs everything always, a lead within a team of his.
fn may_reassign(scope: &Scope, order: Order) -> bool {
    let within = order.team.filter(|team| order.to.team.is_none_or(|to| to == *team));
    scope.everything || within.is_some_and(|team| directs(scope, team))
}

/// What a chunk led to.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// Teams where a slot is free now, or something waits.
    pub teams: Vec<Team>,
    /// Whether to look again at once: it was this process's turn, so there may be another chunk, or another one's.
    pub more: bool,
}

/// Moves the next chunk of a reassignment.
pub async fn chunk(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<Chunk, Error> {
    let Some(mut at) = reassignments::lock(tx, account, id).await? else { return Ok(Chunk::default()) };
    let next = reassignments::next(tx, account, &at, CHUNK).await?;
    let last = i64::try_from(next.len()).is_ok_and(|found| found < CHUNK);
    let mut to = Destination { team: at.to_team_id, user: at.to_user_id };
    let mut changed = Vec::new();
    if receives(tx, account, &mut to).await? {
        for found in lock(tx, account, &next, to).await? {
            let before = found.facts()?;
            if is_there(before, to) {
                continue;
            }
            match relocate(tx, account, &found, before, to, now).await {
                Ok(over_limit) => changed.push(Changed { id: found.id, before: Some(before), over_limit }),
                Err(Error::NotAssignable) => at.skipped += 1,
                Err(error) => return Err(error),
            }
        }
    } else {
        at.skipped += count(next.len());
    }
    let after = record(tx, account, Why::by(Cause::Reassigned, at.actor_id), &changed, now).await?;
    at.moved += count(changed.len());
    at.over_limit += count(changed.iter().filter(|changed| changed.over_limit).count());
    at.done_up_to = next.last().copied().unwrap_or(at.done_up_to);
    reassignments::save(tx, account, &at, last.then_some(now)).await?;
    let left = changed.iter().filter_map(|changed| changed.before).map(|before| before.team);
    let teams: BTreeSet<Uuid> = left.chain(after.iter().map(|after| after.team_id)).collect();
    Ok(Chunk { teams: teams.into_iter().map(|team| (account, team)).collect(), more: true })
}

/// Whether the receiving person and team are still there. The place of a team that was archived meanwhile is taken by its heir.
async fn receives(tx: &mut Tx, account: Uuid, to: &mut Destination) -> Result<bool, Error> {
    if let Some(user) = to.user {
        match users::require_assignable(tx, account, user).await {
            Err(Error::NotAssignable | Error::UserNotFound) => return Ok(false),
            other => other?,
        }
    }
    let Some(team) = to.team else { return Ok(true) };
    to.team = archive::resolve(tx, account, team).await?;
    Ok(to.team.is_some())
}

/// Locks these conversations and the slots that their moving concerns, and returns them as they are under the locks. One that changed
/// hands while the locks were waited for needs other slots: then the chunk starts over.
async fn lock(tx: &mut Tx, account: Uuid, ids: &[Uuid], to: Destination) -> Result<Vec<Conversation>, Error> {
    let expected = facts(&conversations::load(tx, account, ids).await?)?;
    let freed = |(_, facts): &(Uuid, Facts)| {
        facts.holder.filter(|_| facts.state == State::Open).map(|holder| (holder, facts.team))
    };
    let taken = |(_, facts): &(Uuid, Facts)| to.user.map(|user| (user, to.team.unwrap_or(facts.team)));
    let slots: BTreeSet<_> = expected.iter().filter_map(freed).chain(expected.iter().filter_map(taken)).collect();
    lock_slots(tx, account, slots).await?;
    handling::lock(tx, account, ids).await?;
    let mut found = conversations::load(tx, account, ids).await?;
    if facts(&found)? != expected {
        return Err(lost_race(tx).await);
    }
    found.sort_by_key(|found| found.id);
    Ok(found)
}

fn facts(found: &[Conversation]) -> Result<Vec<(Uuid, Facts)>, Error> {
    let mut facts = found.iter().map(|found| Ok((found.id, found.facts()?))).collect::<Result<Vec<_>, Error>>()?;
    facts.sort_by_key(|(id, _)| *id);
    Ok(facts)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
