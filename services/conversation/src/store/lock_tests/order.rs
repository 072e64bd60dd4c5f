//! Several rows of one kind: by id, wherever they lie. So who waits for one of them has none yet that whoever has that one waits for.

use std::time::Duration;

use diwan_runtime::{Clock as _, SystemClock, clock::after, ids};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::{Middle, run};
use crate::{
    flow::{groups, topics},
    store::presence,
};

/// So many that no other order begins with the same one by chance.
const MANY: usize = 30;

/// The highest first: they lie in the table in this order.
fn descending() -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = (0..MANY).map(|_| ids::new_id()).collect();
    ids.sort_unstable();
    ids.reverse();
    ids
}

/// Leaves the planner one way to join, in which a statement changes rows in the order in which they lie in the table. It is one of those
/// that it chooses from, as statistics may have it.
const AS_THEY_LIE: &str = "do $$
    declare setting text;
    begin
        foreach setting in array array['nestloop', 'mergejoin', 'indexscan', 'indexonlyscan', 'bitmapscan'] loop
            execute format('alter database %I set enable_%s = off', current_database(), setting);
        end loop;
    end $$";

impl Middle {
    /// Somebody has the lowest: whoever wants all of them waits for that one, and has no other.
    async fn begins_with_the_lowest<T>(
        &self,
        table: &str,
        ids: &[Uuid],
        wants: impl FnOnce(PgPool) -> JoinHandle<T>,
    ) -> T {
        let lowest = ids[MANY - 1];
        let mut first = self.begin().await;
        run(&mut first, format!("select from {table} where id = '{lowest}' for no key update")).await;
        self.run(AS_THEY_LIE).await;
        let second = wants(self.database.another_pool().await);
        assert!(self.waits(&second).await, "it goes on without");
        let others = format!("select from {table} where id = any($1) for no key update nowait");
        let mut third = self.begin().await;
        let free = sqlx::query(AssertSqlSafe(others)).bind(&ids[..MANY - 1]).execute(&mut *third).await;
        free.unwrap();
        third.rollback().await.unwrap();
        first.rollback().await.unwrap();
        second.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_group_that_is_removed_are_locked_by_their_ids() {
    let middle = Middle::new().await;
    let account = middle.account;
    let mut tx = middle.begin().await;
    let group = groups::create(&mut tx, account, "VIP", SystemClock.now()).await.unwrap().id;
    let ids = descending();
    for id in &ids {
        let contact = format!(
            "insert into contacts (account_id, id, name, email, created_at, group_ids)
                 values ('{account}', '{id}', '', '', now(), array['{group}'::uuid])"
        );
        run(&mut tx, contact).await;
    }
    tx.commit().await.unwrap();
    let removes = |pool: PgPool| {
        tokio::spawn(async move {
            let mut second = pool.begin().await.unwrap();
            groups::delete(&mut second, account, group, SystemClock.now()).await.unwrap();
            second.commit().await.unwrap();
        })
    };
    middle.begins_with_the_lowest("contacts", &ids, removes).await;
    assert_eq!(middle.count("select count(*) from contacts where group_ids <> '{}'").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_archived_are_locked_by_their_ids() {
    let middle = Middle::new().await;
    let account = middle.account;
    let ids = descending();
    let mut tx = middle.begin().await;
    for id in &ids {
        let parent = if *id == ids[0] { "null".to_owned() } else { format!("'{}'", ids[0]) };
        let topic = format!(
            "insert into topics (account_id, id, parent_id, name, name_key, version, created_at)
                 values ('{account}', '{id}', {parent}, '{id}', '{id}', 1, now())"
        );
        run(&mut tx, topic).await;
    }
    tx.commit().await.unwrap();
    let top = ids[0];
    let archives = |pool: PgPool| {
        tokio::spawn(async move {
            let mut second = pool.begin().await.unwrap();
            topics::archive(&mut second, account, top, SystemClock.now()).await.unwrap();
            second.commit().await.unwrap();
        })
    };
    middle.begins_with_the_lowest("topics", &ids, archives).await;
    assert_eq!(middle.count("select count(*) from topics where archived_at is null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_are_extended_are_locked_by_their_ids() {
    let middle = Middle::new().await;
    let Middle { account, user, .. } = middle;
    let ids = descending();
    for id in &ids {
        let session = format!(
            "insert into live_sessions (account_id, id, user_id, sign_in, lease_until)
                 values ('{account}', '{id}', '{user}', '{user}', now())"
        );
        middle.run(&session).await;
    }
    let all = ids.clone();
    let until = after(SystemClock.now(), Duration::from_mins(1));
    let extends = |pool: PgPool| {
        tokio::spawn(async move { presence::extend_sessions(&pool, account, &all, until).await.unwrap().len() })
    };
    assert_eq!(middle.begins_with_the_lowest("live_sessions", &ids, extends).await, MANY);
}
