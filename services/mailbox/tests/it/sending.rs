//! An agent's answer on its way to the customer.

use diwan_proto::conversation::v1::DeliveryState;
use diwan_testkit::eventually;

use crate::support::{CUSTOMER, LIMIT, Office, SUPPORT, answer};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_arrives_threaded_from_the_shared_address_and_is_filed_once_and_reported() {
    let office = Office::open().await;
    let mailbox = office.connect(office.settings()).await.unwrap();
    let answer = answer();
    let id = answer.rfc_message_id.clone();
    for _ in 0..3 {
        office.send(&mailbox, answer.clone()).await.unwrap();
    }
    let arrived = office.await_mail(CUSTOMER, "INBOX", &id).await;
    for line in [
        "From: \"Shop Support\" <support@shop.test>",
        "To: \"Ana\" <ana@customers.test>",
        "Subject: Re: Question",
        "In-Reply-To: <question@customers.test>",
        "References: <first@customers.test> <question@customers.test>",
        &format!("Message-ID: <{id}>"),
        "Content-Type: text/plain; charset=\"utf-8\"",
        "An answer.",
    ] {
        assert!(arrived.lines().any(|found| found == line), "{line} is missing in\n{arrived}");
    }
    assert!(!arrived.contains("Auto-Submitted"), "{arrived}");
    let report = office.conversation.await_report().await;
    assert_eq!((report.delivery(), report.error.as_str()), (DeliveryState::Sent, ""));
    assert_eq!(report.message_id, answer.message_id);
    office.await_mail(SUPPORT, "Sent", &id).await;
    // A second copy would have been sent before the next mail is.
    let next = crate::support::answer();
    office.send(&mailbox, next.clone()).await.unwrap();
    office.await_mail(CUSTOMER, "INBOX", &next.rfc_message_id).await;
    assert_eq!(office.mails(CUSTOMER, "INBOX", &id).await.len(), 1);
    assert_eq!(office.mails(SUPPORT, "Sent", &id).await.len(), 1);
    eventually("the second report", LIMIT, async || office.conversation.reports().len() == 2).await;
}
