//! Snapshot documents, backup sets, retention policy. Knows nothing of Graph.
