//! ContactGroupService.

use diwan_access::{User, account, user};
use diwan_fault::Fields;
use diwan_proto::conversation::v1::{
    AddContactToGroupRequest, AddContactToGroupResponse, Contact, CreateContactGroupRequest,
    CreateContactGroupResponse, DeleteContactGroupRequest, DeleteContactGroupResponse, ListContactGroupsRequest,
    ListContactGroupsResponse, ListGroupContactsRequest, ListGroupContactsResponse, RemoveContactFromGroupRequest,
    RemoveContactFromGroupResponse, RenameContactGroupRequest, RenameContactGroupResponse,
    contact_group_service_server::ContactGroupService,
};
use diwan_store::{Page, answers};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::Api;
use crate::{
    Error,
    domain::contact::shown_name,
    flow,
    store::groups::{self, Member},
};

const LONGEST_NAME: usize = 100;

#[tonic::async_trait]
impl ContactGroupService for Api {
    async fn create_contact_group(
        &self,
        request: Request<CreateContactGroupRequest>,
    ) -> Result<Response<CreateContactGroupResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let name = fields.line("name", &message.name, 1..=LONGEST_NAME);
        fields.finish()?;
        let once = once(&caller, &request_id, "CreateContactGroup", &message);
        let now = self.0.clock.now();
        let create = async |tx: &mut PgConnection| {
            let group = flow::groups::create(tx, caller.account_id, &name, now).await?;
            Ok::<_, Error>(CreateContactGroupResponse { group: Some(group.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, create).await?))
    }

    async fn list_contact_groups(
        &self,
        request: Request<ListContactGroupsRequest>,
    ) -> Result<Response<ListContactGroupsResponse>, Status> {
        let found = groups::list(self.0.database.pool(), account(&request)?).await?;
        let groups = found.iter().map(groups::Group::to_proto).collect();
        Ok(Response::new(ListContactGroupsResponse { groups }))
    }

    async fn rename_contact_group(
        &self,
        request: Request<RenameContactGroupRequest>,
    ) -> Result<Response<RenameContactGroupResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("group_id", &message.group_id);
        let name = fields.line("name", &message.name, 1..=LONGEST_NAME);
        fields.finish()?;
        let once = once(&caller, &request_id, "RenameContactGroup", &message);
        let now = self.0.clock.now();
        let rename = async |tx: &mut PgConnection| {
            let group = flow::groups::rename(tx, caller.account_id, id, &name, now).await?;
            Ok::<_, Error>(RenameContactGroupResponse { group: Some(group.to_proto()) })
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, rename).await?))
    }

    async fn delete_contact_group(
        &self,
        request: Request<DeleteContactGroupRequest>,
    ) -> Result<Response<DeleteContactGroupResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("group_id", &message.group_id);
        fields.finish()?;
        let once = once(&caller, &request_id, "DeleteContactGroup", &message);
        let now = self.0.clock.now();
        let delete = async |tx: &mut PgConnection| {
            flow::groups::delete(tx, caller.account_id, id, now).await?;
            Ok::<_, Error>(DeleteContactGroupResponse {})
        };
        Ok(Response::new(self.0.database.answer_once(&once, now, delete).await?))
    }

    async fn add_contact_to_group(
        &self,
        request: Request<AddContactToGroupRequest>,
    ) -> Result<Response<AddContactToGroupResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let ids = (message.request_id.as_str(), message.group_id.as_str(), message.contact_id.as_str());
        self.set_member(&caller, ("AddContactToGroup", &message), ids, true).await
    }

    async fn remove_contact_from_group(
        &self,
        request: Request<RemoveContactFromGroupRequest>,
    ) -> Result<Response<RemoveContactFromGroupResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let ids = (message.request_id.as_str(), message.group_id.as_str(), message.contact_id.as_str());
        self.set_member(&caller, ("RemoveContactFromGroup", &message), ids, false).await
    }

    async fn list_group_contacts(
        &self,
        request: Request<ListGroupContactsRequest>,
    ) -> Result<Response<ListGroupContactsResponse>, Status> {
        let caller = user(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let id = fields.uuid("group_id", &message.group_id);
        let page = Page::<Uuid>::read(&mut fields, &("ListGroupContacts", id), message.page.as_ref());
        fields.finish()?;
        let pool = self.0.database.pool();
        if !groups::exists(pool, caller.account_id, id).await? {
            return Err(Error::GroupNotFound.into());
        }
        let rows = groups::members(pool, caller.account_id, id, page.after().copied(), page.limit()).await?;
        let (rows, info) = page.finish(rows, |row| row.id);
        Ok(Response::new(ListGroupContactsResponse {
            contacts: rows.into_iter().map(contact).collect(),
            page: Some(info),
        }))
    }
}

impl Api {
    /// Puts a contact into a group or takes him out, given as (`request_id`, `group_id`, `contact_id`).
    async fn set_member<M: prost::Name, A: prost::Name + Default>(
        &self,
        caller: &User,
        (method, message): (&'static str, &M),
        (request_id, group, contact): (&str, &str, &str),
        member: bool,
    ) -> Result<Response<A>, Status> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(request_id);
        let ids = (fields.uuid("group_id", group), fields.uuid("contact_id", contact));
        fields.finish()?;
        let once = once(caller, &request_id, method, message);
        let set = async |tx: &mut PgConnection| {
            flow::groups::set_member(tx, caller.account_id, ids, member).await?;
            Ok::<_, Error>(A::default())
        };
        Ok(Response::new(self.0.database.answer_once(&once, self.0.clock.now(), set).await?))
    }
}

fn once(caller: &User, request_id: &str, method: &'static str, message: &impl prost::Name) -> answers::Request {
    answers::Request::new(caller.account_id, request_id, method, message).by(caller.user_id)
}

/// As owner and admins see him.
fn contact(member: Member) -> Contact {
    Contact {
        id: member.id.to_string(),
        name: shown_name(&member.name, &member.email, true),
        email: member.email,
        country: member.country.unwrap_or_default(),
        group_ids: member.group_ids.iter().map(ToString::to_string).collect(),
    }
}
