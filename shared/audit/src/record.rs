//! A change that has no event of its own, or something that concerns security.

use diwan_proto::audit::v1::Recorded;
use prost::{Message, Name};
use uuid::Uuid;

use crate::shown::{self, Thing};

/// What the audit log is to say of a change, beside who made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was changed.
    pub entity: Uuid,
    /// Its version after the change; 0 where it has none.
    pub version: i64,
    /// The payload of the event.
    pub payload: Recorded,
}

impl Record {
    /// Something that happened to `entity`, in UPPER_SNAKE, e.g. `REFRESH_TOKEN_REUSED` and the user's id. `kind` is the name of
    /// the message that stands for such an entity, e.g. `diwan.identity.v1.User`.
    pub fn event(name: &str, kind: &str, entity: Uuid) -> Self {
        let payload = Recorded { event: name.to_owned(), entity_kind: kind.to_owned(), ..Recorded::default() };
        Self { entity, version: 0, payload }
    }

    /// A change of `entity`, which the message `M` shows.
    pub fn change<M: Message + Name>(entity: Uuid, before: Option<&M>, after: Option<&M>) -> Self {
        let text = |message: Option<&M>| message.map(|message| shown::json(message).to_string()).unwrap_or_default();
        let (before, after) = (text(before), text(after));
        let payload = Recorded { entity_kind: M::full_name(), before, after, ..Recorded::default() };
        Self { entity, version: 0, payload }
    }

    /// A change by a method that says all, e.g. the end of a session.
    pub fn of(kind: &str, entity: Uuid) -> Self {
        Self::event("", kind, entity)
    }

    /// What was asked, beside.
    #[must_use]
    pub fn asked<M: Message + Name>(mut self, request: &M) -> Self {
        self.payload.request = shown::json(request).to_string();
        self
    }

    /// A request of `account` (its message's name, and itself) that no event tells of: what it is about is what its answer shows, or else the first id in it.
    pub fn answered<A: Message + Name>(account: Uuid, request: (&str, &[u8]), answer: &A) -> Self {
        let thing = shown::thing(&A::full_name(), &answer.encode_to_vec()).filter(|thing| thing.kind != A::full_name());
        let Thing { kind, id, version, json } = thing.unwrap_or_default();
        let after = if json.is_null() { String::new() } else { json.to_string() };
        let (asked, subject) = shown::request(request.0, request.1);
        let payload = Recorded { entity_kind: kind, request: asked.to_string(), after, ..Recorded::default() };
        Self { entity: id.or(subject).unwrap_or(account), version: version.unwrap_or_default(), payload }
    }
}

#[cfg(test)]
mod tests {
    use diwan_proto::{
        billing::v1::{SetSeatLimitRequest, SetSeatLimitResponse, Subscription},
        identity::v1::{ChangePasswordRequest, ChangePasswordResponse},
    };

    use super::*;

    fn answered<R: Message + Name>(account: Uuid, request: &R, answer: &impl Name) -> Record {
        Record::answered(account, (&R::full_name(), &request.encode_to_vec()), answer)
    }

    #[test]
    fn an_answered_request_shows_what_was_asked_and_what_came_of_it_and_no_secret() {
        let account = Uuid::from_u128(1);
        let request = SetSeatLimitRequest { seats: 9, ..SetSeatLimitRequest::default() };
        let answer = SetSeatLimitResponse { subscription: Some(Subscription { seats: 9, ..Subscription::default() }) };
        let record = answered(account, &request, &answer);
        assert_eq!((record.entity, &*record.payload.entity_kind), (account, "diwan.billing.v1.Subscription"));
        assert!(record.payload.after.contains("\"seats\":9"), "{record:?}");

        let request = ChangePasswordRequest { new_password: "hunter22 and more".into(), ..Default::default() };
        let record = answered(account, &request, &ChangePasswordResponse {});
        assert_eq!((&*record.payload.request, &*record.payload.after), ("{}", ""));
    }
}
