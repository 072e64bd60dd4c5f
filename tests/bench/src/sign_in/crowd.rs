//! The thousand people, as another machine would bring them: a process of its own at the lowest priority, so that the cores serve
//! what would run on the server before it, and nothing of it is in the way of the calls whose times are taken.
//!
//! All is ready before the word is given: the connections are open, the requests encoded. The word only has them written, so that
//! all thousand are under way before the first is answered.
#![expect(clippy::print_stdout, reason = "its parent reads what it prints")]

use std::{
    io::{BufRead as _, Lines as StdLines, StdinLock, Write as _, stdin, stdout},
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use diwan_e2e::Failure;
use diwan_proto::identity::v1::SignInRequest;
use futures::future::try_join_all;
use h2::{
    Ping,
    client::{Connection, ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tonic::Status;

use super::told_to_wait;
use crate::{cast::PASSWORD, copies, gateway::backend::framed};

/// So many sign in at one moment.
pub(super) const AT_ONCE: usize = 1000;
/// A client has about a hundred calls on one.
const CONNECTIONS: usize = 10;
/// Who is not in by then goes home.
const PATIENCE: Duration = Duration::from_mins(2);
const PATH: &str = "/diwan.identity.v1.SessionService/SignIn";

/// A crowd that waits for the word.
pub(super) struct Crowd {
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Until all had been sent.
    pub(super) sent: Duration,
    /// How many were let in at their first try.
    pub(super) at_once: usize,
    /// Until the last one of the others was told when to come again.
    pub(super) told: Duration,
    /// How many times somebody was told.
    pub(super) times: usize,
    /// How many were let in.
    pub(super) let_in: usize,
}

impl Crowd {
    /// Who will sign in at the gateway.
    pub(super) async fn gather(gateway: SocketAddr) -> Result<Self, Failure> {
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(std::env::current_exe()?).arg("crowd").kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes to the crowd")?;
        let mut crowd = Self { stdin, lines: BufReader::new(stdout).lines(), child };
        crowd.stdin.write_all(format!("{gateway}\n").as_bytes()).await?;
        crowd.heard().await?;
        Ok(crowd)
    }

    /// Gives the word, and returns when everybody has his answer.
    pub(super) async fn goes(mut self) -> Result<Outcome, Failure> {
        self.stdin.write_all(b"\n").await?;
        let told = self.heard().await?;
        self.child.wait().await?;
        let figures: Vec<u64> = told.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let &[sent, told, at_once, times, let_in] = figures.as_slice() else { return Err("the crowd babbles".into()) };
        let [sent, told] = [sent, told].map(Duration::from_micros);
        let (at_once, times, let_in) = (at_once.try_into()?, times.try_into()?, let_in.try_into()?);
        Ok(Outcome { sent, at_once, told, times, let_in })
    }

    async fn heard(&mut self) -> Result<String, Failure> {
        Ok(self.lines.next_line().await?.ok_or("the crowd has gone")?)
    }
}

/// One connection with its share of the crowd on it.
struct Bus {
    connection: Connection<TcpStream, Bytes>,
    answers: Vec<(ResponseFuture, Bytes)>,
    requests: SendRequest<Bytes>,
}

/// How somebody fared.
#[derive(Clone, Copy, Debug, Default)]
struct Visit {
    /// How many times he was told when to come again.
    times: usize,
    /// Until he was told first.
    told: Duration,
    let_in: bool,
}

/// The crowd's own process: reads where it signs in, says when it is ready, waits for the word, and says what became of it.
pub(crate) fn sign_in() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut lines = stdin().lock().lines();
    let gateway = next(&mut lines)?.parse()?;
    let people: Vec<Bytes> = (1..=AT_ONCE).map(request).collect();
    let buses = people.chunks(AT_ONCE / CONNECTIONS).map(|people| bus(gateway, people));
    let buses = runtime.block_on(try_join_all(buses))?;
    say("ready")?;
    next(&mut lines)?;
    let Outcome { sent, at_once, told, times, let_in } = runtime.block_on(go(buses, gateway))?;
    say(&format!("{} {} {at_once} {times} {let_in}", sent.as_micros(), told.as_micros()))
}

/// What one of them sends.
fn request(place: usize) -> Bytes {
    let (email, password) = (copies::email(place), PASSWORD.to_owned());
    framed(&SignInRequest { email, password, ..SignInRequest::default() })
}

fn next(lines: &mut StdLines<StdinLock<'_>>) -> Result<String, Failure> {
    Ok(lines.next().ok_or("nobody says what to do")??)
}

fn say(line: &str) -> Result<(), Failure> {
    println!("{line}");
    Ok(stdout().flush()?)
}

/// Connects, and has so many requests ready: none is written before the connection is polled again.
async fn bus(gateway: SocketAddr, people: &[Bytes]) -> Result<Bus, Failure> {
    let stream = TcpStream::connect(gateway).await?;
    stream.set_nodelay(true)?;
    let (mut requests, mut connection) = h2::client::handshake(stream).await?;
    let mut pings = connection.ping_pong().ok_or("no pings")?;
    tokio::select! {
        // The settings of both sides have been exchanged by then.
        pong = pings.ping(Ping::opaque()) => { pong?; }
        ended = &mut connection => return Err(format!("the gateway hangs up: {ended:?}").into()),
    }
    let mut answers = Vec::with_capacity(people.len());
    for body in people {
        answers.push((ask(&mut requests, gateway, body)?, body.clone()));
    }
    Ok(Bus { connection, answers, requests })
}

fn ask(requests: &mut SendRequest<Bytes>, gateway: SocketAddr, body: &Bytes) -> Result<ResponseFuture, Failure> {
    let request = Request::post(format!("http://{gateway}{PATH}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers").body(())?;
    let (answer, mut sending) = requests.send_request(request, false)?;
    sending.send_data(body.clone(), true)?;
    Ok(answer)
}

async fn go(buses: Vec<Bus>, gateway: SocketAddr) -> Result<Outcome, Failure> {
    let begun = Instant::now();
    let (mut visits, mut connections) = (Vec::new(), Vec::new());
    for Bus { mut connection, answers, requests } in buses {
        // What lies ready is far less than what the kernel takes at once.
        if futures::poll!(&mut connection).is_ready() {
            return Err("the gateway hung up".into());
        }
        visits.extend(answers.into_iter().map(|asked| visit(asked, requests.clone(), gateway, begun)));
        connections.push(connection);
    }
    let mut outcome = Outcome { sent: begun.elapsed(), ..Outcome::default() };
    for connection in connections {
        tokio::spawn(connection);
    }
    for visit in try_join_all(visits).await? {
        outcome.count(visit);
    }
    Ok(outcome)
}

/// Tries, and comes again when he is told to, until he is let in or has lost patience.
async fn visit(
    (mut answer, body): (ResponseFuture, Bytes),
    requests: SendRequest<Bytes>,
    gateway: SocketAddr,
    begun: Instant,
) -> Result<Visit, Failure> {
    let mut visit = Visit::default();
    loop {
        let status = status(answer).await?;
        if status.code() == tonic::Code::Ok {
            return Ok(Visit { let_in: true, ..visit });
        }
        let wait = told_to_wait(&status).ok_or(status)?;
        visit.times += 1;
        if visit.times == 1 {
            visit.told = begun.elapsed();
        }
        if begun.elapsed() > PATIENCE {
            return Ok(visit);
        }
        tokio::time::sleep(wait).await;
        answer = ask(&mut requests.clone().ready().await?, gateway, &body)?;
    }
}

impl Outcome {
    fn count(&mut self, visit: Visit) {
        self.let_in += usize::from(visit.let_in);
        self.at_once += usize::from(visit.let_in && visit.times == 0);
        self.times += visit.times;
        self.told = self.told.max(visit.told);
    }
}

/// How a call ended: a refusal says so in the head of its answer, everything else in its trailers.
async fn status(answer: ResponseFuture) -> Result<Status, Failure> {
    let (head, mut body) = answer.await?.into_parts();
    if let Some(refusal) = Status::from_header_map(&head.headers) {
        return Ok(refusal);
    }
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    let trailers: HeaderMap = body.trailers().await?.unwrap_or_default();
    Ok(Status::from_header_map(&trailers).ok_or("an answer without a status")?)
}
