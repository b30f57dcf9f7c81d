//! Promises of the simulated tenant.
