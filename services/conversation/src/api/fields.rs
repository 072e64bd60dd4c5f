//! Checks of fields that several services here have.

use std::ops::RangeInclusive;

use diwan_fault::Fields;
use uuid::Uuid;

/// Whether a list has so many entries; refused where it has not.
pub fn entries(fields: &mut Fields, field: &str, count: usize, range: RangeInclusive<usize>) -> bool {
    let fits = range.contains(&count);
    if !fits {
        let limits = [("min", range.start().to_string()), ("max", range.end().to_string())];
        fields.refuse(field, "FIELD_ENTRIES", &limits);
    }
    fits
}

/// Ids in the order in which they are given.
pub fn uuids(fields: &mut Fields, field: &str, values: &[String], range: RangeInclusive<usize>) -> Vec<Uuid> {
    if !entries(fields, field, values.len(), range) {
        return Vec::new();
    }
    values.iter().enumerate().map(|(place, id)| fields.uuid(&format!("{field}[{place}]"), id)).collect()
}

/// A country as ISO 3166-1 alpha-2 writes it. Whether it is in use there is not looked at: the list changes.
pub fn country(fields: &mut Fields, field: &str, value: &str) -> String {
    if !is_country(value) {
        fields.refuse(field, "FIELD_COUNTRY", &[]);
    }
    value.to_owned()
}

/// Whether it looks like one.
pub fn is_country(value: &str) -> bool {
    value.len() == 2 && value.bytes().all(|c| c.is_ascii_uppercase())
}
