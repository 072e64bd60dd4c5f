//! Somebody takes a conversation while an event changes what follows from it: whichever commits first, the other one sees what it did.

use std::time::Duration;

use diwan_access::User;
use diwan_proto::{access::v1::Role, team::v1::Team};
use diwan_runtime::{Clock as _, SystemClock, ids};
use diwan_testkit::{TestDatabase, eventually};
use sqlx::{AssertSqlSafe, PgConnection, PgTransaction};
use uuid::Uuid;

use super::{members, presence, take::take};
use crate::{
    Error,
    store::locks::{self, Concerned},
};

const LIMIT: Duration = Duration::from_secs(30);

/// What comes at the same time.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// The team wants answers within ten minutes.
    Setting,
    /// Whoever takes it goes OFFLINE.
    Offline,
    /// He is deactivated, which is the first that is known of him.
    Deactivated,
}

/// A conversation that waits for an answer, and somebody who is no member of its team.
#[derive(Clone, Copy)]
struct Desk {
    account: Uuid,
    team: Uuid,
    conversation: Uuid,
    user: Uuid,
}

impl Desk {
    async fn new(database: &TestDatabase, known: bool) -> Self {
        let [account, team, conversation, user] = std::array::from_fn(|_| ids::new_id());
        let known = if known { "" } else { "delete from users; delete from presence;" };
        let sql = format!(
            "insert into teams (account_id, id, assignment_limit, visibility, wide_team_ids, fallback, version, reassign_when_offline)
                 values ('{account}', '{team}', 0, 1, '{{}}', true, 1, true);
             insert into users (account_id, id, role, active, version) values ('{account}', '{user}', 1, true, 1);
             insert into presence (account_id, user_id, state, since, version) values ('{account}', '{user}', 'ACTIVE', now(), 1);
             {known}
             insert into contacts (account_id, id, name, email, email_key, created_at)
                 values ('{account}', '{account}', '', 'maha@example.com', 'maha@example.com', now());
             insert into conversations (account_id, id, team_id, contact_id, state, subject, mailbox_address, version, created_at,
                                        queued_at, last_message_at, unanswered_since)
                 values ('{account}', '{conversation}', '{team}', '{account}', 'QUEUED', '', '', 1, now(), now(), now(), now())"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&database.pool).await.unwrap();
        Self { account, team, conversation, user }
    }

    async fn take(self, tx: &mut PgConnection) -> Result<(), Error> {
        let caller = User {
            account_id: self.account,
            user_id: self.user,
            session_id: ids::new_id(),
            role: Role::Owner,
            grants: Vec::new(),
            actor: None,
        };
        take(tx, &caller, self.conversation, SystemClock.now()).await.map(drop)
    }

    /// What the follower does, and the look for people who are gone.
    async fn happen(self, tx: &mut PgConnection, event: Event) {
        let Self { account, team, user, .. } = self;
        let now = SystemClock.now();
        match event {
            Event::Setting => {
                let concerned = Concerned { teams: vec![team], ..Concerned::default() };
                locks::take(tx, account, &concerned).await.unwrap();
                let wants = Team { no_answer_after_minutes: 10, visibility_level: 1, ..Team::default() };
                members::team_changed(tx, (account, team, 2), &wants, now).await.unwrap();
            }
            Event::Offline => presence::leave(tx, account, user, Duration::ZERO, now).await.unwrap(),
            Event::Deactivated => {
                let concerned = Concerned { told: vec![user], users: vec![user], ..Concerned::default() };
                locks::take(tx, account, &concerned).await.unwrap();
                members::user_changed(tx, (account, user, 2), (3, false), now).await.unwrap();
            }
        }
    }
}

/// Waits until somebody waits for somebody else, or `done`.
async fn waits(database: &TestDatabase, done: impl Fn() -> bool) {
    let blocked = "select exists (select from pg_stat_activity where cardinality(pg_blocking_pids(pid)) > 0
                                    and datname = current_database())";
    eventually("the second one waits, or has not waited", LIMIT, async || {
        done() || sqlx::query_scalar(blocked).fetch_one(&database.pool).await.unwrap()
    })
    .await;
}

async fn begin(database: &TestDatabase) -> PgTransaction<'static> {
    database.pool.begin().await.unwrap()
}

/// Both at once, the one that is named first beginning and committing first.
async fn both(event: Event, event_first: bool, known: bool) -> (TestDatabase, Result<(), Error>) {
    let database = TestDatabase::new(&crate::MIGRATOR).await;
    let desk = Desk::new(&database, known).await;
    let (mut first, mut second) = (begin(&database).await, begin(&database).await);
    let taken = if event_first {
        desk.happen(&mut first, event).await;
        let taking = tokio::spawn(async move {
            let taken = desk.take(&mut second).await;
            second.commit().await.unwrap();
            taken
        });
        waits(&database, || taking.is_finished()).await;
        first.commit().await.unwrap();
        taking.await.unwrap()
    } else {
        let taken = desk.take(&mut first).await;
        let happening = tokio::spawn(async move {
            desk.happen(&mut second, event).await;
            second.commit().await.unwrap();
        });
        waits(&database, || happening.is_finished()).await;
        first.commit().await.unwrap();
        happening.await.unwrap();
        taken
    };
    (database, taken)
}

async fn count(database: &TestDatabase, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(&database.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_takes_who_is_no_member_has_a_timer_whatever_changes_meanwhile() {
    for event in [Event::Setting, Event::Offline] {
        for event_first in [true, false] {
            let (database, taken) = both(event, event_first, true).await;
            taken.unwrap();
            let timers = count(&database, "select count(*) from answer_timers").await;
            assert_eq!(timers, 1, "{event:?}, first: {event_first}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_with_somebody_of_whom_the_first_that_is_known_is_that_he_is_deactivated() {
    let (database, taken) = both(Event::Deactivated, true, false).await;
    assert!(matches!(taken, Err(Error::Deactivated)), "{taken:?}");
    let (after, taken) = both(Event::Deactivated, false, false).await;
    taken.unwrap();
    for database in [database, after] {
        let waiting = "select count(*) from conversations where state = 'QUEUED' and holder_id is null";
        assert_eq!(count(&database, waiting).await, 1);
        assert_eq!(count(&database, "select count(*) from slots where open_count <> 0").await, 0);
        assert_eq!(count(&database, "select count(*) from users where active").await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_something_before_anything_is_known_of_him_is_what_is_told_of_him_later() {
    let database = TestDatabase::new(&crate::MIGRATOR).await;
    let desk = Desk::new(&database, false).await;
    let mut tx = begin(&database).await;
    desk.take(&mut tx).await.unwrap();
    members::user_changed(&mut tx, (desk.account, desk.user, 1), (3, true), SystemClock.now()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&database, "select count(*) from users where role = 3 and active and version = 1").await, 1);
    assert_eq!(count(&database, "select count(*) from conversations where state = 'OPEN'").await, 1);
}
