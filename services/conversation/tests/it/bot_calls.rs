//! What a bot, and whoever keeps bots, calls.

use diwan_proto::{
    conversation::v1::{
        Bot, BotTurn, ClaimBotTurnsRequest, ClaimBotTurnsResponse, CloseBotConversationRequest, Conversation,
        CreateBotRequest, CreateRoutingRuleRequest, DisableBotRequest, ExternalBot, HandOverBotConversationRequest,
        IngestMessageRequest, ListBotTurnsRequest, ListNotesRequest, Message, Note, RetireBotRequest,
        RoutingConditions, SendBotReplyRequest, bot_service_client::BotServiceClient,
        bot_turn_service_client::BotTurnServiceClient, note_service_client::NoteServiceClient,
    },
    identity::v1::{ServicePrincipal, ServicePrincipalChanged},
};
use diwan_runtime::ids;
use diwan_testkit::Person;
use diwan_transport::Transport;
use tonic::Status;
use uuid::Uuid;

use crate::support::Office;

/// How long a customer may wait for the bot of [`Office::external_bot`], in seconds.
pub const ANSWER: i32 = 60;
/// How long it waits for a customer, in seconds.
pub const PATIENCE: i32 = 3_600;

pub fn new() -> String {
    ids::new_id().to_string()
}

/// Every mail.
pub fn anything() -> RoutingConditions {
    RoutingConditions { channels: vec![diwan_proto::conversation::v1::Channel::Email.into()], ..Default::default() }
}

impl Office {
    pub fn bots(&self) -> BotServiceClient<Transport> {
        BotServiceClient::new(self.world.to("conversation"))
    }

    pub fn turns(&self) -> BotTurnServiceClient<Transport> {
        BotTurnServiceClient::new(self.world.to("conversation"))
    }

    pub async fn create_bot(&self, bot: CreateBotRequest) -> Result<Bot, Status> {
        let request = CreateBotRequest { request_id: new(), name: "Bot".into(), ..bot };
        Ok(self.bots().create_bot(self.world.request(&self.owner, request)).await?.into_inner().bot.unwrap())
    }

    /// A bot that every mail starts with, its team being the prospective one.
    pub async fn starts_with(&self, bot: CreateBotRequest) -> Bot {
        let bot = self.create_bot(bot).await.unwrap();
        self.start_all_with(&bot.id).await;
        bot
    }

    async fn start_all_with(&self, bot: &str) {
        let rule = CreateRoutingRuleRequest {
            conditions: Some(anything()),
            team_id: self.team.to_string(),
            bot_id: bot.to_owned(),
            ..Default::default()
        };
        self.try_rule(rule).await.unwrap();
    }

    /// Identity tells of a service principal of an account.
    pub fn set_principal(&self, account: Uuid, id: Uuid) {
        let principal = ServicePrincipal { id: id.to_string(), account_id: account.to_string(), ..Default::default() };
        self.users.write(account, id, 1, &ServicePrincipalChanged { principal: Some(principal) });
    }

    /// An external bot that nothing starts with yet.
    pub async fn robot(&self) -> Robot<'_> {
        let principal = ids::new_id();
        self.set_principal(self.owner.account, principal);
        let external = Some(ExternalBot { principal_id: principal.to_string(), answer_seconds: ANSWER });
        let bot = CreateBotRequest { external, patience_seconds: PATIENCE, ..Default::default() };
        Robot { office: self, principal, id: self.create_bot(bot).await.unwrap().id }
    }

    /// An external bot that every mail starts with.
    pub async fn external_bot(&self) -> Robot<'_> {
        let robot = self.robot().await;
        self.start_all_with(&robot.id).await;
        robot
    }

    pub async fn disable_bot(&self, id: &str) -> Bot {
        let request = DisableBotRequest { request_id: new(), bot_id: id.to_owned() };
        let answer = self.bots().disable_bot(self.world.request(&self.owner, request)).await.unwrap();
        answer.into_inner().bot.unwrap()
    }

    pub async fn retire_bot(&self, id: &str) -> Bot {
        let request = RetireBotRequest { request_id: new(), bot_id: id.to_owned() };
        let answer = self.bots().retire_bot(self.world.request(&self.owner, request)).await.unwrap();
        answer.into_inner().bot.unwrap()
    }

    pub async fn notes(&self, person: &Person, id: Uuid) -> Result<Vec<Note>, Status> {
        let request = ListNotesRequest { conversation_id: id.to_string(), page: None };
        let mut client = NoteServiceClient::new(self.world.to("conversation"));
        Ok(client.list_notes(self.world.request(person, request)).await?.into_inner().notes)
    }

    /// The customer of a mail answers what he got last.
    pub async fn answers(&self, mail: &IngestMessageRequest, text: &str) -> Uuid {
        let id = new();
        self.deliver(IngestMessageRequest {
            message_id: id.clone(),
            rfc_message_id: format!("{id}@mail.example"),
            references: vec![mail.rfc_message_id.clone()],
            text: text.into(),
            ..mail.clone()
        })
        .await
    }
}

/// An external bot.
pub struct Robot<'a> {
    pub office: &'a Office,
    pub principal: Uuid,
    pub id: String,
}

impl Robot<'_> {
    pub fn request<M>(&self, message: M) -> tonic::Request<M> {
        let scopes = ["diwan.conversation.v1.BotTurnService"];
        self.office.world.principal((self.office.owner.account, self.principal), &scopes, message)
    }

    pub async fn turns(&self) -> Vec<BotTurn> {
        let request = self.request(ListBotTurnsRequest { page: None });
        self.office.turns().list_bot_turns(request).await.unwrap().into_inner().turns
    }

    pub async fn claim_for(&self, request_id: &str, lease: i32) -> Result<ClaimBotTurnsResponse, Status> {
        let (request_id, lease_seconds) = (request_id.to_owned(), lease);
        let request = self.request(ClaimBotTurnsRequest { request_id, max_turns: 50, lease_seconds });
        Ok(self.office.turns().claim_bot_turns(request).await?.into_inner())
    }

    pub async fn claim(&self) -> ClaimBotTurnsResponse {
        self.claim_for(&new(), 30).await.unwrap()
    }

    pub async fn answer(&self, id: Uuid, claim: &str, text: &str, more: bool) -> Result<Message, Status> {
        let request = SendBotReplyRequest {
            request_id: new(),
            conversation_id: id.to_string(),
            claim_id: claim.into(),
            text: text.into(),
            more,
        };
        self.send(request).await
    }

    pub async fn send(&self, request: SendBotReplyRequest) -> Result<Message, Status> {
        let answer = self.office.turns().send_bot_reply(self.request(request)).await?;
        Ok(answer.into_inner().message.unwrap())
    }

    pub async fn hand_over(
        &self,
        id: Uuid,
        claim: &str,
        (team, topics, note): (Option<Uuid>, &[&str], &str),
    ) -> Result<Conversation, Status> {
        let request = HandOverBotConversationRequest {
            request_id: new(),
            conversation_id: id.to_string(),
            claim_id: claim.into(),
            team_id: team.map(|team| team.to_string()).unwrap_or_default(),
            topic_ids: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            note: note.into(),
        };
        let answer = self.office.turns().hand_over_bot_conversation(self.request(request)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }

    pub async fn close(&self, id: Uuid, claim: &str) -> Result<Conversation, Status> {
        let request = CloseBotConversationRequest {
            request_id: new(),
            conversation_id: id.to_string(),
            claim_id: claim.into(),
            ..Default::default()
        };
        let answer = self.office.turns().close_bot_conversation(self.request(request)).await?;
        Ok(answer.into_inner().conversation.unwrap())
    }
}
