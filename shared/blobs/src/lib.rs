//! Content that is too large for a database (raw mail, attachments, pictures), each kept once under the SHA-256 of its bytes.

use std::{io, path::Path, sync::Arc};

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, local::LocalFileSystem, path::Path as Key};
use sha2::{Digest as _, Sha256};

/// The blob store failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// Its folder cannot be made.
    #[error("the folder of blobs cannot be made")]
    Folder(#[source] io::Error),
    /// It cannot be opened, or a blob cannot be written or read.
    #[error("a blob cannot be stored or read")]
    Store(#[from] object_store::Error),
    /// What is no SHA-256 names no blob.
    #[error("this is no name of a blob")]
    Name,
}

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<dyn ObjectStore>);

impl Blobs {
    /// A folder of files, made where it is missing.
    ///
    /// # Errors
    /// [`BlobError::Folder`], [`BlobError::Store`].
    pub fn folder(path: &Path) -> Result<Self, BlobError> {
        std::fs::create_dir_all(path).map_err(BlobError::Folder)?;
        // A row in the database promises that its blob is there, also after a power cut.
        Ok(Self(Arc::new(LocalFileSystem::new_with_prefix(path)?.with_fsync(true))))
    }

    /// Keeps `content` and returns its key. Once this has returned, the blob is on the disk.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    pub async fn put(&self, content: Bytes) -> Result<String, BlobError> {
        let sha256 = hex::encode(Sha256::digest(&content));
        match self.0.put_opts(&key(&sha256)?, content.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(sha256),
            Err(error) => Err(error.into()),
        }
    }

    /// What is kept under this key.
    ///
    /// # Errors
    /// [`BlobError::Store`], also where there is nothing: whoever has a key was promised its blob. [`BlobError::Name`].
    pub async fn get(&self, sha256: &str) -> Result<Bytes, BlobError> {
        Ok(self.0.get(&key(sha256)?).await?.bytes().await?)
    }
}

/// Two levels, so that no folder gets too many entries.
fn key(sha256: &str) -> Result<Key, BlobError> {
    let is_hash = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { Ok(Key::from_iter([&sha256[..2], sha256])) } else { Err(BlobError::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_content_is_kept_once_under_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::folder(&folder.path().join("blobs")).unwrap();
        let sha256 = blobs.put(Bytes::from_static(b"abc")).await.unwrap();
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(blobs.put(Bytes::from_static(b"abc")).await.unwrap(), sha256);
        assert_eq!(std::fs::read(folder.path().join("blobs/ba").join(&sha256)).unwrap(), b"abc");
        assert_eq!(blobs.get(&sha256).await.unwrap(), "abc");
    }

    #[tokio::test]
    async fn what_was_never_kept_is_an_error_and_a_path_is_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::folder(folder.path()).unwrap();
        assert!(matches!(blobs.get(&"0".repeat(64)).await, Err(BlobError::Store(_))));
        for name in ["", "../../etc/passwd", &"/".repeat(64), &"A".repeat(64)] {
            assert!(matches!(blobs.get(name).await, Err(BlobError::Name)), "{name}");
        }
    }
}
