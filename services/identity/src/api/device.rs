//! The devices that a person trusts.

use diwan_access::{User as Caller, user};
use diwan_fault::{Fault, Fields};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1::{
    Device, ListDevicesRequest, ListDevicesResponse, RevokeDeviceRequest, RevokeDeviceResponse,
    device_service_server::DeviceService,
};
use diwan_store::answers::Request as Once;
use sqlx::PgConnection;
use tonic::{Request, Response, Status};

use super::Api;
use crate::{
    domain::FactorRefusal,
    error::Error,
    events,
    store::devices::{self, Device as Stored},
};

#[tonic::async_trait]
impl DeviceService for Api {
    async fn list_devices(
        &self,
        request: Request<ListDevicesRequest>,
    ) -> Result<Response<ListDevicesResponse>, Status> {
        let caller = user(&request)?;
        let devices = self.devices(&caller).await.map_err(Fault::from)?;
        Ok(Response::new(ListDevicesResponse { devices: devices.iter().map(shown).collect() }))
    }

    async fn revoke_device(
        &self,
        request: Request<RevokeDeviceRequest>,
    ) -> Result<Response<RevokeDeviceResponse>, Status> {
        let caller = user(&request)?;
        Ok(Response::new(self.distrust(&caller, request.get_ref()).await?))
    }
}

impl Api {
    async fn devices(&self, caller: &Caller) -> Result<Vec<Stored>, Error> {
        let mut connection = self.database.pool().acquire().await?;
        devices::list(&mut connection, caller.account_id, caller.user_id, self.clock.now()).await
    }

    async fn distrust(&self, caller: &Caller, message: &RevokeDeviceRequest) -> Result<RevokeDeviceResponse, Fault> {
        let mut fields = Fields::new();
        let request_id = fields.request_id(&message.request_id);
        let id = fields.uuid("device_id", &message.device_id);
        fields.finish()?;
        let (account, user, now) = (caller.account_id, caller.user_id, self.clock.now());
        let once = Once::new(account, &request_id, "RevokeDevice", message).by(user);
        let answer = self.database.answer_once(&once, now, async |tx: &mut PgConnection| {
            let device = devices::take(tx, account, user, id).await?.ok_or(FactorRefusal::DeviceNotFound)?;
            events::device_changed(tx, account, user, &device, true, now).await?;
            Ok::<_, Error>(RevokeDeviceResponse {})
        });
        Ok(answer.await?)
    }
}

/// As its user sees it.
pub fn shown(device: &Stored) -> Device {
    Device {
        id: device.id.to_string(),
        user_agent: device.user_agent.clone(),
        address: device.address.clone().unwrap_or_default(),
        trusted_at: Some(to_proto(device.trusted_at)),
        last_used_at: Some(to_proto(device.last_used_at)),
        expires_at: Some(to_proto(device.expires_at)),
    }
}
