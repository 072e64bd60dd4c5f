//! Every text in every language.

use diwan_fault::Language;
use diwan_proto::{access::v1::Role, identity::v1::UserState};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Letter, confirmation, invitation, ownership, reset};
use crate::domain::{Account, User};

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
    }
}

/// Every language's text has every part, and no two languages share a subject.
fn check(parts: &[&str], letter: impl Fn(&User) -> Letter) {
    let mut subjects = Vec::new();
    for language in Language::ALL {
        let (subject, body) = letter(&user("منى", language));
        for part in parts.iter().chain(&["منى", "شركة النور", "1970-01-01 02:00 (Africa/Cairo)"]) {
            assert!(body.contains(part), "{part} in {body}");
        }
        subjects.push(subject);
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 4, "{subjects:?}");
}

#[test]
fn every_language_names_company_person_link_and_local_time() {
    let (account, alone) = (account(), format!("\n{LINK}\n"));
    check(&[&alone], |user| invitation::text(&account, user, LINK, Timestamp::UNIX_EPOCH));
    check(&[&alone], |user| reset::text(&account, user, LINK, Timestamp::UNIX_EPOCH));
    check(&[&alone], |user| confirmation::text(&account, user, LINK, Timestamp::UNIX_EPOCH));
    let owner = user("عمر", Language::Ar);
    check(&["عمر"], |user| ownership::text(&account, &owner, user, Timestamp::UNIX_EPOCH));
}
