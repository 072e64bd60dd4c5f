//! TopicService.

use diwan_access::{User, user};
use diwan_fault::{Fault, Fields};
use diwan_proto::conversation::v1::{
    ArchiveTopicRequest, ArchiveTopicResponse, CreateTopicRequest, CreateTopicResponse, GetTopicRequest,
    GetTopicResponse, ListTopicsRequest, ListTopicsResponse, MoveTopicRequest, MoveTopicResponse, RenameTopicRequest,
    RenameTopicResponse, SetConversationTopicsRequest, SetConversationTopicsResponse, UnarchiveTopicRequest,
    UnarchiveTopicResponse, topic_service_server::TopicService,
};
use diwan_store::{Page, answers};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, shown::shown};
use crate::{Error, flow, store::topics};

const LONGEST_NAME: usize = 100;
/// The most topics of one conversation.
const MOST: usize = 20;

#[tonic::async_trait]
impl TopicService for Api {
    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let name = fields.line("name", &message.name, 1..=LONGEST_NAME);
        let parent = fields.optional_uuid("parent_id", &message.parent_id);
        fields.finish()?;
        let once = once(&caller, &request_id, "CreateTopic", &message);
        let now = self.0.clock.now();
        let create = async |tx: &mut PgConnection| {
            let topic = flow::topics::create(tx, caller.account_id, &name, parent, now).await?;
            Ok::<_, Error>(CreateTopicResponse { topic: Some(topic.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, create).await?))
    }

    async fn get_topic(&self, request: Request<GetTopicRequest>) -> Result<Response<GetTopicResponse>, Status> {
        let caller = user(&request)?;
        let mut fields = Fields::new();
        let id = fields.uuid("topic_id", &request.get_ref().topic_id);
        fields.finish()?;
        let found = topics::find(self.0.database.pool(), caller.account_id, id).await?.ok_or(Error::TopicNotFound)?;
        Ok(Response::new(GetTopicResponse { topic: Some(found.to_proto()) }))
    }

    async fn list_topics(&self, request: Request<ListTopicsRequest>) -> Result<Response<ListTopicsResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let asked = ("ListTopics", caller.account_id, message.archived);
        let page = Page::<Uuid>::read(&mut fields, &asked, message.page.as_ref());
        fields.finish()?;
        let (pool, after) = (self.0.database.pool(), page.after().copied());
        let rows = topics::list(pool, caller.account_id, message.archived, after, page.limit()).await?;
        let (rows, info) = page.finish(rows, |topic| topic.id);
        let topics = rows.iter().map(topics::Topic::to_proto).collect();
        Ok(Response::new(ListTopicsResponse { topics, page: Some(info) }))
    }

    async fn rename_topic(
        &self,
        request: Request<RenameTopicRequest>,
    ) -> Result<Response<RenameTopicResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("topic_id", &message.topic_id);
        let name = fields.line("name", &message.name, 1..=LONGEST_NAME);
        fields.finish()?;
        let once = once(&caller, &request_id, "RenameTopic", &message);
        let now = self.0.clock.now();
        let rename = async |tx: &mut PgConnection| {
            let topic = flow::topics::rename(tx, caller.account_id, id, &name, now).await?;
            Ok::<_, Error>(RenameTopicResponse { topic: Some(topic.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, rename).await?))
    }

    async fn move_topic(&self, request: Request<MoveTopicRequest>) -> Result<Response<MoveTopicResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("topic_id", &message.topic_id);
        let parent = fields.optional_uuid("parent_id", &message.parent_id);
        fields.finish()?;
        let once = once(&caller, &request_id, "MoveTopic", &message);
        let now = self.0.clock.now();
        let place = async |tx: &mut PgConnection| {
            let topic = flow::topics::place(tx, caller.account_id, id, parent, now).await?;
            Ok::<_, Error>(MoveTopicResponse { topic: Some(topic.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, place).await?))
    }

    async fn archive_topic(
        &self,
        request: Request<ArchiveTopicRequest>,
    ) -> Result<Response<ArchiveTopicResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let (request_id, id) = request_id_and_id(&message.request_id, &message.topic_id)?;
        let once = once(&caller, &request_id, "ArchiveTopic", &message);
        let now = self.0.clock.now();
        let archive = async |tx: &mut PgConnection| {
            let topic = flow::topics::archive(tx, caller.account_id, id, now).await?;
            Ok::<_, Error>(ArchiveTopicResponse { topic: Some(topic.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, archive).await?))
    }

    async fn unarchive_topic(
        &self,
        request: Request<UnarchiveTopicRequest>,
    ) -> Result<Response<UnarchiveTopicResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let (request_id, id) = request_id_and_id(&message.request_id, &message.topic_id)?;
        let once = once(&caller, &request_id, "UnarchiveTopic", &message);
        let now = self.0.clock.now();
        let unarchive = async |tx: &mut PgConnection| {
            let topic = flow::topics::unarchive(tx, caller.account_id, id, now).await?;
            Ok::<_, Error>(UnarchiveTopicResponse { topic: Some(topic.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, unarchive).await?))
    }

    async fn set_conversation_topics(
        &self,
        request: Request<SetConversationTopicsRequest>,
    ) -> Result<Response<SetConversationTopicsResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("conversation_id", &message.conversation_id);
        let topics = topic_ids(&mut fields, &message.topic_ids);
        fields.finish()?;
        let scope = self.scope(&caller).await?;
        let once = once(&caller, &request_id, "SetConversationTopics", &message);
        let now = self.0.clock.now();
        let set = async |tx: &mut PgConnection| {
            let after = flow::label::set_topics(tx, (&caller, &scope), id, &topics, now).await?;
            Ok::<_, Error>(SetConversationTopicsResponse { conversation: Some(shown(&after, &caller)?) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, set).await?))
    }
}

fn once(caller: &User, request_id: &str, method: &'static str, message: &impl prost::Name) -> answers::Request {
    answers::Request::new(caller.account_id, request_id, method, message).by(caller.user_id)
}

fn request_id_and_id(request_id: &str, id: &str) -> Result<(String, Uuid), Fault> {
    let mut fields = Fields::new();
    let request_id = fields.request_id(request_id);
    let id = fields.uuid("topic_id", id);
    fields.finish()?;
    Ok((request_id, id))
}

/// Ids of topics, sorted, each once.
fn topic_ids(fields: &mut Fields, values: &[String]) -> Vec<Uuid> {
    fields.distinct_uuids("topic_ids", values, 0..=MOST)
}
