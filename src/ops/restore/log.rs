//! What a step has done so far: in the journal before it goes on, and taken back where it ends halfway.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::journal::{Entry, Journal};
use crate::error::{Error, ErrorKind, Result};
use crate::m365::restore::{Log, Since, Target, Undo};

/// The log of one step.
#[derive(Debug)]
pub(super) struct StepLog<'a> {
    step: usize,
    journal: &'a Journal,
    noted: Mutex<Vec<Undo>>,
}

impl<'a> StepLog<'a> {
    /// Goes on with what an earlier try left.
    pub(super) fn new(step: usize, journal: &'a Journal, left: Vec<Undo>) -> Self {
        Self { step, journal, noted: Mutex::new(left) }
    }

    /// All that is noted, in order.
    pub(super) fn noted(&self) -> Vec<Undo> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes away what an earlier try made, so that it can be made again. What was there before stays noted if the step
    /// `overwrites`: only then is it known. Says whether something stays that the target goes on with.
    pub(super) async fn clear(&self, target: &dyn Target, overwrites: bool, since: Since<'_>) -> Result<bool> {
        let mut kept = self.noted();
        let (count, mut goes_on) = (kept.len(), false);
        for (number, undo) in self.noted().iter().enumerate().rev() {
            if overwrites && undo.is_of_before() {
                continue;
            }
            if target.goes_on(undo).await? {
                goes_on = true;
                continue;
            }
            if target.was_changed(undo, since).await? {
                let text = "Somebody changed what an earlier try of this restore left of it: it stays as it is";
                return Err(
                    Error::new(ErrorKind::AlreadyExists, text).with_hint("Move it away, and run the restore again")
                );
            }
            if target.undo(undo).await?.is_none() {
                kept.remove(number);
            }
        }
        if kept.len() < count {
            self.keep(kept).await?;
        }
        Ok(goes_on)
    }

    /// Takes back what a step that failed has made; gives what could not be, and what the target will go on with.
    pub(super) async fn take_back(&self, target: &dyn Target) -> Vec<Undo> {
        let mut left = self.noted();
        for (number, undo) in self.noted().iter().enumerate().rev() {
            let stays = target.goes_on(undo).await.unwrap_or(true);
            if !stays && matches!(target.undo(undo).await, Ok(None)) {
                left.remove(number);
            }
        }
        left
    }

    async fn keep(&self, noted: Vec<Undo>) -> Result<()> {
        noted.clone_into(&mut self.noted.lock().unwrap_or_else(PoisonError::into_inner));
        self.journal.write(&Entry::Half { step: self.step, undo: noted }).await
    }
}

#[async_trait]
impl Log for StepLog<'_> {
    async fn note(&self, undo: Undo) -> Result<Undo> {
        let mut noted = self.noted();
        let before = |known: &&Undo| known.is_of_before() && known.id() == undo.id();
        if undo.is_of_before()
            && let Some(known) = noted.iter().find(before)
        {
            return Ok(known.clone());
        }
        if !noted.contains(&undo) {
            noted.push(undo.clone());
            self.keep(noted).await?;
        }
        Ok(undo)
    }

    fn so_far(&self) -> Vec<Undo> {
        self.noted()
    }
}
