//! Settings, from the environment.

use std::time::Duration;

use diwan_runtime::{Env, env::EnvError};

/// How this process behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// DIWAN_CONVERSATION_DATABASE_URL: the service's PostgreSQL.
    pub database_url: String,
    /// DIWAN_CONVERSATION_CONNECTIONS: the most connections to it at a time, 16.
    pub connections: u32,
    /// DIWAN_CONVERSATION_DECIDERS: how many teams are routed at the same time, 8: while one waits for its
    /// commit, others go on.
    pub deciders: u32,
    /// DIWAN_CONVERSATION_SWEEP_MS: how often the routing looks for what a lost wake-up missed, 5 s.
    pub sweep: Duration,
    /// DIWAN_CONVERSATION_GRACE_MS: how long after the end of his last stream somebody counts as there, 30 s.
    pub grace: Duration,
    /// DIWAN_CONVERSATION_LEASE_MS: for how long a stream counts as open whose process has gone silent, 15 s.
    pub lease: Duration,
    /// DIWAN_CONVERSATION_HEARTBEAT_MS: within which time the next heartbeat of a client without a stream is expected, 20 s.
    pub heartbeat: Duration,
    /// DIWAN_CONVERSATION_BACKGROUND_MS: the same for a client in the background, 15 min.
    pub background: Duration,
    /// DIWAN_CONVERSATION_LEDGER_DAYS: for how long the routing's decisions are kept, 30 days.
    pub ledger_kept: Duration,
}

impl Settings {
    /// Reads them.
    ///
    /// # Errors
    /// The variable that is missing or cannot be read.
    pub fn read(env: &Env) -> Result<Self, EnvError> {
        Ok(Self {
            database_url: env.require("DIWAN_CONVERSATION_DATABASE_URL")?.to_owned(),
            connections: env.parse("DIWAN_CONVERSATION_CONNECTIONS", "a number", 16)?,
            deciders: env.parse("DIWAN_CONVERSATION_DECIDERS", "a number", 8)?,
            sweep: env.millis("DIWAN_CONVERSATION_SWEEP_MS", Duration::from_secs(5))?,
            grace: env.millis("DIWAN_CONVERSATION_GRACE_MS", Duration::from_secs(30))?,
            lease: env.millis("DIWAN_CONVERSATION_LEASE_MS", Duration::from_secs(15))?,
            heartbeat: env.millis("DIWAN_CONVERSATION_HEARTBEAT_MS", Duration::from_secs(20))?,
            background: env.millis("DIWAN_CONVERSATION_BACKGROUND_MS", Duration::from_mins(15))?,
            ledger_kept: Duration::from_hours(
                24 * u64::from(env.parse("DIWAN_CONVERSATION_LEDGER_DAYS", "a number", 30_u32)?),
            ),
        })
    }
}
