//! What people do, for pages and API alike: checks what was entered, does it, notes it in the audit log.

pub(crate) mod adopt;
pub(crate) mod archive;
pub(crate) mod clients;
pub(crate) mod consent;
pub(crate) mod contents;
pub(crate) mod keys;
pub(crate) mod look;
pub(crate) mod me;
pub(crate) mod own_storage;
pub(crate) mod people;
pub(crate) mod receivers;
pub(crate) mod repositories;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod search;
pub(crate) mod sets;
pub(crate) mod sign_in;
pub(crate) mod tenants;
pub(crate) mod work;

use serde_json::Value;

use super::audit::Deed;
use super::auth::{Actor, Role};
use super::id::Id;
use super::state::Server;
use crate::error::Result;

/// Notes a deed in an account.
async fn note(
    server: &Server,
    actor: &Actor,
    account: &Id,
    action: &'static str,
    object: &str,
    detail: Value,
) -> Result<()> {
    server.db.note(actor, Deed { account: Some(account), action, object, detail }, server.now_us()).await
}

fn is_administrator(actor: &Actor) -> bool {
    actor.role == Role::Administrator
}
