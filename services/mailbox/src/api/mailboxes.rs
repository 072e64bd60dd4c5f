//! Mailboxes: connect, get, list.

use diwan_access::{account, user};
use diwan_fault::{Fault, Fields};
use diwan_proto::mailbox::v1::{
    ConnectMailboxRequest, ConnectMailboxResponse, GetMailboxRequest, GetMailboxResponse, ListMailboxesRequest,
    ListMailboxesResponse, mailbox_service_server::MailboxService,
};
use diwan_store::Page;
use jiff::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Api, connect, encode};
use crate::{error::Error, store::mailboxes};

#[tonic::async_trait]
impl MailboxService for Api {
    async fn connect_mailbox(
        &self,
        request: Request<ConnectMailboxRequest>,
    ) -> Result<Response<ConnectMailboxResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(connect::connect(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_mailbox(&self, request: Request<GetMailboxRequest>) -> Result<Response<GetMailboxResponse>, Status> {
        let account = account(&request)?;
        Ok(Response::new(self.get(account, &request.into_inner()).await?))
    }

    async fn list_mailboxes(
        &self,
        request: Request<ListMailboxesRequest>,
    ) -> Result<Response<ListMailboxesResponse>, Status> {
        let account = account(&request)?;
        Ok(Response::new(self.list(account, &request.into_inner()).await?))
    }
}

impl Api {
    async fn get(&self, account: Uuid, message: &GetMailboxRequest) -> Result<GetMailboxResponse, Fault> {
        let mut fields = Fields::new();
        let id = fields.uuid("mailbox_id", &message.mailbox_id);
        fields.finish()?;
        let mut connection = self.0.database.pool().acquire().await.map_err(Error::from)?;
        let found = mailboxes::find(&mut connection, account, id).await?;
        let mailbox = found.ok_or(Error::MailboxNotFound)?;
        Ok(GetMailboxResponse { mailbox: Some(encode::mailbox(&mailbox)) })
    }

    async fn list(&self, account: Uuid, message: &ListMailboxesRequest) -> Result<ListMailboxesResponse, Fault> {
        let mut fields = Fields::new();
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &("ListMailboxes", account), message.page.as_ref());
        fields.finish()?;
        let mut connection = self.0.database.pool().acquire().await.map_err(Error::from)?;
        let rows = mailboxes::list(&mut connection, account, page.after().copied(), page.limit()).await?;
        let (rows, info) = page.finish(rows, |row| (row.created_at.to_jiff(), row.id));
        Ok(ListMailboxesResponse { mailboxes: rows.iter().map(encode::mailbox).collect(), page: Some(info) })
    }
}
