//! Mails become conversations, the limit holds, and closing one makes room for the next.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use diwan_mailhost::MailHost;
use diwan_proto::{
    common::v1::PageRequest,
    conversation::v1::{
        CloseConversationRequest, Conversation, ConversationState, ListConversationsRequest,
        conversation_service_client::ConversationServiceClient, watch_inbox_response::Event,
    },
};
use tokio::time::{sleep, timeout};

use super::{
    LIMIT, SHARED,
    cast::{Agent, Cast},
    letters::{self, Customer, Letter},
};
use crate::{
    Failure,
    door::{Person, request_id},
    mail,
    report::{Report, StepFailed},
};

const SOON: Duration = Duration::from_secs(10);

/// What has come of the mails.
pub(super) struct Day {
    /// The customer who gets an answer.
    pub(super) customer: Customer,
    /// The conversation with her.
    pub(super) answered: Conversation,
}

/// The first mail comes alone, to see how long one takes; then the rest, until the agents are full and a queue forms.
pub(super) async fn mails_arrive(cast: &mut Cast, mail: &MailHost, report: &mut Report) -> Result<Day, StepFailed> {
    let customer = Customer::new();
    let letters = report
        .step("eight mails are written: genuine ones, Arabic, Latin, broken", async { letters::all(&customer) })
        .await?;
    for letter in &letters {
        report.say(letter.about);
    }
    let (first, rest) = letters.split_at(1);
    let (answered, took) = report
        .step("the first is sent, becomes a conversation and is assigned", first_mail(cast, mail, &first[0]))
        .await?;
    report.row("SMTP acceptance to assignment, one mail on an idle system", 1, Some(took));
    let begun = Instant::now();
    let expected = letters.len();
    report.step("the others are sent, all become conversations", the_rest(cast, mail, rest, expected)).await?;
    report.row("mails sent by SMTP, stored, each a conversation", expected, Some(begun.elapsed()));
    let waiting = expected - 2 * LIMIT;
    let what = format!("each agent holds {LIMIT}, the limit, and {waiting} wait in the queue");
    report.step(&what, loads(cast, LIMIT, LIMIT, waiting)).await?;
    report.row("conversations held by each agent (limit 3)", LIMIT, None);
    report.row("conversations in the queue", waiting, None);
    Ok(Day { customer, answered })
}

/// One closed, one waiting: the next is assigned at once, and the stream shows it. Until the queue is empty and one agent
/// has room.
pub(super) async fn closing_makes_room(cast: &mut Cast, day: &mut Day, report: &mut Report) -> Result<(), StepFailed> {
    let mut times = Vec::new();
    for number in 1..=2 {
        let what = format!("a conversation is closed (no. {number}), the next of the queue is assigned at once");
        times.push(report.step(&what, close_and_see_the_next(&mut cast.amina, &day.answered.id)).await?);
    }
    report.row("closing to the next assignment, as the stream shows it", times.len(), times.iter().max().copied());
    report
        .step("a third is closed: nobody waits, she has room for one", async {
            let id = one_of(&cast.amina, &day.answered.id).await?;
            close(&cast.amina.person, &id).await?;
            loads(cast, LIMIT - 1, LIMIT, 0).await
        })
        .await
}

async fn first_mail(cast: &mut Cast, mail: &MailHost, letter: &Letter) -> Result<(Conversation, Duration), Failure> {
    let accepted = mail::send(mail, &letter.sender, SHARED, &letter.raw).await?;
    let assigned = |event: &Event| match event {
        Event::Changed(changed) => changed.conversation.clone().filter(|conversation| {
            conversation.state() == ConversationState::Open
                && conversation.contact.as_ref().is_some_and(|contact| contact.email == letter.sender)
        }),
        _ => None,
    };
    let (amina, bruno) = (&mut cast.amina.inbox, &mut cast.bruno.inbox);
    let (at, conversation) = tokio::select! {
        shown = amina.wait("a mail is assigned", SOON, assigned) => shown?,
        shown = bruno.wait("a mail is assigned", SOON, assigned) => shown?,
    };
    Ok((conversation, at.saturating_duration_since(accepted)))
}

async fn the_rest(cast: &Cast, mail: &MailHost, letters: &[Letter], expected: usize) -> Result<(), Failure> {
    for letter in letters {
        mail::send(mail, &letter.sender, SHARED, &letter.raw).await?;
    }
    let arrived = async {
        while list(&cast.owner, &cast.support.id).await?.len() < expected {
            sleep(Duration::from_millis(20)).await;
        }
        Ok::<_, Failure>(())
    };
    timeout(SOON, arrived).await.map_err(|_| "not every mail became a conversation")?
}

/// Waits until the two agents hold so many and so many wait.
pub(super) async fn loads(cast: &Cast, amina: usize, bruno: usize, waiting: usize) -> Result<(), Failure> {
    let wanted = (amina, bruno, waiting);
    let mut seen = (0, 0, 0);
    let settled = async {
        loop {
            let all = list(&cast.owner, &cast.support.id).await?;
            let mut held = HashMap::<&str, usize>::new();
            for conversation in all.iter().filter(|conversation| conversation.state() == ConversationState::Open) {
                *held.entry(&conversation.holder_id).or_default() += 1;
            }
            let load = |agent: &Agent| held.get(agent.person.user.id.as_str()).copied().unwrap_or_default();
            let queued = all.iter().filter(|conversation| conversation.state() == ConversationState::Queued).count();
            seen = (load(&cast.amina), load(&cast.bruno), queued);
            if seen.0 > LIMIT || seen.1 > LIMIT {
                return Err::<(), Failure>(format!("somebody is above the limit: {seen:?}").into());
            }
            if seen == wanted {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, settled).await.map_err(|_| format!("Amina, Bruno, queue are {seen:?} instead of {wanted:?}"))?
}

async fn close_and_see_the_next(agent: &mut Agent, keep: &str) -> Result<Duration, Failure> {
    let id = one_of(agent, keep).await?;
    let before: Vec<String> = held(agent).await?.into_iter().map(|conversation| conversation.id).collect();
    let begun = Instant::now();
    close(&agent.person, &id).await?;
    let own = agent.person.user.id.clone();
    let new = |event: &Event| match event {
        Event::Changed(changed) => changed.conversation.clone().filter(|conversation| {
            conversation.state() == ConversationState::Open
                && conversation.holder_id == own
                && !before.contains(&conversation.id)
        }),
        _ => None,
    };
    let (at, _) = agent.inbox.wait("the next is assigned", SOON, new).await?;
    Ok(at.saturating_duration_since(begun))
}

/// A conversation that the agent holds, other than `keep`.
async fn one_of(agent: &Agent, keep: &str) -> Result<String, Failure> {
    let held = held(agent).await?;
    let other = held.into_iter().find(|conversation| conversation.id != keep);
    other.map(|conversation| conversation.id).ok_or_else(|| "the agent holds no other conversation".into())
}

async fn held(agent: &Agent) -> Result<Vec<Conversation>, Failure> {
    let request = ListConversationsRequest {
        state: ConversationState::Open.into(),
        holder_id: agent.person.user.id.clone(),
        ..ListConversationsRequest::default()
    };
    let mut client = ConversationServiceClient::new(agent.person.way());
    Ok(client.list_conversations(request).await?.into_inner().conversations)
}

async fn close(person: &Person, id: &str) -> Result<(), Failure> {
    let request = CloseConversationRequest { request_id: request_id(), conversation_id: id.to_owned() };
    ConversationServiceClient::new(person.way()).close_conversation(request).await?;
    Ok(())
}

/// The conversations of a team.
pub(super) async fn list(person: &Person, team_id: &str) -> Result<Vec<Conversation>, Failure> {
    let request = ListConversationsRequest {
        page: Some(PageRequest { size: 200, token: String::new() }),
        team_id: team_id.to_owned(),
        ..ListConversationsRequest::default()
    };
    Ok(ConversationServiceClient::new(person.way()).list_conversations(request).await?.into_inner().conversations)
}
