//! The e-mail of an invitation, in four languages.

use diwan_fault::Language;
use jiff::{Timestamp, tz::TimeZone};

use crate::domain::{Account, User};

/// Subject and text of the e-mail. A name in it is one line, as sign-up and invitation made sure.
pub fn text(account: &Account, user: &User, link: &str, expires_at: Timestamp) -> (String, String) {
    let (company, name) = (&account.name, &user.name);
    let expires = local(expires_at, &account.time_zone);
    match user.language {
        Language::En => (
            format!("{company} invites you to Diwan"),
            format!(
                "Hello {name},\n\n{company} invites you to its team inbox. Open this link to choose a password and come \
                 in:\n\n{link}\n\nThe link is good once, until {expires}. If you do not know {company}, ignore this \
                 e-mail.\n"
            ),
        ),
        Language::Ar => (
            format!("دعوة من {company} إلى ديوان"),
            format!(
                "مرحبًا {name}،\n\nتدعوك {company} إلى صندوق الوارد المشترك لفريقها. افتح هذا الرابط لاختيار كلمة مرور \
                 والدخول:\n\n{link}\n\nالرابط صالح لمرة واحدة حتى {expires}. إذا كنت لا تعرف {company} فتجاهل هذه الرسالة.\n"
            ),
        ),
        Language::Es => (
            format!("{company} le invita a Diwan"),
            format!(
                "Hola, {name}:\n\n{company} le invita a la bandeja de entrada de su equipo. Abra este enlace para elegir una \
                 contraseña y entrar:\n\n{link}\n\nEl enlace sirve una vez, hasta el {expires}. Si no conoce a {company}, \
                 ignore este correo.\n"
            ),
        ),
        Language::Pt => (
            format!("{company} convida-o para o Diwan"),
            format!(
                "Olá, {name}:\n\n{company} convida-o para a caixa de entrada da sua equipa. Abra esta ligação para escolher \
                 uma palavra-passe e entrar:\n\n{link}\n\nA ligação serve uma vez, até {expires}. Se não conhece {company}, \
                 ignore este e-mail.\n"
            ),
        ),
    }
}

/// In the account's time zone, which the reader's is likely to be.
fn local(time: Timestamp, zone: &str) -> String {
    let zoned = time.to_zoned(TimeZone::get(zone).unwrap_or(TimeZone::UTC));
    format!("{} ({zone})", zoned.strftime("%Y-%m-%d %H:%M"))
}

#[cfg(test)]
mod tests {
    use diwan_proto::{access::v1::Role, identity::v1::UserState};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_language_names_company_person_link_and_local_time() {
        let account = Account {
            id: Uuid::nil(),
            name: "شركة النور".into(),
            time_zone: "Africa/Cairo".into(),
            language: Language::Ar,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let mut subjects = Vec::new();
        for language in Language::ALL {
            let user = User {
                id: Uuid::nil(),
                account_id: Uuid::nil(),
                name: "منى".into(),
                email: "mona@example.com".into(),
                role: Role::User,
                grants: vec![],
                language,
                state: UserState::Invited,
                has_password: false,
                epoch: 0,
                version: 1,
                created_at: Timestamp::UNIX_EPOCH,
            };
            let (subject, body) = text(&account, &user, "https://d.example/invitations/t", Timestamp::UNIX_EPOCH);
            assert!(subject.contains("شركة النور"), "{subject}");
            // The link stands alone on its line, so that a right-to-left paragraph cannot reorder it.
            for part in ["شركة النور", "منى", "\nhttps://d.example/invitations/t\n", "1970-01-01 02:00 (Africa/Cairo)"]
            {
                assert!(body.contains(part), "{part} in {body}");
            }
            subjects.push(subject);
        }
        subjects.sort();
        subjects.dedup();
        assert_eq!(subjects.len(), 4);
    }
}
