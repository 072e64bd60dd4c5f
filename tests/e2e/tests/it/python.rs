//! A client in another language, made from the protos, walks from sign-in to reading a conversation.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use diwan_access::Signer;
use diwan_e2e::{
    door::{Door, Person, request_id},
    installation::Topology,
};
use diwan_proto::{
    conversation::v1::{IngestMessageRequest, ingest_service_client::IngestServiceClient},
    team::v1::{ListTeamsRequest, team_service_client::TeamServiceClient},
};
use diwan_runtime::SystemClock;
use tempfile::TempDir;
use tonic::{Request, transport::Endpoint};

use crate::support::{Fresh, PASSWORD, sign_up, start};

const TEXT: &str = "Where is my order? أين طلبي؟";

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A Python that knows gRPC, with `generated` among its modules.
fn python(generated: &Path) -> Command {
    let packages = workspace().join(".diwan/python");
    assert!(packages.exists(), "grpcio is not there: run deploy/local/tools.sh grpcio");
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", format!("{}:{}", packages.display(), generated.display()));
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONIOENCODING", "utf-8");
    command
}

fn done(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    told
}

fn protos(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            protos(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
}

/// The modules of the client, by protoc.
fn generate(folder: &Path) {
    let (root, mut files) = (workspace().join("proto"), Vec::new());
    protos(&root, &mut files);
    let mut command = python(folder);
    command.args(["-m", "grpc_tools.protoc", "-I"]).arg(&root);
    for kind in ["python_out", "grpc_python_out"] {
        command.arg(format!("--{kind}={}", folder.display()));
    }
    done(&command.args(files).output().unwrap());
}

/// A customer's mail in the owner's team.
async fn conversation(fresh: &Fresh, owner: &Person) {
    let teams = TeamServiceClient::new(owner.way()).list_teams(ListTeamsRequest::default()).await.unwrap();
    let signer = Signer::load(&fresh.installation.keys(), "mailbox", SystemClock::shared()).unwrap();
    let mut request = Request::new(IngestMessageRequest {
        account_id: owner.user.account_id.clone(),
        message_id: request_id(),
        mailbox_id: request_id(),
        mailbox_address: "support@python.example".into(),
        team_id: teams.into_inner().teams[0].id.clone(),
        from_email: "customer@python.example".into(),
        text: TEXT.into(),
        received_at: Some(std::time::SystemTime::UNIX_EPOCH.into()),
        ..IngestMessageRequest::default()
    });
    let token = signer.service_token("conversation").unwrap().to_str().unwrap().to_owned();
    request.metadata_mut().insert("diwan-service-token", token.parse().unwrap());
    let address = fresh.installation.address("conversation").unwrap();
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    IngestServiceClient::new(channel).ingest_message(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_made_from_the_protos_signs_in_and_reads_a_conversation() {
    let fresh = start(Topology::Separate, &[]).await;
    let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Python").await;
    conversation(&fresh, &owner).await;
    let generated = TempDir::new().unwrap();
    generate(generated.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/walk.py");
    let mut walk = python(generated.path());
    walk.arg(script).args([&fresh.installation.gateway().to_string(), &owner.user.email, PASSWORD]);
    let told = done(&tokio::task::spawn_blocking(move || walk.output().unwrap()).await.unwrap());
    for line in ["signed in: Python Owner", "PAGE_SETTINGS", "present: AVAILABILITY_STATE_WATCHING", TEXT] {
        assert!(told.contains(line), "{line}: {told}");
    }
    fresh.installation.stop().await.unwrap();
}
