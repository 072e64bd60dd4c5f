//! Small things that are written once under a name, and are to outlive the database: nothing here overwrites or deletes them.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutMode, local::LocalFileSystem, path::Path as Key};

use crate::BlobError;

/// The store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Records(Arc<dyn ObjectStore>);

impl Records {
    /// A folder of files, made where it is missing.
    ///
    /// # Errors
    /// [`BlobError::Folder`], [`BlobError::Store`].
    pub fn folder(path: &Path) -> Result<Self, BlobError> {
        std::fs::create_dir_all(path).map_err(BlobError::Folder)?;
        Ok(Self(Arc::new(LocalFileSystem::new_with_prefix(path)?.with_fsync(true))))
    }

    /// Writes `content` under `name`, whose parts are separated by slashes. Once this has returned, it is on the disk.
    ///
    /// # Errors
    /// [`BlobError::Store`], also where there is something under this name.
    pub async fn put(&self, name: &str, content: Bytes) -> Result<(), BlobError> {
        self.0.put_opts(&Key::from(name), content.into(), PutMode::Create.into()).await?;
        Ok(())
    }

    /// Every name, in the order of the alphabet.
    ///
    /// # Errors
    /// [`BlobError::Store`].
    pub async fn names(&self) -> Result<Vec<String>, BlobError> {
        let mut names: Vec<String> = self.0.list(None).map_ok(|found| found.location.to_string()).try_collect().await?;
        names.sort();
        Ok(names)
    }

    /// What is under this name.
    ///
    /// # Errors
    /// [`BlobError::Store`], also where there is nothing.
    pub async fn get(&self, name: &str) -> Result<Bytes, BlobError> {
        Ok(self.0.get(&Key::from(name)).await?.bytes().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_once_stays_and_is_listed_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let records = Records::folder(&folder.path().join("records")).unwrap();
        records.put("2026-11-22/b", Bytes::from_static(b"two")).await.unwrap();
        records.put("2026-11-22/a", Bytes::from_static(b"one")).await.unwrap();
        assert!(records.put("2026-11-22/a", Bytes::from_static(b"another")).await.is_err());
        assert_eq!(records.names().await.unwrap(), ["2026-11-22/a", "2026-11-22/b"]);
        assert_eq!(records.get("2026-11-22/a").await.unwrap(), "one");
        assert!(records.get("2026-11-22/c").await.is_err());
    }
}
