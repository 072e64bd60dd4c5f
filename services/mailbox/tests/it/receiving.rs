//! A customer's mail on its way into a conversation.

use std::time::Duration;

use diwan_proto::mailbox::v1::MailboxState;
use diwan_testkit::eventually;

use crate::support::{CUSTOMER, LIMIT, Office, SUPPORT, question};

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reaches_conversation_within_a_second_of_its_acceptance_by_smtp() {
    let office = Office::open().await;
    office.deliver(SUPPORT, &question(0)).await;
    office.await_mail(SUPPORT, "INBOX", "0@customers.test").await;
    let mailbox = office.connect(office.settings()).await.unwrap();
    office.await_state(&mailbox.id, MailboxState::Synced).await;
    let mut latencies = Vec::new();
    for number in 1..=10 {
        let accepted = office.deliver(SUPPORT, &question(number)).await;
        let ingested = office.conversation.await_ingested(number as usize).await;
        latencies.push(ingested.saturating_duration_since(accepted));
    }
    latencies.sort();
    println!("from SMTP acceptance to IngestMessage: median {:?}, slowest {:?}", latencies[5], latencies[9]);
    assert!(latencies[9] < Duration::from_secs(1), "{latencies:?}");
    let first = &office.conversation.ingested()[0];
    assert_eq!((first.from_email.as_str(), first.from_name.as_str()), (CUSTOMER, "Ana"));
    assert_eq!((first.subject.as_str(), first.rfc_message_id.as_str()), ("Question 1", "1@customers.test"));
    assert_eq!(first.text, "What about 1?");
    assert_eq!((first.mailbox_id.as_str(), first.team_id.as_str()), (mailbox.id.as_str(), mailbox.team_id.as_str()));
    assert_eq!(office.mailbox(&mailbox.id).await.messages, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_as_blobs_and_a_broken_mail_is_shown_as_far_as_it_can_be_read() {
    let office = Office::open().await;
    let mailbox = office.connect(office.settings()).await.unwrap();
    let with_file = format!(
        "From: {CUSTOMER}\r\nSubject: File\r\nMessage-ID: <file@x>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n\
         --b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=\"a.png\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\niVBORw==\r\n--b--\r\n"
    );
    office.deliver(SUPPORT, &with_file).await;
    office.conversation.await_ingested(1).await;
    office.deliver(SUPPORT, "Subject: No sender\r\n\r\nWho am I?\r\n").await;
    office.conversation.await_ingested(2).await;
    office.deliver(SUPPORT, &format!("From: {CUSTOMER}\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n")).await;
    office.conversation.await_ingested(3).await;
    let [file, broken, machine] = office.conversation.ingested().try_into().unwrap();
    assert!(machine.automatic && !broken.automatic && !file.automatic, "{machine:?}");
    let attachment = &file.attachments[0];
    assert_eq!((attachment.name.as_str(), attachment.media_type.as_str(), attachment.size), ("a.png", "image/png", 4));
    assert_eq!(office.blob(&attachment.sha256), b"\x89PNG");
    assert!(!file.broken && file.text == "See the file.", "{file:?}");
    assert!(broken.broken && broken.text == "Who am I?", "{broken:?}");
    assert_eq!(broken.from_email, CUSTOMER, "the envelope's sender, from Return-Path");
    let mailbox = office.mailbox(&mailbox.id).await;
    assert_eq!((mailbox.messages, mailbox.quarantined), (3, 1));
    let raw: String = sqlx::query_scalar("select sha256 from messages where rfc_message_id = 'file@x'")
        .fetch_one(&office.database.pool)
        .await
        .unwrap();
    let body = with_file.split_once("\r\n\r\n").unwrap().1;
    assert!(String::from_utf8(office.blob(&raw)).unwrap().contains(body), "all of it is kept as it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_waits_for_conversation_and_then_comes_in_order_each_once() {
    let office = Office::open().await;
    office.conversation.fail(5);
    office.connect(office.settings()).await.unwrap();
    for number in 1..=20 {
        office.deliver(SUPPORT, &question(number)).await;
        office.await_mail(SUPPORT, "INBOX", &format!("{number}@customers.test")).await;
    }
    office.conversation.await_ingested(20).await;
    office.await_settled().await;
    let ids: Vec<String> = office.conversation.ingested().into_iter().map(|mail| mail.rfc_message_id).collect();
    let sent: Vec<String> = (1..=20).map(|number| format!("{number}@customers.test")).collect();
    assert_eq!(ids, sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailboxes_own_mail_is_kept_and_makes_no_conversation() {
    let office = Office::open().await;
    let mailbox = office.connect(office.settings()).await.unwrap();
    office.deliver(SUPPORT, &format!("From: {SUPPORT}\r\nMessage-ID: <own@x>\r\n\r\nLoop?\r\n")).await;
    office.await_mail(SUPPORT, "INBOX", "own@x").await;
    office.deliver(SUPPORT, &question(1)).await;
    office.conversation.await_ingested(1).await;
    assert_eq!(office.conversation.ingested()[0].rfc_message_id, "1@customers.test");
    assert_eq!(office.mailbox(&mailbox.id).await.messages, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_numbered_anew_is_gone_through_again_and_nothing_comes_twice() {
    let office = Office::closed().await;
    let replica = office.replica(office.env());
    office.world.network.slot("mailbox").unwrap().fill(replica.front.clone());
    office.deliver(SUPPORT, &question(0)).await;
    office.await_mail(SUPPORT, "INBOX", "0@customers.test").await;
    office.connect(office.settings()).await.unwrap();
    for number in 1..=3 {
        office.deliver(SUPPORT, &question(number)).await;
        office.conversation.await_ingested(number as usize).await;
    }
    office.await_settled().await;
    replica.kill();
    // As if the server had used other numbers until now, and the mail before the connection were long past.
    for change in [
        "update mailboxes set uid_validity = uid_validity - 1, cursor_uid = cursor_uid + 100,
             created_at = created_at + interval '1 hour'",
        "update messages set uid_validity = uid_validity - 1, uid = uid + 100",
        "update leases set owner = null, expires_at = '2000-01-01'",
    ] {
        sqlx::query(change).execute(&office.database.pool).await.unwrap();
    }
    office.deliver(SUPPORT, &question(4)).await;
    office.await_mail(SUPPORT, "INBOX", "4@customers.test").await;
    let _replica = office.replica(office.env());
    eventually("all is gone through", LIMIT, async || {
        let query = "select count(*) from messages m join mailboxes b on b.uid_validity = m.uid_validity
                     and b.cursor_uid >= 5";
        sqlx::query_scalar::<_, i64>(query).fetch_one(&office.database.pool).await.unwrap() == 5
    })
    .await;
    office.deliver(SUPPORT, &question(5)).await;
    eventually("the new one comes", LIMIT, async || {
        office.conversation.ingested().iter().any(|mail| mail.rfc_message_id == "5@customers.test")
    })
    .await;
    let mut ids: Vec<String> = office.conversation.ingested().into_iter().map(|mail| mail.rfc_message_id).collect();
    ids.sort();
    let old: String =
        sqlx::query_scalar("select string_agg(rfc_message_id, ' ') from messages where state = 'HISTORY'")
            .fetch_one(&office.database.pool)
            .await
            .unwrap();
    // 4 arrived before the connection as it is dated now; 5 is above the UIDs that were there when it was noticed.
    assert_eq!(ids, ["1@customers.test", "2@customers.test", "3@customers.test", "5@customers.test"]);
    assert_eq!(old, "0@customers.test 4@customers.test");
}
