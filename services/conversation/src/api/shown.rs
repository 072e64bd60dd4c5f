//! Conversations as one person may see them.

use diwan_access::User;
use diwan_proto::conversation::v1::{Conversation, ConversationState};
use uuid::Uuid;

use crate::{
    Error,
    domain::{
        contact::{masked, shown_name},
        scope::Facts,
        state::State,
    },
    store::conversations,
};

/// Hides what `viewer` may not see of the contact: a USER has full details only of those whose conversation he holds.
pub fn mask(conversation: &mut Conversation, viewer: &User) {
    let held = matches!(conversation.state(), ConversationState::Open | ConversationState::Snoozed);
    let full = viewer.is_administrator() || (held && conversation.holder_id == viewer.user_id.to_string());
    if let Some(contact) = &mut conversation.contact {
        contact.name = shown_name(&contact.name, &contact.email, full);
        if !full {
            contact.email = masked(&contact.email);
            contact.country.clear();
        }
    }
}

/// A stored conversation for `viewer`.
pub fn shown(conversation: &conversations::Conversation, viewer: &User) -> Result<Conversation, Error> {
    let mut shown = conversation.to_proto(viewer.account_id)?;
    mask(&mut shown, viewer);
    Ok(shown)
}

/// What visibility looks at, of a conversation in an event.
pub fn facts(state: ConversationState, team: &str, holder: &str) -> Option<Facts> {
    Some(Facts {
        state: State::of_proto(state)?,
        team: Uuid::try_parse(team).ok()?,
        holder: Uuid::try_parse(holder).ok(),
    })
}
