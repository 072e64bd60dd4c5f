//! Checks of fields that several services here have.

use diwan_fault::Fields;

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
