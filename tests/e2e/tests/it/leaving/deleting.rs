//! Of a deleted account nothing is left, whichever service is killed in the midst of it.

use std::path::Path;

use diwan_proto::identity::v1::{CloseAccountRequest, closing_service_client::ClosingServiceClient};

use super::*;

/// Each has deleted from some tables then, and not yet from others.
static DELETING: [Moment; 5] = [
    at("identity", "lock table sessions in share mode", "delete from sessions where account_id%"),
    at("team", "lock table teams in share mode", "delete from teams where account_id%"),
    at("billing", "lock table subscriptions in share mode", "delete from subscriptions where account_id%"),
    at("conversation", "lock table contacts in share mode", "delete from contacts where account_id%"),
    at("mailbox", "lock table mailboxes in share mode", "delete from mailboxes where account_id%"),
];

/// What may say the id of a deleted account: see docs/decisions/closing.md.
const LEFT: [&str; 8] = [
    "billing.account_deletions",
    "conversation.account_deletions",
    "identity.account_deletions",
    "identity.audit_heads",
    "identity.feed_events",
    "mailbox.account_deletions",
    "mailbox.closed_accounts",
    "team.account_deletions",
];

/// Some of what the other account has.
const KEPT: [&str; 10] = [
    "billing.seats",
    "billing.subscriptions",
    "conversation.contacts",
    "conversation.conversations",
    "conversation.messages",
    "identity.users",
    "mailbox.mailboxes",
    "mailbox.messages",
    "team.memberships",
    "team.teams",
];

impl Scene {
    /// Lets a day come that identity waits for, and identity look: it does so when it starts.
    async fn pass(&mut self, day: &str, until: &str) {
        let account = self.owner.user.account_id.clone();
        self.run("identity", &format!("update accounts set {day} = now() where account_id = '{account}'")).await;
        self.fresh.installation.crash("identity").await.unwrap();
        self.again("identity").await;
        let until = format!("{until} and account_id = '{account}'");
        eventually(&until, LIMIT, async || self.count("identity", &until).await == 1).await;
    }

    /// Starts all who were killed, of whom each needs the others to serve.
    async fn all_again(&mut self, killed: &[&'static str]) {
        let (last, others) = killed.split_last().unwrap();
        for service in others {
            let address = self.fresh.installation.address(service).unwrap();
            self.fresh.installation.revive(service, service, address).unwrap();
        }
        self.again(last).await;
    }

    /// How many rows of each table say an account's id, in whatever column.
    async fn mentions(&self, account: &str) -> BTreeMap<String, i64> {
        let mut found = BTreeMap::new();
        for service in SERVICES {
            let tables = "select tablename::text from pg_tables where schemaname = 'public'";
            let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&self.databases[service]).await.unwrap();
            for table in tables {
                let rows = self.count(service, &format!("{table} t where t::text like '%{account}%'")).await;
                found.extend((rows > 0).then(|| (format!("{service}.{table}"), rows)));
            }
        }
        found
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_leaves_nothing_though_each_service_is_killed_in_the_midst_of_it() {
    let mut scene = Scene::new().await;
    let (account, other) = (scene.owner.user.account_id.clone(), scene.other.user.account_id.clone());
    let before = scene.mentions(&other).await;
    let close = CloseAccountRequest { request_id: request_id(), password: PASSWORD.into() };
    ClosingServiceClient::new(scene.owner.way()).close_account(close).await.unwrap();
    scene.pass("closes_at", "accounts where delete_at is not null").await;
    let mut gates = Vec::new();
    for moment in &DELETING {
        gates.push(scene.hold(moment).await);
    }
    scene.pass("delete_at", "account_deletions where true").await;
    // Identity tells of it: it is killed when all have heard.
    for service in SERVICES {
        eventually(service, LIMIT, async || scene.count(service, "account_deletions").await == 1).await;
    }
    let mut killed = Vec::new();
    while !gates.is_empty() {
        let gate = gates.swap_remove(scene.reached(&gates).await);
        killed.push(scene.kill_at(gate).await);
    }
    for service in SERVICES {
        assert_eq!(scene.count(service, "account_deletions where finished_at is not null").await, 0, "{service}");
    }
    scene.all_again(&killed).await;

    for service in SERVICES {
        eventually(service, LIMIT, async || {
            scene.count(service, "account_deletions where finished_at is not null").await == 1
        })
        .await;
    }
    let left = scene.mentions(&account).await;
    assert_eq!(left.keys().map(String::as_str).collect::<Vec<_>>(), LEFT, "{left:?}");
    assert_eq!(mentioned_below(&scene.blobs(), &account), Vec::<String>::new());
    let after = scene.mentions(&other).await;
    for table in KEPT {
        assert!(after.contains_key(table), "{table}: {after:?}");
        assert_eq!(after.get(table), before.get(table), "{table}");
    }
    assert!(!mentioned_below(&scene.blobs(), &other).is_empty());
    let email = &scene.other.user.email;
    eventually("the other signs in", LIMIT, async || scene.door.sign_in(email, PASSWORD).await.is_ok()).await;
    scene.fresh.installation.stop().await.unwrap();
}

/// The files and folders below one, wherever they are, whose path names an account.
fn mentioned_below(folder: &Path, account: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.extend(Some(path.display().to_string()).filter(|path| path.contains(account)));
        if path.is_dir() {
            found.extend(mentioned_below(&path, account));
        }
    }
    found
}
