//! The byte stream to the server: plain, in TLS, compressed, each wrapped around the one before.

use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

use crate::{
    deflate::Deflate,
    endpoint::{Limits, Trust},
    error::Kind,
    frame::{Decoder, Frame},
};

pub(crate) struct Wire {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    pub(crate) decoder: Decoder,
    deflate: Option<Deflate>,
}

/// How much is handed to the network at a time; each such piece may take [`Limits::silence`].
const CHUNK: usize = 64 << 10;

impl Wire {
    pub(crate) fn new(stream: TcpStream, limits: &Limits) -> Self {
        let (reader, writer) = stream.into_split();
        let decoder = Decoder::new(limits.max_message, limits.max_line);
        Self { reader: Box::new(reader), writer: Box::new(writer), decoder, deflate: None }
    }

    /// The next response. Fails when nothing comes for `silence`, or the response is not whole by `deadline`, however
    /// lively the server is. May be dropped at any time: nothing read gets lost.
    pub(crate) async fn frame(&mut self, silence: Duration, deadline: Instant) -> Result<Frame, Kind> {
        loop {
            // Asked before looking at what has come in: a server that never stops talking is late as well.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Kind::Timeout);
            }
            if let Some(frame) = self.decoder.next()? {
                return Ok(frame);
            }
            if let Some(deflate) = &mut self.deflate
                && deflate.inflate(&mut self.decoder.buffer)?
            {
                continue;
            }
            let buffer = self.deflate.as_mut().map_or_else(|| self.decoder.room(), Deflate::room);
            let wait = silence.min(left);
            if timeout(wait, self.reader.read_buf(buffer)).await.map_err(|_| Kind::Timeout)?? == 0 {
                return Err(Kind::Eof);
            }
        }
    }

    /// Sends and flushes. What belongs together must come in one call: many small writes cost a packet each.
    pub(crate) async fn send(&mut self, bytes: &[u8], silence: Duration) -> Result<(), Kind> {
        let late = |_| Kind::Timeout;
        for chunk in bytes.chunks(CHUNK) {
            let sent = match &mut self.deflate {
                Some(deflate) => timeout(silence, self.writer.write_all(&deflate.deflate(chunk)?)).await,
                None => timeout(silence, self.writer.write_all(chunk)).await,
            };
            sent.map_err(late)??;
        }
        Ok(timeout(silence, self.writer.flush()).await.map_err(late)??)
    }

    /// Closes the sending side, so that the server sees an end rather than a break.
    pub(crate) async fn shutdown(&mut self, limit: Duration) {
        // Whether the farewell arrives changes nothing for anybody.
        let _ = timeout(limit, self.writer.shutdown()).await;
    }

    /// Puts TLS around the stream.
    ///
    /// # Errors
    /// Also when the server has said anything after its consent to TLS: an attacker on the line could have put it
    /// there, to be taken for protected (CVE-2011-0411).
    pub(crate) async fn encrypt(&mut self, host: &str, trust: &Trust, limit: Duration) -> Result<(), Kind> {
        if !self.decoder.buffer.is_empty() {
            return Err(Kind::Garbage("data between STARTTLS and the handshake"));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Kind::Argument("no valid host name"))?;
        let (reader, writer) = self.take();
        let connector = TlsConnector::from(trust.0.clone());
        let handshake = connector.connect(name, tokio::io::join(reader, writer));
        let stream = timeout(limit, handshake).await.map_err(|_| Kind::Timeout)??;
        let (reader, writer) = tokio::io::split(stream);
        (self.reader, self.writer) = (Box::new(reader), Box::new(writer));
        Ok(())
    }

    /// Puts DEFLATE around the stream (RFC 4978). What has come in since the consent is compressed already.
    pub(crate) fn compress(&mut self) {
        self.deflate = Some(Deflate::new(self.decoder.buffer.split()));
    }

    fn take(&mut self) -> (Box<dyn AsyncRead + Send + Sync + Unpin>, Box<dyn AsyncWrite + Send + Sync + Unpin>) {
        let reader = std::mem::replace(&mut self.reader, Box::new(tokio::io::empty()));
        let writer = std::mem::replace(&mut self.writer, Box::new(tokio::io::empty()));
        (reader, writer)
    }
}
