//! Whose turn it is: no account keeps the others waiting, and no closed team makes alerts.

use diwan_runtime::ids;
use diwan_testkit::TestDatabase;
use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{archive, queue, reassignments};

async fn run(database: &TestDatabase, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
}

#[tokio::test]
async fn each_account_has_a_turn_however_much_another_one_moves() {
    let database = TestDatabase::new(&crate::MIGRATOR).await;
    let [many, one] = [ids::new_id(), ids::new_id()];
    for (account, count) in [(many, 30), (one, 1)] {
        run(
            &database,
            format!(
                "insert into teams (account_id, id, assignment_limit, visibility, wide_team_ids, fallback, version, receiving_id)
                     select '{account}', gen_random_uuid(), 0, 1, '{{}}', false, 1, gen_random_uuid() from generate_series(1, {count});
                 insert into reassignments (account_id, id, actor_id, holder_id, queued, done_up_to, last_id, created_at, to_team_id)
                     select '{account}', gen_random_uuid(), '{account}', '{account}', false, '{nil}', '{nil}', now(), '{account}'
                     from generate_series(1, {count});",
                nil = Uuid::nil()
            ),
        )
        .await;
    }
    for found in
        [archive::moving(&database.pool, 20).await.unwrap(), reassignments::running(&database.pool, 20).await.unwrap()]
    {
        let mut accounts: Vec<Uuid> = found.into_iter().map(|(account, _)| account).collect();
        accounts.sort();
        assert_eq!(accounts, [many, one]);
    }
}

#[tokio::test]
async fn a_team_that_has_closed_since_it_was_looked_at_makes_no_alert_and_one_that_has_opened_does() {
    let database = TestDatabase::new(&crate::MIGRATOR).await;
    let now: Timestamp = "2026-11-23T17:00:01Z".parse().unwrap();
    let [account, closed, opened, always, later] = std::array::from_fn(|_| ids::new_id());
    run(
        &database,
        format!(
            "insert into teams (account_id, id, assignment_limit, visibility, wide_team_ids, fallback, version, wait_alert_seconds,
                                open, changes_at)
             values ('{account}', '{closed}', 0, 1, '{{}}', false, 1, 60, true, '2026-11-23T17:00Z'),
                    ('{account}', '{opened}', 0, 1, '{{}}', false, 1, 60, false, '2026-11-23T17:00Z'),
                    ('{account}', '{always}', 0, 1, '{{}}', false, 1, 60, true, null),
                    ('{account}', '{later}', 0, 1, '{{}}', false, 1, 60, false, '2026-11-23T18:00Z');
             insert into contacts (account_id, id, name, email, email_key, created_at)
                 values ('{account}', '{account}', '', 'maha@example.com', 'maha@example.com', now());
             insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at,
                                        queued_at, last_message_at)
                 select account_id, id, id, account_id, 'QUEUED', '', '', 1, now(), '2026-11-23T16:00Z', now() from teams;"
        ),
    )
    .await;
    let found = queue::with_long_waits(&database.pool, now, 10).await.unwrap();
    let mut teams: Vec<Uuid> = found.into_iter().map(|(_, team)| team).collect();
    teams.sort();
    assert_eq!(teams, [opened, always]);
}
