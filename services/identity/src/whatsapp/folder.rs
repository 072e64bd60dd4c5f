//! A folder that messages go to on machines without a WhatsApp number.

use std::{io, path::PathBuf};

use async_trait::async_trait;
use serde_json::json;
use tokio::{fs, io::AsyncWriteExt as _};
use uuid::Uuid;

use super::{Message, SendError, Sender};

/// Writes a JSON file for each message.
pub struct Folder(PathBuf);

impl Folder {
    /// At a path; it is made when it is needed.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Readable by this user only, since it may hold a code; moved into place, so that nobody finds half of it.
    async fn write(&self, id: Uuid, content: &[u8]) -> Result<(), io::Error> {
        fs::create_dir_all(&self.0).await?;
        let (beside, path) = (self.0.join(format!("{id}.new")), self.0.join(format!("{id}.json")));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside).await?;
        file.write_all(content).await?;
        file.sync_all().await?;
        fs::rename(beside, path).await
    }
}

#[async_trait]
impl Sender for Folder {
    async fn send(&self, message: &Message, id: Uuid) -> Result<(), SendError> {
        let content = json!({"shown": message.shown(), "payload": message.payload("")});
        self.write(id, format!("{content:#}\n").as_bytes()).await.map_err(SendError::Folder)
    }
}
