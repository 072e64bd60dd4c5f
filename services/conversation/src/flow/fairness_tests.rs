//! Fairness under concurrency: several deciders, as several replicas have them, on one database, while conversations arrive and
//! agents come and go. Without a limit, agents who are eligible throughout differ by at most one automatic assignment.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_runtime::{Clock as _, Drain, SystemClock, clock::after, ids};
use diwan_store::{Database, Wake};
use diwan_testkit::{TestDatabase, eventually};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{assign::assign, presence::switch, unanswered::look};
use crate::{Error, domain::state::Availability};

const LIMIT: Duration = Duration::from_mins(1);
/// How often somebody comes and goes, and what arrives while he is there, at least.
const ROUNDS: usize = 12;
const MEANWHILE: i64 = 25;

/// One team without a limit, agents who are ACTIVE, and some who are WATCHING.
struct Team {
    database: TestDatabase,
    account: Uuid,
    id: Uuid,
    active: Vec<Uuid>,
    watching: Vec<Uuid>,
}

impl Team {
    async fn new(active: usize, watching: usize) -> Self {
        let database = TestDatabase::new(&crate::MIGRATOR).await;
        let [account, team] = std::array::from_fn(|_| ids::new_id());
        let people = |count| (0..count).map(|_| ids::new_id()).collect::<Vec<_>>();
        let made = Self { database, account, id: team, active: people(active), watching: people(watching) };
        made.run(&format!(
            "insert into teams (account_id, id, assignment_limit, visibility, wide_team_ids, fallback, version)
                 values ('{account}', '{team}', 0, 1, '{{}}', true, 1);
             insert into contacts (account_id, id, name, email, email_key, created_at)
                 values ('{account}', '{account}', 'Maha', 'maha@example.com', 'maha@example.com', now())"
        ))
        .await;
        let states = made.active.iter().map(|user| (user, "ACTIVE"));
        for (user, state) in states.chain(made.watching.iter().map(|user| (user, "WATCHING"))) {
            made.run(&format!(
                "insert into users (account_id, id, role, active, version) values ('{account}', '{user}', 3, true, 1);
                 insert into slots (account_id, team_id, user_id, member) values ('{account}', '{team}', '{user}', true);
                 insert into presence (account_id, user_id, state, since, version)
                     values ('{account}', '{user}', '{state}', now(), 1)"
            ))
            .await;
        }
        made
    }

    async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.database.pool).await.unwrap();
    }

    async fn arrive(&self, count: usize) {
        let Self { account, id: team, .. } = self;
        self.run(&format!(
            "insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version,
                                        created_at, queued_at, last_message_at)
             select '{account}', gen_random_uuid(), '{team}', '{account}', 'QUEUED', '', '', 1, now(), now(), now()
             from generate_series(1, {count})"
        ))
        .await;
    }

    async fn decide(&self, tx: &mut PgConnection) -> Result<usize, Error> {
        assign(tx, self.account, self.id, SystemClock.now()).await
    }

    async fn switch(&self, tx: &mut PgConnection, user: Uuid, state: Availability) -> Result<Given, Error> {
        switch(tx, (self.account, user, Some(ids::new_id())), state, SystemClock.now()).await?;
        self.given(tx).await
    }

    /// What each agent has got automatically so far.
    async fn given(&self, tx: &mut PgConnection) -> Result<Given, Error> {
        let rows: Vec<(Uuid, i64)> = sqlx::query_as(
            "select to_holder_id, count(*) from transitions where account_id = $1 and cause = 'AUTOMATIC' group by 1",
        )
        .bind(self.account)
        .fetch_all(tx)
        .await?;
        Ok(rows.into_iter().collect())
    }

    async fn given_to_all(&self) -> i64 {
        let count = "select count(*) from transitions where cause = 'AUTOMATIC'";
        sqlx::query_scalar(count).fetch_one(&self.database.pool).await.unwrap()
    }
}

type Given = BTreeMap<Uuid, i64>;

/// What these got between the two, the most and the least of it.
fn spread(before: &Given, after: &Given, users: &[Uuid]) -> (i64, i64) {
    let count = |given: &Given, user| given.get(user).copied().unwrap_or_default();
    let got: Vec<i64> = users.iter().map(|user| count(after, user) - count(before, user)).collect();
    (got.iter().copied().min().unwrap_or_default(), got.iter().copied().max().unwrap_or_default())
}

#[tokio::test]
async fn standing_in_for_others_changes_nobodys_turn() {
    let team = Team::new(3, 0).await;
    team.run("update teams set no_answer_after_minutes = 10").await;
    let mut connection = team.database.pool.acquire().await.unwrap();
    let mut first = None;
    for round in 0..4 {
        team.arrive(3).await;
        team.run("update conversations set unanswered_since = created_at").await;
        assert_eq!(team.decide(&mut connection).await.unwrap(), 3);
        let turns: Vec<Uuid> = sqlx::query_scalar("select user_id from slots order by last_assigned_at")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        assert_eq!(*first.get_or_insert_with(|| turns.clone()), turns, "round {round}");
        // One of them answers nothing, and the others get all that he has.
        let unanswered: Vec<Uuid> = sqlx::query_scalar("select id from conversations where holder_id = $1")
            .bind(turns[round % 3])
            .fetch_all(&mut *connection)
            .await
            .unwrap();
        for id in unanswered {
            look(&mut connection, team.account, id, after(SystemClock.now(), Duration::from_hours(1))).await.unwrap();
        }
        assert!(team.decide(&mut connection).await.unwrap() > 0);
    }
}

fn replica(pool: &PgPool) -> Database {
    Database::new(pool.clone(), Wake::start(&Drain::new(), pool))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_while_a_batch_is_decided_starts_where_it_leads() {
    let team = Arc::new(Team::new(2, 1).await);
    let comer = team.watching[0];
    team.arrive(10).await;
    let mut deciding = team.database.pool.begin().await.unwrap();
    assert_eq!(team.decide(&mut deciding).await.unwrap(), 10);
    let coming = tokio::spawn({
        let team = team.clone();
        async move {
            let mut tx = team.database.pool.begin().await.unwrap();
            team.switch(&mut tx, comer, Availability::Active).await.unwrap();
            tx.commit().await.unwrap();
        }
    });
    eventually("he waits for the decision, or is there without", LIMIT, async || {
        let waits = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                        and datname = current_database())";
        coming.is_finished() || sqlx::query_scalar(waits).fetch_one(&team.database.pool).await.unwrap()
    })
    .await;
    deciding.commit().await.unwrap();
    coming.await.unwrap();
    team.arrive(9).await;
    let mut tx = team.database.pool.begin().await.unwrap();
    let before = team.given(&mut tx).await.unwrap();
    assert_eq!(team.decide(&mut tx).await.unwrap(), 9);
    let all = [team.active.as_slice(), &[comer]].concat();
    assert_eq!(spread(&before, &team.given(&mut tx).await.unwrap(), &all), (3, 3), "nobody is flooded");
}

/// Decides again and again, as one replica, until it is over.
async fn decide(team: Arc<Team>, over: Arc<AtomicBool>) {
    let database = replica(&team.database.another_pool().await);
    while !over.load(Ordering::SeqCst) {
        // Whoever loses too many races is started again by his supervisor.
        let decided = database.transaction("assign", async |tx: &mut PgConnection| team.decide(tx).await).await;
        if !matches!(decided, Ok(1..)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn arrive(team: Arc<Team>, over: Arc<AtomicBool>) {
    for number in 0_usize.. {
        if over.load(Ordering::SeqCst) {
            return;
        }
        team.arrive(1 + number % 4).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Comes and goes. While he is there, he gets as many as those who always are, give or take one.
async fn come_and_go(team: &Team, comer: Uuid) {
    let database = replica(&team.database.another_pool().await);
    let everybody = [team.active.as_slice(), &[comer]].concat();
    for round in 0..ROUNDS {
        let become_ = async |state| {
            let switched =
                database.transaction("switch", async |tx: &mut PgConnection| team.switch(tx, comer, state).await);
            switched.await.unwrap()
        };
        // Read under the lock that deciders wait for: nothing is given out between the switch and the look.
        let before = become_(Availability::Active).await;
        let until = team.given_to_all().await + MEANWHILE;
        eventually("some are given out", LIMIT, async || team.given_to_all().await >= until).await;
        let after = become_(Availability::Watching).await;
        let (least, most) = spread(&before, &after, &everybody);
        assert!(most - least <= 1, "round {round}: from {least} to {most}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_deciders_at_once_are_fair_to_all_who_are_there_throughout() {
    let team = Arc::new(Team::new(4, 2).await);
    let over = Arc::new(AtomicBool::default());
    let mut work: JoinSet<()> = (0..4).map(|_| decide(team.clone(), over.clone())).collect();
    work.spawn(arrive(team.clone(), over.clone()));
    futures::future::join_all(team.watching.iter().map(|comer| come_and_go(&team, *comer))).await;
    over.store(true, Ordering::SeqCst);
    work.join_all().await;
    let mut connection = team.database.pool.acquire().await.unwrap();
    let given = team.given(&mut connection).await.unwrap();
    let (least, most) = spread(&Given::new(), &given, &team.active);
    assert!(most - least <= 1 && least > 50, "those who never left: from {least} to {most}");
}
