//! What an issuer of the bundle has signed beside tokens: proofs of the past, which have no end.

use jsonwebtoken::{Algorithm, Validation};
use serde::de::DeserializeOwned;

use crate::{Keys, token::LONGEST};

impl Keys {
    /// What `issuer` signed, if he did. Audience and times are for whoever asks; no service takes such a thing for a token.
    pub fn signed<C: DeserializeOwned>(&self, signed: &str, issuer: &str) -> Option<C> {
        if signed.len() > LONGEST {
            return None;
        }
        let kid = jsonwebtoken::decode_header(signed).ok()?.kid?;
        let (owner, key) = self.find_ever(&kid)?;
        if owner != issuer {
            return None;
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.set_required_spec_claims::<&str>(&[]);
        validation.set_issuer(&[issuer]);
        Some(jsonwebtoken::decode(signed, &key, &validation).ok()?.claims)
    }
}
