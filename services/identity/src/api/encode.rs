//! The domain's types as messages.

use diwan_feed::time::to_proto;
use diwan_proto::identity::v1 as proto;

use crate::{
    domain::{Account, User},
    store::revocations,
};

/// An account.
pub fn account(account: &Account) -> proto::Account {
    proto::Account {
        id: account.id.to_string(),
        name: account.name.clone(),
        time_zone: account.time_zone.clone(),
        language: account.language.tag().to_owned(),
        created_at: Some(to_proto(account.created_at)),
    }
}

/// A user.
pub fn user(user: &User) -> proto::User {
    proto::User {
        id: user.id.to_string(),
        account_id: user.account_id.to_string(),
        name: user.name.clone(),
        email: user.email.clone(),
        role: user.role.into(),
        grants: user.grants.iter().map(|grant| i32::from(*grant)).collect(),
        language: user.language.tag().to_owned(),
        state: user.state.into(),
        version: user.version,
        created_at: Some(to_proto(user.created_at)),
    }
}

/// A revocation.
pub fn revocation(row: &revocations::Row) -> proto::Revocation {
    proto::Revocation { subject: row.subject.into(), subject_id: row.subject_id.to_string(), epoch: row.epoch }
}
