//! An export has everything once, whichever service is killed while it is gathered.

use std::process::Command;

use diwan_proto::identity::v1::{
    DownloadExportRequest, ExportState, GetExportRequest, StartExportRequest,
    export_service_client::ExportServiceClient,
};
use tempfile::TempDir;
use tonic::Status;

use super::*;

/// In the order in which an export is gathered. Identity has stored a page then whose rows are not committed.
static GATHERING: [Moment; 5] = [
    at("team", "lock table teams in access exclusive mode", "%from teams where account_id%"),
    at("billing", "lock table subscriptions in access exclusive mode", "%from subscriptions where account_id%"),
    at("conversation", "lock table contacts in access exclusive mode", "%from contacts where account_id%"),
    at("identity", "lock table export_files in share mode", "insert into export_files%"),
    at("mailbox", "lock table mailboxes in access exclusive mode", "%from mailboxes where account_id%"),
];

impl Scene {
    /// Downloads the export when it is ready, and unpacks it. Returns the folder, and the names in the archive.
    async fn export(&self) -> (TempDir, Vec<String>) {
        let mut client = ExportServiceClient::new(self.owner.way());
        let export = eventually("the export is ready", LIMIT, async || {
            let export = client.get_export(GetExportRequest {}).await.ok()?.into_inner().export;
            export.filter(|export| export.state() == ExportState::Ready)
        });
        let export_id = export.await.id;
        let archive = eventually("it is downloaded", LIMIT, async || self.download(&export_id).await.ok()).await;
        let other = &self.other.user.account_id;
        assert!(!archive.windows(other.len()).any(|bytes| bytes == other.as_bytes()), "of another account");
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("export.tar"), archive).unwrap();
        let tar = |operation: &str| {
            let output = Command::new("tar").args([operation, "export.tar"]).current_dir(&folder).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        tar("-xf");
        let names = tar("-tf").lines().map(str::to_owned).collect();
        (folder, names)
    }

    async fn download(&self, export_id: &str) -> Result<Vec<u8>, Status> {
        let request = DownloadExportRequest { export_id: export_id.into(), offset: 0, password: PASSWORD.into() };
        let mut stream = ExportServiceClient::new(self.owner.way()).download_export(request).await?.into_inner();
        let mut archive = Vec::new();
        while let Some(message) = stream.message().await? {
            archive.extend(message.content);
        }
        Ok(archive)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_everything_once_though_each_service_is_killed_while_it_is_gathered() {
    let mut scene = Scene::new().await;
    let mut gate = scene.hold(&GATHERING[0]).await;
    let start = StartExportRequest { request_id: request_id(), password: PASSWORD.into() };
    ExportServiceClient::new(scene.owner.way()).start_export(start).await.unwrap();
    for next in GATHERING.iter().skip(1).map(Some).chain([None]) {
        scene.reached(std::slice::from_ref(&gate)).await;
        // Before this one goes on.
        let held = match next {
            Some(moment) => Some(scene.hold(moment).await),
            None => None,
        };
        let service = scene.kill_at(gate).await;
        scene.again(service).await;
        let Some(held) = held else { break };
        gate = held;
    }
    scene.sign_in().await;

    let (folder, names) = scene.export().await;
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "each file once: {names:?}");
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&read("manifest.json")).unwrap();
    for kind in manifest["contents"].as_array().unwrap() {
        let (service, name) = (kind["service"].as_str().unwrap(), kind["kind"].as_str().unwrap());
        let Some(table) = name.strip_suffix(".jsonl") else { continue };
        let content = read(&format!("{service}/{name}"));
        let lines: BTreeSet<_> = content.lines().collect();
        assert_eq!((content.lines().count(), kind["rows"].as_u64()), (lines.len(), u64::try_from(lines.len()).ok()));
        // Identity goes on writing: of the export itself, and of who signs in.
        if service != "identity" || table == "users" {
            let there = format!("{table} where account_id = '{}'", scene.owner.user.account_id);
            assert_eq!(i64::try_from(lines.len()), Ok(scene.count(service, &there).await), "{service}/{table}");
        }
    }
    let messages = read("conversation/messages.jsonl");
    for number in 0..MESSAGES {
        assert_eq!(messages.matches(&format!("message number {number}.")).count(), 1, "{number}");
    }
    for file in ["team/teams.jsonl", "billing/seats.jsonl", "identity/users.jsonl", "mailbox/mailboxes.jsonl"] {
        assert_eq!(read(file).lines().count(), 1, "{file}");
    }
    let mails: Vec<_> = names.iter().filter(|name| name.starts_with("mailbox/mails/")).map(|name| read(name)).collect();
    assert_eq!(mails, vec![scene.owner.user.account_id.clone(); MAILS]);
    scene.fresh.installation.stop().await.unwrap();
}
