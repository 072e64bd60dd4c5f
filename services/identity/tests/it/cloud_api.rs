//! The WhatsApp Cloud API as its documentation describes it, with a script of what it answers.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use diwan_runtime::Env;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

pub const TOKEN: &str = "EAAG-an-access-token";

/// What happens to one request.
#[derive(Clone, Copy, Debug)]
pub enum Reply {
    /// The message is on its way.
    Taken,
    /// The message is on its way, and the connection breaks within the answer.
    TakenAndCut,
    /// An error of this status and code, and how many seconds to wait.
    Refused(u16, i64, Option<u64>),
    /// A gateway before the API answers with this status.
    Gateway(u16),
    /// The connection breaks before an answer.
    Cut,
    /// No answer comes.
    Silence,
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Received {
    pub at: Instant,
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub json: Value,
}

/// The server.
pub struct CloudApi {
    pub address: SocketAddr,
    script: Arc<Mutex<VecDeque<Reply>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl CloudApi {
    /// Answers by the script, and after its end that messages are taken.
    pub async fn start(script: &[Reply]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(script.iter().copied().collect()));
        let received = Arc::default();
        let api = Self { address, script, received };
        let (script, received) = (api.script.clone(), api.received.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, script.clone(), received.clone()));
            }
        });
        api
    }

    /// The settings that lead here.
    pub fn env(&self) -> Env {
        Env::default()
            .with("DIWAN_IDENTITY_WHATSAPP_URL", format!("http://{}/v25.0", self.address))
            .with("DIWAN_IDENTITY_WHATSAPP_PHONE_NUMBER_ID", "105954558954427")
            .with("DIWAN_IDENTITY_WHATSAPP_TOKEN", TOKEN)
    }

    /// What the next requests get.
    pub fn then(&self, script: &[Reply]) {
        self.script.lock().unwrap().extend(script);
    }

    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The codes that were sent, in their order.
    pub fn codes(&self) -> Vec<String> {
        let codes = self.received().into_iter().filter(|message| message.json["template"]["name"] == "diwan_code");
        let code = |message: Received| message.json["template"]["components"][0]["parameters"][0]["text"].clone();
        codes.map(|message| code(message).as_str().unwrap().to_owned()).collect()
    }
}

async fn answer(stream: TcpStream, script: Arc<Mutex<VecDeque<Reply>>>, received: Arc<Mutex<Vec<Received>>>) {
    let mut stream = BufReader::new(stream);
    let Some(request) = read(&mut stream).await else { return };
    let reply = script.lock().unwrap().pop_front().unwrap_or(Reply::Taken);
    let to = request.json["to"].clone();
    received.lock().unwrap().push(request);
    let taken = json!({
        "messaging_product": "whatsapp",
        "contacts": [{"input": to, "wa_id": to}],
        "messages": [{"id": "wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NEYxMzAzMzQ5MkEA"}],
    });
    let text = match reply {
        Reply::Taken => response(200, None, &taken.to_string()),
        Reply::TakenAndCut => "HTTP/1.1 200 OK\r\ncontent-length: 200\r\n\r\n{\"mess".to_owned(),
        Reply::Refused(status, code, wait) => {
            let error = json!({"error": {
                "message": format!("(#{code}) refused for +201001234567"), "type": "OAuthException", "code": code,
                "error_data": {"messaging_product": "whatsapp", "details": "of +201001234567"}, "fbtrace_id": "Az8or2yhqkZfEZ",
            }});
            response(status, wait, &error.to_string())
        }
        Reply::Gateway(status) => response(status, None, "<html>"),
        Reply::Cut => return,
        Reply::Silence => return tokio::time::sleep(Duration::from_mins(10)).await,
    };
    let _ = stream.get_mut().write_all(text.as_bytes()).await;
}

fn response(status: u16, wait: Option<u64>, body: &str) -> String {
    let wait = wait.map_or_else(String::new, |seconds| format!("retry-after: {seconds}\r\n"));
    let length = body.len();
    format!("HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n{wait}content-length: {length}\r\n\r\n{body}")
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    let json = serde_json::from_slice(&body).ok()?;
    Some(Received { at: Instant::now(), line: line.trim_end().to_owned(), headers, json })
}
