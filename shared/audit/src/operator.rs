//! Calls of operators: every one is written down before it is answered, also when it only reads, and when it is refused.

use async_trait::async_trait;
use diwan_proto::audit::v1::Recorded;
use prost_reflect::DynamicMessage;
use uuid::Uuid;

use crate::{Record, shown};

/// What the log calls them.
pub const EVENT: &str = "OPERATOR_CALL";
/// What the log calls those that were refused with PERMISSION_DENIED, since the operator's scopes do not allow the method.
pub const REFUSED: &str = "OPERATOR_CALL_REFUSED";

/// The call could not be written down, so it is not answered.
#[derive(Debug, thiserror::Error)]
#[error("an operator's call could not be written down")]
pub struct Refused(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Where calls of operators are written down.
#[async_trait]
pub trait OperatorLog: Send + Sync {
    /// Writes down the present request, which concerns `account`; the nil account stands for the installation.
    ///
    /// # Errors
    /// When it cannot be stored: the call must not be answered then.
    async fn write(&self, account: Uuid, record: Record) -> Result<(), Refused>;
}

/// What is to be written down of a call that is refused: who, what and from where, in the log of the installation. What he said is not even
/// read: whoever may not touch an account leaves nothing in its log.
pub fn refusal() -> (Uuid, Record) {
    let payload = Recorded { event: REFUSED.to_owned(), ..Recorded::default() };
    (Uuid::nil(), Record { entity: Uuid::nil(), version: 0, payload })
}

/// The account that a call of the method at `path` concerns, and what is to be written down. `frames` is what was sent (gRPC: a byte
/// that says whether it is compressed, four of its length, the message). Of what cannot be read the call alone is written down.
pub fn record(path: &str, frames: &[u8]) -> (Uuid, Record) {
    let message = frames
        .split_first_chunk::<5>()
        .filter(|(head, _)| head[0] == 0)
        .and_then(|(_, message)| DynamicMessage::decode(shown::input(path)?, message).ok());
    let account = message
        .as_ref()
        .and_then(|message| Uuid::try_parse(message.get_field_by_name("account_id")?.as_str()?).ok())
        .unwrap_or_default();
    let request = message.map(|message| shown::of_message(&message).to_string()).unwrap_or_default();
    let payload = Recorded { event: EVENT.to_owned(), request, ..Recorded::default() };
    (account, Record { entity: account, version: 0, payload })
}
