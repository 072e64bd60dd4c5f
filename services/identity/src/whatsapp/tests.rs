//! Messages: their form, their words, and the way that they take.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use diwan_fault::Language;
use diwan_proto::identity::v1::AccountState;
use jiff::Timestamp;
use rcgen::generate_simple_self_signed;
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;

use super::{Content, Folder, Message, Sender as _, Template, http};
use crate::{
    alerts::Alert,
    domain::{Account, Code, PhoneNumber},
};

fn account() -> Account {
    Account {
        id: Uuid::nil(),
        name: "Nour".into(),
        time_zone: "Africa/Cairo".into(),
        language: Language::Ar,
        show_agent_name: false,
        email_confirmed: false,
        version: 1,
        created_at: Timestamp::UNIX_EPOCH,
        state: AccountState::Active,
        closes_at: None,
    }
}

fn alerts() -> [Alert; 7] {
    [
        Alert::NewDevice { device: "Firefox".into(), address: "192.0.2.7".parse().ok() },
        Alert::PasswordChanged,
        Alert::FactorChanged,
        Alert::FactorRecoveryBegun { due: Timestamp::UNIX_EPOCH },
        Alert::ActingBegun { principal: "Bridge".into() },
        Alert::MailboxNeedsCredentials { mailbox: "a@nour.example".into() },
        Alert::PaymentFailed { invoice: "17".into(), amount: "120.00 USD".into() },
    ]
}

fn message(language: Language, content: Content) -> Message {
    Message { to: PhoneNumber::read("+201001234567").unwrap(), language, content }
}

fn placeholders(text: &str) -> BTreeSet<usize> {
    text.split("{{").skip(1).map(|rest| rest.split_once("}}").unwrap().0.parse().unwrap()).collect()
}

#[test]
fn every_template_has_a_place_for_each_parameter_in_every_language() {
    let texts: toml::Table = toml::from_str(include_str!("../../texts/whatsapp.toml")).unwrap();
    assert_eq!(texts.len(), alerts().len());
    for alert in alerts() {
        let (template, parameters) = alert.template(&account(), Timestamp::UNIX_EPOCH);
        for language in Language::ALL {
            let text = texts[template.name()][language.tag()].as_str().unwrap();
            assert_eq!(placeholders(text), (1..=parameters.len()).collect(), "{text}");
            // WhatsApp approves no template that begins or ends with a parameter.
            assert!(!text.starts_with("{{") && !text.ends_with("}}"), "{text}");
            let shown = message(language, Content::Alert(template, parameters.clone())).shown();
            assert!(parameters.iter().all(|parameter| shown.contains(parameter)) && !shown.contains("{{"), "{shown}");
        }
    }
}

#[test]
fn an_alert_has_the_documented_form_and_parameters_that_whatsapp_takes() {
    let long = "x".repeat(500);
    let parameters = vec!["a\n\tb   c".to_owned(), String::new(), "{{1}}".to_owned(), long];
    let payload = message(Language::Pt, Content::Alert(Template::NewDevice, parameters)).payload("diwan_");
    let text = |text: &str| json!({"type": "text", "text": text});
    let expected = json!({
        "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+201001234567", "type": "template",
        "template": {
            "name": "diwan_new_device", "language": {"code": "pt_PT"},
            "components": [{"type": "body", "parameters": [text("a b c"), text("?"), text("{{1}}"), text(&"x".repeat(120))]}],
        },
    });
    assert_eq!(payload, expected);
}

#[tokio::test]
async fn the_folder_shows_messages_to_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (path, id) = (folder.path().join("out"), Uuid::from_u128(7));
    let code = Code::six_digits();
    for _ in 0..2 {
        Folder::new(path.clone()).send(&message(Language::En, Content::Code(code.clone())), id).await.unwrap();
    }
    let file = path.join(format!("{id}.json"));
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&written["shown"], &written["payload"]["to"]), (&json!(code.expose()), &json!("+201001234567")));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1);
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gets_neither_token_nor_message() {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/v25.0/1/messages", listener.local_addr().unwrap().port());
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = TlsAcceptor::from(Arc::new(config)).accept(stream).await else { return 0 };
        stream.read(&mut [0; 1]).await.unwrap_or(0)
    });
    let client = http::Client::new(Duration::from_secs(10)).unwrap();
    let sent = client.post(&url.parse().unwrap(), "token", "{}".to_owned()).await;
    assert!(matches!(sent, Err(http::Failure::Unsent(_))));
    assert_eq!(served.await.unwrap(), 0);
}
