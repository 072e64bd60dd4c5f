//! Installations for tests, and people in them.

use std::{collections::BTreeSet, path::PathBuf, process::Command};

use diwan_access::Signer;
use diwan_e2e::{
    door::{Door, Person, request_id},
    installation::{Installation, Options, Topology, postgres_programs},
};
use diwan_proto::{
    conversation::v1::{IngestMessageRequest, ingest_service_client::IngestServiceClient},
    identity::v1::{SignUpRequest, account_service_client::AccountServiceClient},
};
use diwan_runtime::SystemClock;
use tempfile::TempDir;
use tonic::{Request, transport::Endpoint};

pub const PASSWORD: &str = "correct horse battery staple";

/// A fresh installation in a folder of its own, which goes with it.
pub struct Fresh {
    pub installation: Installation,
    folder: TempDir,
}

impl Fresh {
    /// A customer writes to `team` of `account`: as the mailbox service brings it.
    pub async fn ingest(&self, account: &str, team: &str, text: String) {
        let signer = Signer::load(&self.installation.keys(), "mailbox", SystemClock::shared()).unwrap();
        let mut request = Request::new(IngestMessageRequest {
            account_id: account.into(),
            message_id: request_id(),
            mailbox_id: request_id(),
            mailbox_address: "support@company.example".into(),
            team_id: team.into(),
            from_email: format!("{}@customer.example", request_id()),
            text,
            received_at: Some(std::time::SystemTime::UNIX_EPOCH.into()),
            ..IngestMessageRequest::default()
        });
        let token = signer.service_token("conversation").unwrap().to_str().unwrap().to_owned();
        request.metadata_mut().insert("diwan-service-token", token.parse().unwrap());
        let address = self.installation.address("conversation").unwrap();
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        IngestServiceClient::new(channel).ingest_message(request).await.unwrap();
    }

    /// Ends it in order, and returns the folder with what is left of it.
    pub async fn stop(self) -> TempDir {
        self.installation.stop().await.unwrap();
        self.folder
    }
}

pub async fn start(topology: Topology, settings: &[(&str, String)]) -> Fresh {
    start_on(postgres_programs().unwrap(), topology, settings).await
}

pub async fn start_on(postgres: PathBuf, topology: Topology, settings: &[(&str, String)]) -> Fresh {
    let folder = TempDir::new().unwrap();
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let options = Options { topology, home: folder.path().join("diwan"), postgres, settings };
    let installation = Installation::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    Fresh { installation, folder }
}

/// Signs up a new account and signs its owner in.
pub async fn sign_up(door: &Door, company: &str) -> Person {
    let email = format!("{}@tests.example", request_id());
    let request = SignUpRequest {
        request_id: request_id(),
        company: company.into(),
        time_zone: "UTC".into(),
        language: "en".into(),
        owner_name: format!("{company} Owner"),
        email: email.clone(),
        password: PASSWORD.into(),
    };
    AccountServiceClient::new(door.way()).sign_up(request).await.unwrap();
    door.sign_in(&email, PASSWORD).await.unwrap()
}

/// The PostgreSQL programs to test on, by major version: those that Diwan brings, and the oldest that is installed.
pub fn postgres_versions() -> Vec<(u32, PathBuf)> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = installed.map(|entry| entry.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    let all: BTreeSet<_> = installed
        .chain([postgres_programs().unwrap()])
        .map(|bin| (major(&bin), bin))
        .filter(|(major, _)| *major >= 15)
        .collect();
    let oldest = all.first().cloned();
    let newest = all.last().cloned();
    let both: BTreeSet<_> = [oldest, newest].into_iter().flatten().collect();
    both.into_iter().collect()
}

fn major(bin: &std::path::Path) -> u32 {
    let output = Command::new(bin.join("postgres")).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap();
    version.split('.').next().unwrap().parse().unwrap()
}
