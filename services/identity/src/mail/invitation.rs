//! The e-mail of an invitation, in four languages.

use diwan_fault::Language;
use jiff::Timestamp;

use super::{Letter, local};
use crate::domain::{Account, User};

/// Subject and text of the e-mail.
pub fn text(account: &Account, user: &User, link: &str, expires_at: Timestamp) -> Letter {
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
