//! The client against a tiny server over loopback: what it promises when answers fail, and where its token goes.

mod batch;
mod delta;
mod download;
mod errors;
mod reach;
mod server;
mod sign_in;
mod transport;
mod user;
mod user_kept;
