//! What is to be sent to receivers, and what became of it. An event is told once to each: a second row of the same is not
//! added.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{Any, Transaction};
use utoipa::ToSchema;

use super::{Before, Columns as _, Db};
use crate::error::{Error, Result};
use crate::server::id::Id;

/// How something that is to be sent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DeliveryState {
    /// It waits for its time, or for another try.
    Waiting,
    /// The receiver has it.
    Sent,
    /// It was tried too long.
    GivenUp,
}

/// Something that is to be sent, or was.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    /// The row's id, which goes along with it.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// Where to.
    pub(crate) receiver: Id,
    /// What is told: JSON.
    pub(crate) notice: String,
    /// How it stands.
    pub(crate) state: DeliveryState,
    /// How often it was tried.
    pub(crate) attempts: i64,
    /// When it came up.
    pub(crate) created_us: i64,
    /// When it is tried next.
    pub(crate) next_us: i64,
    /// When it was sent or given up.
    pub(crate) ended_us: Option<i64>,
    /// Why the last try did not work.
    pub(crate) error: Option<String>,
}

/// Something to send.
#[derive(Debug, Clone)]
pub(crate) struct NewDelivery<'a> {
    /// The account.
    pub(crate) account: &'a Id,
    /// Where to.
    pub(crate) receiver: &'a Id,
    /// What it tells of: "job ID".
    pub(crate) event: &'a str,
    /// What is told: JSON.
    pub(crate) notice: &'a str,
}

/// How much is taken to be sent.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    /// At once.
    pub(crate) most: usize,
    /// Of one account.
    pub(crate) of_account: usize,
    /// To one receiver.
    pub(crate) of_receiver: usize,
    /// The accounts and receivers of what is being sent, which counts in all three.
    pub(crate) taken: &'a [(Id, Id)],
}

impl Room<'_> {
    /// Whether no more goes out of an account, and to a receiver.
    fn is_full(&self, taken: &[(Id, Id)], account: &Id, receiver: &Id) -> (bool, bool) {
        let of_account = taken.iter().filter(|(of, _)| of == account).count();
        let to_receiver = taken.iter().filter(|(_, to)| to == receiver).count();
        (of_account >= self.of_account, to_receiver >= self.of_receiver)
    }

    /// Accounts and receivers that are full: ids with spaces between.
    fn full(&self) -> String {
        let mut full = Vec::new();
        for (account, receiver) in self.taken {
            let (of_account, to_receiver) = self.is_full(self.taken, account, receiver);
            full.extend(of_account.then_some(account.as_str()));
            full.extend(to_receiver.then_some(receiver.as_str()));
        }
        full.join(" ")
    }

    /// Of what is there, in its order, as much as has room.
    fn fit(&self, there: Vec<Delivery>) -> Vec<Delivery> {
        let (mut taken, mut fits) = (self.taken.to_vec(), Vec::new());
        for delivery in there {
            if taken.len() < self.most && self.is_full(&taken, &delivery.account, &delivery.receiver) == (false, false)
            {
                taken.push((delivery.account.clone(), delivery.receiver.clone()));
                fits.push(delivery);
            }
        }
        fits
    }
}

/// A job that ended, of which nobody was told yet.
#[derive(Debug, Clone)]
pub(crate) struct EndedJob {
    /// The job.
    pub(crate) id: Id,
    /// The account.
    pub(crate) account: Id,
    /// "backup", "prune", …
    pub(crate) kind: String,
    /// "done", "gaps", "failed", "cancelled", "missed".
    pub(crate) state: String,
    /// The set.
    pub(crate) set: Option<Id>,
    /// Its name.
    pub(crate) set_name: Option<String>,
    /// The repository's name.
    pub(crate) repository_name: Option<String>,
    /// When it ended.
    pub(crate) ended_us: i64,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, account_id, receiver_id, notice, state, attempts, created_us, next_us, ended_us, error FROM outbox ",
            $rest
        )
    };
}

/// What is due and has room. Of each account the first comes first, then the second of each, and so on; within an account it goes
/// likewise by receivers.
const DUE: &str = select!(
    "JOIN (SELECT c.id AS due_id, c.turn FROM (SELECT b.id, b.next_us, \
     ROW_NUMBER() OVER (PARTITION BY b.account_id ORDER BY b.turn, b.next_us, b.id) AS turn FROM (\
     SELECT a.id, a.account_id, a.next_us, \
     ROW_NUMBER() OVER (PARTITION BY a.receiver_id ORDER BY a.next_us, a.id) AS turn FROM outbox a \
     WHERE a.state = 'waiting' AND a.next_us <= $1 AND $2 NOT LIKE '%' || a.account_id || '%' \
     AND $2 NOT LIKE '%' || a.receiver_id || '%') b WHERE b.turn <= $3) c WHERE c.turn <= $4 \
     ORDER BY c.turn, c.next_us, c.id LIMIT $5) d ON d.due_id = id ORDER BY d.turn, next_us, id"
);

fn read(row: &AnyRow) -> Result<Delivery> {
    Ok(Delivery {
        id: row.id("id")?,
        account: row.id("account_id")?,
        receiver: row.id("receiver_id")?,
        notice: row.text("notice")?,
        state: super::from_json(&format!("\"{}\"", row.text("state")?))?,
        attempts: row.number("attempts")?,
        created_us: row.number("created_us")?,
        next_us: row.number("next_us")?,
        ended_us: row.maybe_number("ended_us")?,
        error: row.maybe_text("error")?,
    })
}

async fn insert(tx: &mut Transaction<'static, Any>, new: &NewDelivery<'_>, now_us: i64) -> Result<Option<Id>> {
    let id = Id::random();
    let added = sqlx::query(
        "INSERT INTO outbox (id, account_id, receiver_id, event, notice, state, created_us, next_us) \
         VALUES ($1, $2, $3, $4, $5, 'waiting', $6, $6) ON CONFLICT (receiver_id, event) DO NOTHING",
    )
    .bind(id.as_str())
    .bind(new.account.as_str())
    .bind(new.receiver.as_str())
    .bind(new.event)
    .bind(new.notice)
    .bind(now_us)
    .execute(&mut **tx)
    .await?;
    Ok((added.rows_affected() == 1).then_some(id))
}

impl Db {
    /// Puts something into the outbox. Gives nothing when the receiver was told of the event before.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn post(&self, new: &NewDelivery<'_>, now_us: i64) -> Result<Option<Id>> {
        let mut tx = self.write().await?;
        let id = insert(&mut tx, new, now_us).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Jobs that ended and of which nobody was told yet.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn unnoticed_jobs(&self, most: i64) -> Result<Vec<EndedJob>> {
        let rows = sqlx::query(
            "SELECT j.id AS id, j.account_id AS account_id, j.kind AS kind, j.state AS state, j.set_id AS set_id, \
             s.name AS set_name, r.name AS repository_name, j.ended_us AS ended_us, j.error AS error \
             FROM jobs j LEFT JOIN sets s ON s.id = j.set_id LEFT JOIN repositories r ON r.id = j.repository_id \
             WHERE j.noticed = 0 AND j.ended_us IS NOT NULL ORDER BY j.ended_us LIMIT $1",
        )
        .bind(most)
        .fetch_all(self.pool())
        .await?;
        let read = |row: &AnyRow| {
            Ok(EndedJob {
                id: row.id("id")?,
                account: row.id("account_id")?,
                kind: row.text("kind")?,
                state: row.text("state")?,
                set: row.maybe_id("set_id")?,
                set_name: row.maybe_text("set_name")?,
                repository_name: row.maybe_text("repository_name")?,
                ended_us: row.number("ended_us")?,
                error: row.maybe_text("error")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Notes in one that jobs were told of, and puts what is told into the outbox: either all of it, or, when the process
    /// dies, nothing, and it is done again.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn tell_of_jobs(&self, jobs: &[EndedJob], news: &[NewDelivery<'_>], now_us: i64) -> Result<()> {
        let mut tx = self.write().await?;
        for new in news {
            insert(&mut tx, new, now_us).await?;
        }
        for job in jobs {
            sqlx::query("UPDATE jobs SET noticed = 1 WHERE id = $1").bind(job.id.as_str()).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Moves a receiver's digest or ping on, unless another process did, and puts it into the outbox.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn tell_on_time(
        &self,
        due_us: i64,
        next_us: Option<i64>,
        new: &NewDelivery<'_>,
        now_us: i64,
    ) -> Result<()> {
        let mut tx = self.write().await?;
        let moved = sqlx::query("UPDATE receivers SET next_us = $1, told_us = $2 WHERE id = $3 AND next_us = $4")
            .bind(next_us)
            .bind(now_us)
            .bind(new.receiver.as_str())
            .bind(due_us)
            .execute(&mut *tx)
            .await?;
        if moved.rows_affected() == 1 {
            insert(&mut tx, new, now_us).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Passes over a notice that cannot be made: its receiver's next time comes.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn skip_notice(&self, receiver: &Id, due_us: i64, next_us: Option<i64>) -> Result<()> {
        sqlx::query("UPDATE receivers SET next_us = $1 WHERE id = $2 AND next_us = $3")
            .bind(next_us)
            .bind(receiver.as_str())
            .bind(due_us)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Tries again now what waits longer than it ever does: the clock was ahead when that was written.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn put_deliveries_right(&self, now_us: i64, longest_us: i64) -> Result<()> {
        sqlx::query("UPDATE outbox SET next_us = $1 WHERE state = 'waiting' AND next_us > $2")
            .bind(now_us)
            .bind(now_us + longest_us)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Takes what is due to be sent: nobody else takes it for `hold_us`. Who has much to be told leaves others their turn.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn take_deliveries(&self, now_us: i64, hold_us: i64, room: &Room<'_>) -> Result<Vec<Delivery>> {
        let number = |many: usize| i64::try_from(many).unwrap_or(i64::MAX);
        let rows = sqlx::query(DUE)
            .bind(now_us)
            .bind(room.full())
            .bind(number(room.of_receiver))
            .bind(number(room.of_account))
            .bind(number(room.most))
            .fetch_all(self.pool())
            .await?;
        let mut due = room.fit(rows.iter().map(read).collect::<Result<_>>()?);
        if due.is_empty() {
            return Ok(due);
        }
        // Another process takes some of the same: in one order, neither waits for the other for ever.
        due.sort_by(|one, other| one.id.cmp(&other.id));
        let (mut tx, mut taken) = (self.write().await?, Vec::new());
        for mut delivery in due {
            let moved = sqlx::query(
                "UPDATE outbox SET attempts = attempts + 1, next_us = $1 \
                 WHERE id = $2 AND attempts = $3 AND state = 'waiting' AND next_us <= $4",
            )
            .bind(now_us + hold_us)
            .bind(delivery.id.as_str())
            .bind(delivery.attempts)
            .bind(now_us)
            .execute(&mut *tx)
            .await?;
            if moved.rows_affected() == 1 {
                delivery.attempts += 1;
                taken.push(delivery);
            }
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// Notes what came of a try, unless another one was begun since. `next_us` is when it is tried again.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn end_delivery(
        &self,
        delivery: &Delivery,
        state: DeliveryState,
        error: Option<&str>,
        next_us: i64,
        now_us: i64,
    ) -> Result<()> {
        let word = match state {
            DeliveryState::Waiting => "waiting",
            DeliveryState::Sent => "sent",
            DeliveryState::GivenUp => "given-up",
        };
        sqlx::query(
            "UPDATE outbox SET state = $1, error = $2, next_us = $3, ended_us = $4 \
             WHERE id = $5 AND attempts = $6 AND state = 'waiting'",
        )
        .bind(word)
        .bind(error)
        .bind(next_us)
        .bind((state != DeliveryState::Waiting).then_some(now_us))
        .bind(delivery.id.as_str())
        .bind(delivery.attempts)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Deliveries of an account, the newest first.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn deliveries(&self, account: &Id, before: &Before, most: i64) -> Result<Vec<Delivery>> {
        let rows = sqlx::query(select!(
            "WHERE account_id = $1 AND created_us <= $2 AND (created_us < $2 OR id < $3) \
             ORDER BY created_us DESC, id DESC LIMIT $4"
        ))
        .bind(account.as_str())
        .bind(before.us)
        .bind(before.id())
        .bind(most)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(read).collect()
    }

    /// A delivery of an account.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn delivery(&self, account: &Id, id: &Id) -> Result<Delivery> {
        let row = sqlx::query(select!("WHERE id = $1 AND account_id = $2"))
            .bind(id.as_str())
            .bind(account.as_str())
            .fetch_optional(self.pool())
            .await?;
        read(&row.ok_or_else(|| Error::not_found("There is no such delivery"))?)
    }

    /// Forgets deliveries that ended before a time.
    ///
    /// # Errors
    /// As any query.
    pub(crate) async fn forget_deliveries(&self, before_us: i64) -> Result<()> {
        sqlx::query("DELETE FROM outbox WHERE state <> 'waiting' AND created_us < $1")
            .bind(before_us)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}
