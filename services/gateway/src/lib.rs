//! The gateway: authenticates each call, checks the declared access, keeps the limits, and passes the HTTP/2 frames on to
//! the service that the method belongs to, without decoding a message. One method it answers itself, from several services.

mod bootstrap;
mod error;
mod events;
mod forward;
mod health;
mod limit;
mod message;
mod methods;
mod outside;
mod upstream;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bootstrap::Bootstrap;
use diwan_access::Pages;
use diwan_launch::{Component, Context};
use diwan_proto::gateway::v1::{
    bootstrap_service_server::BootstrapServiceServer, event_service_server::EventServiceServer,
};
use diwan_transport::{BoxError, Front, Origins, SERVICES, Tls, with_reflection};
use events::Events;
use forward::{Forward, Upstreams};
use limit::Limits;
use message::Reader;
use methods::Methods;
use sqlx::migrate::Migrator;
use tonic::service::Routes;
use upstream::{Bounds, SignIns, Upstream};

/// What the services take, too; bytes.
const LONGEST_MESSAGE: usize = 4 * 1024 * 1024;
/// Then a client is asked to connect anew.
const CONNECTION_AGE: Duration = Duration::from_mins(30);

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
        let rules = context.admission.rules();
        let methods = Arc::new(Methods::load(rules)?);
        let offered = forward::offered(rules);
        let limits = Limits::read(&context.env)?;
        let upstreams = upstreams(&context, &methods)?;
        let health = health::follow(&context, &offered).await;
        let names: Vec<&str> = offered.iter().map(|offer| offer.name.as_str()).collect();
        let own = Routes::new(health)
            .add_service(BootstrapServiceServer::new(bootstrap(&upstreams)?))
            .add_service(EventServiceServer::new(Events::new(&context)?));
        let own = with_reflection(own, &names)?.prepare();
        let forward = Forward { own, upstreams, methods, limits };
        served(Front::new("gateway", context.admission.clone(), forward), &context).await
    }
}

/// How clients reach it.
async fn served(front: Front, context: &Context) -> Result<Front, BoxError> {
    let env = &context.env;
    let origins = env.get("DIWAN_CORS_ORIGINS").map(str::parse::<Origins>).transpose()?;
    let mut front = front
        .passing_on()
        .publishing_keys()
        .renewing_connections(env.millis("DIWAN_GATEWAY_CONNECTION_AGE_MS", CONNECTION_AGE)?);
    if let Some(folder) = env.get("DIWAN_TLS") {
        let tls = Tls::front(PathBuf::from(folder), &context.clock, &context.drain);
        front = front.behind_tls(tls.await?);
    }
    Ok(match origins {
        Some(origins) => front.for_browsers(origins),
        None => front,
    })
}

fn upstreams(context: &Context, methods: &Arc<Methods>) -> Result<Upstreams, BoxError> {
    let bounds = (Bounds::read(&context.env)?, Arc::new(SignIns::read(&context.env, methods)?));
    let reader = Reader::new(context.env.parse("DIWAN_GATEWAY_MESSAGE_BYTES", "a number of bytes", LONGEST_MESSAGE)?);
    let upstream = |service| {
        let transport = context.network.to(service).forwarding(&context.signer);
        Upstream::new(service, transport, methods.clone(), bounds.clone(), reader.clone())
    };
    Ok(SERVICES.into_iter().map(|service| (service, upstream(service))).collect())
}

/// A service that is no service of Diwan's.
#[derive(Debug, thiserror::Error)]
#[error("there is no service {0}")]
struct NoService(&'static str);

fn bootstrap(upstreams: &Upstreams) -> Result<Bootstrap, BoxError> {
    let to = |service| upstreams.get(service).cloned().ok_or(NoService(service));
    Ok(Bootstrap {
        identity: to("identity")?,
        team: to("team")?,
        conversation: to("conversation")?,
        billing: to("billing")?,
        pages: Pages::load()?,
    })
}
