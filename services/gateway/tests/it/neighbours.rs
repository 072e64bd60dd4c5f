//! What one caller does leaves the others alone, though all of them share the one connection to a service.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use diwan_fault::Fields;
use diwan_proto::conversation::v1::{
    Availability, CreateTopicRequest, ExplainRoutingRequest, ExplainRoutingResponse, SimulateRoutingRequest,
    WatchInboxRequest, WatchInboxResponse, decision_service_client::DecisionServiceClient,
    inbox_service_client::InboxServiceClient, simulation_service_client::SimulationServiceClient,
    topic_service_client::TopicServiceClient, watch_inbox_response::Event,
};
use diwan_testkit::{Person, World, bad_fields, eventually, metadata, reason};
use diwan_transport::Front;
use futures::{future::join_all, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Request, Status, Streaming, body::Body, transport::Endpoint};

use crate::support::{Count, LIMIT, Scripted, encoded, gateway_to, good, listen, posted, remote, somebody, world};

const EXPLAIN: &str = "/diwan.conversation.v1.DecisionService/ExplainRouting";
const WEB: (&str, &str) = ("Content-Type", "application/grpc-web+proto");
const BAD: usize = 2000;

/// A gateway before the service `conversation`, with a stream open through it.
struct Street {
    world: World,
    gateway: Front,
    ticks: watch::Sender<usize>,
    open: Streaming<WatchInboxResponse>,
}

impl Street {
    /// With what else the service does.
    async fn new(script: Scripted) -> Self {
        let (world, ticks) = (world([]), watch::Sender::new(0));
        let said = ticks.clone();
        let script = script.on("WatchInbox", move |_| std::future::ready(inbox(said.subscribe())));
        let service = listen(&world, Front::new("conversation", world.admission.clone(), script)).await;
        let settings = [
            ("DIWAN_CORS_ORIGINS", "https://app.example.com"),
            ("DIWAN_GATEWAY_CONCURRENCY_LEAST", "10000"),
            ("DIWAN_GATEWAY_CONCURRENCY_MOST", "10000"),
            ("DIWAN_GATEWAY_LIMIT_USER_READ", "100000/100000"),
            ("DIWAN_GATEWAY_LIMIT_ACCOUNT_READ", "100000/100000"),
        ];
        let gateway = gateway_to(&world, remote("conversation", service), &settings).await;
        let request = world.request(&somebody(), WatchInboxRequest::default());
        let open = InboxServiceClient::new(gateway.clone()).watch_inbox(request).await.unwrap().into_inner();
        let mut street = Self { world, gateway, ticks, open };
        street.goes_on().await;
        street
    }

    /// The open stream says something more, and calls are answered.
    async fn goes_on(&mut self) {
        self.ticks.send_modify(|ticks| *ticks += 1);
        let said = timeout(LIMIT, self.open.message()).await;
        assert!(matches!(said, Ok(Ok(Some(_)))), "the stream beside it: {said:?}");
    }

    async fn explain(&self, person: &Person) -> Result<ExplainRoutingResponse, Status> {
        let request = self.world.request(person, ExplainRoutingRequest::default());
        Ok(DecisionServiceClient::new(self.gateway.clone()).explain_routing(request).await?.into_inner())
    }

    async fn port(&self) -> SocketAddr {
        listen(&self.world, self.gateway.clone()).await
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.world.token(&somebody()))
    }
}

/// Says something at each tick.
fn inbox(ticks: watch::Receiver<usize>) -> Response<Body> {
    let ready = WatchInboxResponse { cursor: String::new(), event: Some(Event::Ready(Availability::default())) };
    let event = encoded(&ready);
    let events = stream::unfold((ticks, event), |(mut ticks, event)| async move {
        ticks.changed().await.ok()?;
        Some((Ok::<_, Status>(Frame::data(event.clone())), (ticks, event)))
    });
    Response::builder().header("content-type", "application/grpc").body(Body::new(StreamBody::new(events))).unwrap()
}

/// Reads the request, as a service does.
fn explaining() -> Scripted {
    let answer = encoded(&ExplainRoutingResponse::default());
    Scripted::default().on("ExplainRouting", move |request| {
        let answer = answer.clone();
        async move {
            request.into_body().collect().await.unwrap();
            good(answer)
        }
    })
}

#[tokio::test]
async fn a_request_with_thousands_of_bad_fields_is_refused_and_the_streams_beside_it_go_on() {
    let mut street = Street::new(Scripted::default().on("SimulateRouting", |_| async {
        let mut fields = Fields::new();
        for place in 0..BAD {
            fields.uuid(&format!("teams[0].removed_user_ids[{place}]"), "bad");
        }
        Status::from(fields.finish().unwrap_err()).into_http()
    }))
    .await;
    let port = street.port().await;
    let channel = Endpoint::from_shared(format!("http://{port}")).unwrap().connect().await.unwrap();
    for _ in 0..10 {
        let request = street.world.request(&Person::owner(), SimulateRoutingRequest::default());
        let refused = SimulationServiceClient::new(channel.clone()).simulate_routing(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_FIELDS"));
        let more: usize = metadata(&refused, "more").unwrap().parse().unwrap();
        assert_eq!(bad_fields(&refused).len() + more, BAD);
    }
    street.goes_on().await;
}

#[tokio::test]
async fn a_service_that_says_too_much_in_its_headers_ends_nothing_but_that_call() {
    let long = || Status::invalid_argument("far too long ".repeat(10_000)).into_http();
    let mut street = Street::new(explaining().on("CreateTopic", move |_| std::future::ready(long()))).await;
    for _ in 0..10 {
        let request = street.world.request(&Person::owner(), CreateTopicRequest::default());
        let refused = TopicServiceClient::new(street.gateway.clone()).create_topic(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    street.goes_on().await;
    street.explain(&somebody()).await.unwrap();
}

#[tokio::test]
async fn headers_that_no_service_would_take_are_refused_over_http1_and_http2_and_others_go_on() {
    let mut street = Street::new(explaining()).await;
    let (port, bearer, message) = (street.port().await, street.bearer(), encoded(&ExplainRoutingRequest::default()));
    for length in [13_000, 15_000] {
        let headers = [WEB, ("Authorization", &*bearer), ("X", &*"x".repeat(length))];
        let answer = posted(port, EXPLAIN, &headers, &message).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("grpc-status: 8"), "{answer}");
        let mut request = street.world.request(&somebody(), ExplainRoutingRequest::default());
        request.metadata_mut().insert("x", "x".repeat(length).parse().unwrap());
        let channel = Endpoint::from_shared(format!("http://{port}")).unwrap().connect().await.unwrap();
        let refused = DecisionServiceClient::new(channel).explain_routing(request).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::ResourceExhausted, "HEADERS_TOO_LARGE"));
        assert_eq!(metadata(&refused, "limit").as_deref(), Some("12288"));
    }
    for length in [20_000, 100_000, 300_000] {
        let headers = [WEB, ("Authorization", &*bearer), ("X", &*"x".repeat(length))];
        let answer = posted(port, EXPLAIN, &headers, &message).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{length}: {answer}");
        let long = format!("{EXPLAIN}?{}", "x".repeat(length));
        let answer = posted(port, &long, &[WEB, ("Authorization", &*bearer)], &message).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{length}: {answer}");
    }
    let answer =
        posted(port, EXPLAIN, &[WEB, ("Authorization", &*bearer), ("X", &*"x".repeat(10_000))], &message).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.replace(' ', "").contains("grpc-status:0"), "{answer}");
    street.goes_on().await;
}

#[tokio::test]
async fn headers_between_two_neighbours_go_no_further_and_say_nothing_of_the_service() {
    let mut street = Street::new(explaining()).await;
    let (port, bearer, message) = (street.port().await, street.bearer(), encoded(&ExplainRoutingRequest::default()));
    for name in ["Proxy-Connection", "Keep-Alive", "Upgrade", "TE"] {
        for _ in 0..10 {
            let answer = posted(port, EXPLAIN, &[WEB, ("Authorization", &*bearer), (name, "x")], &message).await;
            assert!(answer.replace(' ', "").contains("grpc-status:0"), "{name}: {answer}");
        }
    }
    street.explain(&somebody()).await.unwrap();
    street.goes_on().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_calls_that_are_given_a_millisecond_end_nothing_but_themselves() {
    let answer = encoded(&ExplainRoutingResponse::default());
    let mut street = Street::new(Scripted::default().on("ExplainRouting", move |_| {
        let answer = answer.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            good(answer)
        }
    }))
    .await;
    let token = street.world.request(&Person::owner(), ()).metadata().clone();
    let gateway = street.gateway.clone();
    let hurried = || {
        let mut request = Request::new(ExplainRoutingRequest::default());
        *request.metadata_mut() = token.clone();
        request.metadata_mut().insert("grpc-timeout", "1m".parse().unwrap());
        let mut client = DecisionServiceClient::new(gateway.clone());
        async move { client.explain_routing(request).await.err().map(|status| status.code()) }
    };
    let mut late = 0;
    // Not all at once: on a busy machine nobody would come to answer the connection's own pings.
    for _ in 0..20 {
        let ends = join_all((0..100).map(|_| tokio::spawn(hurried()))).await;
        late += ends.into_iter().filter(|end| matches!(end, Ok(Some(Code::DeadlineExceeded)))).count();
        street.goes_on().await;
    }
    assert!(late > 1000, "{late}");
    street.explain(&somebody()).await.unwrap();
}

/// Says that it was dropped.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn who_cancels_a_request_that_his_service_does_not_read_is_heard_and_keeps_nobody_waiting() {
    let (begun, dropped) = (Count::default(), Arc::new(AtomicBool::new(false)));
    let (seen_begun, seen_dropped) = (begun.clone(), dropped.clone());
    let script = explaining().on("CreateTopic", move |request| {
        let guard = Dropped(dropped.clone());
        begun.one();
        async move {
            let _kept = (request, guard);
            std::future::pending().await
        }
    });
    let mut street = Street::new(script).await;
    // More than the service takes in without reading it.
    let message = CreateTopicRequest { name: "n".repeat(3_000_000), ..CreateTopicRequest::default() };
    let request = street.world.request(&Person::owner(), message);
    let channel = Endpoint::from_shared(format!("http://{}", street.port().await)).unwrap().connect().await.unwrap();
    let mut client = TopicServiceClient::new(channel);
    let call = tokio::spawn(async move { client.create_topic(request).await });
    eventually("the request is at the service", LIMIT, async || seen_begun.get() == 1).await;
    let beside = timeout(LIMIT, street.explain(&somebody())).await;
    beside.expect("what nobody reads keeps no other request back").unwrap();
    assert!(!call.is_finished() && !seen_dropped.load(Ordering::SeqCst));
    call.abort();
    eventually("the service hears of it", LIMIT, async || seen_dropped.load(Ordering::SeqCst)).await;
    street.goes_on().await;
}
