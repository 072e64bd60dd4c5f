//! A conversation goes back to the agent who had it or its customer before, if the routing could give him one now; else it waits in
//! its team's queue. The one place that decides this: for what reopens, what wakes, and a customer who is back.

use diwan_runtime::ids;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Error,
    domain::{give_back, scope::Facts},
    store::{
        Tx, archive,
        conversations::{self, Conversation},
        decisions::{self, Ledger},
        hours, lost_race, slots, teams,
    },
};

/// A conversation that was offered to an agent.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// The agent.
    pub agent: Uuid,
    /// The decision in the ledger.
    pub decision: Uuid,
    /// Whether he gets it.
    pub accepted: bool,
}

/// What became of a conversation that was to go back.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    /// The decision in the ledger, if there was somebody to decide on.
    pub decision: Option<Uuid>,
    /// The team that it is with now.
    pub team: Uuid,
    /// Whether it waits in that team's queue.
    pub waits: bool,
}

/// Decides whether `agent` gets `conversation`, and keeps the decision.
///
/// His slot is locked and looked at afterwards, so what makes him eligible stays true until the commit.
pub async fn offer(
    tx: &mut Tx,
    account: Uuid,
    team: Uuid,
    (conversation, agent): (Uuid, Uuid),
    now: Timestamp,
) -> Result<Offer, Error> {
    slots::lock(tx, account, team, agent).await?;
    let known = teams::find(tx, account, team).await?.unwrap_or_default();
    let open = known.always_open || hours::is_open(tx, account, team, now).await?;
    let candidate = slots::agents(tx, account, team, Some(agent)).await?.pop();
    let decided = give_back::give_back((conversation, agent), (known.limit, open), candidate);
    let decision = ids::new_id();
    decisions::insert(tx, account, (decision, team, known), Ledger::Return(&decided), now).await?;
    Ok(Offer { agent, decision, accepted: decided.passed_over.is_none() })
}

/// Gives it to whom it was offered, whose slot is locked by that.
pub async fn hand(
    tx: &mut Tx,
    account: Uuid,
    conversation: (Uuid, i64),
    (team, agent): (Uuid, Uuid),
    now: Timestamp,
) -> Result<(), Error> {
    if !conversations::hold(tx, account, conversation, (team, agent), now).await? {
        return Err(lost_race(tx).await);
    }
    slots::add_open(tx, account, team, agent, 1).await
}

/// Gives a conversation that takes no slot, a closed one or one that is put off, back to its holder or former holder, or puts it into
/// its team's queue. Where its team is archived, the one that has taken its place takes it.
pub async fn give_back(
    tx: &mut Tx,
    account: Uuid,
    found: &Conversation,
    before: Facts,
    now: Timestamp,
) -> Result<Given, Error> {
    let team = archive::resolve(tx, account, before.team).await?.unwrap_or(before.team);
    let conversation = (found.id, found.version);
    let offer = match before.holder {
        Some(agent) => Some(offer(tx, account, team, (found.id, agent), now).await?),
        None => None,
    };
    let decision = offer.map(|offer| offer.decision);
    if let Some(offer) = offer.filter(|offer| offer.accepted) {
        hand(tx, account, conversation, (team, offer.agent), now).await?;
        return Ok(Given { decision, team, waits: false });
    }
    if !conversations::queue(tx, account, conversation, team, now).await? {
        return Err(lost_race(tx).await);
    }
    Ok(Given { decision, team, waits: true })
}
