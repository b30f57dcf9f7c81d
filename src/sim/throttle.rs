//! Microsoft's limits (REFERENCE section 4): mailboxes by requests at once and per 10 minutes, files by
//! resource units per minute and day, the directory by units per 10 seconds, Teams by requests a second. Throttled calls count too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::options::Limits;
use super::reply::Reply;

/// What a request is counted against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    Nothing,
    /// A mailbox (user number).
    Mailbox(usize),
    /// Resource units of SharePoint and OneDrive.
    Files(u64),
    /// Units of the directory.
    Directory(u64),
    /// Teams: a kind of call, and the one team or channel that it is about (0: none).
    Teams(TeamsKind, u64),
}

/// Kinds of calls to Teams that are limited apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum TeamsKind {
    /// Team, channel, tabs, installed apps.
    Team,
    /// Channels, members, members of channels.
    Channels,
    /// Messages of channels and chats.
    Message,
    /// `getAllMessages`.
    Export,
    Other,
}

impl TeamsKind {
    /// Requests a second per app and tenant.
    fn limit(self) -> u64 {
        match self {
            Self::Team | Self::Other => 30,
            Self::Channels => 60,
            Self::Message => 20,
            Self::Export => 200,
        }
    }
}

/// Requests a second of any one team or channel.
const ONE_TEAM: u64 = 4;
/// Mailboxes of groups are counted under their number and this.
pub(super) const GROUP_MAILBOXES: usize = 1 << 40;

/// A fixed window of time with a count.
#[derive(Debug)]
struct Window {
    length: Duration,
    since: Instant,
    used: u64,
}

impl Window {
    fn new(length: Duration) -> Self {
        Self { length, since: Instant::now(), used: 0 }
    }

    /// Counts; returns how much is used in this window and how long it still lasts.
    fn count(&mut self, units: u64) -> (u64, Duration) {
        if self.since.elapsed() >= self.length {
            self.since = Instant::now();
            self.used = 0;
        }
        self.used += units;
        (self.used, self.length.saturating_sub(self.since.elapsed()))
    }
}

#[derive(Debug)]
struct Lane {
    window: Window,
    at_once: u32,
    most_at_once: u32,
    /// The first request.
    since: Instant,
    /// What was let through in each stretch of a window's length since then.
    spent: Vec<u32>,
}

impl Lane {
    fn new(length: Duration) -> Self {
        Self { window: Window::new(length), at_once: 0, most_at_once: 0, since: Instant::now(), spent: Vec::new() }
    }

    fn note_spent(&mut self) {
        let stretch = self.since.elapsed().as_micros() / self.window.length.as_micros().max(1);
        let stretch = usize::try_from(stretch).unwrap_or(usize::MAX).min(MOST_STRETCHES);
        if self.spent.len() <= stretch {
            self.spent.resize(stretch + 1, 0);
        }
        self.spent[stretch] += 1;
    }
}

/// How many stretches are told apart; a simulation that goes on longer counts the rest into one.
const MOST_STRETCHES: usize = 10_000;

/// Bytes that a mailbox takes in 5 minutes.
const MAILBOX_UPLOAD: u64 = 150 << 20;

/// Counts of all limits.
#[derive(Debug)]
pub(super) struct Throttle {
    limits: Limits,
    mailboxes: Mutex<HashMap<usize, Lane>>,
    /// Bytes sent into mailboxes.
    uploads: Mutex<HashMap<usize, Window>>,
    files: Mutex<[Window; 2]>,
    directory: Mutex<Window>,
    teams: Mutex<HashMap<(Option<TeamsKind>, u64), Window>>,
    units: Mutex<u64>,
}

/// Holds a place in a mailbox's lane until the answer is made.
#[derive(Debug)]
pub(super) struct Pass {
    throttle: Arc<Throttle>,
    mailbox: Option<usize>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(number) = self.mailbox
            && let Some(lane) = lock(&self.throttle.mailboxes).get_mut(&number)
        {
            lane.at_once = lane.at_once.saturating_sub(1);
        }
    }
}

/// What a request may do: go on, with headers to add, or be told to wait.
pub(super) type Verdict = Result<(Pass, Vec<(&'static str, String)>), Reply>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Units a minute and a day by licences.
fn table(licences: u32) -> (u64, u64) {
    let step = match licences {
        0..=1_000 => 1,
        1_001..=5_000 => 2,
        5_001..=15_000 => 3,
        15_001..=50_000 => 4,
        _ => 5,
    };
    (1_250 * step, 1_200_000 * step)
}

impl Throttle {
    pub(super) fn new(limits: Limits) -> Self {
        let scaled = |seconds: f64| Duration::from_secs_f64(seconds / limits.time_scale.max(1e-6));
        Self {
            mailboxes: Mutex::new(HashMap::new()),
            uploads: Mutex::new(HashMap::new()),
            files: Mutex::new([Window::new(scaled(60.0)), Window::new(scaled(86_400.0))]),
            directory: Mutex::new(Window::new(scaled(10.0))),
            teams: Mutex::new(HashMap::new()),
            units: Mutex::new(0),
            limits,
        }
    }

    /// Counts a request and says whether it may go on.
    pub(super) fn admit(self: &Arc<Self>, charge: Charge, licences: u32) -> Verdict {
        let free = |mailbox| Pass { throttle: self.clone(), mailbox };
        match charge {
            Charge::Nothing => Ok((free(None), vec![])),
            Charge::Mailbox(number) => self.mailbox(number).map(|()| (free(Some(number)), vec![])),
            Charge::Files(units) => self.files(units, licences).map(|headers| (free(None), headers)),
            Charge::Directory(units) => self.directory(units, licences).map(|()| (free(None), vec![])),
            Charge::Teams(kind, one) => self.teams(kind, one).map(|()| (free(None), vec![])),
        }
    }

    /// The same for a request that brings so many bytes: a mailbox takes 150 MB in 5 minutes.
    pub(super) fn admit_upload(self: &Arc<Self>, charge: Charge, licences: u32, bytes: usize) -> Verdict {
        if let (Charge::Mailbox(number), true, true) = (charge, bytes > 0, self.limits.mailbox_requests.is_some()) {
            let length = Duration::from_secs_f64(300.0 / self.limits.time_scale.max(1e-6));
            let mut windows = lock(&self.uploads);
            let (used, left) = windows.entry(number).or_insert_with(|| Window::new(length)).count(bytes as u64);
            if used > MAILBOX_UPLOAD {
                let message = "Application is over its UploadedBytes limit.";
                return Err(Reply::fail(429, "ApplicationThrottled", message).header("Retry-After", seconds(left)));
            }
        }
        self.admit(charge, licences)
    }

    fn mailbox(&self, number: usize) -> Result<(), Reply> {
        let mut lanes = lock(&self.mailboxes);
        let length = Duration::from_secs_f64(600.0 / self.limits.time_scale.max(1e-6));
        let lane = lanes.entry(number).or_insert_with(|| Lane::new(length));
        let (used, left) = lane.window.count(1);
        lane.most_at_once = lane.most_at_once.max(lane.at_once + 1);
        if self.limits.mailbox_concurrency.is_some_and(|most| lane.at_once >= most) {
            let message = "Application is over its MailboxConcurrency limit.";
            return Err(Reply::fail(429, "ApplicationThrottled", message).header("Retry-After", "1"));
        }
        if self.limits.mailbox_requests.is_some_and(|most| used > most.into()) {
            let message = "Application is over its RequestsPer10Minutes limit.";
            return Err(Reply::fail(429, "ApplicationThrottled", message).header("Retry-After", seconds(left)));
        }
        lane.at_once += 1;
        if self.limits.mailbox_requests.is_some() {
            lane.note_spent();
        }
        Ok(())
    }

    fn files(&self, units: u64, licences: u32) -> Result<Vec<(&'static str, String)>, Reply> {
        *lock(&self.units) += units;
        if !self.limits.files {
            return Ok(vec![]);
        }
        let (minute, day) = table(self.limits.licences.unwrap_or(licences));
        let minute = self.limits.files_minute_units.unwrap_or(minute);
        let day = self.limits.files_day_units.unwrap_or(day);
        let mut windows = lock(&self.files);
        let (used, left) = windows[0].count(units);
        let (used_today, left_today) = windows[1].count(units);
        drop(windows);
        let headers = |used: u64, limit: u64, left: Duration| {
            vec![
                ("RateLimit-Limit", limit.to_string()),
                ("RateLimit-Remaining", limit.saturating_sub(used).to_string()),
                ("RateLimit-Reset", whole_seconds(left)),
            ]
        };
        for (used, limit, left) in [(used, minute, left), (used_today, day, left_today)] {
            if used > limit {
                // SharePoint's own refusal has no body.
                let mut reply = Reply::status(429).header("Retry-After", seconds(left));
                reply.headers.extend(headers(used, limit, left));
                return Err(reply);
            }
        }
        Ok(if used * 10 >= minute * 8 { headers(used, minute, left) } else { vec![] })
    }

    fn directory(&self, units: u64, licences: u32) -> Result<(), Reply> {
        let limit = match self.limits.licences.unwrap_or(licences) {
            0..50 => 3_500,
            50..=500 => 5_000,
            _ => 8_000,
        };
        let (used, left) = lock(&self.directory).count(units);
        if self.limits.directory && used > limit {
            return Err(
                Reply::fail(429, "TooManyRequests", "Please retry again later.").header("Retry-After", seconds(left))
            );
        }
        Ok(())
    }

    fn teams(&self, kind: TeamsKind, one: u64) -> Result<(), Reply> {
        let length = Duration::from_secs_f64(1.0 / self.limits.time_scale.max(1e-6));
        let mut windows = lock(&self.teams);
        let mut count = |key| windows.entry(key).or_insert_with(|| Window::new(length)).count(1);
        let (used, left) = count((Some(kind), 0));
        let (used_one, left_one) = if one == 0 { (0, left) } else { count((None, one)) };
        for (used, limit, left) in [(used, kind.limit(), left), (used_one, ONE_TEAM, left_one)] {
            if self.limits.teams && used > limit {
                let text = "Too many requests. Please retry again later.";
                return Err(Reply::fail(429, "TooManyRequests", text).header("Retry-After", seconds(left)));
            }
        }
        Ok(())
    }

    /// Most requests at once that a mailbox saw.
    pub(super) fn most_at_once(&self) -> HashMap<usize, u32> {
        lock(&self.mailboxes).iter().map(|(number, lane)| (*number, lane.most_at_once)).collect()
    }

    /// What each mailbox was let through in each stretch of a window's length since its first request.
    pub(super) fn spent(&self) -> HashMap<usize, Vec<u32>> {
        lock(&self.mailboxes).iter().map(|(number, lane)| (*number, lane.spent.clone())).collect()
    }

    /// Resource units used in all.
    pub(super) fn units(&self) -> u64 {
        *lock(&self.units)
    }
}

/// Seconds with fractions, as the service may give them.
fn seconds(left: Duration) -> String {
    format!("{:.3}", left.as_secs_f64().max(0.001))
}

fn whole_seconds(left: Duration) -> String {
    (left.as_secs_f64().ceil() as u64).max(1).to_string()
}
