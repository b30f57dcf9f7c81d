//! The first administrator: comes in by a link that the server prints when it finds none. Whom nobody on the pages can help comes
//! in again by a link that is made beside the server.

use jiff::Timestamp;
use serde_json::json;

use super::audit::Deed;
use super::auth::{NewPerson, Role};
use super::db::Db;
use super::options::ServerOptions;
use super::state::Server;
use super::vault::Vault;
use crate::error::{Error, Result};

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

/// Makes a link by which somebody chooses a new password, and has no second factor any more: for the last administrator, whom nobody
/// else can help. The server may run meanwhile. It is noted in the audit log.
///
/// # Errors
/// `NotFound` when there is no such server or login; as opening.
pub async fn new_link(options: &ServerOptions, login: &str) -> Result<String> {
    let folder = &options.folder;
    if options.database_url.is_none() && !folder.join("server.db").is_file() {
        return Err(Error::not_found(format!("There is no server's database in {}", folder.display()))
            .with_hint("Name the server's folder, or the database as the server is told it"));
    }
    let vault = Vault::open(&folder.join("master.key"), true)?;
    let db = Db::open(options.database_url.as_deref(), folder).await?;
    let person = db.person_by_login(login).await?.ok_or_else(|| {
        Error::not_found(format!("Nobody has the login '{}'", login.escape_debug()))
            .with_hint("The first administrator has 'admin'")
    })?;
    let now = Timestamp::now().as_microsecond();
    let invitation = db.invite(&vault, &person.id, now).await?;
    let account = person.account.as_ref();
    let deed = Deed { account, action: "person.invite", object: &person.login, detail: json!({}) };
    db.note_as("the server's machine", "", deed, now).await?;
    db.close().await;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let own = || format!("{scheme}://{}", options.listen);
    let base = options.public_url.as_deref().map_or_else(own, |url| url.trim_end_matches('/').to_owned());
    Ok(format!("{base}/welcome/{}", invitation.token))
}
