//! From the first byte to a session: who refuses, why, and whether it makes sense to come back.

use std::sync::Arc;

use diwan_imap::{
    CertificateDer, Credentials, Error, Options, Retry, Secret, Security, Step, Trust, Unsolicited, connect,
};
use flate2::{Compress, Compression, FlushCompress};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};

use crate::scripted::{Act, OFFERS, Scripted, kind, options, password, say};

fn certificate() -> (CertificateDer<'static>, Arc<ServerConfig>) {
    let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = issued.cert.der().clone();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    (certificate, Arc::new(config))
}

fn trusting(certificate: CertificateDer<'static>) -> Options {
    Options { trust: Trust::with([certificate]).unwrap(), compress: true, ..options() }
}

async fn refused_login(answer: &'static str) -> Error {
    let server = Scripted::start(move |words| words.starts_with("AUTHENTICATE").then(|| Act::Say(answer.into()))).await;
    server.connect(&options()).await.unwrap_err()
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_server_in_trouble() {
    for (answer, retry) in [
        ("{tag} NO [AUTHENTICATIONFAILED] Invalid credentials\r\n", Retry::AfterChange),
        ("{tag} NO Login failed\r\n", Retry::AfterChange),
        ("{tag} NO [EXPIRED] Your password has expired\r\n", Retry::AfterChange),
        ("{tag} NO [UNAVAILABLE] Temporary authentication failure\r\n", Retry::Later),
        ("{tag} NO [ALERT] Too many simultaneous connections. (Failure)\r\n", Retry::Later),
        ("{tag} BAD internal error\r\n", Retry::Later),
        ("* BYE [UNAVAILABLE] shutting down\r\n", Retry::Later),
    ] {
        let error = refused_login(answer).await;
        assert_eq!((error.step, error.retry()), (Step::Login, retry), "{answer}");
    }
}

#[tokio::test]
async fn the_server_may_say_how_long_it_wants_to_be_left_alone() {
    let error = refused_login("{tag} NO Request is throttled. Suggested Backoff Time: 5000 milliseconds\r\n").await;
    assert_eq!((error.pause(), error.retry()), (Some(std::time::Duration::from_secs(5)), Retry::Later));
}

#[tokio::test]
async fn a_password_that_the_server_repeats_stays_out_of_the_error() {
    for offers in [OFFERS, "IMAP4rev1"] {
        let server = Scripted::offering(offers, |words| {
            let login = words.starts_with("AUTHENTICATE") || words.starts_with("LOGIN");
            login.then(|| Act::Say(format!("{{tag}} BAD unknown command: {words}\r\n")))
        });
        let endpoint = server.await.endpoint(Security::Plain);
        let error = connect(&endpoint, &password("zw\"ölf"), &options()).await.unwrap_err();
        let error = format!("{error:?}");
        assert!(error.contains("withheld") || !error.contains("zw"), "{error}");
        assert!(!error.contains("AGpvZQ"), "{error}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?} {:?}", password("pencil"), Secret::new("pencil"));
    assert!(!shown.contains("pencil"));
}

#[tokio::test]
async fn the_password_is_sent_in_the_way_that_the_server_offers() {
    let base64 = "AGpvZQBwZW5jaWw=";
    for (offers, heard) in [
        ("IMAP4rev1 AUTH=PLAIN SASL-IR", format!("AUTHENTICATE PLAIN {base64}")),
        ("IMAP4rev1 AUTH=PLAIN LOGINDISABLED", base64.to_owned()),
        ("IMAP4rev1", "LOGIN \"joe\" \"pencil\"".to_owned()),
    ] {
        let server =
            Scripted::offering(offers, |words| (words == "AUTHENTICATE PLAIN").then(|| Act::Say("+ \r\n".into())))
                .await;
        server.connect(&options()).await.unwrap();
        assert!(server.heard().contains(&heard), "{offers}: {:?}", server.heard());
    }
}

#[tokio::test]
async fn a_password_that_cannot_be_quoted_is_sent_as_a_literal() {
    let server = Scripted::offering("IMAP4rev1", |_| None).await;
    connect(&server.endpoint(Security::Plain), &password("گل\r\n"), &options()).await.unwrap();
    assert!(server.heard().contains(&"literal گل\r\n".to_owned()));
    let zero = connect(&server.endpoint(Security::Plain), &password("a\0b"), &options()).await.unwrap_err();
    assert_eq!((zero.step, kind(&zero)), (Step::Login, "other"));
}

#[tokio::test]
async fn no_password_is_sent_where_none_is_wanted() {
    let server = Scripted::offering("IMAP4rev1 LOGINDISABLED AUTH=XOAUTH2", |_| None).await;
    let error = server.connect(&options()).await.unwrap_err();
    assert_eq!((kind(&error), error.retry()), ("Unsupported", Retry::AfterChange));
    assert!(!server.heard().iter().any(|words| words.starts_with("LOGIN") || words.starts_with("AUTH")));
}

#[tokio::test]
async fn a_token_is_presented_and_its_refusal_is_conceded() {
    for (offers, mechanism, concede) in
        [("IMAP4rev1 AUTH=XOAUTH2 SASL-IR", "XOAUTH2", ""), ("IMAP4rev1 AUTH=OAUTHBEARER", "OAUTHBEARER", "AQ==")]
    {
        let server = Scripted::offering(offers, move |words| match words {
            words if words == concede => say("{tag} NO [AUTHENTICATIONFAILED] expired\r\n"),
            words if words.starts_with("AUTHENTICATE") || words.len() > 40 => say("+ eyJzdGF0dXMiOiI0MDAifQ==\r\n"),
            _ => None,
        });
        let server = server.await;
        let credentials = Credentials::OAuth2 { user: "joe@example.org".into(), token: Secret::new("ya29.token") };
        let error = connect(&server.endpoint(Security::Plain), &credentials, &options()).await.unwrap_err();
        assert_eq!((kind(&error), error.retry()), ("No", Retry::AfterChange), "{mechanism}");
        let expected = format!("AUTHENTICATE {mechanism}");
        assert!(server.heard().iter().any(|words| words.starts_with(&expected)));
    }
}

#[tokio::test]
async fn every_step_before_the_session_says_that_it_failed() {
    for (point, step) in [("*", Step::Greeting), ("CAPABILITY", Step::Greeting), ("AUTHENTICATE", Step::Login)] {
        for (answer, expected) in [("* BYE no\r\n", "Bye"), ("", "Eof"), ("nonsense\r\n", "Garbage")] {
            let server =
                Scripted::start(move |words| words.starts_with(point).then(|| Act::SayAndClose(answer.into())));
            let error = server.await.connect(&options()).await.unwrap_err();
            assert_eq!((error.step, kind(&error), error.retry()), (step, expected, Retry::Later), "{point} {answer}");
        }
        let server =
            Scripted::start(move |words| words.starts_with(point).then(|| Act::SayAndHang(String::new()))).await;
        let mut options = options();
        options.limits.silence = std::time::Duration::from_secs(1);
        let error = server.connect(&options).await.unwrap_err();
        assert_eq!((error.step, kind(&error)), (step, "Timeout"), "{point}");
    }
}

#[tokio::test]
async fn nobody_listening_is_a_matter_of_connecting() {
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let server = Scripted::start(|_| None).await;
    let mut endpoint = server.endpoint(Security::Plain);
    endpoint.port = port;
    let error = connect(&endpoint, &password("x"), &options()).await.unwrap_err();
    assert_eq!((error.step, kind(&error), error.retry()), (Step::Connect, "Io", Retry::Later));
    assert!(std::error::Error::source(&error).is_some_and(|kind| kind.source().is_some()), "the cause is in the chain");
}

#[tokio::test]
async fn without_encryption_nothing_leaves_this_machine() {
    let server = Scripted::start(|_| None).await;
    let mut endpoint = server.endpoint(Security::Plain);
    // TEST-NET-1 (RFC 5737): answers nobody, so a wait would show that it was tried.
    endpoint.host = "192.0.2.1".into();
    let error = connect(&endpoint, &password("x"), &options()).await.unwrap_err();
    assert!(matches!(error.kind, diwan_imap::Kind::NotLoopback), "{error:?}");
}

#[tokio::test]
async fn an_address_that_is_not_permitted_is_not_connected_to() {
    let server = Scripted::start(|_| None).await;
    let options = Options { permits: |address| !address.is_loopback(), ..options() };
    let error = server.connect(&options).await.unwrap_err();
    assert!(matches!(error.kind, diwan_imap::Kind::NotPermitted), "{error:?}");
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn tls_starttls_and_compression_carry_a_whole_session() {
    let (certificate, tls) = certificate();
    let offers = "IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR IDLE COMPRESS=DEFLATE";
    for (security, first) in [(Security::Tls, true), (Security::StartTls, false)] {
        let server = Scripted::start_with(offers, Some(tls.clone()), first, |_| None).await;
        let options = trusting(certificate.clone());
        let mut session = connect(&server.endpoint(security), &password("pencil"), &options).await.unwrap();
        session.select(&"INBOX".into()).await.unwrap();
        assert_eq!(session.fetch(&mut vec![3, 5, 9]).await.unwrap().len(), 3);
        session.append(&"Sent".into(), &[], &vec![b'x'; 1 << 20]).await.unwrap();
        session.idle(std::time::Duration::from_millis(10), std::future::pending()).await.unwrap();
        session.logout().await.unwrap();
        assert!(server.heard().contains(&"COMPRESS DEFLATE".to_owned()));
        assert_eq!(server.heard().contains(&"STARTTLS".to_owned()), !first);
    }
}

#[tokio::test]
async fn compression_that_is_refused_or_unwanted_is_done_without() {
    for answer in ["{tag} NO [COMPRESSIONACTIVE]\r\n", "{tag} BAD what?\r\n"] {
        let server = Scripted::start(move |words| words.starts_with("COMPRESS").then(|| Act::Say(answer.into())));
        // The scripted server starts to compress whatever it said, so only the client's own way is looked at.
        server.await.connect(&Options { compress: true, ..options() }).await.unwrap();
    }
    let server = Scripted::start(|_| None).await;
    server.connect(&options()).await.unwrap();
    assert!(!server.heard().contains(&"COMPRESS DEFLATE".to_owned()));
}

#[tokio::test]
async fn what_comes_with_the_consent_to_compress_is_compressed_already() {
    let mut packed = Vec::with_capacity(100);
    let mut deflate = Compress::new(Compression::default(), false);
    deflate.compress_vec(b"* OK [ALERT] disk full\r\n", &mut packed, FlushCompress::Sync).unwrap();
    let server = Scripted::start(move |words| {
        words.starts_with("COMPRESS").then(|| Act::SayWithBytes("{tag} OK done\r\n", packed.clone()))
    });
    let mut session = server.await.connect(&Options { compress: true, ..options() }).await.unwrap();
    session.noop().await.unwrap();
    assert_eq!(session.take_unsolicited(), [Unsolicited::Alert("disk full".into())]);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_ends_it_for_good() {
    let (_, tls) = certificate();
    let server = Scripted::start_with(OFFERS, Some(tls), true, |_| None).await;
    let error = connect(&server.endpoint(Security::Tls), &password("pencil"), &options()).await.unwrap_err();
    assert_eq!((error.step, kind(&error), error.retry()), (Step::Tls, "Tls", Retry::AfterChange));
}

#[tokio::test]
async fn starttls_cannot_be_talked_out_of() {
    let (certificate, tls) = certificate();
    let offers = "IMAP4rev1 STARTTLS AUTH=PLAIN";
    for (point, answer) in [
        ("*", "* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] welcome\r\n"),
        ("CAPABILITY", "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n{tag} OK\r\n"),
        ("STARTTLS", "{tag} NO not today\r\n"),
        ("STARTTLS", "{tag} OK begin\r\n* CAPABILITY IMAP4rev1 INJECTED\r\n"),
    ] {
        let script = move |words: &str| (words == point).then(|| Act::Say(answer.into()));
        let server = Scripted::start_with(offers, Some(tls.clone()), false, script).await;
        let options = trusting(certificate.clone());
        connect(&server.endpoint(Security::StartTls), &password("pencil"), &options).await.unwrap_err();
        assert!(!server.heard().iter().any(|words| words.contains("AUTH") || words.contains("LOGIN")), "{answer}");
    }
}

#[tokio::test]
async fn what_was_offered_before_encryption_is_asked_again() {
    let (certificate, tls) = certificate();
    let greet = |words: &str| (words == "*").then(|| Act::Say("* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n".into()));
    let server = Scripted::start_with(OFFERS, Some(tls), false, greet).await;
    let session =
        connect(&server.endpoint(Security::StartTls), &password("pencil"), &trusting(certificate)).await.unwrap();
    assert!(session.offers("IDLE") && !session.offers("STARTTLS"));
    assert!(
        server.heard().iter().any(|words| words.starts_with("AUTHENTICATE PLAIN")),
        "offered only since encryption"
    );
    assert_eq!(session.capabilities().count(), OFFERS.split(' ').count());
}
