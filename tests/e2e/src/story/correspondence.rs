//! An agent reads a mail and answers; the customer gets the answer, threaded, and answers again into the same
//! conversation.

use std::time::{Duration, Instant};

use diwan_mailhost::MailHost;
use diwan_proto::conversation::v1::{
    ListMessagesRequest, Message, MessageDirection, ReplyRequest,
    conversation_service_client::ConversationServiceClient,
};
use mail_parser::{HeaderValue, MessageParser};
use tokio::time::{sleep, timeout};

use super::{
    SHARED,
    cast::Cast,
    letters::{self, Customer},
    routing::Day,
};
use crate::{
    Failure,
    door::{Person, request_id},
    mail,
    report::{Report, StepFailed},
};

const SOON: Duration = Duration::from_secs(10);
const ANSWER: &str = "مرحبا ليلى، طلبك في الطريق. — Your order is on its way.";

/// The ids of the thread as the customer's mail program sees them.
struct Received {
    message_id: String,
    references: String,
}

pub(super) async fn answer_and_answer_again(
    cast: &mut Cast,
    day: &mut Day,
    mail: &MailHost,
    report: &mut Report,
) -> Result<(), StepFailed> {
    let id = day.answered.id.clone();
    let holder = report
        .step("the agent who holds the Arabic mail reads it", async {
            let agent = cast.agent(&day.answered.holder_id).ok_or("held by neither agent")?;
            let person = agent.person.clone();
            let messages = messages(&person, &id).await?;
            let read = messages.iter().any(|message| message.text.contains("أين طلبي رقم 7431"));
            if read { Ok(person) } else { Err(format!("the text is not there: {messages:?}").into()) }
        })
        .await?;
    let begun = Instant::now();
    report.step("he answers", reply(&holder, &id)).await?;
    let received = report
        .step(
            "the answer is in the customer's mailbox: threaded, from the shared address",
            arrives(mail, &day.customer),
        )
        .await?;
    report.row("reply accepted to the mail in the customer's mailbox", 1, Some(begun.elapsed()));
    let again = write_again(mail, &holder, day, &received);
    let took = report.step("the customer answers again and lands in the same conversation", again).await?;
    report.row("the customer's answer, SMTP acceptance to the conversation", 1, Some(took));
    Ok(())
}

async fn messages(person: &Person, conversation_id: &str) -> Result<Vec<Message>, Failure> {
    let request = ListMessagesRequest { conversation_id: conversation_id.to_owned(), page: None };
    Ok(ConversationServiceClient::new(person.way()).list_messages(request).await?.into_inner().messages)
}

async fn reply(holder: &Person, conversation_id: &str) -> Result<(), Failure> {
    let request =
        ReplyRequest { request_id: request_id(), conversation_id: conversation_id.to_owned(), text: ANSWER.to_owned() };
    let mut client = ConversationServiceClient::new(holder.way());
    let first = client.reply(request.clone()).await?.into_inner();
    // A client that got no answer asks again; nothing may be sent twice.
    let second = client.reply(request).await?.into_inner();
    if first == second { Ok(()) } else { Err("a repeated request got another answer".into()) }
}

async fn arrives(mail: &MailHost, customer: &Customer) -> Result<Received, Failure> {
    let raw = mail::wait_for(mail, &customer.email, SOON, |_| true).await?;
    let parsed = MessageParser::default().parse(&raw).ok_or("the answer cannot be parsed")?;
    let from = parsed.from().and_then(|from| from.first()).and_then(|from| from.address()).unwrap_or_default();
    let references = ids(parsed.references());
    let problems = [
        (from != SHARED, "it is not from the shared address"),
        (!ids(parsed.in_reply_to()).contains(&customer.message_id), "In-Reply-To does not name the customer's mail"),
        (!references.contains(&customer.message_id), "References do not name the customer's mail"),
        (!parsed.body_text(0).is_some_and(|text| text.contains(ANSWER)), "the text has changed on the way"),
        (parsed.message_id().is_none(), "it has no Message-ID"),
        (mail::read_all(mail.imap(), &customer.email).await?.len() != 1, "it was sent more than once"),
    ];
    if let Some((_, problem)) = problems.iter().find(|(wrong, _)| *wrong) {
        return Err(format!("{problem}:\n{}", String::from_utf8_lossy(&raw)).into());
    }
    let message_id = parsed.message_id().unwrap_or_default().to_owned();
    let references = references.iter().chain([&message_id]).map(|id| format!("<{id}>")).collect::<Vec<_>>().join(" ");
    Ok(Received { message_id, references })
}

fn ids(value: &HeaderValue<'_>) -> Vec<String> {
    value.as_text_list().map(|list| list.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

async fn write_again(mail: &MailHost, holder: &Person, day: &Day, received: &Received) -> Result<Duration, Failure> {
    let raw = letters::second(&day.customer, &received.message_id, &received.references);
    let accepted = mail::send(mail, &day.customer.email, SHARED, &raw).await?;
    let landed = async {
        loop {
            let incoming = messages(holder, &day.answered.id).await?;
            if incoming.iter().filter(|message| message.direction() == MessageDirection::In).count() == 2 {
                return Ok::<_, Failure>(accepted.elapsed());
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, landed).await.map_err(|_| "the second mail is not in the conversation")?
}
