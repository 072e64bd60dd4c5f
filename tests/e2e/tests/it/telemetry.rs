//! One trace from the gateway over the service to SQL, and a link across the feed, as an OTLP receiver sees them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diwan_e2e::{
    door::{Door, request_id},
    installation::Topology,
};
use diwan_proto::team::v1::{CreateTeamRequest, team_service_client::TeamServiceClient};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    trace::v1::{Span, span::SpanKind},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::support::{sign_up, start};

const LIMIT: Duration = Duration::from_secs(20);

/// Keeps the spans that are sent to it.
#[derive(Clone, Default)]
struct Receiver(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let spans = resources.into_iter().flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Receiver {
    async fn listen() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let receiver = Self::default();
        let server = Server::builder().add_service(TraceServiceServer::new(receiver.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (receiver, address)
    }

    /// Waits for a span that satisfies `wanted`.
    async fn wait(&self, what: &str, wanted: impl Fn(&Span, &[Span]) -> bool) -> Span {
        let found = async {
            loop {
                let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(span) = spans.iter().find(|span| wanted(span, &spans)) {
                    return span.clone();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(LIMIT, found).await.unwrap_or_else(|_| {
            let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let seen: Vec<_> = spans.iter().map(|span| span.name.clone()).collect();
            panic!("no span: {what}; there are {seen:?}")
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_trace_leads_from_the_gateway_to_sql_and_a_link_across_the_feed_in_both_topologies() {
    for topology in [Topology::Suite, Topology::Separate] {
        let (receiver, address) = Receiver::listen().await;
        let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", address), ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned())];
        let fresh = start(topology, &settings).await;
        let owner = sign_up(&Door::open(fresh.installation.gateway()).await.unwrap(), "Traced").await;

        // The client has a trace of its own, and the gateway continues it.
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let mut request = Request::new(CreateTeamRequest {
            request_id: request_id(),
            name: "Traced".into(),
            ..CreateTeamRequest::default()
        });
        request.metadata_mut().insert("traceparent", format!("00-{trace}-{parent}-01").parse().unwrap());
        TeamServiceClient::new(owner.way()).create_team(request).await.unwrap();

        let (trace, parent) = (bytes(trace), bytes(parent));
        let name = "diwan.team.v1.TeamService/CreateTeam";
        let is = |span: &Span, kind: SpanKind, parent: &[u8]| {
            span.name == name && span.kind() == kind && span.trace_id == trace && span.parent_span_id == parent
        };
        let gateway = receiver.wait("the gateway's", |span, _| is(span, SpanKind::Server, &parent)).await;
        let call = receiver.wait("the gateway's call", |span, _| is(span, SpanKind::Client, &gateway.span_id)).await;
        let service = receiver.wait("the service's", |span, _| is(span, SpanKind::Server, &call.span_id)).await;
        receiver
            .wait("SQL under the service's", |span, all| {
                let database = span.attributes.iter().any(|attribute| attribute.key == "db.system.name");
                database && span.trace_id == trace && descends(span, &service.span_id, all)
            })
            .await;
        receiver
            .wait("a span of a consumer that links to the trace", |span, _| {
                span.trace_id != trace && span.links.iter().any(|link| link.trace_id == trace)
            })
            .await;
        fresh.installation.stop().await.unwrap();
    }
}

fn descends(span: &Span, ancestor: &[u8], all: &[Span]) -> bool {
    let mut parent = &span.parent_span_id;
    loop {
        if parent == ancestor {
            return true;
        }
        match all.iter().find(|span| span.span_id == *parent) {
            Some(span) => parent = &span.parent_span_id,
            None => return false,
        }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}
