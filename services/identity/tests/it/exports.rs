//! How an owner takes what is kept of his account with him.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use diwan_proto::{
    access::v1::Role,
    export::v1::{
        ListAccountDataRequest, ListAccountDataResponse, Piece,
        account_data_service_server::{AccountDataService, AccountDataServiceServer},
    },
    identity::v1::{
        DownloadExportRequest, Export,
        ExportPartState::{Done, Gathering, Waiting},
        ExportState, GetExportRequest, StartExportRequest,
        export_service_client::ExportServiceClient,
    },
};
use diwan_runtime::{MockClock, ids};
use diwan_testkit::{bad_fields, eventually};
use diwan_transport::{Methods, Transport};
use tokio::sync::Semaphore;
use tonic::{Code, Request, Response, Status};

use crate::house::{House, Member, PASSWORD, refusal, refused};

const DAY: Duration = Duration::from_hours(24);
const LIMIT: Duration = Duration::from_secs(30);

/// What conversation and mailbox answer: their pages, one after the other, for each account the same.
#[derive(Clone, Default)]
pub struct Data(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    pages: Vec<Vec<Piece>>,
    /// Pages from this one on are out of reach.
    broken_from: Option<usize>,
    /// Where the next who asks waits.
    gate: Option<Arc<Semaphore>>,
    asked: Vec<String>,
}

#[tonic::async_trait]
impl AccountDataService for Data {
    async fn list_account_data(
        &self,
        request: Request<ListAccountDataRequest>,
    ) -> Result<Response<ListAccountDataResponse>, Status> {
        let after = request.into_inner().after;
        let page = after.parse().unwrap_or(0);
        let gate = {
            let mut script = self.0.lock().unwrap();
            script.asked.push(after);
            script.gate.take()
        };
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
        let script = self.0.lock().unwrap();
        if script.broken_from.is_some_and(|from| page >= from) {
            return Err(Status::unavailable("out of reach"));
        }
        let next = if page + 1 < script.pages.len() { (page + 1).to_string() } else { String::new() };
        Ok(Response::new(ListAccountDataResponse { pieces: script.pages.get(page).cloned().unwrap_or_default(), next }))
    }
}

impl Data {
    /// Conversation hands out `pages`; mailbox has nothing.
    pub async fn of(house: &House, pages: Vec<Vec<Piece>>) -> Self {
        let data = Self(Arc::new(Mutex::new(Script { pages, ..Script::default() })));
        for (name, data) in [("conversation", data.clone()), ("mailbox", Self::default())] {
            let methods = Methods::new(name).with(AccountDataServiceServer::new(data)).await;
            let front = methods.into_front(house.world.admission.clone(), &house.world.drain).unwrap();
            house.world.network.slot(name).unwrap().fill(front);
        }
        data
    }

    fn break_from(&self, page: Option<usize>) {
        self.0.lock().unwrap().broken_from = page;
    }

    /// Lets the next who asks wait until the gate has a permit.
    pub fn hold(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.0.lock().unwrap().gate = Some(gate.clone());
        gate
    }

    pub fn asked(&self) -> Vec<String> {
        self.0.lock().unwrap().asked.clone()
    }
}

fn rows(file: &str, rows: &[&str]) -> Piece {
    let content = rows.iter().flat_map(|row| [row.as_bytes(), b"\n"].concat()).collect();
    Piece { file: file.into(), content, rows: i64::try_from(rows.len()).unwrap() }
}

fn part(file: &str, content: &[u8]) -> Piece {
    Piece { file: file.into(), content: content.to_vec(), rows: 0 }
}

/// Two tables over three pages, and a file that is larger than a message.
pub fn pages() -> Vec<Vec<Piece>> {
    vec![
        vec![rows("contacts.jsonl", &[r#"{"id":1}"#, r#"{"id":2}"#])],
        vec![rows("contacts.jsonl", &[r#"{"id":3}"#]), rows("messages.jsonl", &[r#"{"id":"a"}"#])],
        vec![part("files/1.bin", &vec![7; 1_500_000]), part("files/2.bin", b"")],
        vec![part("files/3.bin", b"end")],
    ]
}

impl House {
    fn exports(&self) -> ExportServiceClient<Transport> {
        ExportServiceClient::new(self.world.to("identity"))
    }

    pub async fn start_export(&self, member: &Member, password: &str) -> Result<Export, Status> {
        let request = StartExportRequest { request_id: ids::new_id().to_string(), password: password.into() };
        Ok(self.exports().start_export(member.says(request)).await?.into_inner().export.unwrap())
    }

    async fn export(&self, member: &Member) -> Result<Export, Status> {
        Ok(self.exports().get_export(member.says(GetExportRequest {})).await?.into_inner().export.unwrap())
    }

    pub async fn ready_export(&self, member: &Member) -> Export {
        eventually("the export is ready", LIMIT, async || {
            Some(self.export(member).await.unwrap()).filter(|export| export.state() == ExportState::Ready)
        })
        .await
    }

    pub async fn download(&self, member: &Member, id: &str, offset: i64) -> Result<Vec<u8>, Status> {
        self.download_by(PASSWORD, member, id, offset).await
    }

    async fn download_by(&self, password: &str, member: &Member, id: &str, offset: i64) -> Result<Vec<u8>, Status> {
        let request = DownloadExportRequest { export_id: id.into(), offset, password: password.into() };
        let mut stream = self.exports().download_export(member.says(request)).await?.into_inner();
        let mut archive = Vec::new();
        while let Some(message) = stream.message().await? {
            assert!(message.content.len() <= 1024 * 1024);
            archive.extend(message.content);
        }
        Ok(archive)
    }
}

/// The files of an archive, as the system's tar unpacks them.
fn unpacked(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("export.tar");
    std::fs::write(&file, archive).unwrap();
    let tar = |arguments: &[&str]| {
        let output = Command::new("tar").args(arguments).arg("-f").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let to = folder.path().join("unpacked");
    std::fs::create_dir(&to).unwrap();
    tar(&["-x", "-C", to.to_str().unwrap()]);
    tar(&["-t"]).lines().map(|name| (name.to_owned(), std::fs::read(to.join(name)).unwrap())).collect()
}

#[tokio::test]
async fn an_owner_downloads_all_that_is_kept_of_his_account_and_no_other_does() {
    let house = House::new().await;
    Data::of(&house, pages()).await;
    let owner = house.owner("mona@example.com").await;
    let admin = house.colleague(&owner, "admin@example.com", Role::Admin).await;
    let other = house.owner("else@example.com").await;
    let mails = house.mails("mona@example.com").len();
    assert_eq!(refusal(house.export(&owner).await), refused(Code::NotFound, "EXPORT_NOT_FOUND"));
    assert_eq!(
        refusal(house.start_export(&owner, "another password").await),
        refused(Code::PermissionDenied, "PASSWORD_WRONG")
    );
    let denied = refused(Code::PermissionDenied, "PERMISSION_DENIED");
    assert_eq!(refusal(house.start_export(&admin, PASSWORD).await), denied);
    let begun = house.start_export(&owner, PASSWORD).await.unwrap();
    assert_eq!(begun.parts.len(), 5);
    let ready = house.ready_export(&owner).await;
    assert_eq!(ready.id, begun.id);
    let conversation = ready.parts.iter().find(|part| part.service == "conversation").unwrap();
    assert_eq!((conversation.state(), conversation.rows), (Done, 4));
    eventually("the owner is told", LIMIT, async || house.mails("mona@example.com").len() > mails).await;
    let archive = house.download(&owner, &ready.id, 0).await.unwrap();
    assert_eq!(i64::try_from(archive.len()).unwrap(), ready.size);
    let files = unpacked(&archive);
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    assert_eq!(text("conversation/contacts.jsonl"), "{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
    assert_eq!(text("conversation/messages.jsonl"), "{\"id\":\"a\"}\n");
    assert_eq!(files["conversation/files/1.bin"], vec![7; 1_500_000]);
    assert_eq!((files["conversation/files/2.bin"].len(), text("conversation/files/3.bin").as_str()), (0, "end"));
    assert!(
        text("identity/users.jsonl").contains("mona@example.com") && text("identity/users.jsonl").lines().count() == 2
    );
    let manifest: serde_json::Value = serde_json::from_str(&text("manifest.json")).unwrap();
    assert_eq!(manifest["account_id"], owner.user.account_id);
    let contents = manifest["contents"].as_array().unwrap();
    let of = |kind: &str| contents.iter().find(|entry| entry["kind"] == kind).unwrap();
    assert_eq!((&of("contacts.jsonl")["rows"], &of("files")["files"]), (&3.into(), &3.into()));
    for secret in ["$argon2", "else@example.com"] {
        assert!(!String::from_utf8_lossy(&archive).contains(secret), "{secret}");
    }
    // Broken off anywhere, it goes on with the very same bytes.
    for offset in [1, 511, 512, 700, 5000, 1_000_000, archive.len() - 1, archive.len()] {
        let rest = house.download(&owner, &ready.id, i64::try_from(offset).unwrap()).await.unwrap();
        assert!(rest == archive[offset..], "from {offset} on");
    }
    for offset in [-1, ready.size + 1] {
        assert_eq!(bad_fields(&house.download(&owner, &ready.id, offset).await.unwrap_err()), ["offset"]);
    }
    let unknown = refused(Code::NotFound, "EXPORT_NOT_FOUND");
    assert_eq!(refusal(house.download(&other, &ready.id, 0).await), unknown);
    assert_eq!(refusal(house.download(&admin, &ready.id, 0).await), denied);
    assert_eq!(refusal(house.download(&owner, &ids::new_id().to_string(), 0).await), unknown);
}

#[tokio::test]
async fn a_stolen_session_downloads_nothing_and_a_colleagues_number_is_in_no_export() {
    let house = House::new().await;
    Data::of(&house, pages()).await;
    let owner = house.owner("mona@example.com").await;
    let agent = house.colleague(&owner, "omar@example.com", Role::User).await;
    sqlx::query(
        "insert into whatsapp_numbers (account_id, user_id, number, confirmed_at, pending_number, confirmation_id, pending_until)
         values ($1::uuid, $2::uuid, '+201001234567', now(), '+351912345678', $2::uuid, 'infinity')",
    )
    .bind(agent.user.account_id.parse::<uuid::Uuid>().unwrap())
    .bind(agent.user.id.parse::<uuid::Uuid>().unwrap())
    .execute(&house.database.pool)
    .await
    .unwrap();
    house.start_export(&owner, PASSWORD).await.unwrap();
    let ready = house.ready_export(&owner).await;
    let wrong = house.download_by("not her password", &owner, &ready.id, 0).await;
    assert_eq!(refusal(wrong), refused(Code::PermissionDenied, "PASSWORD_WRONG"));
    assert_eq!(bad_fields(&house.download_by("", &owner, &ready.id, 0).await.unwrap_err()), ["password"]);
    let archive = house.download(&owner, &ready.id, 0).await.unwrap();
    let numbers = String::from_utf8(unpacked(&archive)["identity/whatsapp_numbers.jsonl"].clone()).unwrap();
    assert!(numbers.contains(&agent.user.id) && !numbers.contains("+2010") && !numbers.contains("+3519"), "{numbers}");
}

#[tokio::test]
async fn a_download_whose_export_goes_meanwhile_is_no_smaller_archive() {
    let house = House::new().await;
    let many = (0..450).map(|number| part(&format!("files/{number}.bin"), b"a mail")).collect();
    Data::of(&house, vec![many]).await;
    let owner = house.owner("mona@example.com").await;
    house.start_export(&owner, PASSWORD).await.unwrap();
    let ready = house.ready_export(&owner).await;
    let whole = house.download(&owner, &ready.id, 0).await.unwrap();
    assert_eq!(i64::try_from(whole.len()).unwrap(), ready.size);
    // As while its rows are deleted: those before are there, those after are not.
    sqlx::raw_sql(
        "delete from export_pieces where number > 200;
         delete from export_files where number > 200",
    )
    .execute(&house.database.pool)
    .await
    .unwrap();
    let unknown = refused(Code::NotFound, "EXPORT_NOT_FOUND");
    for offset in [0, 100_000, ready.size - 1, ready.size] {
        assert_eq!(refusal(house.download(&owner, &ready.id, offset).await), unknown, "from {offset} on");
    }
}

#[tokio::test]
async fn an_export_that_gets_nowhere_for_a_day_gives_way_to_a_new_one() {
    let clock = MockClock::at("2026-03-01T08:00:00Z".parse().unwrap());
    let house = House::at(Arc::new(clock.clone())).await;
    let data = Data::of(&house, pages()).await;
    data.break_from(Some(1));
    let owner = house.owner("mona@example.com").await;
    let stuck = house.start_export(&owner, PASSWORD).await.unwrap();
    clock.advance(Duration::from_mins(24 * 60 - 1));
    let owner = house.member(&owner.user.email).await;
    assert_eq!(house.start_export(&owner, PASSWORD).await.unwrap().id, stuck.id, "it may still come to its end");
    clock.advance(Duration::from_mins(1));
    let new = house.start_export(&owner, PASSWORD).await.unwrap();
    assert_ne!(new.id, stuck.id);
    data.break_from(None);
    eventually("the new one is ready", LIMIT, async || {
        clock.advance(Duration::from_secs(1));
        house.count("exports where state = 'READY'").await == 1
    })
    .await;
    eventually("the stuck one is deleted", LIMIT, async || house.count("exports").await == 1).await;
}

#[tokio::test]
async fn an_export_says_how_far_it_is_and_goes_on_where_it_was_when_the_service_is_back() {
    let house = House::new().await;
    let data = Data::of(&house, pages()).await;
    data.break_from(Some(2));
    let owner = house.owner("mona@example.com").await;
    let begun = house.start_export(&owner, PASSWORD).await.unwrap();
    let half = eventually("half of it is there", LIMIT, async || {
        let export = house.export(&owner).await.unwrap();
        export.parts.iter().any(|part| part.state() == Gathering && part.rows == 4).then_some(export)
    })
    .await;
    assert_eq!(half.state(), ExportState::Gathering);
    let states: Vec<_> = half.parts.iter().map(|part| (part.service.as_str(), part.state())).collect();
    let expected =
        [("identity", Done), ("team", Done), ("billing", Done), ("conversation", Gathering), ("mailbox", Waiting)];
    assert_eq!(states, expected);
    assert_eq!(
        refusal(house.download(&owner, &begun.id, 0).await),
        refused(Code::FailedPrecondition, "EXPORT_NOT_READY")
    );
    assert_eq!(house.start_export(&owner, PASSWORD).await.unwrap().id, begun.id, "one at a time");
    data.break_from(None);
    let ready = house.ready_export(&owner).await;
    let asked = data.asked();
    assert_eq!(asked.iter().filter(|after| after.is_empty()).count(), 1, "nothing is asked for anew: {asked:?}");
    let files = unpacked(&house.download(&owner, &ready.id, 0).await.unwrap());
    assert_eq!(files["conversation/contacts.jsonl"].split(|byte| *byte == b'\n').count(), 4);
}

#[tokio::test]
async fn a_page_that_was_stored_by_a_process_that_died_is_in_the_export_once() {
    let house = House::new().await;
    let data = Data::of(&house, pages()).await;
    let owner = house.owner("mona@example.com").await;
    // Every transaction that adds a page of contacts dies before its commit; what it had stored in the blob store stays there.
    let trap = "create function trap() returns trigger language plpgsql as $$
        begin
            if new.service = 'conversation' and new.rows > 0 then raise exception 'killed'; end if;
            return new;
        end $$;
        create trigger trap before update on export_parts for each row execute function trap()";
    sqlx::raw_sql(trap).execute(&house.database.pool).await.unwrap();
    house.start_export(&owner, PASSWORD).await.unwrap();
    eventually("the first page is asked for, in vain", LIMIT, async || !data.asked().is_empty()).await;
    // A second replica takes over as soon as the lease of the first is over.
    let _replica = house.beside(&[]).await.unwrap();
    sqlx::raw_sql("drop trigger trap on export_parts").execute(&house.database.pool).await.unwrap();
    let ready = house.ready_export(&owner).await;
    assert!(data.asked().iter().filter(|after| after.is_empty()).count() > 1, "asked for again");
    let files = unpacked(&house.download(&owner, &ready.id, 0).await.unwrap());
    assert_eq!(files["conversation/contacts.jsonl"], b"{\"id\":1}\n{\"id\":2}\n{\"id\":3}\n");
}

#[tokio::test]
async fn replicas_that_gather_one_export_at_once_add_each_page_once() {
    let house = House::new().await;
    let many: Vec<_> = (0..40).map(|page| vec![rows("contacts.jsonl", &[&format!(r#"{{"id":{page}}}"#)])]).collect();
    Data::of(&house, many).await;
    let _replicas = [house.beside(&[]).await.unwrap(), house.beside(&[]).await.unwrap()];
    let owner = house.owner("mona@example.com").await;
    // Whoever moves ahead leaves no lease, so that the others work on the same one.
    let trap = "create function unleased() returns trigger language plpgsql as $$
        begin new.next_attempt_at := '2000-01-01T00:00:00Z'; return new; end $$;
        create trigger unleased before update on exports for each row execute function unleased()";
    sqlx::raw_sql(trap).execute(&house.database.pool).await.unwrap();
    house.start_export(&owner, PASSWORD).await.unwrap();
    let ready = house.ready_export(&owner).await;
    let files = unpacked(&house.download(&owner, &ready.id, 0).await.unwrap());
    let expected = (0..40).fold(String::new(), |rows, page| rows + &format!("{{\"id\":{page}}}\n"));
    assert_eq!(String::from_utf8(files["conversation/contacts.jsonl"].clone()).unwrap(), expected);
}

#[tokio::test]
async fn an_export_is_deleted_when_it_expires_or_another_takes_its_place() {
    let clock = MockClock::at("2026-03-01T08:00:00Z".parse().unwrap());
    let house = House::at(Arc::new(clock.clone())).await;
    Data::of(&house, pages()).await;
    let owner = house.owner("mona@example.com").await;
    house.start_export(&owner, PASSWORD).await.unwrap();
    let first = house.ready_export(&owner).await;
    let days = first.expires_at.unwrap().seconds - first.ready_at.unwrap().seconds;
    assert_eq!(days, 7 * 86_400);
    let second = house.start_export(&owner, PASSWORD).await.unwrap();
    assert_ne!(second.id, first.id);
    assert_eq!(refusal(house.download(&owner, &first.id, 0).await), refused(Code::NotFound, "EXPORT_NOT_FOUND"));
    house.ready_export(&owner).await;
    eventually("the first is deleted", LIMIT, async || house.count("exports").await == 1).await;
    assert_eq!(house.blobs("exports", &owner.user.account_id), 1);
    clock.advance(DAY * 8);
    let owner = house.member("mona@example.com").await;
    assert_eq!(refusal(house.export(&owner).await), refused(Code::NotFound, "EXPORT_NOT_FOUND"));
    for table in ["exports", "export_parts", "export_files", "export_pieces"] {
        eventually("its rows are deleted", LIMIT, async || house.count(table).await == 0).await;
    }
    assert_eq!(house.blobs("exports", &owner.user.account_id), 0);
}
