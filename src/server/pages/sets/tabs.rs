//! A set that is there: the five steps as tabs, each of which saves its own part alone.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::html;

use super::desk::{Desk, Done, View};
use super::fields::Fields;
use super::steps::{self, Step};
use crate::error::{Error, Result};
use crate::server::auth::Actor;
use crate::server::db::SetRow;
use crate::server::deeds::sets::{self, SetWanted};
use crate::server::error::problem;
use crate::server::id::Id;
use crate::server::pages::{Answer, Chrome, Form, Page, Place, Query, go, page};
use crate::server::state::Server;
use crate::server::web::At;

/// The page of the tab that people want most.
pub(in crate::server::pages) async fn first(At((account, set)): At<(Id, Id)>) -> Answer {
    Ok(go(&format!("/a/{account}/sets/{set}/change/{}", Step::Choose.word())))
}

/// The page of a tab.
pub(in crate::server::pages) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set, step)): At<(Id, Id, String)>,
    Query(view): Query<View>,
) -> Answer {
    let step = Step::named(&step)?;
    let mut desk = Desk::of_set(server, actor, &account, &set).await?;
    if !view.saved.is_empty() {
        desk.told = Some("Saved. The next run goes by it.".to_owned());
    }
    desk.view = view;
    Ok(shown(&desk, step, None).await?)
}

/// Takes what a tab's form sent.
pub(in crate::server::pages) async fn take(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, set, step)): At<(Id, Id, String)>,
    Form(sent): Form<Vec<(String, String)>>,
) -> Answer {
    let step = Step::named(&step)?;
    let mut desk = Desk::of_set(server, actor, &account, &set).await?;
    let button = desk.take(step, sent);
    match pressed(&mut desk, step, &button).await {
        Ok(Done::Go(to)) => Ok(go(&to)),
        Ok(Done::Stay | Done::Show(..)) => Ok(shown(&desk, step, None).await?),
        Err(e) => Ok(shown(&desk, step, Some(&e)).await?),
    }
}

async fn pressed(desk: &mut Desk, step: Step, button: &str) -> Result<Done> {
    if !matches!(button, "save" | "") {
        return desk.press(step, button).await;
    }
    desk.press(step, "save").await?;
    desk.check(step).await?;
    let set = desk.set.as_ref().ok_or_else(|| Error::internal("A tab without a set"))?;
    sets::change(&desk.server, &desk.actor, &desk.account.id, &set.id, &wanted(desk, set, step).await?).await?;
    Ok(Done::Go(format!("{}/{}?saved=1", desk.base(), step.word())))
}

/// The set as it is, but for what belongs to the tab.
async fn wanted(desk: &Desk, set: &SetRow, step: Step) -> Result<SetWanted> {
    let schedules = desk.server.db.schedules(&set.id).await?;
    let mut wanted = SetWanted {
        name: set.name.clone(),
        tenant: set.tenant.clone(),
        repository: set.repository.clone(),
        choices: set.choices.clone(),
        schedules: schedules.iter().map(|row| row.timing.clone()).collect(),
        enabled: set.enabled,
        client: set.client.clone(),
    };
    match step {
        Step::Connect | Step::Key => {}
        Step::Choose => desk.fields.put_choice(&mut wanted.choices)?,
        Step::When => {
            let shown = Fields::of(set, &schedules);
            desk.fields.put_kept(&mut wanted.choices)?;
            if desk.fields.get("zone").trim() == shown.get("zone") {
                wanted.choices.time_zone.clone_from(&set.choices.time_zone);
            }
            wanted.schedules = desk.fields.timings_after(&shown, &schedules)?;
            wanted.enabled = desk.fields.has("enabled");
        }
        Step::Where => wanted.client = desk.fields.client()?,
    }
    Ok(wanted)
}

async fn shown(desk: &Desk, step: Step, wrong: Option<&Error>) -> Result<Response> {
    let inner = desk.part(step).await?;
    let set = desk.set.as_ref().ok_or_else(|| Error::internal("A tab without a set"))?;
    let buttons = html! {
        @if !matches!(step, Step::Connect | Step::Key) { button type="submit" name="do" value="save" { "Save" } }
        a.button.plain href={ "/a/" (desk.account.id) "/sets/" (set.id) } { "To the backup set" }
    };
    let body = html! {
        h1 { "Change '" (set.name) "'" }
        (steps::tabs(&desk.base(), step))
        div #step {
            h2 { (step.label()) }
            @if let Some(e) = wrong { (steps::wrong(e)) }
            @if let Some(told) = &desk.told { p.notice.good role="status" { (told) } }
            (steps::form(step, &desk.base(), &inner, &buttons))
        }
    };
    let chrome = Chrome { actor: &desk.actor, account: Some(&desk.account), place: Place::Sets };
    let status = wrong.map_or(StatusCode::OK, |e| problem(e).0);
    Ok((status, Page(page(&format!("{}: {}", set.name, step.label()), chrome, &body))).into_response())
}
