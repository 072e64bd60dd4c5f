//! The way into a session: greeting, STARTTLS, credentials, compression.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use super::{Session, exchange::Turn};
use crate::{
    command::{self, Command},
    endpoint::{Credentials, Endpoint, Trust},
    error::Kind,
    response::{Data, Response, Status},
    sasl::Mechanism,
    status::Answer,
};

impl Session {
    pub(crate) async fn encrypt(&mut self, host: &str, trust: &Trust) -> Result<(), Kind> {
        self.wire.encrypt(host, trust, self.limits.silence).await
    }

    /// Reads the server's first line. PREAUTH is refused: nobody knows as whom, and an attacker could use it to keep
    /// a connection out of STARTTLS (RFC 8314's threat; CVE-2020-12398).
    pub(crate) async fn greet(&mut self) -> Result<(), Kind> {
        self.begin("greeting", 0)?;
        let Response::Untagged(Data::Status(status, answer)) = self.receive().await? else {
            return Err(Kind::Garbage("no greeting"));
        };
        match status {
            Status::Ok => self.conclude(status, answer).map(drop),
            Status::PreAuth => Err(Kind::Garbage("signed in before any credentials")),
            Status::Bye => Err(Kind::Bye(answer)),
            Status::No => Err(Kind::No(answer)),
            Status::Bad => Err(Kind::Bad(answer)),
        }
    }

    /// RFC 3501, 6.2.1.
    pub(crate) async fn start_tls(&mut self, host: &str, trust: &Trust) -> Result<(), Kind> {
        self.ask_capabilities().await?;
        if !self.offers("STARTTLS") {
            return Err(Kind::Unsupported("STARTTLS"));
        }
        self.exchange(Command::new("STARTTLS"), Some).await?;
        self.encrypt(host, trust).await?;
        // Said without protection, so worth nothing.
        self.capabilities = BTreeSet::new();
        self.unsolicited.clear();
        Ok(())
    }

    /// CAPABILITY, unless the server has said it by itself.
    pub(crate) async fn ask_capabilities(&mut self) -> Result<(), Kind> {
        if self.capabilities.is_empty() {
            self.exchange(Command::new("CAPABILITY"), Some).await?;
        }
        if self.capabilities.is_empty() { Err(Kind::Incomplete("CAPABILITY")) } else { Ok(()) }
    }

    /// Presents the credentials in the best way that the server offers.
    pub(crate) async fn sign_in(&mut self, credentials: &Credentials, endpoint: &Endpoint) -> Result<(), Kind> {
        match credentials {
            Credentials::Password { user, password } if self.offers("AUTH=PLAIN") => {
                self.authenticate(Mechanism::plain(user, password), password.expose()).await
            }
            Credentials::Password { user, password } if !self.offers("LOGINDISABLED") => {
                self.log_in(user, password.expose()).await
            }
            Credentials::OAuth2 { user, token } if self.offers("AUTH=XOAUTH2") => {
                self.authenticate(Mechanism::xoauth2(user, token), token.expose()).await
            }
            Credentials::OAuth2 { user, token } if self.offers("AUTH=OAUTHBEARER") => {
                self.authenticate(Mechanism::oauthbearer(user, token, endpoint), token.expose()).await
            }
            Credentials::Password { .. } => Err(Kind::Unsupported("a login with a password")),
            Credentials::OAuth2 { .. } => Err(Kind::Unsupported("a login with OAuth2")),
        }
    }

    async fn log_in(&mut self, user: &str, password: &str) -> Result<(), Kind> {
        let command = Command::new("LOGIN").string(user.as_bytes())?.string(password.as_bytes())?;
        self.capabilities.clear();
        let escaped = command::quoted(password.as_bytes());
        let escaped = String::from_utf8_lossy(&escaped);
        self.exchange(command, Some).await.map(drop).map_err(|kind| scrub(kind, &[password, &escaped]))
    }

    async fn authenticate(&mut self, mechanism: Mechanism, secret: &str) -> Result<(), Kind> {
        let said = self.converse(&mechanism).await;
        said.map(drop).map_err(|kind| scrub(kind, &[secret, &mechanism.initial]))
    }

    /// RFC 3501, 6.2.2, with the initial response of RFC 4959 where offered.
    async fn converse(&mut self, mechanism: &Mechanism) -> Result<Answer, Kind> {
        let at_once = self.offers("SASL-IR");
        self.capabilities.clear();
        let tag = self.begin("AUTHENTICATE", 0)?;
        let mut line = Zeroizing::new(format!("{tag} AUTHENTICATE {}", mechanism.name));
        let mut replies = vec![mechanism.concede, &mechanism.initial];
        if at_once {
            line.push(' ');
            line.push_str(&mechanism.initial);
            replies.pop();
        }
        line.push_str("\r\n");
        self.send(line.as_bytes()).await?;
        loop {
            match self.turn(&tag, &mut Some).await? {
                Turn::Done(status, answer) => return self.conclude(status, answer),
                Turn::GoOn => {
                    let reply = replies.pop().ok_or(Kind::Garbage("a login without end"))?;
                    self.send(Zeroizing::new(format!("{reply}\r\n")).as_bytes()).await?;
                }
            }
        }
    }

    /// RFC 4978. A server that offers it and then refuses is used uncompressed.
    pub(crate) async fn compress(&mut self) -> Result<(), Kind> {
        if !self.offers("COMPRESS=DEFLATE") {
            return Ok(());
        }
        match self.exchange(Command::new("COMPRESS").word("DEFLATE"), Some).await {
            Ok(_) => self.wire.compress(),
            Err(Kind::No(_) | Kind::Bad(_)) if !self.is_poisoned() => {}
            Err(kind) => return Err(kind),
        }
        Ok(())
    }
}

fn scrub(kind: Kind, secrets: &[&str]) -> Kind {
    match kind {
        Kind::No(answer) => Kind::No(answer.without(secrets)),
        Kind::Bad(answer) => Kind::Bad(answer.without(secrets)),
        Kind::Bye(answer) => Kind::Bye(answer.without(secrets)),
        kind => kind,
    }
}
