//! Mails as they come: multilingual, broken, hostile.

use std::path::PathBuf;

use super::*;

const PLAIN: &str = "From: \"Ana\" <ana@example.com>\r\nTo: support@shop.test\r\nSubject: =?utf-8?B?2YXYsdit2KjYpw==?=\r\n\
    Message-ID: <1@example.com>\r\nIn-Reply-To: <c@x>\r\nReferences: <a@x> <b@x> <c@x>\r\n\r\nHello\r\n";

#[test]
fn sender_subject_text_and_thread_are_read_with_the_nearest_reference_first() {
    let parsed = parse(PLAIN.as_bytes());
    assert_eq!((parsed.from_email.as_str(), parsed.from_name.as_str()), ("ana@example.com", "Ana"));
    assert_eq!((parsed.subject.as_str(), parsed.text.as_str()), ("مرحبا", "Hello"));
    assert_eq!(parsed.message_id, "1@example.com");
    assert_eq!(parsed.thread, ["c@x", "b@x", "a@x"]);
    assert!(!parsed.broken && !parsed.automatic && parsed.files.is_empty());
}

#[test]
fn html_becomes_text_where_there_is_no_plain_text() {
    let parsed = parse(b"From: a@b.co\r\nContent-Type: text/html\r\n\r\n<p>One</p><p>Two &amp; three</p>");
    assert!(parsed.text.contains("One") && parsed.text.contains("Two & three"), "{}", parsed.text);
    assert!(!parsed.text.contains('<'), "{}", parsed.text);
}

#[test]
fn a_mail_without_a_usable_sender_is_broken_and_comes_from_its_return_path_or_nobody() {
    let cases = [
        ("Return-Path: <bounce@example.com>\r\nSubject: x\r\n\r\nx", "bounce@example.com"),
        ("From: nobody at all\r\nSender: list@example.com\r\n\r\nx", "list@example.com"),
        ("From: \"a b\"@example.com\r\n\r\nx", ""),
        ("Subject: x\r\n\r\nx", ""),
        ("", ""),
        ("\0\u{1}\u{2}", ""),
    ];
    for (mail, sender) in cases {
        let parsed = parse(mail.as_bytes());
        assert_eq!(parsed.from_email, sender, "{mail:?}");
        assert!(parsed.broken, "{mail:?}");
    }
}

#[test]
fn nothing_that_a_header_or_database_cannot_hold_gets_through() {
    let parsed = parse(b"From: \"A\0B\" <a@b.co>\r\nSubject: x\0y\r\n z\r\n\r\nte\0xt \x1b[31m\r\nline\r\n");
    for text in [&parsed.from_name, &parsed.subject, &parsed.text] {
        assert!(!text.contains(['\0', '\u{1b}', '\r']), "{text:?}");
    }
    assert!(!parsed.subject.contains('\n'));
    assert!(parsed.text.contains('\n'));
}

#[test]
fn a_text_that_is_too_long_is_cut_at_a_character_and_called_broken() {
    let mail = format!("From: a@b.co\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}", "\u{645}".repeat(TEXT));
    let parsed = parse(mail.as_bytes());
    assert!(parsed.text.len() <= TEXT && parsed.text.len() > TEXT - 4);
    assert!(parsed.broken);
}

/// Where cargo keeps the parser's package, whose mails are not ours to commit.
fn package() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let sources = home.expect("CARGO_HOME or HOME is set").join("registry/src");
    let registries = std::fs::read_dir(&sources).unwrap_or_else(|error| panic!("{}: {error}", sources.display()));
    let packages = registries.flatten().flat_map(|registry| std::fs::read_dir(registry.path()).into_iter().flatten());
    let found =
        packages.flatten().find(|package| package.file_name().to_string_lossy().starts_with("mail-parser-0.11."));
    found
        .unwrap_or_else(|| panic!("mail-parser 0.11, whose mails this test reads, is not in {}", sources.display()))
        .path()
}

/// The mails that ship with the parser.
fn resources() -> Vec<PathBuf> {
    let mut folders = vec![package().join("resources")];
    let mut mails = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "eml") {
                mails.push(path);
            }
        }
    }
    assert!(mails.len() >= 100, "only {} .eml files ship with mail-parser: the test lost its input", mails.len());
    mails
}

#[test]
fn every_genuine_and_every_malformed_mail_of_the_corpus_is_read_or_called_broken() {
    let mut readable = 0;
    for path in resources() {
        let raw = std::fs::read(&path).unwrap();
        let parsed = parse(&raw);
        let said = !parsed.text.is_empty() || !parsed.files.is_empty() || !parsed.subject.is_empty();
        assert!(parsed.broken || said, "{}: read as nothing, yet not called broken", path.display());
        assert!(parsed.broken || usable(&parsed.from_email).is_some(), "{}: {}", path.display(), parsed.from_email);
        readable += usize::from(!parsed.broken);
        // Cut anywhere, as a mail is that broke off on its way.
        for part in 1..16 {
            parse(&raw[..raw.len() * part / 16]);
        }
    }
    assert!(readable > 20, "only {readable} were read whole");
}
