//! How much memory the contents under way in a run may take, over all collections.
//!
//! Small streams are read without asking. Others take room for what they are expected to need, once, before they hold more
//! than a small one does; those that turn out larger than that wait for one of a few places. Nobody who has a place asks
//! for more, so that all come to their ends.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Error, Result};

/// What all streams that asked may hold together, in KiB.
const ROOM_KIB: u32 = 48 << 10;
/// What a stream of unknown length asks for, in bytes.
const UNKNOWN_BYTES: usize = 2 << 20;
/// Streams at once that became larger than they were expected to be.
const PLACES: usize = 2;

/// The room of a run.
#[derive(Debug)]
pub(crate) struct Room {
    kib: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self { kib: Arc::new(Semaphore::new(ROOM_KIB as usize)), places: Arc::new(Semaphore::new(PLACES)) }
    }
}

/// The room that one stream took; given back when dropped.
#[derive(Debug, Default)]
pub(super) struct Place {
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
    larger: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Waits till there is room for a stream that holds `bytes` by now, and is expected to hold `expected` in the end.
    pub(super) async fn grow(&mut self, room: &Room, bytes: usize, expected: Option<usize>) -> Result<()> {
        let over = |e| Error::internal("the run is over").with_source(e);
        if self.taken.is_none() {
            self.bytes = expected.unwrap_or(UNKNOWN_BYTES).max(bytes);
            let kib = u32::try_from(self.bytes.div_ceil(1024)).unwrap_or(ROOM_KIB).min(ROOM_KIB);
            self.taken = Some(room.kib.clone().acquire_many_owned(kib).await.map_err(over)?);
        } else if bytes > self.bytes && self.larger.is_none() {
            self.larger = Some(room.places.clone().acquire_owned().await.map_err(over)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn waits(grow: impl Future<Output = Result<()>>) -> bool {
        tokio::time::timeout(Duration::from_millis(20), grow).await.is_err()
    }

    #[tokio::test]
    async fn who_came_first_is_let_in_and_room_that_is_given_back_is_taken() {
        let room = Room::default();
        let (mut first, mut second, mut third) = (Place::default(), Place::default(), Place::default());
        first.grow(&room, 70 << 10, Some(44 << 20)).await.unwrap();
        second.grow(&room, 70 << 10, None).await.unwrap();
        assert!(waits(third.grow(&room, 70 << 10, Some(5 << 20))).await);
        drop(first);
        third.grow(&room, 70 << 10, Some(5 << 20)).await.unwrap();
        assert_eq!(room.kib.available_permits(), (ROOM_KIB - (7 << 10)) as usize);
        // One that is larger than all the room takes all of it.
        drop((second, third));
        let mut largest = Place::default();
        largest.grow(&room, 70 << 10, Some(usize::MAX)).await.unwrap();
        assert_eq!(room.kib.available_permits(), 0);
    }

    #[tokio::test]
    async fn streams_that_become_larger_than_expected_wait_for_one_of_a_few_places() {
        let room = Room::default();
        let mut all: Vec<Place> = (0..=PLACES).map(|_| Place::default()).collect();
        for place in &mut all {
            place.grow(&room, 70 << 10, Some(100 << 10)).await.unwrap();
            place.grow(&room, 90 << 10, Some(100 << 10)).await.unwrap();
        }
        for place in &mut all[1..] {
            place.grow(&room, 200 << 10, Some(100 << 10)).await.unwrap();
            place.grow(&room, 300 << 10, Some(100 << 10)).await.unwrap();
        }
        assert!(waits(all[0].grow(&room, 200 << 10, None)).await);
        all.pop();
        all[0].grow(&room, 200 << 10, None).await.unwrap();
    }
}
