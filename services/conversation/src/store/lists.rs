//! Lists of conversations.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx as _};
use sqlx::PgPool;
use tracing::Instrument as _;
use uuid::Uuid;

use super::conversations::{Conversation, select};
use crate::{
    Error,
    domain::{scope::Scope, state::State},
};

/// What a list is asked for; `None` is anything.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    pub state: Option<State>,
    pub team: Option<Uuid>,
    pub holder: Option<Uuid>,
}

/// One page of a list: what follows `after`, at most `limit`.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub after: Option<(Timestamp, Uuid)>,
    pub limit: i64,
}

/// Lists by what is asked for. The condition on `$2` to `$7` is [`Scope::sees`] in SQL.
macro_rules! listed {
    ($asked:tt, $pool:ident, $account:ident, $scope:ident, $filter:ident, $part:ident) => {{
        let teams = |teams: &BTreeSet<Uuid>| teams.iter().copied().collect::<Vec<_>>();
        let (time, id) = $part.after.unzip();
        select!(
            "",
            "conversations c",
            $asked
                + r#" and ($2 or c.team_id = any($3)
                      or (c.last_holder_id = $4 and (c.holder_id = $4 or (c.state = 'CLOSED' and c.team_id = any($5))))
                      or (c.state = 'QUEUED' and c.team_id = any($6)) or (c.state = 'BOT' and c.team_id = any($7)))
                  and ($8::text is null or c.state = $8)
                  and ($9::uuid is null or c.last_holder_id = $9 and c.state in ('OPEN', 'SNOOZED', 'CLOSED'))
                  and ($10::uuid is null or c.team_id = $10)
                  and ($11::timestamptz is null or (c.created_at, c.id) > ($11, $12::uuid))
                  order by c.created_at, c.id limit $13"#,
            $account,
            $scope.everything,
            &teams(&$scope.all),
            $scope.user,
            &teams(&$scope.own),
            &teams(&$scope.queue),
            &teams(&$scope.bot),
            $filter.state.map(State::name),
            $filter.holder,
            $filter.team,
            time.map(Timestamp::to_sqlx) as _,
            id,
            $part.limit
        )
        .fetch_all($pool)
        .instrument(diwan_store::span("list conversations"))
        .await?
    }};
}

/// Those that `scope` sees, by the time they came in.
///
/// Three statements, because one plan for all filters would pass over everything that is closed to find what is not.
pub async fn list(
    pool: &PgPool,
    account: Uuid,
    scope: &Scope,
    filter: Filter,
    part: Part,
) -> Result<Vec<Conversation>, Error> {
    Ok(match (filter.holder, filter.state) {
        (Some(_), _) => listed!("c.last_holder_id = $9", pool, account, scope, filter, part),
        (None, Some(_)) => listed!("c.state = $8", pool, account, scope, filter, part),
        (None, None) => listed!("true", pool, account, scope, filter, part),
    })
}
