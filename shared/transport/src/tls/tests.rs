//! What a look at the files takes, and what it leaves.

use std::{fs, path::Path, sync::Arc};

use diwan_runtime::{Clock, Drain, SystemClock};
use diwan_testkit::Authority;
use tempfile::TempDir;

use super::{Configs, Side, Tls, TlsError};

/// Certificates whose files only this test looks at.
struct Looked {
    folder: TempDir,
    authority: Authority,
    clock: Arc<dyn Clock>,
    tls: Tls,
    seen: u64,
}

impl Looked {
    async fn new() -> Self {
        let (folder, authority, clock) = (TempDir::new().unwrap(), Authority::new(), SystemClock::shared());
        authority.issue_for(folder.path(), "team");
        let drain = Drain::new();
        drain.begin();
        let tls = Tls::between(folder.path().to_owned(), &clock, &drain).await.unwrap();
        let mut looked = Self { folder, authority, clock, tls, seen: 0 };
        looked.look().await.unwrap();
        looked
    }

    async fn look(&mut self) -> Result<(), TlsError> {
        self.tls.look(&mut self.seen, Side::Between, &self.clock).await
    }

    fn now(&self) -> Arc<Configs> {
        self.tls.now()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }
}

fn contents(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    ["tls.crt", "tls.key", "ca.crt"].map(|name| (name, fs::read(folder.join(name)).unwrap())).to_vec()
}

#[tokio::test]
async fn what_is_the_same_is_kept_and_what_is_new_is_taken() {
    let mut looked = Looked::new().await;
    let first = looked.now();
    looked.look().await.unwrap();
    assert!(Arc::ptr_eq(&first, &looked.now()));
    looked.authority.issue_for(looked.folder.path(), "team");
    looked.look().await.unwrap();
    assert!(!Arc::ptr_eq(&first, &looked.now()));
}

#[tokio::test]
async fn a_broken_file_is_told_and_the_old_certificate_stays() {
    for name in ["tls.crt", "tls.key", "ca.crt"] {
        let mut looked = Looked::new().await;
        let first = looked.now();
        let whole = contents(looked.folder.path());
        for broken in ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            looked.write(name, broken);
            let error = looked.look().await.expect_err(name);
            assert!(matches!(error, TlsError::Content(_) | TlsError::Unusable(..)), "{name}: {error}");
            assert!(Arc::ptr_eq(&first, &looked.now()), "{name}: {broken}");
        }
        fs::remove_file(looked.folder.path().join(name)).unwrap();
        assert!(matches!(looked.look().await, Err(TlsError::File(..))), "{name}");
        assert!(Arc::ptr_eq(&first, &looked.now()));
        for (name, content) in whole {
            looked.write(name, content);
        }
        looked.look().await.unwrap();
    }
}

#[tokio::test]
async fn a_pair_that_is_half_written_waits_for_its_other_half() {
    let mut looked = Looked::new().await;
    let first = looked.now();
    let next = TempDir::new().unwrap();
    looked.authority.issue_for(next.path(), "team");
    let next = contents(next.path());
    looked.write("tls.crt", &next[0].1);
    assert!(matches!(looked.look().await, Err(TlsError::Unusable(..))), "the key is another certificate's");
    assert!(Arc::ptr_eq(&first, &looked.now()));
    looked.write("tls.key", &next[1].1);
    looked.look().await.unwrap();
    assert!(!Arc::ptr_eq(&first, &looked.now()));
}

#[tokio::test]
async fn an_error_says_which_file_and_nothing_of_a_key() {
    let looked = Looked::new().await;
    let mut key = fs::read_to_string(looked.folder.path().join("tls.key")).unwrap();
    let secret = key[40..80].to_owned();
    key.insert(60, '!');
    looked.write("tls.key", &key);
    let (clock, drain) = (SystemClock::shared(), Drain::new());
    let error = Tls::between(looked.folder.path().to_owned(), &clock, &drain).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("tls.key") && !told.contains(&secret[..16]) && !told.contains(&secret[24..]), "{told}");
}
