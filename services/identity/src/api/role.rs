//! Roles and grants, and the pages that follow from them.

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_proto::{
    access::v1::Role,
    identity::v1::{
        ChangeRoleRequest, ChangeRoleResponse, ListPagesRequest, ListPagesResponse, RevocationSubject,
        role_service_server::RoleService,
    },
};
use diwan_store::answers::Request as Once;
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Api, encode, fields};
use crate::{
    domain::User,
    error::Error,
    events,
    store::{offers, revocations, users},
};

#[tonic::async_trait]
impl RoleService for Api {
    async fn change_role(&self, request: Request<ChangeRoleRequest>) -> Result<Response<ChangeRoleResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.give_role(&caller, request.into_inner()).await?))
    }

    async fn list_pages(&self, request: Request<ListPagesRequest>) -> Result<Response<ListPagesResponse>, Status> {
        let pages = self.pages.of(&user(&request)?);
        Ok(Response::new(ListPagesResponse { pages: pages.into_iter().map(i32::from).collect() }))
    }
}

impl Api {
    async fn give_role(&self, caller: &Caller, message: ChangeRoleRequest) -> Result<ChangeRoleResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("user_id", &message.user_id);
        let role = fields::role(&mut fields, message.role);
        let grants = fields::grants(&mut fields, &message.grants);
        fields.finish()?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "ChangeRole", &message).by(caller.user_id);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let before = users::find_for_update(tx, account, id).await?.ok_or(Error::UserNotFound)?;
            let after = before.with_role(caller.user_id, role, &grants).map_err(Error::Refused)?;
            if let Some(user) = &after {
                apply(tx, user, now).await?;
            }
            if role != Role::Admin {
                offers::end_of(tx, account, id).await?;
            }
            let user = Some(encode::user(after.as_ref().unwrap_or(&before)));
            Ok::<_, Error>(ChangeRoleResponse { user })
        });
        Ok(answer.await?)
    }
}

/// Role, epoch, revocation and event in one transaction: no token tells of the old role unnoticed. Sessions go on, and a
/// refresh waits for the lock on the user, so it gives the old role with the old epoch or the new one with the new.
pub(super) async fn apply(tx: &mut PgConnection, user: &User, now: Timestamp) -> Result<(), Error> {
    users::set_role(tx, user).await?;
    revocations::insert(tx, user.account_id, (RevocationSubject::User, user.id), user.epoch, now).await?;
    events::user_changed(tx, user, now).await
}
