//! The heads that were exported into a folder: signed ones, a line each.

use std::{collections::BTreeMap, path::Path};

use diwan_access::Keys;
use diwan_blobs::{BlobError, Records};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{SERVICE, domain::audit::Head, worker::audit::SignedHead};

/// A line that is no head which identity signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// In which file.
    pub file: String,
    /// On which line, from 1.
    pub line: usize,
}

/// Heads, and when each was signed, by account.
#[derive(Debug, Default)]
pub struct Exported {
    heads: BTreeMap<Uuid, Vec<(Head, Timestamp)>>,
    /// What is no head.
    pub unproven: Vec<Unproven>,
}

impl Exported {
    /// Reads a folder; one that does not exist has none.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub async fn read(folder: &Path, keys: &Keys) -> Result<Self, BlobError> {
        let mut exported = Self::default();
        if !folder.exists() {
            return Ok(exported);
        }
        let records = Records::folder(folder)?;
        for file in records.names().await? {
            let content = records.get(&file).await?;
            exported.add(keys, &file, &String::from_utf8_lossy(&content));
        }
        Ok(exported)
    }

    fn add(&mut self, keys: &Keys, file: &str, content: &str) {
        for (index, line) in content.lines().enumerate() {
            let claims = keys.signed::<SignedHead>(line.trim(), SERVICE);
            match claims.and_then(|claims| Some((claims.account, claims.head()?, claims.iat))) {
                Some((account, head, at)) => {
                    let at = Timestamp::from_second(at).unwrap_or_default();
                    self.heads.entry(account).or_default().push((head, at));
                }
                None => self.unproven.push(Unproven { file: file.to_owned(), line: index + 1 }),
            }
        }
    }

    /// Those of an account.
    pub fn of(&self, account: Uuid) -> &[(Head, Timestamp)] {
        self.heads.get(&account).map(Vec::as_slice).unwrap_or_default()
    }

    /// The accounts that there are heads of.
    pub fn accounts(&self) -> impl Iterator<Item = Uuid> {
        self.heads.keys().copied()
    }

    /// When the newest of all was signed.
    pub fn newest(&self) -> Option<Timestamp> {
        self.heads.values().flatten().map(|(_, at)| *at).max()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.heads.values().map(Vec::len).sum()
    }
}
