//! Customers and their mail programs: they send by SMTP and read by IMAP, with clients that share no code with Diwan's
//! own mail path.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use diwan_mailhost::MailHost;
use futures::TryStreamExt as _;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor, address::Envelope};
use tokio::net::TcpStream;

use crate::Failure;

const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Hands `raw` to the mail server as `from` for `to`; returns when the server had accepted it.
///
/// # Errors
/// When the server refuses.
pub async fn send(host: &MailHost, from: &str, to: &str, raw: &[u8]) -> Result<Instant, Failure> {
    let envelope = Envelope::new(Some(from.parse::<Address>()?), vec![to.parse::<Address>()?])?;
    let smtp = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host.smtp().ip().to_string())
        .port(host.smtp().port())
        .timeout(Some(Duration::from_secs(10)))
        .build();
    smtp.send_raw(&envelope, &with_crlf(raw)).await?;
    Ok(Instant::now())
}

/// Waits until the mailbox of `user` holds a message that satisfies `wanted`, and returns it.
///
/// # Errors
/// When the mailbox cannot be read, or holds none after `limit`.
pub async fn wait_for(
    host: &MailHost,
    user: &str,
    limit: Duration,
    wanted: impl Fn(&[u8]) -> bool,
) -> Result<Vec<u8>, Failure> {
    let search = async {
        loop {
            let messages = read_all(host.imap(), user).await?;
            if let Some(found) = messages.into_iter().find(|raw| wanted(raw)) {
                return Ok::<_, Failure>(found);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    tokio::time::timeout(limit, search).await.map_err(|_| format!("no such mail for {user} within {limit:?}"))?
}

/// Everything in the INBOX of `user`.
///
/// # Errors
/// When the server refuses.
pub async fn read_all(imap: SocketAddr, user: &str) -> Result<Vec<Vec<u8>>, Failure> {
    let mut client = async_imap::Client::new(TcpStream::connect(imap).await?);
    client.read_response().await?.ok_or("the IMAP server says nothing")?;
    let mut session = client.login(user, diwan_mailhost::PASSWORD).await.map_err(|(error, _)| error)?;
    let mailbox = session.select("INBOX").await?;
    let mut messages = Vec::new();
    if mailbox.exists > 0 {
        let fetched: Vec<_> = session.fetch("1:*", "BODY.PEEK[]").await?.try_collect().await?;
        messages.extend(fetched.iter().filter_map(|message| message.body().map(<[u8]>::to_vec)));
    }
    session.logout().await?;
    Ok(messages)
}

/// SMTP carries lines that end in CRLF (RFC 5321 section 2.3.8); files often end them in LF.
fn with_crlf(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + raw.len() / 40);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").map_or(line, |line| line.strip_suffix(b"\r").unwrap_or(line));
        out.extend_from_slice(text);
        out.extend_from_slice(b"\r\n");
    }
    out
}
