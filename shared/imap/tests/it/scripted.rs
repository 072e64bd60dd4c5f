//! A small IMAP server on loopback. It is polite by itself; a test's script speaks instead of it where it likes.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_compression::tokio::{bufread::DeflateDecoder, write::DeflateEncoder};
use diwan_imap::{Credentials, Endpoint, Error, Kind, Limits, Options, Secret, Security, Session};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// What the server does when the client has said something.
pub enum Act {
    /// Sends this; `{tag}` stands for the command's tag.
    Say(String),
    /// Sends this and these bytes at once.
    SayWithBytes(&'static str, Vec<u8>),
    /// Sends this and closes the connection.
    SayAndClose(String),
    /// Sends this and never speaks again.
    SayAndHang(String),
    /// Sends this again and again, always before the client could call it silent.
    Trickle(&'static str),
    /// Sends this and then bytes without end, as fast as they are taken.
    Flood(&'static str),
}

#[expect(clippy::unnecessary_wraps, reason = "it is what a script returns")]
pub fn say(text: impl Into<String>) -> Option<Act> {
    Some(Act::Say(text.into()))
}

/// The client's words: the command without its tag, `+ ` before it when it waits to send a literal (which is shown
/// as `<>`), `*` for the new connection, and what is neither as it stands (`DONE`, a SASL response).
type Script = dyn Fn(&str) -> Option<Act> + Send + Sync;

pub struct Scripted {
    pub port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Server {
    script: Arc<Script>,
    heard: Arc<Mutex<Vec<String>>>,
    offers: &'static str,
    tls: Option<Arc<ServerConfig>>,
    tls_first: bool,
}

pub const OFFERS: &str = "IMAP4rev1 AUTH=PLAIN SASL-IR IDLE UIDPLUS SPECIAL-USE LIST-EXTENDED COMPRESS=DEFLATE";

/// The polite server's messages, by UID.
pub fn mails() -> BTreeMap<u32, &'static str> {
    BTreeMap::from([
        (3, "Subject: three\r\n\r\nc\r\n"),
        (5, "Subject: five\r\n\r\ne\r\n"),
        (9, "Subject: nine\r\n\r\n"),
    ])
}

impl Scripted {
    pub async fn start(script: impl Fn(&str) -> Option<Act> + Send + Sync + 'static) -> Self {
        Self::start_with(OFFERS, None, false, script).await
    }

    pub async fn offering(offers: &'static str, script: impl Fn(&str) -> Option<Act> + Send + Sync + 'static) -> Self {
        Self::start_with(offers, None, false, script).await
    }

    pub async fn start_with(
        offers: &'static str,
        tls: Option<Arc<ServerConfig>>,
        tls_first: bool,
        script: impl Fn(&str) -> Option<Act> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let server = Server { script: Arc::new(script), heard: heard.clone(), offers, tls, tls_first };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                // A client that hangs up in the middle is part of many tests.
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        Self { port, heard }
    }

    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    pub fn endpoint(&self, security: Security) -> Endpoint {
        Endpoint { host: "localhost".into(), port: self.port, security }
    }

    pub async fn connect(&self, options: &Options) -> Result<Session, Error> {
        diwan_imap::connect(&self.endpoint(Security::Plain), &password("pencil"), options).await
    }

    /// A session with INBOX selected, and limits that a working server never meets.
    pub async fn inbox(&self) -> Session {
        self.inbox_with(options()).await
    }

    pub async fn inbox_with(&self, options: Options) -> Session {
        let mut session = self.connect(&options).await.unwrap();
        session.select(&"INBOX".into()).await.unwrap();
        session
    }
}

pub fn password(password: &str) -> Credentials {
    Credentials::Password { user: "joe".into(), password: Secret::new(password) }
}

pub fn options() -> Options {
    let limits = Limits { silence: Duration::from_secs(30), command: Duration::from_mins(1), ..Limits::default() };
    Options { limits, compress: false, ..Options::default() }
}

/// What kind of error it is, in a word.
pub fn kind(error: &Error) -> &'static str {
    match error.kind {
        Kind::No(_) => "No",
        Kind::Bad(_) => "Bad",
        Kind::Bye(_) => "Bye",
        Kind::Eof => "Eof",
        Kind::Timeout => "Timeout",
        Kind::Garbage(_) => "Garbage",
        Kind::Incomplete(_) => "Incomplete",
        Kind::Poisoned(_) => "Poisoned",
        Kind::Unsupported(_) => "Unsupported",
        Kind::NotSelected => "NotSelected",
        Kind::UidValidityChanged => "UidValidityChanged",
        Kind::Tls(_) => "Tls",
        Kind::Io(_) => "Io",
        _ => "other",
    }
}

type Reader = BufReader<Box<dyn AsyncRead + Send + Unpin>>;
type Writer = Box<dyn AsyncWrite + Send + Unpin>;

struct Peer {
    reader: Reader,
    writer: Writer,
}

impl Peer {
    fn new(reader: impl AsyncRead + Send + Unpin + 'static, writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { reader: BufReader::new(Box::new(reader)), writer: Box::new(writer) }
    }

    async fn say(&mut self, text: &[u8]) -> io::Result<()> {
        self.writer.write_all(text).await?;
        self.writer.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }

    async fn encrypted(self, tls: &Arc<ServerConfig>) -> io::Result<Self> {
        let stream = TlsAcceptor::from(tls.clone()).accept(tokio::io::join(self.reader, self.writer)).await?;
        let (reader, writer) = tokio::io::split(stream);
        Ok(Self::new(reader, writer))
    }
}

impl Server {
    async fn serve(self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let mut peer = Peer::new(reader, writer);
        if let (Some(tls), true) = (&self.tls, self.tls_first) {
            peer = peer.encrypted(tls).await?;
        }
        self.respond(&mut peer, "*", "*").await?;
        let mut tag = String::new();
        loop {
            let mut words = peer.line().await?;
            if let Some((new, command)) = words.split_once(' ').filter(|(tag, _)| tag.starts_with('D')) {
                (tag, words) = (new.to_owned(), command.to_owned());
            }
            if !self.read_literals(&mut peer, &tag, &mut words).await? {
                continue;
            }
            self.respond(&mut peer, &tag, &words).await?;
            match words.as_str() {
                "STARTTLS" if self.tls.is_some() => peer = peer.encrypted(self.tls.as_ref().unwrap()).await?,
                "COMPRESS DEFLATE" => {
                    let Peer { reader, writer } = peer;
                    peer = Peer::new(DeflateDecoder::new(reader), DeflateEncoder::new(writer));
                }
                "LOGOUT" => return Ok(()),
                _ => {}
            }
        }
    }

    /// Reads the literals that end the line; false when one was refused.
    async fn read_literals(&self, peer: &mut Peer, tag: &str, words: &mut String) -> io::Result<bool> {
        while let Some((text, size)) = words.strip_suffix('}').and_then(|words| words.rsplit_once('{')) {
            let mut literal = vec![0; size.parse().unwrap()];
            let announced = format!("+ {text}<>");
            if self.respond(peer, tag, &announced).await? {
                return Ok(false);
            }
            peer.reader.read_exact(&mut literal).await?;
            self.heard.lock().unwrap().push(format!("literal {}", String::from_utf8_lossy(&literal)));
            *words = format!("{text}<>{}", peer.line().await?);
        }
        Ok(true)
    }

    /// Whether the script spoke.
    async fn respond(&self, peer: &mut Peer, tag: &str, words: &str) -> io::Result<bool> {
        self.heard.lock().unwrap().push(words.to_owned());
        let scripted = (self.script)(words);
        let spoke = scripted.is_some();
        match scripted {
            Some(Act::Say(text)) => peer.say(text.replace("{tag}", tag).as_bytes()).await?,
            Some(Act::SayWithBytes(text, bytes)) => {
                peer.say(&[text.replace("{tag}", tag).as_bytes(), &bytes].concat()).await?;
            }
            Some(Act::SayAndClose(text)) => {
                peer.say(text.replace("{tag}", tag).as_bytes()).await?;
                peer.writer.shutdown().await?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Some(Act::SayAndHang(text)) => {
                peer.say(text.replace("{tag}", tag).as_bytes()).await?;
                std::future::pending::<()>().await;
            }
            Some(Act::Trickle(text)) => loop {
                peer.say(text.as_bytes()).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            },
            Some(Act::Flood(text)) => {
                peer.say(text.as_bytes()).await?;
                loop {
                    peer.say(&vec![b'x'; 1 << 16]).await?;
                }
            }
            None => peer.say(self.polite(tag, words).as_bytes()).await?,
        }
        Ok(spoke)
    }

    fn polite(&self, tag: &str, words: &str) -> String {
        let mut of = words.split(' ');
        match of.next().unwrap_or_default() {
            "*" => "* OK hello\r\n".into(),
            "+" => "+ go on\r\n".into(),
            "CAPABILITY" => format!("* CAPABILITY {}\r\n{tag} OK done\r\n", self.offers),
            "SELECT" | "EXAMINE" => format!(
                "* FLAGS (\\Seen)\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 77] ok\r\n* OK [UIDNEXT 10] ok\r\n\
                 * OK [HIGHESTMODSEQ 715194045007] ok\r\n{tag} OK [READ-WRITE] done\r\n"
            ),
            "LIST" => format!(
                "* LIST (\\HasNoChildren) \"/\" INBOX\r\n* LIST (\\hasnochildren \\sent) \"/\" {{10}}\r\n&BkUGMQYz-\r\n\
                 * LIST (\\Noselect) NIL \"a \\\"b\\\"\"\r\n{tag} OK done\r\n"
            ),
            "UID" => uid_command(tag, &of.collect::<Vec<_>>()),
            "IDLE" => "+ idling\r\n".into(),
            "APPEND" => format!("{tag} OK [APPENDUID 78 12] done\r\n"),
            "LOGOUT" => format!("* BYE bye\r\n{tag} OK done\r\n"),
            _ => format!("{tag} OK done\r\n"),
        }
    }
}

fn uid_command(tag: &str, words: &[&str]) -> String {
    match words {
        ["SEARCH", "UID", set] => {
            let found: Vec<String> = chosen(set).keys().map(u32::to_string).collect();
            format!("* SEARCH {}\r\n{tag} OK done\r\n", found.join(" "))
        }
        ["SEARCH", "HEADER", ..] => format!("* SEARCH 5\r\n{tag} OK done\r\n"),
        ["FETCH", set, what @ ..] => {
            let bodies = what.contains(&"BODY.PEEK[])");
            chosen(set).into_iter().map(|(uid, raw)| fetched(uid, raw, bodies)).collect::<String>()
                + &format!("{tag} OK done\r\n")
        }
        _ => format!("{tag} BAD unknown\r\n"),
    }
}

/// One polite FETCH response.
pub fn fetched(uid: u32, raw: &str, body: bool) -> String {
    let size = raw.len();
    if body {
        let date = "17-Jul-1996 02:44:25 -0700";
        format!("* 1 FETCH (UID {uid} FLAGS (\\Seen) INTERNALDATE \"{date}\" BODY[] {{{size}}}\r\n{raw})\r\n")
    } else {
        format!("* 1 FETCH (UID {uid} RFC822.SIZE {size})\r\n")
    }
}

/// The polite server's messages of a set; `n:*` finds the last one where nothing is left (RFC 3501, 6.4.8).
fn chosen(set: &str) -> BTreeMap<u32, &'static str> {
    let mails = mails();
    let last = *mails.keys().last().unwrap();
    let number = |text: &str| if text == "*" { last } else { text.parse().unwrap() };
    let holds = |uid: u32| {
        set.split(',').any(|run| {
            let (a, b) = run.split_once(':').unwrap_or((run, run));
            (number(a).min(number(b))..=number(a).max(number(b))).contains(&uid)
        })
    };
    mails.into_iter().filter(|(uid, _)| holds(*uid)).collect()
}
