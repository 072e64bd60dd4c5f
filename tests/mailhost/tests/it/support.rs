//! Sending with lettre, and an IMAP client of a few lines.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use diwan_mailhost::{MailHost, Options};
use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

pub const LIMIT: Duration = Duration::from_secs(20);

/// A host in a folder of its own. The host is dropped before its folder.
pub async fn host() -> (MailHost, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (MailHost::start(Options::new(folder.path())).await.unwrap(), folder)
}

/// Sends a mail; says when the server had accepted it.
pub async fn send(
    smtp: SocketAddr,
    login: Option<(&str, &str)>,
    to: &str,
    subject: &str,
) -> Result<Instant, SmtpError> {
    let (from, to): (Mailbox, Mailbox) = ("customer@elsewhere.test".parse().unwrap(), to.parse().unwrap());
    let mail = Message::builder().from(from).to(to).subject(subject).body("Good morning.\n".to_owned()).unwrap();
    let mut transport =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(smtp.ip().to_string()).port(smtp.port());
    if let Some((user, password)) = login {
        transport = transport.credentials(Credentials::new(user.to_owned(), password.to_owned()));
    }
    timeout(LIMIT, transport.build().send(mail)).await.expect("SMTP answers in time").map(|_| Instant::now())
}

/// Asks again and again, for a limited time, until the answer is yes.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

pub struct Imap {
    stream: BufReader<TcpStream>,
}

impl Imap {
    /// Logs in; the server's answer when it refuses.
    pub async fn login(address: SocketAddr, user: &str, password: &str) -> Result<Imap, String> {
        let mut imap = Imap { stream: BufReader::new(TcpStream::connect(address).await.unwrap()) };
        assert!(imap.line().await.starts_with("* OK"));
        let answer = imap.command(&format!(r#"LOGIN "{user}" "{password}""#)).await.pop().unwrap();
        if answer.starts_with("a OK") { Ok(imap) } else { Err(answer) }
    }

    /// The lines of the answer, the tagged one last.
    pub async fn command(&mut self, command: &str) -> Vec<String> {
        self.write(&format!("a {command}")).await;
        let mut lines = vec![self.line().await];
        while !lines.last().unwrap().starts_with("a ") {
            lines.push(self.line().await);
        }
        lines
    }

    /// How many mails the inbox holds.
    pub async fn inbox_size(&mut self) -> usize {
        let lines = self.command("SELECT INBOX").await;
        let size = lines.iter().find_map(|line| line.strip_prefix("* ")?.strip_suffix(" EXISTS")?.parse().ok());
        size.unwrap_or_else(|| panic!("{lines:?}"))
    }

    /// The subjects in the inbox, oldest first.
    pub async fn subjects(&mut self) -> Vec<String> {
        if self.inbox_size().await == 0 {
            return Vec::new();
        }
        let lines = self.command("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])").await;
        lines.iter().filter_map(|line| line.strip_prefix("Subject: ")).map(str::to_owned).collect()
    }

    /// Sends IDLE; returns when the server idles.
    pub async fn idle(&mut self) {
        self.write("a IDLE").await;
        while !self.line().await.starts_with('+') {}
    }

    /// Waits for the news of a mail during IDLE.
    pub async fn news(&mut self) -> Instant {
        while !self.line().await.ends_with(" EXISTS") {}
        Instant::now()
    }

    pub async fn end_idle(&mut self) {
        self.write("DONE").await;
        while !self.line().await.starts_with("a OK") {}
    }

    async fn write(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        let length = timeout(LIMIT, self.stream.read_line(&mut line)).await.expect("IMAP answers in time").unwrap();
        assert!(length > 0, "the IMAP connection ended");
        line.trim_end().to_owned()
    }
}
