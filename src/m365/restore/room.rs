//! How much memory may be taken, over all targets of a run, by what is held whole on its way: messages, attachments, parts of uploads.
//!
//! Small things are held without asking. Others take room for all that they are going to hold, once, before they hold it; one that is
//! larger than all the room waits for all of it. Nobody who has room asks for more, so that all come to their ends.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// What all that asked may hold together, in KiB.
const ROOM_KIB: u32 = 128 << 10;
/// What nobody asks for, in bytes: each lane of each target may hold so much.
const SMALL_BYTES: u64 = 128 << 10;

/// The room of a run.
#[derive(Debug, Clone)]
pub struct Room {
    kib: Arc<Semaphore>,
    all_kib: u32,
    small_bytes: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self::of(ROOM_KIB, SMALL_BYTES)
    }
}

/// The room that something took; given back when dropped.
#[derive(Debug, Default)]
pub struct Held {
    _taken: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// A room of so many KiB, for which things of up to so many bytes do not ask.
    pub(in crate::m365) fn of(all_kib: u32, small_bytes: u64) -> Self {
        Self { kib: Arc::new(Semaphore::new(all_kib as usize)), all_kib, small_bytes }
    }

    /// Waits till there is room for so many bytes.
    ///
    /// # Errors
    /// None, as the room stays open as long as it is there.
    pub async fn take(&self, bytes: u64) -> Result<Held> {
        if bytes <= self.small_bytes {
            return Ok(Held::default());
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(self.all_kib).min(self.all_kib);
        let taken = self.kib.clone().acquire_many_owned(kib).await;
        taken.map(|taken| Held { _taken: Some(taken) }).map_err(|e| Error::internal("the run is over").with_source(e))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn waits(take: impl Future<Output = Result<Held>>) -> bool {
        tokio::time::timeout(Duration::from_millis(20), take).await.is_err()
    }

    #[tokio::test]
    async fn what_is_held_whole_stays_within_the_room_and_what_is_small_does_not_wait() {
        let room = Room::default();
        let lanes = room.clone();
        // Two messages of the largest size never lie in memory at once.
        let first = lanes.take(300 << 20).await.unwrap();
        assert_eq!(room.kib.available_permits(), 0);
        assert!(waits(room.take(300 << 20)).await && waits(room.take(1 << 20)).await);
        drop(room.take(SMALL_BYTES).await.unwrap());
        drop(first);
        let all: Vec<Held> = futures::future::try_join_all((0..12).map(|_| room.take(10 << 20))).await.unwrap();
        assert!(waits(lanes.take(10 << 20)).await);
        drop(all);
        assert_eq!(room.kib.available_permits(), ROOM_KIB as usize);
    }
}
