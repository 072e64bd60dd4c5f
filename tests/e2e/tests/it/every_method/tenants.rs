//! Another tenant's ids and unknown ones: nobody can tell them apart.

use super::*;

/// Lists that are filtered by an id: an unknown one matches nothing.
const FILTERS: [&str; 1] = ["ListConversations"];

/// RFC 8410 section 10.1.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

/// A good value for a field, by its name; `id` gives the values of ids.
fn good(path: &str, field: &FieldDescriptor, id: &dyn Fn(&str) -> String) -> Option<Value> {
    let name = path.rsplit('.').next().unwrap();
    let text = |text: &str| Some(Value::String(text.to_owned()));
    if name == "request_id" {
        return Some(Value::String(request_id()));
    }
    if matches!(path, "team.id" | "department.id")
        || (name.ends_with("_id") || name.ends_with("_ids")) && field.kind() == Kind::String
    {
        // A team that sees others' conversations is a setting of its own; here it stays empty.
        return (name != "wide_team_ids").then(|| Value::String(id(path)));
    }
    match (name, field.kind()) {
        ("scopes", _) => text("diwan.team.v1.TeamService"),
        ("public_key", _) => text(PUBLIC_KEY),
        ("email" | "address", _) => Some(Value::String(format!("{}@tests.example", request_id()))),
        ("language" | "languages", _) => text("en"),
        ("country" | "countries", _) => text("EG"),
        ("host", _) => text("127.0.0.1"),
        ("time_zone", _) => text("UTC"),
        ("password" | "current_password" | "new_password" | "new_password_confirmation", _) => text(support::PASSWORD),
        ("phone", _) => text("+201001234567"),
        ("token" | "cursor" | "grants", _) => None,
        ("port", _) => Some(Value::I32(1)),
        ("seats", _) => Some(Value::I32(5)),
        ("days", Kind::Message(inner)) => {
            let mut day = DynamicMessage::new(inner.clone());
            day.set_field_by_name("weekday", Value::EnumNumber(1));
            let shifts = inner.get_field_by_name("shifts")?;
            let Kind::Message(shift) = shifts.kind() else { return None };
            day.set_field(&shifts, Value::List(vec![Value::Message(DynamicMessage::new(shift))]));
            Some(Value::Message(day))
        }
        // A past period.
        ("from" | "to", Kind::Message(inner)) => {
            let now = diwan_runtime::Clock::now(&SystemClock).as_second();
            let mut time = DynamicMessage::new(inner);
            time.set_field_by_name("seconds", Value::I64(if name == "from" { now - 7200 } else { now - 3600 }));
            Some(Value::Message(time))
        }
        ("until", Kind::Message(inner)) => {
            let in_an_hour = diwan_runtime::clock::after(
                diwan_runtime::Clock::now(&SystemClock),
                std::time::Duration::from_hours(1),
            );
            let mut time = DynamicMessage::new(inner);
            time.set_field_by_name("seconds", Value::I64(in_an_hour.as_second()));
            Some(Value::Message(time))
        }
        ("holidays", _) => text("2026-12-25"),
        ("security" | "role", _) => Some(Value::EnumNumber(3)),
        ("update_mask", Kind::Message(inner)) => {
            let mut mask = DynamicMessage::new(inner);
            mask.set_field_by_name("paths", Value::List(vec![Value::String("name".into())]));
            Some(Value::Message(mask))
        }
        (_, Kind::String) => text("Some text"),
        (_, Kind::Enum(_)) => Some(Value::EnumNumber(1)),
        (_, Kind::Message(inner)) if inner.full_name() == "diwan.common.v1.PageRequest" => {
            Some(Value::Message(DynamicMessage::new(inner)))
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_ids_are_refused_exactly_as_unknown_ones() {
    let world = World::new().await;
    let mut problems = Vec::new();
    let mut tried = 0;
    for method in methods() {
        if !world.admits(&method, Caller::User) {
            continue;
        }
        let ids = std::cell::Cell::new(0);
        let unknown = message(&method.input(), "", &mut |path, field| good(path, field, &|_| request_id()));
        let foreign = message(&method.input(), "", &mut |path, field| {
            good(path, field, &|path| {
                world.foreign.id(path).inspect(|_| ids.set(ids.get() + 1)).unwrap_or_else(request_id)
            })
        });
        if ids.get() == 0 {
            continue;
        }
        tried += 1;
        let (unknown, foreign) = (world.call(&method, unknown).await, world.call(&method, foreign).await);
        problems.extend(differences(&world, &method, unknown, foreign));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(tried >= 15, "only {tried} methods take ids: is the test still reading the descriptors?");
}

impl Foreign {
    /// The other tenant's id for a field of this name.
    fn id(&self, path: &str) -> Option<String> {
        match path {
            "team_id" | "team.id" | "team_ids" | "receiving_team_id" => Some(self.team.clone()),
            "department_id" | "department.id" => Some(self.department.clone()),
            "user_id" | "holder_id" | "head_id" => Some(self.owner.user.id.clone()),
            "conversation_id" => Some(self.conversation.clone()),
            "session_id" => Some(self.session.clone()),
            "principal_id" => Some(self.principal.clone()),
            "account_ids" => Some(self.owner.user.account_id.clone()),
            _ => None,
        }
    }
}

fn differences(
    world: &World,
    method: &MethodDescriptor,
    unknown: Result<DynamicMessage, Status>,
    foreign: Result<DynamicMessage, Status>,
) -> Option<String> {
    let name = method.full_name();
    match (unknown, foreign) {
        (Ok(unknown), Ok(foreign)) if FILTERS.contains(&method.name()) && unknown == foreign => None,
        (Err(unknown), Err(foreign)) => {
            let seen = |status: &Status| {
                (status.code(), status.get_details_error_info().map(|info| info.reason), status.message().to_owned())
            };
            let shown = format!("{foreign:?}");
            if unknown.code() != Code::NotFound {
                Some(format!("{name}: an unknown id gets {:?}", seen(&unknown)))
            } else if seen(&unknown) != seen(&foreign) {
                Some(format!("{name}: {:?} for an unknown id, {:?} for a foreign one", seen(&unknown), seen(&foreign)))
            } else if ["Secret", "foreign secret", &world.foreign.owner.user.email]
                .iter()
                .any(|byte| shown.contains(byte))
            {
                Some(format!("{name}: tells something of the other tenant: {shown}"))
            } else {
                None
            }
        }
        (unknown, foreign) => Some(format!("{name}: {unknown:?} for an unknown id, {foreign:?} for a foreign one")),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_nothing_of_another_tenant() {
    let world = World::new().await;
    let answer = TeamServiceClient::new(world.owner.way()).list_teams(ListTeamsRequest::default()).await.unwrap();
    let names: Vec<_> = answer.into_inner().teams.into_iter().map(|team| team.name).collect();
    assert_eq!(names, ["General"]);
}
