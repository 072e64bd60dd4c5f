//! Every command against everything that a server may do wrong.

use std::time::Duration;

use diwan_imap::{Error, Fetched, Idle, Options, Session};
use tokio::{task::JoinSet, time::timeout};

use crate::scripted::{Act, Scripted, kind, mails, options, say};

/// What the server does instead of answering, the error that this must be, and whether the session ends with it.
struct Wrong {
    name: &'static str,
    act: fn() -> Act,
    kind: &'static str,
    poisons: bool,
}

const fn wrong(name: &'static str, act: fn() -> Act, kind: &'static str, poisons: bool) -> Wrong {
    Wrong { name, act, kind, poisons }
}

const WRONGS: [Wrong; 16] = [
    wrong("NO", || Act::Say("{tag} NO not now\r\n".into()), "No", false),
    wrong("BAD", || Act::Say("{tag} BAD what?\r\n".into()), "Bad", false),
    wrong("untagged BAD", || Act::Say("* BAD internal\r\n".into()), "Bad", true),
    wrong("BYE", || Act::SayAndClose("* BYE going down\r\n".into()), "Bye", true),
    wrong("end", || Act::SayAndClose(String::new()), "Eof", true),
    wrong("end within a line", || Act::SayAndClose("* 1 FETCH (UID".into()), "Eof", true),
    wrong("end within a literal", || Act::SayAndClose("* 1 FETCH (UID 3 BODY[] {99}\r\nabc".into()), "Eof", true),
    wrong("silence", || Act::SayAndHang(String::new()), "Timeout", true),
    wrong("silence within a line", || Act::SayAndHang("* SEARCH 1 2".into()), "Timeout", true),
    wrong("silence within a literal", || Act::SayAndHang("* 9 FETCH (BODY[] {9999}\r\n".into()), "Timeout", true),
    wrong("words", || Act::Say("HTTP/1.1 400 Bad Request\r\n".into()), "Garbage", true),
    wrong("noise", || Act::SayWithBytes("", b"\x16\x03\x01\x00\xff(((\r\n".into()), "Garbage", true),
    wrong("another's answer", || Act::Say("X99 OK done\r\n".into()), "Garbage", true),
    wrong("a broken search", || Act::Say("* SEARCH 3 x 9\r\n{tag} OK done\r\n".into()), "Garbage", true),
    wrong("a broken count", || Act::Say("* 99999999999 EXISTS\r\n{tag} OK done\r\n".into()), "Garbage", true),
    wrong(
        "a literal beyond all numbers",
        || Act::Say("* LIST () NIL {99999999999999999999}\r\n".into()),
        "Garbage",
        true,
    ),
];

/// The commands of an established session, by the words that the server hears.
const COMMANDS: [&str; 13] = [
    "NOOP",
    "SELECT",
    "EXAMINE",
    "LIST",
    "UID SEARCH UID 1:*",
    "UID SEARCH HEADER",
    "UID SEARCH UID 4",
    "UID FETCH (UID RFC822.SIZE)",
    "UID FETCH (UID FLAGS INTERNALDATE BODY.PEEK[])",
    "+ APPEND",
    "APPEND",
    "IDLE",
    "DONE",
];

fn is(words: &str, command: &str) -> bool {
    match command.strip_prefix("UID FETCH ") {
        Some(items) => words.starts_with("UID FETCH ") && words.ends_with(items),
        None => words.starts_with(command),
    }
}

/// Runs what brings the client to say `command`. A success is told by what came of it.
async fn run(session: &mut Session, command: &str) -> Result<String, Error> {
    match command {
        "NOOP" => session.noop().await.map(|()| "noop".into()),
        "SELECT" => session.select(&"INBOX".into()).await.map(|folder| format!("{folder:?}")),
        "EXAMINE" => session.examine(&"INBOX".into()).await.map(|folder| format!("{folder:?}")),
        "LIST" => session.list().await.map(|folders| format!("{folders:?}")),
        "UID SEARCH UID 1:*" => session.uids_from(1).await.map(|uids| format!("{uids:?}")),
        "UID SEARCH HEADER" => session.uids_with_message_id("<a@b>").await.map(|uids| format!("{uids:?}")),
        "UID SEARCH UID 4" => fetch(session, vec![4]).await,
        "UID FETCH (UID RFC822.SIZE)" | "UID FETCH (UID FLAGS INTERNALDATE BODY.PEEK[])" => {
            fetch(session, vec![3, 5, 9]).await
        }
        "+ APPEND" | "APPEND" => {
            session.append(&"Sent".into(), &["\\Seen"], b"raw").await.map(|appended| format!("{appended:?}"))
        }
        "IDLE" | "DONE" => {
            let waited = session.idle(Duration::from_millis(20), std::future::pending()).await?;
            Ok(format!("{waited:?}"))
        }
        other => panic!("{other}"),
    }
}

async fn fetch(session: &mut Session, mut pending: Vec<u32>) -> Result<String, Error> {
    let asked = pending.clone();
    let fetched = session.fetch(&mut pending).await;
    match &fetched {
        Ok(fetched) => assert_eq!(fetched.iter().map(Fetched::uid).collect::<Vec<_>>(), asked),
        Err(_) => assert_eq!(pending, asked, "an error takes nothing off the list"),
    }
    fetched.map(|fetched| format!("{fetched:?}"))
}

async fn meet(command: &'static str, wrong: &'static Wrong) {
    let name = format!("{} to {command}", wrong.name);
    let server = Scripted::start(move |words| is(words, command).then(wrong.act)).await;
    let mut options: Options = options();
    if wrong.kind == "Timeout" {
        options.limits.silence = Duration::from_secs(2);
    }
    let mut session = server.connect(&options).await.unwrap();
    if !matches!(command, "SELECT" | "EXAMINE") {
        session.select(&"INBOX".into()).await.unwrap();
    }
    let outcome = timeout(Duration::from_secs(20), run(&mut session, command)).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{name}: hangs"));
    // Sizes only spare a download: where they are refused, the messages still come.
    if command == "UID FETCH (UID RFC822.SIZE)" && !wrong.poisons {
        let fetched = outcome.unwrap();
        assert!(mails().keys().all(|uid| fetched.contains(&format!("Message {{ uid: {uid}"))), "{name}: {fetched}");
        return;
    }
    let error = outcome.expect_err(&name);
    assert_eq!(kind(&error), wrong.kind, "{name}: {error:?}");
    assert_eq!(session.is_poisoned(), wrong.poisons, "{name}");
    check_afterwards(&mut session, wrong, &name).await;
}

/// The trap of all traps: after a broken answer, the next search says "no messages".
async fn check_afterwards(session: &mut Session, wrong: &Wrong, name: &str) {
    if wrong.poisons {
        assert_eq!(kind(&session.uids_from(1).await.expect_err(name)), "Poisoned", "{name}");
        assert_eq!(kind(&session.noop().await.expect_err(name)), "Poisoned", "{name}");
    } else if session.uids_from(2).await.is_err_and(|error| kind(&error) != "NotSelected") {
        panic!("{name}: the session should go on");
    }
}

#[tokio::test]
async fn nothing_a_server_does_to_any_command_passes_for_an_empty_answer() {
    let mut cases = JoinSet::new();
    for command in COMMANDS {
        for wrong in &WRONGS {
            cases.spawn(meet(command, wrong));
        }
    }
    assert_eq!(cases.len(), 13 * 16);
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

#[tokio::test]
async fn an_ok_without_the_data_it_must_carry_is_no_success() {
    for (command, expected) in [
        ("SELECT", Err("Incomplete")),
        ("EXAMINE", Err("Incomplete")),
        ("LIST", Err("Incomplete")),
        ("UID SEARCH UID 1:*", Err("Incomplete")),
        ("UID SEARCH HEADER", Err("Incomplete")),
        ("UID SEARCH UID 4", Err("Incomplete")),
        ("+ APPEND", Err("Garbage")),
        ("IDLE", Err("Garbage")),
        ("UID FETCH (UID RFC822.SIZE)", Ok("Message { uid: 9")),
        ("UID FETCH (UID FLAGS INTERNALDATE BODY.PEEK[])", Ok("Unparsable { uid: 9, raw: None }")),
    ] {
        let server = Scripted::start(move |words| if is(words, command) { say("{tag} OK done\r\n") } else { None });
        let server = server.await;
        let mut session = server.connect(&options()).await.unwrap();
        if !matches!(command, "SELECT" | "EXAMINE") {
            session.select(&"INBOX".into()).await.unwrap();
        }
        match (run(&mut session, command).await, expected) {
            (Err(error), Err(expected)) => assert_eq!(kind(&error), expected, "{command}"),
            (Ok(got), Ok(part)) => assert!(got.contains(part), "{command}: {got}"),
            (got, _) => panic!("{command}: {got:?}"),
        }
    }
}

#[tokio::test]
async fn a_failed_select_leaves_no_folder_selected() {
    let server =
        Scripted::start(|words| if words == "SELECT \"Gone\"" { say("{tag} NO none\r\n") } else { None }).await;
    let mut session = server.inbox().await;
    session.select(&"Gone".into()).await.unwrap_err();
    assert_eq!(kind(&session.uids_from(1).await.unwrap_err()), "NotSelected");
    assert_eq!(kind(&session.fetch(&mut vec![3]).await.unwrap_err()), "NotSelected");
    assert_eq!(kind(&session.idle(Duration::ZERO, std::future::pending()).await.unwrap_err()), "NotSelected");
}

#[tokio::test]
async fn a_command_that_the_caller_drops_poisons_the_session() {
    let server = Scripted::start(|words| if words == "NOOP" { Some(Act::SayAndHang(String::new())) } else { None });
    let mut session = server.await.inbox().await;
    timeout(Duration::from_millis(50), session.noop()).await.unwrap_err();
    assert_eq!(kind(&session.uids_from(1).await.unwrap_err()), "Poisoned");
}

#[tokio::test]
async fn an_answer_with_more_text_than_it_may_have_is_cut_off() {
    let endless = || say("* OK still here\r\n".repeat(50_000));
    let server = Scripted::start(move |words| if words == "NOOP" { endless() } else { None }).await;
    let mut options = options();
    options.limits.max_line = 10_000;
    let mut session = server.inbox_with(options).await;
    assert_eq!(kind(&session.noop().await.unwrap_err()), "Garbage");
    assert!(session.is_poisoned());
}

#[tokio::test]
async fn a_server_that_never_stops_talking_is_late_as_well() {
    for endless in ["* OK still here\r\n", "x"] {
        let server =
            Scripted::start(move |words| if words == "NOOP" { Some(Act::Trickle(endless)) } else { None }).await;
        let mut options = options();
        options.limits.command = Duration::from_secs(2);
        let mut session = server.inbox_with(options).await;
        let ended = timeout(Duration::from_secs(20), session.noop()).await.expect("never ends");
        assert_eq!(kind(&ended.unwrap_err()), "Timeout");
    }
}

#[tokio::test]
async fn a_literal_that_never_ends_is_neither_kept_nor_waited_for() {
    let flood = || Some(Act::Flood("* 1 FETCH (BODY[] {18446744073709551615}\r\n"));
    let server = Scripted::start(move |words| if words == "NOOP" { flood() } else { None }).await;
    let mut options = options();
    options.limits.command = Duration::from_secs(2);
    let mut session = server.inbox_with(options).await;
    let ended = timeout(Duration::from_secs(20), session.noop()).await.expect("never ends");
    assert_eq!(kind(&ended.unwrap_err()), "Timeout");
}

#[tokio::test]
async fn a_farewell_ends_in_peace_even_where_the_server_is_in_a_hurry() {
    for hurry in ["* BYE bye\r\n{tag} OK done\r\n", "* BYE bye\r\n"] {
        let server =
            Scripted::start(move |words| if words == "LOGOUT" { Some(Act::SayAndClose(hurry.into())) } else { None });
        server.await.inbox().await.logout().await.unwrap();
    }
    let server = Scripted::start(|words| if words == "LOGOUT" { Some(Act::SayAndClose(String::new())) } else { None });
    assert_eq!(kind(&server.await.inbox().await.logout().await.unwrap_err()), "Eof");
}

#[tokio::test]
async fn a_polite_server_answers_all_of_it() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.inbox().await;
    for command in COMMANDS {
        run(&mut session, command).await.unwrap_or_else(|error| panic!("{command}: {error:?}"));
    }
    assert_eq!(session.idle(Duration::ZERO, std::future::pending()).await.unwrap(), Idle::TimedOut);
    session.logout().await.unwrap();
}
