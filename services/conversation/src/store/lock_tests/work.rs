//! What workers of several replicas do: of two one acts, and what changes meanwhile is seen.

use std::time::Duration;

use diwan_hours::Schedule;
use diwan_runtime::{Clock as _, SystemClock};

use super::{Middle, run};
use crate::{
    flow,
    store::{
        archive, bot_turns,
        conversations::{self, Writer},
        decisions, history, hours, queue, reassignments, sends, unanswered,
    },
};

const LEASE: Duration = Duration::from_mins(1);
/// What workers take one of them at a time.
const WORK: [&str; 9] = [
    "sends",
    "conversations",
    "bot_turns",
    "reassignments",
    "teams",
    "decisions",
    "agent_history",
    "team_history",
    "priority_history",
];

impl Middle {
    /// Something of everything that waits for a worker, in its team, which is archived.
    async fn heap(&self) {
        let Self { account, team, heir, user, .. } = self;
        let (queued, bot) = (self.conversation("QUEUED"), self.bot());
        self.run(&format!(
            "{queued}; {bot};
             update teams set wait_alert_seconds = 1;
             update teams set receiving_id = '{heir}' where id = '{team}';
             insert into messages (account_id, id, conversation_id, direction, text, subject, rfc_message_id, rfc_references,
                                   attachments, delivery, created_at)
                 values ('{account}', '{account}', '{account}', 'OUT', '', '', '', '{{}}', '[]', 'PENDING', now());
             insert into sends (account_id, message_id, due_at) values ('{account}', '{account}', now());
             insert into bot_turns (account_id, conversation_id, bot_id, turn, answered, due_at)
                 values ('{account}', '{account}', '{user}', 1, 0, now() + interval '1 hour');
             insert into reassignments (account_id, id, actor_id, holder_id, queued, done_up_to, last_id, created_at, to_team_id)
                 values ('{account}', '{account}', '{user}', '{user}', false, '{account}', '{account}', now(), '{heir}');
             insert into decisions (account_id, id, team_id, team_version, decided_at, kind, ledger)
                 values ('{account}', '{account}', '{team}', 1, now(), 'BATCH', '');
             insert into agent_history (account_id, team_id, user_id, at, member, enabled, availability, open_count, automatic_count,
                                        restart)
                 select '{account}', '{team}', '{user}', now(), true, true, 'ACTIVE', 0, 0, false from generate_series(1, 2);
             insert into team_history (account_id, team_id, at, assignment_limit, time_zone, archived)
                 select '{account}', '{team}', now(), 0, 'UTC', false from generate_series(1, 2);
             insert into priority_history (account_id, team_id, conversation_id, at, from_priority, to_priority)
                 values ('{account}', '{team}', '{account}', now(), 1, 2)"
        ))
        .await;
    }

    /// How much each worker finds to do.
    async fn found(&self) -> Vec<(&'static str, u64)> {
        let Self { account, team, user, .. } = *self;
        let (pool, now) = (&self.database.pool, SystemClock.now());
        let mut tx = self.begin().await;
        let length = |length: usize| u64::try_from(length).unwrap();
        let found = vec![
            ("sends", length(sends::take_due(pool, now, LEASE, 10).await.unwrap().len())),
            ("alerts", length(queue::mark_long_waits(&mut tx, account, team, now, 10).await.unwrap().len())),
            ("turns", length(bot_turns::lock_free(&mut tx, account, user, 10, now).await.unwrap().len())),
            ("reassignments", reassignments::lock(&mut tx, account, account).await.unwrap().map_or(0, |_| 1)),
            ("archiving", archive::lock(&mut tx, account, team).await.unwrap().map_or(0, |()| 1)),
            ("decisions", decisions::purge(pool, now, 10).await.unwrap()),
            ("histories", history::purge(pool, now, 10).await.unwrap()),
        ];
        tx.rollback().await.unwrap();
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_is_at_is_passed_by() {
    let middle = std::sync::Arc::new(Middle::new().await);
    middle.heap().await;
    let mut first = middle.begin().await;
    for table in WORK {
        run(&mut first, format!("select from {table} for update")).await;
    }
    let second = tokio::spawn({
        let middle = middle.clone();
        async move { middle.found().await }
    });
    assert!(!middle.waits(&second).await, "it waits");
    let found = second.await.unwrap();
    assert!(found.iter().all(|(_, count)| *count == 0), "{found:?}");
    first.rollback().await.unwrap();
    // Of each history the last row stays.
    let all = ["sends", "alerts", "turns", "reassignments", "archiving", "decisions"].map(|work| (work, 1));
    assert_eq!(middle.found().await, [all.as_slice(), &[("histories", 3)]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shift_that_begins_while_the_hours_are_changed_does_not_bring_the_old_ones_back() {
    let middle = Middle::new().await;
    let Middle { account, team, .. } = middle;
    let now = SystemClock.now();
    let mut before = middle.begin().await;
    hours::set(&mut before, account, team, Some((&Schedule::default(), "UTC")), now).await.unwrap();
    run(&mut before, "update teams set changes_at = now() - interval '1 minute'".into()).await;
    before.commit().await.unwrap();
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    hours::set(&mut first, account, team, None, now).await.unwrap();
    let second = tokio::spawn(async move {
        hours::turn(&mut second, account, team, now).await.unwrap();
        second.commit().await.unwrap();
    });
    middle.overtake(first, second).await;
    assert_eq!(middle.count("select count(*) from teams where working_hours is not null").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_closed_while_its_archived_team_is_emptied_stays_there() {
    let middle = Middle::new().await;
    let Middle { account, team, heir, .. } = middle;
    middle.run(&middle.conversation("QUEUED")).await;
    middle.run(&format!("update teams set receiving_id = '{heir}' where id = '{team}'")).await;
    let now = SystemClock.now();
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    assert!(conversations::close(&mut first, account, account, 1, now).await.unwrap());
    let second = tokio::spawn(async move {
        flow::archive::chunk(&mut second, account, team, now).await.unwrap();
        second.commit().await.unwrap();
    });
    middle.overtake(first, second).await;
    let closed = "select count(*) from conversations c join teams t on t.id = c.team_id and t.receiving_id is not null
                  where c.state = 'CLOSED' and c.version = 2";
    assert_eq!(middle.count(closed).await, 1);
    assert_eq!(middle.count("select sum(archive_moved) from teams").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_writes_while_his_conversation_is_looked_at_has_a_timer() {
    let middle = Middle::new().await;
    let Middle { account, .. } = middle;
    middle
        .run(&format!(
            "{};
             update teams set no_answer_after_minutes = 10;
             update conversations set assigned_at = now();
             insert into answer_timers (account_id, conversation_id, due_at) values ('{account}', '{account}', now())",
            middle.conversation("OPEN")
        ))
        .await;
    let now = SystemClock.now();
    let (mut first, mut second) = (middle.begin().await, middle.begin().await);
    assert!(conversations::touch(&mut first, account, (account, 1), Writer::Customer(now), now).await.unwrap());
    unanswered::arm(&mut first, account, &[account], now).await.unwrap();
    let second = tokio::spawn(async move {
        flow::unanswered::look(&mut second, account, account, now).await.unwrap();
        second.commit().await.unwrap();
    });
    middle.overtake(first, second).await;
    assert_eq!(middle.count("select count(*) from answer_timers").await, 1);
}
