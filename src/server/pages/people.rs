//! People of an account, and the server's administrators.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::part::{Part, Which};
use super::{Answer, Chrome, Form, Page, Place, Query, go, page, words};
use crate::error::Error;
use crate::server::auth::{Actor, NewPerson, Person, Right, Role};
use crate::server::db::Account;
use crate::server::deeds::people as deeds;
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::At;

/// People on a page: each has a form.
const MOST: usize = 50;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    login: String,
    role: Role,
}

/// What the form of administrators sends.
#[derive(Debug, Deserialize)]
pub(super) struct TypedLogin {
    login: String,
}

/// Whose people: an account's, or those who look after the server.
#[derive(Clone, Copy)]
struct Whose<'a>(Option<&'a Account>);

impl Whose<'_> {
    fn path(self) -> String {
        self.0.map_or_else(|| "/administrators".to_owned(), |account| format!("/a/{}/people", account.id))
    }

    fn id(&self) -> Option<&Id> {
        self.0.map(|account| &account.id)
    }

    fn title(self) -> &'static str {
        if self.0.is_some() { "People" } else { "Administrators" }
    }
}

/// The page of an account.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    Ok(Page(people(&server, &actor, Whose(Some(&account)), &which, None).await?).into_response())
}

/// The page of the server's administrators.
pub(super) async fn list_administrators(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Query(which): Query<Which>,
) -> Answer {
    Ok(Page(people(&server, &actor, Whose(None), &which, None).await?).into_response())
}

async fn people(
    server: &Server,
    actor: &Actor,
    whose: Whose<'_>,
    which: &Which,
    link: Option<(&Person, &str)>,
) -> crate::Result<Markup> {
    let all = server.db.people(whose.id()).await?;
    let part = Part::of(&all, which, MOST, "login", |person| &person.login);
    let right = if whose.0.is_some() { Right::People } else { Right::Server };
    let may = actor.may(right, whose.id());
    let body = html! {
        h1 { (whose.title()) }
        @if whose.0.is_none() { p { "They see every account and may change everything, but open no repository without an owner's key: one that somebody brings, or that an account lets this server hold." } }
        @if let Some((person, link)) = link {
            section.notice.good role="status" {
                p { "Hand this link to " strong { (person.login) } ": they choose a password with it. It is good for seven days and for one use"
                    @if person.second_factor { ", and turns their second factor off when it is used" } "; their sessions and API tokens end then:" }
                p { code.key { (link) } }
            }
        }
        @if all.is_empty() { p.empty { "Nobody has a login to this account yet, but the server's administrators may help in it." } } @else {
            (part.finder())
            @if may { p.quiet { "A new link lets somebody choose a new password; when it is used, their second factor is off, and their sessions and API tokens end." } }
            div.scroll tabindex="0" { table.people {
                thead { tr { th scope="col" { "Login" } th scope="col" { "Role" } th scope="col" { "Second factor" } th scope="col" { "Since" } th scope="col" { "State" } @if may { th scope="col" { "Change" } } } }
                tbody { @for person in &part.shown { (row(whose, person, may, actor)) } }
            } }
            (part.ways())
        }
        @if may {
            h2 { "Add somebody" }
            form.card method="post" action=(whose.path()) {
                label for="login" { "Login, " span.quiet { "preferably an email address" } }
                input #login name="login" required maxlength="254" autocapitalize="none" spellcheck="false";
                @if whose.0.is_some() {
                    @let roles = Role::ALL.iter().filter(|role| **role != Role::Administrator);
                    fieldset { legend { "Role" } @for role in roles {
                        label { input type="radio" name="role" value=(role.word()) required; " " strong { (role.word()) } ": " (role.sentence()) }
                    } }
                }
                p.quiet { "You get a link to hand over, with which they choose a password. It is good for seven days." }
                button type="submit" { "Add and make a link" }
            }
        }
    };
    let place = if whose.0.is_some() { Place::People } else { Place::Administrators };
    Ok(page(whose.title(), Chrome { actor, account: whose.0, place }, &body))
}

fn row(whose: Whose<'_>, person: &Person, may: bool, actor: &Actor) -> Markup {
    let oneself = person.id == actor.person;
    html! { tr {
        th scope="row" { (person.login) @if oneself { span.quiet { " (you)" } } }
        td { (person.role.word()) }
        td { @if person.second_factor { span.state.good { "on" } } @else { span.state.calm { "off" } } }
        td { (words::time(person.created_us)) }
        td { @if person.disabled { span.state.bad { "disabled" } } @else if person.has_password { "active" } @else { span.state.warn { "invited" } } }
        @if may { td { @if !oneself { (changes(whose, person)) } } }
    } }
}

/// What can be changed of somebody, folded: side by side the buttons of a row would be out of sight.
fn changes(whose: Whose<'_>, person: &Person) -> Markup {
    let action = format!("{}/{}", whose.path(), person.id);
    html! { details { summary { "Change" span.unseen { " " (person.login) } }
        @if whose.0.is_some() { form method="post" action=(action) {
            label for={ "role-" (person.id) } { "Role" }
            select id={ "role-" (person.id) } name="role" { @for role in Role::ALL.iter().filter(|role| **role != Role::Administrator) {
                option value=(role.word()) selected[*role == person.role] { (role.word()) }
            } }
            button.plain type="submit" { "Save the role" }
        } }
        form.actions method="post" action=(action) {
            button.plain type="submit" name="what" value="invite" { "New link" }
            @if person.disabled { button.plain type="submit" name="what" value="enable" { "Enable" } }
            @else { button.plain type="submit" name="what" value="disable" { "Disable" } }
            button.danger type="submit" name="what" value="remove" { "Remove" }
        }
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
    add_to(&server, &actor, Whose(Some(&account)), &typed.login, typed.role).await
}

/// Takes the form.
pub(super) async fn add_administrator(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    Form(typed): Form<TypedLogin>,
) -> Answer {
    add_to(&server, &actor, Whose(None), &typed.login, Role::Administrator).await
}

async fn add_to(server: &Server, actor: &Actor, whose: Whose<'_>, login: &str, role: Role) -> Answer {
    let (person, invitation) = deeds::add(server, actor, &NewPerson { account: whose.id(), login, role }).await?;
    let link = server.link(&format!("/welcome/{}", invitation.token));
    Ok(Page(people(server, actor, whose, &Which::default(), Some((&person, &link))).await?).into_response())
}

/// What is to be done.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum What {
    Invite,
    Enable,
    Disable,
    Remove,
}

/// What the form sends: one of both.
#[derive(Debug, Deserialize)]
pub(super) struct Change {
    what: Option<What>,
    role: Option<Role>,
}

/// Changes somebody of an account.
pub(super) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, person)): At<(Id, Id)>,
    Form(change): Form<Change>,
) -> Answer {
    let account = server.db.account(&account).await?;
    change_of(&server, &actor, Whose(Some(&account)), &person, &change).await
}

/// Changes an administrator.
pub(super) async fn change_administrator(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(person): At<Id>,
    Form(change): Form<Change>,
) -> Answer {
    change_of(&server, &actor, Whose(None), &person, &change).await
}

async fn change_of(server: &Server, actor: &Actor, whose: Whose<'_>, person: &Id, change: &Change) -> Answer {
    let person = deeds::find(server, whose.id(), person).await?;
    if let Some(role) = change.role {
        deeds::change(server, actor, &person, role, person.disabled).await?;
        return Ok(go(&whose.path()));
    }
    let what = change.what.ok_or_else(|| Error::invalid("Nothing was asked for"))?;
    match what {
        What::Invite => {
            let invitation = deeds::invite(server, actor, &person).await?;
            let link = server.link(&format!("/welcome/{}", invitation.token));
            return Ok(
                Page(people(server, actor, whose, &Which::default(), Some((&person, &link))).await?).into_response()
            );
        }
        What::Enable => drop(deeds::change(server, actor, &person, person.role, false).await?),
        What::Disable => drop(deeds::change(server, actor, &person, person.role, true).await?),
        What::Remove => deeds::remove(server, actor, &person).await?,
    }
    Ok(go(&whose.path()))
}
