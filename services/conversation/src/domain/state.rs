//! Where a conversation is, why it changed, and who is there: as they are named in the database and in the protocol.

use diwan_proto::conversation::v1 as proto;

/// An enum whose values have a name in the database and a number in the protocol.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident as $proto:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$value_doc])* $value,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$value,)+];

            /// Its name in the database.
            pub fn name(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }

            /// The value of this name in the database.
            pub fn of_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }

            /// As the protocol says it.
            pub fn to_proto(self) -> proto::$proto {
                match self { $(Self::$value => proto::$proto::$value,)+ }
            }
        }
    };
}

named! {
    /// Where a conversation is.
    State as ConversationState {
        /// With a bot.
        Bot = "BOT",
        /// Waits in its team's queue.
        Queued = "QUEUED",
        /// Held by an agent, whose slot it takes.
        Open = "OPEN",
        /// Put off by its holder; takes no slot.
        Snoozed = "SNOOZED",
        /// Closed.
        Closed = "CLOSED",
    }
}

named! {
    /// Why a conversation changed.
    Cause as TransitionCause {
        /// It came in.
        Arrival = "ARRIVAL",
        /// The routing gave it to an agent.
        Automatic = "AUTOMATIC",
        /// An agent took it.
        Taken = "TAKEN",
        /// It was closed.
        Closed = "CLOSED",
        /// The customer wrote again.
        Reopened = "REOPENED",
        /// Its holder was deactivated.
        HolderDeactivated = "HOLDER_DEACTIVATED",
        /// Its holder left the team.
        HolderRemoved = "HOLDER_REMOVED",
        /// A message came or went, or what became of one is known; no transition.
        Message = "MESSAGE",
    }
}

named! {
    /// Whether a person is there to get conversations.
    Availability as AvailabilityState {
        /// Gets conversations automatically.
        Active = "ACTIVE",
        /// Takes by hand.
        Watching = "WATCHING",
        /// No live session.
        Offline = "OFFLINE",
    }
}

named! {
    /// How far an outgoing message got.
    Delivery as DeliveryState {
        /// To be sent.
        Pending = "PENDING",
        /// The mail server accepted it.
        Sent = "SENT",
        /// It will not be sent.
        Failed = "FAILED",
        /// It may have been sent.
        Unknown = "UNKNOWN",
    }
}

named! {
    /// From whom to whom a message went.
    Direction as MessageDirection {
        /// From the customer.
        In = "IN",
        /// To the customer.
        Out = "OUT",
    }
}

/// Reads values of the protocol.
macro_rules! read_from {
    ($($name:ident from $proto:ident),+) => {
        $(impl $name {
            /// From the protocol; `None` for its unspecified value.
            pub fn of_proto(value: proto::$proto) -> Option<Self> {
                Self::ALL.iter().copied().find(|own| own.to_proto() == value)
            }
        })+
    };
}

read_from!(State from ConversationState, Availability from AvailabilityState, Delivery from DeliveryState);
