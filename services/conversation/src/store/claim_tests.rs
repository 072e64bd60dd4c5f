//! A decision that became stale claims nothing. In each test exactly one fact differs from what was decided on, so that taking
//! its predicate out of the claim makes that test fail.

use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_testkit::TestDatabase;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::*;

/// One team with a limit of 2, one agent who holds none, two conversations in the queue. Beside them, what must not be mistaken for
/// them: the same ids in another account, the agent's other team, which has no limit, and a colleague.
struct Desk {
    database: TestDatabase,
    account: Uuid,
    team: Uuid,
    user: Uuid,
    conversations: [Uuid; 2],
}

impl Desk {
    async fn new() -> Self {
        let database = TestDatabase::new(&crate::MIGRATOR).await;
        let [account, team, user, first, second, other] = std::array::from_fn(|_| ids::new_id());
        let desk = Self { database, account, team, user, conversations: [first, second] };
        desk.run(&format!(
            "insert into teams values ('{account}', '{team}', 2, 1, '{{}}', true, 1), ('{account}', '{other}', 0, 1, '{{}}', false, 1),
                                       ('{other}', '{team}', 0, 1, '{{}}', true, 1);
             insert into slots (account_id, team_id, user_id, member)
                 values ('{account}', '{team}', '{user}', true), ('{account}', '{other}', '{user}', true),
                        ('{account}', '{team}', '{other}', true), ('{other}', '{team}', '{user}', true);
             insert into contacts values ('{account}', '{user}', 'Maha', 'maha@example.com', 'maha@example.com', now());"
        ))
        .await;
        for id in desk.conversations {
            desk.run(&format!(
                "insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at,
                                            queued_at, last_message_at)
                 values ('{account}', '{id}', '{team}', '{user}', 'QUEUED', '', '', 7, now(), now(), now())"
            ))
            .await;
        }
        desk
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.database.pool).await.unwrap();
    }

    /// Changes one fact of the agent's slot.
    async fn change_slot(&self, set: &str) {
        let Self { account, team, user, .. } = self;
        self.run(&format!(
            "update slots set {set} where account_id = '{account}' and team_id = '{team}' and user_id = '{user}'"
        ))
        .await;
    }

    /// Changes one fact of the second conversation.
    async fn change(&self, set: &str) {
        self.run(&format!("update conversations set {set} where id = '{}'", self.conversations[1])).await;
    }

    fn decided(&self) -> Vec<Assignment> {
        let at = SystemClock.now();
        let made =
            |conversation| Assignment { conversation, version: 7, user: self.user, counts: true, at, last: Some(at) };
        self.conversations.map(made).to_vec()
    }

    /// Claims both conversations in a transaction of its own.
    async fn claim(&self) -> Result<(), Error> {
        let mut connection: PgConnection = self.database.pool.acquire().await.unwrap().detach();
        let mut tx = connection.begin().await.unwrap();
        claim(&mut tx, self.account, self.team, &self.decided()).await?;
        tx.commit().await.unwrap();
        Ok(())
    }

    async fn claims_nothing(&self) {
        let before = self.snapshot().await;
        let error = self.claim().await.expect_err("a stale decision");
        assert!(matches!(&error, Error::Store(store) if store.is_retryable()), "{error:?}");
        assert_eq!(self.snapshot().await, before);
    }

    async fn snapshot(&self) -> (Vec<String>, Vec<String>) {
        let rows = async |sql| sqlx::query_scalar(sql).fetch_all(&self.database.pool).await.unwrap();
        (rows("select c::text from conversations c order by id").await, rows("select s::text from slots s").await)
    }
}

#[tokio::test]
async fn a_decision_that_still_holds_is_carried_out() {
    let desk = Desk::new().await;
    desk.claim().await.unwrap();
    let held: i64 = sqlx::query_scalar("select count(*) from conversations where state = 'OPEN' and holder_id = $1")
        .bind(desk.user)
        .fetch_one(&desk.database.pool)
        .await
        .unwrap();
    let open: Vec<(i32, i64)> = sqlx::query_as(
        "select open_count, automatic_count from slots order by (account_id, team_id, user_id) = ($1, $2, $3) desc",
    )
    .bind(desk.account)
    .bind(desk.team)
    .bind(desk.user)
    .fetch_all(&desk.database.pool)
    .await
    .unwrap();
    assert_eq!((held, open.as_slice()), (2, [(2, 2), (0, 0), (0, 0), (0, 0)].as_slice()), "his slot and no other one");
}

#[tokio::test]
async fn only_what_was_decided_on_is_claimed() {
    let desk = Desk::new().await;
    let mut tx = desk.database.pool.begin().await.unwrap();
    claim(&mut tx, desk.account, desk.team, &desk.decided()[..1]).await.unwrap();
    let open = "select array_agg(id) from conversations where state = 'OPEN'";
    let open: Vec<Uuid> = sqlx::query_scalar(open).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(open, desk.conversations[..1]);
}

#[tokio::test]
async fn a_changed_state_claims_nothing() {
    let desk = Desk::new().await;
    desk.change("state = 'BOT', queued_at = null").await;
    desk.claims_nothing().await;
}

#[tokio::test]
async fn a_changed_team_claims_nothing() {
    let desk = Desk::new().await;
    desk.change(&format!("team_id = '{}'", ids::new_id())).await;
    desk.claims_nothing().await;
}

#[tokio::test]
async fn a_changed_holder_claims_nothing() {
    let desk = Desk::new().await;
    // The schema forbids a holder in the queue; the claim must not rely on it.
    desk.run(
        "alter table conversations drop constraint conversations_holder, drop constraint conversations_last_holder",
    )
    .await;
    desk.change(&format!("holder_id = '{}'", ids::new_id())).await;
    desk.claims_nothing().await;
}

#[tokio::test]
async fn a_changed_version_claims_nothing() {
    let desk = Desk::new().await;
    desk.change("version = 8").await;
    desk.claims_nothing().await;
}

#[tokio::test]
async fn an_agent_who_came_closer_to_the_limit_claims_nothing() {
    let desk = Desk::new().await;
    desk.change_slot("open_count = 1").await;
    desk.claims_nothing().await;
}

#[tokio::test]
async fn a_lowered_limit_claims_nothing() {
    let desk = Desk::new().await;
    let Desk { account, team, .. } = desk;
    desk.run(&format!("update teams set assignment_limit = 1 where account_id = '{account}' and id = '{team}'")).await;
    desk.claims_nothing().await;
}

#[tokio::test]
async fn an_agent_who_left_the_team_claims_nothing() {
    let desk = Desk::new().await;
    desk.change_slot("member = false").await;
    desk.claims_nothing().await;
}

#[tokio::test]
async fn another_account_s_conversation_of_the_same_id_is_not_claimed() {
    let desk = Desk::new().await;
    desk.run("set session_replication_role = replica; update conversations set account_id = gen_random_uuid()").await;
    desk.claims_nothing().await;
}

/// Rows of conversations that this transaction has read, of the table or by its indexes.
async fn read(tx: &mut PgConnection) -> i64 {
    let read = "select (coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint from pg_stat_xact_user_tables
                where relname = 'conversations'";
    sqlx::query_scalar(read).fetch_one(tx).await.unwrap()
}

#[tokio::test]
async fn a_backlog_that_the_planner_knows_nothing_of_is_not_compared_with_the_decision() {
    const BACKLOG: usize = 5_000;
    let desk = Desk::new().await;
    let Desk { account, team, user, .. } = &desk;
    // What the planner learned when everything was held.
    desk.run(&format!(
        "alter table conversations set (autovacuum_enabled = off);
         insert into conversations (account_id, id, team_id, contact_id, state, holder_id, last_holder_id, subject, mailbox_address, version,
                                    created_at, last_message_at)
             select '{account}', gen_random_uuid(), '{user}', '{user}', 'OPEN', '{user}', '{user}', '', '', n, now(), now()
             from generate_series(1, {BACKLOG}) n;
         delete from conversations where state = 'QUEUED';
         analyze conversations;
         insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at, queued_at,
                                    last_message_at)
             select '{account}', gen_random_uuid(), '{team}', '{user}', 'QUEUED', '', '', 7, now(), now(), now()
             from generate_series(1, {BACKLOG});
         update teams set assignment_limit = 0"
    ))
    .await;
    let waiting: Vec<Uuid> = sqlx::query_scalar("select id from conversations where state = 'QUEUED' limit 200")
        .fetch_all(&desk.database.pool)
        .await
        .unwrap();
    let one = desk.decided()[0].clone();
    let decided: Vec<_> = waiting.into_iter().map(|conversation| Assignment { conversation, ..one.clone() }).collect();
    let mut connection: PgConnection = desk.database.pool.acquire().await.unwrap().detach();
    let mut tx = connection.begin().await.unwrap();
    assert_eq!(claim(&mut tx, *account, *team, &decided).await.unwrap().len(), decided.len());
    let read = read(&mut tx).await;
    assert!(read <= 3 * i64::try_from(BACKLOG).unwrap(), "{read} conversations read to claim {}", decided.len());
}
