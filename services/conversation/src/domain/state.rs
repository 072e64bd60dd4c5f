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
        /// An administrator gave it to somebody.
        Assigned = "ASSIGNED",
        /// It was handed over to a person or a team.
        HandedOver = "HANDED_OVER",
        /// It was moved together with others.
        Reassigned = "REASSIGNED",
        /// It was put off.
        Snoozed = "SNOOZED",
        /// It woke.
        Woken = "WOKEN",
        /// The customer is back, and his last agent got his new conversation.
        StickyOwner = "STICKY_OWNER",
        /// Its priority changed; no transition.
        Priority = "PRIORITY",
        /// Its topics changed; no transition.
        Topics = "TOPICS",
        /// Its team was archived.
        TeamArchived = "TEAM_ARCHIVED",
        /// Its bot handed it over to a team.
        BotHandedOver = "BOT_HANDED_OVER",
        /// Its bot left the customer without an answer, or was disabled.
        BotFailed = "BOT_FAILED",
        /// The customer left its bot without an answer.
        CustomerSilent = "CUSTOMER_SILENT",
        /// Its holder did not answer in time.
        NoAnswer = "NO_ANSWER",
        /// Its holder went OFFLINE while it waited for an answer.
        HolderOffline = "HOLDER_OFFLINE",
        /// An internal note was added; no transition.
        Note = "NOTE",
    }
}

impl Cause {
    /// Whether state, team or holder changed by it.
    pub fn is_transition(self) -> bool {
        !matches!(self, Self::Message | Self::Priority | Self::Topics | Self::Note)
    }
}

/// How urgent a conversation is, the least first. The numbers are those of the database and the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Priority {
    /// After all others.
    Low = 1,
    /// As it comes in.
    #[default]
    Normal = 2,
    /// Before those of normal priority.
    High = 3,
    /// Before all others.
    Urgent = 4,
}

impl Priority {
    /// Every value.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Urgent];

    /// Its number, 1 to 4.
    pub fn level(self) -> i16 {
        self as i16
    }

    /// The priority of a number from 1 to 4.
    pub fn of_level(level: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.level() == level)
    }

    /// As the protocol says it.
    pub fn to_proto(self) -> proto::Priority {
        match self {
            Self::Low => proto::Priority::Low,
            Self::Normal => proto::Priority::Normal,
            Self::High => proto::Priority::High,
            Self::Urgent => proto::Priority::Urgent,
        }
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

read_from!(State from ConversationState, Cause from TransitionCause, Availability from AvailabilityState, Delivery from DeliveryState, Priority from Priority);
