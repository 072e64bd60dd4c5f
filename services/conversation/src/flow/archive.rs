//! The conversations of an archived team move to the one that receives, chunk by chunk: each chunk is one transaction that moves them
//! and counts them, so whoever goes on after a crash moves nothing twice and leaves nothing out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Team, hand_over::lock_slots};
use crate::{
    Error,
    domain::{
        scope::Facts,
        state::{Cause, State},
    },
    store::{
        Tx, archive,
        conversations::{self, Conversation},
        handling,
        record::{Changed, Why, record},
        slots, teams,
    },
};

/// The most conversations of one chunk: the locks of their holders' slots are held for as long as it takes.
const CHUNK: i64 = 200;

/// What a chunk led to.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// The team that received, which looks at its queue now. There may be another chunk.
    Moved(Team),
    /// Nothing was found: [`archive::finish`] tells whether nothing is left.
    Empty,
    /// The team is active again, has been emptied, or another process is at it.
    Elsewhere,
}

/// Moves the next chunk of a team. Its row is locked: its return to use waits for the chunk, and ends the moving.
pub async fn chunk(tx: &mut Tx, account: Uuid, team: Uuid, now: Timestamp) -> Result<Step, Error> {
    if archive::lock(tx, account, team).await?.is_none() {
        return Ok(Step::Elsewhere);
    }
    let next = archive::left(tx, account, team, CHUNK).await?;
    if next.is_empty() {
        return Ok(Step::Empty);
    }
    // Known since it was known that it receives: of a feed, nothing is left out.
    let to = archive::resolve(tx, account, team).await?.ok_or(Error::TeamNotFound)?;
    let found = lock(tx, account, (team, to), &next).await?;
    let moved = found.changed.len();
    archive::relocate(tx, account, to, (&found.ids, &found.kept), now).await?;
    for ((user, team), by) in found.slots {
        slots::add_open(tx, account, team, user, by).await?;
    }
    record(tx, account, Why::of(Cause::TeamArchived), &found.changed, now).await?;
    archive::count(tx, account, team, i32::try_from(moved).unwrap_or(i32::MAX)).await?;
    Ok(Step::Moved((account, to)))
}

/// What a chunk moves.
#[derive(Default)]
struct Found {
    ids: Vec<Uuid>,
    /// Of each, whether it keeps state and holder.
    kept: Vec<bool>,
    changed: Vec<Changed>,
    /// How the open counts change, by user and team.
    slots: BTreeMap<(Uuid, Uuid), i32>,
}

/// Locks what moves and the slots that it concerns, and says what becomes of it. What changed hands while the locks were waited for
/// is left to a later chunk, since it needs other slots.
async fn lock(tx: &mut Tx, account: Uuid, (from, to): (Uuid, Uuid), ids: &[Uuid]) -> Result<Found, Error> {
    let expected = facts(&conversations::load(tx, account, ids).await?)?;
    let holders: BTreeSet<Uuid> = expected.values().filter_map(|facts| facts.holder).collect();
    let holders: Vec<Uuid> = holders.into_iter().collect();
    let members = archive::members(tx, account, to, &holders).await?;
    let here = holders.iter().map(|user| (*user, from));
    let there = members.iter().map(|user| (*user, to));
    let mut open = lock_slots(tx, account, here.chain(there)).await?;
    // Under their slots' locks: none of them leaves the receiving team before this is committed.
    let members: BTreeSet<Uuid> = archive::members(tx, account, to, &members).await?.into_iter().collect();
    handling::lock(tx, account, ids).await?;
    let limit = teams::find(tx, account, to).await?.and_then(|team| team.limit);
    let mut found = Found::default();
    for (id, facts) in facts(&conversations::load(tx, account, ids).await?)? {
        if expected.get(&id) != Some(&facts) || facts.team != from || facts.state == State::Closed {
            continue;
        }
        let stays = facts.holder.is_some_and(|holder| members.contains(&holder));
        let mut over_limit = false;
        if let Some(holder) = facts.holder.filter(|_| facts.state == State::Open) {
            *found.slots.entry((holder, from)).or_default() -= 1;
            if stays {
                *found.slots.entry((holder, to)).or_default() += 1;
                let open = open.entry((holder, to)).or_default();
                over_limit = limit.is_some_and(|limit| *open >= limit);
                *open += 1;
            }
        }
        found.ids.push(id);
        found.kept.push(stays || matches!(facts.state, State::Bot | State::Queued));
        found.changed.push(Changed { id, before: Some(facts), over_limit });
    }
    Ok(found)
}

fn facts(found: &[Conversation]) -> Result<BTreeMap<Uuid, Facts>, Error> {
    found.iter().map(|found| Ok((found.id, found.facts()?))).collect()
}
