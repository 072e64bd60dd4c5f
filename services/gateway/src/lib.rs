//! The gateway: authenticates each call, checks the declared access, and passes the HTTP/2 frames on to the service that
//! the method belongs to, without decoding a message.

mod forward;
mod health;

use async_trait::async_trait;
use diwan_launch::{Component, Context};
use diwan_transport::{BoxError, Front, with_reflection};
use forward::Forward;
use sqlx::migrate::Migrator;
use tonic::service::Routes;

/// The gateway as a process starts it. It has no database.
#[derive(Clone, Copy, Debug)]
pub struct Service;

#[async_trait]
impl Component for Service {
    fn name(&self) -> &'static str {
        "gateway"
    }

    fn migrator(&self) -> Option<&'static Migrator> {
        None
    }

    async fn start(&self, context: Context) -> Result<Front, BoxError> {
        let offered = forward::offered(context.admission.rules());
        let health = health::follow(&context, &offered).await;
        let names: Vec<&str> = offered.iter().map(|offer| offer.name.as_str()).collect();
        let own = with_reflection(Routes::new(health), &names)?.prepare();
        let forward = Forward::new(own, &context.network);
        Ok(Front::new("gateway", context.admission, forward))
    }
}
