//! The basket: what was picked, to be restored or downloaded.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{RawForm, State};
use axum::response::IntoResponse;
use maud::html;

use super::look::{Tab, bar, opened};
use super::{Answer, Chrome, Page, Place, encode, go, page, words};
use crate::error::{Error, Result};
use crate::format::id::SnapshotId;
use crate::ops::browse::Origin;
use crate::ops::export::MailFormat;
use crate::server::auth::Actor;
use crate::server::deeds::{archive, look};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::web::OfRepository;

/// What a form sends, name by name: fields may come several times.
pub(super) fn fields(RawForm(bytes): &RawForm) -> Vec<(String, String)> {
    url::form_urlencoded::parse(bytes).into_owned().collect()
}

/// The first value of a field.
pub(super) fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

/// A place to go back to: one of this account's pages, whatever was sent.
pub(super) fn back(account: &Id, wanted: &str, otherwise: String) -> String {
    let fine = wanted.starts_with(&format!("/a/{account}/")) && !wanted.contains(['\\', '\r', '\n']);
    if fine { wanted.to_owned() } else { otherwise }
}

/// `SNAPSHOT:PATH`.
fn origin(text: &str) -> Result<Origin> {
    let (snapshot, path) = text.split_once(':').unwrap_or((text, ""));
    let snapshot: SnapshotId = snapshot.parse()?;
    Ok(Origin { snapshot, path: path.to_owned() })
}

/// Puts things in: entries of a folder (`path`, `pick`), or what a search found (`item`).
pub(super) async fn add(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    form: RawForm,
) -> Answer {
    let fields = fields(&form);
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let path = field(&fields, "path").trim_matches('/');
    let mut new = Vec::new();
    for (name, value) in &fields {
        match name.as_str() {
            "item" => new.push(origin(value)?),
            "pick" if path.is_empty() => new.push(look::origin(&server, &actor, &row, value).await?),
            "pick" => new.push(look::origin(&server, &actor, &row, &format!("{path}/{value}")).await?),
            "whole" => new.push(look::origin(&server, &actor, &row, path).await?),
            _ => {}
        }
    }
    if new.is_empty() {
        return Err(Error::invalid("Nothing was ticked").with_hint("Tick what you want first").into());
    }
    server.baskets.add(&actor, &row.id, new, server.now_us())?;
    if field(&fields, "then") == "restore" {
        return Ok(go(&format!("{here}/restore")));
    }
    let otherwise = if path.is_empty() { here.clone() } else { format!("{here}?path={}", encode(path)) };
    Ok(go(&back(&account.id, field(&fields, "back"), otherwise)))
}

/// The page.
pub(super) async fn show(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
) -> Answer {
    let chrome = Chrome { actor: &actor, account: Some(&account), place: Place::Look };
    let here = format!("/a/{}/look/{}", account.id, row.id);
    let browser = match opened(&server, chrome, &row, &format!("{here}/basket")).await? {
        Ok(browser) => browser,
        Err(locked) => return Ok(*locked),
    };
    let times = browser.snapshots().await;
    let items = server.baskets.of(&actor, &row.id);
    let time = |id: &SnapshotId| times.iter().find(|(known, ..)| known == id).map(|(_, set, us)| (set.clone(), *us));
    let body = html! {
        (bar(&server, &actor, &account, &row, Tab::Basket))
        h1 { "Basket" }
        p.quiet { "Kept until you make a plan or sign out, or the server restarts. From the snapshots in '" (row.name) "'." }
        @if items.is_empty() {
            p.empty { "Nothing is in it yet. Tick mails, files or folders where you look at them, or what a search found." }
            p { a.button href=(here) { "Find something" } }
        } @else {
            div.scroll tabindex="0" { table {
                thead { tr { th scope="col" { "What" } th scope="col" { "From the snapshot of" } th scope="col" { "Take out" } } }
                tbody { @for item in &items { tr {
                    th scope="row" {
                        a href={ (here) "/item?snapshot=" (item.snapshot) "&path=" (encode(&item.path)) } {
                            @if item.path.is_empty() { "All of the snapshot" } @else { (item.path) }
                        }
                    }
                    td { @match time(&item.snapshot) { Some((set, us)) => { (words::time(us)) " " span.quiet { (set) } } None => { span.state.warn { "gone" } } } }
                    td { form method="post" action={ (here) "/basket/removal" } {
                        input type="hidden" name="item" value={ (item.snapshot) ":" (item.path) };
                        button.plain type="submit" aria-label={ "Take out " (item.path) } { "Take out" }
                    } }
                } } }
            } }
            div.actions {
                a.button href={ (here) "/restore" } { "Restore…" }
                form method="post" action={ (here) "/basket/zip" } data-again="" {
                    button.plain type="submit" { "Download as ZIP" }
                }
                form method="post" action={ (here) "/basket/emptying" } { button.plain type="submit" { "Empty it" } }
            }
            p.quiet { "The ZIP has each thing under its path. A file at its end lists what could not be read." }
        }
    };
    Ok(Page(page("Basket", chrome, &body)).into_response())
}

/// Takes something out.
pub(super) async fn remove(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
    form: RawForm,
) -> Answer {
    server.baskets.remove(&actor, &row.id, &origin(field(&fields(&form), "item"))?);
    Ok(go(&format!("/a/{}/look/{}/basket", account.id, row.id)))
}

/// Empties it.
pub(super) async fn empty(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { account, row }: OfRepository,
) -> Answer {
    server.baskets.empty(&actor, &row.id);
    Ok(go(&format!("/a/{}/look/{}/basket", account.id, row.id)))
}

/// Sends it.
pub(super) async fn zip(
    State(server): State<Arc<Server>>,
    Extension(actor): Extension<Actor>,
    OfRepository { row, .. }: OfRepository,
) -> Answer {
    let items = server.baskets.of(&actor, &row.id);
    Ok(archive::download(&server, &actor, &row, &items, MailFormat::Eml).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_leads_out_of_the_account() {
        let account = Id::random();
        let own = format!("/a/{account}/look/x?path=y");
        assert_eq!(back(&account, &own, "/".into()), own);
        let other = format!("/a/{}/look", Id::random());
        for bad in ["", "//evil.example", "https://evil.example", "/a/", &other, &format!("/a/{account}/\\evil")] {
            assert_eq!(back(&account, bad, "/here".into()), "/here", "{bad}");
        }
    }
}
