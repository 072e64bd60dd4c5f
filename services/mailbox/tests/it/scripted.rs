//! An SMTP server that does as it is told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use diwan_proto::mailbox::v1::{Security, ServerSettings};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// What to do with one mail.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Take it.
    Accept,
    /// Answer this to RCPT.
    Recipient(&'static str),
    /// Read it whole and answer this.
    Answer(&'static str),
    /// Read it whole, then hang up.
    HangUp,
    /// Read it whole, then say nothing.
    Stall,
}

/// The server; it ends with the test.
pub struct Smtp {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// What to do with the next mails; the last deed is kept.
    deeds: Vec<Deed>,
    recipients: usize,
    mails: Vec<String>,
}

impl Smtp {
    pub async fn start(deeds: &[Deed]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen { deeds: deeds.to_vec(), ..Seen::default() }));
        let all = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, all.clone()));
            }
        });
        Self { address, seen }
    }

    /// How to reach it.
    pub fn settings(&self) -> ServerSettings {
        ServerSettings {
            host: "127.0.0.1".into(),
            port: self.address.port().into(),
            security: Security::Plain.into(),
            ..ServerSettings::default()
        }
    }

    /// The mails that it has read whole.
    pub fn mails(&self) -> Vec<String> {
        self.seen.lock().unwrap().mails.clone()
    }

    /// How often somebody began to send.
    pub fn tries(&self) -> usize {
        self.seen.lock().unwrap().recipients
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut deed = Deed::Accept;
    say(&mut stream, "220 scripted.test").await?;
    loop {
        let line = line(&mut stream).await?;
        let verb = line.split([' ', ':']).next()?.to_ascii_uppercase();
        match verb.as_str() {
            "QUIT" => return say(&mut stream, "221 bye").await,
            "RCPT" => {
                deed = next(&seen);
                let Deed::Recipient(answer) = deed else {
                    say(&mut stream, "250 ok").await?;
                    continue;
                };
                say(&mut stream, answer).await?;
            }
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                let mail = mail(&mut stream).await?;
                seen.lock().unwrap().mails.push(mail);
                match deed {
                    Deed::HangUp => return None,
                    Deed::Stall => std::future::pending().await,
                    Deed::Answer(answer) => say(&mut stream, answer).await?,
                    Deed::Accept | Deed::Recipient(_) => say(&mut stream, "250 taken").await?,
                }
            }
            _ => say(&mut stream, "250 ok").await?,
        }
    }
}

fn next(seen: &Mutex<Seen>) -> Deed {
    let mut seen = seen.lock().unwrap();
    seen.recipients += 1;
    if seen.deeds.len() > 1 { seen.deeds.remove(0) } else { seen.deeds[0] }
}

async fn mail(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut mail = String::new();
    loop {
        match line(stream).await?.as_str() {
            "." => return Some(mail),
            line => mail = mail + line.strip_prefix('.').unwrap_or(line) + "\n",
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await.ok()?;
    (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn say(stream: &mut BufReader<TcpStream>, line: &str) -> Option<()> {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.ok()
}
