//! Pure types and rules of mail; knows neither gRPC nor SQL.

mod automatic;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod parse;
pub(crate) mod server;
