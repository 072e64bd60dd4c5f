//! The owner's copy of what is kept of his account.

use std::{pin::Pin, time::Duration};

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_feed::{Record, time::to_proto};
use diwan_proto::identity::v1::{
    self as proto, DownloadExportRequest, DownloadExportResponse, ExportPart, ExportPartState, ExportState,
    GetExportRequest, GetExportResponse, StartExportRequest, StartExportResponse, export_service_server::ExportService,
};
use diwan_runtime::{clock::after, ids};
use diwan_store::answers::{self, Request as Once};
use futures::Stream;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::{Api, closing::owned, download, fields};
use crate::{
    client::Client,
    domain::Account,
    error::Error,
    store::exports::{self, Export, Part, Task},
    worker::exporter,
};

/// Whoever asks again when one has been gathered for so long gets a new one: what it stumbles over may be in what it has.
const PATIENCE: Duration = Duration::from_hours(24);

#[tonic::async_trait]
impl ExportService for Api {
    type DownloadExportStream = Pin<Box<dyn Stream<Item = Result<DownloadExportResponse, Status>> + Send>>;

    async fn start_export(
        &self,
        request: Request<StartExportRequest>,
    ) -> Result<Response<StartExportResponse>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.begin_export(&caller, &client, request.into_inner()).await?))
    }

    async fn get_export(&self, request: Request<GetExportRequest>) -> Result<Response<GetExportResponse>, Status> {
        let caller = user(&request)?;
        let export = Some(encoded(&self.export(&caller).await.map_err(Fault::from)?));
        Ok(Response::new(GetExportResponse { export }))
    }

    async fn download_export(
        &self,
        request: Request<DownloadExportRequest>,
    ) -> Result<Response<Self::DownloadExportStream>, Status> {
        let (caller, client) = (user(&request)?, Client::of(&request));
        Ok(Response::new(self.download(&caller, &client, request.into_inner()).await?))
    }
}

impl Api {
    async fn begin_export(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: StartExportRequest,
    ) -> Result<StartExportResponse, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        fields::required(&mut fields, "password", &password);
        fields.finish()?;
        let (account, now) = (caller.account_id, self.clock.now());
        let once = Once::new(account, &request_id, "StartExport", &message).by(caller.user_id);
        if let Some(answer) = answers::find(self.database.pool(), &once).await? {
            return Ok(answer);
        }
        self.require_password(&self.find(account, caller.user_id).await?, client, password).await?;
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            // Its row is locked: no two exports of one account begin, and none while it is closed.
            let Account { id, .. } = owned(tx, caller).await?;
            let export = match exports::find(tx, id).await? {
                Some(export) if export.ready.is_none() && after(export.started_at, PATIENCE) > now => export,
                _ => {
                    exports::forget(tx, id, now).await?;
                    exports::insert(tx, id, ids::new_id(), &exporter::SERVICES, now).await?;
                    exports::find(tx, id).await?.ok_or(Error::ExportNotFound)?
                }
            };
            Ok::<_, Error>(StartExportResponse { export: Some(encoded(&export)) })
        });
        let answer = answer.await?;
        self.database.wake().ring(exporter::BELL);
        Ok(answer)
    }

    /// The account's export, unless it has expired.
    async fn export(&self, caller: &Caller) -> Result<Export, Error> {
        let found = exports::find(&mut *self.database.pool().acquire().await?, caller.account_id).await?;
        let now = self.clock.now();
        let kept = found.filter(|export| export.ready.as_ref().is_none_or(|ready| ready.expires_at > now));
        kept.ok_or(Error::ExportNotFound)
    }

    /// The password is asked again for the bytes, too: between the beginning and the end of an export lies a week.
    async fn download(
        &self,
        caller: &Caller,
        client: &Client,
        mut message: DownloadExportRequest,
    ) -> Result<<Self as ExportService>::DownloadExportStream, Fault> {
        let password = fields::take_password(&mut message.password);
        let mut fields = Fields::new();
        let id = fields.uuid("export_id", &message.export_id);
        fields::required(&mut fields, "password", &password);
        let offset = u64::try_from(message.offset);
        if offset.is_err() {
            fields.refuse("offset", "FIELD_RANGE", &[("min", "0".into()), ("max", i64::MAX.to_string())]);
        }
        fields.finish()?;
        self.require_password(&self.find(caller.account_id, caller.user_id).await?, client, password).await?;
        let export = self.export(caller).await?;
        if export.id != id {
            return Err(Error::ExportNotFound.into());
        }
        let ready = export.ready.ok_or(Error::ExportNotReady)?;
        if message.offset > ready.size {
            let mut fields = Fields::new();
            fields.refuse("offset", "FIELD_RANGE", &[("min", "0".into()), ("max", ready.size.to_string())]);
            fields.finish()?;
        }
        let now = self.clock.now();
        let downloaded = Record::event("EXPORT_DOWNLOADED", "diwan.identity.v1.Export", id);
        self.database
            .transaction("DownloadExport", async |tx: &mut PgConnection| {
                Ok::<_, Error>(diwan_feed::record(tx, caller.account_id, now, &downloaded).await?)
            })
            .await?;
        let task = Task { account: caller.account_id, export: id, gone: false };
        let blobs = exporter::place(&self.blobs, task.account, task.export);
        let pool = self.database.pool().clone();
        Ok(Box::pin(download::stream(pool, blobs, task, ready, offset.unwrap_or_default())))
    }
}

fn encoded(export: &Export) -> proto::Export {
    let ready = export.ready.as_ref();
    let state = if ready.is_some() { ExportState::Ready } else { ExportState::Gathering };
    let gathered = export.parts.iter().map(|part| part.bytes).sum();
    proto::Export {
        id: export.id.to_string(),
        state: state.into(),
        parts: export.parts.iter().map(part).collect(),
        size: ready.map_or(gathered, |ready| ready.size),
        started_at: Some(to_proto(export.started_at)),
        ready_at: ready.map(|ready| to_proto(ready.at)),
        expires_at: ready.map(|ready| to_proto(ready.expires_at)),
    }
}

fn part(part: &Part) -> ExportPart {
    let state = match part.cursor.as_deref() {
        None => ExportPartState::Done,
        Some("") => ExportPartState::Waiting,
        Some(_) => ExportPartState::Gathering,
    };
    ExportPart { service: part.service.clone(), state: state.into(), rows: part.rows, bytes: part.bytes }
}
