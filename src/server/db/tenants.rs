//! Tenants: what an account connects to.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use utoipa::ToSchema;

use super::accounts::check_title;
use super::{Columns as _, Db};
use crate::error::{Error, ErrorKind, Result};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// How to reach a tenant. No secret is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantDefinition {
    /// The directory's id or one of its domains.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) tenant_id: String,
    /// The app registration's (client) id.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) client_id: String,
    /// Who signs in.
    pub(crate) sign_in: SignInWay,
    /// The app's certificate (PEM), where it signs in by one. The private key is its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// The national cloud: `global`, `usgov`, `usgov-dod`, `china`.
    #[serde(default = "global")]
    pub(crate) cloud: String,
    /// Graph's address, where it is another than the cloud's: for simulated tenants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) graph_url: Option<String>,
    /// The sign-in service's address, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login_url: Option<String>,
    /// Where a user signs in: which parts of the account are asked for, as backup sets call them (`mail`, `onedrive`, …). None:
    /// those that need no administrator's consent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20)]
    pub(crate) parts: Vec<String>,
    /// Where a user signs in: the right to write them is asked for too, so that they can be restored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) may_restore: bool,
    /// An app registration of its own for restores, so that the one that backs up need not be allowed to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restore: Option<RestoreApp>,
}

/// An app registration that restores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreApp {
    /// The app registration's (client) id.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) client_id: String,
    /// How it signs in.
    pub(crate) sign_in: SignInWay,
    /// The app's certificate (PEM), where it signs in by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

fn global() -> String {
    "global".to_owned()
}

/// Who signs in to a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SignInWay {
    /// An app, by a client secret.
    #[default]
    Secret,
    /// An app, by a certificate.
    Certificate,
    /// A user: the tenant is that user's own account. Nothing is entered; the user signs in at Microsoft.
    User,
}

/// A tenant of an account.
#[derive(Debug, Clone)]
pub(crate) struct Tenant {
    /// The row's id.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// What people call it.
    pub(crate) name: String,
    /// How to reach it.
    pub(crate) definition: TenantDefinition,
    /// When it was added.
    pub(crate) created_us: i64,
    /// What the last test found: JSON.
    pub(crate) state: Option<String>,
    /// When that was.
    pub(crate) checked_us: Option<i64>,
    /// What was used of its budgets when a job last told: JSON.
    pub(crate) budget: Option<String>,
    /// When that was.
    pub(crate) budget_us: Option<i64>,
    /// Who signed in, where it is a user's own account.
    pub(crate) user: Option<SignedInUser>,
    /// Why the user's sign-in no longer goes on; nothing: it goes on.
    pub(crate) refused: Option<Refused>,
    /// When an administrator consented to the app, as far as that was done from here.
    pub(crate) consented_us: Option<i64>,
    pub(super) secret: Option<String>,
    restore_secret: Option<String>,
}

/// Who signed in to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SignedInUser {
    /// The user's id in the directory.
    #[serde(skip)]
    pub(crate) id: String,
    /// The user principal name, or the address.
    pub(crate) name: String,
    /// When.
    pub(crate) signed_in_us: i64,
}

/// A sign-in that is no longer honoured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Refused {
    /// Why.
    pub(crate) error: String,
    /// What to do.
    pub(crate) hint: Option<String>,
    /// Since when.
    #[serde(default)]
    pub(crate) since_us: i64,
}

impl Tenant {
    /// Says whether there is a secret, or somebody has signed in.
    pub(crate) fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Says whether it is one user's own account.
    pub(crate) fn is_of_user(&self) -> bool {
        self.definition.sign_in == SignInWay::User
    }

    /// For how many days the app's secret or certificate is good from now on, as far as the last test could tell when it ends;
    /// below none: it has ended.
    pub(crate) fn secret_days(&self, now_us: i64) -> Option<i64> {
        self.days_till("secret_end_us", now_us)
    }

    /// The same of the app that restores.
    pub(crate) fn restore_secret_days(&self, now_us: i64) -> Option<i64> {
        self.days_till("restore_secret_end_us", now_us)
    }

    fn days_till(&self, end: &str, now_us: i64) -> Option<i64> {
        let state: serde_json::Value = serde_json::from_str(self.state.as_deref()?).ok()?;
        Some(state.get(end)?.as_i64()?.saturating_sub(now_us).div_euclid(86_400_000_000))
    }

    /// The app's secret or private key.
    ///
    /// # Errors
    /// `WrongKey` when it does not open; `NotFound` when there is none.
    pub(crate) fn secret(&self, vault: &Vault) -> Result<zeroize::Zeroizing<String>> {
        let sealed = self.secret.as_deref().ok_or_else(|| {
            Error::not_found(format!("There is no secret for tenant '{}'", self.name)).with_hint("Enter it anew")
        })?;
        vault.open_sealed(&secret_place(&self.id), sealed)
    }

    /// The secret or private key of the app that restores.
    ///
    /// # Errors
    /// As [`Self::secret`].
    pub(crate) fn restore_secret(&self, vault: &Vault) -> Result<zeroize::Zeroizing<String>> {
        let sealed = self.restore_secret.as_deref().ok_or_else(|| {
            Error::not_found(format!("There is no secret for the app that restores to tenant '{}'", self.name))
                .with_hint("Enter it anew")
        })?;
        vault.open_sealed(&restore_secret_place(&self.id), sealed)
    }
}

fn restore_secret_place(tenant: &Id) -> String {
    format!("tenants/{tenant}/restore_secret")
}

fn secret_place(tenant: &Id) -> String {
    format!("tenants/{tenant}/secret")
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, name, definition, secret, restore_secret, created_us, state, checked_us, user_id, \
             user_name, signed_in_us, refused, refused_us, consented_us, budget, budget_us FROM tenants ",
            $rest
        )
    };
}

fn read(row: &AnyRow) -> Result<Tenant> {
    let user = match (row.maybe_text("user_id")?, row.maybe_text("user_name")?, row.maybe_number("signed_in_us")?) {
        (Some(id), Some(name), Some(signed_in_us)) => Some(SignedInUser { id, name, signed_in_us }),
        _ => None,
    };
    let refused = row.maybe_text("refused")?.map(|text| super::from_json::<Refused>(&text)).transpose()?;
    let since_us = row.maybe_number("refused_us")?.unwrap_or_default();
    Ok(Tenant {
        user,
        refused: refused.map(|refused| Refused { since_us, ..refused }),
        consented_us: row.maybe_number("consented_us")?,
        id: row.id("id")?,
        account: row.id("account_id")?,
        name: row.text("name")?,
        definition: super::from_json(&row.text("definition")?)?,
        created_us: row.number("created_us")?,
        state: row.maybe_text("state")?,
        checked_us: row.maybe_number("checked_us")?,
        budget: row.maybe_text("budget")?,
        budget_us: row.maybe_number("budget_us")?,
        secret: row.maybe_text("secret")?,
        restore_secret: row.maybe_text("restore_secret")?,
    })
}

impl Db {
    /// Adds a tenant; without a secret it cannot be reached until one is entered.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidInput`.
    pub(crate) async fn add_tenant(
        &self,
        vault: &Vault,
        account: &Id,
        name: &str,
        definition: &TenantDefinition,
        secret: Option<&str>,
        now_us: i64,
    ) -> Result<Tenant> {
        let (id, name) = (Id::random(), check_title("a tenant", name)?);
        sqlx::query(
            "INSERT INTO tenants (id, account_id, name, definition, secret, created_us) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(id.as_str())
        .bind(account.as_str())
        .bind(&name)
        .bind(super::to_json(definition)?)
        .bind(secret.map(|secret| vault.seal(&secret_place(&id), secret)))
        .bind(now_us)
        .execute(self.pool())
        .await
        .map_err(|e| super::taken(e, "tenant", &name))?;
        self.tenant(account, &id).await
    }

    /// Changes a tenant. Of the secrets, of its app and of the one that restores, what is not given stays: the first where it
    /// still fits (`sign_in_stays`; a user's sign-in too), the second for as long as there is such an app.
    ///
    /// # Errors
    /// As [`Self::add_tenant`].
    pub(crate) async fn change_tenant(
        &self,
        vault: &Vault,
        tenant: &Tenant,
        name: &str,
        definition: &TenantDefinition,
        (secret, restore_secret): (Option<&str>, Option<&str>),
        sign_in_stays: bool,
    ) -> Result<()> {
        let name = check_title("a tenant", name)?;
        let mut tx = self.write().await?;
        if !sign_in_stays {
            sqlx::query(
                "UPDATE tenants SET secret = NULL, user_id = NULL, user_name = NULL, signed_in_us = NULL, refused = NULL, \
                 refused_us = NULL, holder = NULL, held_until_us = 0, consented_us = NULL, consented_by = NULL \
                 WHERE id = $1 AND account_id = $2",
            )
            .bind(tenant.id.as_str())
            .bind(tenant.account.as_str())
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query(
            "UPDATE tenants SET name = $1, definition = $2, secret = COALESCE($3, secret), state = NULL, checked_us = NULL, \
             restore_secret = COALESCE($4, CASE WHEN $5 = 1 THEN restore_secret END) WHERE id = $6 AND account_id = $7",
        )
        .bind(&name)
        .bind(super::to_json(definition)?)
        .bind(secret.map(|secret| vault.seal(&secret_place(&tenant.id), secret)))
        .bind(restore_secret.map(|secret| vault.seal(&restore_secret_place(&tenant.id), secret)))
        .bind(i64::from(definition.restore.is_some()))
        .bind(tenant.id.as_str())
        .bind(tenant.account.as_str())
        .execute(&mut *tx)
        .await
        .map_err(|e| super::taken(e, "tenant", &name))?;
        tx.commit().await?;
        Ok(())
    }

    /// Keeps the secret of the app that restores.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_restore_secret(&self, vault: &Vault, tenant: &Id, secret: &str) -> Result<()> {
        sqlx::query("UPDATE tenants SET restore_secret = $1 WHERE id = $2")
            .bind(vault.seal(&restore_secret_place(tenant), secret))
            .bind(tenant.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// A tenant of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn tenant(&self, account: &Id, id: &Id) -> Result<Tenant> {
        let row = sqlx::query(select!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such tenant"))?)
    }

    /// The tenants of an account, by name.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn tenants(&self, account: &Id) -> Result<Vec<Tenant>> {
        let rows = sqlx::query(select!("WHERE account_id = $1 ORDER BY name"))
            .bind(account.as_str())
            .fetch_all(self.pool())
            .await?;
        rows.iter().map(read).collect()
    }

    /// Keeps what a test of a tenant found.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_tenant_state(&self, id: &Id, state: &str, now_us: i64) -> Result<()> {
        sqlx::query("UPDATE tenants SET state = $1, checked_us = $2 WHERE id = $3")
            .bind(state)
            .bind(now_us)
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Keeps what a job told is used of the budgets of its tenant.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_budget(&self, job: &Id, budget: &serde_json::Value, now_us: i64) -> Result<()> {
        sqlx::query(
            "UPDATE tenants SET budget = $1, budget_us = $2 WHERE id = (SELECT tenant_id FROM jobs WHERE id = $3)",
        )
        .bind(budget.to_string())
        .bind(now_us)
        .bind(job.as_str())
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Notes that an administrator consented to the app.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn keep_consent(&self, id: &Id, login: &str, now_us: i64) -> Result<()> {
        sqlx::query("UPDATE tenants SET consented_us = $1, consented_by = $2 WHERE id = $3")
            .bind(now_us)
            .bind(login)
            .bind(id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Removes a tenant that no backup set uses.
    ///
    /// # Errors
    /// `AlreadyExists` when one does; `NotFound`.
    pub(crate) async fn remove_tenant(&self, account: &Id, id: &Id) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM sign_ins WHERE tenant_id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        // The history of its jobs stays.
        sqlx::query("UPDATE jobs SET tenant_id = NULL WHERE tenant_id = $1 AND account_id = $2 AND set_id IS NULL")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await?;
        let removed = sqlx::query("DELETE FROM tenants WHERE id = $1 AND account_id = $2")
            .bind(id.as_str())
            .bind(account.as_str())
            .execute(&mut *tx)
            .await
            .map_err(|e| match Error::from(e) {
                e if e.kind() == ErrorKind::AlreadyExists => {
                    Error::new(ErrorKind::AlreadyExists, "Backup sets still read this tenant")
                        .with_hint("Remove them first")
                }
                e => e,
            })?;
        tx.commit().await?;
        super::need_one(removed.rows_affected(), "tenant")
    }
}
