//! Codes of six digits that are sent to somebody: good for ten minutes, for five tries, and once, for the request that they
//! were sent for.
//!
//! Six digits are found by whoever can read their hash. So a code alone opens nothing: a challenge asks for its token, of which
//! the database has only a hash, and a confirmation for its user's access token. Whoever sends codes also counts how many a
//! person asks for, since each brings five more tries.

use std::time::Duration;

use diwan_runtime::clock::after;
use jiff::Timestamp;
use sqlx::PgConnection;
use subtle::ConstantTimeEq as _;

use crate::{
    domain::{Bound, Code},
    error::Error,
    store::codes,
};

const LIFE: Duration = Duration::from_mins(10);
const TRIES: i32 = 5;

/// Makes the code for a request, and says until when it is good. One that was made for it before no longer is.
pub async fn issue(tx: &mut PgConnection, bound: &Bound, now: Timestamp) -> Result<(Code, Timestamp), Error> {
    let (code, expires_at) = (Code::six_digits(), after(now, LIFE));
    codes::put(tx, bound, &code.hash_for(bound), expires_at).await?;
    Ok((code, expires_at))
}

/// Whether `typed` is the code of the request; then it is used up. Commit in either case: a wrong try counts too.
///
/// Of any number of tries at once one is right: each takes the row's lock by `tries < 5` and sees what those before it left,
/// and the right one deletes the row.
pub async fn redeem(tx: &mut PgConnection, bound: &Bound, typed: &Code, now: Timestamp) -> Result<bool, Error> {
    let Some(hash) = codes::count_try(tx, bound, TRIES, now).await? else { return Ok(false) };
    let is_right = typed.hash_for(bound).ct_eq(&hash).into();
    if is_right {
        codes::remove(tx, bound).await?;
    }
    Ok(is_right)
}
