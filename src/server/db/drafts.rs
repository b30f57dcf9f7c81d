//! Backup sets that somebody began to describe: what was typed, one draft a person and account.

use std::collections::BTreeMap;

use super::{Columns as _, Db};
use crate::error::{Error, Result};
use crate::server::id::Id;

/// What all texts of a draft may take: a body of a request brings no more than a few times that.
const MOST_BYTES: usize = 256 * 1024;

/// What somebody typed, by the names of the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    /// The fields.
    pub(crate) fields: BTreeMap<String, String>,
    /// When it was changed last: microseconds since 1970 UTC.
    pub(crate) changed_us: i64,
}

impl Db {
    /// What a person typed in an account.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn draft(&self, account: &Id, person: &Id) -> Result<Option<Draft>> {
        let row = sqlx::query("SELECT content, changed_us FROM drafts WHERE account_id = $1 AND person_id = $2")
            .bind(account.as_str())
            .bind(person.as_str())
            .fetch_optional(self.pool())
            .await?;
        let read = |row: sqlx::any::AnyRow| {
            Ok(Draft { fields: super::from_json(&row.text("content")?)?, changed_us: row.number("changed_us")? })
        };
        row.map(read).transpose()
    }

    /// Keeps what a person typed, in place of what was there.
    ///
    /// # Errors
    /// `InvalidInput` when it is too much.
    pub(crate) async fn keep_draft(
        &self,
        account: &Id,
        person: &Id,
        fields: &BTreeMap<String, String>,
        now_us: i64,
    ) -> Result<()> {
        if fields.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MOST_BYTES {
            return Err(Error::invalid("This is more text than a backup set may have")
                .with_hint("Say more with fewer rules: * stands for any characters"));
        }
        sqlx::query(
            "INSERT INTO drafts (account_id, person_id, content, changed_us) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (account_id, person_id) DO UPDATE SET content = excluded.content, changed_us = excluded.changed_us",
        )
        .bind(account.as_str())
        .bind(person.as_str())
        .bind(super::to_json(fields)?)
        .bind(now_us)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Lets go of what a person typed.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn drop_draft(&self, account: &Id, person: &Id) -> Result<()> {
        sqlx::query("DELETE FROM drafts WHERE account_id = $1 AND person_id = $2")
            .bind(account.as_str())
            .bind(person.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Lets go of drafts that nobody changed since a time.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn forget_drafts(&self, before_us: i64) -> Result<()> {
        sqlx::query("DELETE FROM drafts WHERE changed_us < $1").bind(before_us).execute(self.pool()).await?;
        Ok(())
    }
}
