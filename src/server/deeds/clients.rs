//! Clients: adding, enrolling, limiting, removing.

use serde_json::json;

use super::{keys, note};
use crate::crypto::{KeyRight, Passphrase, random_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::format::id::KeyId;
use crate::server::audit::Deed;
use crate::server::auth::{Actor, random_token};
use crate::server::db::{ClientRow, ClientToBe, RepositoryRow};
use crate::server::id::Id;
use crate::server::state::Server;

/// What tokens of clients begin with, so that a leaked one is found by those who look for such.
pub(crate) const PREFIX: &str = "tvc_";
/// How long a one-time code is good.
const CODE_LASTS_US: i64 = 24 * 3_600_000_000;
/// The letters of codes: none that is mistaken for another.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Letters of a code: 100 bits, which nobody guesses in a day.
const CODE_LETTERS: usize = 20;
const GROUP: usize = 4;

/// A one-time code: the one time that it can be read.
pub(crate) struct NewCode {
    /// The code, in groups.
    pub(crate) code: String,
    /// Until when it is good: microseconds since 1970 UTC.
    pub(crate) expires_us: i64,
}

/// Adds a client, with the code by which it enrolls.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`.
pub(crate) async fn add(
    server: &Server,
    actor: &Actor,
    account: &Id,
    wanted: &ClientToBe,
) -> Result<(ClientRow, NewCode)> {
    let client = server.db.add_client(account, wanted, server.now_us()).await?;
    note(server, actor, account, "client.add", &client.name, json!({"most_bytes": client.most_bytes})).await?;
    let code = new_code(server, account, &client.id).await?;
    Ok((server.db.client(account, &client.id).await?, code))
}

/// Makes a new code for a client, also for one that is to enroll on another machine.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn give_code(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<NewCode> {
    let client = server.db.client(account, id).await?;
    let code = new_code(server, account, id).await?;
    note(server, actor, account, "client.code", &client.name, json!({"expires_us": code.expires_us})).await?;
    Ok(code)
}

async fn new_code(server: &Server, account: &Id, id: &Id) -> Result<NewCode> {
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map_or('A', char::from);
    let plain: String = random_bytes::<CODE_LETTERS>().iter().map(letter).collect();
    let expires_us = server.now_us() + CODE_LASTS_US;
    server.db.give_code(&server.vault, account, id, &plain, expires_us).await?;
    Ok(NewCode { code: grouped(&plain), expires_us })
}

fn grouped(plain: &str) -> String {
    let letters: Vec<char> = plain.chars().collect();
    letters.chunks(GROUP).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// What was typed, as codes are kept: large letters, no signs between.
fn plain(typed: &str) -> String {
    typed.chars().filter(char::is_ascii_alphanumeric).take(CODE_LETTERS + 1).map(|c| c.to_ascii_uppercase()).collect()
}

/// Takes a one-time code and gives a token for it.
///
/// # Errors
/// `Permission` when the code is not good, or not any more.
pub(crate) async fn enroll(server: &Server, code: &str, version: &str, address: &str) -> Result<(ClientRow, String)> {
    let token = format!("{PREFIX}{}", random_token());
    let enrolled = server.db.enroll(&server.vault, &plain(code), &token, version, server.now_us()).await?;
    let client = enrolled.ok_or_else(|| {
        Error::new(ErrorKind::Permission, "This one-time code is not good, or not any more")
            .with_hint("Ask for a new one: on the page Clients, or who sent you the code")
    })?;
    by_client(server, &client, address, "client.enroll", &client.name, json!({"version": version})).await?;
    Ok((client, token))
}

/// Notes in the audit log what a client did.
///
/// # Errors
/// As any query.
pub(crate) async fn by_client(
    server: &Server,
    client: &ClientRow,
    address: &str,
    action: &'static str,
    object: &str,
    detail: serde_json::Value,
) -> Result<()> {
    let deed = Deed { account: Some(&client.account), action, object, detail };
    server.db.note_as(&format!("client {}", client.name), address, deed, server.now_us()).await
}

/// Changes a client's name and limit.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`, `NotFound`.
pub(crate) async fn change(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    wanted: &ClientToBe,
) -> Result<ClientRow> {
    let before = server.db.client(account, id).await?;
    server.db.change_client(account, id, wanted).await?;
    let client = server.db.client(account, id).await?;
    let detail = json!({"name": client.name, "most_bytes": client.most_bytes, "before": before.most_bytes});
    note(server, actor, account, "client.change", &before.name, detail).await?;
    Ok(client)
}

/// Removes a client: its token ends at once, the server runs its sets from now on, its keys leave the repositories.
///
/// # Errors
/// `NotFound`; what the storage brings when a key cannot be removed: the token has ended then, and removing the client
/// again tries the rest once more.
pub(crate) async fn remove(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    let client = server.db.client(account, id).await?;
    let sets = server.db.sets(account).await?;
    let sets: Vec<&str> =
        sets.iter().filter(|set| set.client.as_ref() == Some(id)).map(|set| set.name.as_str()).collect();
    server.db.shut_out_client(account, id).await?;
    server.endpoint.forget_client(id);
    note(server, actor, account, "client.remove", &client.name, json!({"sets_run_by_server": sets})).await?;
    for key in server.db.client_keys(id).await? {
        let row = server.db.repository(account, &key.repository).await?;
        let repo = server.stores.open(server, &row).await?;
        if let Ok(slot) = key.slot.parse::<KeyId>() {
            match repo.remove_slot(&slot).await {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        keys::spread(server, actor, &row).await?;
        server.db.forget_client_key(id, &key.repository).await?;
    }
    server.db.remove_client(id).await
}

/// The key of a client in a repository; at the first time one is made for it.
///
/// # Errors
/// As opening.
pub(crate) async fn key_of(server: &Server, client: &ClientRow, row: &RepositoryRow) -> Result<Passphrase> {
    let known = async {
        let keys = server.db.client_keys(&client.id).await?;
        let key = keys.iter().find(|key| key.repository == row.id);
        key.map(|key| Passphrase::new(&key.open(&server.vault)?)).transpose()
    };
    if let Some(key) = known.await? {
        return Ok(key);
    }
    let repo = server.stores.open(server, row).await?;
    let key = Passphrase::generate();
    let label = format!("client {}", client.name);
    let slot = repo.add_slot(&key, KeyRight::WriteOnly, &label, server.now_us()).await?;
    let kept =
        server.db.keep_client_key(&server.vault, &client.id, &row.id, &slot.to_string(), key.expose_text()).await;
    if let Err(e) = kept {
        // Nobody has this one: another process made one at the same time, or the database is away.
        repo.remove_slot(&slot).await?;
        return Err(e);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_may_be_typed_in_any_way() {
        let code = grouped("ABCDEFGHJKLMNPQRSTUV");
        assert_eq!(code, "ABCD-EFGH-JKLM-NPQR-STUV");
        for typed in [code.as_str(), " abcd efgh jklm npqr stuv\n", "ABCDEFGHJKLMNPQRSTUV"] {
            assert_eq!(plain(typed), "ABCDEFGHJKLMNPQRSTUV");
        }
        assert_eq!(plain(&"x".repeat(1 << 20)).len(), CODE_LETTERS + 1);
    }
}
