//! People of an account.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Chrome, Form, Page, Place, go, page, words};
use crate::error::{Error, ErrorKind};
use crate::server::audit::Deed;
use crate::server::auth::{Actor, NewPerson, Person, Right, Role};
use crate::server::db::Account;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    login: String,
    role: Role,
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
) -> Answer {
    let account = server.db.account(&account).await?;
    Ok(Page(people(&server, &actor, &account, None).await?).into_response())
}

async fn people(
    server: &Server,
    actor: &Actor,
    account: &Account,
    link: Option<(&str, &str)>,
) -> crate::Result<Markup> {
    let all = server.db.people(Some(&account.id)).await?;
    let may = actor.may(Right::People, Some(&account.id));
    let roles = Role::ALL.iter().filter(|role| **role != Role::Administrator);
    let body = html! {
        h1 { "People" }
        @if let Some((login, link)) = link {
            section.notice.good role="status" {
                p { "Hand this link to " strong { (login) } ". It is good for seven days and for one use:" }
                p { code.key { (link) } }
            }
        }
        @if all.is_empty() { p.empty { "Nobody has a login to this account yet, but the server's administrators may help in it." } } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Login" } th scope="col" { "Role" } th scope="col" { "Second factor" } th scope="col" { "Since" } th scope="col" { "State" } @if may { th scope="col" { "Change" } } } }
                tbody { @for person in &all { (row(account, person, may)) } }
            } }
        }
        @if may {
            h2 { "Add somebody" }
            form.card method="post" action={ "/a/" (account.id) "/people" } {
                label for="login" { "Login, " span.quiet { "best an e-mail address" } }
                input #login name="login" required maxlength="254" autocapitalize="none" spellcheck="false";
                fieldset { legend { "Role" } @for (number, role) in roles.enumerate() {
                    label { input type="radio" name="role" value=(role.word()) checked[number == 0]; " " strong { (role.word()) } ": " (role.sentence()) }
                } }
                button type="submit" { "Add and make a link" }
            }
        }
    };
    let chrome = Chrome { actor, account: Some(account), place: Place::People };
    Ok(page("People", chrome, &body))
}

fn row(account: &Account, person: &Person, may: bool) -> Markup {
    html! { tr {
        th scope="row" { (person.login) }
        td { (person.role.word()) }
        td { @if person.second_factor { span.state.good { "on" } } @else { span.state.calm { "off" } } }
        td { (words::time(person.created_us)) }
        td { @if person.disabled { span.state.bad { "disabled" } } @else if person.has_password { "active" } @else { span.state.warn { "invited" } } }
        @if may { td {
            form.actions method="post" action={ "/a/" (account.id) "/people/" (person.id) } {
                button.plain type="submit" name="what" value="invite" { "New link" }
                @if person.disabled { button.plain type="submit" name="what" value="enable" { "Enable" } }
                @else { button.plain type="submit" name="what" value="disable" { "Disable" } }
                button.danger type="submit" name="what" value="remove" { "Remove" }
            }
        } }
    } }
}

/// Takes the form.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let new = NewPerson { account: Some(&account.id), login: &typed.login, role: typed.role };
    let (person, invitation) = server.db.add_person(&server.vault, &new, server.now_us()).await?;
    note(&server, &actor, &person, "person.add").await?;
    let link = server.link(&format!("/welcome/{}", invitation.token));
    Ok(Page(people(&server, &actor, &account, Some((&person.login, &link))).await?).into_response())
}

/// What is to be done.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Invite,
    Enable,
    Disable,
    Remove,
}

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    what: What,
}

/// Changes somebody.
pub(super) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, person)): At<(Id, Id)>,
    Form(change): Form<Change>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let person = server.db.person(&person).await?;
    if person.account.as_ref() != Some(&account.id) {
        return Err(Error::not_found("There is no such person").into());
    }
    if person.id == actor.person && !matches!(change.what, What::Invite) {
        return Err(Error::new(ErrorKind::InvalidInput, "Nobody can disable or remove themselves").into());
    }
    match change.what {
        What::Invite => {
            let invitation = server.db.invite(&server.vault, &person.id, server.now_us()).await?;
            note(&server, &actor, &person, "person.invite").await?;
            let link = server.link(&format!("/welcome/{}", invitation.token));
            return Ok(Page(people(&server, &actor, &account, Some((&person.login, &link))).await?).into_response());
        }
        What::Enable => server.db.change_person(&person, person.role, false).await?,
        What::Disable => server.db.change_person(&person, person.role, true).await?,
        What::Remove => server.db.remove_person(&person.id).await?,
    }
    let action = if matches!(change.what, What::Remove) { "person.remove" } else { "person.change" };
    note(&server, &actor, &person, action).await?;
    Ok(go(&format!("/a/{}/people", account.id)))
}

async fn note(server: &Server, actor: &Actor, person: &Person, action: &'static str) -> crate::Result<()> {
    let deed =
        Deed { account: person.account.as_ref(), action, object: &person.login, detail: json!({"role": person.role}) };
    server.db.note(actor, deed, server.now_us()).await
}
