//! Repositories that were taken off the list, and lie in the server's own storage still: they count, and can be brought back.

use serde::Serialize;
use sqlx::{Any, Transaction};
use utoipa::ToSchema;

use super::{Columns as _, Db};
use crate::error::Result;
use crate::server::id::Id;

/// A repository that was taken off the list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct LeftBehind {
    /// What its folder is called: `server:` and this is where it is taken over from.
    pub(crate) id: Id,
    /// What people called it.
    pub(crate) name: String,
    /// The id that stands in the repository itself.
    pub(crate) repository: String,
    /// Bytes that it takes.
    pub(crate) stored_bytes: i64,
    /// When it was taken off the list: microseconds since 1970 UTC.
    pub(crate) removed_us: i64,
}

impl Db {
    /// What an account has left behind, the last one first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn left_behind(&self, account: &Id) -> Result<Vec<LeftBehind>> {
        let rows = sqlx::query(
            "SELECT id, name, repository, stored_bytes, removed_us FROM left_behind WHERE account_id = $1 \
             ORDER BY removed_us DESC, id",
        );
        let read = |row: &sqlx::any::AnyRow| {
            Ok(LeftBehind {
                id: row.id("id")?,
                name: row.text("name")?,
                repository: row.text("repository")?,
                stored_bytes: row.number("stored_bytes")?,
                removed_us: row.number("removed_us")?,
            })
        };
        rows.bind(account.as_str()).fetch_all(self.pool()).await?.iter().map(read).collect()
    }

    /// Forgets what was left behind and is there no more.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn forget_left_behind(&self, account: &Id, id: &Id) -> Result<()> {
        sqlx::query("DELETE FROM left_behind WHERE id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Bytes that an account stores, as last counted: in its repositories, and in what it left behind.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn stored_bytes(&self, account: &Id) -> Result<i64> {
        Ok(self.used(Some(account)).await?.get(account).map_or(0, |used| used.bytes))
    }
}

/// Notes what is left behind of a repository that goes off the list.
pub(super) async fn insert(tx: &mut Transaction<'static, Any>, account: &Id, left: &LeftBehind) -> Result<()> {
    sqlx::query(
        "INSERT INTO left_behind (id, account_id, name, repository, stored_bytes, removed_us) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(left.id.as_str())
    .bind(account.as_str())
    .bind(&left.name)
    .bind(&left.repository)
    .bind(left.stored_bytes)
    .bind(left.removed_us)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A repository that comes back takes its bytes along.
pub(super) async fn bring_back(tx: &mut Transaction<'static, Any>, id: &Id) -> Result<()> {
    for sql in [
        "UPDATE repositories SET stored_bytes = (SELECT stored_bytes FROM left_behind WHERE id = $1) \
         WHERE id = $1 AND id IN (SELECT id FROM left_behind)",
        "DELETE FROM left_behind WHERE id = $1",
    ] {
        sqlx::query(sql).bind(id.as_str()).execute(&mut **tx).await?;
    }
    Ok(())
}
