//! The e-mail that confirms the address of an account's owner, in four languages.

use diwan_fault::Language;
use jiff::Timestamp;

use super::{Letter, local};
use crate::domain::{Account, User};

/// Subject and text of the e-mail.
pub fn text(account: &Account, owner: &User, link: &str, expires_at: Timestamp) -> Letter {
    let (company, name) = (&account.name, &owner.name);
    let expires = local(expires_at, &account.time_zone);
    match owner.language {
        Language::En => (
            "Confirm your address for Diwan".to_owned(),
            format!(
                "Hello {name},\n\nyou have opened an account for {company} with this address. Open this link to confirm that \
                 it is yours:\n\n{link}\n\nThe link is good until {expires}. If you have not opened an account, ignore this \
                 e-mail.\n"
            ),
        ),
        Language::Ar => (
            "أكّد عنوان بريدك في ديوان".to_owned(),
            format!(
                "مرحبًا {name}،\n\nلقد فتحت حسابًا باسم {company} بهذا العنوان. افتح هذا الرابط لتأكيد أن العنوان \
                 لك:\n\n{link}\n\nالرابط صالح حتى {expires}. إذا لم تفتح حسابًا فتجاهل هذه الرسالة.\n"
            ),
        ),
        Language::Es => (
            "Confirme su dirección para Diwan".to_owned(),
            format!(
                "Hola, {name}:\n\nha abierto una cuenta para {company} con esta dirección. Abra este enlace para confirmar que \
                 es suya:\n\n{link}\n\nEl enlace sirve hasta el {expires}. Si no ha abierto ninguna cuenta, ignore este \
                 correo.\n"
            ),
        ),
        Language::Pt => (
            "Confirme o seu endereço para o Diwan".to_owned(),
            format!(
                "Olá, {name}:\n\nabriu uma conta para {company} com este endereço. Abra esta ligação para confirmar que ele é \
                 seu:\n\n{link}\n\nA ligação serve até {expires}. Se não abriu nenhuma conta, ignore este e-mail.\n"
            ),
        ),
    }
}
