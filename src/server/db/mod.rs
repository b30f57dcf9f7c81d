//! The database: SQLite by default, PostgreSQL for more. One SQL text serves both (`$1` is understood by either).
//!
//! Each file holds the queries of one thing. A query about something of an account names the account too.

mod accounts;
mod adopt;
mod clients;
mod days;
mod drafts;
mod due;
mod held;
mod history;
mod jobs;
mod keys;
mod left_behind;
mod logical;
mod migrate;
mod outbox;
mod protected;
mod receivers;
mod repositories;
mod restores;
mod runs;
mod sets;
mod settings;
mod sign_ins;
mod stored;
mod tenants;
mod trouble;
mod used;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyPool, Executor as _, Row as _, Transaction};

use crate::error::{Error, ErrorKind, Result};
use crate::server::id::Id;

pub(crate) use accounts::{Account, Entitlements};
pub(crate) use clients::{ClientRow, ClientToBe, Handed};
pub(crate) use days::{Day, Ran};
pub(crate) use due::Start;
pub(crate) use held::changed as sign_in_changed;
pub(crate) use jobs::{AtOnce, Job, JobKind, JobState, NewJob};
pub(crate) use keys::GoneKeys;
pub(crate) use left_behind::LeftBehind;
pub(crate) use outbox::{Delivery, DeliveryState, EndedJob, NewDelivery, Room};
pub(crate) use protected::Protected;
pub(crate) use receivers::{
    DigestTime, NewReceiver, Receiver, ReceiverDefinition, ReceiverKind, ReceiverSecret, RunsTold,
};
pub(crate) use repositories::{DestinationRow, NewDestination, NewRepository, RepositoryRow};
pub(crate) use restores::{Asking, NewRestore, Part, RestoreRow};
pub(crate) use runs::{NewRun, Newest, RunRow};
pub(crate) use sets::{Due, ScheduleRow, SetRow, SetToBe};
pub(crate) use sign_ins::{SignInKind, SignInRow, SignInState};
pub(crate) use tenants::{Refused, RestoreApp, SignInWay, SignedInUser, Tenant, TenantDefinition};
pub(crate) use trouble::{Lagging, Trouble};
pub(crate) use used::{Grown, Used};

/// Connections of one process.
const MOST_CONNECTIONS: u32 = 16;
const WAIT_FOR_CONNECTION: Duration = Duration::from_secs(10);

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// A file.
    Sqlite,
    /// A server.
    Postgres,
}

/// What it is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    All,
    Reading,
}

/// An open database.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pool: AnyPool,
    engine: Engine,
}

impl Db {
    /// Opens a database and brings its tables up to date: the one at `url`, or SQLite in the folder.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer; `UnsupportedVersion` when a newer program wrote it.
    pub(crate) async fn open(url: Option<&str>, folder: &Path) -> Result<Self> {
        let db = Self::connect(url, folder, Use::All).await?;
        db.migrate().await?;
        Ok(db)
    }

    /// Opens a database that is there, of this version or an older one, to read it alone: nothing in it is changed, whatever is
    /// asked for.
    ///
    /// # Errors
    /// As [`Self::open`]; `NotFound` when it is none of a server's.
    pub(crate) async fn open_to_read(url: Option<&str>, folder: &Path) -> Result<Self> {
        let db = Self::connect(url, folder, Use::Reading).await?;
        db.check_readable().await?;
        Ok(db)
    }

    async fn connect(url: Option<&str>, folder: &Path, used: Use) -> Result<Self> {
        sqlx::any::install_default_drivers();
        let (url, engine) = match url {
            Some(url) if url.starts_with("postgres:") || url.starts_with("postgresql:") => {
                (url.to_owned(), Engine::Postgres)
            }
            Some(_) => {
                return Err(Error::invalid("The database's address begins with neither postgres: nor postgresql:")
                    .with_hint("Leave it out for SQLite in the server's folder"));
            }
            None => (sqlite_url(folder, used)?, Engine::Sqlite),
        };
        let options = AnyConnectOptions::from_str(&url).map_err(|_| {
            Error::invalid("The database's address cannot be read").with_hint("postgres://user@host/name")
        })?;
        let pool = AnyPoolOptions::new()
            .max_connections(MOST_CONNECTIONS)
            .acquire_timeout(WAIT_FOR_CONNECTION)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    let wanted = match (engine, used) {
                        // Durable at each commit; readers do not wait for the writer.
                        (Engine::Sqlite, Use::All) => {
                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                             PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON"
                        }
                        (Engine::Sqlite, Use::Reading) => "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON",
                        (Engine::Postgres, Use::All) => return Ok(()),
                        (Engine::Postgres, Use::Reading) => "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
                    };
                    connection.execute(wanted).await?;
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        Ok(Self { pool, engine })
    }

    /// Which database it is.
    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }

    /// Where queries run.
    pub(crate) fn pool(&self) -> &AnyPool {
        &self.pool
    }

    /// Begins a transaction that writes: with SQLite it takes the lock at once, so that it never fails half-way for
    /// having read what another changed.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, Any>> {
        let begin = match self.engine {
            Engine::Sqlite => "BEGIN IMMEDIATE",
            Engine::Postgres => "BEGIN",
        };
        // In a task of its own: who asks may be dropped meanwhile, and of a transaction that began half nobody would know, while a
        // connection of PostgreSQL went on in it. One that began whole is rolled back when it is dropped.
        let pool = self.pool.clone();
        let begun = tokio::spawn(async move { pool.begin_with(begin).await }).await;
        Ok(begun.map_err(|e| Error::internal("A task of the database ended early").with_source(e))??)
    }

    /// Says whether it answers.
    ///
    /// # Errors
    /// `Unavailable` when not.
    pub(crate) async fn ping(&self) -> Result<()> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    /// Closes all connections, after what they are doing.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

fn sqlite_url(folder: &Path, used: Use) -> Result<String> {
    let path = folder.join("server.db");
    let path = path.to_str().ok_or_else(|| Error::invalid("The server's folder has a name that is not UTF-8"))?;
    // The path is a path, whatever it holds.
    let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let mode = match used {
        Use::All => "rwc",
        Use::Reading => "ro",
    };
    Ok(format!("sqlite://{path}?mode={mode}"))
}

/// Where a list goes on, from the newest back: before a time, and of the rows of that very time before one. Without a row, none of
/// that time.
#[derive(Debug, Clone)]
pub(crate) struct Before {
    /// The time.
    pub(crate) us: i64,
    /// The row that was seen last.
    pub(crate) id: Option<Id>,
}

impl Before {
    /// From the newest on.
    pub(crate) const NOTHING: Self = Self { us: i64::MAX, id: None };

    /// What somebody asks for.
    pub(crate) fn of(us: Option<i64>, id: Option<Id>) -> Self {
        us.map_or(Self::NOTHING, |us| Self { us, id })
    }

    /// For a column: no id is less than nothing.
    fn id(&self) -> &str {
        self.id.as_ref().map_or("", Id::as_str)
    }
}

/// A value as JSON, for a column.
fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal("A value cannot be kept as JSON").with_source(e))
}

/// A value from JSON in a column.
fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::corrupt("The database holds JSON that cannot be read").with_source(e))
}

/// Says which name is taken already.
fn taken(e: sqlx::Error, what: &str, name: &str) -> Error {
    match Error::from(e) {
        e if e.kind() == ErrorKind::AlreadyExists => {
            Error::new(ErrorKind::AlreadyExists, format!("There is a {what} '{name}' already"))
                .with_hint("Choose another name")
        }
        e => e,
    }
}

/// Fails when nothing was there to change.
fn need_one(changed: u64, what: &str) -> Result<()> {
    if changed == 0 { Err(Error::not_found(format!("There is no such {what}"))) } else { Ok(()) }
}

/// Reads columns of a row.
pub(crate) trait Columns {
    /// Text.
    fn text(&self, column: &str) -> Result<String>;
    /// Text, or nothing.
    fn maybe_text(&self, column: &str) -> Result<Option<String>>;
    /// A number.
    fn number(&self, column: &str) -> Result<i64>;
    /// A number, or nothing.
    fn maybe_number(&self, column: &str) -> Result<Option<i64>>;
    /// An id.
    fn id(&self, column: &str) -> Result<Id> {
        Id::parse(&self.text(column)?)
    }
    /// An id, or nothing.
    fn maybe_id(&self, column: &str) -> Result<Option<Id>> {
        self.maybe_text(column)?.as_deref().map(Id::parse).transpose()
    }
    /// Yes or no.
    fn flag(&self, column: &str) -> Result<bool> {
        Ok(self.number(column)? != 0)
    }
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: &str) -> Result<Option<String>> {
        Ok(self.try_get(column)?)
    }

    fn number(&self, column: &str) -> Result<i64> {
        Ok(self.try_get(column)?)
    }

    fn maybe_number(&self, column: &str) -> Result<Option<i64>> {
        Ok(self.try_get(column)?)
    }
}

impl From<sqlx::Error> for Error {
    fn from(e: sqlx::Error) -> Self {
        use sqlx::Error as Sql;
        let unavailable = |text: &str| {
            Self::new(ErrorKind::Unavailable, text).with_hint("Try again; if it stays so, look at the database's log")
        };
        match &e {
            Sql::RowNotFound => Self::not_found("There is no such row"),
            Sql::Database(inner) if inner.is_unique_violation() => {
                Self::new(ErrorKind::AlreadyExists, "There is one with this name already")
                    .with_hint("Choose another name")
            }
            Sql::Database(inner) if inner.is_foreign_key_violation() => {
                Self::new(ErrorKind::AlreadyExists, "Something else still refers to this")
                    .with_hint("Remove that first")
            }
            // SQLite: 5 is busy, 6 locked, 10 an I/O error, 13 a full disk. PostgreSQL: class 53 is a lack of resources,
            // 57P of the server going away, 08 of connections.
            Sql::Database(inner) => match inner.code().as_deref() {
                Some("13" | "53100") => Self::new(ErrorKind::StorageFull, "The database's disk is full"),
                Some(code) if is_passing(code) => unavailable("The database cannot do this now"),
                _ => Self::internal("The database refuses a query"),
            },
            Sql::Io(_) | Sql::PoolTimedOut | Sql::PoolClosed | Sql::WorkerCrashed | Sql::Tls(_) | Sql::Protocol(_) => {
                unavailable("The database does not answer")
            }
            _ => Self::internal("The database gives something that cannot be read"),
        }
        .with_source(e)
    }
}

/// Bounds how long something may take that waits for the database, and for nothing else that may take long: one that is gone without a
/// word never answers. What is not done by then is let go of half-way.
///
/// # Errors
/// `Unavailable` when it takes longer; else its own.
pub(crate) async fn in_time<T>(longest: Duration, what: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(longest, what).await {
        Ok(done) => done,
        Err(_) => {
            let text = format!("The database does not answer within {} s", longest.as_secs());
            Err(Error::new(ErrorKind::Unavailable, text).with_hint("If it stays so, look at the database's log"))
        }
    }
}

/// Whether it failed because the database did not answer, and not because storage or Microsoft did not.
pub(crate) fn is_away(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(of) = cause.filter(|cause| !cause.is::<sqlx::Error>()) {
        cause = of.source();
    }
    error.kind() == ErrorKind::Unavailable && cause.is_some()
}

fn is_passing(code: &str) -> bool {
    // SQLite's codes say more than their kind, which stands in the lowest eight bits: 778 is an I/O error, in writing.
    if let Some(code) = code.parse::<u32>().ok().filter(|_| code.len() < 5) {
        return matches!(code & 0xff, 5 | 6 | 10);
    }
    ["53", "57P", "08", "40"].iter().any(|class| code.len() == 5 && code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_that_is_gone_without_a_word_is_waited_for_a_while_only() {
        let never = in_time(Duration::from_millis(1), std::future::pending::<Result<()>>()).await;
        assert_eq!(never.expect_err("it never answers").kind(), ErrorKind::Unavailable);
        assert_eq!(in_time(Duration::from_secs(3_600), std::future::ready(Ok(7))).await.expect("at once"), 7);
        let own = in_time(Duration::from_secs(3_600), std::future::ready(Err::<(), _>(Error::not_found("x")))).await;
        assert_eq!(own.expect_err("its own").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn only_a_database_that_does_not_answer_is_away() {
        let away = Error::from(sqlx::Error::PoolTimedOut);
        assert!(is_away(&away));
        assert!(is_away(&Error::new(ErrorKind::Unavailable, "A run cannot be noted").with_source(away)));
        assert!(!is_away(&Error::from(sqlx::Error::RowNotFound)));
        assert!(!is_away(&Error::new(ErrorKind::Unavailable, "The storage does not answer")));
    }
}
