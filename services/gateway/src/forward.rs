//! Which service a method belongs to, and how a call gets there.

use std::{collections::BTreeMap, collections::HashMap, future::Future, pin::Pin};

use diwan_access::{Rules, SERVICE_TOKEN};
use diwan_proto::access::v1::Caller;
use diwan_transport::{GrpcService, Network, SERVICES, Transport};
use http::{Request, Response};
use tonic::{Status, body::Body, service::Routes};
use tower::Service;

/// A gRPC service that clients may call through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Its full name, e.g. `diwan.identity.v1.UserService`.
    pub(crate) name: String,
    /// Which of our services answers it.
    pub(crate) service: &'static str,
}

/// What is offered: every gRPC service with a method that others than services may call.
pub(crate) fn offered(rules: &Rules) -> Vec<Offer> {
    let mut offers = BTreeMap::new();
    for (path, rule) in rules.all() {
        if let Some(service) = service_of(path)
            && rule.callers().any(|caller| caller != Caller::Service)
            && let Some((name, _)) = path.trim_start_matches('/').split_once('/')
        {
            offers.insert(name.to_owned(), service);
        }
    }
    offers.into_iter().map(|(name, service)| Offer { name, service }).collect()
}

/// The service whose package a path is in: `/diwan.team.v1.TeamService/GetTeam` is team's.
fn service_of(path: &str) -> Option<&'static str> {
    let package = path.strip_prefix("/diwan.")?.split('.').next()?;
    SERVICES.into_iter().find(|service| *service == package)
}

/// Passes calls on; answers health and reflection itself.
pub(crate) struct Forward {
    own: Routes,
    services: HashMap<&'static str, Transport>,
}

impl Forward {
    pub(crate) fn new(own: Routes, network: &Network) -> Self {
        Self { own, services: SERVICES.into_iter().map(|service| (service, network.to(service))).collect() }
    }
}

impl GrpcService for Forward {
    fn answer(&self, mut request: Request<Body>) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        // Internal metadata never comes from outside.
        request.headers_mut().remove(SERVICE_TOKEN);
        let service = service_of(request.uri().path());
        if let Some(mut transport) = service.and_then(|service| self.services.get(service)).cloned() {
            return Box::pin(async move {
                transport.call(request).await.unwrap_or_else(|error| Status::from_error(error).into_http())
            });
        }
        let mut own = self.own.clone();
        Box::pin(async move { own.call(request).await.unwrap_or_else(|never| match never {}) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_services_may_call_is_not_offered() {
        let offers = offered(&Rules::load().unwrap());
        let names: Vec<_> = offers.iter().map(|offer| offer.name.as_str()).collect();
        assert!(names.contains(&"diwan.identity.v1.UserService"));
        assert!(names.contains(&"diwan.conversation.v1.InboxService"));
        for inner in
            ["diwan.identity.v1.RevocationService", "diwan.mailbox.v1.SendService", "diwan.feed.v1.FeedService"]
        {
            assert!(!names.contains(&inner), "{inner}");
        }
    }
}
