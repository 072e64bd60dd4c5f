//! Gathers the methods of a service, with health and reflection.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc, time::Duration};

use diwan_access::Admission;
use diwan_audit::OperatorLog;
use diwan_runtime::Drain;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Error as ReflectionError;
use tower::Service;

use crate::{Front, GrpcService, audited::Audited};

/// Until users can be let in: how often to look.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The methods of one service.
pub struct Methods {
    name: &'static str,
    routes: Routes,
    offered: Vec<&'static str>,
    health: HealthReporter,
    operators: Option<Arc<dyn OperatorLog>>,
}

impl Methods {
    /// No methods but health, of the service `name`.
    pub fn new(name: &'static str) -> Self {
        let (health, server) = tonic_health::server::health_reporter();
        Self { name, routes: Routes::new(server), offered: Vec::new(), health, operators: None }
    }

    /// Adds a generated server.
    #[must_use]
    pub async fn with<S>(mut self, server: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        // Health says so once users can be let in: see `into_front`.
        self.health.set_service_status(S::NAME, ServingStatus::NotServing).await;
        self.offered.push(S::NAME);
        self.routes = self.routes.add_service(server);
        self
    }

    /// Every call of an operator is written down in `log`, also one that is refused. A service with a log needs it.
    #[must_use]
    pub fn audited(mut self, log: impl OperatorLog + 'static) -> Self {
        self.operators = Some(Arc::new(log));
        self
    }

    /// The way in, with reflection v1 and v1alpha of what was added. Health says SERVING from when users can be let in until
    /// the process drains.
    ///
    /// # Errors
    /// When the descriptors cannot be read, which the build rules out.
    pub fn into_front(self, admission: Admission, drain: &Drain) -> Result<Front, ReflectionError> {
        let routes = with_reflection(self.routes, &self.offered)?.prepare();
        drain.spawn(tell_health(self.health, self.offered, admission.clone(), drain.clone()));
        let mut front = Front::new(self.name, admission, Local(routes));
        front.audited = Some(Audited::new(self.operators));
        Ok(front)
    }
}

async fn tell_health(health: HealthReporter, offered: Vec<&'static str>, admission: Admission, drain: Drain) {
    let say = async |status| {
        for name in &offered {
            health.set_service_status(name, status).await;
        }
    };
    let admitting = async {
        while !admission.knows_revocations() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    if drain.unless_begun(admitting).await.is_some() {
        say(ServingStatus::Serving).await;
        drain.begun().await;
    }
    say(ServingStatus::NotServing).await;
}

/// Adds reflection v1 and v1alpha of the services `offered`: older clients know only the latter.
///
/// # Errors
/// When the descriptors cannot be read, which the build rules out.
pub fn with_reflection(routes: Routes, offered: &[&str]) -> Result<Routes, ReflectionError> {
    let builder = || {
        let base = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(diwan_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Not offered, but asked for by who wants to show the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET);
        offered
            .iter()
            .fold(base.with_service_name("grpc.health.v1.Health"), |builder, name| builder.with_service_name(*name))
    };
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

/// Methods of this process.
pub(crate) struct Local(Routes);

impl GrpcService for Local {
    fn answer(&self, request: Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        let mut routes = self.0.clone();
        Box::pin(async move {
            match routes.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    }
}
