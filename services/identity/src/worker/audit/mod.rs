//! The audit log: gathers what the feeds tell, chains it, and exports the heads.

mod chain;
mod export;
mod gather;

use std::path::Path;

use diwan_blobs::BlobError;
use diwan_launch::Context;
use diwan_store::Database;

pub use export::{SignedHead, claims};

/// Rung when something waits to be chained.
const BELL: &str = "audit";

/// Starts the workers.
pub fn start(context: &Context, database: &Database, heads: Option<&Path>) -> Result<(), BlobError> {
    gather::start(context, database);
    chain::start(&context.drain, database.clone());
    export::start(context, database, heads)
}
