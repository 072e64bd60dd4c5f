//! What whoever directs a team does with its members.

use jiff::Timestamp;
use uuid::Uuid;

use super::{authority::directs, presence};
use crate::{
    Error,
    domain::{scope::Scope, state::Availability},
    store::{Tx, board, presence::Presence, teams},
};

/// Switches a member of a team who is there, as if he had done so himself. Returns his availability.
///
/// That he is a member is looked at again under the locks of his slots: nobody is switched by a team that he has just left.
pub async fn switch_member(
    tx: &mut Tx,
    (account, scope): (Uuid, &Scope),
    (team, user): (Uuid, Uuid),
    state: Availability,
    now: Timestamp,
) -> Result<Presence, Error> {
    if !directs(scope, team) {
        return Err(Error::NotAllowed);
    }
    teams::find(tx, account, team).await?.filter(|team| !team.archived).ok_or(Error::TeamNotFound)?;
    require_member(tx, account, team, user).await?;
    // The choice is of no sign-in of the caller's: it holds in those in which the member is there.
    let switched = presence::switch(tx, (account, user, None), state, now).await;
    let (present, _) = switched.map_err(|error| match error {
        // He, not the caller.
        Error::Deactivated => Error::NoLiveSession,
        other => other,
    })?;
    require_member(tx, account, team, user).await?;
    Ok(present)
}

async fn require_member(tx: &mut Tx, account: Uuid, team: Uuid, user: Uuid) -> Result<(), Error> {
    if board::is_member(tx, account, team, user).await? { Ok(()) } else { Err(Error::UserNotFound) }
}
