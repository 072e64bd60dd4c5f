//! An account leaves: its owner takes everything with him, once, and then nothing of it is left anywhere, though each service is killed
//! with SIGKILL in the midst of its part of both. The account next to it keeps what it has.
//!
//! A service is held by a lock that the test takes in its database, as in `halfway`. No lease is cut short: what a killed process had
//! begun is taken up again when its lease is over.

mod deleting;
mod gathering;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use diwan_e2e::{
    door::{Door, Person, request_id},
    installation::{SERVICES, Topology},
};
use diwan_proto::team::v1::{ListTeamsRequest, team_service_client::TeamServiceClient};
use diwan_testkit::eventually;
use sqlx::{AssertSqlSafe, PgPool, PgTransaction};

use crate::support::{Fresh, PASSWORD, sign_up, start};

const LIMIT: Duration = Duration::from_mins(3);
/// More than two pages of an export.
const MESSAGES: usize = 20;
const LONG: usize = 128 * 1024;
const MAILS: usize = 3;
/// Under this name every mail of the test is in the blob store.
const BLOB: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What a service is held by, and the statement that waits then.
struct Moment {
    service: &'static str,
    lock: &'static str,
    waits: &'static str,
}

const fn at(service: &'static str, lock: &'static str, waits: &'static str) -> Moment {
    Moment { service, lock, waits }
}

/// A moment that is held.
struct Gate {
    moment: &'static Moment,
    transaction: PgTransaction<'static>,
    pid: i32,
}

/// Two accounts with the same things in them.
struct Scene {
    fresh: Fresh,
    door: Door,
    owner: Person,
    other: Person,
    databases: BTreeMap<&'static str, PgPool>,
}

impl Scene {
    async fn new() -> Self {
        let fresh = start(Topology::Separate, &[]).await;
        let door = Door::open(fresh.installation.gateway()).await.unwrap();
        let (owner, other) = (sign_up(&door, "Leaving").await, sign_up(&door, "Staying").await);
        let mut databases = BTreeMap::new();
        for service in SERVICES {
            let url = fresh.installation.database_url(service).unwrap();
            databases.insert(service, PgPool::connect(&url).await.unwrap());
        }
        let scene = Self { fresh, door, owner, other, databases };
        for person in [&scene.owner, &scene.other] {
            scene.fill(person).await;
        }
        scene
    }

    async fn fill(&self, person: &Person) {
        let teams = TeamServiceClient::new(person.way()).list_teams(ListTeamsRequest::default()).await.unwrap();
        let team = &teams.into_inner().teams[0].id;
        for number in 0..MESSAGES {
            self.ingest(person, team, number).await;
        }
        // A mailbox on which nobody works.
        let account = &person.user.account_id;
        self.run(
            "mailbox",
            &format!(
                "insert into mailboxes (account_id, id, address, display_name, team_id, imap_host, imap_port, imap_security,
                     imap_user, imap_secret, smtp_host, smtp_port, smtp_security, smtp_user, smtp_secret, state, uid_validity,
                     cursor_uid, created_at)
                 values ('{account}', '{account}', 'support@leaving.example', '', '{team}', 'mail.example', 993, 'TLS', '', '',
                     'mail.example', 465, 'TLS', '', '', 'SYNCED', 1, 1, now());
                 insert into messages (account_id, id, mailbox_id, uid_validity, uid, sha256, fingerprint, size, received_at, state,
                     from_email, from_name, subject, body, rfc_message_id, thread, attachments, automatic, broken, stored_at)
                 select '{account}', gen_random_uuid(), '{account}', 1, n, '{BLOB}', '', 1, now(), 'HISTORY',
                     '', '', '', '', '', '{{}}', '[]', false, false, now()
                 from generate_series(1, {MAILS}) n"
            ),
        )
        .await;
        let folder = self.blobs().join("mails").join(account).join(&BLOB[..2]);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(BLOB), account).unwrap();
        // As it stays there when a process is killed while it writes.
        fs::write(folder.join(format!("{BLOB}#1")), account).unwrap();
    }

    async fn ingest(&self, person: &Person, team: &str, number: usize) {
        let text = format!("message number {number}. {}", "x".repeat(LONG));
        self.fresh.ingest(&person.user.account_id, team, text).await;
    }

    fn blobs(&self) -> PathBuf {
        self.fresh.installation.keys().with_file_name("blobs")
    }

    async fn run(&self, service: &str, statements: &str) {
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&self.databases[service]).await.unwrap();
    }

    async fn count(&self, service: &str, what: &str) -> i64 {
        let query = AssertSqlSafe(format!("select count(*) from {what}"));
        sqlx::query_scalar(query).fetch_one(&self.databases[service]).await.unwrap()
    }

    async fn hold(&self, moment: &'static Moment) -> Gate {
        let mut transaction = self.databases[moment.service].begin().await.unwrap();
        let hold = format!("set local idle_in_transaction_session_timeout = 0; {}", moment.lock);
        sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut *transaction).await.unwrap();
        let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *transaction).await.unwrap();
        Gate { moment, transaction, pid }
    }

    /// Which of them its service has reached. It waits there for some seconds, gives up and comes back.
    async fn reached(&self, gates: &[Gate]) -> usize {
        eventually("a step is reached", LIMIT, async || {
            for (place, Gate { moment, pid, .. }) in gates.iter().enumerate() {
                let waits = "select exists (select from pg_stat_activity
                                            where $1 = any (pg_blocking_pids(pid)) and query ilike $2)";
                let waits = sqlx::query_scalar(waits).bind(pid).bind(moment.waits);
                if waits.fetch_one(&self.databases[moment.service]).await.unwrap() {
                    return Some(place);
                }
            }
            None
        })
        .await
    }

    /// Kills the service that waits at a gate, and opens it.
    async fn kill_at(&mut self, gate: Gate) -> &'static str {
        let service = gate.moment.service;
        self.fresh.installation.crash(service).await.unwrap();
        gate.transaction.rollback().await.unwrap();
        service
    }

    async fn again(&mut self, service: &'static str) {
        self.fresh.installation.again(service).await.unwrap();
    }

    /// The owner's token is good for five minutes, and a busy machine is slow.
    async fn sign_in(&mut self) {
        let email = &self.owner.user.email;
        let signed_in = async || self.door.sign_in(email, PASSWORD).await.ok();
        self.owner = eventually("the owner signs in", LIMIT, signed_in).await;
    }
}
