//! Reports and notices: who is told of what, and what was sent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use maud::{Markup, html};
use serde::Deserialize;

use super::part::{Part, Which};
use super::{Answer, Chrome, Form, Page, Place, Query, go, page, words};
use crate::error::{Error, Result};
use crate::server::auth::{Actor, Password, Right};
use crate::server::db::{
    Account, Before, Delivery, DeliveryState, DigestTime, Receiver, ReceiverDefinition, ReceiverKind, RunsTold, SetRow,
};
use crate::server::deeds::receivers::{self, ReceiverToBe};
use crate::server::id::Id;
use crate::server::notices::{Notice, settings};
use crate::server::state::Server;
use crate::server::web::At;

/// Deliveries on the page.
const MOST: i64 = 30;
/// Receivers on the page.
const MOST_SHOWN: usize = 20;
/// Backup sets that are offered to be told of.
const MOST_SETS: usize = 500;

/// What the form sends.
#[derive(Debug, Deserialize)]
pub(super) struct Typed {
    name: String,
    kind: ReceiverKind,
    #[serde(default)]
    to: String,
    #[serde(default)]
    url: String,
    #[serde(default)]
    runs: Option<RunsTold>,
    #[serde(default)]
    set: String,
    #[serde(default)]
    warnings: Option<String>,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    hour: Option<u8>,
    #[serde(default)]
    zone: String,
    #[serde(default)]
    beat_minutes: String,
    #[serde(default)]
    enabled: Option<String>,
}

impl Typed {
    fn wanted(self) -> Result<ReceiverToBe> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        let reports = self.kind != ReceiverKind::Ping;
        let beat_minutes = match given(&self.beat_minutes).filter(|_| !reports) {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| Error::invalid(format!("'{}' is no number of minutes", text.escape_debug())))?,
            ),
        };
        let mail = self.kind == ReceiverKind::Mail;
        let to = self.to.split(['\n', ',', ';']).filter_map(given).filter(|_| mail).collect();
        let digest = self.digest.filter(|_| reports).map(|_| DigestTime {
            hour: self.hour.unwrap_or(7),
            zone: given(&self.zone).unwrap_or_else(|| "UTC".to_owned()),
        });
        Ok(ReceiverToBe {
            name: self.name,
            definition: ReceiverDefinition {
                kind: self.kind,
                to,
                runs: self.runs.filter(|_| reports).unwrap_or_default(),
                set: given(&self.set).map(|id| Id::parse(&id)).transpose()?,
                warnings: reports && self.warnings.is_some(),
                digest,
                beat_minutes,
                enabled: self.enabled.is_some(),
            },
            url: given(&self.url).filter(|_| !mail).map(Password::new),
            key: None,
        })
    }
}

/// The page.
pub(super) async fn list(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Query(which): Query<Which>,
) -> Answer {
    let account = server.db.account(&account).await?;
    let all = server.db.receivers(&account.id).await?;
    let part = Part::of(&all, &which, MOST_SHOWN, "receiver", |receiver| &receiver.name);
    let mut sent = server.db.deliveries(&account.id, &Before::NOTHING, MOST).await?;
    // What is told to several goes out at one time.
    let name = |delivery: &Delivery| all.iter().find(|r| r.id == delivery.receiver).map_or("", |r| r.name.as_str());
    sent.sort_by(|a, b| b.created_us.cmp(&a.created_us).then_with(|| name(a).cmp(name(b))));
    let sets = server.db.sets(&account.id).await?;
    let may = actor.may(Right::Change, Some(&account.id));
    let mails = all.iter().any(|receiver| receiver.definition.kind == ReceiverKind::Mail);
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Notices };
    let body = html! {
        h1 { "Reports and notices" }
        @if mails && settings(&server).await?.is_none() {
            p.notice.warn { "Mails wait: the server has no mail settings yet. "
                @if actor.may(Right::Server, None) { a href="/settings" { "Enter them" } } @else { "Whoever runs this server enters them." } }
        }
        @if all.is_empty() { p.empty { "Nobody is told anything yet. Add at least a digest by mail each morning, and a ping to a monitor elsewhere, which notices when this server itself stands still." } } @else {
            (part.finder())
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "Receiver" } th scope="col" { "Goes to" } th scope="col" { "Is told" } th scope="col" { "Last" } } }
                tbody { @for receiver in &part.shown { (row(&server, &account, receiver, &sets, &sent)?) } }
            } }
            (part.ways())
        }
        @if may { (form(&account, &sets, None, &format!("/a/{}/notices", account.id))) }
        h2 { "What was sent" }
        @if sent.is_empty() { p.empty { "Nothing yet." } } @else { (deliveries(&all, &sent)) }
    };
    Ok(Page(page("Reports and notices", chrome, &body)).into_response())
}

fn row(server: &Server, account: &Account, receiver: &Receiver, sets: &[SetRow], sent: &[Delivery]) -> Result<Markup> {
    let address = receivers::shown_address(server, receiver)?;
    let last = sent.iter().find(|delivery| delivery.receiver == receiver.id);
    Ok(html! { tr {
        th scope="row" { a href={ "/a/" (account.id) "/notices/" (receiver.id) } { (receiver.name) } }
        td { @match &address { Some(address) => { code { (address) } } None => { (receiver.definition.to.join(", ")) } } }
        td { (told(&receiver.definition, sets)) }
        td { @match last { Some(delivery) => { (badge(delivery)) " " (words::time(delivery.created_us)) } None => { span.quiet { "nothing sent" } } } }
    } })
}

/// What a receiver is told, in words.
fn told(definition: &ReceiverDefinition, sets: &[SetRow]) -> String {
    if !definition.enabled {
        return "nothing: it is off".to_owned();
    }
    let set = definition.set.as_ref().and_then(|id| sets.iter().find(|set| set.id == *id));
    let of = set.map(|set| format!(" of '{}'", set.name)).unwrap_or_default();
    if definition.kind == ReceiverKind::Ping {
        return match definition.beat_minutes {
            Some(minutes) => format!("called every {minutes} min while the server works"),
            None => format!("called after each good run{of}"),
        };
    }
    let mut all = Vec::new();
    match definition.runs {
        RunsTold::None => {}
        RunsTold::Trouble => all.push(format!("runs{of} with trouble")),
        RunsTold::All => all.push(format!("every run{of}")),
    }
    if let Some(at) = &definition.digest {
        all.push(format!("a digest each day at {:02}:00 ({})", at.hour, at.zone));
    }
    if definition.warnings {
        all.push("warnings".to_owned());
    }
    if all.is_empty() { "nothing".to_owned() } else { all.join("; ") }
}

fn badge(delivery: &Delivery) -> Markup {
    let tries = usize::try_from(delivery.attempts).unwrap_or(0);
    match delivery.state {
        DeliveryState::Sent => html! { span.state.good { "sent" } },
        DeliveryState::Waiting if tries > 0 => {
            html! { span.state.warn { "waiting after " (words::count(tries, "try")) } }
        }
        DeliveryState::Waiting => html! { span.state.calm { "waiting" } },
        DeliveryState::GivenUp => html! { span.state.bad { "given up" } },
    }
}

fn deliveries(all: &[Receiver], sent: &[Delivery]) -> Markup {
    html! {
        div.scroll tabindex="0" { table {
            thead { tr { th scope="col" { "When" } th scope="col" { "To" } th scope="col" { "What" } th scope="col" { "State" } th scope="col" { "Why" } } }
            tbody { @for delivery in sent {
                @let notice: Option<Notice> = serde_json::from_str(&delivery.notice).ok();
                tr {
                    td { (words::time(delivery.created_us)) }
                    td { (all.iter().find(|r| r.id == delivery.receiver).map_or("", |r| r.name.as_str())) }
                    td { (notice.map(|notice| notice.title).unwrap_or_default()) }
                    td { (badge(delivery)) }
                    td.long { @if let Some(error) = &delivery.error { (error)
                        @if delivery.state == DeliveryState::Waiting { @if !error.ends_with('.') { "." } " It is sent again at " (words::time(delivery.next_us)) }
                    } }
                }
            } }
        } }
    }
}

fn form(account: &Account, sets: &[SetRow], of: Option<&Receiver>, action: &str) -> Markup {
    let definition = of.map(|receiver| &receiver.definition);
    let kind = definition.map_or(ReceiverKind::Mail, |d| d.kind);
    let runs = definition.map_or(RunsTold::Trouble, |d| d.runs);
    let digest = definition.and_then(|d| d.digest.as_ref());
    let zone = digest.map_or("UTC", |at| at.zone.as_str());
    let hour = digest.map_or(7, |at| at.hour);
    let set = definition.and_then(|d| d.set.as_ref());
    // The one that is chosen stays so, wherever in a long list it is.
    let (chosen, others): (Vec<&SetRow>, Vec<&SetRow>) = sets.iter().partition(|row| set == Some(&row.id));
    let beat = definition.and_then(|d| d.beat_minutes).map(|n| n.to_string()).unwrap_or_default();
    html! {
        h2 { @if of.is_some() { "Change it" } @else { "Add a receiver" } }
        form.card method="post" action=(action) {
            label for="name" { "Name" }
            input #name name="name" required maxlength="100" placeholder="IT by mail" value=[of.map(|receiver| receiver.name.as_str())];
            fieldset {
                legend { "How" }
                label { input type="radio" name="kind" value="mail" checked[kind == ReceiverKind::Mail]; " By mail" }
                label { input type="radio" name="kind" value="webhook" checked[kind == ReceiverKind::Webhook]; " Webhook: JSON is posted to a web address, signed" }
                label { input type="radio" name="kind" value="ping" checked[kind == ReceiverKind::Ping]; " Ping: a monitor elsewhere is called while all is well, and alarms when no call comes" }
            }
            div.of-mail {
                label for="to" { "Mail addresses, " span.quiet { "for mail; one per line" } }
                textarea #to name="to" spellcheck="false" { (definition.map(|d| d.to.join("\n")).unwrap_or_default()) }
            }
            div.of-web {
                label for="url" { "Web address, " span.quiet { "for webhook and ping" @if of.is_some() && kind != ReceiverKind::Mail { "; leave it empty to keep the present one" } } }
                input #url name="url" inputmode="url" maxlength="2000" autocomplete="off" data-secret spellcheck="false" placeholder="https://…";
            }
            fieldset.of-reports {
                legend { "Tell it about" }
                label { input type="radio" name="runs" value="trouble" checked[runs == RunsTold::Trouble]; " Runs that failed, had gaps, were stopped or missed" }
                label { input type="radio" name="runs" value="all" checked[runs == RunsTold::All]; " Every run" }
                label { input type="radio" name="runs" value="none" checked[runs == RunsTold::None]; " No runs" }
            }
            label for="set" { "Runs of which backup set" }
            select #set name="set" {
                option value="" { "All" }
                @for row in chosen.iter().chain(others.iter().take(MOST_SETS)) { option value=(row.id) selected[set == Some(&row.id)] { (row.name) } }
            }
            div.of-reports {
                label { input type="checkbox" name="warnings" value="yes" checked[definition.is_none_or(|d| d.warnings)]; " Warnings: secrets that expire, quotas that fill up, sets without a good run, storage that cannot be reached" }
                label { input type="checkbox" name="digest" value="yes" checked[of.is_none() || digest.is_some()]; " A digest each day" }
                label for="hour" { "Hour of the digest" }
                input #hour name="hour" inputmode="numeric" maxlength="2" value=(hour);
                label for="zone" { "Time zone of the digest" }
                input #zone name="zone" value=(zone) spellcheck="false" placeholder="Europe/Berlin";
            }
            div.of-ping {
                label for="beat_minutes" { "Minutes between pings, " span.quiet { "for ping; empty: after each good run" } }
                input #beat_minutes name="beat_minutes" inputmode="numeric" maxlength="5" value=(beat);
            }
            label { input type="checkbox" name="enabled" value="yes" checked[definition.is_none_or(|d| d.enabled)]; " Enabled" }
            button type="submit" { @if of.is_some() { "Save" } @else { "Add" } }
        }
        @if of.is_some() { p { a href={ "/a/" (account.id) "/notices" } { "Back" } } }
    }
}

/// The page of one.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, receiver)): At<(Id, Id)>,
) -> Answer {
    Ok(one(&server, &actor, &account, &receiver, None).await?)
}

async fn one(
    server: &Server,
    actor: &Actor,
    account: &Id,
    receiver: &Id,
    key: Option<String>,
) -> Result<axum::response::Response> {
    let account = server.db.account(account).await?;
    let receiver = server.db.receiver(&account.id, receiver).await?;
    let sets = server.db.sets(&account.id).await?;
    let sent = server.db.deliveries(&account.id, &Before::NOTHING, 1_000).await?;
    let sent: Vec<Delivery> =
        sent.into_iter().filter(|d| d.receiver == receiver.id).take(usize::try_from(MOST).unwrap_or(0)).collect();
    let here = format!("/a/{}/notices/{}", account.id, receiver.id);
    let address = receivers::shown_address(server, &receiver)?;
    let is_mail = receiver.definition.kind == ReceiverKind::Mail;
    let waits = is_mail && settings(server).await?.is_none();
    let may_change = actor.may(Right::Change, Some(&account.id));
    let chrome = Chrome { actor, account: Some(&account), place: Place::Notices };
    let body = html! {
        h1 { (receiver.name) }
        @if let Some(key) = &key {
            section.notice.warn {
                p { "The key that posts are signed with. It is shown this once; whoever receives the posts checks their signature with it:" }
                p.key { code { (key) } }
            }
        }
        @if waits { p.notice.warn { "Mails wait: the server has no mail settings yet." } }
        p { "Goes to " @match &address { Some(address) => { code { (address) } } None => { (receiver.definition.to.join(", ")) } } "." }
        p { "Is told: " (told(&receiver.definition, &sets)) "." }
        @if let Some(last) = sent.first() {
            p { "Last: " (badge(last)) " " (words::time(last.created_us)) @if let Some(error) = &last.error { ": " (error) } }
        }
        @if may_change {
            form method="post" action={ (here) "/test" } { button type="submit" { "Send a test" } }
            (form(&account, &sets, Some(&receiver), &here))
            details { summary { "Remove this receiver" }
                p { "Nothing is sent to it any more, and what was sent to it is no longer listed." }
                form method="post" action={ (here) "/removal" } { button.danger type="submit" { "Remove" } }
            }
        }
        h2 { "What was sent to it" }
        @if sent.is_empty() { p.empty { "Nothing yet." } } @else { (deliveries(std::slice::from_ref(&receiver), &sent)) }
    };
    Ok(Page(page(&receiver.name, chrome, &body)).into_response())
}

/// Takes the form of a new one.
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At(account): At<Id>,
    Form(typed): Form<Typed>,
) -> Answer {
    let (receiver, key) = receivers::add(&server, &actor, &account, &typed.wanted()?).await?;
    if key.is_some() {
        return Ok(one(&server, &actor, &account, &receiver.id, key).await?);
    }
    Ok(go(&format!("/a/{account}/notices/{}", receiver.id)))
}

/// Takes the form of one that is there.
pub(super) async fn change(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, receiver)): At<(Id, Id)>,
    Form(typed): Form<Typed>,
) -> Answer {
    let (receiver, key) = receivers::change(&server, &actor, &account, &receiver, &typed.wanted()?).await?;
    if key.is_some() {
        return Ok(one(&server, &actor, &account, &receiver.id, key).await?);
    }
    Ok(go(&format!("/a/{account}/notices/{}", receiver.id)))
}

/// Sends a test.
pub(super) async fn test(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, receiver)): At<(Id, Id)>,
) -> Answer {
    receivers::test(&server, &actor, &account, &receiver).await?;
    Ok(go(&format!("/a/{account}/notices/{receiver}")))
}

/// Removes it.
pub(super) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    At((account, receiver)): At<(Id, Id)>,
) -> Answer {
    receivers::remove(&server, &actor, &account, &receiver).await?;
    Ok(go(&format!("/a/{account}/notices")))
}
