//! Every UID asked for gets its answer.

use bytes::Bytes;
use diwan_imap::{Fetched, Message, Unsolicited};
use tokio::time::{Duration, timeout};

use crate::scripted::{Act, Scripted, fetched, kind, mails, options, say};

fn message(uid: u32) -> Fetched {
    Fetched::Message(Message {
        uid,
        flags: vec!["\\Seen".into()],
        internal_date: Some("1996-07-17T09:44:25Z".parse().unwrap()),
        raw: Bytes::from_static(mails()[&uid].as_bytes()),
    })
}

fn is_bodies(words: &str) -> bool {
    words.starts_with("UID FETCH") && words.contains("BODY.PEEK[]")
}

#[tokio::test]
async fn messages_come_whole_and_unread() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.inbox().await;
    let mut pending = session.uids_from(4).await.unwrap();
    assert_eq!(pending, [5, 9]);
    assert_eq!(session.fetch(&mut pending).await.unwrap(), [message(5), message(9)]);
    assert!(pending.is_empty());
    assert!(session.fetch(&mut pending).await.unwrap().is_empty());
    assert!(server.heard().iter().all(|words| !words.contains("BODY[]")), "BODY[] would mark them as read");
}

#[tokio::test]
async fn a_search_from_beyond_the_last_message_does_not_find_the_last_message() {
    let server = Scripted::start(|_| None).await;
    let mut session = server.inbox().await;
    assert!(session.uids_from(10).await.unwrap().is_empty());
    assert_eq!(session.uids_from(9).await.unwrap(), [9]);
    assert_eq!(session.uids_from(0).await.unwrap(), [3, 5, 9]);
}

#[tokio::test]
async fn an_empty_folder_may_be_searched_without_a_result_line() {
    let server = Scripted::start(|words| match words {
        "SELECT \"INBOX\"" => say("* 0 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n{tag} OK done\r\n"),
        "UID SEARCH UID 1:*" => say("{tag} OK done\r\n"),
        _ => None,
    });
    assert!(server.await.inbox().await.uids_from(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_uid_left_out_is_gone_only_when_a_search_says_so() {
    // 4 does not exist; 5 exists, but is left out unless asked for alone.
    let server = Scripted::start(|words| {
        let left_out = words.starts_with("UID FETCH 3:5,9") && is_bodies(words);
        left_out.then(|| Act::Say(fetched(3, mails()[&3], true) + &fetched(9, mails()[&9], true) + "{tag} OK done\r\n"))
    });
    let mut session = server.await.inbox().await;
    let got = session.fetch(&mut vec![9, 3, 4, 5]).await.unwrap();
    assert_eq!(got, [message(3), Fetched::Gone { uid: 4 }, message(5), message(9)]);
}

#[tokio::test]
async fn nothing_is_gone_when_the_search_that_should_prove_it_fails() {
    for answer in ["{tag} NO not now\r\n", "{tag} OK but no result\r\n", "{tag} BAD\r\n"] {
        let server = Scripted::start(move |words| if words == "UID SEARCH UID 4" { say(answer) } else { None }).await;
        let mut pending = vec![3, 4];
        server.inbox().await.fetch(&mut pending).await.unwrap_err();
        assert_eq!(pending, [3, 4]);
    }
}

#[tokio::test]
async fn a_message_expunged_between_proof_and_retry_is_gone() {
    let searches = std::sync::atomic::AtomicU32::new(0);
    let server = Scripted::start(move |words| match words {
        "UID SEARCH UID 4" => {
            let first = searches.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
            say(if first { "* SEARCH 4\r\n{tag} OK done\r\n" } else { "* SEARCH\r\n{tag} OK done\r\n" })
        }
        _ => None,
    });
    assert_eq!(server.await.inbox().await.fetch(&mut vec![4]).await.unwrap(), [Fetched::Gone { uid: 4 }]);
}

#[tokio::test]
async fn a_response_that_cannot_be_parsed_costs_its_own_message_only() {
    // The subject tries to pass the blame to message 9.
    let broken = "* 2 FETCH (ENVELOPE (\"(UID 9 NIL) UID 5 BODY[] {5}\r\nraw e)\r\n";
    let server = Scripted::start(move |words| {
        if !is_bodies(words) {
            return None;
        }
        match words.split(' ').nth(2)? {
            "5" => say(format!("{broken}{{tag}} OK done\r\n")),
            _ => say(fetched(3, mails()[&3], true) + broken + &fetched(9, mails()[&9], true) + "{tag} OK done\r\n"),
        }
    });
    let mut session = server.await.inbox().await;
    let got = session.fetch(&mut vec![3, 5, 9]).await.unwrap();
    assert_eq!(got, [message(3), Fetched::Unparsable { uid: 5, raw: Some(Bytes::from_static(b"raw e")) }, message(9)]);
    session.noop().await.unwrap();
}

#[tokio::test]
async fn a_body_without_a_uid_is_kept_as_unparsable() {
    let server = Scripted::start(|words| {
        is_bodies(words).then(|| Act::Say("* 2 FETCH (FLAGS () BODY[] {3}\r\nraw)\r\n{tag} OK done\r\n".into()))
    });
    let got = server.await.inbox().await.fetch(&mut vec![5]).await.unwrap();
    assert_eq!(got, [Fetched::Unparsable { uid: 5, raw: Some(Bytes::from_static(b"raw")) }]);
}

#[tokio::test]
async fn a_body_of_nil_is_not_an_empty_message() {
    let server = Scripted::start(|words| {
        is_bodies(words).then(|| Act::Say("* 2 FETCH (UID 5 FLAGS () BODY[] NIL)\r\n{tag} OK done\r\n".into()))
    });
    let got = server.await.inbox().await.fetch(&mut vec![5]).await.unwrap();
    assert_eq!(got, [Fetched::Unparsable { uid: 5, raw: None }]);
}

#[tokio::test]
async fn one_message_that_the_server_refuses_does_not_hold_up_the_others() {
    let server = Scripted::start(|words| match words.split(' ').nth(2)? {
        "3" | "9" => None,
        set => (is_bodies(words) && set.contains('5')).then(|| Act::Say("{tag} NO cannot be rendered\r\n".into())),
    });
    let mut session = server.await.inbox().await;
    let got = session.fetch(&mut vec![3, 5, 9]).await.unwrap();
    assert!(matches!(&got[1], Fetched::Refused { uid: 5, answer } if answer.text == "cannot be rendered"));
    assert_eq!((&got[0], &got[2]), (&message(3), &message(9)));
}

#[tokio::test]
async fn a_server_that_refuses_every_message_is_in_trouble_even_where_others_are_gone() {
    let server = Scripted::start(|words| is_bodies(words).then(|| Act::Say("{tag} NO cannot be rendered\r\n".into())));
    let mut pending = vec![3, 4];
    let error = server.await.inbox().await.fetch(&mut pending).await.unwrap_err();
    assert_eq!((kind(&error), pending), ("No", vec![3, 4]));
}

#[tokio::test]
async fn sizes_beyond_all_measure_do_no_harm() {
    let server = Scripted::start(|words| {
        let sizes = words.starts_with("UID FETCH") && words.contains("RFC822.SIZE");
        let size = u64::MAX;
        sizes.then(|| {
            let lies = format!("* 1 FETCH (UID 3 RFC822.SIZE {size})\r\n* 2 FETCH (UID 5 RFC822.SIZE {size})\r\n");
            Act::Say(lies + "{tag} OK\r\n")
        })
    });
    let mut options = options();
    options.limits.max_message = usize::MAX;
    let mut pending = vec![3, 5];
    let mut session = server.await.inbox_with(options).await;
    assert_eq!(session.fetch(&mut pending).await.unwrap(), [message(3)]);
    assert_eq!(session.fetch(&mut pending).await.unwrap(), [message(5)]);
}

#[tokio::test]
async fn a_server_in_trouble_is_not_asked_for_each_message_by_itself() {
    let server = Scripted::start(|words| is_bodies(words).then(|| Act::Say("{tag} NO [UNAVAILABLE] later\r\n".into())));
    let server = server.await;
    let error = server.inbox().await.fetch(&mut vec![3, 5, 9]).await.unwrap_err();
    assert_eq!(kind(&error), "No");
    assert_eq!(server.heard().iter().filter(|words| is_bodies(words)).count(), 1);
}

#[tokio::test]
async fn what_is_said_of_one_message_may_come_in_pieces() {
    let server = Scripted::start(|words| {
        is_bodies(words).then(|| {
            let pieces =
                "* 1 FETCH (UID 5 FLAGS (\\Flagged))\r\n* 1 FETCH (UID 5 BODY[] {1}\r\nx)\r\n{tag} OK done\r\n";
            Act::Say(pieces.into())
        })
    });
    let got = server.await.inbox().await.fetch(&mut vec![5]).await.unwrap();
    let flags = vec!["\\Flagged".into()];
    assert_eq!(got, [Fetched::Message(Message { uid: 5, flags, internal_date: None, raw: Bytes::from_static(b"x") })]);
}

#[tokio::test]
async fn a_message_over_the_limit_is_reported_and_never_asked_for() {
    let server = Scripted::start(|words| {
        let sizes = words.starts_with("UID FETCH") && words.contains("RFC822.SIZE");
        sizes.then(|| {
            Act::Say(
                "* 1 FETCH (UID 3 RFC822.SIZE 9)\r\n* 2 FETCH (UID 5 RFC822.SIZE 536870912)\r\n{tag} OK\r\n".into(),
            )
        })
    });
    let server = server.await;
    let got = server.inbox().await.fetch(&mut vec![3, 5]).await.unwrap();
    assert_eq!(got, [message(3), Fetched::TooLarge { uid: 5, size: 536_870_912 }]);
    assert!(server.heard().contains(&"UID FETCH 3 (UID FLAGS INTERNALDATE BODY.PEEK[])".to_owned()));
}

#[tokio::test]
async fn a_message_larger_than_its_stated_size_is_skipped_and_the_next_one_found() {
    let big = "x".repeat(5000);
    let server = Scripted::start(move |words| {
        let lie = fetched(5, "small", false) + &fetched(9, mails()[&9], false);
        let truth = fetched(5, &big, true) + &fetched(9, mails()[&9], true);
        words
            .starts_with("UID FETCH")
            .then(|| Act::Say(if is_bodies(words) { truth } else { lie } + "{tag} OK done\r\n"))
    });
    let mut options = options();
    options.limits.max_message = 1000;
    let mut session = server.await.inbox_with(options).await;
    assert_eq!(session.fetch(&mut vec![5, 9]).await.unwrap(), [Fetched::TooLarge { uid: 5, size: 5000 }, message(9)]);
    session.noop().await.unwrap();
}

#[tokio::test]
async fn half_a_gigabyte_that_is_announced_and_never_sent_is_not_allocated() {
    let before = peak_memory();
    let server = Scripted::start(|words| {
        is_bodies(words).then(|| Act::SayAndHang("* 1 FETCH (UID 5 BODY[] {536870912}\r\nxyz".into()))
    });
    let mut options = options();
    options.limits.max_message = usize::MAX;
    options.limits.silence = Duration::from_secs(1);
    let mut session = server.await.inbox_with(options).await;
    assert_eq!(kind(&session.fetch(&mut vec![5]).await.unwrap_err()), "Timeout");
    assert!(peak_memory() < before + (100 << 10), "in KiB");
}

/// The largest address space this process has ever had, in KiB: what counts is the asking, not the touching.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn batches_are_bounded_by_bytes_and_by_number() {
    let server = Scripted::start(|_| None).await;
    let mut options = options();
    options.limits.batch_bytes = mails()[&3].len() + mails()[&5].len();
    let mut session = server.inbox_with(options.clone()).await;
    let mut pending = vec![9, 5, 3, 4];
    assert_eq!(session.fetch(&mut pending).await.unwrap(), [message(5), message(9)]);
    assert_eq!(pending, [3, 4]);
    options.limits.batch_messages = 1;
    options.limits.batch_bytes = 0;
    let mut session = server.inbox_with(options).await;
    assert_eq!(session.fetch(&mut pending).await.unwrap(), [message(3)], "one is always let through");
    assert_eq!(pending, [4]);
}

#[tokio::test]
async fn a_server_that_sends_more_than_was_planned_is_not_kept_in_memory() {
    // Each stated as 5 bytes, each in truth 800: the batch's allowance holds only one of them.
    let long = "y".repeat(800);
    let server = Scripted::start(move |words| {
        let all = |bodies: bool| -> String {
            let uids = words.split(' ').nth(2).unwrap_or_default();
            let uids: Vec<u32> = if uids == "3,5,9" { vec![3, 5, 9] } else { vec![uids.parse().unwrap()] };
            uids.into_iter().map(|uid| fetched(uid, if bodies { &long } else { "short" }, bodies)).collect()
        };
        words.starts_with("UID FETCH").then(|| Act::Say(all(is_bodies(words)) + "{tag} OK done\r\n"))
    });
    let server = server.await;
    let mut options = options();
    (options.limits.max_message, options.limits.batch_bytes) = (1000, 100);
    let mut session = server.inbox_with(options).await;
    let got = session.fetch(&mut vec![3, 5, 9]).await.unwrap();
    assert!(got.iter().all(|one| matches!(one, Fetched::Message(message) if message.raw.len() == 800)));
    assert!(server.heard().contains(&"UID FETCH 9 (UID FLAGS INTERNALDATE BODY.PEEK[])".to_owned()));
}

#[tokio::test]
async fn three_hundred_unsolicited_lines_within_a_fetch_are_all_kept() {
    let server = Scripted::start(|words| {
        let noise = |n: u32| {
            format!("* {n} EXISTS\r\n* 7 EXPUNGE\r\n* 2 FETCH (FLAGS (\\Seen a{n}))\r\n* VANISHED {n}:{}\r\n", n + 1)
        };
        is_bodies(words).then(|| {
            let (early, late): (String, String) = ((1..60).map(noise).collect(), (60..=75).map(noise).collect());
            Act::Say(early + &fetched(5, mails()[&5], true) + &late + "* OK [ALERT] disk full\r\n{tag} OK done\r\n")
        })
    });
    let mut session = server.await.inbox().await;
    assert_eq!(session.fetch(&mut vec![5]).await.unwrap(), [message(5)]);
    let events = session.take_unsolicited();
    assert_eq!(events.len(), 301);
    for (index, four) in (1..).zip(events[..300].chunks(4)) {
        let flags = vec!["\\Seen".to_owned(), format!("a{index}")];
        let (exists, gone) = (Unsolicited::Exists(index), Unsolicited::Expunge(7));
        let vanished = Unsolicited::Vanished(vec![index..=index + 1]);
        assert_eq!(four, [exists, gone, Unsolicited::Flags { number: 2, uid: None, flags }, vanished]);
    }
    assert_eq!(events[300], Unsolicited::Alert("disk full".into()));
    assert!(session.take_unsolicited().is_empty());
}

#[tokio::test]
async fn more_unsolicited_data_than_the_limit_is_an_error_rather_than_a_loss() {
    let server =
        Scripted::start(|words| if words == "NOOP" { say("* 1 EXISTS\r\n".repeat(11) + "{tag} OK\r\n") } else { None });
    let mut options = options();
    options.limits.max_unsolicited = 10;
    let mut session = server.await.inbox_with(options).await;
    assert_eq!(kind(&session.noop().await.unwrap_err()), "Garbage");
    assert!(session.is_poisoned());
}

#[tokio::test]
async fn a_folder_that_is_replaced_while_selected_is_an_error() {
    let server =
        Scripted::start(|words| if words == "NOOP" { say("* OK [UIDVALIDITY 78] new\r\n{tag} OK\r\n") } else { None });
    let mut session = server.await.inbox().await;
    assert_eq!(kind(&session.noop().await.unwrap_err()), "UidValidityChanged");
    assert_eq!(kind(&session.uids_from(1).await.unwrap_err()), "Poisoned");
}

#[tokio::test]
async fn zero_is_refused_before_it_is_asked_for() {
    let server = Scripted::start(|_| None).await;
    let refused = timeout(Duration::from_secs(5), async { server.inbox().await.fetch(&mut vec![3, 0]).await }).await;
    assert_eq!(kind(&refused.unwrap().unwrap_err()), "other");
    assert!(!server.heard().iter().any(|words| words.starts_with("UID")));
}
