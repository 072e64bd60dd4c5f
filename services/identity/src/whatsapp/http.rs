//! One POST over a connection of its own: messages are few, so that nothing is gained by keeping connections.

use std::{fmt, pin::pin, sync::Arc, time::Duration};

use futures::future::{Either, select};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Url;

/// Any error that only the log needs to know.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The longest that a connection may take to be there.
const CONNECTING: Duration = Duration::from_secs(5);
/// What comes after the head of an answer may take so long; it decides nothing.
const BODY: Duration = Duration::from_secs(3);
const LONGEST_BODY: usize = 64 * 1024;

/// Something took too long.
#[derive(Debug)]
struct Late(Duration);

impl fmt::Display for Late {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no answer within {:?}", self.0)
    }
}

impl std::error::Error for Late {}

/// A request that got no answer.
#[derive(Debug)]
pub enum Failure {
    /// It never left.
    Unsent(Cause),
    /// It left, or a part of it.
    Unanswered(Cause),
}

/// What came back.
pub struct Answer {
    pub status: u16,
    /// From `retry-after`, where that is a number of seconds (RFC 9110 section 10.2.3).
    pub retry_after: Option<Duration>,
    /// Empty where it did not arrive whole.
    pub body: Bytes,
}

/// Sends JSON.
pub struct Client {
    tls: TlsConnector,
    limit: Duration,
}

impl Client {
    /// Trusts the roots that browsers trust. `limit` is how long a server may think about a request.
    pub fn new(limit: Duration) -> Result<Self, Cause> {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), limit })
    }

    /// Posts `json` to `url` with a bearer token. Redirections are answers like others.
    pub async fn post(&self, url: &Url, token: &str, json: String) -> Result<Answer, Failure> {
        let request = request(url, token, json).map_err(Failure::Unsent)?;
        let connected = timeout(CONNECTING, self.connect(url)).await;
        let stream = connected.map_err(|_| Failure::Unsent(Late(CONNECTING).into()))?.map_err(Failure::Unsent)?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| Failure::Unsent(error.into()))?;
        let exchange = pin!(async {
            let head = timeout(self.limit, sender.send_request(request)).await;
            let head = head.map_err(|_| Failure::Unanswered(Late(self.limit).into()))?;
            Ok(answer(head.map_err(|error| Failure::Unanswered(error.into()))?).await)
        });
        match select(exchange, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, exchange)) => exchange.await,
        }
    }

    async fn connect(&self, url: &Url) -> Result<Box<dyn Stream>, Cause> {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, url.port_or_known_default().unwrap_or(443))).await?;
        stream.set_nodelay(true)?;
        if url.scheme() != "https" {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Box::new(self.tls.connect(name, stream).await?))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

fn request(url: &Url, token: &str, json: String) -> Result<Request<Full<Bytes>>, Cause> {
    let mut authorization = header::HeaderValue::try_from(format!("Bearer {token}"))?;
    authorization.set_sensitive(true);
    let host = url.port().map_or_else(String::new, |port| format!(":{port}"));
    Ok(Request::post(url.path())
        .header(header::HOST, format!("{}{host}", url.host_str().unwrap_or_default()))
        .header(header::AUTHORIZATION, authorization)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONNECTION, "close")
        .body(Full::from(json))?)
}

async fn answer(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let seconds = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let body = timeout(BODY, Limited::new(body, LONGEST_BODY).collect()).await;
    Answer {
        status: head.status.as_u16(),
        retry_after: seconds.map(Duration::from_secs),
        body: body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default(),
    }
}
