//! The key folder of an installation: one Ed25519 key for each issuer of tokens, and the bundle of public keys. Only the keys
//! of users' access tokens are elsewhere: in identity's database, and as public keys in [`AccessKeys`].
//!
//! `NAME.pem` is an issuer's private key (PKCS#8) and belongs on the machines of that issuer only; `trust.json` is a JSON
//! Web Key Set (RFC 7517, RFC 8037) that every verifier reads. The key that verifies a token decides what kind of token it
//! is: a service's key can never sign an access token, whatever the claims say.

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use diwan_proto::identity::v1::JsonWebKey;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::AccessKeys;

/// The issuers with a key in the folder.
pub const ISSUERS: [&str; 7] = [OPERATOR, "identity", "team", "conversation", "mailbox", "billing", "gateway"];
/// The issuer of users' access tokens. Its keys never come from the folder: nobody could withdraw them there.
pub const ACCESS: &str = "access";
/// The issuer of operators' tokens. Whoever runs the installation holds its key.
pub const OPERATOR: &str = "operator";

/// Where the keys of access tokens are served over HTTP.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
/// For how long somebody may keep them before he asks again.
pub const JWKS_MAX_AGE: Duration = Duration::from_mins(5);

const BUNDLE: &str = "trust.json";
/// Public keys, in the same form, that sign nothing any more and prove only what was signed for ever.
const RETIRED: &str = "retired.json";

/// A key folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file cannot be read or written.
    #[error("{0} cannot be read or written")]
    File(PathBuf, #[source] io::Error),
    /// A file holds something else than it should.
    #[error("{0} is not an Ed25519 key or a bundle of them")]
    Content(PathBuf),
    /// Something else than a private key.
    #[error("not an Ed25519 key in PKCS#8")]
    Private,
    /// The machine cannot make a key.
    #[error("no key can be made on this machine")]
    Generate,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    iss: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Bundle {
    keys: Vec<Jwk>,
}

/// The public keys of an installation, by key id: those of the bundle, and those of access tokens that identity tells.
#[derive(Clone)]
pub struct Keys {
    bundle: Public,
    /// Of the bundle of retired keys: good for proofs of the past, for no token.
    retired: Public,
    access: AccessKeys,
}

/// Issuer and key by key id.
type Public = HashMap<String, (String, Arc<DecodingKey>)>;

impl Keys {
    /// Reads the bundle of a folder, and that of retired keys if there is one. What they may say of [`ACCESS`] is left out.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub fn load(folder: &Path) -> Result<Self, KeysError> {
        let retired = folder.join(RETIRED);
        let retired = if retired.exists() { public(&retired)? } else { Public::new() };
        Ok(Self { bundle: public(&folder.join(BUNDLE))?, retired, access: AccessKeys::default() })
    }

    /// The keys of access tokens, to be kept up to date.
    pub fn access(&self) -> &AccessKeys {
        &self.access
    }

    /// The issuer and the public key of a key id, which may be retired.
    pub(crate) fn find_ever(&self, kid: &str) -> Option<(&str, Arc<DecodingKey>)> {
        let retired = || self.retired.get(kid).map(|(issuer, key)| (issuer.as_str(), key.clone()));
        self.find(kid).or_else(retired)
    }

    /// The issuer and the public key of a key id.
    pub(crate) fn find(&self, kid: &str) -> Option<(&str, Arc<DecodingKey>)> {
        match self.bundle.get(kid) {
            Some((issuer, key)) => Some((issuer, key.clone())),
            None => Some((ACCESS, self.access.find(kid)?)),
        }
    }
}

fn public(path: &Path) -> Result<Public, KeysError> {
    let keys = read_bundle(path)?.keys.into_iter().filter(|key| key.iss != ACCESS);
    let decoded = keys.map(|key| {
        let decoding = DecodingKey::from_ed_components(&key.x).map_err(|_| KeysError::Content(path.to_owned()))?;
        Ok((key.kid, (key.iss, Arc::new(decoding))))
    });
    decoded.collect()
}

/// A private key with its id and its public half.
#[derive(Clone)]
pub(crate) struct PrivateKey {
    pub(crate) kid: String,
    pub(crate) key: EncodingKey,
    pub(crate) public: Vec<u8>,
}

impl PrivateKey {
    /// Reads PKCS#8.
    pub(crate) fn read(der: &[u8]) -> Result<Self, KeysError> {
        let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| KeysError::Private)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { kid: key_id(&public), key: EncodingKey::from_ed_der(der), public })
    }
}

/// Reads the private key of `issuer`.
pub(crate) fn private_key(folder: &Path, issuer: &str) -> Result<PrivateKey, KeysError> {
    let path = folder.join(format!("{issuer}.pem"));
    PrivateKey::read(&read_pem(&path)?).map_err(|_| KeysError::Content(path))
}

/// A new key. It has no Debug.
pub struct NewKey {
    /// Its id.
    pub id: String,
    /// The public half, 32 bytes.
    pub public: Vec<u8>,
    /// The private half in PKCS#8.
    pub private: Zeroizing<Vec<u8>>,
}

/// Makes a key.
///
/// # Errors
/// [`KeysError::Generate`].
pub fn generate() -> Result<NewKey, KeysError> {
    let document = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8v1()).map_err(|_| KeysError::Generate)?;
    let private = Zeroizing::new(document.as_ref().to_vec());
    let PrivateKey { kid: id, public, .. } = PrivateKey::read(&private)?;
    Ok(NewKey { id, public, private })
}

/// A public key of 32 bytes as verifiers learn it.
pub fn json_web_key(public: &[u8]) -> JsonWebKey {
    JsonWebKey {
        kty: "OKP".into(),
        crv: "Ed25519".into(),
        kid: key_id(public),
        alg: "EdDSA".into(),
        r#use: "sig".into(),
        x: BASE64_URL_SAFE_NO_PAD.encode(public),
    }
}

/// Makes the keys of `issuers` that the folder lacks, and a bundle that names every key of the folder. What exists stays.
///
/// # Errors
/// See [`KeysError`].
pub fn ensure(folder: &Path, issuers: &[&str]) -> Result<(), KeysError> {
    fs::create_dir_all(folder).map_err(|error| KeysError::File(folder.to_owned(), error))?;
    let bundle = folder.join(BUNDLE);
    let mut keys = if bundle.exists() { read_bundle(&bundle)?.keys } else { Vec::new() };
    keys.retain(|key| key.iss != ACCESS);
    for issuer in issuers {
        let path = folder.join(format!("{issuer}.pem"));
        if !path.exists() {
            write(&path, 0o600, pem(&generate()?.private).as_bytes())?;
        }
        let key = public_jwk(issuer, &private_key(folder, issuer)?.public);
        keys.retain(|known| known.kid != key.kid);
        keys.push(key);
    }
    let json =
        serde_json::to_vec_pretty(&Bundle { keys }).map_err(|error| KeysError::File(bundle.clone(), error.into()))?;
    write(&bundle, 0o644, &json)
}

fn public_jwk(issuer: &str, public: &[u8]) -> Jwk {
    let x = BASE64_URL_SAFE_NO_PAD.encode(public);
    Jwk { kty: "OKP".into(), crv: "Ed25519".into(), kid: key_id(public), x, iss: issuer.to_owned() }
}

/// As what a key is revoked on which open streams rest: its id, 16 hexadecimal digits, as a UUID. No other subject's begins with so
/// many zeros. `None` where it is no key's id.
pub fn subject(kid: &str) -> Option<Uuid> {
    u64::from_str_radix(kid, 16).ok().map(|id| Uuid::from_u128(id.into()))
}

fn key_id(public: &[u8]) -> String {
    hex::encode(&Sha256::digest(public)[..8])
}

fn read_bundle(path: &Path) -> Result<Bundle, KeysError> {
    let text = fs::read(path).map_err(|error| KeysError::File(path.to_owned(), error))?;
    serde_json::from_slice(&text).map_err(|_| KeysError::Content(path.to_owned()))
}

fn read_pem(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| KeysError::File(path.to_owned(), error))?);
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    BASE64_STANDARD.decode(body.trim()).map(Zeroizing::new).map_err(|_| KeysError::Content(path.to_owned()))
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", BASE64_STANDARD.encode(der))
}

/// Writes beside the file and moves it into place: a crash leaves the old file or the new one, never half of one.
fn write(path: &Path, mode: u32, content: &[u8]) -> Result<(), KeysError> {
    let beside = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|error| KeysError::File(path.to_owned(), error))
}
