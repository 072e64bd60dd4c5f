//! Principals as messages.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use diwan_feed::time::to_proto;
use diwan_proto::identity::v1 as proto;
use uuid::Uuid;

use super::decode::SPKI;
use crate::{
    domain::{Credential, INSTALLATION, Principal, Proof},
    store::principals::Acted,
};

/// A principal with what belongs to it.
pub fn principal(principal: &Principal, credentials: &[Credential], acted: &[Acted]) -> proto::ServicePrincipal {
    let own = (principal.account != INSTALLATION).then(|| principal.account.to_string());
    proto::ServicePrincipal {
        id: principal.id.to_string(),
        account_id: own.unwrap_or_default(),
        name: principal.name.clone(),
        scopes: principal.scopes.clone(),
        account_ids: principal.account_ids.iter().map(Uuid::to_string).collect(),
        all_accounts: principal.all_accounts,
        acting_for: acting_for(acted),
        credentials: credentials.iter().map(credential).collect(),
        disabled: principal.disabled_at.is_some(),
        created_at: Some(to_proto(principal.created_at)),
        version: principal.version,
    }
}

/// A credential, without what it is checked against if that is a secret's hash.
pub fn credential(credential: &Credential) -> proto::PrincipalCredential {
    let (public_key, secret_hint) = match &credential.proof {
        Proof::Key(key) => (pem(key), String::new()),
        Proof::Secret { hint, .. } => (String::new(), hint.clone()),
    };
    proto::PrincipalCredential {
        id: credential.id.to_string(),
        public_key,
        secret_hint,
        created_at: Some(to_proto(credential.created_at)),
        expires_at: credential.expires_at.map(to_proto),
    }
}

fn acting_for(acted: &[Acted]) -> Vec<proto::ActingFor> {
    let of_one = |users: &[Acted]| {
        let account_id = users.first().map(|user| user.account.to_string()).unwrap_or_default();
        proto::ActingFor { account_id, user_ids: users.iter().map(|user| user.user.to_string()).collect() }
    };
    acted.chunk_by(|one, other| one.account == other.account).map(of_one).collect()
}

fn pem(key: &[u8]) -> String {
    let der = BASE64_STANDARD.encode([&SPKI, key].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
}
