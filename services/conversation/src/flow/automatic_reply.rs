//! What a customer gets who writes while his conversation's team is closed.

use diwan_fault::Language;
use jiff::{Timestamp, ToSpan as _};
use uuid::Uuid;

use super::{
    ingest::Incoming,
    reply::{Author, say},
};
use crate::{
    Error,
    domain::{contact::email_key, state::State, text::language},
    store::{
        Tx,
        automatic_replies::{self as store, Reply},
        conversations, hours, languages,
    },
};

/// The most automatic replies that one customer gets within a day, in whatever conversations: where his machine does not say that it is
/// one, and names no mail of ours, each mail makes a new conversation.
const MOST_A_DAY: i64 = 5;

/// Replies to a message that has just been stored, in the same transaction: so there is one reply for one message, and it is sent as an
/// agent's is. Once for each conversation until the team opens, never to a machine, to nobody but the one who wrote (RFC 3834 section 4),
/// and not where a bot answers. Returns whether it did.
pub async fn reply(tx: &mut Tx, mail: &Incoming, conversation: Uuid, now: Timestamp) -> Result<bool, Error> {
    let account = mail.account;
    if mail.automatic {
        return Ok(false);
    }
    let Some(reply) = store::of_team(tx, account, conversation).await? else { return Ok(false) };
    let Some(found) = conversations::load(tx, account, &[conversation]).await?.pop() else { return Ok(false) };
    // A colleague of the customer may have written: what goes out goes to the customer.
    let writer = email_key(&mail.from_email).filter(|key| email_key(&found.contact_email).as_ref() == Some(key));
    if writer.is_none() || found.state()? == State::Bot {
        return Ok(false);
    }
    let Some((hours, zone)) = hours::find(tx, account, found.team_id).await? else { return Ok(false) };
    // A team that does not open again within sight has nothing to tell.
    let Some(opens_at) = hours.next_opening(now).filter(|opening| *opening > now) else { return Ok(false) };
    let day_ago = now.checked_sub(24.hours()).unwrap_or(Timestamp::MIN);
    let noted = Reply { conversation, contact: found.contact_id, opens_at };
    if !store::note(tx, account, noted, (day_ago, MOST_A_DAY), now).await? {
        return Ok(false);
    }
    let text = reply.text(language_of(tx, mail).await?, opens_at, &zone);
    say(tx, account, &found, Author::Team, &text, now).await?;
    Ok(true)
}

/// What the customer writes in, as far as it can be told; else the account's.
async fn language_of(tx: &mut Tx, mail: &Incoming) -> Result<Language, Error> {
    let told = language(&format!("{}\n{}", mail.subject, mail.text)).and_then(Language::of_tag);
    match told {
        Some(told) => Ok(told),
        None => languages::of(tx, mail.account).await,
    }
}
