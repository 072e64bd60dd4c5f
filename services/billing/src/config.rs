//! Settings.

use std::time::Duration;

use diwan_runtime::{Env, env::EnvError};

const TRIAL_DAYS: u16 = 14;

/// What billing reads from the environment.
pub(crate) struct Config {
    /// `DIWAN_BILLING_DATABASE_URL`.
    pub(crate) database_url: String,
    /// `DIWAN_BILLING_TRIAL_DAYS`: how long a trial is.
    pub(crate) trial: Duration,
}

impl Config {
    /// Reads the settings.
    pub(crate) fn read(env: &Env) -> Result<Self, EnvError> {
        let days: u16 = env.parse("DIWAN_BILLING_TRIAL_DAYS", "a number of days", TRIAL_DAYS)?;
        Ok(Self {
            database_url: env.require("DIWAN_BILLING_DATABASE_URL")?.to_owned(),
            trial: Duration::from_hours(24 * u64::from(days)),
        })
    }
}
