//! Looking into refusals.

use tonic::Status;
use tonic_types::StatusExt as _;

/// The reason of a refusal; empty where there is none.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// The fields that a refusal names, in its order.
pub fn bad_fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request();
    details.into_iter().flat_map(|details| details.field_violations).map(|violation| violation.field).collect()
}

/// What a refusal says to programs under `key`.
pub fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info().and_then(|info| info.metadata.get(key).cloned())
}
