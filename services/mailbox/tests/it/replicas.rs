//! Several replicas of the service on one database.

use std::collections::{BTreeMap, BTreeSet};

use diwan_proto::{conversation::v1::DeliveryState, mailbox::v1::ConnectMailboxRequest};
use diwan_testkit::eventually;

use crate::{
    scripted::{Deed, Smtp},
    support::{LIMIT, Office, SUPPORT, answer, question},
};

/// The message ids under which each mail was brought. Conversation keeps a mail once for each, so one id stands for one message.
fn ids(office: &Office) -> BTreeMap<String, BTreeSet<String>> {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for mail in office.conversation.ingested() {
        ids.entry(mail.rfc_message_id).or_default().insert(mail.message_id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_replica_dies_another_takes_its_mailbox_over_and_nothing_is_lost_or_doubled() {
    let office = Office::closed().await;
    let env = office.env().with("DIWAN_MAILBOX_LEASE_MS", "1000");
    let first = office.replica(env.clone());
    office.world.network.slot("mailbox").unwrap().fill(first.front.clone());
    office.connect(office.settings()).await.unwrap();
    for number in 1..=5 {
        office.deliver(SUPPORT, &question(number)).await;
    }
    office.conversation.await_ingested(3).await;
    let second = office.replica(env.clone());
    first.kill();
    for number in 6..=10 {
        office.deliver(SUPPORT, &question(number)).await;
    }
    eventually("the first ten are there", LIMIT, async || ids(&office).len() == 10).await;
    second.kill();
    let _third = office.replica(env);
    office.deliver(SUPPORT, &question(11)).await;
    // What a dead one had brought and not noted comes twice, so calls are more than mails.
    eventually("every mail is there", LIMIT, async || ids(&office).len() == 11).await;
    office.await_settled().await;

    let ids = ids(&office);
    assert!(ids.values().all(|ids| ids.len() == 1), "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_in_order_gives_its_mailboxes_back_at_once() {
    let office = Office::open().await;
    let mailbox = office.connect(office.settings()).await.unwrap();
    office.deliver(SUPPORT, &question(1)).await;
    office.conversation.await_ingested(1).await;
    office.world.drain.begin();
    eventually("the lease is free", LIMIT, async || {
        let query = sqlx::query_scalar::<_, bool>("select owner is null from leases where mailbox_id = $1::uuid");
        query.bind(&mailbox.id).fetch_one(&office.database.pool).await.unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_a_dead_replica_was_sending_is_of_unknown_fate_and_not_sent_again() {
    let office = Office::closed().await;
    let smtp = Smtp::start(&[Deed::Stall, Deed::Accept]).await;
    let env = office.env().with("DIWAN_MAILBOX_LEASE_MS", "1000").with("DIWAN_MAILBOX_SEND_ANSWER_MS", "60000");
    let first = office.replica(env.clone());
    office.world.network.slot("mailbox").unwrap().fill(first.front.clone());
    let settings = ConnectMailboxRequest { smtp: Some(smtp.settings()), ..office.settings() };
    let mailbox = office.connect(settings).await.unwrap();
    let lost = answer();
    office.send(&mailbox, lost.clone()).await.unwrap();
    eventually("the server has the mail", LIMIT, async || smtp.mails().len() == 1).await;
    first.kill();

    let _second = office.replica(env);
    let report = office.conversation.await_report().await;
    assert_eq!((report.delivery(), report.message_id), (DeliveryState::Unknown, lost.message_id));
    assert!(!report.error.is_empty());
    assert_eq!(smtp.mails().len(), 1, "sent again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_a_dead_replica_was_sending_is_not_forgotten_when_the_database_fails_the_first_look() {
    let office = Office::closed().await;
    let smtp = Smtp::start(&[Deed::Stall, Deed::Accept]).await;
    let env = office
        .env()
        .with("DIWAN_MAILBOX_LEASE_MS", "1000")
        .with("DIWAN_MAILBOX_SEND_ANSWER_MS", "60000")
        .with("DIWAN_MAILBOX_RETRY_MS", "100");
    let first = office.replica(env.clone());
    office.world.network.slot("mailbox").unwrap().fill(first.front.clone());
    let settings = ConnectMailboxRequest { smtp: Some(smtp.settings()), ..office.settings() };
    let mailbox = office.connect(settings).await.unwrap();
    let lost = answer();
    office.send(&mailbox, lost.clone()).await.unwrap();
    eventually("the server has the mail", LIMIT, async || smtp.mails().len() == 1).await;
    first.kill();

    let run = async |sql| sqlx::query(sql).execute(&office.database.pool).await.unwrap();
    // The next owner's first look fails, whatever it asks; later ones do not.
    run("alter table outgoing rename to hidden").await;
    let owner = async || {
        let query = sqlx::query_scalar::<_, Option<uuid::Uuid>>("select owner from leases where expires_at > now()");
        query.fetch_optional(&office.database.pool).await.unwrap().flatten()
    };
    eventually("the dead one's lease is over", LIMIT, async || owner().await.is_none()).await;
    let _second = office.replica(env);
    eventually("another one has it", LIMIT, async || owner().await.is_some()).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    run("alter table hidden rename to outgoing").await;
    let report = office.conversation.await_report().await;
    assert_eq!((report.delivery(), report.message_id), (DeliveryState::Unknown, lost.message_id));
}
