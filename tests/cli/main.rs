//! The program as its users meet it: exit codes, messages, JSON, and what the demonstration shows.
//!
//! The tenant is simulated in this process; the program runs as a process of its own.

mod agent;
mod bad_input;
mod browse;
mod damage;
mod demo;
mod destinations;
mod discover;
mod disk;
mod export;
mod find;
mod help;
mod huge;
mod interrupt;
mod json;
mod keys;
mod kill;
mod kill_loop;
mod login;
mod packaging;
mod processes;
mod restore;
mod restore_cut;
mod rollback;
mod secrets;
mod server;
mod server_disk;
mod server_http;
mod server_killed;
mod server_postgres;
mod store;
mod support;
