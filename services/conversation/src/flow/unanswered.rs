//! A conversation that its holder leaves unanswered is offered to others: it goes back through the queue, its slot free in the same
//! transaction.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::Team;
use crate::{
    Error,
    domain::{
        routing::hindrance,
        scope::Facts,
        state::{Cause, State},
        unanswered::{Held, Rules, Verdict, verdict},
    },
    store::{
        Tx, conversations, hours, lost_race,
        record::{Changed, Why, record},
        slots, teams,
        unanswered::{self, Locked},
    },
};

/// Looks at a conversation whose timer has run down. Returns its team if it waits in its queue now.
///
/// Of several who look one acts: the slot of the holder and the conversation are locked, and what was read before is read again.
pub async fn look(tx: &mut Tx, account: Uuid, id: Uuid, now: Timestamp) -> Result<Option<Team>, Error> {
    let Some(found) = conversations::load(tx, account, &[id]).await?.pop() else { return Ok(None) };
    let before = found.facts()?;
    let holder = before.holder.filter(|_| before.state == State::Open);
    if let Some(holder) = holder {
        slots::lock(tx, account, before.team, holder).await?;
    }
    let Some(locked) = unanswered::lock(tx, account, id).await? else { return Ok(None) };
    if locked.team != before.team || locked.holder.filter(|_| locked.state == State::Open) != holder {
        return Err(lost_race(tx).await);
    }
    let (Some(holder), Some(assigned_at)) = (holder, locked.assigned_at) else {
        unanswered::set(tx, account, id, None).await?;
        return Ok(None);
    };
    let team = teams::find(tx, account, before.team).await?.unwrap_or_default();
    let others = others(tx, account, (before.team, team), (holder, &locked)).await?;
    let Locked { unanswered_since, offline_since, .. } = locked;
    let held = Held { unanswered_since, assigned_at, offline_since, others };
    match verdict(held, &rules(tx, account, (before.team, team)).await?, now) {
        Verdict::Stays => unanswered::set(tx, account, id, None).await?,
        Verdict::StaysUntil(due) => unanswered::set(tx, account, id, Some(due)).await?,
        Verdict::Goes(cause) => {
            offer(tx, account, (id, locked.version), (before, holder), cause, now).await?;
            return Ok(Some((account, before.team)));
        }
    }
    Ok(None)
}

/// Whether somebody could get it who has not been asked. It is looked at without their locks: if it is true no longer when the routing
/// decides, the conversation goes to whom it was asked longest ago.
async fn others(
    tx: &mut Tx,
    account: Uuid,
    (id, team): (Uuid, teams::Team),
    (holder, locked): (Uuid, &Locked),
) -> Result<bool, Error> {
    if team.no_answer_minutes.is_none() {
        return Ok(false);
    }
    let agents = slots::agents(tx, account, id, None).await?;
    let asked = |user: Uuid| user == holder || locked.asked.contains(&user);
    Ok(agents.iter().any(|agent| hindrance(team.limit, agent).is_none() && !asked(agent.user)))
}

async fn rules(tx: &mut Tx, account: Uuid, (id, team): (Uuid, teams::Team)) -> Result<Rules, Error> {
    let minutes = |minutes: i32| Duration::from_mins(minutes.unsigned_abs().into());
    Ok(Rules {
        no_answer_after: team.no_answer_minutes.map(minutes),
        when_offline: team.reassign_when_offline,
        hours: hours::find(tx, account, id).await?.map(|(hours, _)| hours),
    })
}

async fn offer(
    tx: &mut Tx,
    account: Uuid,
    conversation: (Uuid, i64),
    (before, holder): (Facts, Uuid),
    cause: Cause,
    now: Timestamp,
) -> Result<(), Error> {
    let asked = Some(holder).filter(|_| cause == Cause::NoAnswer);
    if !unanswered::queue(tx, account, conversation, asked).await? {
        return Err(lost_race(tx).await);
    }
    slots::add_open(tx, account, before.team, holder, -1).await?;
    unanswered::set(tx, account, conversation.0, None).await?;
    record(tx, account, Why::of(cause), &[Changed::from(conversation.0, Some(before))], now).await?;
    Ok(())
}
