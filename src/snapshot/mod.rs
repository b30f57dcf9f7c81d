//! Snapshots, the sets they belong to, and the policy that thins them out. Knows nothing of Graph.

pub mod memory;
pub mod policy;
pub mod set;
pub mod store;
