//! Accounts that are closed for good.

use diwan_store::{Error, span};
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tracing::Instrument as _;
use uuid::Uuid;

/// What a mail that is not sent any more says of itself.
const WHY: &str = "the account is closed";

/// Takes the mailboxes of an account from whoever works on them, and gives up what was still to be sent. A mail whose attempt has
/// begun may have left already: its attempt says how it ended.
pub(crate) async fn close(tx: &mut PgConnection, account: Uuid, now: Timestamp) -> Result<(), Error> {
    let noted = sqlx::query!(
        "insert into closed_accounts (account_id, closed_at) values ($1, $2) on conflict do nothing",
        account,
        now.to_sqlx() as _,
    );
    noted.execute(&mut *tx).instrument(span("note closed account")).await?;
    let released = sqlx::query!("delete from leases where account_id = $1", account);
    released.execute(&mut *tx).instrument(span("release mailboxes of account")).await?;
    let given_up = sqlx::query!(
        "update outgoing set state = 'FAILED', error = $2 where account_id = $1 and state = 'PENDING'",
        account,
        WHY,
    );
    given_up.execute(tx).instrument(span("give up mail of account")).await?;
    Ok(())
}

/// Whether an account is closed.
pub(crate) async fn is_closed(tx: &mut PgConnection, account: Uuid) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select exists (select 1 from closed_accounts where account_id = $1) as "closed!""#,
        account,
    );
    Ok(found.fetch_one(tx).instrument(span("look for closed account")).await?)
}
