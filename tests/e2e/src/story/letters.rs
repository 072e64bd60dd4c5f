//! What the customers write: mails from the wild, as the tests of a mail parser collect them, and two of our own.

use std::{path::PathBuf, process::Command};

use crate::Failure;

/// A mail and the customer who sends it.
pub(super) struct Letter {
    /// What is special about it.
    pub(super) about: &'static str,
    /// Who hands it to the mail server.
    pub(super) sender: String,
    /// The mail itself.
    pub(super) raw: Vec<u8>,
}

/// Genuine mails: attachments, several charsets, broken MIME. They ship with the mail parser's package and are read from
/// cargo's own copy of it.
const GENUINE: [(&str, &str); 6] = [
    ("ISO 8859-1, attachments with umlauts in their names", "legacy/016.eml"),
    ("UTF-7", "legacy/001.eml"),
    ("Windows-1252", "legacy/012.eml"),
    ("UTF-16 and EUC-JP in one mail", "thirdparty/005.eml"),
    ("HTML with text attachments", "thirdparty/015.eml"),
    ("broken MIME, no sender", "malformed/018.eml"),
];

/// The customer who writes in Arabic and gets an answer. Her mailbox is new in each story.
#[derive(Clone, Debug)]
pub(super) struct Customer {
    /// Her address.
    pub(super) email: String,
    /// Message-ID of her first mail.
    pub(super) message_id: String,
}

impl Customer {
    pub(super) fn new() -> Self {
        let tag = crate::door::request_id();
        Self { email: format!("layla.{tag}@customer.example"), message_id: format!("{tag}@customer.example") }
    }
}

/// All of them; the customer who will get an answer writes first.
pub(super) fn all(customer: &Customer) -> Result<Vec<Letter>, Failure> {
    let mut letters = vec![
        Letter { about: "Arabic, base64", sender: customer.email.clone(), raw: arabic(customer) },
        Letter { about: "Latin, quoted-printable", sender: "joana@customer.example".into(), raw: latin() },
    ];
    let folder = genuine_folder()?;
    for (number, (about, file)) in GENUINE.into_iter().enumerate() {
        let raw = std::fs::read(folder.join(file)).map_err(|error| format!("{file}: {error}"))?;
        letters.push(Letter { about, sender: format!("customer{number}@customer.example"), raw });
    }
    Ok(letters)
}

/// The customer's second mail, in answer to ours.
pub(super) fn second(customer: &Customer, in_reply_to: &str, references: &str) -> Vec<u8> {
    let (email, id) = (&customer.email, &customer.message_id);
    format!(
        "From: Layla <{email}>\r\nTo: support@diwan.example\r\nSubject: Re: order\r\n\
         Message-ID: <again-{id}>\r\nIn-Reply-To: <{in_reply_to}>\r\nReferences: {references}\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nThank you! One more question.\r\n"
    )
    .into_bytes()
}

fn arabic(customer: &Customer) -> Vec<u8> {
    let (email, id) = (&customer.email, &customer.message_id);
    // Subject «استفسار عن الطلب», text «مرحبا، أين طلبي رقم 7431؟».
    format!(
        "From: =?utf-8?B?2YTZitmE2Yk=?= <{email}>\r\nTo: support@diwan.example\r\n\
         Subject: =?utf-8?B?2KfYs9iq2YHYs9in2LEg2LnZhiDYp9mE2LfZhNio?=\r\nMessage-ID: <{id}>\r\n\
         Date: Sat, 21 Nov 2026 10:00:00 +0200\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n2YXYsdit2KjYp9iMINij2YrZhiDYt9mE2KjZiiDYsdmC2YUgNzQzMdif\r\n"
    )
    .into_bytes()
}

fn latin() -> Vec<u8> {
    b"From: Joana <joana@customer.example>\r\nTo: support@diwan.example\r\nSubject: =?iso-8859-1?Q?Devolu=E7=E3o?=\r\n\
      Message-ID: <devolucao-12@customer.example>\r\nMIME-Version: 1.0\r\n\
      Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
      Ol=E1, gostava de devolver a encomenda n=BA 12.\r\n"
        .to_vec()
}

fn genuine_folder() -> Result<PathBuf, Failure> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // Without the filter cargo wants packages of other platforms, which nobody has fetched.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform", &platform, "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout)?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let parser = packages.iter().find(|package| package["name"] == "mail-parser");
    let manifest = parser.and_then(|package| package["manifest_path"].as_str()).ok_or("no package mail-parser")?;
    Ok(PathBuf::from(manifest).with_file_name("resources").join("eml"))
}
