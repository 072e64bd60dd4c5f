//! Connecting a mailbox: only settings that work are stored.

use diwan_mailhost::PASSWORD;
use diwan_proto::{
    access::v1::Role,
    common::v1::PageRequest,
    mailbox::v1::{
        ConnectMailboxRequest, GetMailboxRequest, ListMailboxesRequest, MailboxState, Security, SendMailRequest,
        ServerSettings,
    },
};
use diwan_runtime::{Env, ids};
use diwan_testkit::{Person, bad_fields, metadata, reason, undistributed};
use tonic::{Code, Status};

use crate::support::{Office, answer};

/// What is wrong with one side; the number is a port that nobody listens on.
type Change = fn(&mut ServerSettings, u16);

fn told(status: &Status) -> (Code, String, String, String) {
    let of = |key| metadata(status, key).unwrap_or_default();
    (status.code(), reason(status), of("side"), of("step"))
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_do_not_work_are_refused_with_the_side_and_step_and_nothing_is_stored() {
    let office = Office::open().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let good = office.settings();
    let wrong_password: Change = |server, _| server.password = "wrong".into();
    let closed_port: Change = |server, port| server.port = port.into();
    let tls: Change = |server, _| server.security = Security::Tls.into();
    let starttls: Change = |server, _| server.security = Security::Starttls.into();
    let cases = [("login", wrong_password), ("connect", closed_port), ("tls", tls), ("tls", starttls)];
    for (step, change) in cases {
        for side in ["imap", "smtp"] {
            let mut settings = ConnectMailboxRequest { request_id: ids::new_id().to_string(), ..good.clone() };
            let server = if side == "imap" { &mut settings.imap } else { &mut settings.smtp };
            change(server.as_mut().unwrap(), closed);
            let refused = office.connect(settings).await.unwrap_err();
            let reason = format!("{}_REFUSED", side.to_uppercase());
            assert_eq!(told(&refused), (Code::FailedPrecondition, reason, side.into(), step.into()), "{refused:?}");
            assert!(!format!("{refused:?}").contains(PASSWORD), "{refused:?}");
        }
    }
    let list = office.world.request(&office.owner, ListMailboxesRequest::default());
    assert!(office.mailboxes().list_mailboxes(list).await.unwrap().into_inner().mailboxes.is_empty());
    office.connect(good).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_the_first_answer_and_passwords_are_stored_sealed_only() {
    let office = Office::open().await;
    let first = office.connect(office.settings()).await.unwrap();
    assert_eq!(first.state(), MailboxState::Connecting);
    assert_eq!(first.imap.as_ref().unwrap().password, "");
    let settings = office.settings();
    let again = office.connect(settings.clone()).await.unwrap_err();
    assert_eq!((again.code(), reason(&again)), (Code::AlreadyExists, "MAILBOX_TAKEN".into()));
    let shouting = ConnectMailboxRequest { address: settings.address.to_uppercase(), ..settings };
    assert_eq!(office.connect(shouting).await.unwrap_err().code(), Code::AlreadyExists);

    let repeated = ConnectMailboxRequest { address: "sales@shop.test".into(), ..office.settings() };
    let second = office.connect(repeated.clone()).await.unwrap();
    assert_eq!(office.connect(repeated).await.unwrap(), second);

    let stored: Vec<String> =
        sqlx::query_scalar("select t::text from mailboxes t union all select t::text from answers t")
            .fetch_all(&office.database.pool)
            .await
            .unwrap();
    let hex = hex::encode(PASSWORD);
    assert!(stored.len() == 4 && !stored.iter().any(|row| row.contains(PASSWORD) || row.contains(&hex)), "{stored:?}");
    assert!(undistributed(&office.database.pool, include_str!("../../distribute.sql")).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_field_is_named_and_plain_connections_need_the_installations_leave() {
    let office = Office::closed().await;
    let env = Env::default()
        .with("DIWAN_MAILBOX_DATABASE_URL", &office.database.url)
        .with("DIWAN_MAILBOX_BLOBS", office.env().get("DIWAN_MAILBOX_BLOBS").unwrap());
    let replica = office.replica(env);
    office.world.network.slot("mailbox").unwrap().fill(replica.front.clone());

    let refused = office.connect(office.settings()).await.unwrap_err();
    assert_eq!(bad_fields(&refused), ["imap.security", "smtp.security"]);
    let mut loopback = office.settings();
    for server in [&mut loopback.imap, &mut loopback.smtp] {
        server.as_mut().unwrap().security = Security::Tls.into();
    }
    let refused = office.connect(loopback).await.unwrap_err();
    assert_eq!(told(&refused).3, "connect", "no way into this machine: {refused:?}");

    let bad = ConnectMailboxRequest {
        address: "support".into(),
        display_name: "a\nb".into(),
        team_id: "x".into(),
        imap: Some(ServerSettings { host: "a b".into(), ..ServerSettings::default() }),
        ..ConnectMailboxRequest::default()
    };
    let refused = office.connect(bad).await.unwrap_err();
    let expected = [
        "request_id",
        "address",
        "display_name",
        "team_id",
        "imap.host",
        "imap.password",
        "imap.port",
        "imap.security",
        "imap.user",
        "smtp",
    ];
    let mut named = bad_fields(&refused);
    named.sort();
    let mut expected = expected.map(String::from);
    expected.sort();
    assert_eq!(named, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_mailboxes_and_callers_of_elsewhere_are_not_found_or_refused() {
    let office = Office::open().await;
    let no_team = ConnectMailboxRequest { team_id: ids::new_id().to_string(), ..office.settings() };
    let refused = office.connect(no_team).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "TEAM_NOT_FOUND".into()));

    let mailbox = office.connect(office.settings()).await.unwrap();
    let get = || GetMailboxRequest { mailbox_id: mailbox.id.clone() };
    let foreign = office.mailboxes().get_mailbox(office.world.request(&Person::owner(), get())).await.unwrap_err();
    let unknown = GetMailboxRequest { mailbox_id: ids::new_id().to_string() };
    let unknown = office.mailboxes().get_mailbox(office.world.request(&office.owner, unknown)).await.unwrap_err();
    assert_eq!((foreign.code(), foreign.message()), (unknown.code(), unknown.message()));
    assert_eq!(reason(&foreign), "MAILBOX_NOT_FOUND");

    let agent = office.owner.colleague(Role::User);
    let refused = office.mailboxes().get_mailbox(office.world.request(&agent, get())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    let elsewhere = SendMailRequest { rfc_message_id: "no id".into(), ..answer() };
    assert_eq!(bad_fields(&office.send(&mailbox, elsewhere).await.unwrap_err()), ["rfc_message_id"]);
    let mut other = mailbox.clone();
    other.id = ids::new_id().to_string();
    assert_eq!(office.send(&other, answer()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn mailboxes_are_listed_page_by_page_in_the_order_of_their_connection() {
    let office = Office::open().await;
    let mut connected = Vec::new();
    for name in ["c", "a", "b"] {
        let settings = ConnectMailboxRequest { address: format!("{name}@shop.test"), ..office.settings() };
        connected.push(office.connect(settings).await.unwrap().address);
    }
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = Some(PageRequest { size: 2, token });
        let request = office.world.request(&office.owner, ListMailboxesRequest { page });
        let answer = office.mailboxes().list_mailboxes(request).await.unwrap().into_inner();
        listed.extend(answer.mailboxes.into_iter().map(|mailbox| mailbox.address));
        token = answer.page.unwrap().next_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, connected);
}
