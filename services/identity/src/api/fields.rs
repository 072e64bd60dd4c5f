//! Checks of request fields that only identity has.

use std::mem;

use diwan_fault::Fields;
use diwan_proto::access::v1::{Grant, Role};
use jiff::tz::TimeZone;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{domain::PhoneNumber, passwords::Password};

/// The reason of a bad time zone.
pub const TIME_ZONE: &str = "FIELD_TIME_ZONE";
/// The reason of a bad telephone number.
pub const PHONE_NUMBER: &str = "FIELD_PHONE_NUMBER";
/// As many teams as team looks up at a time.
const MOST_TEAMS: usize = 200;
/// More than there are: one may be named twice.
const MOST_GRANTS: usize = 20;

/// Takes a password out of its message, so that neither a digest nor a log of the message can hold it.
pub fn take_password(field: &mut String) -> Password {
    Zeroizing::new(mem::take(field))
}

/// A new password: 10 to 256 characters, exactly as they were typed, without these weaknesses.
pub fn new_password(fields: &mut Fields, field: &str, password: &Password, weaknesses: &[&'static str]) {
    if !has_good_length(password) {
        fields.refuse(field, "FIELD_LENGTH", &[("min", "10".to_owned()), ("max", "256".to_owned())]);
    }
    for reason in weaknesses {
        fields.refuse(field, reason, &[]);
    }
}

/// A new password once more, exactly as it was typed the first time.
pub fn confirmation(fields: &mut Fields, field: &str, value: &Password, password: &Password) {
    if value.is_empty() {
        fields.refuse(field, "FIELD_REQUIRED", &[]);
    } else if value != password {
        fields.refuse(field, "FIELD_CONFIRMATION", &[]);
    }
}

/// Whether it is worth looking at how strong a password is.
pub fn has_good_length(password: &Password) -> bool {
    (10..=256).contains(&password.chars().count())
}

/// A secret that has to be there.
pub fn required(fields: &mut Fields, field: &str, value: &str) {
    if value.is_empty() {
        fields.refuse(field, "FIELD_REQUIRED", &[]);
    }
}

/// A telephone number with its country; `None` beside a violation.
pub fn phone_number(fields: &mut Fields, field: &str, value: &str) -> Option<PhoneNumber> {
    let number = PhoneNumber::read(value);
    if number.is_none() {
        fields.refuse(field, PHONE_NUMBER, &[]);
    }
    number
}

/// The same where it may be left out: also `None` for an empty one.
pub fn optional_phone_number(fields: &mut Fields, field: &str, value: &str) -> Option<PhoneNumber> {
    if value.is_empty() { None } else { phone_number(fields, field, value) }
}

/// An IANA time zone, as the time zone database spells it.
pub fn time_zone(fields: &mut Fields, field: &str, value: &str) -> String {
    let zone = TimeZone::get(value).ok().filter(|zone| !zone.is_unknown());
    let name = zone.as_ref().and_then(TimeZone::iana_name);
    if name.is_none() {
        fields.refuse(field, TIME_ZONE, &[]);
    }
    name.unwrap_or_default().to_owned()
}

/// A role that can be given.
pub fn role(fields: &mut Fields, value: i32) -> Role {
    if let Ok(role @ (Role::Admin | Role::User)) = Role::try_from(value) {
        return role;
    }
    fields.refuse("role", "FIELD_VALUE", &[("values", "ROLE_ADMIN, ROLE_USER".to_owned())]);
    Role::User
}

/// Grants, each once.
pub fn grants(fields: &mut Fields, values: &[i32]) -> Vec<Grant> {
    let mut grants = Vec::new();
    if !fields.entries("grants", values.len(), 0..=MOST_GRANTS) {
        return grants;
    }
    for (index, value) in values.iter().enumerate() {
        match Grant::try_from(*value) {
            Ok(grant) if grant != Grant::Unspecified => grants.push(grant),
            _ => {
                let names = "GRANT_CAMPAIGNS, GRANT_SUBSCRIPTION_MANAGEMENT".to_owned();
                fields.refuse(&format!("grants[{index}]"), "FIELD_VALUE", &[("values", names)]);
            }
        }
    }
    grants.sort_by_key(|grant| i32::from(*grant));
    grants.dedup();
    grants
}

/// At least one team, each once.
pub fn teams(fields: &mut Fields, values: &[String]) -> Vec<Uuid> {
    fields.distinct_uuids("team_ids", values, 1..=MOST_TEAMS)
}
