//! Departments.

use diwan_access::user;
use diwan_fault::Fields;
use diwan_proto::team::v1::{
    self as proto, AssignDepartmentRequest, AssignDepartmentResponse, CreateDepartmentRequest,
    CreateDepartmentResponse, GetDepartmentRequest, GetDepartmentResponse, ListDepartmentMembersRequest,
    ListDepartmentMembersResponse, ListDepartmentsRequest, ListDepartmentsResponse, RemoveDepartmentRequest,
    RemoveDepartmentResponse, UpdateDepartmentRequest, UpdateDepartmentResponse,
    department_service_server::DepartmentService,
};
use diwan_store::{Page, answers};
use prost_types::FieldMask;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    api::Api,
    change::departments as change,
    domain::{Department, DepartmentChanges, Place},
    error::Error,
    store::departments,
};

const CHANGEABLE: [&str; 3] = ["name", "parent_id", "head_id"];

#[tonic::async_trait]
impl DepartmentService for Api {
    async fn create_department(
        &self,
        request: Request<CreateDepartmentRequest>,
    ) -> Result<Response<CreateDepartmentResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let name = name(&mut fields, "name", &message.name);
        let parent = fields.optional_uuid("parent_id", &message.parent_id);
        let head = fields.uuid("head_id", &message.head_id);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "CreateDepartment", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let department = change::create(tx, account, (name.clone(), parent, head), now).await?;
                Ok::<_, Error>(CreateDepartmentResponse { department: Some(department.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn get_department(
        &self,
        request: Request<GetDepartmentRequest>,
    ) -> Result<Response<GetDepartmentResponse>, Status> {
        let account = user(&request)?.account_id;
        let mut fields = Fields::new();
        let id = fields.uuid("department_id", &request.get_ref().department_id);
        fields.finish()?;
        let department = self.department(account, id).await?;
        Ok(Response::new(GetDepartmentResponse { department: Some(department.into()) }))
    }

    async fn list_departments(
        &self,
        request: Request<ListDepartmentsRequest>,
    ) -> Result<Response<ListDepartmentsResponse>, Status> {
        let account = user(&request)?.account_id;
        let mut fields = Fields::new();
        let page = request.into_inner().page;
        let page = Page::<(String, Uuid)>::read(&mut fields, &("ListDepartments", account), page.as_ref());
        fields.finish()?;
        let mut connection = self.connection().await?;
        let rows = departments::list(&mut connection, account, page.after().cloned(), page.limit()).await;
        let (rows, info) = page.finish(rows.map_err(Error::from)?, |department| (department.name_key(), department.id));
        let departments = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListDepartmentsResponse { departments, page: Some(info) }))
    }

    async fn update_department(
        &self,
        request: Request<UpdateDepartmentRequest>,
    ) -> Result<Response<UpdateDepartmentResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let department = message.department.clone().unwrap_or_default();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("department.id", &department.id);
        let changes = changes(&mut fields, &department, message.update_mask.as_ref());
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "UpdateDepartment", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let department = change::update(tx, account, id, &changes, now).await?;
                Ok::<_, Error>(UpdateDepartmentResponse { department: Some(department.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn remove_department(
        &self,
        request: Request<RemoveDepartmentRequest>,
    ) -> Result<Response<RemoveDepartmentResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("department_id", &message.department_id);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "RemoveDepartment", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                change::remove(tx, account, id, now).await?;
                Ok::<_, Error>(RemoveDepartmentResponse {})
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn assign_department(
        &self,
        request: Request<AssignDepartmentRequest>,
    ) -> Result<Response<AssignDepartmentResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let member = fields.uuid("user_id", &message.user_id);
        let department = fields.optional_uuid("department_id", &message.department_id);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "AssignDepartment", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                change::assign(tx, account, member, department, now).await?;
                Ok::<_, Error>(AssignDepartmentResponse {})
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn list_department_members(
        &self,
        request: Request<ListDepartmentMembersRequest>,
    ) -> Result<Response<ListDepartmentMembersResponse>, Status> {
        let account = user(&request)?.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let id = fields.uuid("department_id", &message.department_id);
        let page = Page::<Uuid>::read(&mut fields, &("ListDepartmentMembers", account, id), message.page.as_ref());
        fields.finish()?;
        self.department(account, id).await?;
        let mut connection = self.connection().await?;
        let rows = departments::members(&mut connection, account, id, page.after().copied(), page.limit()).await;
        let (users, info) = page.finish(rows.map_err(Error::from)?, |user| *user);
        let user_ids = users.iter().map(Uuid::to_string).collect();
        Ok(Response::new(ListDepartmentMembersResponse { user_ids, page: Some(info) }))
    }
}

impl Api {
    async fn department(&self, account: Uuid, id: Uuid) -> Result<Department, Error> {
        let found = departments::find(&mut *self.connection().await?, account, id).await?;
        found.ok_or(Error::DepartmentNotFound(id))
    }
}

fn name(fields: &mut Fields, field: &str, value: &str) -> String {
    fields.line(field, value, 1..=100)
}

/// The new values of the fields that `mask` names; the others are not looked at.
fn changes(fields: &mut Fields, department: &proto::Department, mask: Option<&FieldMask>) -> DepartmentChanges {
    let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
    if paths.is_empty() {
        fields.refuse("update_mask", "FIELD_REQUIRED", &[]);
    } else if !paths.iter().all(|path| CHANGEABLE.contains(&path.as_str())) {
        fields.refuse("update_mask", "FIELD_VALUE", &[("values", CHANGEABLE.join(", "))]);
    }
    let named = |field: &str| paths.iter().any(|path| path == field);
    DepartmentChanges {
        name: named("name").then(|| name(fields, "department.name", &department.name)),
        place: named("parent_id")
            .then(|| fields.optional_uuid("department.parent_id", &department.parent_id))
            .map(|parent| parent.map_or(Place::Top, Place::Below)),
        head: named("head_id").then(|| fields.uuid("department.head_id", &department.head_id)),
    }
}
