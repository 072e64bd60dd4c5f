//! TLS at the front and between services, over real connections.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use diwan_runtime::{Clock, Env, MockClock, SystemClock};
use diwan_testkit::{Authority, World, eventually};
use diwan_transport::{BoxError, CLIENT_ADDRESS, Network, NetworkError, SERVICES, Tls, Transport};
use http::{Uri, uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject as _},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Request, Status, client,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::support::{Fake, INNER, LIMIT, OPEN, ask, listen, remote, request, world};

fn fine() -> Fake {
    Fake::new(async |_| Ok("fine".to_owned()))
}

/// Behind the certificate in `folder`, as the gateway is for clients.
async fn front(world: &World, folder: &Path, clock: &Arc<dyn Clock>) -> SocketAddr {
    let tls = Tls::front(folder.to_owned(), clock, &world.drain).await.unwrap();
    listen(fine().front(world).behind_tls(tls), &world.drain).await
}

/// A client's handshake without a certificate of its own, with a server that has to bear `name`.
async fn handshake(
    address: SocketAddr,
    trusted: &Authority,
    version: &'static SupportedProtocolVersion,
    (name, protocols): (&'static str, &[&str]),
) -> Result<TlsStream<TcpStream>, BoxError> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.pem().as_bytes())?)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(address).await?;
    Ok(TlsConnector::from(Arc::new(config)).connect(name.try_into()?, stream).await?)
}

/// A client's channel, on one connection that is made now.
async fn channel(
    address: SocketAddr,
    trusted: &Authority,
    version: &'static SupportedProtocolVersion,
) -> Result<Channel, BoxError> {
    let stream = handshake(address, trusted, version, ("front.example", &["h2"])).await?;
    channel_on(stream).await
}

async fn channel_on(stream: TlsStream<TcpStream>) -> Result<Channel, BoxError> {
    let mut stream = Some(TokioIo::new(stream));
    let once = service_fn(move |_: Uri| std::future::ready(stream.take().ok_or("only one connection")));
    Ok(Endpoint::from_static("http://front.example").connect_with_connector(once).await?)
}

async fn call(channel: Channel) -> Result<String, Status> {
    let mut client = client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(OPEN);
    Ok(client.unary(request(), path, ProstCodec::<String, String>::default()).await?.into_inner())
}

#[tokio::test]
async fn a_client_who_trusts_the_authority_is_answered_over_tls_1_2_and_1_3_and_nobody_else() {
    let (world, authority, folder) = (world(), Authority::new(), TempDir::new().unwrap());
    authority.issue(folder.path(), &["front.example"]);
    let address = front(&world, folder.path(), &SystemClock::shared()).await;
    for version in [&TLS12, &TLS13] {
        let channel = channel(address, &authority, version).await.unwrap();
        assert_eq!(call(channel).await.unwrap(), "fine");
    }
    assert!(channel(address, &Authority::new(), &TLS13).await.is_err(), "another authority");
    let plain = ask(remote(address).to("billing"), OPEN, request()).await.unwrap_err();
    assert_eq!(plain.code(), Code::Unavailable);
}

#[tokio::test]
async fn http2_is_chosen_where_both_are_offered_and_http1_where_nothing_else_is() {
    let (world, authority, folder) = (world(), Authority::new(), TempDir::new().unwrap());
    authority.issue(folder.path(), &["front.example"]);
    let address = front(&world, folder.path(), &SystemClock::shared()).await;
    for (offered, chosen) in [(&["http/1.1", "h2"][..], "h2"), (&["http/1.1"], "http/1.1")] {
        let stream = handshake(address, &authority, &TLS13, ("front.example", offered)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen.as_bytes()));
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_the_old_ones_go_on() {
    let (world, folder) = (world(), TempDir::new().unwrap());
    let [old, new] = [Authority::new(), Authority::new()];
    old.issue(folder.path(), &["front.example"]);
    let clock = MockClock::at(SystemClock.now());
    let address = front(&world, folder.path(), &(Arc::new(clock.clone()) as Arc<dyn Clock>)).await;
    let before = channel(address, &old, &TLS13).await.unwrap();
    assert_eq!(call(before.clone()).await.unwrap(), "fine");
    assert!(channel(address, &new, &TLS13).await.is_err());
    new.issue(folder.path(), &["front.example"]);
    let after = eventually("the new certificate is shown", LIMIT, async || {
        clock.advance(Duration::from_secs(2));
        channel(address, &new, &TLS13).await.ok()
    })
    .await;
    assert_eq!(call(after).await.unwrap(), "fine");
    assert_eq!(call(before).await.unwrap(), "fine", "who was there stays");
    assert!(channel(address, &old, &TLS13).await.is_err(), "the old one is shown no more");
}

/// An installation with an authority of its own, and `billing` served in it.
struct Installation {
    world: World,
    authority: Authority,
    folders: TempDir,
    address: SocketAddr,
}

impl Installation {
    async fn new(fake: Fake) -> Self {
        Self::whose_billing_bears("billing.diwan.internal", fake).await
    }

    async fn whose_billing_bears(name: &str, fake: Fake) -> Self {
        let (world, authority, folders) = (world(), Authority::new(), TempDir::new().unwrap());
        let folder = folders.path().join("billing");
        authority.issue(&folder, &[name]);
        let tls = Tls::between(folder, &SystemClock::shared(), &world.drain).await.unwrap();
        let address = listen(fake.front(&world).behind_tls(tls), &world.drain).await;
        Self { world, authority, folders, address }
    }

    /// The way to billing with the certificate in a folder.
    async fn with(&self, folder: &Path) -> Transport {
        let tls = Tls::between(folder.to_owned(), &SystemClock::shared(), &self.world.drain).await.unwrap();
        Network::remote_over(&env("https", self.address), Some(&tls)).unwrap().to("billing")
    }

    /// The way to billing with a good certificate for `names`.
    async fn with_names(&self, names: &[&str]) -> Transport {
        let folder = self.folders.path().join("client");
        self.authority.issue(&folder, names);
        self.with(&folder).await
    }
}

/// Every service at `address`.
pub fn env(scheme: &str, address: SocketAddr) -> Env {
    SERVICES.iter().fold(Env::default(), |env, service| {
        env.with(format!("DIWAN_{}_ADDRESS", service.to_uppercase()), format!("{scheme}://{address}"))
    })
}

#[tokio::test]
async fn services_reach_one_another_by_the_names_in_their_certificates() {
    let installation = Installation::new(fine()).await;
    let identity = installation.world.signer("identity");
    for names in [&["identity.diwan.internal"][..], &["team.diwan.internal", "identity.diwan.internal"]] {
        let way = installation.with_names(names).await.signed(&identity);
        assert_eq!(ask(way, INNER, request()).await.unwrap(), "fine", "{names:?}");
    }
}

#[tokio::test]
async fn a_token_that_comes_over_a_connection_with_another_name_is_nobodys() {
    let installation = Installation::new(fine()).await;
    let identity = installation.world.signer("identity");
    for name in ["team.diwan.internal", "identity.example.com", "operator.example.com"] {
        let way = installation.with_names(&[name]).await;
        let stolen = ask(way.clone().signed(&identity), INNER, request()).await.unwrap_err();
        assert_eq!(stolen.code(), Code::Unauthenticated, "{name}");
        assert_eq!(ask(way, OPEN, request()).await.unwrap(), "fine", "{name}: as nobody in particular");
    }
}

#[tokio::test]
async fn whoever_has_no_good_certificate_of_the_installation_is_refused() {
    let installation = Installation::new(fine()).await;
    let refused = async |way: Transport, what: &str| {
        let status = ask(way, OPEN, request()).await.expect_err(what);
        assert_eq!(status.code(), Code::Unavailable, "{what}");
    };
    refused(remote(installation.address).to("billing"), "plaintext").await;
    let folder = installation.folders.path().join("refused");
    installation.authority.issue_until(&folder, &["identity.diwan.internal"], 2020);
    refused(installation.with(&folder).await, "expired").await;
    Authority::new().issue_for(&folder, "identity");
    // It trusts the installation, and the installation does not trust it.
    std::fs::write(folder.join("ca.crt"), installation.authority.pem()).unwrap();
    refused(installation.with(&folder).await, "of another authority").await;
    let stranger = Authority::new();
    installation.authority.issue_for(&folder, "identity");
    std::fs::write(folder.join("ca.crt"), stranger.pem()).unwrap();
    refused(installation.with(&folder).await, "who does not trust the installation").await;
    // Without a certificate the handshake itself may look good to the client (TLS 1.3): what counts is that no call goes through.
    let naked = ("billing.diwan.internal", &["h2"][..]);
    let called = match handshake(installation.address, &installation.authority, &TLS13, naked).await {
        Ok(stream) => match channel_on(stream).await {
            Ok(channel) => call(channel).await.map_err(BoxError::from),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    assert!(called.is_err(), "without a certificate");
}

#[tokio::test]
async fn a_service_under_another_name_is_not_talked_to() {
    let impostor = Installation::whose_billing_bears("team.diwan.internal", fine()).await;
    let way = impostor.with_names(&["identity.diwan.internal"]).await;
    assert_eq!(ask(way, OPEN, request()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_client_whose_certificate_has_expired_is_back_with_a_new_one_without_a_restart() {
    let installation = Installation::new(fine()).await;
    let folder = installation.folders.path().join("late");
    installation.authority.issue_until(&folder, &["identity.diwan.internal"], 2020);
    let clock = MockClock::at(SystemClock.now());
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let tls = Tls::between(folder.clone(), &shared, &installation.world.drain).await.unwrap();
    let way = Network::remote_over(&env("https", installation.address), Some(&tls)).unwrap().to("billing");
    assert_eq!(ask(way.clone(), OPEN, request()).await.unwrap_err().code(), Code::Unavailable);
    installation.authority.issue_for(&folder, "identity");
    eventually("the new certificate is used", LIMIT, async || {
        clock.advance(Duration::from_secs(2));
        ask(way.clone(), OPEN, request()).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_address_that_says_something_else_of_tls_than_the_switch_ends_the_start() {
    let (world, folder) = (world(), TempDir::new().unwrap());
    Authority::new().issue_for(folder.path(), "gateway");
    let tls = Tls::between(folder.path().to_owned(), &SystemClock::shared(), &world.drain).await.unwrap();
    let address = "127.0.0.1:1".parse().unwrap();
    for (scheme, tls) in [("http", Some(&tls)), ("https", None)] {
        let refused = Network::remote_over(&env(scheme, address), tls).err().unwrap();
        assert!(matches!(refused, NetworkError::Scheme(_)), "{scheme}: {refused}");
    }
}

/// Tells the client's address, as the service sees it.
fn told_address() -> Fake {
    Fake::new(async |request: Request<String>| {
        let told = request.metadata().get(CLIENT_ADDRESS).map(|value| value.to_str().unwrap().to_owned());
        assert!(request.metadata().get("diwan-gateway-token").is_none(), "no service sees it");
        Ok(told.unwrap_or_default())
    })
}

fn from(address: &str) -> Request<String> {
    let mut request = request();
    request.metadata_mut().insert(CLIENT_ADDRESS, address.parse().unwrap());
    request
}

#[tokio::test]
async fn only_the_gateways_word_on_a_clients_address_is_believed() {
    let world = world();
    let way = remote(listen(told_address().front(&world), &world.drain).await).to("billing");
    let address = async |way: Transport, request| ask(way, OPEN, request).await.unwrap();
    let gateway = way.clone().forwarding(&world.signer("gateway"));
    for _ in 0..2 {
        assert_eq!(address(gateway.clone(), from("192.0.2.1")).await, "192.0.2.1");
        assert_eq!(address(way.clone(), from("192.0.2.2")).await, "", "nobody says so");
    }
    assert_eq!(address(way.clone().forwarding(&world.signer("team")), from("192.0.2.3")).await, "", "another service");
    assert_eq!(address(way.clone().signed(&world.signer("gateway")), from("192.0.2.4")).await, "", "on its own behalf");
    let with = |token: String| {
        let mut request = from("192.0.2.5");
        request.metadata_mut().insert("diwan-gateway-token", token.parse().unwrap());
        request
    };
    let for_team = world.signer("gateway").service_token("team").unwrap().to_str().unwrap().to_owned();
    assert_eq!(address(way.clone(), with(for_team)).await, "", "for another service");
    assert_eq!(address(way, with("nonsense".to_owned())).await, "");
}

#[tokio::test]
async fn with_certificates_the_gateway_is_known_by_its_own() {
    let installation = Installation::new(told_address()).await;
    let gateway = installation.with_names(&["gateway.diwan.internal"]).await;
    assert_eq!(ask(gateway, OPEN, from("192.0.2.1")).await.unwrap(), "192.0.2.1");
    let team = installation.with_names(&["team.diwan.internal"]).await;
    let stolen = team.forwarding(&installation.world.signer("gateway"));
    assert_eq!(ask(stolen, OPEN, from("192.0.2.2")).await.unwrap(), "");
}
