//! ArchiveService.

use diwan_access::user;
use diwan_fault::Fields;
use diwan_feed::time::to_proto;
use diwan_proto::conversation::v1::{
    ArchiveState, GetArchiveProgressRequest, GetArchiveProgressResponse, PreviewArchiveRequest, PreviewArchiveResponse,
    archive_service_server::ArchiveService,
};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    Error,
    store::archive::{self, Progress},
};

#[tonic::async_trait]
impl ArchiveService for Api {
    async fn preview_archive(
        &self,
        request: Request<PreviewArchiveRequest>,
    ) -> Result<Response<PreviewArchiveResponse>, Status> {
        let account = user(&request)?.account_id;
        let message = request.get_ref();
        let mut fields = Fields::new();
        let team = fields.uuid("team_id", &message.team_id);
        let receiving = fields.uuid("receiving_team_id", &message.receiving_team_id);
        fields.finish()?;
        let found = archive::preview(self.0.database.pool(), account, team, receiving).await?;
        let found = found.ok_or(Error::TeamNotFound)?;
        Ok(Response::new(PreviewArchiveResponse {
            conversations: count(found.conversations),
            with_holder: count(found.with_holder),
            queued: count(found.conversations - found.with_holder),
            members: count(found.members),
            joining_members: count(found.joining),
            active_receivers: count(found.receivers),
            free_slots: found.free.map(count),
            receiving_queue: count(found.queue),
        }))
    }

    async fn get_archive_progress(
        &self,
        request: Request<GetArchiveProgressRequest>,
    ) -> Result<Response<GetArchiveProgressResponse>, Status> {
        let account = user(&request)?.account_id;
        let mut fields = Fields::new();
        let team = fields.uuid("team_id", &request.get_ref().team_id);
        fields.finish()?;
        let found = archive::progress(self.0.database.pool(), account, team).await?.ok_or(Error::TeamNotFound)?;
        Ok(Response::new(GetArchiveProgressResponse {
            state: state(&found).into(),
            receiving_team_id: found.receiving_id.map(|id| id.to_string()).unwrap_or_default(),
            moved: found.moved,
            left: found.receiving_id.map_or(0, |_| count(found.left)),
            started_at: found.started_at.map(|at| to_proto(at.to_jiff())),
            finished_at: found.finished_at.map(|at| to_proto(at.to_jiff())),
        }))
    }
}

fn state(progress: &Progress) -> ArchiveState {
    match progress {
        Progress { receiving_id: None, .. } => ArchiveState::Active,
        Progress { archived: false, .. } => ArchiveState::Moving,
        Progress { archived: true, .. } => ArchiveState::Done,
    }
}

fn count(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
