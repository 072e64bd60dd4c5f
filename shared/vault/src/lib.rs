//! Encrypts secrets that are stored: XChaCha20-Poly1305 under a list of keys, of which one is active.
//!
//! The key file is JSON: `{"active": "k1", "keys": {"k1": "<32 bytes in base64>"}}`. To rotate, add a key and name it
//! active; the old one stays as long as anything is sealed under it.
//!
//! A sealed secret is: format (1 byte), length of the key id (1 byte), key id, nonce (24 bytes), ciphertext with tag. A label
//! is authenticated with it: it names the row and the column (say `[account, user, b"totp"].concat()`), so that a secret
//! copied to another row does not open.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Generate as _, Key, KeyInit as _, Payload},
};
use diwan_runtime::ids;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

const FORMAT: u8 = 1;
const NONCE: usize = 24;

/// A key file or a sealed secret that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be read or written.
    #[error("the key file {0} cannot be read or written")]
    File(PathBuf, #[source] io::Error),
    /// The file holds something else than it should.
    #[error("the key file {0} holds no list of keys with an active one")]
    Content(PathBuf),
    /// It was sealed under a key that the file does not hold.
    #[error("a secret is sealed under the unknown key {0}")]
    UnknownKey(String),
    /// It was changed, or sealed with another label.
    #[error("a secret cannot be opened")]
    Unopened,
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    active: String,
    keys: BTreeMap<String, String>,
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        self.keys.values_mut().for_each(Zeroize::zeroize);
    }
}

/// Seals and opens secrets.
pub struct Vault {
    active: String,
    keys: BTreeMap<String, XChaCha20Poly1305>,
}

impl Vault {
    /// Reads the key file; makes one first where `make` says so and there is none.
    ///
    /// # Errors
    /// [`VaultError::File`], [`VaultError::Content`].
    pub fn load(path: &Path, make: bool) -> Result<Self, VaultError> {
        let file = |error| VaultError::File(path.to_owned(), error);
        if make && !path.exists() {
            create(path).map_err(file)?;
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(file)?);
        Self::read(&text).ok_or_else(|| VaultError::Content(path.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let file: KeyFile = serde_json::from_str(text).ok()?;
        let mut keys = BTreeMap::new();
        for (id, key) in &file.keys {
            let key = Zeroizing::new(BASE64_STANDARD.decode(key.as_bytes()).ok()?);
            u8::try_from(id.len()).ok()?;
            keys.insert(id.clone(), XChaCha20Poly1305::new_from_slice(&key).ok()?);
        }
        keys.contains_key(&file.active).then(|| Self { active: file.active.clone(), keys })
    }

    /// Encrypts under the active key.
    ///
    /// # Errors
    /// None that a vault which was loaded can meet.
    pub fn seal(&self, label: &[u8], secret: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key = self.keys.get(&self.active).ok_or_else(|| VaultError::UnknownKey(self.active.clone()))?;
        let nonce = XNonce::generate();
        let payload = Payload { msg: secret, aad: label };
        let sealed = key.encrypt(&nonce, payload).map_err(|_| VaultError::Unopened)?;
        let length = u8::try_from(self.active.len()).map_err(|_| VaultError::Unopened)?;
        Ok([&[FORMAT, length], self.active.as_bytes(), nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what was sealed under any key of the list with the same label.
    ///
    /// # Errors
    /// [`VaultError::UnknownKey`], [`VaultError::Unopened`].
    pub fn open(&self, label: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let (id, nonce, sealed) = split(sealed).ok_or(VaultError::Unopened)?;
        let key = self.keys.get(id).ok_or_else(|| VaultError::UnknownKey(id.to_owned()))?;
        let nonce = XNonce::try_from(nonce).map_err(|_| VaultError::Unopened)?;
        let payload = Payload { msg: sealed, aad: label };
        key.decrypt(&nonce, payload).map(Zeroizing::new).map_err(|_| VaultError::Unopened)
    }
}

/// Key id, nonce, ciphertext.
fn split(sealed: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let (&[FORMAT, length], rest) = sealed.split_first_chunk::<2>()? else { return None };
    let (id, rest) = rest.split_at_checked(length.into())?;
    let (nonce, sealed) = rest.split_at_checked(NONCE)?;
    Some((std::str::from_utf8(id).ok()?, nonce, sealed))
}

/// Of processes that start together, one makes the file and the others take it: a link never replaces what is there.
fn create(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let key = Key::<XChaCha20Poly1305>::generate();
    let id = "k1".to_owned();
    let file = KeyFile { active: id.clone(), keys: [(id, BASE64_STANDARD.encode(key))].into() };
    let text = Zeroizing::new(serde_json::to_vec_pretty(&file)?);
    let draft = path.with_extension(format!("{}.tmp", ids::new_id()));
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    out.write_all(&text)?;
    out.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const LABEL: &[u8] = b"a row";

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/secrets.json");
        (folder, path)
    }

    #[test]
    fn a_secret_opens_with_its_own_label_and_whole_only() {
        let (_folder, path) = file();
        let vault = Vault::load(&path, true).unwrap();
        let sealed = vault.seal(b"row 1", b"password").unwrap();
        assert!(!sealed.windows(4).any(|bytes| bytes == b"word"));
        assert_eq!(vault.open(b"row 1", &sealed).unwrap().as_slice(), b"password");
        for wrong in [b"row 2".as_slice(), b"row", b""] {
            assert!(matches!(vault.open(wrong, &sealed), Err(VaultError::Unopened)));
        }
        for length in 0..sealed.len() {
            assert!(vault.open(b"row 1", &sealed[..length]).is_err(), "cut to {length} bytes");
        }
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(vault.open(b"row 1", &changed).is_err(), "changed at {place}");
        }
    }

    #[test]
    fn after_a_rotation_old_secrets_open_and_new_ones_use_the_new_key() {
        let (_folder, path) = file();
        let old = Vault::load(&path, true).unwrap().seal(LABEL, b"old").unwrap();
        let mut keys: KeyFile = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        keys.keys.insert("k2".into(), BASE64_STANDARD.encode([7; 32]));
        keys.active = "k2".into();
        fs::write(&path, serde_json::to_vec(&keys).unwrap()).unwrap();
        let vault = Vault::load(&path, true).unwrap();
        assert_eq!(vault.open(LABEL, &old).unwrap().as_slice(), b"old");
        let new = vault.seal(LABEL, b"new").unwrap();
        keys.keys.remove("k1");
        fs::write(&path, serde_json::to_vec(&keys).unwrap()).unwrap();
        let vault = Vault::load(&path, true).unwrap();
        assert_eq!(vault.open(LABEL, &new).unwrap().as_slice(), b"new");
        assert!(matches!(vault.open(LABEL, &old), Err(VaultError::UnknownKey(id)) if id == "k1"));
    }

    #[test]
    fn processes_that_start_together_agree_on_one_key_file_that_only_its_owner_reads() {
        let (_folder, path) = file();
        let vaults: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| Vault::load(&path, true).unwrap())).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        let sealed = vaults[0].seal(LABEL, b"x").unwrap();
        assert!(vaults.iter().all(|vault| vault.open(LABEL, &sealed).is_ok()));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_key_file_that_is_named_must_be_there() {
        let (_folder, path) = file();
        assert!(matches!(Vault::load(&path, false), Err(VaultError::File(..))));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, r#"{"active":"k1","keys":{}}"#).unwrap();
        assert!(matches!(Vault::load(&path, false), Err(VaultError::Content(_))));
    }
}
