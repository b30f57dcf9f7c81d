//! Delta tokens: opaque to the client, and without memory on the server. A token says where in a walk or
//! in a log of changes the client stands, and carries the query options it began with.

use std::collections::HashMap;
use std::hash::Hash;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;

use super::rng::{hash, hash_text};

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stand {
    /// In the first walk: the log's length at its start, the next number, whether an empty page was given.
    Walk { since: u64, next: u64, paused: bool },
    /// In a round of changes: from, to, rows given, whether an empty page was given.
    Round { from: u64, to: u64, given: u64, paused: bool },
    /// At the end of a round: the log's length then.
    Synced { at: u64 },
}

/// A token's contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// What it is for (a hash of mailbox and folder, or of the drive).
    pub(super) scope: u64,
    /// The generation it was given in; older ones expired.
    pub(super) generation: u32,
    pub(super) stand: Stand,
    /// The frozen query options.
    pub(super) options: String,
}

impl Token {
    pub(super) fn seal(&self, key: &[u8; 32]) -> String {
        let (kind, a, b, c, paused) = match self.stand {
            Stand::Walk { since, next, paused } => ('w', since, next, 0, paused),
            Stand::Round { from, to, given, paused } => ('r', from, to, given, paused),
            Stand::Synced { at } => ('s', at, 0, 0, false),
        };
        let text = format!(
            "{kind}|{:x}|{:x}|{a:x}|{b:x}|{c:x}|{}|{}",
            self.scope,
            self.generation,
            u8::from(paused),
            self.options
        );
        let mac = blake3::keyed_hash(key, text.as_bytes());
        B64.encode([&mac.as_bytes()[..9], text.as_bytes()].concat())
    }

    /// Opens a token; `None` if this server did not make it.
    pub(super) fn open(key: &[u8; 32], sealed: &str) -> Option<Self> {
        let raw = B64.decode(sealed).ok()?;
        let (mac, text) = raw.split_at_checked(9)?;
        if blake3::keyed_hash(key, text).as_bytes()[..9] != *mac {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        let parts: Vec<&str> = text.splitn(8, '|').collect();
        let [kind, scope, generation, a, b, c, paused, options] = parts[..] else { return None };
        let number = |text: &str| u64::from_str_radix(text, 16).ok();
        let (a, b, c, paused) = (number(a)?, number(b)?, number(c)?, paused == "1");
        let stand = match kind {
            "w" => Stand::Walk { since: a, next: b, paused },
            "r" => Stand::Round { from: a, to: b, given: c, paused },
            _ => Stand::Synced { at: a },
        };
        let generation = u32::try_from(number(generation)?).ok()?;
        Some(Self { scope: number(scope)?, generation, stand, options: options.into() })
    }
}

/// A collection that can be walked and keeps a log.
pub(super) trait Logged {
    /// A row: what names an item in an answer.
    type Row: Copy + Eq + Hash;
    /// Length of the log now.
    fn log_len(&self) -> u64;
    /// Up to `n` rows of the present state from number `next` on, and the number to go on with.
    fn walk(&self, next: u64, n: usize) -> (Vec<Self::Row>, Option<u64>);
    /// An entry of the log.
    fn entry(&self, at: u64) -> Option<Self::Row>;
}

/// Makes one page: its rows, and where the client stands after it (`Synced`: the round is over).
pub(super) fn page<L: Logged>(log: &L, stand: &Stand, n: usize, quirks: bool) -> (Vec<L::Row>, Stand) {
    let (from, to, given, paused) = match *stand {
        Stand::Walk { since, next, paused } => return walk(log, since, next, paused, n, quirks),
        Stand::Synced { at } => (at.min(log.log_len()), log.log_len(), 0, false),
        Stand::Round { from, to, given, paused } => (from, to, given, paused),
    };
    // Each row once, at its last place.
    let mut last = HashMap::new();
    for at in from..to {
        if let Some(row) = log.entry(at) {
            last.insert(row, at);
        }
    }
    let mut rows: Vec<_> = last.into_iter().collect();
    rows.sort_unstable_by_key(|(_, at)| *at);
    let chance = hash(from, &[to, given, n as u64]);
    if quirks && !paused && !rows.is_empty() && chance.is_multiple_of(5) {
        return (vec![], Stand::Round { from, to, given, paused: true });
    }
    let total = rows.len() as u64;
    let repeat = u64::from(quirks && !paused && given > 0 && chance.is_multiple_of(3));
    let start = (given - repeat.min(given)) as usize;
    let mut part: Vec<_> = rows.into_iter().skip(start).take(n).map(|(row, _)| row).collect();
    let given = start as u64 + part.len() as u64;
    if quirks && chance.is_multiple_of(2) {
        part.reverse();
    }
    // A page of one repeated row must still get on.
    if n == 1 && repeat == 1 {
        return (part, Stand::Round { from, to, given, paused: true });
    }
    if given >= total {
        (part, Stand::Synced { at: to })
    } else {
        (part, Stand::Round { from, to, given, paused: false })
    }
}

fn walk<L: Logged>(log: &L, since: u64, next: u64, paused: bool, n: usize, quirks: bool) -> (Vec<L::Row>, Stand) {
    let chance = hash(since, &[next, n as u64]);
    if quirks && !paused && next > 0 && chance.is_multiple_of(11) {
        return (vec![], Stand::Walk { since, next, paused: true });
    }
    let back = u64::from(quirks && n > 1 && next > 0 && chance.is_multiple_of(4));
    let (mut rows, then) = log.walk(next - back, n);
    if quirks && chance.is_multiple_of(3) {
        rows.reverse();
    }
    match then {
        Some(next) => (rows, Stand::Walk { since, next, paused: false }),
        None => (rows, Stand::Synced { at: since }),
    }
}

/// The scope of a token from what it is for.
pub(super) fn scope(seed: u64, what: &str) -> u64 {
    hash_text(seed, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Numbers(Vec<u32>, Vec<u32>);

    impl Logged for Numbers {
        type Row = u32;
        fn log_len(&self) -> u64 {
            self.1.len() as u64
        }
        fn walk(&self, next: u64, n: usize) -> (Vec<u32>, Option<u64>) {
            let rows: Vec<u32> = self.0.iter().copied().filter(|v| u64::from(*v) >= next).take(n + 1).collect();
            let more = (rows.len() > n).then(|| u64::from(rows[n]));
            (rows.into_iter().take(n).collect(), more)
        }
        fn entry(&self, at: u64) -> Option<u32> {
            self.1.get(at as usize).copied()
        }
    }

    fn read(numbers: &Numbers, mut stand: Stand, n: usize) -> (std::collections::BTreeSet<u32>, Stand) {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            let (rows, then) = page(numbers, &stand, n, true);
            assert!(rows.len() <= n);
            seen.extend(rows);
            if matches!(then, Stand::Synced { .. }) {
                return (seen, then);
            }
            stand = then;
        }
        panic!("the round never ends");
    }

    #[test]
    fn every_row_comes_at_least_once_and_the_round_ends() {
        let numbers = Numbers((0..300).map(|i| i * 3).collect(), (0..200).map(|i| i * 7 % 90).collect());
        for n in 1..40 {
            let (seen, end) = read(&numbers, Stand::Walk { since: 5, next: 0, paused: false }, n);
            assert_eq!((seen.len(), end), (300, Stand::Synced { at: 5 }), "pages of {n}");
            let (seen, end) = read(&numbers, Stand::Synced { at: 20 }, n);
            let want: std::collections::BTreeSet<_> = numbers.1[20..].iter().copied().collect();
            assert_eq!((seen, end), (want, Stand::Synced { at: 200 }), "pages of {n}");
        }
    }

    #[test]
    fn a_forged_token_is_not_opened() {
        let key = [7; 32];
        let token = Token { scope: 1, generation: 2, stand: Stand::Synced { at: 3 }, options: "id|x".into() };
        let sealed = token.seal(&key);
        assert_eq!(Token::open(&key, &sealed), Some(token));
        assert_eq!(Token::open(&[8; 32], &sealed), None);
        assert_eq!(Token::open(&key, "rubbish"), None);
    }
}
