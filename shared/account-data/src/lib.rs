//! What a service keeps of an account: handed out for the account's export, and deleted after its end.
//!
//! A service declares its tables once, column by column, as [`Data`]; `diwan_testkit::account_data` holds the declaration complete
//! against the schema, so that whoever adds a table or a column has to decide about it. From the declaration come
//! - [`server`]: the RPC by which identity gathers an export,
//! - [`deletion`]: the worker that deletes everything of an account once identity's feed has told so.
//!
//! The statements are put together from the declaration, which is part of the program; ids and keys are always bound.

pub mod data;
pub mod deletion;
pub mod export;
pub mod server;

pub use data::{Data, Files, Table};
pub use deletion::{concerns, hear};
pub use server::AccountDataServer;
