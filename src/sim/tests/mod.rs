//! Promises of the simulated tenant, asked through HTTP by a small client that knows nothing but the
//! documentation.

mod client;
mod contents;
mod delta;
mod faults;
mod groups;
mod limits;
mod shapes;
mod sign_in;
