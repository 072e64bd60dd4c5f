//! BotService.

use std::time::Duration;

use diwan_access::{User, user};
use diwan_fault::Fields;
use diwan_proto::conversation::v1::{
    CreateBotRequest, CreateBotResponse, DisableBotRequest, DisableBotResponse, EnableBotRequest, EnableBotResponse,
    ExternalBot, GetBotRequest, GetBotResponse, ListBotsRequest, ListBotsResponse, MenuBot, RetireBotRequest,
    RetireBotResponse, UpdateBotRequest, UpdateBotResponse, bot_service_server::BotService,
};
use diwan_store::{Page, answers};
use sqlx::PgConnection;
use tokio::time::{Instant, sleep};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, menus};
use crate::{
    Error,
    flow::{
        self,
        bots::{Content, Kind},
    },
    store::{
        bots::{self, Bot},
        principals,
    },
};

const LONGEST_NAME: usize = 100;
/// A day.
const LONGEST_ANSWER: i32 = 86_400;
/// A week.
const LONGEST_PATIENCE: i32 = 604_800;
/// How long a bot's service principal may be on its way here, and how often that is looked at.
const MOMENT: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(50);

#[tonic::async_trait]
impl BotService for Api {
    async fn create_bot(&self, request: Request<CreateBotRequest>) -> Result<Response<CreateBotResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let kind = kind(&mut fields, (message.menu.as_ref(), message.external.as_ref()));
        let content = content(&mut fields, (&message.name, message.patience_seconds), kind);
        fields.finish()?;
        let content = content.ok_or_else(|| Status::internal("checked"))?;
        self.hear_of(caller.account_id, &content.kind).await?;
        let once = once(&caller, &request_id, "CreateBot", &message);
        let now = self.0.clock.now();
        let create = async |tx: &mut PgConnection| {
            let bot = flow::bots::create(tx, caller.account_id, &content, now).await?;
            Ok::<_, Error>(CreateBotResponse { bot: Some(bot.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, create).await?))
    }

    async fn get_bot(&self, request: Request<GetBotRequest>) -> Result<Response<GetBotResponse>, Status> {
        let caller = user(&request)?;
        let mut fields = Fields::new();
        let id = fields.uuid("bot_id", &request.get_ref().bot_id);
        fields.finish()?;
        let found = bots::find(self.0.database.pool(), caller.account_id, id).await?.ok_or(Error::BotNotFound)?;
        Ok(Response::new(GetBotResponse { bot: Some(found.to_proto()) }))
    }

    async fn list_bots(&self, request: Request<ListBotsRequest>) -> Result<Response<ListBotsResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let asked = ("ListBots", caller.account_id, message.include_retired);
        let page = Page::<Uuid>::read(&mut fields, &asked, message.page.as_ref());
        fields.finish()?;
        let (pool, after) = (self.0.database.pool(), page.after().copied());
        let (rows, fit) = bots::list(pool, caller.account_id, message.include_retired, after, page.limit()).await?;
        let (rows, info) = page.at_most(fit).finish(rows, |row| row.id);
        let bots = rows.iter().map(Bot::to_proto).collect();
        Ok(Response::new(ListBotsResponse { bots, page: Some(info) }))
    }

    async fn update_bot(&self, request: Request<UpdateBotRequest>) -> Result<Response<UpdateBotResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("bot_id", &message.bot_id);
        let kind = kind(&mut fields, (message.menu.as_ref(), message.external.as_ref()));
        let content = content(&mut fields, (&message.name, message.patience_seconds), kind);
        fields.finish()?;
        let content = content.ok_or_else(|| Status::internal("checked"))?;
        self.hear_of(caller.account_id, &content.kind).await?;
        let once = once(&caller, &request_id, "UpdateBot", &message);
        let now = self.0.clock.now();
        let update = async |tx: &mut PgConnection| {
            let bot = flow::bots::update(tx, caller.account_id, id, &content, now).await?;
            Ok::<_, Error>(UpdateBotResponse { bot: Some(bot.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, update).await?))
    }

    async fn enable_bot(&self, request: Request<EnableBotRequest>) -> Result<Response<EnableBotResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let (request_id, id) = ids(&message.request_id, &message.bot_id)?;
        let once = once(&caller, &request_id, "EnableBot", &message);
        let now = self.0.clock.now();
        let enable = async |tx: &mut PgConnection| {
            let bot = flow::bots::enable(tx, caller.account_id, id, true, now).await?;
            Ok::<_, Error>(EnableBotResponse { bot: Some(bot.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, enable).await?))
    }

    async fn disable_bot(&self, request: Request<DisableBotRequest>) -> Result<Response<DisableBotResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let (request_id, id) = ids(&message.request_id, &message.bot_id)?;
        let once = once(&caller, &request_id, "DisableBot", &message);
        let now = self.0.clock.now();
        let disable = async |tx: &mut PgConnection| {
            let bot = flow::bots::enable(tx, caller.account_id, id, false, now).await?;
            Ok::<_, Error>(DisableBotResponse { bot: Some(bot.to_proto()) })
        };
        let answer = self.0.database.answer_once(&once, now, disable).await?;
        self.0.bot_times_changed.notify_one();
        Ok(Response::new(answer))
    }

    async fn retire_bot(&self, request: Request<RetireBotRequest>) -> Result<Response<RetireBotResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let (request_id, id) = ids(&message.request_id, &message.bot_id)?;
        let once = once(&caller, &request_id, "RetireBot", &message);
        let now = self.0.clock.now();
        let retire = async |tx: &mut PgConnection| {
            let bot = flow::bots::retire(tx, caller.account_id, id, now).await?;
            Ok::<_, Error>(RetireBotResponse { bot: Some(bot.to_proto()) })
        };
        let answer = self.0.database.answer_once(&once, now, retire).await?;
        self.0.bot_times_changed.notify_one();
        Ok(Response::new(answer))
    }
}

impl Api {
    /// Gives identity's feed a moment to tell of a service principal: whoever has just made it need not wait.
    async fn hear_of(&self, account: Uuid, kind: &Kind) -> Result<(), Error> {
        let Kind::External(principal, _) = kind else { return Ok(()) };
        let end = Instant::now() + MOMENT;
        while !principals::is_known(self.0.database.pool(), account, *principal).await? && Instant::now() < end {
            sleep(LOOK).await;
        }
        Ok(())
    }
}

fn once(caller: &User, request_id: &str, method: &'static str, message: &impl prost::Name) -> answers::Request {
    answers::Request::new(caller.account_id, request_id, method, message).by(caller.user_id)
}

fn ids(request_id: &str, bot: &str) -> Result<(String, Uuid), Status> {
    let mut fields = Fields::new();
    let ids = (fields.request_id(request_id), fields.uuid("bot_id", bot));
    fields.finish()?;
    Ok(ids)
}

/// Exactly one of them; both are checked.
fn kind(fields: &mut Fields, asked: (Option<&MenuBot>, Option<&ExternalBot>)) -> Option<Kind> {
    let menu = asked.0.map(|menu| Kind::Menu(menus::menu(fields, "menu", menu)));
    let external = asked.1.map(|external| {
        let principal = fields.uuid("external.principal_id", &external.principal_id);
        let seconds = fields.number("external.answer_seconds", external.answer_seconds, 1..=LONGEST_ANSWER);
        Kind::External(principal, seconds)
    });
    if menu.is_some() == external.is_some() {
        fields.refuse("menu", "FIELD_ONE_OF", &[("fields", "menu, external".to_owned())]);
    }
    menu.or(external)
}

fn content(fields: &mut Fields, (name, patience): (&str, i32), kind: Option<Kind>) -> Option<Content> {
    let name = fields.line("name", name, 1..=LONGEST_NAME);
    let patience_seconds = fields.number("patience_seconds", patience, 0..=LONGEST_PATIENCE);
    kind.map(|kind| Content { name, kind, patience_seconds })
}
