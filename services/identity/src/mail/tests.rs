//! Every e-mail in every language.

use std::collections::BTreeSet;

use diwan_fault::Language;
use diwan_proto::{
    access::v1::Role,
    identity::v1::{AccountState, UserState},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{letter::Letter, letters};
use crate::{
    alerts::Alert,
    domain::{Account, Profile, User},
};

const LINK: &str = "https://d.example/page/token";

fn account() -> Account {
    Account {
        id: Uuid::nil(),
        name: "شركة النور".into(),
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

fn user(name: &str, language: Language) -> User {
    User {
        id: Uuid::nil(),
        account_id: Uuid::nil(),
        name: name.into(),
        email: "mona@example.com".into(),
        role: Role::User,
        grants: vec![],
        language,
        state: UserState::Invited,
        has_password: false,
        epoch: 0,
        version: 1,
        created_at: Timestamp::UNIX_EPOCH,
        profile: Profile::default(),
    }
}

/// What a person could call himself.
const HOSTILE: &str = "\"><script>alert('1')</script>{link}&amp;";
const HARMLESS: &str = "&quot;&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;{link}&amp;amp;";

/// Every language's e-mail has every part both plainly and as HTML, and no two languages share a subject.
fn check(parts: &[&str], link: bool, letter: impl Fn(&User) -> Letter) {
    let mut subjects = Vec::new();
    for language in Language::ALL {
        let Letter { subject, text, html } = letter(&user(HOSTILE, language));
        let direction = if language == Language::Ar { "rtl" } else { "ltr" };
        let scope = format!("lang=\"{}\" dir=\"{direction}\"", language.tag());
        assert_eq!(html.matches(&scope).count(), 2, "{html}");
        for part in parts.iter().chain(&["شركة النور", "1970-01-01 02:00 (Africa/Cairo)"]) {
            assert!(text.contains(part), "{part} in {text}");
            assert!(html.contains(&format!("<bdi>{part}</bdi>")), "{part} in {html}");
        }
        assert!(text.contains(HOSTILE) && html.contains(HARMLESS) && !html.contains("<script"), "{html}");
        let unfilled = |shown: &str| shown.replace(HOSTILE, "").replace(HARMLESS, "").contains(['{', '}']);
        assert!(!unfilled(&text) && !unfilled(&html) && !unfilled(&subject), "{text}");
        assert_eq!(text.contains(&format!("\n\n{LINK}\n\n")), link, "alone on its line: {text}");
        assert_eq!(html.contains(&format!("<a href=\"{LINK}\"")), link, "{html}");
        assert_eq!(html.contains("</a>") && html.contains(&format!(">{LINK}<")), link, "{html}");
        assert!(!html.contains("\"></a>") && !html.contains("px\"></"), "a button without words: {html}");
        subjects.push(subject);
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 4, "{subjects:?}");
}

#[test]
fn every_mail_is_written_in_every_language_plainly_and_as_html_with_values_that_stay_text() {
    let (account, epoch) = (account(), Timestamp::UNIX_EPOCH);
    check(&[], true, |user| letters::invitation(&account, user, LINK, epoch));
    check(&[], true, |user| letters::password_reset(&account, user, LINK, epoch));
    check(&[], true, |user| letters::email_confirmation(&account, user, LINK, epoch));
    check(&[], false, |user| letters::export_ready(&account, user, epoch));
    let owner = user("عمر", Language::Ar);
    check(&["عمر"], false, |user| letters::ownership_offer(&account, &owner, user, epoch));
}

#[test]
fn every_alert_is_an_e_mail_in_every_language() {
    let account = account();
    let alerts = [
        Alert::NewDevice { device: "Firefox".into(), address: "192.0.2.7".parse().ok() },
        Alert::PasswordChanged,
        Alert::FactorChanged,
        Alert::FactorRecoveryBegun { due: Timestamp::UNIX_EPOCH },
        Alert::ActingBegun { principal: "Bridge".into() },
        Alert::MailboxNeedsCredentials { mailbox: "a@nour.example".into() },
        Alert::PaymentFailed { invoice: "17".into(), amount: "120.00 USD".into() },
    ];
    for (alert, parts) in alerts.iter().zip([
        &["Firefox", "192.0.2.7"][..],
        &[],
        &[],
        &[],
        &["Bridge"],
        &["a@nour.example"],
        &["17", "120.00 USD"],
    ]) {
        check(parts, false, |user| alert.letter(&account, user, Timestamp::UNIX_EPOCH));
    }
}

#[test]
fn every_text_has_the_same_placeholders_in_every_language_and_words_on_every_button() {
    let mails: toml::Table = toml::from_str(include_str!("../../texts/mails.toml")).unwrap();
    for (mail, languages) in &mails {
        let languages = languages.as_table().unwrap();
        let english = languages["en"].as_table().unwrap();
        for (language, text) in languages {
            let field = |text: &toml::Table, name: &str| {
                text.get(name).map(|text| text.as_str().unwrap().to_owned()).unwrap_or_default()
            };
            let text = text.as_table().unwrap();
            for name in ["subject", "body"] {
                let used = placeholders(&field(text, name));
                assert_eq!(used, placeholders(&field(english, name)), "{mail}.{language}: {name}");
            }
            let has_link = placeholders(&field(text, "body")).contains("link");
            assert_eq!(field(text, "action").is_empty(), !has_link, "{mail}.{language}");
        }
    }
}

fn placeholders(text: &str) -> BTreeSet<String> {
    text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned())).collect()
}
