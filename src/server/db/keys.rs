//! What is known of keys beside their slots: the checksum of one that was made here, when one was used last, which one the server
//! holds, and which are clients'.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Columns as _, Db, RepositoryRow};
use crate::error::{Error, ErrorKind, Result};
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

/// Removed keys of a repository that are known by name.
const MOST_GONE: usize = 50;

/// Which keys of a repository were removed: whoever has it open by one of them, in whatever process, has it open no more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GoneKeys {
    /// It grows with each removal.
    epoch: i64,
    /// What was opened before this was opened by a key of which nothing is known any more.
    floor: i64,
    /// The slots, and the epoch that began when each went.
    slots: BTreeMap<String, i64>,
}

impl GoneKeys {
    /// The epoch: what is opened now is opened in it.
    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Says whether a key by which something was opened in an epoch went since.
    pub(crate) fn has_gone_since(&self, slot: &str, epoch: i64) -> bool {
        epoch < self.floor || self.slots.get(slot).is_some_and(|gone| epoch < *gone)
    }

    fn add(&mut self, slot: &str) {
        self.epoch += 1;
        self.slots.insert(slot.to_owned(), self.epoch);
        while self.slots.len() > MOST_GONE {
            let Some((slot, gone)) = self.slots.iter().min_by_key(|(_, gone)| **gone).map(|(s, g)| (s.clone(), *g))
            else {
                return;
            };
            self.slots.remove(&slot);
            self.floor = gone;
        }
    }
}

fn turn(repository: &Id) -> String {
    format!("keys-turn {repository}")
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

    /// Keeps another write-only key of the server's own, with its slot, in the place of the one that the row has.
    ///
    /// # Errors
    /// `AlreadyExists` when it has another one since; as any query.
    pub(crate) async fn keep_write_key(&self, vault: &Vault, row: &RepositoryRow, key: &str, slot: &str) -> Result<()> {
        let kept =
            sqlx::query("UPDATE repositories SET write_key = $1, own_slot = $2 WHERE id = $3 AND write_key = $4")
                .bind(vault.seal(&super::repositories::place(&row.id, "write_key"), key))
                .bind(slot)
                .bind(row.id.as_str())
                .bind(row.sealed_write_key())
                .execute(self.pool())
                .await?;
        match kept.rows_affected() {
            0 => Err(Error::new(ErrorKind::AlreadyExists, "Somebody else renewed the server's key at the same time")
                .with_hint("Load the page again, and look when it was made")),
            _ => Ok(()),
        }
    }

    /// Notes the slot of the write-only key that the row has.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_own_slot(&self, row: &RepositoryRow, slot: &str) -> Result<()> {
        sqlx::query("UPDATE repositories SET own_slot = $1 WHERE id = $2 AND write_key = $3 AND own_slot IS NULL")
            .bind(slot)
            .bind(row.id.as_str())
            .bind(row.sealed_write_key())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Notes that a key of a repository was removed, by whoever has taken the keys ([`Self::take_keys`]).
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn note_gone_key(&self, repository: &Id, slot: &str) -> Result<()> {
        let mut tx = self.write().await?;
        let row = sqlx::query("SELECT gone_keys FROM repositories WHERE id = $1")
            .bind(repository.as_str())
            .fetch_one(&mut *tx)
            .await?;
        let mut gone = super::repositories::gone_keys(&row)?;
        gone.add(slot);
        sqlx::query("UPDATE repositories SET gone_keys = $1 WHERE id = $2")
            .bind(super::to_json(&gone)?)
            .bind(repository.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes the keys of a repository into hand until a time, if nobody else has them: of all processes, one at a time changes
    /// them. `longest_us`: nobody has them for longer.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn take_keys(&self, repository: &Id, now_us: i64, longest_us: i64) -> Result<bool> {
        let until = now_us + longest_us;
        // Whose clock was far ahead does not hold all others up.
        let taken = sqlx::query(
            "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value \
             WHERE CAST(settings.value AS BIGINT) <= $3 OR CAST(settings.value AS BIGINT) > $4",
        )
        .bind(turn(repository))
        .bind(until.to_string())
        .bind(now_us)
        .bind(until + longest_us)
        .execute(self.pool())
        .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Lets go of the keys that were taken at a time.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn release_keys(&self, repository: &Id, taken_us: i64, longest_us: i64) -> Result<()> {
        sqlx::query("DELETE FROM settings WHERE name = $1 AND value = $2")
            .bind(turn(repository))
            .bind((taken_us + longest_us).to_string())
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_by_a_key_before_it_went_is_closed_and_what_came_after_is_not() {
        let mut gone = GoneKeys::default();
        let before = gone.epoch();
        gone.add("a");
        assert!(gone.has_gone_since("a", before) && !gone.has_gone_since("b", before));
        assert!(!gone.has_gone_since("a", gone.epoch()), "it was brought back since");
        for number in 0..2 * MOST_GONE {
            gone.add(&number.to_string());
        }
        assert!(gone.slots.len() == MOST_GONE && gone.has_gone_since("a", before));
        assert!(!gone.has_gone_since("b", gone.epoch()));
    }
}
