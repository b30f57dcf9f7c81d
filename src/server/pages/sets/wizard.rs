//! A new set, in five steps, a page each.
//!
//! What is typed is kept in the database at each press of a button, for the person and the account (`db::drafts`), as it was
//! typed: so going back, an error, a restart of the server, and going off to connect a tenant lose nothing. Secrets are no part of
//! it: a repository is made when its step is left, and its key is shown in that answer and never again.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::desk::{Desk, Done, View};
use super::steps::{self, Step};
use crate::error::{Error, Result};
use crate::server::auth::Actor;
use crate::server::deeds::sets;
use crate::server::error::problem;
use crate::server::id::Id;
use crate::server::pages::{Answer, Chrome, Form, Page, Place, Query, go, page};
use crate::server::state::Server;
use crate::server::web::At;

/// The page of the first step.
pub(in crate::server::pages) async fn first(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
) -> Answer {
    let desk = Desk::of_draft(server, actor, &account).await?;
    Ok(shown(&desk, Step::Connect, None, None).await?)
}

/// The page of a step.
pub(in crate::server::pages) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, step)): At<(Id, String)>,
    Query(view): Query<View>,
) -> Answer {
    let step = Step::named(&step)?;
    let mut desk = Desk::of_draft(server, actor, &account).await?;
    if step > desk.reached() {
        return Ok(go(&format!("{}/{}", desk.base(), desk.reached().word())));
    }
    desk.view = view;
    Ok(shown(&desk, step, None, None).await?)
}

/// Takes what a step's form sent.
pub(in crate::server::pages) async fn take(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, step)): At<(Id, String)>,
    Form(sent): Form<Vec<(String, String)>>,
) -> Answer {
    let step = Step::named(&step)?;
    let mut desk = Desk::of_draft(server, actor, &account).await?;
    let button = desk.take(step, sent);
    if button == "discard" {
        desk.server.db.drop_draft(&account, &desk.actor.person).await?;
        return Ok(go(&format!("/a/{account}/sets")));
    }
    // First what was typed, then what comes of it: whatever goes wrong there, nothing is lost.
    desk.keep().await?;
    match pressed(&mut desk, step, &button).await {
        Ok((Done::Stay, _)) => {
            desk.keep().await?;
            Ok(shown(&desk, step, None, None).await?)
        }
        Ok((Done::Go(to), made)) => {
            match made {
                true => desk.server.db.drop_draft(&account, &desk.actor.person).await?,
                false => desk.keep().await?,
            }
            Ok(go(&to))
        }
        Ok((Done::Show(step, part), _)) => {
            desk.reach(step);
            desk.keep().await?;
            Ok(shown(&desk, step, Some(part), None).await?)
        }
        Err((at, e)) => {
            desk.keep().await?;
            Ok(shown(&desk, at, None, Some(&e)).await?)
        }
    }
}

/// Does what a button says; gives also whether the set was made. An error comes with the step that it belongs to.
async fn pressed(desk: &mut Desk, step: Step, button: &str) -> std::result::Result<(Done, bool), (Step, Error)> {
    let to = |desk: &Desk, step: Step| Done::Go(format!("{}/{}", desk.base(), step.word()));
    match button {
        "back" => {
            // What was ticked goes along; what cannot be ticked is told when going on.
            let _ = desk.press(step, "back").await;
            Ok((to(desk, step.before().unwrap_or(step)), false))
        }
        "make" | "make-run" => {
            for step in Step::ALL {
                desk.check(step).await.map_err(|e| (step, e))?;
            }
            made(desk, button == "make-run").await.map(|done| (done, true)).map_err(|e| (step, e))
        }
        // Also what a browser sends that presses none.
        "next" | "" => {
            let done = desk.press(step, "next").await.map_err(|e| (step, e))?;
            if let Done::Show(..) = done {
                return Ok((done, false));
            }
            desk.check(step).await.map_err(|e| (step, e))?;
            let next = step.next().unwrap_or(step);
            desk.reach(next);
            Ok((to(desk, next), false))
        }
        button => desk.press(step, button).await.map(|done| (done, false)).map_err(|e| (step, e)),
    }
}

async fn made(desk: &Desk, run: bool) -> Result<Done> {
    let (server, account) = (&desk.server, &desk.account.id);
    let set = sets::add(server, &desk.actor, account, &desk.fields.wanted(&desk.before())?).await?;
    if run {
        let job = sets::run(server, &desk.actor, account, &set.id).await?;
        return Ok(Done::Go(format!("/a/{account}/jobs/{job}")));
    }
    Ok(Done::Go(format!("/a/{account}/sets/{}", set.id)))
}

/// The page of a step; `part`: what it shows in place of what is typed in it.
async fn shown(desk: &Desk, step: Step, part: Option<Markup>, wrong: Option<&Error>) -> Result<Response> {
    let inner = match part {
        Some(part) => part,
        None => desk.part(step).await?,
    };
    let ready = step != Step::Key || super::key::check(desk).await.is_ok();
    let buttons = html! {
        @if step != Step::Connect { button.plain type="submit" name="do" value="back" { "Back" } }
        @if step != Step::Key { button type="submit" name="do" value="next" { "Next" } }
        @else if ready {
            button type="submit" name="do" value="make-run" { "Make it and back up now" }
            button.plain type="submit" name="do" value="make" { "Make it" }
        }
        button.danger type="submit" name="do" value="discard" { "Discard" }
    };
    let body = html! {
        h1 { "New backup set" }
        (steps::progress(&desk.base(), step, desk.reached()))
        div #step {
            h2 { (step.number()) ". " (step.label()) }
            @if let Some(e) = wrong { (steps::wrong(e)) }
            @if let Some(told) = &desk.told { p.notice.good role="status" { (told) } }
            (steps::form(step, &desk.base(), &inner, &buttons))
        }
    };
    let chrome = Chrome { actor: &desk.actor, account: Some(&desk.account), place: Place::Sets };
    let status = wrong.map_or(StatusCode::OK, |e| problem(e).0);
    let title = format!("New backup set, step {}: {}", step.number(), step.label());
    Ok((status, Page(page(&title, chrome, &body))).into_response())
}

/// For pages that the steps lead to: the way back, where somebody is about to make a set.
pub(in crate::server::pages) async fn way_back(server: &Server, actor: &Actor, account: &Id) -> Result<Markup> {
    let draft = server.db.draft(account, &actor.person).await?;
    Ok(html! {
        @if let Some(draft) = draft {
            @let reached = draft.fields.get("reached").and_then(|word| Step::named(word).ok()).unwrap_or(Step::Connect);
            p.notice { "You began a new backup set. " a href={ "/a/" (account) "/sets/new/" (reached.word()) } { "Go on with it" } "; what you typed is kept." }
        }
    })
}
