//! People of an account, and the server's administrators.

use serde_json::json;

use crate::error::{Error, Result};
use crate::server::audit::Deed;
use crate::server::auth::{Actor, Invitation, NewPerson, Person, Role};
use crate::server::id::Id;
use crate::server::state::Server;

/// Somebody of an account; of none: an administrator of the server.
///
/// # Errors
/// `NotFound`, also for somebody of another account.
pub(crate) async fn find(server: &Server, account: Option<&Id>, person: &Id) -> Result<Person> {
    let found = server.db.person(person).await?;
    if found.account.as_ref() != account {
        return Err(Error::not_found("There is no such person"));
    }
    Ok(found)
}

/// Adds somebody, and makes a link by which they choose a password.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`.
pub(crate) async fn add(server: &Server, actor: &Actor, new: &NewPerson<'_>) -> Result<(Person, Invitation)> {
    let (person, invitation) = server.db.add_person(&server.vault, new, server.now_us()).await?;
    note(server, actor, &person, "person.add").await?;
    Ok((person, invitation))
}

/// Makes a new link, which also ends the second factor once it is taken.
///
/// # Errors
/// `InvalidInput` for oneself: who found a session open would need neither password nor code any more.
pub(crate) async fn invite(server: &Server, actor: &Actor, person: &Person) -> Result<Invitation> {
    if person.id == actor.person {
        return Err(Error::invalid("Nobody makes a new link for themselves")
            .with_hint("Change your password and your second factor under 'Your sign-in'"));
    }
    let invitation = server.db.invite(&server.vault, &person.id, server.now_us()).await?;
    note(server, actor, person, "person.invite").await?;
    Ok(invitation)
}

/// Changes what somebody may do, or whether they may sign in.
///
/// # Errors
/// `InvalidInput` for oneself, and when no administrator would be left.
pub(crate) async fn change(
    server: &Server,
    actor: &Actor,
    person: &Person,
    role: Role,
    disabled: bool,
) -> Result<Person> {
    if disabled || role != person.role {
        not_oneself(actor, person)?;
    }
    server.db.change_person(person, role, disabled).await?;
    if disabled {
        server.unlocked.lock_person(&person.id);
    }
    let person = server.db.person(&person.id).await?;
    note(server, actor, &person, "person.change").await?;
    Ok(person)
}

/// Removes somebody with their sessions and tokens.
///
/// # Errors
/// As [`change`].
pub(crate) async fn remove(server: &Server, actor: &Actor, person: &Person) -> Result<()> {
    not_oneself(actor, person)?;
    server.db.remove_person(&person.id).await?;
    server.unlocked.lock_person(&person.id);
    note(server, actor, person, "person.remove").await
}

fn not_oneself(actor: &Actor, person: &Person) -> Result<()> {
    if person.id != actor.person {
        return Ok(());
    }
    Err(Error::invalid("Nobody can remove or disable themselves, or change their own role")
        .with_hint("Somebody else with the right to do so can"))
}

async fn note(server: &Server, actor: &Actor, person: &Person, action: &'static str) -> Result<()> {
    let detail = json!({"role": person.role, "disabled": person.disabled});
    let deed = Deed { account: person.account.as_ref(), action, object: &person.login, detail };
    server.db.note(actor, deed, server.now_us()).await
}
