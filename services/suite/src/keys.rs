//! The key folder of an installation of separate processes.

use std::path::PathBuf;

use diwan_access::keys;
use diwan_runtime::Env;
use diwan_transport::BoxError;

use crate::{run::home, screen};

/// Makes the keys that the folder lacks. The public halves of those that are no longer there stay in the bundle, so that a
/// key can be changed while both are good.
pub(crate) fn make(env: &Env) -> Result<(), BoxError> {
    let folder: PathBuf = env.path("DIWAN_KEYS", home(env).join("keys"));
    keys::ensure(&folder, &keys::ISSUERS)?;
    screen::line(&format!("{} has every key", folder.display()));
    Ok(())
}
