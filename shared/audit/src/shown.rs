//! Messages as the audit log shows them: JSON without secrets, texts of messages, and what only concerns the call.
//!
//! What is left out is declared in the .proto files, by `debug_redact`, so a field is kept out of debug output and out of the log
//! by one word. A message of a newer version shows the fields that this one knows.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use diwan_proto::DESCRIPTORS;
use jiff::Timestamp;
use prost::{Message, Name};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _, Value,
    prost_types::method_options::IdempotencyLevel,
};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

/// Of the call, not of what it does.
const OF_THE_CALL: [&str; 2] = ["request_id", "page"];

// The build reads the same bytes; without them every message would be shown empty, which the tests rule out.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default());

/// The methods that may change something.
pub(crate) static CHANGING: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let methods = POOL.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let changing = methods.filter(|method| {
        let options = method.method_descriptor_proto().options.as_ref();
        let harmless = options.is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects);
        !harmless && !method.is_server_streaming() && !method.is_client_streaming()
    });
    changing.map(|method| format!("{}/{}", method.parent_service().full_name(), method.name())).collect()
});

/// The fields of each message that are shown, by its full name: found once, since asking a field for its options decodes them.
static SHOWN: LazyLock<HashMap<String, Vec<FieldDescriptor>>> = LazyLock::new(|| {
    let is_shown = |field: &FieldDescriptor| !is_secret(field) && !OF_THE_CALL.contains(&field.name());
    let fields = |message: MessageDescriptor| {
        (message.full_name().to_owned(), message.fields().filter(is_shown).collect::<Vec<_>>())
    };
    POOL.all_messages().map(fields).collect()
});

/// A thing, as a message tells of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thing {
    /// Its message's full name, e.g. `diwan.team.v1.Team`.
    pub kind: String,
    /// Its own `id`, where it has one.
    pub id: Option<Uuid>,
    /// Its `version`, where it has one.
    pub version: Option<i64>,
    /// What it is.
    pub json: Json,
}

/// The descriptor of a message, by its full name.
pub fn descriptor(kind: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(kind)
}

/// The descriptor of what the method at `path` is sent.
pub fn input(path: &str) -> Option<MessageDescriptor> {
    let (service, method) = path.trim_start_matches('/').split_once('/')?;
    let service = POOL.get_service_by_name(service)?;
    service.methods().find(|known| known.name() == method).map(|method| method.input())
}

/// Whether the method at `path` may change something: one that neither declares that it does not, nor streams.
pub fn may_change(path: &str) -> bool {
    CHANGING.contains(path.trim_start_matches('/'))
}

/// A message as JSON.
pub fn json<M: Message + Name>(message: &M) -> Json {
    decoded(&M::full_name(), &message.encode_to_vec()).map(|message| object(&message)).unwrap_or_default()
}

/// A message that only its descriptor is known of, as JSON.
pub fn of_message(message: &DynamicMessage) -> Json {
    object(message)
}

/// The thing that an event or an answer tells of: what stands in its only field, or the message itself. `None` for a message
/// that this version does not know, or that is empty.
pub fn thing(kind: &str, encoded: &[u8]) -> Option<Thing> {
    let message = decoded(kind, encoded)?;
    let descriptor = message.descriptor();
    let mut fields = descriptor.fields();
    let inner = match (fields.next(), fields.next()) {
        (None, _) => return None,
        (Some(only), None) if !only.is_list() && matches!(only.kind(), Kind::Message(_)) => {
            message.has_field(&only).then(|| message.get_field(&only).into_owned())
        }
        _ => Some(Value::Message(message)),
    };
    let Some(Value::Message(inner)) = inner else { return None };
    let kind = inner.descriptor().full_name().trim_end_matches("Changed").to_owned();
    Some(Thing { kind, id: id(&inner), version: version(&inner), json: object(&inner) })
}

/// A request as JSON, and the id of what it is about: the first of its fields that is named so.
pub fn request(kind: &str, encoded: &[u8]) -> (Json, Option<Uuid>) {
    decoded(kind, encoded).map_or((Json::Null, None), |request| (object(&request), subject(&request)))
}

fn subject(request: &DynamicMessage) -> Option<Uuid> {
    let named = |field: &FieldDescriptor| {
        field.name().ends_with("_id") && !["request_id", "account_id"].contains(&field.name())
    };
    let ids = request.descriptor().fields().filter(named).collect::<Vec<_>>();
    ids.iter().find_map(|field| Uuid::try_parse(request.get_field(field).as_str()?).ok())
}

fn decoded(kind: &str, encoded: &[u8]) -> Option<DynamicMessage> {
    DynamicMessage::decode(descriptor(kind)?, encoded).ok()
}

fn id(message: &DynamicMessage) -> Option<Uuid> {
    Uuid::try_parse(message.get_field_by_name("id")?.as_str()?).ok()
}

fn version(message: &DynamicMessage) -> Option<i64> {
    message.get_field_by_name("version")?.as_i64()
}

/// Whether a field is declared to be shown to nobody.
pub fn is_secret(field: &FieldDescriptor) -> bool {
    field.options().get_field_by_name("debug_redact").is_some_and(|value| value.as_bool() == Some(true))
}

fn object(message: &DynamicMessage) -> Json {
    if let Some(text) = well_known(message) {
        return text;
    }
    let fields = SHOWN.get(message.descriptor().full_name()).map(Vec::as_slice).unwrap_or_default();
    // What is false or 0 is told, too: it may have been something else before.
    let is_told = |field: &&FieldDescriptor| !field.supports_presence() || message.has_field(field);
    let entry = |field: &FieldDescriptor| (field.name().to_owned(), of_value(&field.kind(), &message.get_field(field)));
    Json::Object(fields.iter().filter(is_told).map(entry).collect())
}

/// Times and masks as protobuf's JSON writes them.
fn well_known(message: &DynamicMessage) -> Option<Json> {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => {
            let time: prost_types::Timestamp = message.transcode_to().ok()?;
            Some(Json::String(Timestamp::new(time.seconds, time.nanos).ok()?.to_string()))
        }
        "google.protobuf.FieldMask" => {
            let mask: prost_types::FieldMask = message.transcode_to().ok()?;
            Some(Json::String(mask.paths.join(",")))
        }
        _ => None,
    }
}

fn of_value(kind: &Kind, value: &Value) -> Json {
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::I32(value) => Json::from(*value),
        // As in the JSON mapping of protobuf: a number of 64 bits may be more than a reader's numbers hold.
        Value::I64(value) => Json::String(value.to_string()),
        Value::U32(value) => Json::from(*value),
        Value::U64(value) => Json::String(value.to_string()),
        Value::F32(value) => Json::from(*value),
        Value::F64(value) => Json::from(*value),
        Value::String(value) => Json::String(value.clone()),
        Value::Bytes(value) => Json::String(format!("{} bytes", value.len())),
        Value::EnumNumber(number) => enumerated(kind, *number),
        Value::Message(message) => object(message),
        Value::List(values) => Json::Array(values.iter().map(|value| of_value(kind, value)).collect()),
        Value::Map(entries) => Json::Object(map(kind, entries)),
    }
}

fn enumerated(kind: &Kind, number: i32) -> Json {
    let name = kind.as_enum().and_then(|kind| Some(kind.get_value(number)?.name().to_owned()));
    name.map_or_else(|| Json::from(number), Json::String)
}

fn map(kind: &Kind, entries: &HashMap<prost_reflect::MapKey, Value>) -> Map<String, Json> {
    let values = kind.as_message().map(|entry| entry.map_entry_value_field().kind());
    let shown = |value| of_value(values.as_ref().unwrap_or(kind), value);
    entries.iter().map(|(key, value)| (Value::from(key.clone()).to_string(), shown(value))).collect()
}

#[cfg(test)]
mod tests {
    use diwan_proto::{
        conversation::v1::ReplyRequest,
        identity::v1::SignInRequest,
        team::v1::{CreateTeamResponse, MembershipChanged, RemoveMemberRequest, Team, TeamChanged},
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_declared_secret_is_left_out() {
        let request =
            SignInRequest { email: "a@example.com".into(), password: "hunter22".into(), ..Default::default() };
        assert_eq!(json(&request), json!({"email": "a@example.com"}));
        let reply = ReplyRequest { request_id: "1".into(), conversation_id: "c".into(), text: "Dear Bo".into() };
        assert_eq!(json(&reply), json!({"conversation_id": "c"}));
    }

    #[test]
    fn an_event_and_an_answer_tell_of_the_same_thing_alike() {
        let id = Uuid::from_u128(7);
        let team = Team { id: id.to_string(), version: 3, visibility_level: 1, ..Team::default() };
        let event = TeamChanged { team: Some(team.clone()) }.encode_to_vec();
        let answer = CreateTeamResponse { team: Some(team) }.encode_to_vec();
        let told = thing("diwan.team.v1.TeamChanged", &event).unwrap();
        assert_eq!(Some(&told), thing("diwan.team.v1.CreateTeamResponse", &answer).as_ref());
        assert_eq!((&*told.kind, told.id, told.version), ("diwan.team.v1.Team", Some(id), Some(3)));
        assert_eq!(told.json["visibility_level"], "VISIBILITY_LEVEL_DEFAULT");
    }

    #[test]
    fn an_event_of_more_than_one_field_is_the_thing_itself() {
        let left = MembershipChanged { membership: None, member: false };
        let told = thing("diwan.team.v1.MembershipChanged", &left.encode_to_vec()).unwrap();
        assert_eq!((&*told.kind, told.id), ("diwan.team.v1.Membership", None));
        assert_eq!(thing("diwan.team.v1.NobodyKnows", &[]), None);
    }

    #[test]
    fn a_request_is_about_the_first_thing_that_it_names() {
        let request = RemoveMemberRequest {
            request_id: "1".into(),
            team_id: Uuid::from_u128(1).to_string(),
            user_id: Uuid::from_u128(2).to_string(),
        };
        let about = |kind: &str, encoded: &[u8]| super::request(kind, encoded).1;
        assert_eq!(about("diwan.team.v1.RemoveMemberRequest", &request.encode_to_vec()), Some(Uuid::from_u128(1)));
        assert_eq!(about("diwan.team.v1.UpdateTeamRequest", &[]), None);
    }
}
