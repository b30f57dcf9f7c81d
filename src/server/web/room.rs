//! Room for the bodies of requests, which are held whole before anything is done with them: those of whom nobody knows are short, and
//! take nothing of the room of who is let in; nobody has more of either than a share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{Access, MOST_BODY_BYTES};
use crate::server::turns::Turns;

/// The longest body of a request that anybody may send: a login, a password, a code, a link.
const MOST_OPEN_BYTES: usize = 16 * 1024;
/// All bodies at once of who is not let in yet, and those of one address.
const OPEN_BYTES: usize = 32 << 20;
const OPEN_BYTES_OF_ONE: usize = if cfg!(test) { 64 << 10 } else { 2 << 20 };
/// All bodies at once of who is let in, and those of one person or client.
const KNOWN_BYTES: usize = 128 << 20;
const KNOWN_BYTES_OF_ONE: usize = 16 << 20;

/// Room for bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    open: Room,
    known: Room,
}

impl Default for Bodies {
    fn default() -> Self {
        Self { open: Room::of(OPEN_BYTES, OPEN_BYTES_OF_ONE), known: Room::of(KNOWN_BYTES, KNOWN_BYTES_OF_ONE) }
    }
}

impl Bodies {
    /// How long a body may be that comes to a route, and the share that it takes its room from. `whose`: who sends it, as far as
    /// that is known.
    pub(super) fn share(&self, access: Access, whose: &str) -> (usize, Share) {
        match access {
            Access::Anybody => (MOST_OPEN_BYTES, self.open.share(whose)),
            Access::Needs(_) | Access::Client => (MOST_BODY_BYTES, self.known.share(whose)),
        }
    }
}

#[derive(Debug)]
struct Room {
    all: Arc<Semaphore>,
    of: Turns<String>,
}

impl Room {
    fn of(bytes: usize, bytes_of_one: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(bytes)), of: Turns::of(bytes_of_one) }
    }

    fn share(&self, whose: &str) -> Share {
        Share { gates: [self.of.gate(&whose.to_owned()), self.all.clone()], bytes: 0 }
    }
}

/// The room that a body takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    gates: [Arc<Semaphore>; 2],
    bytes: usize,
}

impl Share {
    /// Takes room for so many bytes more; says whether there was any. Nobody waits for it: all of those who hold some might.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let Ok(many) = u32::try_from(more) else { return false };
        let [own, all] = &self.gates;
        let (Ok(own), Ok(all)) = (own.try_acquire_many(many), all.try_acquire_many(many)) else { return false };
        own.forget();
        all.forget();
        self.bytes += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for gate in &self.gates {
            gate.add_permits(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_has_a_share_of_the_room_and_all_together_no_more_than_there_is() {
        let room = Room::of(100, 60);
        let (mut first, mut second) = (room.share("one"), room.share("one"));
        assert!(first.grow(40) && second.grow(20));
        assert!(!first.grow(1), "it has all of its share");
        assert_eq!(room.all.available_permits(), 40, "what is refused takes nothing");
        let mut third = room.share("other");
        assert!(!third.grow(41) && third.grow(40), "all of the room is taken");
        drop(first);
        assert!(third.grow(20) && second.grow(20));
        drop((second, third));
        assert_eq!(room.all.available_permits(), 100);
        assert!(room.share("one").grow(60), "all of it came back");
    }
}
