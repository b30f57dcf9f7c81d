//! What a making costs.

use serde::{Deserialize, Serialize};

/// What a making costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Requests to Graph.
    pub requests: u64,
    /// The same in the units that the target's budget counts in.
    pub units: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl Cost {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let add = u64::saturating_add;
        Self {
            requests: add(self.requests, other.requests),
            units: add(self.units, other.units),
            bytes: add(self.bytes, other.bytes),
        }
    }
}
