//! Slows down whoever guesses: after some failures a login at an address, a login, an address, and who brings keys must wait,
//! longer each time.
//!
//! Logins are known, and anybody can fail at one: so a login as such has many failures free, and waits only where nobody
//! signed in by it lately.

use std::net::{IpAddr, Ipv6Addr};

use crate::error::{Error, ErrorKind, Result};
use crate::server::db::{Columns as _, Db};
use crate::server::id::Id;

/// Failures of a login from one address that cost nothing: people mistype.
const FREE_OF_LOGIN_THERE: i64 = 5;
/// Of a login, wherever from: who guesses from many addresses.
const FREE_OF_LOGIN: i64 = 100;
/// Many people can sit behind one address.
const FREE_OF_ADDRESS: i64 = 30;
/// Keys of repositories that did not fit.
const FREE_OF_KEYS: i64 = 10;
const FIRST_WAIT_US: i64 = 15_000_000;
const LONGEST_WAIT_US: i64 = 15 * 60_000_000;
/// After this long without a failure all is forgotten.
const FORGET_US: i64 = 3_600_000_000;
/// How long an address from which somebody signed in is let through, however often others fail at the login elsewhere.
const KNOWN_US: i64 = 60 * 24 * 3_600_000_000;

/// What is kept of a login that somebody types, in characters: none is longer.
const LONGEST_LOGIN: usize = 300;

/// An address as far as it tells one sender from another: who has one IPv6 address has 2^64 of them.
pub(crate) fn place_of(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_none() => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        _ => address.to_owned(),
    }
}

/// A login at an address, as far as that tells one sender from another.
struct Sender<'a> {
    login: &'a str,
    place: String,
}

impl<'a> Sender<'a> {
    fn new(login: &'a str, address: &str) -> Self {
        let place = place_of(address);
        let login = login.char_indices().nth(LONGEST_LOGIN).and_then(|(at, _)| login.get(..at)).unwrap_or(login);
        Self { login, place }
    }

    // A login is whatever somebody types: it stands last, and what stands before it has no space.
    fn there(&self) -> String {
        format!("there {} {}", self.place, self.login)
    }

    fn anywhere(&self) -> String {
        format!("login {}", self.login)
    }

    fn address(&self) -> String {
        format!("address {}", self.place)
    }

    /// The name of a row that says until when the login is let through there.
    fn known(&self) -> String {
        format!("known {} {}", self.place, self.login)
    }
}

fn keys(person: &Id) -> String {
    format!("keys {person}")
}

impl Db {
    /// Refuses an attempt that comes too early.
    ///
    /// # Errors
    /// `Unavailable` saying how long to wait.
    pub(super) async fn may_try(&self, login: &str, address: &str, now_us: i64) -> Result<()> {
        let sender = Sender::new(login, address);
        for name in [sender.there(), sender.address()] {
            refuse(self.until(&name).await? - now_us, "There were too many failed sign-ins")?;
        }
        let wait = self.until(&sender.anywhere()).await? - now_us;
        if wait > 0 && !self.is_known(login, address, now_us).await? {
            refuse(wait, "There were too many failed sign-ins")?;
        }
        Ok(())
    }

    /// Says whether somebody signed in by a login from there lately.
    ///
    /// # Errors
    /// As any query.
    pub(super) async fn is_known(&self, login: &str, address: &str, now_us: i64) -> Result<bool> {
        Ok(self.until(&Sender::new(login, address).known()).await? >= now_us)
    }

    /// Notes a failure.
    pub(super) async fn note_failure(&self, login: &str, address: &str, now_us: i64) -> Result<()> {
        let sender = Sender::new(login, address);
        for (name, free) in [
            (sender.there(), FREE_OF_LOGIN_THERE),
            (sender.anywhere(), FREE_OF_LOGIN),
            (sender.address(), FREE_OF_ADDRESS),
        ] {
            self.count_failure(&name, free, now_us).await?;
        }
        Ok(())
    }

    /// Forgets the failures of a login where it came in, and remembers that it did.
    pub(super) async fn forget_failures(&self, login: &str, address: &str, now_us: i64) -> Result<()> {
        let sender = Sender::new(login, address);
        sqlx::query("DELETE FROM throttle WHERE name = $1").bind(sender.there()).execute(self.pool()).await?;
        sqlx::query(
            "INSERT INTO throttle (name, failures, until_us) VALUES ($1, 0, $2) \
             ON CONFLICT (name) DO UPDATE SET until_us = $2",
        )
        .bind(sender.known())
        .bind(now_us + KNOWN_US)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Refuses a key that somebody brings too early after others that did not fit.
    ///
    /// # Errors
    /// `Unavailable` saying how long to wait.
    pub(crate) async fn may_bring_key(&self, person: &Id, now_us: i64) -> Result<()> {
        refuse(self.until(&keys(person)).await? - now_us, "You brought too many keys that do not fit")
    }

    /// Notes that somebody brought a key that does not fit.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn note_wrong_key(&self, person: &Id, now_us: i64) -> Result<()> {
        self.count_failure(&keys(person), FREE_OF_KEYS, now_us).await
    }

    async fn until(&self, name: &str) -> Result<i64> {
        let row =
            sqlx::query("SELECT until_us FROM throttle WHERE name = $1").bind(name).fetch_optional(self.pool()).await?;
        Ok(row.map(|row| row.number("until_us")).transpose()?.unwrap_or_default())
    }

    async fn count_failure(&self, name: &str, free: i64, now_us: i64) -> Result<()> {
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM throttle WHERE until_us < $1").bind(now_us - FORGET_US).execute(&mut *tx).await?;
        let row = sqlx::query(
            "INSERT INTO throttle (name, failures, until_us) VALUES ($1, 1, $2) \
             ON CONFLICT (name) DO UPDATE SET failures = throttle.failures + 1 RETURNING failures",
        )
        .bind(name)
        .bind(now_us)
        .fetch_one(&mut *tx)
        .await?;
        let until = now_us + wait_us(row.number("failures")? - free);
        sqlx::query("UPDATE throttle SET until_us = $1 WHERE name = $2")
            .bind(until)
            .bind(name)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

fn refuse(wait_us: i64, why: &str) -> Result<()> {
    match wait_us {
        // One that is longer than any was given by a clock that was ahead.
        1..=LONGEST_WAIT_US => {
            Err(Error::new(ErrorKind::Unavailable, why)
                .with_hint(format!("Try again in {} s", wait_us / 1_000_000 + 1)))
        }
        _ => Ok(()),
    }
}

fn wait_us(beyond: i64) -> i64 {
    match u32::try_from(beyond) {
        Ok(times @ 1..) => FIRST_WAIT_US.saturating_mul(1 << times.min(10)).min(LONGEST_WAIT_US),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let name = |address: &str| Sender::new("x", address).address();
        assert_eq!(name("2001:db8:1:2::1"), name("2001:db8:1:2:ffff::9"));
        assert_ne!(name("2001:db8:1:2::1"), name("2001:db8:1:3::1"));
        assert_ne!(name("::ffff:192.0.2.1"), name("::ffff:192.0.2.2"));
        assert_ne!(name("192.0.2.1"), name("192.0.2.2"));
        assert!(Sender::new(&"ü".repeat(1 << 20), "192.0.2.1").there().len() < 1_000, "nor is much kept of a login");
    }
}
