//! Settings.

use diwan_runtime::{Env, env::EnvError};

/// What team reads from the environment.
pub(crate) struct Config {
    /// `DIWAN_TEAM_DATABASE_URL`.
    pub(crate) database_url: String,
}

impl Config {
    /// Reads the settings.
    pub(crate) fn read(env: &Env) -> Result<Self, EnvError> {
        Ok(Self { database_url: env.require("DIWAN_TEAM_DATABASE_URL")?.to_owned() })
    }
}
