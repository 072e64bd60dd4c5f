//! What people do with conversations beyond taking, answering and closing.

use std::time::Duration;

use diwan_proto::conversation::v1::{
    AssignConversationRequest, AssignConversationResponse, Conversation, CreateTopicRequest, GetQueuePositionRequest,
    GetQueuePositionResponse, GetReassignmentRequest, HandOverConversationRequest, HandOverConversationResponse,
    IngestMessageRequest, MoveTopicRequest, Priority, Reassignment, ReassignmentState, SetConversationTopicsRequest,
    SetPriorityRequest, SnoozeConversationRequest, StartReassignmentRequest, Topic, Transition,
    UnsnoozeConversationRequest, UnsnoozeConversationResponse, handling_service_client::HandlingServiceClient,
    topic_service_client::TopicServiceClient,
};
use diwan_runtime::{clock::after, ids};
use diwan_testkit::{Person, eventually};
use diwan_transport::Transport;
use jiff::Timestamp;
use tonic::Status;
use uuid::Uuid;

use crate::support::{LIMIT, Office};

fn new() -> String {
    ids::new_id().to_string()
}

/// A time `ahead` of `now`, as a message says it.
pub fn ahead(now: Timestamp, ahead: Duration) -> prost_types::Timestamp {
    let at = after(now, ahead);
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}

impl Office {
    pub fn handling(&self) -> HandlingServiceClient<Transport> {
        HandlingServiceClient::new(self.world.to("conversation"))
    }

    pub fn topics(&self) -> TopicServiceClient<Transport> {
        TopicServiceClient::new(self.world.to("conversation"))
    }

    pub async fn assign(&self, by: &Person, id: Uuid, to: &Person) -> Result<AssignConversationResponse, Status> {
        let (request_id, user_id) = (new(), to.user.to_string());
        let request = AssignConversationRequest { request_id, conversation_id: id.to_string(), user_id };
        Ok(self.handling().assign_conversation(self.world.request(by, request)).await?.into_inner())
    }

    /// To a team, a person, or a person of a team.
    pub async fn hand_over(
        &self,
        by: &Person,
        id: Uuid,
        (team, user): (Option<Uuid>, Option<Uuid>),
    ) -> Result<HandOverConversationResponse, Status> {
        let text = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        let request = HandOverConversationRequest {
            request_id: new(),
            conversation_id: id.to_string(),
            team_id: text(team),
            user_id: text(user),
            note: String::new(),
        };
        Ok(self.handling().hand_over_conversation(self.world.request(by, request)).await?.into_inner())
    }

    pub async fn snooze(
        &self,
        by: &Person,
        id: Uuid,
        until: impl Into<Option<prost_types::Timestamp>>,
    ) -> Result<Conversation, Status> {
        let request =
            SnoozeConversationRequest { request_id: new(), conversation_id: id.to_string(), until: until.into() };
        let answer = self.handling().snooze_conversation(self.world.request(by, request)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }

    pub async fn unsnooze(&self, by: &Person, id: Uuid) -> Result<UnsnoozeConversationResponse, Status> {
        let request = UnsnoozeConversationRequest { request_id: new(), conversation_id: id.to_string() };
        Ok(self.handling().unsnooze_conversation(self.world.request(by, request)).await?.into_inner())
    }

    pub async fn set_priority(&self, by: &Person, id: Uuid, priority: Priority) -> Result<Conversation, Status> {
        let (request_id, conversation_id) = (new(), id.to_string());
        let request = SetPriorityRequest { request_id, conversation_id, priority: priority.into() };
        let answer = self.handling().set_priority(self.world.request(by, request)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }

    pub async fn position(&self, by: &Person, id: Uuid) -> Result<GetQueuePositionResponse, Status> {
        let request = GetQueuePositionRequest { conversation_id: id.to_string() };
        Ok(self.handling().get_queue_position(self.world.request(by, request)).await?.into_inner())
    }

    pub async fn reassign(&self, request: StartReassignmentRequest) -> Result<Reassignment, Status> {
        let request = StartReassignmentRequest { request_id: new(), ..request };
        let answer = self.handling().start_reassignment(self.world.request(&self.owner, request)).await?;
        Ok(answer.into_inner().reassignment.unwrap())
    }

    pub async fn reassignment(&self, id: &str) -> Reassignment {
        let request = GetReassignmentRequest { reassignment_id: id.to_owned() };
        let answer = self.handling().get_reassignment(self.world.request(&self.owner, request)).await.unwrap();
        answer.into_inner().reassignment.unwrap()
    }

    /// Waits until a reassignment is through.
    pub async fn reassigned(&self, id: &str) -> Reassignment {
        eventually("the reassignment is through", LIMIT, async || {
            let found = self.reassignment(id).await;
            (found.state() == ReassignmentState::Done).then_some(found)
        })
        .await
    }

    pub async fn create_topic(&self, by: &Person, name: &str, parent: &str) -> Result<Topic, Status> {
        let (name, parent_id) = (name.to_owned(), parent.to_owned());
        let request = CreateTopicRequest { request_id: new(), name, parent_id };
        Ok(self.topics().create_topic(self.world.request(by, request)).await?.into_inner().topic.unwrap())
    }

    pub async fn move_topic(&self, id: &str, parent: &str) -> Result<Topic, Status> {
        let (topic_id, parent_id) = (id.to_owned(), parent.to_owned());
        let request = MoveTopicRequest { request_id: new(), topic_id, parent_id };
        Ok(self.topics().move_topic(self.world.request(&self.owner, request)).await?.into_inner().topic.unwrap())
    }

    pub async fn label(&self, by: &Person, id: Uuid, topics: &[&Topic]) -> Result<Conversation, Status> {
        let topic_ids = topics.iter().map(|topic| topic.id.clone()).collect();
        let request = SetConversationTopicsRequest { request_id: new(), conversation_id: id.to_string(), topic_ids };
        let answer = self.topics().set_conversation_topics(self.world.request(by, request)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }

    /// A mail to another team.
    pub fn mail_to(&self, team: Uuid) -> IngestMessageRequest {
        IngestMessageRequest { team_id: team.to_string(), ..self.mail() }
    }

    /// A second team with this limit, known to the service.
    pub async fn second_team(&self, limit: i32) -> Uuid {
        let team = ids::new_id();
        self.set_team(team, 1, |team| team.assignment_limit = limit);
        self.until("select count(*) from teams", 2).await;
        team
    }

    pub async fn last_transition(&self, id: Uuid) -> Transition {
        self.transitions(id).await.pop().unwrap()
    }
}
