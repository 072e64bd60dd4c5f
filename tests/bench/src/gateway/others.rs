//! Envoy and HAProxy in front of the same service, set up to do as little as the comparison allows.

use std::{net::SocketAddr, path::Path, time::Duration};

use diwan_e2e::{Failure, ports::free_address};
use serde_json::json;
use tokio::{net::TcpStream, process::Child};

use super::load::{Packages, pinned};

const READY_LIMIT: Duration = Duration::from_secs(20);

/// A program in front of the service.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) child: Child,
}

impl Proxy {
    pub(super) fn pid(&self) -> Result<u32, Failure> {
        self.child.id().ok_or_else(|| "a proxy has ended".into())
    }
}

/// Envoy with one worker: its router behind its JWT filter, which checks the same tokens by the same keys. `cached` lets the
/// filter remember tokens that it has verified, as ours does.
pub(super) async fn envoy(core: &str, jwks: &str, backend: &str, home: &Path, cached: bool) -> Result<Proxy, Failure> {
    let address = free_address()?;
    let config = home.join("envoy.json");
    std::fs::write(&config, envoy_config(address, jwks, backend.parse()?, cached).to_string())?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.diwan/bin/envoy");
    let mut command = pinned(core, &program);
    command.arg("-c").arg(config).args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
    started(address, command.spawn()?).await
}

/// HAProxy with one thread, which checks nothing.
pub(super) async fn haproxy(core: &str, packages: &Packages, backend: &str, home: &Path) -> Result<Proxy, Failure> {
    let address = free_address()?;
    let config = home.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  http-reuse always\nlisten all\n  bind {address} proto h2\n  server one {backend} proto h2\n"
    );
    std::fs::write(&config, text)?;
    let mut command = packages.pinned(core, "usr/sbin/haproxy")?;
    command.arg("-db").arg("-f").arg(config);
    started(address, command.spawn()?).await
}

async fn started(address: SocketAddr, child: Child) -> Result<Proxy, Failure> {
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(READY_LIMIT, listening).await.map_err(|_| format!("nobody listens at {address}"))?;
    Ok(Proxy { address, child })
}

fn envoy_config(listen: SocketAddr, jwks: &str, backend: SocketAddr, cached: bool) -> serde_json::Value {
    let socket =
        |address: SocketAddr| json!({"socket_address": {"address": address.ip(), "port_value": address.port()}});
    let mut provider = json!({
        "issuer": diwan_access::keys::ACCESS, "audiences": [diwan_access::token::AUDIENCE], "forward": true,
        "local_jwks": {"inline_string": jwks},
    });
    if cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": 1000});
    }
    let filters = json!([
        {"name": "envoy.filters.http.jwt_authn", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"diwan": provider},
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "diwan"}}]}},
        {"name": "envoy.filters.http.router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},
    ]);
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench", "codec_type": "HTTP2", "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}]}]},
    });
    let http2 = json!({"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}}}});
    json!({"static_resources": {
        "listeners": [{"address": socket(listen), "filter_chains": [{"filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}],
        "clusters": [{"name": "backend", "type": "STATIC", "typed_extension_protocol_options": http2,
            "load_assignment": {"cluster_name": "backend", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": socket(backend)}}]}]}}],
    }})
}
