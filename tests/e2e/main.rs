//! The whole road over HTTP: the simulated tenant is backed up day by day, and every snapshot must equal the tenant
//! of its day, byte for byte.

mod beside;
#[path = "../support/between.rs"]
mod between;
mod browse;
mod compare;
mod coverage;
mod days;
mod exclusions;
mod find;
mod gaps;
mod history;
mod lifecycle;
mod logical;
mod occasions;
mod order;
mod repair;
mod restore;
mod restore_abroad;
mod restore_choices;
mod restore_halves;
mod restore_items;
mod restore_plan;
mod restore_planner;
mod restore_policies;
mod restore_posts;
mod restore_shared;
mod restore_since;
mod restore_stopped;
mod restore_threads;
mod restore_traps;
mod restore_twins;
mod resume;
mod support;
