//! Gathers the methods of a service, with health and reflection.

use std::{convert::Infallible, future::Future, pin::Pin};

use diwan_access::Admission;
use diwan_runtime::Drain;
use http::{Request, Response};
use tonic::{body::Body, server::NamedService, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_reflection::server::Error as ReflectionError;
use tower::Service;

use crate::{Front, GrpcService};

/// The methods of one service.
pub struct Methods {
    name: &'static str,
    routes: Routes,
    offered: Vec<&'static str>,
    health: HealthReporter,
}

impl Methods {
    /// No methods but health, of the service `name`.
    pub fn new(name: &'static str) -> Self {
        let (health, server) = tonic_health::server::health_reporter();
        Self { name, routes: Routes::new(server), offered: Vec::new(), health }
    }

    /// Adds a generated server; it is healthy from now on.
    #[must_use]
    pub async fn with<S>(mut self, server: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
        S: NamedService + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        self.health.set_service_status(S::NAME, ServingStatus::Serving).await;
        self.offered.push(S::NAME);
        self.routes = self.routes.add_service(server);
        self
    }

    /// The way in, with reflection v1 and v1alpha of what was added. Health says NOT_SERVING once the process drains.
    ///
    /// # Errors
    /// When the descriptors cannot be read, which the build rules out.
    pub fn into_front(self, admission: Admission, drain: &Drain) -> Result<Front, ReflectionError> {
        let routes = with_reflection(self.routes, &self.offered)?.prepare();
        let (draining, health, offered) = (drain.clone(), self.health, self.offered);
        drain.spawn(async move {
            draining.begun().await;
            for name in offered {
                health.set_service_status(name, ServingStatus::NotServing).await;
            }
        });
        Ok(Front::new(self.name, admission, Local(routes)))
    }
}

/// Adds reflection v1 and v1alpha of the services `offered`: older clients know only the latter.
///
/// # Errors
/// When the descriptors cannot be read, which the build rules out.
pub fn with_reflection(routes: Routes, offered: &[&str]) -> Result<Routes, ReflectionError> {
    let builder = || {
        let base = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(diwan_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
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
