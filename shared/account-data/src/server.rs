//! The RPC by which identity gathers what a service keeps.

use diwan_blobs::Blobs;
use diwan_fault::{Fault, Fields};
use diwan_proto::export::v1::{
    ListAccountDataRequest, ListAccountDataResponse,
    account_data_service_server::{AccountDataService, AccountDataServiceServer},
};
use sqlx::PgPool;
use tonic::{Request, Response, Status};

use crate::{
    Data,
    export::{Cursor, Error, Exporter},
};

/// What one service keeps.
#[derive(Clone, Debug)]
pub struct AccountDataServer {
    pool: PgPool,
    blobs: Option<Blobs>,
    data: &'static Data,
}

impl AccountDataServer {
    /// Hands out what `data` says.
    pub fn new(pool: PgPool, blobs: Option<Blobs>, data: &'static Data) -> Self {
        Self { pool, blobs, data }
    }

    /// As a service for tonic's router.
    pub fn into_service(self) -> AccountDataServiceServer<Self> {
        AccountDataServiceServer::new(self)
    }

    async fn page(&self, message: &ListAccountDataRequest) -> Result<ListAccountDataResponse, Fault> {
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let cursor = (!message.after.is_empty()).then(|| Cursor::decode(self.data, &message.after));
        if cursor == Some(None) {
            fields.refuse("after", "FIELD_CURSOR", &[]);
        }
        fields.finish()?;
        let exporter = Exporter { pool: &self.pool, blobs: self.blobs.as_ref(), data: self.data, account };
        let (pieces, next) = exporter.page(cursor.flatten()).await?;
        Ok(ListAccountDataResponse { pieces, next: next.map(|next| next.encode()).unwrap_or_default() })
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => diwan_store::Error::from(error).into(),
            Error::Blobs(_) => Self::internal(error),
        }
    }
}

#[tonic::async_trait]
impl AccountDataService for AccountDataServer {
    async fn list_account_data(
        &self,
        request: Request<ListAccountDataRequest>,
    ) -> Result<Response<ListAccountDataResponse>, Status> {
        Ok(Response::new(self.page(request.get_ref()).await?))
    }
}
