//! An agent's answer on its way to the customer.

use diwan_imap::FolderName;
use diwan_proto::{
    conversation::v1::DeliveryState,
    mailbox::v1::{ConnectMailboxRequest, Mailbox, SendMailRequest},
};
use diwan_runtime::ids;
use diwan_testkit::eventually;

use crate::{
    scripted::{Deed, Smtp},
    support::{CUSTOMER, LIMIT, Office, SUPPORT, answer},
};

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
    let next = SendMailRequest {
        message_id: ids::new_id().to_string(),
        rfc_message_id: "next@shop.test".into(),
        automatic: true,
        ..answer
    };
    office.send(&mailbox, next.clone()).await.unwrap();
    let nobodys = office.await_mail(CUSTOMER, "INBOX", &next.rfc_message_id).await;
    assert!(nobodys.lines().any(|line| line == "Auto-Submitted: auto-replied"), "{nobodys}");
    assert_eq!(office.mails(CUSTOMER, "INBOX", &id).await.len(), 1);
    assert_eq!(office.mails(SUPPORT, "Sent", &id).await.len(), 1);
    eventually("the second report", LIMIT, async || office.conversation.reports().len() == 2).await;
}

/// An office whose mailbox sends by a scripted server.
async fn scripted(deeds: &[Deed]) -> (Office, Smtp, Mailbox) {
    let (office, smtp) = (Office::open().await, Smtp::start(deeds).await);
    let settings = ConnectMailboxRequest { smtp: Some(smtp.settings()), ..office.settings() };
    let mailbox = office.connect(settings).await.unwrap();
    (office, smtp, mailbox)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_surely_did_not_leave_is_tried_again_until_it_is_taken_once() {
    let deeds = [Deed::Recipient("451 4.7.1 try later"), Deed::Answer("452 4.3.1 disk full"), Deed::Accept];
    let (office, smtp, mailbox) = scripted(&deeds).await;
    let text = "First line\n.\n.hidden\nLast line".to_owned();
    office.send(&mailbox, SendMailRequest { text, ..answer() }).await.unwrap();
    let report = office.conversation.await_report().await;
    assert_eq!(report.delivery(), DeliveryState::Sent, "{report:?}");
    assert_eq!((smtp.tries(), smtp.mails().len()), (3, 2));
    assert!(smtp.mails()[1].contains("\nFirst line\n.\n.hidden\nLast line"), "{:?}", smtp.mails());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_refused_for_good_fails_with_the_servers_words() {
    let (office, smtp, mailbox) = scripted(&[Deed::Recipient("550 5.1.1 no such user")]).await;
    office.conversation.fail(2);
    office.send(&mailbox, answer()).await.unwrap();
    let report = office.conversation.await_report().await;
    assert_eq!(report.delivery(), DeliveryState::Failed);
    assert!(report.error.contains("550") && report.error.contains("no such user"), "{}", report.error);
    assert_eq!(smtp.tries(), 1);
    assert_eq!(office.conversation.reports().len(), 1, "told once, as soon as conversation listened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_answer_got_lost_is_of_unknown_fate_and_never_sent_again() {
    for deed in [Deed::HangUp, Deed::Stall] {
        let (office, smtp, mailbox) = scripted(&[deed, Deed::Accept]).await;
        let lost = answer();
        office.send(&mailbox, lost.clone()).await.unwrap();
        let report = office.conversation.await_report().await;
        assert_eq!(report.delivery(), DeliveryState::Unknown, "{deed:?}");
        // What would send it again would send it before this one, or with it.
        office.send(&mailbox, lost.clone()).await.unwrap();
        office.send(&mailbox, answer()).await.unwrap();
        eventually("the next report", LIMIT, async || office.conversation.reports().len() == 2).await;
        let copies = smtp.mails().iter().filter(|mail| mail.contains(&lost.rfc_message_id)).count();
        assert_eq!((copies, smtp.mails().len()), (1, 2), "{deed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_unknown_fate_that_stands_in_the_sent_folder_was_sent() {
    let (office, _smtp, mailbox) = scripted(&[Deed::HangUp]).await;
    let lost = answer();
    let copy = format!("Message-ID: <{}>\r\n\r\nFiled by the server itself.\r\n", lost.rfc_message_id);
    let mut imap = office.imap(SUPPORT).await;
    imap.append(&FolderName::new("Sent"), &[], copy.as_bytes()).await.unwrap();
    office.send(&mailbox, lost).await.unwrap();
    let report = office.conversation.await_report().await;
    assert_eq!((report.delivery(), report.error.as_str()), (DeliveryState::Sent, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mailbox_in_trouble_does_not_hold_up_another() {
    let (office, _smtp, stalled) = scripted(&[Deed::Stall]).await;
    let settings = ConnectMailboxRequest { address: "sales@shop.test".into(), ..office.settings() };
    let working = office.connect(settings).await.unwrap();
    office.send(&stalled, answer()).await.unwrap();
    let fine = answer();
    office.send(&working, fine.clone()).await.unwrap();
    let report = office.conversation.await_report().await;
    assert_eq!((report.delivery(), report.message_id), (DeliveryState::Sent, fine.message_id));
}
