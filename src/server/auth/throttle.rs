//! Slows down whoever guesses: after some failures, a login, and an address, must wait, longer each time.

use crate::error::{Error, ErrorKind, Result};
use crate::server::db::{Columns as _, Db};

/// Failures that cost nothing: people mistype.
const FREE_OF_LOGIN: i64 = 5;
/// Many people can sit behind one address.
const FREE_OF_ADDRESS: i64 = 30;
const FIRST_WAIT_US: i64 = 15_000_000;
const LONGEST_WAIT_US: i64 = 15 * 60_000_000;
/// After this long without a failure all is forgotten.
const FORGET_US: i64 = 3_600_000_000;

/// The names under which failures of a login from an address are counted, and how many are free.
fn names(login: &str, address: &str) -> [(String, i64); 2] {
    [(format!("login {login}"), FREE_OF_LOGIN), (format!("address {address}"), FREE_OF_ADDRESS)]
}

impl Db {
    /// Refuses an attempt that comes too early.
    ///
    /// # Errors
    /// `Unavailable` saying how long to wait.
    pub(super) async fn may_try(&self, login: &str, address: &str, now_us: i64) -> Result<()> {
        for (name, _) in names(login, address) {
            let row = sqlx::query("SELECT until_us FROM throttle WHERE name = $1")
                .bind(name)
                .fetch_optional(self.pool())
                .await?;
            let wait = row.map(|row| row.number("until_us")).transpose()?.unwrap_or_default() - now_us;
            if wait > 0 {
                let seconds = wait / 1_000_000 + 1;
                return Err(Error::new(ErrorKind::Unavailable, "There were too many failed sign-ins")
                    .with_hint(format!("Try again in {seconds} s")));
            }
        }
        Ok(())
    }

    /// Notes a failure.
    pub(super) async fn note_failure(&self, login: &str, address: &str, now_us: i64) -> Result<()> {
        for (name, free) in names(login, address) {
            let mut tx = self.write().await?;
            sqlx::query("DELETE FROM throttle WHERE until_us < $1").bind(now_us - FORGET_US).execute(&mut *tx).await?;
            let row = sqlx::query(
                "INSERT INTO throttle (name, failures, until_us) VALUES ($1, 1, $2) \
                 ON CONFLICT (name) DO UPDATE SET failures = throttle.failures + 1 RETURNING failures",
            )
            .bind(&name)
            .bind(now_us)
            .fetch_one(&mut *tx)
            .await?;
            let until = now_us + wait_us(row.number("failures")? - free);
            sqlx::query("UPDATE throttle SET until_us = $1 WHERE name = $2")
                .bind(until)
                .bind(&name)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Forgets the failures of a login that came in.
    pub(super) async fn forget_failures(&self, login: &str) -> Result<()> {
        sqlx::query("DELETE FROM throttle WHERE name = $1").bind(format!("login {login}")).execute(self.pool()).await?;
        Ok(())
    }
}

fn wait_us(beyond: i64) -> i64 {
    match u32::try_from(beyond) {
        Ok(times @ 1..) => FIRST_WAIT_US.saturating_mul(1 << times.min(10)).min(LONGEST_WAIT_US),
        _ => 0,
    }
}
