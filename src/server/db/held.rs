//! The sign-in of a user, as it goes on: one process at a time renews it, and puts the newest token in the old one's place.
//!
//! A refresh token may be good once. Whoever renews it holds the row by a lease meanwhile, as a job is held: one that died
//! while it did leaves the row to the others. What is written names the holder, so that one whose lease ran out, or whose
//! tenant was changed or signed in to anew, writes nothing.

use super::tenants::Refused;
use super::{Columns as _, Db};
use crate::error::{Error, Result};
use crate::graph::Account;
use crate::server::id::Id;

impl Db {
    /// Takes hold of a tenant's sign-in; says whether nobody else has it. `holder` is nobody else's name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn hold_sign_in(&self, tenant: &Id, holder: &str, until_us: i64, now_us: i64) -> Result<bool> {
        let held = sqlx::query(
            "UPDATE tenants SET holder = $1, held_until_us = $2 \
             WHERE id = $3 AND (holder IS NULL OR holder = $1 OR held_until_us <= $4)",
        )
        .bind(holder)
        .bind(until_us)
        .bind(tenant.as_str())
        .bind(now_us)
        .execute(self.pool())
        .await?;
        Ok(held.rows_affected() == 1)
    }

    /// Goes on holding it.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn go_on_holding(&self, tenant: &Id, holder: &str, until_us: i64) -> Result<()> {
        sqlx::query("UPDATE tenants SET held_until_us = $1 WHERE id = $2 AND holder = $3")
            .bind(until_us)
            .bind(tenant.as_str())
            .bind(holder)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Lets go of it.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn let_go_of_sign_in(&self, tenant: &Id, holder: &str) -> Result<()> {
        sqlx::query("UPDATE tenants SET holder = NULL, held_until_us = 0 WHERE id = $1 AND holder = $2")
            .bind(tenant.as_str())
            .bind(holder)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// The sign-in as it is kept, sealed; nothing: nobody has signed in.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn held_sign_in(&self, tenant: &Id, holder: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT secret FROM tenants WHERE id = $1 AND holder = $2")
            .bind(tenant.as_str())
            .bind(holder)
            .fetch_optional(self.pool())
            .await?;
        row.ok_or_else(changed)?.maybe_text("secret")
    }

    /// Puts the newest in the old one's place; says whether it was still the holder's.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn renew_sign_in(&self, tenant: &Id, holder: &str, sealed: Option<&str>) -> Result<bool> {
        let kept = sqlx::query("UPDATE tenants SET secret = $1 WHERE id = $2 AND holder = $3")
            .bind(sealed)
            .bind(tenant.as_str())
            .bind(holder)
            .execute(self.pool())
            .await?;
        Ok(kept.rows_affected() == 1)
    }

    /// Notes whether the sign-in of a tenant goes on. What was noted first stays, so that its time says since when.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn note_refused(&self, tenant: &Id, refused: Option<&Refused>, now_us: i64) -> Result<()> {
        match refused {
            Some(refused) => {
                sqlx::query(
                    "UPDATE tenants SET refused = $1, refused_us = COALESCE(refused_us, $2) \
                     WHERE id = $3 AND secret IS NOT NULL",
                )
                .bind(super::to_json(refused)?)
                .bind(now_us)
                .bind(tenant.as_str())
                .execute(self.pool())
                .await?
            }
            None => {
                sqlx::query(
                    "UPDATE tenants SET refused = NULL, refused_us = NULL WHERE id = $1 AND refused_us IS NOT NULL",
                )
                .bind(tenant.as_str())
                .execute(self.pool())
                .await?
            }
        };
        Ok(())
    }

    /// Keeps a new sign-in: who renewed the old one holds it no more. `definition` is how the tenant was reached when it was
    /// begun.
    ///
    /// # Errors
    /// `InvalidInput` when the tenant was changed meanwhile, or somebody else's account was signed in to it.
    pub(crate) async fn keep_sign_in(
        &self,
        tenant: &Id,
        definition: &str,
        user: &Account,
        sealed: &str,
        now_us: i64,
    ) -> Result<()> {
        let kept = sqlx::query(
            "UPDATE tenants SET secret = $1, user_id = $2, user_name = $3, signed_in_us = $4, refused = NULL, \
             refused_us = NULL, holder = NULL, held_until_us = 0, state = NULL, checked_us = NULL \
             WHERE id = $5 AND definition = $6 AND (user_id IS NULL OR user_id = $2)",
        )
        .bind(sealed)
        .bind(&user.id)
        .bind(&user.name)
        .bind(now_us)
        .bind(tenant.as_str())
        .bind(definition)
        .execute(self.pool())
        .await?;
        match kept.rows_affected() {
            1 => Ok(()),
            _ => {
                Err(Error::invalid("The tenant was changed while somebody signed in to it").with_hint("Sign in again"))
            }
        }
    }
}

/// Says that somebody signed in anew meanwhile, or changed the tenant.
pub(crate) fn changed() -> Error {
    Error::new(crate::error::ErrorKind::Unavailable, "The tenant's sign-in was replaced while it was being renewed")
        .with_hint("Try again")
}
