//! Waiting, and every way in which waiting may end.

use std::{future::pending, time::Duration};

use diwan_imap::{Idle, Kind, Unsolicited};
use tokio::time::timeout;

use crate::scripted::{Act, Scripted, kind, options, say};

const LONG: Duration = Duration::from_mins(10);
const GUARD: Duration = Duration::from_secs(20);

async fn idle_against(answer: Act) -> (Result<Idle, diwan_imap::Error>, diwan_imap::Session) {
    let answer = std::sync::Mutex::new(Some(answer));
    let server = Scripted::start(move |words| if words == "IDLE" { answer.lock().unwrap().take() } else { None }).await;
    let mut session = server.inbox().await;
    let ended = timeout(GUARD, session.idle(LONG, pending())).await.expect("IDLE hangs");
    (ended, session)
}

#[tokio::test]
async fn a_new_message_ends_the_wait_and_the_session_goes_on() {
    let (ended, mut session) = idle_against(Act::Say("+ idling\r\n* OK still here\r\n* 4 EXISTS\r\n".into())).await;
    assert_eq!(ended.unwrap(), Idle::Changed(vec![Unsolicited::Exists(4)]));
    assert_eq!(session.uids_from(9).await.unwrap(), [9]);
}

#[tokio::test]
async fn every_kind_of_change_ends_the_wait() {
    for (line, event) in [
        ("* 2 EXPUNGE", Unsolicited::Expunge(2)),
        ("* VANISHED 5", Unsolicited::Vanished(vec![5..=5])),
        ("* 2 FETCH (FLAGS ())", Unsolicited::Flags { number: 2, uid: None, flags: vec![] }),
    ] {
        let (ended, _) = idle_against(Act::Say(format!("+ idling\r\n{line}\r\n"))).await;
        assert_eq!(ended.unwrap(), Idle::Changed(vec![event]));
    }
}

#[tokio::test]
async fn a_refused_idle_does_not_hang_and_the_session_goes_on() {
    for (answer, expected) in [("{tag} NO not here\r\n", "No"), ("{tag} BAD what?\r\n", "Bad")] {
        let (ended, mut session) = idle_against(Act::Say(answer.into())).await;
        assert_eq!(kind(&ended.unwrap_err()), expected);
        session.noop().await.unwrap();
    }
}

#[tokio::test]
async fn an_end_while_idling_is_an_error_and_no_interruption() {
    for (answer, expected) in [
        (Act::SayAndClose("+ idling\r\n".into()), "Eof"),
        (Act::SayAndClose("+ idling\r\n* 4 EXI".into()), "Eof"),
        (Act::SayAndClose("+ idling\r\n* BYE timeout\r\n".into()), "Bye"),
        (Act::Say("+ idling\r\n{tag} OK had enough\r\n".into()), "Garbage"),
        (Act::Say("+ idling\r\n{tag} NO had enough\r\n".into()), "No"),
        (Act::Say("+ idling\r\nwhat?\r\n".into()), "Garbage"),
    ] {
        let (ended, mut session) = idle_against(answer).await;
        assert_eq!(kind(&ended.unwrap_err()), expected);
        assert!(matches!(session.noop().await.unwrap_err().kind, Kind::Poisoned("IDLE")));
    }
}

#[tokio::test]
async fn time_and_caller_may_end_the_wait() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.inbox().await;
    assert_eq!(session.idle(Duration::from_millis(30), pending()).await.unwrap(), Idle::TimedOut);
    assert_eq!(session.idle(LONG, async {}).await.unwrap(), Idle::Stopped);
    session.noop().await.unwrap();
    assert_eq!(server.heard().iter().filter(|words| *words == "DONE").count(), 2);
}

#[tokio::test]
async fn what_was_said_before_is_not_waited_for_again() {
    let server = Scripted::start(|words| if words == "NOOP" { say("* 4 EXISTS\r\n{tag} OK\r\n") } else { None }).await;
    let mut session = server.inbox().await;
    session.noop().await.unwrap();
    let ended = timeout(GUARD, session.idle(LONG, pending())).await.expect("the change is known already");
    assert_eq!(ended.unwrap(), Idle::Changed(vec![Unsolicited::Exists(4)]));
    assert!(!server.heard().contains(&"IDLE".to_owned()));
}

#[tokio::test]
async fn a_line_that_comes_in_halves_around_the_timeout_is_not_lost() {
    let server = Scripted::start(|words| match words {
        "IDLE" => say("+ idling\r\n* 4 EXI"),
        "DONE" => say("STS\r\n{tag} OK done\r\n"),
        _ => None,
    });
    let ended = server.await.inbox().await.idle(Duration::from_millis(100), pending()).await;
    assert_eq!(ended.unwrap(), Idle::Changed(vec![Unsolicited::Exists(4)]));
}

#[tokio::test]
async fn without_idle_the_caller_is_told_to_poll() {
    let server = Scripted::offering("IMAP4rev1 AUTH=PLAIN", |_| None).await;
    let mut session = server.connect(&options()).await.unwrap();
    session.select(&"INBOX".into()).await.unwrap();
    assert_eq!(kind(&session.idle(LONG, pending()).await.unwrap_err()), "Unsupported");
    session.noop().await.unwrap();
}
