//! The passwords of mailboxes, encrypted where they are stored.

use diwan_vault::{Vault, VaultError};
use uuid::Uuid;

use crate::domain::server::{Password, Side};

/// Which password this is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label {
    pub(crate) account: Uuid,
    pub(crate) mailbox: Uuid,
    pub(crate) side: Side,
}

impl Label {
    fn bytes(&self) -> Vec<u8> {
        [self.account.as_bytes().as_slice(), self.mailbox.as_bytes(), self.side.name().as_bytes()].concat()
    }

    /// Encrypts a password.
    pub(crate) fn seal(&self, vault: &Vault, password: &Password) -> Result<Vec<u8>, VaultError> {
        vault.seal(&self.bytes(), password.expose().as_bytes())
    }

    /// Decrypts what was sealed for the same side of the same mailbox.
    pub(crate) fn open(&self, vault: &Vault, sealed: &[u8]) -> Result<Password, VaultError> {
        let opened = vault.open(&self.bytes(), sealed)?;
        Ok(Password::new(std::str::from_utf8(&opened).map_err(|_| VaultError::Unopened)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_opens_for_its_own_mailbox_and_side_only() {
        let folder = tempfile::tempdir().unwrap();
        let vault = Vault::load(&folder.path().join("keys.json"), true).unwrap();
        let label = Label { account: Uuid::from_u128(1), mailbox: Uuid::from_u128(2), side: Side::Imap };
        let sealed = label.seal(&vault, &Password::new("pässword")).unwrap();
        assert_eq!(label.open(&vault, &sealed).unwrap().expose(), "pässword");
        let others = [
            Label { side: Side::Smtp, ..label },
            Label { account: Uuid::from_u128(9), ..label },
            Label { mailbox: Uuid::from_u128(9), ..label },
        ];
        for other in others {
            assert!(matches!(other.open(&vault, &sealed), Err(VaultError::Unopened)));
        }
    }
}
