//! Customers: they write, come back, and write again.

use diwan_e2e::Failure;
use diwan_proto::conversation::v1::{
    ConversationState, IngestMessageRequest, ingest_service_client::IngestServiceClient,
};
use diwan_runtime::{Clock as _, SystemClock, ids};
use rand::{RngExt as _, rngs::StdRng};
use uuid::Uuid;

use crate::{
    board::Known,
    call::{As, At, Ended},
    operation::Outcome,
    stage::{Stage, timestamp},
};

/// Some of these words stand in each message, for the routing rules.
pub(crate) const WORDS: [&str; 8] = ["invoice", "lamp", "refund", "delivery", "factura", "pedido", "order", "broken"];

/// Where a customer can write again. What is closed, put off or with a bot shows more than the rest.
const ANY: [ConversationState; 5] = [
    ConversationState::Queued,
    ConversationState::Open,
    ConversationState::Bot,
    ConversationState::Snoozed,
    ConversationState::Closed,
];

impl Stage {
    /// A new customer writes.
    pub(crate) async fn arrive(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let email = format!("{}@customer.example", ids::new_id());
        self.write(random, email, None).await
    }

    /// A known customer writes about something new.
    pub(crate) async fn come_back(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &ANY) else { return Ok(None) };
        self.write(random, known.email, None).await
    }

    /// A known customer goes on with what he wrote.
    pub(crate) async fn write_again(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let states = if random.random_bool(0.5) { &ANY[2..] } else { &ANY[..] };
        let Some(known) = self.board.some(random, states) else { return Ok(None) };
        self.write(random, known.email.clone(), Some(known)).await
    }

    /// A customer goes on with what was closed.
    pub(crate) async fn reopen(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some(known) = self.board.some(random, &ANY[4..]) else { return Ok(None) };
        self.write(random, known.email.clone(), Some(known)).await
    }

    async fn write(&self, random: &mut StdRng, email: String, thread: Option<Known>) -> Result<Outcome, Failure> {
        let id = ids::new_id();
        let team = thread.as_ref().map_or_else(|| random.random_range(0..self.teams.len()), |known| known.mailbox);
        let rfc = format!("{id}@mail.customer.example");
        let mail = IngestMessageRequest {
            account_id: self.account.clone(),
            message_id: id.to_string(),
            // A mailbox for each team; its id is that of the team.
            mailbox_id: self.teams[team].clone(),
            mailbox_address: format!("team{team}@shop.example"),
            team_id: self.teams[team].clone(),
            from_email: email.clone(),
            from_name: "Maha".into(),
            subject: WORDS[random.random_range(0..WORDS.len())].into(),
            text: text(random, thread.as_ref()),
            rfc_message_id: rfc.clone(),
            references: thread.iter().map(|known| known.thread.clone()).collect(),
            received_at: Some(timestamp(SystemClock.now())),
            ..IngestMessageRequest::default()
        };
        let at = At::replica(random);
        let ended = self.call(As::Mailbox, at, &mail, |channel, request| async move {
            IngestServiceClient::new(channel).ingest_message(request).await
        });
        let taken: Uuid = match ended.await? {
            Ended::Refused(reason) => return Ok(Some(Ended::Refused(reason))),
            Ended::Answered(answer) => answer.conversation_id.parse()?,
        };
        if thread.is_none() {
            let (version, state) = (0, ConversationState::Queued);
            let (holder, none) = (None, String::new());
            self.board.begun(Known {
                id: taken,
                version,
                state,
                holder,
                team: none,
                email,
                thread: rfc,
                mailbox: team,
            });
        }
        self.book.told().mails.insert(id, taken);
        Ok(Some(Ended::Answered(())))
    }
}

/// What he writes; to a bot it may be the number of an answer.
fn text(random: &mut StdRng, thread: Option<&Known>) -> String {
    if thread.is_some_and(|known| known.state == ConversationState::Bot) && random.random_bool(0.7) {
        return random.random_range(1..4).to_string();
    }
    format!("Please help with my {}.", WORDS[random.random_range(0..WORDS.len())])
}
