//! Who belongs to which team.

use diwan_access::{account, user};
use diwan_fault::Fields;
use diwan_proto::team::v1::{
    AddMemberRequest, AddMemberResponse, JoinTeamsRequest, JoinTeamsResponse, ListMembersRequest, ListMembersResponse,
    ListMyTeamsRequest, ListMyTeamsResponse, RemoveMemberRequest, RemoveMemberResponse, SetTeamLeadRequest,
    SetTeamLeadResponse, membership_service_server::MembershipService,
};
use diwan_store::{Page, answers};
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{
    api::{Api, decode},
    change,
    domain::name_key,
    error::Error,
    store::{memberships, teams},
};

#[tonic::async_trait]
impl MembershipService for Api {
    async fn add_member(&self, request: Request<AddMemberRequest>) -> Result<Response<AddMemberResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let team = fields.uuid("team_id", &message.team_id);
        let user = fields.uuid("user_id", &message.user_id);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "AddMember", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let membership = change::add(tx, account, team, user, now).await?;
                Ok::<_, Error>(AddMemberResponse { membership: Some(membership.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<RemoveMemberResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let team = fields.uuid("team_id", &message.team_id);
        let user = fields.uuid("user_id", &message.user_id);
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "RemoveMember", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                change::remove(tx, account, team, user, now).await?;
                Ok::<_, Error>(RemoveMemberResponse {})
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn set_team_lead(
        &self,
        request: Request<SetTeamLeadRequest>,
    ) -> Result<Response<SetTeamLeadResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let member = (fields.uuid("team_id", &message.team_id), fields.uuid("user_id", &message.user_id));
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "SetTeamLead", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let membership = change::set_lead(tx, account, member, message.lead, now).await?;
                Ok::<_, Error>(SetTeamLeadResponse { membership: Some(membership.into()) })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let account = account(&request)?;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let team = fields.uuid("team_id", &message.team_id);
        let page = Page::<(Timestamp, Uuid)>::read(&mut fields, &("ListMembers", account, team), message.page.as_ref());
        fields.finish()?;
        let mut connection = self.connection().await?;
        let found = teams::find(&mut connection, account, team).await.map_err(Error::from)?;
        found.ok_or(Error::TeamNotFound(team))?;
        let after = page.after().copied();
        let rows = memberships::list(&mut connection, account, team, after, page.limit()).await;
        let (rows, info) = page.finish(rows.map_err(Error::from)?, |member| (member.joined_at, member.user));
        let memberships = rows.into_iter().map(Into::into).collect();
        Ok(Response::new(ListMembersResponse { memberships, page: Some(info) }))
    }

    async fn list_my_teams(
        &self,
        request: Request<ListMyTeamsRequest>,
    ) -> Result<Response<ListMyTeamsResponse>, Status> {
        let caller = user(&request)?;
        let (account, user) = (caller.account_id, caller.user_id);
        let mut fields = Fields::new();
        let page = request.into_inner().page;
        let page = Page::<(String, Uuid)>::read(&mut fields, &("ListMyTeams", account, user), page.as_ref());
        fields.finish()?;
        let mut connection = self.connection().await?;
        let rows = teams::list_of(&mut connection, account, user, page.after().cloned(), page.limit()).await;
        let (teams, info) = page.finish(rows.map_err(Error::from)?, |team| (name_key(&team.settings.name), team.id));
        let ids: Vec<Uuid> = teams.iter().map(|team| team.id).collect();
        let led = memberships::led(&mut connection, account, user, &ids).await.map_err(Error::from)?;
        Ok(Response::new(ListMyTeamsResponse {
            teams: teams.into_iter().map(Into::into).collect(),
            page: Some(info),
            led_team_ids: led.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn join_teams(&self, request: Request<JoinTeamsRequest>) -> Result<Response<JoinTeamsResponse>, Status> {
        let message = request.into_inner();
        let mut fields = Fields::new();
        let account = fields.uuid("account_id", &message.account_id);
        let user = fields.uuid("user_id", &message.user_id);
        let teams = decode::team_ids(&mut fields, &message.team_ids);
        fields.finish()?;
        let now = self.clock.now();
        let joined = self
            .database
            .transaction("JoinTeams", async |tx: &mut PgConnection| change::join(tx, account, user, &teams, now).await)
            .await?;
        Ok(Response::new(JoinTeamsResponse { memberships: joined.into_iter().map(Into::into).collect() }))
    }
}
