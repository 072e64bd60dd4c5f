//! Places in a feed, in their order.

use diwan_proto::feed::v1::Cursor;

/// A place in a feed. [`Position::START`] is before the first event. The fields' order is the feed's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which life of the source's database.
    pub generation: i64,
    /// The transaction that wrote the event.
    pub transaction: i64,
    /// The event's number.
    pub sequence: i64,
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self { generation: 0, transaction: 0, sequence: 0 };

    pub(crate) fn from_request(after: Option<Cursor>) -> Self {
        after.map_or(Self::START, Self::from)
    }

    pub(crate) fn to_request(self) -> Option<Cursor> {
        (self != Self::START).then(|| self.into())
    }
}

impl From<Cursor> for Position {
    fn from(cursor: Cursor) -> Self {
        Self { generation: cursor.generation, transaction: cursor.transaction, sequence: cursor.sequence }
    }
}

impl From<Position> for Cursor {
    fn from(position: Position) -> Self {
        Self { generation: position.generation, transaction: position.transaction, sequence: position.sequence }
    }
}
