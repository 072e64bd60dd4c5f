//! The teams of an account.

use diwan_access::{account, user};
use diwan_fault::Fields;
use diwan_proto::team::v1::{
    BatchGetTeamsRequest, BatchGetTeamsResponse, CreateFallbackTeamRequest, CreateFallbackTeamResponse,
    CreateTeamRequest, CreateTeamResponse, GetTeamRequest, GetTeamResponse, ListTeamsRequest, ListTeamsResponse,
    UpdateTeamRequest, UpdateTeamResponse, team_service_server::TeamService,
};
use diwan_store::{Page, answers};
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    api::{Api, decode},
    change,
    domain::name_key,
    error::Error,
    store::teams,
};

#[tonic::async_trait]
impl TeamService for Api {
    async fn create_team(&self, request: Request<CreateTeamRequest>) -> Result<Response<CreateTeamResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let settings = decode::settings(&mut fields, &message);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "CreateTeam", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let team = change::create(tx, account, settings.clone(), now).await?;
                Ok::<_, Error>(CreateTeamResponse { team: Some(team.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn get_team(&self, request: Request<GetTeamRequest>) -> Result<Response<GetTeamResponse>, Status> {
        let account = account(&request)?;
        let mut fields = Fields::new();
        let id = fields.uuid("team_id", &request.get_ref().team_id);
        fields.finish()?;
        let found = teams::find(&mut *self.connection().await?, account, id).await.map_err(Error::from)?;
        let team = found.ok_or(Error::TeamNotFound(id))?;
        Ok(Response::new(GetTeamResponse { team: Some(team.into()) }))
    }

    async fn list_teams(&self, request: Request<ListTeamsRequest>) -> Result<Response<ListTeamsResponse>, Status> {
        let account = account(&request)?;
        let mut fields = Fields::new();
        let page = request.into_inner().page;
        let page = Page::<(String, Uuid)>::read(&mut fields, &("ListTeams", account), page.as_ref());
        fields.finish()?;
        let mut connection = self.connection().await?;
        let rows = teams::list(&mut connection, account, false, page.after().cloned(), page.limit()).await;
        let (teams, info) = page.finish(rows.map_err(Error::from)?, |team| (name_key(&team.settings.name), team.id));
        Ok(Response::new(ListTeamsResponse { teams: teams.into_iter().map(Into::into).collect(), page: Some(info) }))
    }

    async fn update_team(&self, request: Request<UpdateTeamRequest>) -> Result<Response<UpdateTeamResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let team = message.team.clone().unwrap_or_default();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("team.id", &team.id);
        let changes = decode::changes(&mut fields, &team, message.update_mask.as_ref());
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "UpdateTeam", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let team = change::update(tx, account, id, &changes, now).await?;
                Ok::<_, Error>(UpdateTeamResponse { team: Some(team.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn batch_get_teams(
        &self,
        request: Request<BatchGetTeamsRequest>,
    ) -> Result<Response<BatchGetTeamsResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let ids = decode::team_ids(&mut fields, &message.team_ids);
        fields.finish()?;
        let teams = teams::find_all(&mut *self.connection().await?, account, &ids).await.map_err(Error::from)?;
        Ok(Response::new(BatchGetTeamsResponse { teams: teams.into_iter().map(Into::into).collect() }))
    }

    async fn create_fallback_team(
        &self,
        request: Request<CreateFallbackTeamRequest>,
    ) -> Result<Response<CreateFallbackTeamResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let owner = fields.uuid("owner_id", &message.owner_id);
        let language = fields.language("language", &message.language);
        fields.finish()?;
        let now = self.clock.now();
        let team = self
            .database
            .transaction("CreateFallbackTeam", async |tx: &mut PgConnection| {
                change::ensure_fallback(tx, account, owner, language, now).await
            })
            .await?;
        Ok(Response::new(CreateFallbackTeamResponse { team: Some(team.into()) }))
    }
}
