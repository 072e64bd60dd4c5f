//! Messages in and out.

use std::sync::Arc;

use diwan_fault::reason_of;
use diwan_proto::conversation::v1::{
    ConversationState, DeliveryState, IngestMessageRequest, ReplyRequest, ReportDeliveryRequest, TransitionCause,
};
use diwan_runtime::ids;
use diwan_testkit::eventually;
use tonic::{Code, Status};

use crate::support::{LIMIT, Office};

/// The customer's next mail, in answer to `to`.
fn answer(office: &Office, to: &str, first: &IngestMessageRequest) -> IngestMessageRequest {
    IngestMessageRequest {
        references: vec!["unknown@elsewhere.example".into(), to.to_owned()],
        from_email: first.from_email.clone(),
        subject: "Re: Broken lamp".into(),
        ..office.mail()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_mail_from_16_deliveries_at_once_is_one_message_in_one_conversation() {
    let office = Arc::new(Office::open(0).await);
    let mail = office.mail();
    let deliveries: Vec<_> = (0..16)
        .map(|_| {
            let (office, mail) = (office.clone(), mail.clone());
            tokio::spawn(async move { office.deliver(mail).await })
        })
        .collect();
    let mut ids = Vec::new();
    for delivery in deliveries {
        ids.push(delivery.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(office.count("select count(*) from messages").await, 1);
    assert_eq!(office.count("select count(*) from conversations").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_to_a_mail_or_to_our_answer_joins_its_conversation_and_a_subject_alone_does_not() {
    let office = Office::open(0).await;
    let agent = office.agent().await;
    let _inbox = office.watch(&agent).await;
    let first = office.mail();
    let id = office.deliver(first.clone()).await;
    office.held_by(&agent, id).await;
    assert_eq!(office.deliver(answer(&office, &first.rfc_message_id, &first)).await, id);
    let ours = office.reply(&agent, id, "Which bulb?").await.unwrap();
    let third = answer(&office, &ours.rfc_message_id, &first);
    assert_eq!(office.deliver(third.clone()).await, id);
    let stranger = IngestMessageRequest { subject: "Re: Broken lamp".into(), ..office.mail() };
    assert_ne!(office.deliver(stranger).await, id);
    assert_eq!(office.messages(&agent, id).await.len(), 4);
    // The next answer carries the whole thread, nearest last.
    office.reply(&agent, id, "That one.").await.unwrap();
    let sent = eventually("both answers are sent", LIMIT, async || {
        let sent = office.mailbox.sent();
        sent.into_iter().find(|mail| mail.text == "That one.")
    })
    .await;
    assert_eq!(sent.in_reply_to, third.rfc_message_id);
    assert!(sent.references.contains(&ours.rfc_message_id), "{:?}", sent.references);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_names_another_customers_mail_starts_his_own_conversation_and_our_answer_may_be_answered_from_elsewhere()
 {
    let office = Office::open(0).await;
    let first = office.mail();
    let id = office.deliver(first.clone()).await;
    office.take(&office.owner, id).await.unwrap();
    let from_elsewhere = |to: &str| IngestMessageRequest {
        from_email: "elsewhere@customer.example".into(),
        ..answer(&office, to, &first)
    };
    assert_ne!(office.deliver(from_elsewhere(&first.rfc_message_id)).await, id);
    let ours = office.reply(&office.owner, id, "Which bulb?").await.unwrap();
    assert_eq!(office.deliver(from_elsewhere(&ours.rfc_message_id)).await, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_writes_again_reopens_it_for_who_held_it_if_he_can_take_it_else_for_the_queue() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let inbox = office.watch(&agent).await;
    let mail = office.mail();
    let id = office.deliver(mail.clone()).await;
    office.held_by(&agent, id).await;
    office.close(&agent, id).await.unwrap();
    assert_eq!(office.deliver(answer(&office, &mail.rfc_message_id, &mail)).await, id);
    let reopened = office.get(&agent, id).await.unwrap();
    assert_eq!((reopened.state(), reopened.holder_id), (ConversationState::Open, agent.user.to_string()));
    let last = office.transitions(id).await.pop().unwrap();
    assert_eq!((last.cause(), last.to_state()), (TransitionCause::Reopened, ConversationState::Open));

    office.close(&agent, id).await.unwrap();
    let other = office.arrive().await;
    office.held_by(&agent, other).await;
    office.deliver(answer(&office, &mail.rfc_message_id, &mail)).await;
    let waits = office.get(&agent, id).await.unwrap();
    assert_eq!((waits.state(), waits.holder_id.as_str()), (ConversationState::Queued, ""));
    drop(inbox);
    office.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_broken_in_every_way_is_kept_and_cannot_be_answered() {
    let office = Office::open(0).await;
    let mail = IngestMessageRequest {
        from_email: String::new(),
        from_name: "\0\u{202e}".into(),
        subject: "one\r\nBcc: all@example.com\0".into(),
        text: "nul\0 and \u{feff}".into(),
        rfc_message_id: "x".repeat(5000),
        references: vec!["y".repeat(5000), String::new(), "a b".into(), "\0".into()],
        broken: true,
        ..office.mail()
    };
    let id = office.deliver(mail.clone()).await;
    let second = IngestMessageRequest { message_id: ids::new_id().to_string(), ..mail };
    assert_ne!(office.deliver(second).await, id, "strangers without an address are not one contact");
    let taken = office.take(&office.owner, id).await.unwrap().conversation.unwrap();
    assert_eq!(taken.subject, "one  Bcc: all@example.com");
    let stored = &office.messages(&office.owner, id).await[0];
    assert!(stored.broken && stored.text.starts_with("nul and"), "{stored:?}");
    let status = office.reply(&office.owner, id, "Hello?").await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("NO_ADDRESS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_out_once_however_often_it_is_asked_for_and_tried() {
    let office = Office::open(0).await;
    let id = office.arrive().await;
    office.take(&office.owner, id).await.unwrap();
    office.mailbox.refuse(Status::unavailable("restarting"));
    let request = ReplyRequest { request_id: "once".into(), conversation_id: id.to_string(), text: "Hello".into() };
    let mut answers = Vec::new();
    for _ in 0..3 {
        let request = office.world.request(&office.owner, request.clone());
        answers.push(office.conversations().reply(request).await.unwrap().into_inner().message.unwrap().id);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1);
    office.until("select count(*) from sends", 0).await;
    assert_eq!(office.mailbox.sent().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_the_mailbox_refuses_for_good_is_failed_with_its_reason() {
    let office = Office::open(0).await;
    let id = office.arrive().await;
    office.take(&office.owner, id).await.unwrap();
    office.mailbox.refuse(Status::not_found("no such mailbox"));
    office.reply(&office.owner, id, "Hello").await.unwrap();
    office.until("select count(*) from sends", 0).await;
    let message = office.messages(&office.owner, id).await.pop().unwrap();
    assert_eq!((message.delivery(), message.delivery_error.as_str()), (DeliveryState::Failed, "no such mailbox"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_stays_sent_and_an_unknown_message_is_not_found() {
    let office = Office::open(0).await;
    let id = office.arrive().await;
    office.take(&office.owner, id).await.unwrap();
    let message = office.reply(&office.owner, id, "Hello").await.unwrap();
    let report = |message_id: &str, delivery: DeliveryState| ReportDeliveryRequest {
        account_id: office.owner.account.to_string(),
        message_id: message_id.to_owned(),
        delivery: delivery.into(),
        error: "late".into(),
    };
    for delivery in [DeliveryState::Unknown, DeliveryState::Sent, DeliveryState::Failed] {
        office.ingest().report_delivery(report(&message.id, delivery)).await.unwrap();
    }
    assert_eq!(office.messages(&office.owner, id).await.pop().unwrap().delivery(), DeliveryState::Sent);
    let unknown = report(&ids::new_id().to_string(), DeliveryState::Sent);
    let status = office.ingest().report_delivery(unknown).await.unwrap_err();
    assert_eq!((status.code(), reason_of(&status).as_deref()), (Code::NotFound, Some("MESSAGE_NOT_FOUND")));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_holder_answers() {
    let office = Office::open(0).await;
    let id = office.arrive().await;
    let status = office.reply(&office.owner, id, "Hello").await.unwrap_err();
    assert_eq!(reason_of(&status).as_deref(), Some("NOT_HOLDER"));
}
