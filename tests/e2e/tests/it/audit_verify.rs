//! `diwan audit verify`, as an auditor runs it: the real binary beside a real installation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use diwan_e2e::{
    door::{Door, Person, request_id},
    installation::{Topology, postgres_programs},
};
use diwan_proto::team::v1::{CreateTeamRequest, team_service_client::TeamServiceClient};
use diwan_testkit::eventually;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{Fresh, sign_up, start};

/// Heads are exported once a minute.
const LIMIT: Duration = Duration::from_mins(3);
const SOUND: Option<i32> = Some(0);
const FLAWED: Option<i32> = Some(1);
const UNKNOWN: Option<i32> = Some(2);

/// What the command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn line(&self, words: &[&str]) -> bool {
        self.out.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

fn verify(home: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(std::env::current_exe().unwrap().with_file_name("../diwan"));
    command.args(["audit", "verify"]).args(arguments).env("DIWAN_HOME", home);
    let Output { status, stdout, stderr } =
        command.env("DIWAN_POSTGRES_BIN", postgres_programs().unwrap()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

fn home(fresh: &Fresh) -> PathBuf {
    fresh.installation.keys().parent().unwrap().to_owned()
}

/// The files with heads, by name.
fn head_files(home: &Path) -> Vec<PathBuf> {
    let days = fs::read_dir(home.join("audit-heads")).into_iter().flatten().flatten();
    let files = days.flat_map(|day| fs::read_dir(day.path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// An installation with something in its log, whose head is kept, and where nothing is going on any more.
async fn at_rest() -> (Fresh, Person, PgPool) {
    let fresh = start(Topology::Suite, &[]).await;
    let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Audited").await;
    for name in ["Sales", "Support", "Returns"] {
        let create = CreateTeamRequest { request_id: request_id(), name: name.into(), ..Default::default() };
        TeamServiceClient::new(owner.way()).create_team(create).await.unwrap();
    }
    let identity = PgPool::connect(&fresh.installation.database_url("identity").unwrap()).await.unwrap();
    eventually("every team stands in the log, and its head is kept", LIMIT, async || {
        let at_rest =
            "select not exists (select from audit_inbox) and not exists (select from audit_heads where kept < number)
                              and (select count(*) from audit_entries where call = 'CreateTeam') = 3";
        sqlx::query_scalar::<_, bool>(at_rest).fetch_one(&identity).await.unwrap()
    })
    .await;
    (fresh, owner, identity)
}

async fn sql(identity: &PgPool, statement: &str) {
    let done = sqlx::query(AssertSqlSafe(statement)).execute(identity).await.unwrap();
    assert!(done.rows_affected() > 0, "{statement}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_log_passes_and_whatever_was_done_to_it_is_told() {
    let (fresh, owner, identity) = at_rest().await;
    let (home, account) = (home(&fresh), owner.user.account_id.clone());
    let clean = verify(&home, &[]);
    assert_eq!(clean.code, SOUND, "{clean:?}");
    assert!(clean.line(&[&account, "sound"]), "{clean:?}");
    assert_eq!(verify(&home, &["--account", &account]).code, SOUND);

    // Somebody who can write to the database changes who did it.
    let of = format!("account_id = '{account}' and number = 2");
    sql(&identity, &format!("update audit_entries set content = content || '\\x0801'::bytea where {of}")).await;
    let changed = verify(&home, &[]);
    assert_eq!(changed.code, FLAWED, "{changed:?}");
    assert!(changed.line(&[&account, "CHANGED", "entry 2"]), "{changed:?}");
    assert_eq!(verify(&home, &["--account", &account]).code, FLAWED);
    assert_eq!(verify(&home, &["--account", "installation"]).code, SOUND, "that is another log");
    sql(&identity, &format!("update audit_entries set content = substr(content, 1, length(content) - 2) where {of}"))
        .await;
    assert_eq!(verify(&home, &[]).code, SOUND, "put back");

    // Heads are taken away, then a forged one is put there.
    let elsewhere = tempfile::tempdir().unwrap();
    for file in head_files(&home) {
        fs::copy(&file, elsewhere.path().join(file.file_name().unwrap())).unwrap();
        fs::remove_file(file).unwrap();
    }
    let removed = verify(&home, &[]);
    assert_eq!(removed.code, FLAWED, "{removed:?}");
    assert!(removed.line(&[&account, "HEADS MISSING"]), "{removed:?}");
    let copy = elsewhere.path().to_str().unwrap();
    assert_eq!(verify(&home, &["--heads", copy]).code, SOUND, "the auditor has a copy of his own");
    fs::write(elsewhere.path().join("forged.jwt"), "not a head\n").unwrap();
    let forged = verify(&home, &["--heads", copy]);
    assert_eq!(forged.code, FLAWED, "{forged:?}");
    assert!(forged.line(&["forged.jwt", "line 1", "NOT A HEAD"]), "{forged:?}");
    fresh.installation.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_proved_when_nothing_runs_and_where_there_is_none_nothing_is_known() {
    let (fresh, owner, identity) = at_rest().await;
    let (home, account) = (home(&fresh), owner.user.account_id.clone());
    let of = format!("account_id = '{account}'");
    let last = format!("{of} and number = (select max(number) from audit_entries where {of})");
    sql(&identity, &format!("delete from audit_entries where {last}")).await;
    identity.close().await;
    let folder = fresh.stop().await;
    let cut = verify(&home, &[]);
    assert_eq!(cut.code, FLAWED, "{cut:?}");
    assert!(cut.line(&[&account, "TRUNCATED"]), "{cut:?}");
    drop(folder);

    let empty = tempfile::tempdir().unwrap();
    let nothing = verify(empty.path(), &[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (UNKNOWN, ""), "{nothing:?}");
    assert!(nothing.err.contains("no database"), "{nothing:?}");
}
