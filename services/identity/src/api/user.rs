//! The members of an account.

use diwan_access::{User as Viewer, user, viewer};
use diwan_fault::{Fault, Fields};
use diwan_proto::identity::v1::{
    AcceptInvitationRequest, AcceptInvitationResponse, DeactivateUserRequest, DeactivateUserResponse, GetUserRequest,
    GetUserResponse, InviteUserRequest, InviteUserResponse, ListUsersRequest, ListUsersResponse, ReactivateUserRequest,
    ReactivateUserResponse, user_service_server::UserService,
};
use diwan_store::Page;
use jiff::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, encode};
use crate::{error::Error, store::users};

#[tonic::async_trait]
impl UserService for Api {
    async fn invite_user(&self, request: Request<InviteUserRequest>) -> Result<Response<InviteUserResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.invite(&caller, request.into_inner()).await?))
    }

    async fn accept_invitation(
        &self,
        request: Request<AcceptInvitationRequest>,
    ) -> Result<Response<AcceptInvitationResponse>, Status> {
        Ok(Response::new(self.accept(request.into_inner()).await?))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        let caller = viewer(&request)?;
        let mut fields = Fields::new();
        let id = fields.optional_uuid("user_id", &request.get_ref().user_id).unwrap_or(caller.user_id);
        fields.finish()?;
        let user = self.find(caller.account_id, id).await.map_err(Fault::from)?;
        Ok(Response::new(GetUserResponse { user: Some(encode::user_for(&caller, &user)) }))
    }

    async fn list_users(&self, request: Request<ListUsersRequest>) -> Result<Response<ListUsersResponse>, Status> {
        let caller = viewer(&request)?;
        Ok(Response::new(self.list(&caller, &request.into_inner()).await?))
    }

    async fn deactivate_user(
        &self,
        request: Request<DeactivateUserRequest>,
    ) -> Result<Response<DeactivateUserResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.deactivate(&caller, request.into_inner()).await?))
    }

    async fn reactivate_user(
        &self,
        request: Request<ReactivateUserRequest>,
    ) -> Result<Response<ReactivateUserResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.reactivate(&caller, request.into_inner()).await?))
    }
}

impl Api {
    async fn list(&self, caller: &Viewer, message: &ListUsersRequest) -> Result<ListUsersResponse, Fault> {
        let account = caller.account_id;
        let mut fields = Fields::new();
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &("ListUsers", account), message.page.as_ref());
        fields.finish()?;
        let mut connection = self.database.pool().acquire().await.map_err(Error::from)?;
        let found = users::list(&mut connection, account, None, page.after(), page.limit()).await?;
        let (users, info) = page.finish(found, |user| (user.created_at, user.id));
        let users = users.iter().map(|user| encode::user_for(caller, user)).collect();
        Ok(ListUsersResponse { users, page: Some(info) })
    }
}
