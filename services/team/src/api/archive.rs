//! Archiving teams and bringing them back.

use diwan_access::user;
use diwan_fault::Fields;
use diwan_proto::team::v1::{
    ArchiveTeamRequest, ArchiveTeamResponse, ListArchivedTeamsRequest, ListArchivedTeamsResponse, UnarchiveTeamRequest,
    UnarchiveTeamResponse, archive_service_server::ArchiveService,
};
use diwan_store::{Page, answers};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    api::{Api, decode},
    change::archive as change,
    domain::name_key,
    error::Error,
    store::teams,
};

#[tonic::async_trait]
impl ArchiveService for Api {
    async fn archive_team(
        &self,
        request: Request<ArchiveTeamRequest>,
    ) -> Result<Response<ArchiveTeamResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let team = fields.uuid("team_id", &message.team_id);
        let receiving = fields.uuid("receiving_team_id", &message.receiving_team_id);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "ArchiveTeam", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let (team, joined) = change::archive(tx, account, team, receiving, now).await?;
                let joined = i32::try_from(joined).unwrap_or(i32::MAX);
                Ok::<_, Error>(ArchiveTeamResponse { team: Some(team.into()), joined })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn unarchive_team(
        &self,
        request: Request<UnarchiveTeamRequest>,
    ) -> Result<Response<UnarchiveTeamResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let team = fields.uuid("team_id", &message.team_id);
        let name = (!message.name.is_empty()).then(|| decode::name(&mut fields, "name", &message.name));
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "UnarchiveTeam", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let team = change::unarchive(tx, account, team, name.clone(), now).await?;
                Ok::<_, Error>(UnarchiveTeamResponse { team: Some(team.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn list_archived_teams(
        &self,
        request: Request<ListArchivedTeamsRequest>,
    ) -> Result<Response<ListArchivedTeamsResponse>, Status> {
        let account = user(&request)?.account_id;
        let mut fields = Fields::new();
        let page = request.into_inner().page;
        let page = Page::<(String, Uuid)>::read(&mut fields, &("ListArchivedTeams", account), page.as_ref());
        fields.finish()?;
        let mut connection = self.connection().await?;
        let rows = teams::list(&mut connection, account, true, page.after().cloned(), page.limit()).await;
        let (teams, info) = page.finish(rows.map_err(Error::from)?, |team| (name_key(&team.settings.name), team.id));
        let teams = teams.into_iter().map(Into::into).collect();
        Ok(Response::new(ListArchivedTeamsResponse { teams, page: Some(info) }))
    }
}
