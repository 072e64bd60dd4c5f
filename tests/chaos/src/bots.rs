//! Bots: a menu, and an external one that claims turns, answers, hands over, closes, and now and then dies with what it has claimed.

use std::time::{Duration, Instant};

use diwan_e2e::{
    Failure,
    door::{Door, request_id},
};
use diwan_proto::{
    conversation::v1::{
        BotTurn, ClaimBotTurnsRequest, CloseBotConversationRequest, Conversation, CreateBotRequest, DisableBotRequest,
        EnableBotRequest, ExternalBot, HandOverBotConversationRequest, LocalizedText, MenuBot, MenuEntry, MenuPage,
        SendBotReplyRequest, bot_service_client::BotServiceClient, bot_turn_service_client::BotTurnServiceClient,
    },
    identity::v1::{
        AddPrincipalCredentialRequest, CreateServicePrincipalRequest,
        service_principal_service_client::ServicePrincipalServiceClient,
    },
};
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use tokio::{sync::Mutex, time::sleep};
use uuid::Uuid;

use crate::{
    call::{As, At, Ended},
    operation::Outcome,
    person::{PASSWORD, Robot},
    stage::Stage,
};

/// For how long it claims turns, in seconds.
const LEASE: i32 = 2;
/// After so long a claim is over by any clock.
const LATE: Duration = Duration::from_secs(4);
/// Within this time every service knows of a new service principal.
const KNOWN: Duration = Duration::from_secs(30);

/// The bots of the account.
pub(crate) struct Bots {
    pub(crate) robot: Robot,
    pub(crate) external: Uuid,
    pub(crate) menu: Uuid,
    /// What the external one has claimed and left: since when, the conversation, the claim.
    left: Mutex<Vec<(Instant, String, String)>>,
}

macro_rules! ask {
    ($stage:ident, $who:expr, $random:ident, $request:expr, $client:ident, $method:ident) => {
        $stage
            .call($who, At::replica($random), &$request, |channel, request| async move {
                $client::new(channel).$method(request).await
            })
            .await?
    };
}

impl Bots {
    /// Makes both bots, and lets the external one in.
    pub(crate) async fn make(stage: &Stage, door: &Door) -> Result<Self, Failure> {
        let owner = door.with_token(&stage.owner.token().await)?;
        let mut principals = ServicePrincipalServiceClient::new(owner.way());
        let request = CreateServicePrincipalRequest {
            request_id: request_id(),
            name: "Bot".into(),
            scopes: vec!["diwan.conversation.v1.BotTurnService".into()],
            ..CreateServicePrincipalRequest::default()
        };
        let made = principals.create_service_principal(request).await?.into_inner();
        let principal_id = made.principal.ok_or("no principal was made")?.id;
        let request = AddPrincipalCredentialRequest {
            request_id: request_id(),
            principal_id: principal_id.clone(),
            password: PASSWORD.into(),
            ..AddPrincipalCredentialRequest::default()
        };
        let secret = principals.add_principal_credential(request).await?.into_inner().secret;
        let robot = Robot::enter(door, secret).await?;
        let external = CreateBotRequest {
            name: "External".into(),
            external: Some(ExternalBot { principal_id, answer_seconds: 5 }),
            ..CreateBotRequest::default()
        };
        let menu = CreateBotRequest { name: "Menu".into(), menu: Some(menu(stage)), ..CreateBotRequest::default() };
        let (external, menu) = (stage.make_bot(external).await?, stage.make_bot(menu).await?);
        Ok(Self { robot, external, menu, left: Mutex::default() })
    }
}

/// Answer 1 leads to a team, 2 to the routing rules with a topic.
fn menu(stage: &Stage) -> MenuBot {
    let say = |text: &str| vec![LocalizedText { language: "en".into(), text: text.into() }];
    let entries = vec![
        MenuEntry { labels: say("Sales"), team_id: stage.teams[1].clone(), ..MenuEntry::default() },
        MenuEntry { labels: say("Help"), topic_ids: stage.topics[..1].to_vec(), ..MenuEntry::default() },
    ];
    MenuBot {
        default_language: "en".into(),
        pages: vec![MenuPage { texts: say("What is it about?"), entries }],
        farewells: Vec::new(),
        most_misunderstood: 2,
    }
}

impl Stage {
    /// Makes a bot, as soon as its service principal is known there.
    async fn make_bot(&self, bot: CreateBotRequest) -> Result<Uuid, Failure> {
        let begun = Instant::now();
        loop {
            let request = CreateBotRequest { request_id: request_id(), patience_seconds: 8, ..bot.clone() };
            let made = self.call(As::Person(&self.owner), At::Replica(0), &request, |channel, request| async move {
                BotServiceClient::new(channel).create_bot(request).await
            });
            match made.await? {
                Ended::Refused(reason) if reason == "PRINCIPAL_NOT_FOUND" && begun.elapsed() < KNOWN => {
                    sleep(Duration::from_millis(50)).await;
                }
                ended => return Ok(ended.answered()?.bot.ok_or("no bot was made")?.id.parse()?),
            }
        }
    }

    fn robot(&self) -> As<'_> {
        As::Robot(&self.bots().robot)
    }

    /// Claims what waits for the external bot; empty: nothing does, or somebody else has it.
    async fn claim(&self, random: &mut StdRng, max_turns: i32) -> Result<(String, Vec<BotTurn>), Failure> {
        let request = ClaimBotTurnsRequest { request_id: request_id(), max_turns, lease_seconds: LEASE };
        let ended = ask!(self, self.robot(), random, request, BotTurnServiceClient, claim_bot_turns);
        let answer = ended.answered()?;
        Ok((answer.claim_id, answer.turns))
    }

    /// A turn that it has claimed: the conversation and the claim.
    async fn turn(&self, random: &mut StdRng) -> Result<Option<(String, String)>, Failure> {
        let (claim, turns) = self.claim(random, 1).await?;
        let conversation = turns.into_iter().find_map(|turn| turn.conversation);
        Ok(conversation.map(|conversation| (conversation.id, claim)))
    }

    pub(crate) async fn bot_answers(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some((conversation_id, claim_id)) = self.turn(random).await? else { return Ok(None) };
        let more = random.random_bool(0.2);
        self.say(random, conversation_id, claim_id, more).await
    }

    async fn say(
        &self,
        random: &mut StdRng,
        conversation_id: String,
        claim_id: String,
        more: bool,
    ) -> Result<Outcome, Failure> {
        let text = "Which order is it about?".to_owned();
        let request = SendBotReplyRequest { request_id: request_id(), conversation_id, claim_id, text, more };
        Ok(Some(match ask!(self, self.robot(), random, request, BotTurnServiceClient, send_bot_reply) {
            Ended::Refused(reason) => Ended::Refused(reason),
            Ended::Answered(answer) => {
                let message = answer.message.ok_or("no message in the answer")?;
                let said = (message.conversation_id.parse()?, self.bots().external);
                self.book.told().replies.insert(message.id.parse()?, said);
                Ended::Answered(())
            }
        }))
    }

    pub(crate) async fn bot_hands_over(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some((conversation_id, claim_id)) = self.turn(random).await? else { return Ok(None) };
        let by_rules = random.random_bool(0.3);
        let request = HandOverBotConversationRequest {
            request_id: request_id(),
            conversation_id,
            claim_id,
            team_id: self.teams.choose(random).filter(|_| !by_rules).cloned().unwrap_or_default(),
            topic_ids: self.topics.choose(random).cloned().into_iter().collect(),
            note: "He has lost his lamp.".into(),
        };
        let ended = ask!(self, self.robot(), random, request, BotTurnServiceClient, hand_over_bot_conversation);
        self.parted("BOT_HANDED_OVER", ended.map(|answer| answer.conversation))
    }

    pub(crate) async fn bot_closes(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let Some((conversation_id, claim_id)) = self.turn(random).await? else { return Ok(None) };
        let request = CloseBotConversationRequest {
            request_id: request_id(),
            conversation_id,
            claim_id,
            ..CloseBotConversationRequest::default()
        };
        let ended = ask!(self, self.robot(), random, request, BotTurnServiceClient, close_bot_conversation);
        self.parted("CLOSED", ended.map(|answer| answer.conversation))
    }

    fn parted(&self, cause: &'static str, ended: Ended<Option<Conversation>>) -> Result<Outcome, Failure> {
        self.shown(cause, self.bots().external, ended)
    }

    /// It claims turns and is never heard of again: what it has goes to others, or to the team.
    pub(crate) async fn bot_dies(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let (claim, turns) = self.claim(random, 3).await?;
        if turns.is_empty() {
            return Ok(None);
        }
        let conversations = turns.into_iter().filter_map(|turn| turn.conversation);
        let left = conversations.map(|conversation| (Instant::now(), conversation.id, claim.clone()));
        self.bots().left.lock().await.extend(left);
        Ok(Some(Ended::Answered(())))
    }

    /// One that was taken for dead comes back with its claim, which is over.
    pub(crate) async fn bot_is_late(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let mut left = self.bots().left.lock().await;
        let Some(place) = left.iter().position(|(since, ..)| since.elapsed() > LATE) else { return Ok(None) };
        let (_, conversation, claim) = left.swap_remove(place);
        drop(left);
        let ended = self.say(random, conversation, claim, false).await?;
        Ok(ended.map(|ended| match ended {
            Ended::Answered(()) => {
                self.book.told().late_claims += 1;
                Ended::Refused("ACCEPTED".into())
            }
            Ended::Refused(reason) if reason == "CLAIM_LOST" || reason == "NOT_WITH_BOT" => Ended::Answered(()),
            refused @ Ended::Refused(_) => refused,
        }))
    }

    pub(crate) async fn switch_bot(&self, random: &mut StdRng) -> Result<Outcome, Failure> {
        let bot = if random.random_bool(0.5) { self.bots().menu } else { self.bots().external };
        self.enable(At::replica(random), bot, random.random_bool(0.6)).await
    }

    /// Enables a bot, or disables it.
    pub(crate) async fn enable(&self, at: At, bot: Uuid, enabled: bool) -> Result<Outcome, Failure> {
        let (request_id, bot_id) = (request_id(), bot.to_string());
        let owner = As::Person(&self.owner);
        if enabled {
            let request = EnableBotRequest { request_id, bot_id };
            let ended = self.call(owner, at, &request, |channel, request| async move {
                BotServiceClient::new(channel).enable_bot(request).await
            });
            return Ok(ended.await?.done());
        }
        let request = DisableBotRequest { request_id, bot_id };
        let ended = self.call(owner, at, &request, |channel, request| async move {
            BotServiceClient::new(channel).disable_bot(request).await
        });
        Ok(ended.await?.done())
    }
}
