//! The way of one mail: in, to an agent, answered, closed, the next one.

use diwan_proto::conversation::v1::{
    ConversationState, DeliveryState, ReportDeliveryRequest, Transition, TransitionCause,
};
use diwan_testkit::eventually;

use crate::support::{ADDRESS, LIMIT, Office};

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_reaches_an_agent_is_answered_and_closing_it_brings_the_next_one() {
    let office = Office::open(1).await;
    let agent = office.agent().await;
    let mut inbox = office.watch(&agent).await;
    let mail = office.mail();
    let customer = mail.from_email.clone();
    let first = office.deliver(mail.clone()).await;
    office.held_by(&agent, first).await;
    let second = office.arrive().await;

    let answer = office.reply(&agent, first, "Try another bulb.").await.unwrap();
    assert_eq!(answer.delivery(), DeliveryState::Pending);
    let sent = eventually("the answer is sent", LIMIT, async || office.mailbox.sent().pop()).await;
    assert_eq!((sent.to_email.as_str(), sent.subject.as_str()), (customer.as_str(), "Re: Broken lamp"));
    assert_eq!((&sent.in_reply_to, &sent.references), (&mail.rfc_message_id, &vec![mail.rfc_message_id.clone()]));
    assert_eq!(sent.rfc_message_id, format!("{}@{}", sent.message_id, ADDRESS.split_once('@').unwrap().1));
    let report = ReportDeliveryRequest {
        account_id: agent.account.to_string(),
        message_id: sent.message_id.clone(),
        delivery: DeliveryState::Sent.into(),
        error: String::new(),
    };
    office.ingest().report_delivery(report).await.unwrap();
    let messages = office.messages(&agent, first).await;
    assert_eq!(messages[1].delivery(), DeliveryState::Sent);

    assert_eq!(office.get(&agent, second).await.unwrap().state(), ConversationState::Queued);
    office.close(&agent, first).await.unwrap();
    office.held_by(&agent, second).await;
    let shown = eventually("the stream shows it", LIMIT, async || {
        let change = inbox.change().await;
        (change.id == second.to_string() && change.state() == ConversationState::Open).then_some(change)
    })
    .await;
    assert_eq!(shown.holder_id, agent.user.to_string());
    let causes: Vec<_> = office.transitions(second).await.iter().map(Transition::cause).collect();
    assert_eq!(causes, [TransitionCause::Arrival, TransitionCause::Automatic]);
    office.audit().await;
}
