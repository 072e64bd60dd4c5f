//! The e-mails that identity sends beside alerts, with their values.

use jiff::Timestamp;

use super::{
    letter::{Letter, MAILS},
    local,
};
use crate::{
    domain::{Account, User},
    store::jobs::Stage,
};

/// The invitation of a user.
pub fn invitation(account: &Account, user: &User, link: &str, expires_at: Timestamp) -> Letter {
    let until = local(expires_at, &account.time_zone);
    let values = [("company", account.name.as_str()), ("name", &user.name), ("link", link), ("until", &until)];
    MAILS.invitation.letter(user.language, &values)
}

/// The link that confirms the address of an account's owner.
pub fn email_confirmation(account: &Account, owner: &User, link: &str, expires_at: Timestamp) -> Letter {
    let until = local(expires_at, &account.time_zone);
    let values = [("company", account.name.as_str()), ("name", &owner.name), ("link", link), ("until", &until)];
    MAILS.email_confirmation.letter(owner.language, &values)
}

/// The link to choose a new password.
pub fn password_reset(account: &Account, user: &User, link: &str, good_until: Timestamp) -> Letter {
    let until = local(good_until, &account.time_zone);
    let values = [("company", account.name.as_str()), ("name", &user.name), ("link", link), ("until", &until)];
    MAILS.password_reset.letter(user.language, &values)
}

/// The offer of the ownership to an admin.
pub fn ownership_offer(account: &Account, owner: &User, admin: &User, expires_at: Timestamp) -> Letter {
    let until = local(expires_at, &account.time_zone);
    let values = [("company", account.name.as_str()), ("owner", &owner.name), ("name", &admin.name), ("until", &until)];
    MAILS.ownership_offer.letter(admin.language, &values)
}

/// How far the closing of an account is; `closes_at` is when it is closed.
pub fn closing(account: &Account, owner: &User, stage: Stage, closes_at: Timestamp) -> Letter {
    let until = local(closes_at, &account.time_zone);
    let values = [("company", account.name.as_str()), ("name", &owner.name), ("until", &until)];
    let mail = match stage {
        Stage::Begun => &MAILS.closing_begun,
        Stage::Soon => &MAILS.closing_soon,
        Stage::Over => &MAILS.account_closed,
    };
    mail.letter(owner.language, &values)
}

/// An export can be downloaded until then.
pub fn export_ready(account: &Account, owner: &User, expires_at: Timestamp) -> Letter {
    let until = local(expires_at, &account.time_zone);
    let values = [("company", account.name.as_str()), ("name", &owner.name), ("until", &until)];
    MAILS.export_ready.letter(owner.language, &values)
}
