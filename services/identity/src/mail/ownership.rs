//! The e-mail of an offer of the ownership, in four languages.

use diwan_fault::Language;
use jiff::Timestamp;

use super::{Letter, local};
use crate::domain::{Account, User};

/// Subject and text of the e-mail.
pub fn text(account: &Account, owner: &User, admin: &User, expires_at: Timestamp) -> Letter {
    let (company, from, name) = (&account.name, &owner.name, &admin.name);
    let expires = local(expires_at, &account.time_zone);
    match admin.language {
        Language::En => (
            format!("{from} offers you the ownership of {company}"),
            format!(
                "Hello {name},\n\n{from} offers you the ownership of the account of {company} in Diwan. Sign in to accept or to \
                 decline. When you accept, you are the owner and {from} is an administrator.\n\nThe offer is good until \
                 {expires}.\n"
            ),
        ),
        Language::Ar => (
            format!("يعرض عليك {from} ملكية حساب {company}"),
            format!(
                "مرحبًا {name}،\n\nيعرض عليك {from} ملكية حساب {company} في ديوان. سجّل الدخول للقبول أو الرفض. عند القبول تصبح \
                 أنت المالك ويصبح {from} مديرًا.\n\nالعرض صالح حتى {expires}.\n"
            ),
        ),
        Language::Es => (
            format!("{from} le ofrece la propiedad de {company}"),
            format!(
                "Hola, {name}:\n\n{from} le ofrece la propiedad de la cuenta de {company} en Diwan. Inicie sesión para aceptarla \
                 o rechazarla. Si la acepta, usted será el propietario y {from} será administrador.\n\nLa oferta sirve hasta el \
                 {expires}.\n"
            ),
        ),
        Language::Pt => (
            format!("{from} oferece-lhe a propriedade de {company}"),
            format!(
                "Olá, {name}:\n\n{from} oferece-lhe a propriedade da conta de {company} no Diwan. Inicie sessão para a aceitar ou \
                 recusar. Se a aceitar, passa a ser o proprietário e {from} passa a administrador.\n\nA oferta é válida até \
                 {expires}.\n"
            ),
        ),
    }
}
