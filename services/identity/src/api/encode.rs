//! The domain's types as messages.

use diwan_access::User as Viewer;
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1 as proto;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{Account, Code, SecondFactors, User},
    store::{
        offers::Offer,
        operators::{OperatorRevocation, Tokens},
        revocations,
    },
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
        state: account.state.into(),
        closes_at: account.closes_at.map(to_proto),
    }
}

/// A user, as he himself and administrators see him.
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
        first_name: user.profile.first_name.clone(),
        last_name: user.profile.last_name.clone(),
        picture_etag: user.profile.picture.as_ref().map(|picture| picture.large.clone()).unwrap_or_default(),
        phone: user.profile.phone.as_ref().map(|phone| phone.as_str().to_owned()).unwrap_or_default(),
    }
}

/// A user as `viewer` sees him: the telephone numbers of others are for administrators.
pub fn user_for(viewer: &Viewer, user: &User) -> proto::User {
    let mut shown = self::user(user);
    if !viewer.is_administrator() && viewer.user_id != user.id {
        shown.phone.clear();
    }
    shown
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

/// A revocation of operators' tokens.
pub fn operator_revocation(revocation: &OperatorRevocation) -> proto::OperatorRevocation {
    let (tokens, until) = match &revocation.tokens {
        Tokens::One(id) => (proto::operator_revocation::Tokens::TokenId(id.to_string()), None),
        Tokens::Of(name) => {
            (proto::operator_revocation::Tokens::Operator(name.clone()), Some(to_proto(revocation.issued_until)))
        }
    };
    proto::OperatorRevocation {
        id: revocation.id.to_string(),
        tokens: Some(tokens),
        issued_until: until,
        reason: revocation.reason.clone(),
        revoked_at: Some(to_proto(revocation.revoked_at)),
        revoked_by: revocation.revoked_by.clone(),
    }
}

/// The same as verifiers need it.
pub fn refused_tokens(revocation: &OperatorRevocation) -> proto::OperatorRevocation {
    let proto::OperatorRevocation { tokens, issued_until, .. } = operator_revocation(revocation);
    proto::OperatorRevocation { tokens, issued_until, ..proto::OperatorRevocation::default() }
}

/// What a user has beside his password.
pub fn second_factors(factors: &SecondFactors) -> proto::SecondFactors {
    proto::SecondFactors {
        factors: factors.factors().into_iter().map(i32::from).collect(),
        recovery_codes_left: factors.recovery_codes,
        version: factors.version,
        recovery_due_at: None,
    }
}

/// Codes, for the one answer that shows them.
pub fn codes(codes: &[Code]) -> Vec<String> {
    codes.iter().map(|code| code.expose().to_owned()).collect()
}
