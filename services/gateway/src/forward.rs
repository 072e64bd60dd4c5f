//! Which service a method belongs to, and how a call gets there.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
};

use diwan_access::{self as access, Rules};
use diwan_fault::Fault;
use diwan_proto::access::v1::Caller;
use diwan_transport::{CLIENT_ADDRESS, GrpcService, Peer};
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use tonic::{Status, body::Body, service::Routes};
use tower::Service;

use crate::{
    error::Error,
    limit::{Limits, OpenStream},
    methods::{Methods, service_of},
    outside,
    upstream::Upstream,
};

/// Where the paths of the gateway's own methods begin.
const OWN: &str = "/diwan.gateway.";
/// The service that keeps the audit log.
const KEEPER: &str = "identity";

/// A gRPC service that clients may call through the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Its full name, e.g. `diwan.identity.v1.UserService`.
    pub(crate) name: String,
    /// Which of our services answers it; `None`: the gateway itself.
    pub(crate) service: Option<&'static str>,
}

/// What is offered: every gRPC service with a method that others than services may call.
pub(crate) fn offered(rules: &Rules) -> Vec<Offer> {
    let mut offers = BTreeMap::new();
    for (path, rule) in rules.all() {
        let service = service_of(path);
        if (service.is_some() || path.starts_with(OWN))
            && rule.callers().any(|caller| caller != Caller::Service)
            && let Some((name, _)) = path.trim_start_matches('/').split_once('/')
        {
            offers.insert(name.to_owned(), service);
        }
    }
    offers.into_iter().map(|(name, service)| Offer { name, service }).collect()
}

/// The ways to the services.
pub(crate) type Upstreams = HashMap<&'static str, Upstream>;

/// Passes calls on within their limits; answers health, reflection and its own methods itself.
pub(crate) struct Forward {
    /// What the gateway answers itself.
    pub(crate) own: Routes,
    /// What it passes on.
    pub(crate) upstreams: Upstreams,
    /// Every method.
    pub(crate) methods: Arc<Methods>,
    /// Who may ask for how much.
    pub(crate) limits: Limits,
}

impl Forward {
    /// Takes away what nobody outside may say, and the call off its caller's limits.
    fn receive(&self, request: &mut Request<Body>) -> Result<Option<OpenStream>, Error> {
        outside::strip(request.headers_mut());
        tell_client_address(request);
        self.admit(request)
    }

    /// Takes the call off its caller's limits, if a service would take it; what it gives has to live as long as the answer does.
    fn admit(&self, request: &Request<Body>) -> Result<Option<OpenStream>, Error> {
        outside::bounded(request)?;
        // Health is in no table: who watches over the gateway is never turned away.
        let Some(method) = self.methods.of(request.uri().path()) else { return Ok(None) };
        let caller = request.extensions().get().unwrap_or(&access::Caller::Nobody);
        let address = request.extensions().get().map(|Peer(peer)| peer.ip());
        self.limits.admit(method.class, caller, address)
    }
}

type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

impl GrpcService for Forward {
    fn answer(&self, mut request: Request<Body>) -> Answer {
        let open = match self.receive(&mut request) {
            Ok(open) => open,
            Err(error) => return Box::pin(async move { Status::from(error).into_http() }),
        };
        let upstream = service_of(request.uri().path()).and_then(|service| self.upstreams.get(service)).cloned();
        let mut own = self.own.clone();
        Box::pin(async move {
            let answer = match upstream {
                Some(mut upstream) => upstream.call(request).await,
                None => own.call(request).await,
            };
            let answer = answer.unwrap_or_else(|never| match never {});
            // Only a stream's place is kept until its body ends.
            if open.is_some() {
                answer.map(|body| Body::new(body.map_frame(move |frame| (frame, &open).0)))
            } else {
                answer
            }
        })
    }

    /// The service whose method it is refuses it by the same table, and writes it down; for the gateway's own methods identity does. How often,
    /// the limits of the operator's address say first, as for calls that are let through.
    fn refuse(&self, mut request: Request<Body>, fault: Fault) -> Answer {
        if let Err(error) = self.receive(&mut request) {
            return Box::pin(async move { Status::from(error).into_http() });
        }
        let service = service_of(request.uri().path()).unwrap_or(KEEPER);
        let upstream = self.upstreams.get(service).cloned();
        Box::pin(async move {
            match upstream {
                Some(mut upstream) => upstream.call(request).await.unwrap_or_else(|never| match never {}),
                None => Status::from(fault).into_http(),
            }
        })
    }
}

/// A client who says something of it himself has been refused.
fn tell_client_address(request: &mut Request<Body>) {
    let Some(Peer(peer)) = request.extensions().get::<Peer>() else { return };
    if let Ok(address) = HeaderValue::try_from(peer.ip().to_canonical().to_string()) {
        request.headers_mut().insert(CLIENT_ADDRESS, address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_address_is_its_sockets_whatever_it_says_itself() {
        let mut request = Request::new(Body::empty());
        tell_client_address(&mut request);
        assert!(!request.headers().contains_key(CLIENT_ADDRESS), "no socket, no address");
        for address in ["192.0.2.1", "192.0.2.2"] {
            request.headers_mut().append(CLIENT_ADDRESS, HeaderValue::from_static(address));
        }
        request.extensions_mut().insert(Peer("[::ffff:198.51.100.7]:4711".parse().unwrap()));
        tell_client_address(&mut request);
        let told: Vec<_> = request.headers().get_all(CLIENT_ADDRESS).iter().collect();
        assert_eq!(told, ["198.51.100.7"]);
    }

    #[test]
    fn what_only_services_may_call_is_not_offered() {
        let offers = offered(&Rules::load().unwrap());
        let names: Vec<_> = offers.iter().map(|offer| offer.name.as_str()).collect();
        assert!(names.contains(&"diwan.identity.v1.UserService"));
        assert!(names.contains(&"diwan.conversation.v1.InboxService"));
        assert!(names.contains(&"diwan.gateway.v1.BootstrapService"));
        for inner in
            ["diwan.identity.v1.RevocationService", "diwan.mailbox.v1.SendService", "diwan.feed.v1.FeedService"]
        {
            assert!(!names.contains(&inner), "{inner}");
        }
    }
}
