//! Folders and filing.

use diwan_imap::{Appended, FolderName, Selected, SpecialUse};

use crate::scripted::{Act, Scripted, kind, options, say};

#[tokio::test]
async fn selecting_tells_what_is_needed_to_go_on_where_one_stopped() {
    let server = Scripted::offering("IMAP4rev1 AUTH=PLAIN CONDSTORE", |_| None).await;
    let mut session = server.connect(&options()).await.unwrap();
    let expected = Selected {
        uid_validity: 77,
        uid_next: Some(10),
        exists: 3,
        highest_modseq: Some(715_194_045_007),
        read_only: false,
    };
    assert_eq!(session.select(&"INBOX".into()).await.unwrap(), expected);
    assert_eq!(session.examine(&"INBOX".into()).await.unwrap(), Selected { read_only: true, ..expected });
    assert!(server.heard().contains(&"SELECT \"INBOX\" (CONDSTORE)".to_owned()));
}

#[tokio::test]
async fn what_was_said_of_the_folder_before_is_not_taken_for_the_new_one() {
    let server = Scripted::start(|words| match words {
        "SELECT \"Sent\"" => say(
            "* 99 EXISTS\r\n* OK [UIDNEXT 500] old\r\n* OK [CLOSED] now\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 78] new\r\n\
             {tag} OK [READ-ONLY] done\r\n",
        ),
        _ => None,
    });
    let selected = server.await.inbox().await.select(&"Sent".into()).await.unwrap();
    assert_eq!((selected.exists, selected.uid_validity, selected.uid_next), (1, 78, None));
    assert!(selected.read_only);
}

#[tokio::test]
async fn the_sent_folder_is_found_and_selected_under_its_own_name() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.connect(&options()).await.unwrap();
    let folders = session.list().await.unwrap();
    assert_eq!(folders.len(), 3);
    assert!(folders[0].selectable && folders[0].special_use.is_none() && folders[0].delimiter == Some('/'));
    assert!(!folders[2].selectable && folders[2].delimiter.is_none());
    assert_eq!(folders[2].name.to_string(), "a \"b\"");
    let sent = folders.iter().find(|folder| folder.special_use == Some(SpecialUse::Sent)).unwrap();
    assert_eq!(sent.name, FolderName::new("مرس"));
    session.select(&sent.name).await.unwrap();
    session.select(&folders[2].name).await.unwrap();
    let heard = server.heard();
    assert!(heard.contains(&"LIST \"\" \"*\" RETURN (SPECIAL-USE)".to_owned()));
    assert!(heard.contains(&"SELECT \"&BkUGMQYz-\"".to_owned()));
    assert!(heard.contains(&"SELECT \"a \\\"b\\\"\"".to_owned()));
}

#[tokio::test]
async fn a_name_beyond_ascii_on_the_wire_is_sent_back_as_it_came() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.connect(&options()).await.unwrap();
    session.select(&FolderName::from_wire("كل")).await.unwrap();
    assert!(server.heard().contains(&"literal كل".to_owned()));
}

#[tokio::test]
async fn filing_tells_where_the_message_went() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.connect(&options()).await.unwrap();
    let raw = "Subject: x\r\n\r\n{5}\r\n".repeat(100_000);
    let appended = session.append(&"Sent".into(), &["\\Seen", "$Label"], raw.as_bytes()).await.unwrap();
    assert_eq!(appended, Some(Appended { uid_validity: 78, uid: 12 }));
    let heard = server.heard();
    assert!(heard.contains(&"+ APPEND \"Sent\" (\\Seen $Label) <>".to_owned()));
    assert!(heard.contains(&format!("literal {raw}")));
}

#[tokio::test]
async fn a_message_that_is_refused_beforehand_is_not_sent() {
    let server =
        Scripted::start(|words| words.starts_with("+ APPEND").then(|| Act::Say("{tag} NO [TRYCREATE]\r\n".into())));
    let server = server.await;
    let mut session = server.connect(&options()).await.unwrap();
    assert_eq!(kind(&session.append(&"Sent".into(), &[], b"raw").await.unwrap_err()), "No");
    session.noop().await.unwrap();
    assert!(!server.heard().iter().any(|words| words.starts_with("literal")));
}

#[tokio::test]
async fn flags_that_would_break_out_of_their_list_are_refused() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.connect(&options()).await.unwrap();
    for flag in ["", "\\", "a b", "a)\r\nD9 DELETE x", "\"", "é"] {
        assert_eq!(kind(&session.append(&"Sent".into(), &[flag], b"raw").await.unwrap_err()), "other", "{flag}");
    }
    assert!(!session.is_poisoned());
}
