//! Content that is too large for a database (raw mail, attachments, pictures, exports), kept under the SHA-256 of its bytes.
//!
//! [`Blobs::of`] is a part of the store with names of its own: the same content in two of them is kept twice, so that whoever empties
//! one takes nothing that another needs.

mod records;

use std::{io, ops::Range, path::Path, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, local::LocalFileSystem, path::Path as Key};
use sha2::{Digest as _, Sha256};

pub use records::Records;

/// The blob store failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Its folder cannot be made, or one of a part not be removed.
    #[error("the folder of blobs cannot be made or removed")]
    Folder(#[source] io::Error),
    /// It cannot be opened, or a blob cannot be written, read or deleted.
    #[error("a blob cannot be stored, read or deleted")]
    Store(#[from] object_store::Error),
    /// What is no SHA-256 names no blob.
    #[error("this is no name of a blob")]
    Name,
}

impl BlobError {
    /// Whether there is no such blob.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Store(object_store::Error::NotFound { .. }))
    }
}

/// The store, or a part of it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    folder: Arc<Path>,
    place: Key,
}

impl Blobs {
    /// A folder of files, made where it is missing.
    ///
    /// # Errors
    /// [`BlobError::Folder`], [`BlobError::Store`].
    pub fn folder(path: &Path) -> Result<Self, BlobError> {
        std::fs::create_dir_all(path).map_err(BlobError::Folder)?;
        // A row in the database promises that its blob is there, also after a power cut.
        let store = LocalFileSystem::new_with_prefix(path)?.with_fsync(true);
        Ok(Self { store: Arc::new(store), folder: path.into(), place: Key::default() })
    }

    /// The part of this name, e.g. of one account.
    #[must_use]
    pub fn of(&self, part: &str) -> Self {
        Self { store: self.store.clone(), folder: self.folder.clone(), place: self.place.clone().join(part) }
    }

    /// Keeps `content` and returns its key. Once this has returned, the blob is on the disk.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    pub async fn put(&self, content: Bytes) -> Result<String, BlobError> {
        let sha256 = hex::encode(Sha256::digest(&content));
        match self.store.put_opts(&key(&self.place, &sha256)?, content.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(sha256),
            Err(error) => Err(error.into()),
        }
    }

    /// What is kept under this key: here, or where earlier versions kept everything, in the store itself.
    ///
    /// # Errors
    /// [`BlobError::Store`], also where there is nothing: see [`BlobError::is_missing`]. [`BlobError::Name`].
    pub async fn get(&self, sha256: &str) -> Result<Bytes, BlobError> {
        match self.store.get(&key(&self.place, sha256)?).await {
            Err(object_store::Error::NotFound { .. }) => {
                Ok(self.store.get(&key(&Key::default(), sha256)?).await?.bytes().await?)
            }
            found => Ok(found?.bytes().await?),
        }
    }

    /// So much of what is kept under this key as there is in `range`; nothing where that begins at the end.
    ///
    /// # Errors
    /// As [`Blobs::get`].
    pub async fn slice(&self, sha256: &str, range: Range<u64>) -> Result<Bytes, BlobError> {
        let mut key_here = key(&self.place, sha256)?;
        let found = match self.store.head(&key_here).await {
            Err(object_store::Error::NotFound { .. }) => {
                key_here = key(&Key::default(), sha256)?;
                self.store.head(&key_here).await?
            }
            found => found?,
        };
        let range = range.start..range.end.min(found.size);
        if range.is_empty() { Ok(Bytes::new()) } else { Ok(self.store.get_range(&key_here, range).await?) }
    }

    /// Deletes every blob of this part, those of its own parts too. Begun anew after a crash it goes on.
    ///
    /// # Errors
    /// [`BlobError::Store`], [`BlobError::Folder`]; what was deleted before it stays deleted.
    pub async fn clear(&self) -> Result<(), BlobError> {
        let keys = self.store.list(Some(&self.place)).map_ok(|found| found.location).boxed();
        let gone = self.store.delete_stream(keys).map(|outcome| match outcome {
            // Another replica was faster.
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            outcome => outcome.map(drop),
        });
        gone.try_collect::<()>().await?;
        // The store lists no file that somebody had begun to write when he was killed; and folders are named after accounts.
        match tokio::fs::remove_dir_all(self.folder.join(self.place.as_ref())).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BlobError::Folder(error)),
            _ => Ok(()),
        }
    }
}

/// Two levels, so that no folder gets too many entries.
fn key(place: &Key, sha256: &str) -> Result<Key, BlobError> {
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(place.clone().join(&sha256[..2]).join(sha256)) } else { Err(BlobError::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[tokio::test]
    async fn the_same_content_is_kept_once_under_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::folder(&folder.path().join("blobs")).unwrap().of("mails").of("one");
        let sha256 = blobs.put(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(sha256, ABC);
        assert_eq!(blobs.put(Bytes::from_static(b"abc")).await.unwrap(), sha256);
        assert_eq!(std::fs::read(folder.path().join("blobs/mails/one/ba").join(&sha256)).unwrap(), b"abc");
        assert_eq!(blobs.get(&sha256).await.unwrap(), "abc");
        assert_eq!(blobs.slice(&sha256, 1..99).await.unwrap(), "bc");
        assert_eq!(blobs.slice(&sha256, 3..99).await.unwrap(), "");
    }

    #[tokio::test]
    async fn who_empties_a_part_takes_nothing_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = {
            let mails = Blobs::folder(folder.path()).unwrap().of("mails");
            (mails.of("one"), mails.of("other"))
        };
        one.put(Bytes::from_static(b"abc")).await.unwrap();
        one.of("within").put(Bytes::from_static(b"def")).await.unwrap();
        other.put(Bytes::from_static(b"abc")).await.unwrap();
        one.clear().await.unwrap();
        one.clear().await.unwrap();
        assert!(one.get(ABC).await.unwrap_err().is_missing());
        assert!(one.store.list(Some(&one.place)).next().await.is_none());
        assert_eq!(other.get(ABC).await.unwrap(), "abc");
    }

    #[tokio::test]
    async fn who_empties_a_part_leaves_nothing_of_what_was_being_written_when_a_process_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = {
            let mails = Blobs::folder(folder.path()).unwrap().of("mails");
            (mails.of("one"), mails.of("other"))
        };
        let sha256 = one.of("within").put(Bytes::from_static(b"abc")).await.unwrap();
        other.put(Bytes::from_static(b"abc")).await.unwrap();
        let begun = folder.path().join("mails/one/within").join(&sha256[..2]).join(format!("{sha256}#1"));
        std::fs::write(&begun, b"ab").unwrap();
        one.clear().await.unwrap();
        assert!(!begun.exists() && !folder.path().join("mails/one").exists());
        assert_eq!(other.get(ABC).await.unwrap(), "abc");
        assert_eq!(one.put(Bytes::from_static(b"abc")).await.unwrap(), sha256, "it can be used again");
    }

    #[tokio::test]
    async fn what_earlier_versions_kept_in_the_store_itself_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::folder(folder.path()).unwrap();
        blobs.put(Bytes::from_static(b"abc")).await.unwrap();
        let part = blobs.of("mails").of("one");
        assert_eq!(part.get(ABC).await.unwrap(), "abc");
        assert_eq!(part.slice(ABC, 0..2).await.unwrap(), "ab");
        part.clear().await.unwrap();
        assert_eq!(blobs.get(ABC).await.unwrap(), "abc");
    }

    #[tokio::test]
    async fn what_was_never_kept_is_an_error_and_a_path_is_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::folder(folder.path()).unwrap();
        assert!(blobs.get(&"0".repeat(64)).await.unwrap_err().is_missing());
        for name in ["", "../../etc/passwd", &"/".repeat(64), &"A".repeat(64)] {
            assert!(matches!(blobs.get(name).await, Err(BlobError::Name)), "{name}");
        }
    }
}
