//! Connections to a service that shows its certificate, with ours.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use super::{Tls, name_of};
use crate::BoxError;

/// Connects to one service. Whatever its address is, its certificate has to bear its name.
#[derive(Clone)]
pub(crate) struct Secured {
    tcp: HttpConnector,
    tls: Tls,
    name: ServerName<'static>,
}

impl Secured {
    /// To `service`; `None` where that can be no name or `tls` is not for connections between services.
    pub(crate) fn to(service: &str, tls: &Tls) -> Option<Self> {
        tls.client()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        Some(Self { tcp, tls: tls.clone(), name: name_of(service)? })
    }
}

impl Service<Uri> for Secured {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        // As they are now: each connection is made with the newest certificates.
        let (connecting, config, name) = (self.tcp.call(address), self.tls.client(), self.name.clone());
        Box::pin(async move {
            let config = config.ok_or("no certificate for connections between services")?;
            let stream = connecting.await?.into_inner();
            Ok(TokioIo::new(TlsConnector::from(config).connect(name, stream).await?))
        })
    }
}
