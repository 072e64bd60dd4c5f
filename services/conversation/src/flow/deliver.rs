//! What became of a message that was to be sent.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    Error,
    domain::state::{Cause, Delivery},
    store::{
        Tx,
        conversations::{self, Writer},
        lost_race, messages,
        record::{Changed, Why, record},
    },
};

/// Notes it. The same report again changes nothing.
pub async fn note(
    tx: &mut Tx,
    account: Uuid,
    message: Uuid,
    delivery: Delivery,
    error: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let id = messages::conversation_of(tx, account, message).await?.ok_or(Error::MessageNotFound)?;
    let found = conversations::load(tx, account, &[id]).await?.pop().ok_or(Error::MessageNotFound)?;
    let before = found.facts()?;
    // The conversation before what belongs to it: the lock order.
    if !conversations::touch(tx, account, (id, found.version), Writer::Nobody, found.last_message_at.to_jiff()).await? {
        return Err(lost_race(tx).await);
    }
    if messages::set_delivery(tx, account, message, delivery, error).await? {
        record(tx, account, Why::of(Cause::Message), &[Changed::from(id, Some(before))], now).await?;
    }
    Ok(())
}
