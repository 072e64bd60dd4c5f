//! `diwan audit verify`: a log against its database and against the heads that were exported.

use std::{fs, path::PathBuf, time::Duration};

use diwan_access::{Keys, Signer, keys};
use diwan_identity::audit_log::{self, Finding, Report, Verdict};
use diwan_proto::identity::v1::AuditFlaw;
use diwan_runtime::{Clock as _, Env, MockClock, SystemClock};
use diwan_testkit::eventually;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    house::{House, LIMIT, Member},
    throttle::{clock, house_at},
};

/// Heads are exported so often.
const EVERY: Duration = Duration::from_mins(1);

/// A house whose heads are kept in a folder, and its owner.
struct Kept {
    house: House,
    owner: Member,
    clock: MockClock,
    folder: TempDir,
    keys: TempDir,
}

impl Kept {
    async fn new() -> Self {
        let (clock, folder, keys) = (clock(), TempDir::new().unwrap(), TempDir::new().unwrap());
        let env = Env::default().with("DIWAN_IDENTITY_AUDIT_HEADS", folder.path().to_str().unwrap());
        let house = house_at(&clock, env).await;
        for file in fs::read_dir(house.world.context("identity", Env::default()).keys).unwrap() {
            let file = file.unwrap().path();
            fs::copy(&file, keys.path().join(file.file_name().unwrap())).unwrap();
        }
        let owner = house.owner("owner@example.com").await;
        house.settled(&owner).await;
        let kept = Self { house, owner, clock, folder, keys };
        kept.export().await;
        kept
    }

    fn account(&self) -> Uuid {
        self.owner.user.account_id.parse().unwrap()
    }

    /// Lets the log come to rest, and its head be kept.
    async fn export(&self) {
        self.export_after(4).await;
    }

    /// The same, once the log has more than `number` entries.
    async fn export_after(&self, number: i64) {
        let settled = format!(
            "audit_heads where account_id = (select account_id from accounts) and number > {number} and kept = number"
        );
        eventually("the head is kept", LIMIT * 3, async || {
            self.clock.advance(EVERY / 4);
            let waits = self.house.count("audit_inbox").await > 0;
            (!waits && self.house.count(&settled).await == 1).then_some(())
        })
        .await;
    }

    async fn report(&self) -> Report {
        let (url, folder) = (&self.house.database.url, self.folder.path());
        audit_log::verify(url, folder, self.keys.path(), None).await.unwrap()
    }

    async fn verdict(&self) -> Verdict {
        let of_account = |verdict: &Verdict| verdict.account == self.account();
        self.report().await.verdicts.into_iter().find(of_account).unwrap()
    }

    async fn finding(&self) -> Finding {
        self.verdict().await.finding
    }

    async fn sql(&self, statement: &'static str) {
        let done = sqlx::query(statement).bind(self.account()).execute(&self.house.database.pool).await.unwrap();
        assert!(done.rows_affected() > 0, "{statement}");
    }

    /// Takes an entry out and computes all numbers and hashes after it anew, as whoever can write to the database can.
    async fn rewrite_without(&self, number: i64) {
        self.sql("delete from audit_entries where account_id = $1 and number = 2").await;
        assert_eq!(number, 2);
        self.sql("update audit_entries set number = number + 100000 where account_id = $1 and number > 2").await;
        self.sql("update audit_entries set number = number - 100001 where account_id = $1 and number > 100000").await;
        self.chain_anew().await;
    }

    /// Computes every hash, and the head, as the contents are now.
    async fn chain_anew(&self) {
        let entries: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select number, content from audit_entries where account_id = $1 order by number")
                .bind(self.account())
                .fetch_all(&self.house.database.pool)
                .await
                .unwrap();
        let mut previous = vec![0; 32];
        for (number, content) in &entries {
            let digest = Sha256::new().chain_update("diwan audit entry 1").chain_update(self.account());
            let digest = digest.chain_update(number.to_be_bytes()).chain_update(&previous).chain_update(content);
            previous = digest.finalize().to_vec();
            sqlx::query("update audit_entries set hash = $3 where account_id = $1 and number = $2")
                .bind(self.account())
                .bind(number)
                .bind(&previous)
                .execute(&self.house.database.pool)
                .await
                .unwrap();
        }
        self.sql(
            "update audit_heads set exported = 0, kept = 0, (number, hash) =
                 (select number, hash from audit_entries where account_id = $1 order by number desc limit 1)
             where account_id = $1",
        )
        .await;
    }

    /// Lets identity itself sign a head over each entry, as the log is now.
    async fn sign_anew(&self, entries: i64) {
        for number in 1..=entries {
            let head = "update audit_heads h set exported = $2 - 1, kept = $2 - 1, number = $2, hash = e.hash
                        from audit_entries e where h.account_id = $1 and e.account_id = $1 and e.number = $2";
            let set =
                sqlx::query(head).bind(self.account()).bind(number).execute(&self.house.database.pool).await.unwrap();
            assert_eq!(set.rows_affected(), 1);
            self.export_after(number - 1).await;
        }
    }

    fn head_files(&self) -> Vec<PathBuf> {
        let days = fs::read_dir(self.folder.path()).unwrap();
        let files = days.flat_map(|day| fs::read_dir(day.unwrap().path()).unwrap());
        files.map(|file| file.unwrap().path()).collect()
    }
}

fn flawed(kind: AuditFlaw, number: i64) -> Finding {
    Finding::Flawed { kind, number }
}

#[tokio::test]
async fn a_log_that_nobody_touched_is_sound_and_agrees_with_the_heads_that_were_kept() {
    let kept = Kept::new().await;
    let report = kept.report().await;
    assert!(report.unproven.is_empty() && report.verdicts.iter().all(Verdict::is_good));
    let verdict = kept.verdict().await;
    assert!(verdict.heads > 0 && verdict.last.unwrap().0 == verdict.entries, "{verdict}");
    assert!(verdict.to_string().contains("sound"), "{verdict}");
    let nothing = TempDir::new().unwrap();
    let url = &kept.house.database.url;
    let report = audit_log::verify(url, nothing.path(), kept.keys.path(), Some(kept.account())).await.unwrap();
    assert_eq!(
        report.verdicts[0].finding,
        Finding::HeadsMissing { kept: verdict.entries },
        "they were kept, and are gone"
    );
    let wrong = audit_log::verify("postgres://localhost:1/none", nothing.path(), kept.keys.path(), None).await;
    assert!(wrong.is_err(), "nothing is known without a database");
}

#[tokio::test]
async fn a_log_that_was_written_anew_is_given_away_by_a_kept_head() {
    let kept = Kept::new().await;
    let nothing = TempDir::new().unwrap();
    let entries = kept.verdict().await.entries;
    kept.rewrite_without(2).await;
    let url = &kept.house.database.url;
    let alone = audit_log::verify(url, nothing.path(), kept.keys.path(), Some(kept.account())).await.unwrap();
    assert_eq!(alone.verdicts[0].finding, Finding::Sound, "the log agrees with itself: {}", alone.verdicts[0]);
    let Finding::Flawed { kind, number } = kept.finding().await else { panic!("{}", kept.verdict().await) };
    assert!(kind == AuditFlaw::Rewritten && number < entries || kind == AuditFlaw::Truncated && number == entries);
    assert!(!kept.verdict().await.is_good());
}

#[tokio::test]
async fn a_log_that_was_written_anew_does_not_become_sound_by_heads_that_identity_signs_over_it() {
    let kept = Kept::new().await;
    let entries = kept.verdict().await.entries;
    // Another trace: the last of two values of a field is the one that counts.
    kept.sql(r"update audit_entries set content = content || '\x5a0178'::bytea where account_id = $1 and number = 2")
        .await;
    kept.chain_anew().await;
    kept.sign_anew(entries).await;
    let verdict = kept.verdict().await;
    assert!(verdict.heads > usize::try_from(entries).unwrap(), "some number has two heads: {verdict}");
    assert!(matches!(verdict.finding, Finding::Flawed { kind: AuditFlaw::Rewritten, .. }), "{verdict}");
    let text = verdict.to_string();
    assert!(text.contains("REWRITTEN"), "{text}");
}

#[tokio::test]
async fn what_is_noted_of_a_deletion_excuses_no_log_of_an_account_that_is_there() {
    let kept = Kept::new().await;
    let noted = "insert into account_deletions (account_id, due_at)
                 select account_id, 'infinity' from unnest(array[$1, '00000000-0000-0000-0000-000000000000'::uuid]) as t (account_id)";
    kept.sql(noted).await;
    assert_eq!(kept.finding().await, Finding::Sound, "nothing of it is gone");
    kept.sql(r"update audit_entries set content = content || '\x5a0178'::bytea where account_id = $1 and number = 1")
        .await;
    assert_eq!(kept.finding().await, flawed(AuditFlaw::Changed, 1));
    kept.sql("delete from audit_entries where account_id = $1").await;
    assert_eq!(kept.finding().await, flawed(AuditFlaw::Truncated, 1));
    let of_nobody = "insert into audit_heads (account_id, number, hash)
                     select '00000000-0000-0000-0000-000000000000', 3, hash from audit_heads where account_id = $1";
    kept.sql(of_nobody).await;
    let report = kept.report().await;
    let installation = report.verdicts.iter().find(|verdict| verdict.account.is_nil()).unwrap();
    assert_eq!(installation.finding, flawed(AuditFlaw::Truncated, 1), "the installation is never deleted");
}

#[tokio::test]
async fn a_log_goes_with_its_account_and_until_all_of_it_is_gone_nothing_is_said_of_it() {
    let kept = Kept::new().await;
    let entry: (Vec<u8>, Vec<u8>, Vec<u8>) =
        sqlx::query_as("select event_id, hash, content from audit_entries where account_id = $1 and number = 3")
            .bind(kept.account())
            .fetch_one(&kept.house.database.pool)
            .await
            .unwrap();
    kept.sql("insert into account_deletions (account_id, due_at) values ($1, '-infinity')").await;
    eventually("the account is deleted", LIMIT * 3, async || {
        kept.clock.advance(EVERY / 4);
        (kept.house.count("account_deletions where finished_at is not null").await == 1).then_some(())
    })
    .await;
    let verdict = kept.verdict().await;
    assert!(verdict.finding == Finding::Deleted && verdict.is_good() && verdict.heads > 0, "{verdict}");
    // As while it is being deleted, in any order.
    let left = "insert into audit_entries (account_id, number, event_id, hash, content, occurred_at, actor, acting_for, method, call,
                                           entity_kind, entity_id, entity_version)
                values ($1, 3, $2, $3, $4, now(), '', '', '', '', '', $1, 0)";
    let left = sqlx::query(left).bind(kept.account()).bind(entry.0).bind(entry.1).bind(entry.2);
    left.execute(&kept.house.database.pool).await.unwrap();
    let verdict = kept.verdict().await;
    assert!(verdict.finding == Finding::BeingDeleted && !verdict.is_good(), "{verdict}");
}

#[tokio::test]
async fn an_older_copy_of_the_heads_proves_what_it_has_and_lacks_nothing() {
    let kept = Kept::new().await;
    let entries = kept.verdict().await.entries;
    let copy = TempDir::new().unwrap();
    for file in kept.head_files() {
        let to = copy.path().join(file.strip_prefix(kept.folder.path()).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
    kept.clock.advance(Duration::from_secs(1));
    kept.house.member("owner@example.com").await;
    kept.export_after(entries).await;
    let (url, of) = (&kept.house.database.url, Some(kept.account()));
    let report = audit_log::verify(url, copy.path(), kept.keys.path(), of).await.unwrap();
    let verdict = &report.verdicts[0];
    assert_eq!((verdict.finding, verdict.last.unwrap().0), (Finding::Sound, entries), "{verdict}");
    assert!(verdict.later.unwrap().0 > entries && verdict.to_string().contains("later than any"), "{verdict}");
    assert_eq!(kept.verdict().await.later, None);
    // What is missing though a newer one is there, was taken away.
    for file in kept.head_files() {
        if !copy.path().join(file.strip_prefix(kept.folder.path()).unwrap()).exists() {
            fs::remove_file(file).unwrap();
        }
    }
    kept.sql("update audit_heads set kept_at = kept_at - interval '1 day' where account_id = $1").await;
    assert!(matches!(kept.finding().await, Finding::HeadsMissing { .. }));
}

#[tokio::test]
async fn a_log_that_was_cut_off_or_emptied_is_given_away_by_a_kept_head() {
    let kept = Kept::new().await;
    kept.sql("delete from audit_entries where account_id = $1 and number > 1").await;
    let cut = "update audit_heads set exported = 0, kept = 0, number = 1,
                   hash = (select hash from audit_entries where account_id = $1 and number = 1) where account_id = $1";
    kept.sql(cut).await;
    assert_eq!(kept.finding().await, flawed(AuditFlaw::Truncated, 2));
    kept.sql("delete from audit_entries where account_id = $1").await;
    kept.sql("delete from audit_heads where account_id = $1").await;
    assert_eq!(kept.finding().await, flawed(AuditFlaw::Truncated, 1), "all of it is gone, and its head told");
    let text = kept.verdict().await.to_string();
    assert!(text.contains("TRUNCATED") && text.contains("exported"), "{text}");
}

#[tokio::test]
async fn a_replaced_head_shows_in_the_database_and_in_the_folder() {
    let kept = Kept::new().await;
    let entries = kept.verdict().await.entries;
    let other = "update audit_heads set hash = decode(repeat('ab', 32), 'hex') where account_id = $1";
    kept.sql(other).await;
    assert_eq!(kept.finding().await, flawed(AuditFlaw::Changed, entries));
    let right = "update audit_heads set hash = (select hash from audit_entries where account_id = $1
                 order by number desc limit 1) where account_id = $1";
    kept.sql(right).await;
    assert_eq!(kept.finding().await, Finding::Sound);
    // Signed by somebody else, with identity's name on it.
    let stranger = TempDir::new().unwrap();
    keys::ensure(stranger.path(), &["identity"]).unwrap();
    let forger = Signer::load(stranger.path(), "identity", SystemClock::shared()).unwrap();
    let claims = serde_json::json!({
        "iss": "identity", "aud": "diwan-audit-head", "iat": kept.clock.now().as_second(), "account": kept.account(),
        "number": entries, "hash": "ab".repeat(32),
    });
    let file = kept.head_files().remove(0);
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{}\n", forger.sign(&claims).unwrap())).unwrap();
    let report = kept.report().await;
    assert_eq!(report.unproven.len(), 1, "it is not identity's");
    fs::write(&file, before).unwrap();
    assert!(kept.report().await.unproven.is_empty());
    for file in kept.head_files() {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(kept.finding().await, Finding::HeadsMissing { kept: entries });
}

#[tokio::test]
async fn a_head_is_proved_when_identity_has_another_key_by_now_and_the_old_one_is_retired() {
    let kept = Kept::new().await;
    let heads = kept.verdict().await.heads;
    let path = |name: &str| kept.keys.path().join(name);
    let retired: Value = serde_json::from_slice(&fs::read(path("trust.json")).unwrap()).unwrap();
    fs::remove_file(path("identity.pem")).unwrap();
    keys::ensure(kept.keys.path(), &keys::ISSUERS).unwrap();
    assert_eq!(kept.verdict().await.heads, heads, "the bundle has both");
    fs::remove_file(path("trust.json")).unwrap();
    keys::ensure(kept.keys.path(), &keys::ISSUERS).unwrap();
    assert!(!kept.report().await.unproven.is_empty(), "nobody knows the old key");
    fs::write(path("retired.json"), retired.to_string()).unwrap();
    assert!(kept.report().await.unproven.is_empty());
    assert_eq!(kept.verdict().await.heads, heads);
    assert!(Keys::load(kept.keys.path()).is_ok());
}
