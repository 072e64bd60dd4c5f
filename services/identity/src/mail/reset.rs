//! The e-mail with a link to choose a new password, in four languages.

use diwan_fault::Language;
use diwan_proto::identity::v1::UserState;
use diwan_store::Database;
use jiff::Timestamp;
use uuid::Uuid;

use super::{Courier, Letter, local};
use crate::{
    domain::{Account, Token, User},
    error::Error,
    store::{accounts, passwords, users},
};

impl Courier {
    /// Sends a link to choose a new password to whom the address belongs, if he may sign in. The token is made here and only
    /// its hash is stored: the mail is the one place that has it.
    ///
    /// # Errors
    /// [`Error::Mail`], [`Error::Store`].
    pub async fn reset_password(
        &self,
        database: &Database,
        email_key: &str,
        good_until: Timestamp,
        id: Uuid,
    ) -> Result<(), Error> {
        let mut connection = database.pool().acquire().await?;
        let Some((account, user)) = accounts::find_email(&mut connection, email_key).await? else { return Ok(()) };
        let user = users::find(&mut connection, account, user).await?;
        let Some(user) = user.filter(|user| user.state == UserState::Active && good_until > self.now()) else {
            return Ok(());
        };
        let account = accounts::get(&mut connection, account).await?;
        let token = Token::new(account.id, user.id);
        passwords::add_reset(&mut connection, &token, good_until).await?;
        drop(connection);
        let letter = text(&account, &user, &self.link("password-resets", &token), good_until);
        self.deliver(&user, letter, id).await
    }
}

/// Subject and text of the e-mail.
pub(super) fn text(account: &Account, user: &User, link: &str, good_until: Timestamp) -> Letter {
    let (company, name) = (&account.name, &user.name);
    let until = local(good_until, &account.time_zone);
    let (subject, text) = match user.language {
        Language::En => (
            "Choose a new password for Diwan",
            format!(
                "Hello {name},\n\nopen this link to choose a new password for the team inbox of {company}:\n\n{link}\n\n\
                 The link is good once, until {until}. If you did not ask for it, ignore this e-mail: your password stays \
                 as it is.\n"
            ),
        ),
        Language::Ar => (
            "اختر كلمة مرور جديدة لديوان",
            format!(
                "مرحبًا {name}،\n\nافتح هذا الرابط لاختيار كلمة مرور جديدة لصندوق الوارد المشترك في {company}:\n\n{link}\n\n\
                 الرابط صالح لمرة واحدة حتى {until}. إذا لم تطلبه فتجاهل هذه الرسالة، وستبقى كلمة مرورك كما هي.\n"
            ),
        ),
        Language::Es => (
            "Elija una contraseña nueva para Diwan",
            format!(
                "Hola, {name}:\n\nAbra este enlace para elegir una contraseña nueva para la bandeja de entrada del equipo de \
                 {company}:\n\n{link}\n\nEl enlace sirve una vez, hasta el {until}. Si no lo pidió, ignore este correo: su \
                 contraseña no cambia.\n"
            ),
        ),
        Language::Pt => (
            "Escolha uma palavra-passe nova para o Diwan",
            format!(
                "Olá, {name}:\n\nAbra esta ligação para escolher uma palavra-passe nova para a caixa de entrada da equipa de \
                 {company}:\n\n{link}\n\nA ligação serve uma vez, até {until}. Se não a pediu, ignore este e-mail: a sua \
                 palavra-passe não muda.\n"
            ),
        ),
    };
    (subject.to_owned(), text)
}
