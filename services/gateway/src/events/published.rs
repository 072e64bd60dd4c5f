//! Which events are meant for the outside.

use std::{collections::HashSet, sync::Arc};

use diwan_proto::{DESCRIPTORS, feed::v1::Event};
use prost_reflect::{DescriptorError, DescriptorPool};

/// The names of the messages that declare `diwan.access.v1.published`.
#[derive(Clone, Debug)]
pub(super) struct Published(Arc<HashSet<String>>);

impl Published {
    pub(super) fn load() -> Result<Self, DescriptorError> {
        let pool = DescriptorPool::decode(DESCRIPTORS)?;
        let option = pool.get_extension_by_name("diwan.access.v1.published");
        let declared = |message: &prost_reflect::MessageDescriptor| {
            option.as_ref().is_some_and(|option| message.options().get_extension(option).as_bool() == Some(true))
        };
        Ok(Self(Arc::new(pool.all_messages().filter(declared).map(|message| message.full_name().to_owned()).collect())))
    }

    /// Whether an event is one of them.
    pub(super) fn holds(&self, event: &Event) -> bool {
        let kind = event.payload.as_ref().and_then(|payload| payload.type_url.rsplit('/').next());
        kind.is_some_and(|kind| self.0.contains(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_stays_inside() {
        let published = Published::load().unwrap();
        let event = |kind: &str| {
            let type_url = format!("type.googleapis.com/{kind}");
            Event { payload: Some(prost_types::Any { type_url, value: Vec::new() }), ..Event::default() }
        };
        for kind in ["diwan.conversation.v1.ConversationChanged", "diwan.identity.v1.UserChanged"] {
            assert!(published.holds(&event(kind)), "{kind}");
        }
        for kind in ["diwan.conversation.v1.InboxScopeChanged", "diwan.audit.v1.Recorded", "unknown", ""] {
            assert!(!published.holds(&event(kind)), "{kind}");
        }
        assert!(!published.holds(&Event::default()));
    }
}
