//! What is known of keys beside their slots: the checksum of one that was made here, when one was used last, which one the server
//! holds, and which are clients'.

use serde::{Deserialize, Serialize};

use super::{Columns as _, Db};
use crate::error::Result;
use crate::server::id::Id;
use crate::server::vault::Vault;

/// What is known of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownKey {
    /// The checksum that stands in its recovery kit. Of keys that were made here alone: one of a chosen passphrase would help
    /// to guess it.
    pub(crate) checksum: Option<String>,
    /// When it was brought last: microseconds since 1970 UTC.
    pub(crate) used_us: Option<i64>,
}

fn name(slot: &str) -> String {
    format!("key {slot}")
}

fn held(repository: &Id) -> String {
    format!("held-key {repository}")
}

impl Db {
    /// What is known of a key.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn known_key(&self, slot: &str) -> Result<KnownKey> {
        let text = self.setting(&name(slot)).await?;
        text.map_or_else(|| Ok(KnownKey::default()), |text| super::from_json(&text))
    }

    /// Keeps the checksum of a key that was made.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_checksum(&self, slot: &str, checksum: String) -> Result<()> {
        let known = KnownKey { checksum: Some(checksum), used_us: None };
        self.set(&name(slot), Some(&super::to_json(&known)?)).await
    }

    /// Notes that a key was brought.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn note_key_used(&self, slot: &str, now_us: i64) -> Result<()> {
        let known = KnownKey { used_us: Some(now_us), ..self.known_key(slot).await? };
        self.set(&name(slot), Some(&super::to_json(&known)?)).await
    }

    /// Forgets a key that was removed.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn forget_known_key(&self, slot: &str) -> Result<()> {
        self.set(&name(slot), None).await
    }

    /// The slot of the owner's key that the server holds of a repository, where that was noted.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn held_slot(&self, repository: &Id) -> Result<Option<String>> {
        self.setting(&held(repository)).await
    }

    /// Notes which owner's key the server holds of a repository.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_held_slot(&self, repository: &Id, slot: Option<&str>) -> Result<()> {
        self.set(&held(repository), slot).await
    }

    /// The keys of clients in a repository: the slot of each, and the client.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn slots_of_clients(&self, repository: &Id) -> Result<Vec<(String, Id)>> {
        let rows = sqlx::query("SELECT slot, client_id FROM client_keys WHERE repository_id = $1")
            .bind(repository.as_str())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(|row| Ok((row.text("slot")?, row.id("client_id")?))).collect()
    }

    /// Keeps another write-only key of the server's own.
    ///
    /// # Errors
    /// `NotFound` when the repository is gone; as any query.
    pub(crate) async fn keep_write_key(&self, vault: &Vault, repository: &Id, key: &str) -> Result<()> {
        let kept = sqlx::query("UPDATE repositories SET write_key = $1 WHERE id = $2")
            .bind(vault.seal(&super::repositories::place(repository, "write_key"), key))
            .bind(repository.as_str())
            .execute(self.pool())
            .await?;
        super::need_one(kept.rows_affected(), "repository")
    }
}
