//! When teams work.

use diwan_access::{account, user};
use diwan_fault::Fields;
use diwan_feed::time::to_proto;
use diwan_hours::Hours;
use diwan_proto::team::v1::{
    GetOpeningRequest, GetOpeningResponse, GetWorkingHoursRequest, GetWorkingHoursResponse, SetWorkingHoursRequest,
    SetWorkingHoursResponse, hours_service_server::HoursService,
};
use diwan_store::answers;
use jiff::Timestamp;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{api::Api, change, domain::Team, error::Error, store::teams};

#[tonic::async_trait]
impl HoursService for Api {
    async fn set_working_hours(
        &self,
        request: Request<SetWorkingHoursRequest>,
    ) -> Result<Response<SetWorkingHoursResponse>, Status> {
        let caller = user(&request)?;
        let account = caller.account_id;
        let message = request.into_inner();
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let team = fields.uuid("team_id", &message.team_id);
        let hours = message.hours.as_ref().map(|hours| diwan_hours::read(&mut fields, "hours", hours));
        fields.finish()?;
        let now = self.clock.now();
        let request = answers::Request::new(account, &request_id, "SetWorkingHours", &message).by(caller.user_id);
        let answer = self
            .database
            .answer_once(&request, now, async |tx: &mut PgConnection| {
                let team = change::set_hours(tx, account, team, hours.clone(), now).await?;
                let hours = team.hours.as_ref().map(diwan_hours::write);
                Ok::<_, Error>(SetWorkingHoursResponse { hours, time_zone: team.zone })
            })
            .await?;
        Ok(Response::new(answer))
    }

    async fn get_working_hours(
        &self,
        request: Request<GetWorkingHoursRequest>,
    ) -> Result<Response<GetWorkingHoursResponse>, Status> {
        let team = self.team(account(&request)?, &request.get_ref().team_id).await?;
        let hours = team.hours.as_ref().map(diwan_hours::write);
        Ok(Response::new(GetWorkingHoursResponse { hours, time_zone: team.zone }))
    }

    async fn get_opening(&self, request: Request<GetOpeningRequest>) -> Result<Response<GetOpeningResponse>, Status> {
        let team = self.team(account(&request)?, &request.get_ref().team_id).await?;
        Ok(Response::new(opening(team, self.clock.now())))
    }
}

impl Api {
    async fn team(&self, account: Uuid, id: &str) -> Result<Team, Status> {
        let mut fields = Fields::new();
        let id = fields.uuid("team_id", id);
        fields.finish()?;
        let found = teams::find(&mut *self.connection().await?, account, id).await.map_err(Error::from)?;
        Ok(found.ok_or(Error::TeamNotFound(id))?)
    }
}

fn opening(team: Team, now: Timestamp) -> GetOpeningResponse {
    let Some(schedule) = team.hours else {
        return GetOpeningResponse { open: true, changes_at: None, opens_at: Some(to_proto(now)) };
    };
    let hours = Hours::new(schedule, &team.zone);
    GetOpeningResponse {
        open: hours.is_open(now),
        changes_at: hours.next_change(now).map(to_proto),
        opens_at: hours.next_opening(now).map(to_proto),
    }
}
