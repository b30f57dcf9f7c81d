//! The first administrator: comes in by a link that the server prints when it finds none.

use super::auth::{NewPerson, Role};
use super::state::Server;
use crate::error::Result;

/// The login that the first administrator has until they choose another.
const FIRST: &str = "admin";

/// A token for the first administrator to choose a password with; none when there is an administrator. Every start makes a
/// new one, and ends the one before.
///
/// # Errors
/// As any query.
pub(crate) async fn first_administrator(server: &Server) -> Result<Option<String>> {
    let (db, vault, now) = (&server.db, &server.vault, server.now_us());
    if db.has_administrator().await? {
        return Ok(None);
    }
    let invitation = match db.people(None).await?.first() {
        Some(person) => db.invite(vault, &person.id, now).await?,
        None => {
            db.add_person(vault, &NewPerson { account: None, login: FIRST, role: Role::Administrator }, now).await?.1
        }
    };
    Ok(Some(invitation.token))
}
