//! What customers and agents do, on whichever replica there is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use diwan_proto::{
    common::v1::PageRequest,
    conversation::v1::{
        CloseConversationRequest, ConversationState, IngestMessageRequest, ListConversationsRequest,
        TakeConversationRequest, WatchInboxRequest, inbox_service_client::InboxServiceClient,
        ingest_service_client::IngestServiceClient, watch_inbox_response::Event as Shown,
    },
};
use diwan_runtime::ids;
use diwan_testkit::Person;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::timeout,
};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{AGENTS, Company, TEAMS};

/// After every so many closed ones an agent takes one by hand, whatever his limit says.
const BY_HAND: usize = 5;
/// An agent who has heard of nothing new for so long looks what he holds.
const IDLE: Duration = Duration::from_millis(250);

impl Company {
    /// Keeps an agent's inbox open, on whichever replica there is, and hands on what he is given.
    pub async fn stay(self: Arc<Self>, agent: usize, given: UnboundedSender<String>) {
        let person = &self.agents[agent].0;
        let me = person.user.to_string();
        for turn in agent.. {
            let mut client = InboxServiceClient::new(self.to(turn % 2));
            let request = self.world.request(person, WatchInboxRequest::default());
            if let Ok(stream) = client.watch_inbox(request).await {
                let mut stream = stream.into_inner();
                while let Ok(Some(response)) = stream.message().await {
                    let Some(Shown::Changed(changed)) = response.event else { continue };
                    let conversation = changed.conversation.unwrap();
                    if conversation.state() == ConversationState::Open && conversation.holder_id == me {
                        let _ = given.send(conversation.id);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Brings in so many conversations, every second one by the other replica.
    pub async fn bring(self: Arc<Self>, lane: usize, count: usize) {
        let signer = self.world.signer("mailbox");
        for number in 0..count {
            let id = ids::new_id();
            let mail = IngestMessageRequest {
                account_id: self.owner.account.to_string(),
                message_id: id.to_string(),
                mailbox_id: self.teams[0].to_string(),
                mailbox_address: "support@shop.example".into(),
                team_id: self.teams[(lane + number) % TEAMS].to_string(),
                from_email: format!("{id}@customer.example"),
                rfc_message_id: format!("{id}@mail.example"),
                ..Default::default()
            };
            for turn in number.. {
                let mut client = IngestServiceClient::new(self.to(turn % 2).signed(&signer));
                if outcome(client.ingest_message(mail.clone()).await).await.is_some() {
                    break;
                }
            }
        }
    }

    /// Closes what an agent is given and now and then takes one by hand, until `left` conversations have been closed by all.
    async fn work(self: Arc<Self>, agent: usize, mut given: UnboundedReceiver<String>, left: Arc<AtomicUsize>) {
        let (person, team) = &self.agents[agent];
        let me = person.user.to_string();
        for turn in agent.. {
            if left.load(Ordering::SeqCst) == 0 {
                return;
            }
            let mine = match timeout(IDLE, given.recv()).await {
                Ok(id) => id.into_iter().collect(),
                Err(_) => self.list(turn % 2, person, ConversationState::Open, me.clone(), Uuid::nil()).await,
            };
            for id in &mine {
                if self.close(turn % 2, person, id).await {
                    left.fetch_sub(1, Ordering::SeqCst);
                }
            }
            if turn % BY_HAND == 0 {
                let queue = self.list(turn % 2, person, ConversationState::Queued, String::new(), *team).await;
                if let Some(id) = queue.get(turn % queue.len().max(1)) {
                    self.take(turn % 2, person, id).await;
                }
            }
        }
    }

    pub async fn list(
        &self,
        replica: usize,
        person: &Person,
        state: ConversationState,
        holder_id: String,
        team: Uuid,
    ) -> Vec<String> {
        let team_id = if team.is_nil() { String::new() } else { team.to_string() };
        let page = Some(PageRequest { size: 8, token: String::new() });
        let request = ListConversationsRequest { state: state.into(), holder_id, team_id, page };
        let answer = self.conversations(replica).list_conversations(self.world.request(person, request)).await;
        let listed = outcome(answer).await.flatten().unwrap_or_default();
        listed.conversations.into_iter().map(|conversation| conversation.id).collect()
    }

    /// Whether this call closed it. A call whose answer got lost is repeated under its id, by the other replica.
    pub async fn close(&self, replica: usize, person: &Person, id: &str) -> bool {
        let request =
            CloseConversationRequest { request_id: ids::new_id().to_string(), conversation_id: id.to_owned() };
        for turn in replica.. {
            let request = self.world.request(person, request.clone());
            if let Some(answer) = outcome(self.conversations(turn % 2).close_conversation(request).await).await {
                return answer.is_some();
            }
        }
        unreachable!()
    }

    async fn take(&self, replica: usize, person: &Person, id: &str) {
        let request = TakeConversationRequest { request_id: ids::new_id().to_string(), conversation_id: id.to_owned() };
        for turn in replica.. {
            let request = self.world.request(person, request.clone());
            if outcome(self.conversations(turn % 2).take_conversation(request).await).await.is_some() {
                return;
            }
        }
    }

    /// Has all agents work until so many conversations are closed. Returns how long it took.
    pub async fn run(self: &Arc<Self>, conversations: usize) -> Duration {
        let (mut streams, mut work) = (JoinSet::new(), JoinSet::new());
        let (start, left) = (Instant::now(), Arc::new(AtomicUsize::new(conversations)));
        for agent in 0..AGENTS {
            let (given, received) = unbounded_channel();
            streams.spawn(self.clone().stay(agent, given));
            work.spawn(self.clone().work(agent, received, left.clone()));
        }
        work.join_all().await;
        start.elapsed()
    }
}

/// `Some(None)`: refused for good. `None`: the replica is away or overloaded; the caller tries the other one.
pub async fn outcome<T>(answer: Result<tonic::Response<T>, Status>) -> Option<Option<T>> {
    match answer {
        Ok(answer) => Some(Some(answer.into_inner())),
        Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::NotFound) => Some(None),
        Err(status) => {
            assert!(
                matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal),
                "{status:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
            None
        }
    }
}
