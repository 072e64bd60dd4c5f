//! Mail in and out, and who may read and send.

use std::time::{Duration, Instant};

use diwan_mailhost::{Error, MailHost, Options, PASSWORD};
use tokio::time::sleep;

use crate::support::{Imap, eventually, host, send};

#[tokio::test]
async fn a_mail_accepted_by_smtp_is_in_its_mailbox_within_a_second() {
    let (host, _folder) = host().await;
    let mut slowest = Duration::ZERO;
    for number in 1..=10 {
        let mut imap = Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
        let accepted = send(host.smtp(), None, "support@shop.test", &number.to_string()).await.unwrap();
        eventually("the mail is there", async || imap.inbox_size().await == number).await;
        slowest = slowest.max(accepted.elapsed());
    }
    println!("from SMTP acceptance to the mailbox, slowest of 10: {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}

#[tokio::test]
async fn idle_tells_of_a_mail_within_a_second_whether_it_has_just_begun_or_long_waited() {
    let (host, _folder) = host().await;
    let mut imap = Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
    imap.inbox_size().await;
    // The length of the wait is what is tested: a server that hibernates connections loses news that come just then.
    for waited in [0, 400, 500, 600, 1500].map(Duration::from_millis) {
        imap.idle().await;
        sleep(waited).await;
        let accepted = send(host.smtp(), None, "support@shop.test", "news").await.unwrap();
        let latency = imap.news().await.saturating_duration_since(accepted);
        imap.end_idle().await;
        println!("from SMTP acceptance to the news by an IDLE of {waited:?}: {latency:?}");
        assert!(latency < Duration::from_secs(1), "{latency:?}");
    }
}

#[tokio::test]
async fn a_burst_of_mail_arrives_whole() {
    let (host, _folder) = host().await;
    let started = Instant::now();
    let senders = (0..4).map(|sender| {
        let smtp = host.smtp();
        tokio::spawn(async move {
            for number in 0..25 {
                send(smtp, None, "support@shop.test", &format!("{sender}-{number:02}")).await.unwrap();
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.unwrap();
    }
    let mut imap = Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
    eventually("all are there", async || imap.inbox_size().await == 100).await;
    println!("100 mails from 4 senders: {:?}", started.elapsed());
    let mut subjects = imap.subjects().await;
    subjects.sort();
    let sent: Vec<String> = (0..4).flat_map(|s| (0..25).map(move |n| format!("{s}-{n:02}"))).collect();
    assert_eq!(subjects, sent);
}

#[tokio::test]
async fn submission_takes_mail_from_an_owner_of_a_mailbox_only() {
    let (host, _folder) = host().await;
    let owner = "support@shop.test";
    send(host.submission(), Some((owner, PASSWORD)), "customer@elsewhere.test", "answer").await.unwrap();
    let mut imap = Imap::login(host.imap(), "customer@elsewhere.test", PASSWORD).await.unwrap();
    eventually("the answer is there", async || imap.subjects().await == ["answer"]).await;

    let refused =
        send(host.submission(), Some((owner, "wrong")), "customer@elsewhere.test", "never").await.unwrap_err();
    assert_eq!(refused.status().map(u16::from), Some(535), "{refused}");
    let refused = send(host.submission(), None, "customer@elsewhere.test", "never").await.unwrap_err();
    assert_eq!(refused.status().map(u16::from), Some(530), "{refused}");
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_imap() {
    let (host, _folder) = host().await;
    let refusal = Imap::login(host.imap(), "support@shop.test", "wrong").await.err().unwrap();
    assert!(refusal.contains("NO [AUTHENTICATIONFAILED]"), "{refusal}");
}

#[tokio::test]
async fn a_password_of_its_own_replaces_the_shared_one_for_that_address_alone() {
    let (host, _folder) = host().await;
    let logs_in = async |user: &str, password: &str| Imap::login(host.imap(), user, password).await.is_ok();
    // Passwords of the same length, one right after the other: what a server that watches the file's length and time may miss.
    for (password, old) in [("first: \u{f6}", PASSWORD), ("other: \u{f6}", "first: \u{f6}")] {
        host.set_password("Support@shop.test", password).unwrap();
        eventually("the new password holds", async || logs_in("support@shop.test", password).await).await;
        assert!(!logs_in("support@shop.test", old).await);
    }
    assert!(!logs_in("support@shop.test", PASSWORD).await);
    assert!(logs_in("sales@shop.test", PASSWORD).await);
    assert!(matches!(host.set_password("support@shop.test:x\n", "x"), Err(Error::Address(_))));
}

#[tokio::test]
async fn two_hosts_side_by_side_keep_their_mail_apart() {
    let ((one, _one_folder), (other, _other_folder)) = tokio::join!(host(), host());
    send(one.smtp(), None, "support@shop.test", "to the one").await.unwrap();
    send(other.smtp(), None, "support@shop.test", "to the other").await.unwrap();
    for (host, subject) in [(one, "to the one"), (other, "to the other")] {
        let mut imap = Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
        eventually("one mail is there", async || imap.subjects().await == [subject]).await;
        host.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_host_comes_back_on_its_ports_with_its_mail_and_passwords() {
    let (host, folder) = host().await;
    let ports = host.ports();
    host.set_password("support@shop.test", "own").unwrap();
    send(host.smtp(), None, "support@shop.test", "kept").await.unwrap();
    host.stop().await.unwrap();

    let options = Options { ports: Some(ports), ..Options::new(folder.path()) };
    let host = MailHost::start(options).await.unwrap();
    assert_eq!(host.ports(), ports);
    let mut imap = Imap::login(host.imap(), "support@shop.test", "own").await.unwrap();
    assert_eq!(imap.subjects().await, ["kept"]);
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_its_host_left_alone() {
    let (host, folder) = host().await;
    let second = MailHost::start(Options::new(folder.path())).await;
    assert!(matches!(second, Err(Error::InUse(_))));
    Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
}

#[tokio::test]
async fn ports_that_are_taken_are_named_as_the_reason() {
    let (host, _folder) = host().await;
    let folder = tempfile::tempdir().unwrap();
    let options = Options { ports: Some(host.ports()), ..Options::new(folder.path()) };
    let error = MailHost::start(options).await.err().unwrap();
    assert!(error.to_string().contains("Address already in use"), "{error}");
    Imap::login(host.imap(), "support@shop.test", PASSWORD).await.unwrap();
}
