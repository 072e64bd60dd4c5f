//! A customer's mail on its way into a conversation.

use std::time::Duration;

use diwan_proto::mailbox::v1::MailboxState;

use crate::support::{CUSTOMER, Office, SUPPORT, question};

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
