//! The whole path with certificates between six processes, and clients over TLS.

use std::{path::Path, process::Output, time::Duration};

use diwan_e2e::{installation::Topology, report::Report, story};
use diwan_mailhost::{MailHost, Options};
use diwan_runtime::worker::chain;
use diwan_testkit::{Authority, eventually};
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{postgres_versions, start, start_on};

const SERVICES: [&str; 6] = ["identity", "team", "conversation", "mailbox", "billing", "gateway"];
const LIMIT: Duration = Duration::from_secs(30);

/// A folder of certificates for each process.
fn between_services(authority: &Authority, folder: &Path) -> String {
    for service in SERVICES {
        authority.issue_for(&folder.join(service), service);
    }
    folder.display().to_string()
}

async fn grpcurl(arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.diwan/bin/grpcurl");
    Command::new(program).args(arguments).output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_path_goes_over_certificates_between_six_processes() {
    let (certificates, authority) = (TempDir::new().unwrap(), Authority::new());
    let folder = TempDir::new().unwrap();
    let mail = MailHost::start(Options::new(folder.path())).await.unwrap();
    let settings = [
        ("DIWAN_IDENTITY_SMTP", format!("smtp://{}", mail.smtp())),
        ("DIWAN_MTLS", between_services(&authority, certificates.path())),
    ];
    let fresh = start_on(postgres_versions().pop().unwrap().1, Topology::Separate, &settings).await;
    let told = story::tell(fresh.installation.gateway(), &mail, &mut Report::quiet()).await;
    told.unwrap_or_else(|error| panic!("{}", chain(&error)));
    refuses_whoever_is_not_of_the_installation(&fresh.installation, certificates.path(), &authority).await;
    fresh.installation.stop().await.unwrap();
    mail.stop().await.unwrap();
}

async fn refuses_whoever_is_not_of_the_installation(
    installation: &diwan_e2e::installation::Installation,
    certificates: &Path,
    authority: &Authority,
) {
    let address = installation.address("team").unwrap().to_string();
    let file = |folder: &str, name: &str| certificates.join(folder).join(name).display().to_string();
    let ask = async |folder: &str| {
        let (ca, crt, key) = (file("team", "ca.crt"), file(folder, "tls.crt"), file(folder, "tls.key"));
        let name =
            ["-authority", "team.diwan.internal", "-cacert", &ca, "-cert", &crt, "-key", &key, "-max-time", "10"];
        grpcurl(&[&name[..], &[&address, "grpc.health.v1.Health/Check"]].concat()).await
    };
    authority.issue(&certificates.join("operator"), &["operator.example.com"]);
    Authority::new().issue_for(&certificates.join("stranger"), "gateway");
    authority.issue_until(&certificates.join("expired"), &["gateway.diwan.internal"], 2020);
    let asked = ask("operator").await;
    assert!(asked.status.success(), "{asked:?}");
    for folder in ["stranger", "expired"] {
        assert!(!ask(folder).await.status.success(), "{folder}");
    }
    let ca = file("team", "ca.crt");
    for naked in [&["-plaintext"][..], &["-authority", "team.diwan.internal", "-cacert", &ca]] {
        let asked = grpcurl(&[naked, &["-max-time", "10", &address, "grpc.health.v1.Health/Check"]].concat()).await;
        assert!(!asked.status.success(), "{naked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_the_front_come_over_tls_and_a_renewed_certificate_needs_no_restart() {
    let (certificates, old, new) = (TempDir::new().unwrap(), Authority::new(), Authority::new());
    let front = certificates.path().join("front");
    old.issue(&front, &["127.0.0.1"]);
    let authorities = [("old.crt", &old), ("new.crt", &new)].map(|(name, authority)| {
        let path = certificates.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path.display().to_string()
    });
    // The front of the tests' gateway: their clients wait for it without TLS, so this one is a second gateway beside it.
    let mut fresh = start(Topology::Separate, &[]).await;
    let settings = [("DIWAN_TLS", front.display().to_string())];
    let address = fresh.installation.replica("gateway", "gateway over TLS", &[], &settings).unwrap().to_string();
    let list = async |ca: &str| {
        let listed = grpcurl(&["-cacert", ca, "-max-time", "10", &address, "list"]).await;
        listed.status.success() && String::from_utf8_lossy(&listed.stdout).contains("diwan.identity.v1.AccountService")
    };
    eventually("the front answers over TLS", LIMIT, async || list(&authorities[0]).await).await;
    assert!(!list(&authorities[1]).await, "of another authority");
    assert!(!grpcurl(&["-plaintext", "-max-time", "10", &address, "list"]).await.status.success());
    new.issue(&front, &["127.0.0.1"]);
    eventually("the new certificate is shown", LIMIT, async || list(&authorities[1]).await).await;
    assert!(!list(&authorities[0]).await);
    fresh.installation.stop().await.unwrap();
}
