//! People: their logins, roles and second factors, and invitations to choose a password.

use sqlx::any::AnyRow;
use zeroize::Zeroizing;

use super::{Password, Role, random_token, totp};
use crate::error::{Error, ErrorKind, Result};
use crate::server::db::{Columns as _, Db};
use crate::server::id::Id;
use crate::server::vault::Vault;

/// How long an invitation is good.
const INVITATION_US: i64 = 7 * 24 * 3_600_000_000;
const LONGEST_LOGIN: usize = 254;

/// Somebody who can sign in.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// The row's id.
    pub(crate) id: Id,
    /// The account; an administrator of the server has none.
    pub(crate) account: Option<Id>,
    /// What they sign in by, in small letters.
    pub(crate) login: String,
    /// What they may do.
    pub(crate) role: Role,
    /// They have a password.
    pub(crate) has_password: bool,
    /// A code is asked for too.
    pub(crate) second_factor: bool,
    /// When they were added.
    pub(crate) created_us: i64,
    /// They may not sign in.
    pub(crate) disabled: bool,
    pub(super) password: Option<String>,
    pub(super) totp: Option<String>,
    pub(super) totp_step: i64,
}

impl Person {
    /// The secret of the second factor that they set up and that is not on yet; none where there is no such.
    ///
    /// # Errors
    /// `WrongKey` when it does not open with the master key.
    pub(crate) fn second_factor_to_be(&self, vault: &Vault) -> Result<Option<Zeroizing<String>>> {
        let sealed = self.totp.as_ref().filter(|_| !self.second_factor);
        sealed.map(|sealed| vault.open_sealed(&totp_place(&self.id), sealed)).transpose()
    }
}

/// Somebody to be added.
#[derive(Debug, Clone)]
pub(crate) struct NewPerson<'a> {
    /// The account; none for an administrator.
    pub(crate) account: Option<&'a Id>,
    /// What they sign in by.
    pub(crate) login: &'a str,
    /// What they may do.
    pub(crate) role: Role,
}

/// A link by which somebody chooses a password.
#[derive(Debug, Clone)]
pub(crate) struct Invitation {
    /// What stands in the link; kept nowhere.
    pub(crate) token: String,
    /// Until when it is good.
    pub(crate) expires_us: i64,
}

fn read(row: &AnyRow) -> Result<Person> {
    let password = row.maybe_text("password")?;
    Ok(Person {
        id: row.id("id")?,
        account: row.maybe_id("account_id")?,
        login: row.text("login")?,
        role: row.text("role")?.parse()?,
        has_password: password.is_some(),
        second_factor: row.flag("totp_on")?,
        created_us: row.number("created_us")?,
        disabled: row.flag("disabled")?,
        password,
        totp: row.maybe_text("totp")?,
        totp_step: row.number("totp_step")?,
    })
}

/// A login as it is kept: without spaces around, in small letters.
pub(super) fn normal(login: &str) -> String {
    login.trim().to_lowercase()
}

fn check_login(login: &str) -> Result<String> {
    let login = normal(login);
    let good = !login.is_empty()
        && login.len() <= LONGEST_LOGIN
        && login.chars().all(|c| c.is_alphanumeric() || "@._-+".contains(c));
    if good {
        Ok(login)
    } else {
        Err(Error::invalid("This cannot be a login")
            .with_hint("An e-mail address is best: letters, digits and @ . _ - +"))
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, login, role, password, totp, totp_on, totp_step, created_us, disabled FROM people ",
            $rest
        )
    };
}

impl Db {
    /// Adds somebody, who has no password yet, and invites them.
    ///
    /// # Errors
    /// `AlreadyExists` for a login that is taken; `InvalidInput` for a role that does not fit.
    pub(crate) async fn add_person(
        &self,
        vault: &Vault,
        new: &NewPerson<'_>,
        now_us: i64,
    ) -> Result<(Person, Invitation)> {
        if (new.role == Role::Administrator) != new.account.is_none() {
            return Err(Error::invalid("Administrators belong to the server, all other roles to an account"));
        }
        let (id, login) = (Id::random(), check_login(new.login)?);
        sqlx::query("INSERT INTO people (id, account_id, login, role, created_us) VALUES ($1, $2, $3, $4, $5)")
            .bind(id.as_str())
            .bind(new.account.map(Id::as_str))
            .bind(&login)
            .bind(new.role.word())
            .bind(now_us)
            .execute(self.pool())
            .await
            .map_err(|e| match Error::from(e) {
                e if e.kind() == ErrorKind::AlreadyExists => {
                    Error::new(ErrorKind::AlreadyExists, format!("'{login}' has a login already"))
                }
                e => e,
            })?;
        let invitation = self.invite(vault, &id, now_us).await?;
        Ok((self.person(&id).await?, invitation))
    }

    /// Makes a link by which somebody chooses a (new) password; earlier ones end.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn invite(&self, vault: &Vault, person: &Id, now_us: i64) -> Result<Invitation> {
        let invitation = Invitation { token: random_token(), expires_us: now_us + INVITATION_US };
        let mut tx = self.write().await?;
        sqlx::query("DELETE FROM invitations WHERE person_id = $1 OR expires_us < $2")
            .bind(person.as_str())
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO invitations (name, person_id, expires_us) VALUES ($1, $2, $3)")
            .bind(vault.token_name(&invitation.token))
            .bind(person.as_str())
            .bind(invitation.expires_us)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(invitation)
    }

    /// Whom an invitation is for.
    ///
    /// # Errors
    /// `NotFound` when it was used, ended, or never made.
    pub(crate) async fn invited(&self, vault: &Vault, token: &str, now_us: i64) -> Result<Person> {
        let row = sqlx::query("SELECT person_id FROM invitations WHERE name = $1 AND expires_us > $2")
            .bind(vault.token_name(token))
            .bind(now_us)
            .fetch_optional(self.pool())
            .await?;
        let gone = || {
            Error::not_found("This link was used already, or its time is over")
                .with_hint("Ask an administrator for a new one")
        };
        self.person(&row.ok_or_else(gone)?.id("person_id")?).await
    }

    /// Takes an invitation: sets the password and ends the link, every session and token of the person, and the second factor, for
    /// whoever lost it has no other way in. Who was there before with what they stole is not there any more.
    ///
    /// # Errors
    /// As [`Self::invited`]; `InvalidInput` for a poor password.
    pub(crate) async fn accept(&self, vault: &Vault, token: &str, password: &Password, now_us: i64) -> Result<Person> {
        let person = self.invited(vault, token, now_us).await?;
        password.check_chosen(&person.login)?;
        let hash = hashed(password).await?;
        let mut tx = self.write().await?;
        // Two who use one link at once: the second finds it gone.
        let ended = sqlx::query("DELETE FROM invitations WHERE name = $1")
            .bind(vault.token_name(token))
            .execute(&mut *tx)
            .await?;
        if ended.rows_affected() == 0 {
            return Err(Error::not_found("This link was used already"));
        }
        set_password(&mut tx, &person.id, &hash).await?;
        end_everything(&mut tx, &person.id).await?;
        sqlx::query("UPDATE people SET totp = NULL, totp_on = 0, totp_step = 0 WHERE id = $1")
            .bind(person.id.as_str())
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.person(&person.id).await
    }

    /// Sets a new password and ends every session of the person but one.
    ///
    /// # Errors
    /// `InvalidInput` for a poor password.
    pub(crate) async fn change_password(&self, person: &Person, password: &Password) -> Result<()> {
        password.check_chosen(&person.login)?;
        let hash = hashed(password).await?;
        let mut tx = self.write().await?;
        set_password(&mut tx, &person.id, &hash).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Somebody by their id.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn person(&self, id: &Id) -> Result<Person> {
        let row = sqlx::query(select!("WHERE id = $1")).bind(id.as_str()).fetch_optional(self.pool()).await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such person"))?)
    }

    /// Somebody by what they sign in by.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn person_by_login(&self, login: &str) -> Result<Option<Person>> {
        let row = sqlx::query(select!("WHERE login = $1")).bind(normal(login)).fetch_optional(self.pool()).await?;
        row.as_ref().map(read).transpose()
    }

    /// The people of an account, or the server's administrators.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn people(&self, account: Option<&Id>) -> Result<Vec<Person>> {
        let rows = match account {
            Some(account) => sqlx::query(select!("WHERE account_id = $1 ORDER BY login")).bind(account.as_str()),
            None => sqlx::query(select!("WHERE account_id IS NULL ORDER BY login")),
        };
        rows.fetch_all(self.pool()).await?.iter().map(read).collect()
    }

    /// Whether anybody can sign in at all.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn has_administrator(&self) -> Result<bool> {
        let row =
            sqlx::query("SELECT COUNT(*) AS many FROM people WHERE role = 'administrator' AND password IS NOT NULL")
                .fetch_one(self.pool())
                .await?;
        Ok(row.number("many")? > 0)
    }

    /// Changes what somebody may do, or whether they may sign in.
    ///
    /// # Errors
    /// `InvalidInput` when no administrator would be left; `NotFound`.
    pub(crate) async fn change_person(&self, person: &Person, role: Role, disabled: bool) -> Result<()> {
        if (role == Role::Administrator) != person.account.is_none() {
            return Err(Error::invalid("Administrators belong to the server, all other roles to an account"));
        }
        let mut tx = self.write().await?;
        sqlx::query("UPDATE people SET role = $1, disabled = $2 WHERE id = $3")
            .bind(role.word())
            .bind(i64::from(disabled))
            .bind(person.id.as_str())
            .execute(&mut *tx)
            .await?;
        if disabled {
            end_everything(&mut tx, &person.id).await?;
        }
        need_administrator(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Removes somebody with their sessions and tokens.
    ///
    /// # Errors
    /// `InvalidInput` when no administrator would be left.
    pub(crate) async fn remove_person(&self, person: &Id) -> Result<()> {
        let mut tx = self.write().await?;
        end_everything(&mut tx, person).await?;
        sqlx::query("DELETE FROM invitations WHERE person_id = $1").bind(person.as_str()).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM drafts WHERE person_id = $1").bind(person.as_str()).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM people WHERE id = $1").bind(person.as_str()).execute(&mut *tx).await?;
        need_administrator(&mut tx).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Begins to set up a second factor; it is asked for once [`Self::confirm_second_factor`] saw a code of it.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn begin_second_factor(&self, vault: &Vault, person: &Id, secret: &str) -> Result<()> {
        sqlx::query("UPDATE people SET totp = $1, totp_on = 0, totp_step = 0 WHERE id = $2 AND totp_on = 0")
            .bind(vault.seal(&totp_place(person), secret))
            .bind(person.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Turns the second factor on, after a code of it.
    ///
    /// # Errors
    /// `InvalidInput` for a wrong code.
    pub(crate) async fn confirm_second_factor(
        &self,
        vault: &Vault,
        person: &Person,
        code: &str,
        now_us: i64,
    ) -> Result<()> {
        if !self.check_code(vault, person, code, now_us).await? {
            return Err(Error::invalid("The code is not right").with_hint("Type the six digits that the app shows now"));
        }
        sqlx::query("UPDATE people SET totp_on = 1 WHERE id = $1")
            .bind(person.id.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Turns the second factor off.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn end_second_factor(&self, person: &Id) -> Result<()> {
        sqlx::query("UPDATE people SET totp = NULL, totp_on = 0, totp_step = 0 WHERE id = $1")
            .bind(person.as_str())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Says whether a code is good now, and uses it up.
    pub(super) async fn check_code(&self, vault: &Vault, person: &Person, code: &str, now_us: i64) -> Result<bool> {
        let Some(sealed) = &person.totp else { return Ok(false) };
        let secret = vault.open_sealed(&totp_place(&person.id), sealed)?;
        let Some(step) = totp::check(&secret, code, now_us, person.totp_step)? else { return Ok(false) };
        let used = sqlx::query("UPDATE people SET totp_step = $1 WHERE id = $2 AND totp_step < $1")
            .bind(step)
            .bind(person.id.as_str())
            .execute(self.pool())
            .await?;
        Ok(used.rows_affected() == 1)
    }
}

fn totp_place(person: &Id) -> String {
    format!("people/{person}/totp")
}

/// Hashes off the reactor.
pub(super) async fn hashed(password: &Password) -> Result<String> {
    let password = password.clone();
    tokio::task::spawn_blocking(move || password.hash())
        .await
        .map_err(|e| Error::internal("A worker thread ended early").with_source(e))?
}

type Tx = sqlx::Transaction<'static, sqlx::Any>;

async fn set_password(tx: &mut Tx, person: &Id, hash: &str) -> Result<()> {
    sqlx::query("UPDATE people SET password = $1 WHERE id = $2")
        .bind(hash)
        .bind(person.as_str())
        .execute(&mut **tx)
        .await?;
    sqlx::query("DELETE FROM sessions WHERE person_id = $1").bind(person.as_str()).execute(&mut **tx).await?;
    Ok(())
}

async fn end_everything(tx: &mut Tx, person: &Id) -> Result<()> {
    sqlx::query("DELETE FROM sessions WHERE person_id = $1").bind(person.as_str()).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM tokens WHERE person_id = $1").bind(person.as_str()).execute(&mut **tx).await?;
    Ok(())
}

async fn need_administrator(tx: &mut Tx) -> Result<()> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS many FROM people WHERE role = 'administrator' AND disabled = 0 AND password IS NOT NULL",
    )
    .fetch_one(&mut **tx)
    .await?;
    if row.number("many")? > 0 {
        return Ok(());
    }
    Err(Error::invalid("Nobody would be left who can administer the server")
        .with_hint("Add another administrator first"))
}
