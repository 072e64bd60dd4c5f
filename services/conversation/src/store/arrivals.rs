//! What is asked of every message that comes in, in one statement: most messages need nothing of it.

use tracing::Instrument as _;
use uuid::Uuid;

use super::Tx;
use crate::Error;

/// What is known when a message comes in.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its conversation, where it has come in before.
    pub conversation: Option<Uuid>,
    /// Whether the account has routing rules.
    pub has_rules: bool,
    /// Whether some team of the account replies by itself outside its working hours.
    pub has_replies: bool,
}

/// Looks it up.
pub async fn known(tx: &mut Tx, account: Uuid, message: Uuid) -> Result<Known, Error> {
    let known = sqlx::query_as!(
        Known,
        r#"select (select conversation_id from messages where account_id = $1 and id = $2) as conversation,
                  exists(select from routing_rules where account_id = $1) as "has_rules!",
                  exists(select from teams
                         where account_id = $1 and automatic_reply is not null and working_hours is not null) as "has_replies!""#,
        account,
        message
    );
    Ok(known.fetch_one(tx).instrument(diwan_store::span("look message up")).await?)
}
