//! The domain's types as messages.

use diwan_feed::time::to_proto;
use diwan_proto::identity::v1 as proto;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{Account, User},
    store::{offers::Offer, revocations},
};

/// An account.
pub fn account(account: &Account) -> proto::Account {
    proto::Account {
        id: account.id.to_string(),
        name: account.name.clone(),
        time_zone: account.time_zone.clone(),
        language: account.language.tag().to_owned(),
        created_at: Some(to_proto(account.created_at)),
        show_agent_name: account.show_agent_name,
        email_confirmed: account.email_confirmed,
        version: account.version,
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

/// An open invitation.
pub fn invitation(user: &User, teams: &[Uuid], expires_at: Timestamp) -> proto::Invitation {
    proto::Invitation {
        user: Some(self::user(user)),
        team_ids: teams.iter().map(Uuid::to_string).collect(),
        expires_at: Some(to_proto(expires_at)),
    }
}

/// An offer of the ownership.
pub fn offer(offer: &Offer) -> proto::OwnershipOffer {
    proto::OwnershipOffer {
        owner_id: offer.owner_id.to_string(),
        user_id: offer.user_id.to_string(),
        expires_at: Some(to_proto(offer.expires_at)),
    }
}

/// A revocation.
pub fn revocation(row: &revocations::Row) -> proto::Revocation {
    proto::Revocation { subject: row.subject.into(), subject_id: row.subject_id.to_string(), epoch: row.epoch }
}
