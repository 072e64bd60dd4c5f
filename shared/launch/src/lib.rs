//! Turns a service library into a process: alone, or side by side with the others.

mod command;
mod context;
mod follow;

use async_trait::async_trait;
pub use command::{migrate, run};
pub use context::{Context, SetupError};
use diwan_transport::{BoxError, Front};
use sqlx::migrate::Migrator;

/// Every process of Diwan makes and drops many small things on many threads, which the system's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A service as a process starts it.
#[async_trait]
pub trait Component: Send + Sync {
    /// Its name, as in `DIWAN_<NAME>_DATABASE_URL` and in service tokens.
    fn name(&self) -> &'static str;

    /// The migrations of its database, if it has one.
    fn migrator(&self) -> Option<&'static Migrator>;

    /// Starts its workers in `context.drain` and returns the way in. The database is migrated already.
    async fn start(&self, context: Context) -> Result<Front, BoxError>;
}
