//! The client's half: what `tenantvault agent` does on another machine than the server's. It asks the server for jobs, backs
//! up with what it is handed, and stores through the server's storage endpoint.
//!
//! What lies on its disk is a token; keys and the tenant's secret come with a job and stay in memory.

mod kept;
mod link;
mod work;

pub(crate) mod wire;

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::ops::backup::Stop;
use kept::Enrolment;
use link::Link;
use wire::{Enrolling, Offer};
use work::Done;

/// How often a client without work asks for some.
const ASK_EVERY: Duration = Duration::from_secs(10);
/// How often one asks whose work waits for what the server does.
const ASK_SOON: Duration = Duration::from_secs(1);
/// The longest pause when the server does not answer.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How a client works.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Where its enrolment is kept.
    pub folder: PathBuf,
    /// Where caches of repositories lie; none: nowhere.
    pub cache: Option<PathBuf>,
    /// A server without TLS on another machine will do: for networks in which everybody may read everything.
    pub insecure_http: bool,
}

/// What a client did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ran {
    /// Runs whose snapshots are whole.
    pub complete: u64,
    /// Runs that have gaps.
    pub gaps: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that were stopped, or went to somebody else.
    pub stopped: u64,
}

/// Enrolls this machine at a server by a one-time code. Gives the name that the account has for it.
///
/// # Errors
/// `Permission` for a code that is not good; `AlreadyExists` when the machine is enrolled already, unless it is to be anew.
pub async fn enroll(options: &AgentOptions, url: &str, code: &str, again: bool) -> Result<String> {
    if !again && let Some(known) = kept::read(&options.folder)? {
        let text = format!("This machine is enrolled already, as '{}' at {}", known.name, known.url);
        return Err(Error::new(ErrorKind::AlreadyExists, text).with_hint("Say --again to enroll it anew"));
    }
    let url = link::base(url, options.insecure_http)?;
    let enrolling = Enrolling { code: code.to_owned().into(), version: VERSION.to_owned() };
    let enrolled = Link::new(&url, Zeroizing::new(String::new()))?.enroll(&enrolling).await?;
    let name = enrolled.name.clone();
    kept::write(&options.folder, &Enrolment::of(&url, enrolled))?;
    Ok(name)
}

/// Works until `stop`; with `once`, until nothing is due. `tell` hears in words what is going on.
///
/// # Errors
/// `NotFound` when the machine is not enrolled; `Permission` when the server does not know it any more; with `once` also when
/// the server does not answer.
pub async fn work(options: &AgentOptions, once: bool, stop: &Stop, tell: &(dyn Fn(&str) + Sync)) -> Result<Ran> {
    let enrolment = kept::read(&options.folder)?.ok_or_else(|| {
        Error::not_found("This machine is not enrolled at a server")
            .with_hint("Ask for a one-time code there (the page Clients), and run tenantvault agent enroll URL")
    })?;
    let url = link::base(&enrolment.url, options.insecure_http)?;
    let link = Link::new(&url, enrolment.token.clone())?;
    tell(&format!("'{}' works for {url}", enrolment.name));
    let (mut ran, mut pause) = (Ran::default(), ASK_EVERY);
    while !stop.is_stopped() {
        let asked = link.take(VERSION).await;
        match asked {
            Ok(Offer { handout: Some(handout), .. }) => {
                pause = ASK_EVERY;
                let set = handout.set.clone();
                tell(&format!("Backing up '{set}'"));
                let done = work::hold(&link, handout, &enrolment.name, options.cache.clone(), stop).await;
                tell(&format!("'{set}': {}", done.words()));
                match done {
                    Done::Complete => ran.complete += 1,
                    Done::Gaps => ran.gaps += 1,
                    Done::Failed(_) => ran.failed += 1,
                    Done::Stopped | Done::Gone => ran.stopped += 1,
                }
                continue;
            }
            Ok(Offer { waits: true, .. }) => pause = ASK_SOON,
            Ok(_) if once => break,
            Ok(_) => pause = ASK_EVERY,
            Err(e) if once || e.kind() == ErrorKind::Permission => return Err(e),
            Err(e) => {
                tell(&format!("No work can be had: {}", e.chain()));
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.stopped() => {}
        }
    }
    Ok(ran)
}
