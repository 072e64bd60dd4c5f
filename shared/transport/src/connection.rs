//! One HTTP/2 connection to a service.

use std::time::Duration;

use bytes::Bytes;
use h2::{
    Ping, PingPong,
    client::{Builder, SendRequest},
};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::time::{sleep, timeout};

/// Without keepalive a connection never notices a dead peer.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(3);
/// How much of an answer lies here while its reader takes nothing, bytes: all answers of a service share the connection, so what
/// slow readers leave there must be little beside [`SHARED_WINDOW`].
const WINDOW: u32 = 65_535;
/// The most that HTTP/2 allows (RFC 9113 section 6.9.1): thousands of slow readers keep nobody else's answer back.
pub(crate) const SHARED_WINDOW: u32 = (1 << 31) - 1;
/// Of an answer; the status of a refusal is in it, with its details. h2 ends the connection over headers of four times as much, and
/// with it every call and stream of a whole gateway: this is for a defect, a refusal itself stays below 8 KiB (`diwan_fault::Fields`).
const HEADERS: u32 = 1 << 20;
/// Streams that were cancelled here of which is remembered for a second that their answers may still come.
const CANCELLED: usize = 1 << 16;

/// Begins to speak HTTP/2 over `stream`; the connection lives until either side ends it or the other one is silent.
///
/// # Errors
/// When the other side does not speak it.
pub(crate) async fn shake_hands<S>(stream: S) -> Result<SendRequest<Bytes>, h2::Error>
where
    S: Read + Write + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(SHARED_WINDOW);
    builder.max_header_list_size(HEADERS).enable_push(false);
    // h2 ends a connection whose peer errs too often, for as long as it lives. Ours is no stranger: what counts there is what clients
    // do, who cancel their calls and do not read their answers, and they are counted at the gateway's front.
    builder.max_concurrent_reset_streams(CANCELLED).max_local_error_reset_streams(None).data_frame_budget(usize::MAX);
    let (requests, mut connection) = builder.handshake(TokioIo::new(stream)).await?;
    let pings = connection.ping_pong();
    tokio::spawn(async move {
        tokio::select! {
            ended = connection => if let Err(error) = ended {
                tracing::debug!(%error, "a connection to a service ended");
            },
            // Dropping the connection fails every call that it carries.
            () = silence(pings) => tracing::debug!("a service that answered nothing was let go"),
        }
    });
    Ok(requests)
}

/// Completes once the other side has left a ping unanswered.
async fn silence(pings: Option<PingPong>) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        sleep(KEEPALIVE).await;
        if !matches!(timeout(KEEPALIVE_ANSWER, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}
