//! A statement of the service under test, changed on its way to the database: for `make test-mutation`, which takes one predicate or
//! lock after the other out of the statements of the very code that is shipped and looks which test notices.
//!
//! `DIWAN_TEST_MUTATION` is `statement|find|replacement`, with more of the last two where one is not enough: in each statement with
//! the first text the second one is replaced by the third. `DIWAN_TEST_MUTATION_APPLIED` is a file that is made as soon as that has
//! happened once.

use std::{path::PathBuf, str::FromStr as _};

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Result, copy},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
};

const SOCKET: &str = ".s.PGSQL.5432";

/// What is changed.
#[derive(Clone, Debug)]
struct Mutation {
    statement: String,
    /// What is replaced by what.
    changes: Vec<(String, String)>,
    applied: PathBuf,
}

impl Mutation {
    fn from_environment() -> Option<Self> {
        let text = std::env::var("DIWAN_TEST_MUTATION").ok().filter(|text| !text.is_empty())?;
        let (statement, changes) = text.split_once('|').expect("a statement and what to change in it");
        let parts: Vec<String> = changes.split('|').map(str::to_owned).collect();
        let changes = parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let applied = std::env::var_os("DIWAN_TEST_MUTATION_APPLIED").expect("DIWAN_TEST_MUTATION_APPLIED").into();
        Some(Self { statement: statement.to_owned(), changes, applied })
    }

    /// Changes what a Parse message ('P', the extended protocol) holds after the statement's name.
    fn change(&self, message: Vec<u8>) -> Vec<u8> {
        let Some((name, statement, rest)) = parts(&message) else { return message };
        let Ok(statement) = std::str::from_utf8(statement) else { return message };
        if !statement.contains(&self.statement) || !self.changes.iter().all(|(find, _)| statement.contains(find)) {
            return message;
        }
        std::fs::write(&self.applied, statement).expect("the mark of a mutation");
        let changed = self.changes.iter().fold(statement.to_owned(), |text, (find, by)| text.replace(find, by));
        [name, &[0], changed.as_bytes(), &[0], rest].concat()
    }
}

/// Name, statement, and what follows.
fn parts(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let name = message.iter().position(|byte| *byte == 0)?;
    let end = name + 1 + message[name + 1..].iter().position(|byte| *byte == 0)?;
    Some((&message[..name], &message[name + 1..end], &message[end + 1..]))
}

/// The URL by which the database is reached, and what has to be kept as long as it is used.
pub(crate) fn way(url: String) -> (String, Option<TempDir>) {
    let Some(mutation) = Mutation::from_environment() else { return (url, None) };
    let options = PgConnectOptions::from_str(&url).expect("the URL of a test database");
    let socket = options.get_socket().expect("a test cluster behind a socket").join(SOCKET);
    let folder = TempDir::new().expect("a temporary folder");
    let listener = UnixListener::bind(folder.path().join(SOCKET)).expect("a socket");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (socket, mutation) = (socket.clone(), mutation.clone());
            tokio::spawn(async move {
                if let Ok(server) = UnixStream::connect(socket).await {
                    pass(client, server, &mutation).await;
                }
            });
        }
    });
    let host = folder.path().to_string_lossy().replace('/', "%2F");
    let database = options.get_database().expect("a database's name");
    let url = format!("postgres://{}@{host}:5432/{database}?sslmode=disable", options.get_username());
    (url, Some(folder))
}

/// Passes everything on, until one side is gone.
async fn pass(client: UnixStream, server: UnixStream, mutation: &Mutation) {
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    tokio::select! {
        _ = requests(from_client, to_server, mutation) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

/// Frontend messages: the first has no type, all have a length that counts itself (PostgreSQL, 54.7).
async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mutation: &Mutation) -> Result<()> {
    let first = body(&mut from).await?;
    send(&mut to, &[], &first).await?;
    loop {
        let kind = from.read_u8().await?;
        let message = body(&mut from).await?;
        let message = if kind == b'P' { mutation.change(message) } else { message };
        send(&mut to, &[kind], &message).await?;
    }
}

async fn body(from: &mut OwnedReadHalf) -> Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message = vec![0; usize::try_from(length).unwrap_or_default().saturating_sub(4)];
    from.read_exact(&mut message).await?;
    Ok(message)
}

async fn send(to: &mut OwnedWriteHalf, kind: &[u8], message: &[u8]) -> Result<()> {
    let length = u32::try_from(message.len() + 4).expect("a message of less than 4 GiB");
    to.write_all(&[kind, &length.to_be_bytes(), message].concat()).await
}
