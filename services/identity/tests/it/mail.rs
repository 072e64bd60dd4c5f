//! Invitations over SMTP.

use std::sync::{Arc, Mutex};

use diwan_runtime::Env;
use diwan_testkit::eventually;
use mail_parser::{MessageParser, MimeHeaders as _};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::house::{House, LIMIT, invite_request, token_in};

/// An SMTP server (RFC 5321) that keeps what it is given.
async fn serve(listener: TcpListener, mails: Arc<Mutex<Vec<String>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(receive(stream, mails.clone()));
    }
}

async fn receive(mut stream: TcpStream, mails: Arc<Mutex<Vec<String>>>) {
    stream.write_all(b"220 test\r\n").await.unwrap();
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut mail: Option<String> = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let answer: &[u8] = match (&mut mail, line.as_str()) {
            (Some(text), ".") => {
                mails.lock().unwrap().push(std::mem::take(text));
                mail = None;
                b"250 kept\r\n"
            }
            (Some(text), line) => {
                *text += line.strip_prefix('.').unwrap_or(line);
                *text += "\r\n";
                continue;
            }
            (None, "DATA") => {
                mail = Some(String::new());
                b"354 go on\r\n"
            }
            (None, "QUIT") => b"221 bye\r\n",
            (None, _) => b"250 ok\r\n",
        };
        write.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn an_invitation_leaves_by_smtp_as_soon_as_the_server_is_there() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let house = House::with(Env::default().with("DIWAN_IDENTITY_SMTP", format!("smtp://{address}"))).await;
    let owner = house.owner("mona@example.com").await;
    let team = house.others.add_team(&owner.user.account_id);
    house.users().invite_user(owner.says(invite_request("omar@example.com", &team))).await.unwrap();
    let failed = "jobs where kind = 'SendInvitation' and last_error is not null";
    eventually("a first try has failed", LIMIT, async || house.count(failed).await == 1).await;
    let mails = Arc::new(Mutex::new(Vec::new()));
    tokio::spawn(serve(TcpListener::bind(address).await.unwrap(), mails.clone()));
    let raw = eventually("the e-mail arrives", LIMIT, async || {
        mails.lock().unwrap().iter().find(|mail| mail.contains("omar@example.com")).cloned()
    })
    .await;
    let mail = MessageParser::default().parse(raw.as_bytes()).unwrap();
    assert_eq!(mail.subject(), Some("دعوة من شركة النور إلى ديوان"));
    assert!(mail.message_id().unwrap().ends_with("@diwan.example"));
    assert_eq!(mail.header_raw("Auto-Submitted").map(str::trim), Some("auto-generated"));
    let kinds = mail.parts.iter().filter_map(|part| part.content_type()).map(|kind| kind.subtype().unwrap_or_default());
    assert_eq!(kinds.collect::<Vec<_>>(), ["alternative", "plain", "html"]);
    let (text, html) = (mail.body_text(0).unwrap(), mail.body_html(0).unwrap());
    assert!(html.contains(r#"<div lang="ar" dir="rtl""#), "{html}");
    let link = format!("https://diwan.example/invitations/{}", token_in(&text));
    assert!(html.contains(&format!("<a href=\"{link}\"")) && html.contains(&format!(">{link}<")), "{html}");
    let user = house.accept(&token_in(&mail.body_text(0).unwrap())).await.unwrap();
    assert_eq!(user.email, "omar@example.com");
}
