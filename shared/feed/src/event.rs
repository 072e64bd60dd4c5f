//! An event as a consumer handles it.

use diwan_proto::{audit::v1::Origin, feed::v1};
use jiff::Timestamp;
use opentelemetry::trace::SpanContext;
use prost::{Message, Name};
use tracing::{Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::{Position, time, trace};

/// One change in another service.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Where it stands in the feed. Its `sequence` names it: a replay brings it again under the same.
    pub position: Position,
    /// The account that it belongs to.
    pub account: Uuid,
    /// The thing that changed.
    pub entity: Uuid,
    /// The version of that thing after the change. Whoever has seen a higher one ignores this event.
    pub version: i64,
    /// When it happened.
    pub occurred_at: Timestamp,
    /// The full name of the payload's message.
    pub kind: String,
    /// Who made it, and from where; `None` in events of older versions.
    pub origin: Option<Origin>,
    payload: Vec<u8>,
    traceparent: String,
}

impl Event {
    /// The payload as `M`, or `None` when it is something else: a consumer passes over what it does not know.
    ///
    /// # Errors
    /// It says that it is an `M` and cannot be read as one.
    pub fn payload<M: Message + Name + Default>(&self) -> Result<Option<M>, prost::DecodeError> {
        if self.is::<M>() { M::decode(self.payload.as_slice()).map(Some) } else { Ok(None) }
    }

    /// Whether the payload is an `M`.
    pub fn is<M: Name>(&self) -> bool {
        self.kind == M::full_name()
    }

    /// The payload, encoded, for who does not know its type.
    pub fn encoded(&self) -> &[u8] {
        &self.payload
    }

    /// The trace of the request that made the change, 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<String> {
        self.cause().map(|span| span.trace_id().to_string())
    }

    /// The span in which it is handled: a trace of its own, linked to the one that made the change.
    pub(crate) fn span(&self) -> Span {
        let span = info_span!(
            parent: None,
            "event",
            otel.name = format!("process {}", self.kind),
            otel.kind = "consumer",
            diwan.account = %self.account,
            diwan.entity = %self.entity,
        );
        if let Some(cause) = self.cause() {
            span.add_link(cause);
        }
        span
    }

    fn cause(&self) -> Option<SpanContext> {
        trace::parse(&self.traceparent)
    }
}

impl TryFrom<v1::Event> for Event {
    type Error = Malformed;

    fn try_from(event: v1::Event) -> Result<Self, Malformed> {
        let payload = event.payload.ok_or(Malformed("payload"))?;
        let kind = payload.type_url.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self {
            position: event.cursor.ok_or(Malformed("cursor"))?.into(),
            account: Uuid::try_parse(&event.account_id).map_err(|_| Malformed("account_id"))?,
            entity: Uuid::try_parse(&event.entity_id).map_err(|_| Malformed("entity_id"))?,
            version: event.entity_version,
            occurred_at: event.occurred_at.as_ref().and_then(time::from_proto).ok_or(Malformed("occurred_at"))?,
            kind,
            origin: event.origin,
            payload: payload.value,
            traceparent: event.traceparent,
        })
    }
}

/// An event whose named field is missing or cannot be read: its server breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event without a readable {0}")]
pub struct Malformed(&'static str);
