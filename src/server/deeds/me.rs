//! One's own sign-in: the password and the second factor.

use serde_json::json;
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::server::audit::Deed;
use crate::server::auth::{Actor, Password, new_secret};
use crate::server::id::Id;
use crate::server::state::Server;

async fn note(server: &Server, actor: &Actor, action: &'static str) -> Result<()> {
    let deed = Deed { account: actor.account.as_ref(), action, object: &actor.login, detail: json!({}) };
    server.db.note(actor, deed, server.now_us()).await
}

/// Changes the password, for who knows the one until now; all sessions end.
///
/// # Errors
/// `Permission` for a wrong one; `InvalidInput` for a poor new one; `Unavailable` after too many attempts.
pub(crate) async fn change_password(server: &Server, actor: &Actor, old: &Password, password: &Password) -> Result<()> {
    let person = server.db.person(&actor.person).await?;
    server.sign_in.prove(&person, old, &actor.address, server.now_us()).await?;
    server.db.change_password(&person, password).await?;
    // All sessions have ended.
    server.unlocked.lock_person(&person.id);
    note(server, actor, "password.change").await
}

/// Begins to set up a second factor, for who knows the password: else whoever found a session or token would shut its owner out. Gives
/// its secret: the one that was begun last, where that was by the same session, for an app may have it already.
///
/// # Errors
/// `InvalidInput` when it is on; `Permission` for a wrong password; `Unavailable` after too many attempts.
pub(crate) async fn begin_factor(server: &Server, actor: &Actor, old: &Password) -> Result<Zeroizing<String>> {
    let person = server.db.person(&actor.person).await?;
    if person.second_factor {
        return Err(Error::invalid("The second factor is on already"));
    }
    server.sign_in.prove(&person, old, &actor.address, server.now_us()).await?;
    let kept = begun_by(&person.id);
    let mark =
        |secret: &str| actor.session.as_ref().map(|session| format!("{session} {}", server.vault.token_name(secret)));
    if let Some(begun) = person.second_factor_to_be(&server.vault).unwrap_or_default()
        && let Some(own) = mark(begun.as_str())
        && server.db.setting(&kept).await? == Some(own)
    {
        return Ok(begun);
    }
    let secret = new_secret();
    server.db.begin_second_factor(&server.vault, &person.id, &secret).await?;
    server.db.set(&kept, mark(secret.as_str()).as_deref()).await?;
    Ok(secret)
}

/// The name of a setting that says by which session somebody began to set up which second factor.
fn begun_by(person: &Id) -> String {
    format!("factor {person}")
}

/// The secret of the second factor that is being set up: the one that was begun last, as the server keeps it. None where none
/// was begun, or it is on; and for tokens, whose programs have no business with it.
///
/// # Errors
/// As reading it.
pub(crate) async fn begun_factor(server: &Server, actor: &Actor) -> Result<Option<Zeroizing<String>>> {
    if actor.session.is_none() {
        return Ok(None);
    }
    let person = server.db.person(&actor.person).await?;
    person.second_factor_to_be(&server.vault)
}

/// Turns the second factor on, after a code of it, for who knows the password.
///
/// # Errors
/// `InvalidInput` for a wrong code; `Permission` for a wrong password; `Unavailable` after too many attempts.
pub(crate) async fn confirm_factor(server: &Server, actor: &Actor, old: &Password, code: &str) -> Result<()> {
    let person = server.db.person(&actor.person).await?;
    server.sign_in.prove(&person, old, &actor.address, server.now_us()).await?;
    server.db.confirm_second_factor(&server.vault, &person, code, server.now_us()).await?;
    note(server, actor, "second-factor.on").await?;
    server.db.set(&begun_by(&person.id), None).await
}

/// Turns the second factor off, for who knows the password.
///
/// # Errors
/// `Permission` for a wrong password; `Unavailable` after too many attempts.
pub(crate) async fn end_factor(server: &Server, actor: &Actor, old: &Password) -> Result<()> {
    let person = server.db.person(&actor.person).await?;
    server.sign_in.prove(&person, old, &actor.address, server.now_us()).await?;
    server.db.end_second_factor(&person.id).await?;
    note(server, actor, "second-factor.off").await
}
