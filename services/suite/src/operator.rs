//! Tokens for those who run the installation.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use clap::Args;
use diwan_access::{
    Rules, Signer,
    keys::{self, OPERATOR},
    token::OPERATOR_LIFE,
};
use diwan_runtime::{Env, SystemClock};
use diwan_transport::BoxError;
use jiff::SignedDuration;

use crate::{run::home, screen};

const LONGEST_NAME: usize = 200;

/// What the token says.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Who it is for, as the audit log shows him.
    #[arg(long)]
    name: String,
    /// What he may do, e.g. `billing.write`; several times for several scopes.
    #[arg(long = "scope", required = true)]
    scopes: Vec<String>,
    /// How long it is good, e.g. `30m` or `8h`; at most a day.
    #[arg(long, default_value = "1h")]
    expires: SignedDuration,
}

/// A life that no token gets.
#[derive(Debug, thiserror::Error)]
#[error("--expires has to be between a second and a day")]
struct Life;

/// A name that the audit log could not show.
#[derive(Debug, thiserror::Error)]
#[error("--name has to have between 1 and {LONGEST_NAME} characters")]
struct Name;

/// A scope that no method asks for.
#[derive(Debug, thiserror::Error)]
#[error("no method asks for the scope {asked:?}; there is {known}")]
struct UnknownScope {
    asked: String,
    known: String,
}

/// Prints a token signed with the operators' key, and on stderr its id. The key is made where there is none.
pub(crate) fn print_token(env: &Env, arguments: &Arguments) -> Result<(), BoxError> {
    let life = Duration::try_from(arguments.expires).map_err(|_| Life)?;
    if life < Duration::from_secs(1) || life > OPERATOR_LIFE {
        return Err(Life.into());
    }
    if arguments.name.trim().is_empty() || arguments.name.chars().count() > LONGEST_NAME {
        return Err(Name.into());
    }
    check_scopes(&arguments.scopes)?;
    let folder: PathBuf = env.path("DIWAN_KEYS", home(env).join("keys"));
    // A folder that knows public keys has its operators' key, or is not the place to make tokens.
    if !folder.join("trust.json").exists() {
        keys::ensure(&folder, &keys::ISSUERS)?;
    }
    let signer = Signer::load(&folder, OPERATOR, SystemClock::shared())?;
    let claims = signer.operator_claims(arguments.name.trim(), arguments.scopes.clone(), life);
    let token = signer.sign(&claims)?;
    // Not on stdout: what takes the token from there gets nothing else.
    screen::note(&format!("token id {}; OperatorService/RevokeOperatorToken revokes it", claims.jti));
    screen::line(&token);
    Ok(())
}

fn check_scopes(scopes: &[String]) -> Result<(), BoxError> {
    let rules = Rules::load()?;
    let known: BTreeSet<&str> =
        rules.all().map(|(_, rule)| rule.scope.as_str()).filter(|scope| !scope.is_empty()).collect();
    match scopes.iter().find(|scope| !known.contains(scope.as_str())) {
        None => Ok(()),
        Some(asked) => {
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
            Err(UnknownScope { asked: asked.clone(), known }.into())
        }
    }
}
