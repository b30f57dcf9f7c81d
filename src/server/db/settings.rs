//! Settings of the server: small texts by name.

use super::{Columns as _, Db};
use crate::error::Result;

impl Db {
    /// A setting.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn setting(&self, name: &str) -> Result<Option<String>> {
        let row =
            sqlx::query("SELECT value FROM settings WHERE name = $1").bind(name).fetch_optional(self.pool()).await?;
        row.map(|row| row.text("value")).transpose()
    }

    /// Sets a setting, or, without a value, takes it away.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn set(&self, name: &str, value: Option<&str>) -> Result<()> {
        match value {
            Some(value) => {
                sqlx::query(
                    "INSERT INTO settings (name, value) VALUES ($1, $2) \
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                )
                .bind(name)
                .bind(value)
                .execute(self.pool())
                .await?;
            }
            None => {
                sqlx::query("DELETE FROM settings WHERE name = $1").bind(name).execute(self.pool()).await?;
            }
        }
        Ok(())
    }
}
