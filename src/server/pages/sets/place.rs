//! The fourth step: the repository, an old one or one that is made here, with its further destinations; and who runs the set.

use maud::{Markup, html};

use super::desk::{Desk, Done};
use super::key;
use super::steps::Step;
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::{Password, Right, Role};
use crate::server::db::{ClientRow, RepositoryRow};
use crate::server::deeds::repositories::{self, PlaceToBe, RepositoryToMake};
use crate::server::id::Id;
use crate::server::pages::part;
use crate::server::pages::storage::{key_mark, pairs};
use crate::server::targets::OWN;

/// What stands for a repository that is yet to be made.
const NEW: &str = "new";

/// What an address looks like.
const EXAMPLE: &str = "s3://bucket/folder?endpoint=https://…&region=…";

/// Kinds of places: the word, the schemes of its addresses, what it is called, what an address looks like, and its secrets.
const PLACES: [(&str, &[&str], &str, &str, &str); 7] = [
    ("server", &["server"], "This server's own storage", "", ""),
    ("folder", &["fs", "file"], "A folder of the server's machine", "/srv/backup", ""),
    ("s3", &["s3"], "S3, or what speaks like it", EXAMPLE, "access_key_id, secret_access_key"),
    ("azblob", &["azblob"], "Azure Blob Storage", "azblob://container/folder?account=…", "account_key or sas_token"),
    ("gcs", &["gcs"], "Google Cloud Storage", "gcs://bucket/folder", "credential"),
    ("webdav", &["webdav", "webdav+http"], "WebDAV", "webdav://host/folder", "username, password"),
    ("sftp", &["sftp"], "SFTP", "sftp://user@host/folder", ""),
];

/// Kinds that lend the server's machine, its files or its keys: administrators alone name such places.
const OF_THE_MACHINE: [&str; 2] = ["folder", "sftp"];

/// Says whether whoever asks may name a place of some kind.
fn may_name(desk: &Desk, kind: &str) -> bool {
    desk.actor.role == Role::Administrator || !OF_THE_MACHINE.contains(&kind)
}

/// The address of a place of some kind, as people write it: with its scheme or without.
fn address(kind: &str, url: &str) -> Result<String> {
    let url = url.trim();
    let found = PLACES.iter().find(|(word, ..)| *word == kind);
    let (word, schemes, label, example, _) = found.ok_or_else(|| Error::invalid("This is no kind of place"))?;
    if *word == "server" {
        return Ok(OWN.to_owned());
    }
    let lacks = |text: String| Error::invalid(text).with_hint(format!("Write it like {example}"));
    if url.is_empty() {
        return Err(lacks(format!("The address is missing ({label})")));
    }
    if *word == "folder" {
        return Ok(url.to_owned());
    }
    match url.split_once("://") {
        Some((scheme, _)) if schemes.contains(&scheme) => Ok(url.to_owned()),
        Some(_) => Err(lacks(format!("This is no address of {label}"))),
        None => Ok(format!("{word}://{url}")),
    }
}

/// The repository that is chosen: what was chosen, else the newest whose key is confirmed; none: a new one.
async fn chosen(desk: &Desk) -> Result<(Vec<RepositoryRow>, Option<RepositoryRow>)> {
    let all = desk.server.db.repositories(&desk.account.id).await?;
    let wanted = desk.fields.get("repository");
    let found = match wanted {
        "" => all.iter().filter(|row| row.confirmed).max_by_key(|row| row.created_us),
        wanted => all.iter().find(|row| row.id.as_str() == wanted),
    };
    let found = found.cloned();
    Ok((all, found))
}

/// What is typed.
pub(super) async fn part(desk: &Desk) -> Result<Markup> {
    let (all, found) = chosen(desk).await?;
    let fixed = desk.set.is_some();
    let may_make = desk.actor.may(Right::Keys, Some(&desk.account.id));
    let places = match &found {
        Some(row) => Some(places(desk, row).await?),
        None => None,
    };
    Ok(html! {
        fieldset { legend { "Where the snapshots lie" }
            @if let (true, Some(row)) = (fixed, &found) {
                p { "Repository " a href={ "/a/" (desk.account.id) "/storage/" (row.id) } { (row.name) } " " (key_mark(row)) }
                p.quiet { "A backup set keeps its repository. Further destinations hold copies of it." }
            } @else {
                @let is_chosen = |row: &RepositoryRow| found.as_ref().is_some_and(|found| found.id == row.id);
                (part::narrower("find_repository", desk.sent("find_repository"), all.len()))
                label for="repository" { "Repository" }
                select #repository name="repository" data-stay {
                    @if may_make { option value=(NEW) selected[found.is_none()] { "a new one, made here" } }
                    @for row in part::offered(&all, desk.sent("find_repository"), |row| &row.name, is_chosen) { option value=(row.id) selected[is_chosen(row)] { (row.name) @if !row.confirmed { " (key not confirmed)" } } }
                }
            }
            @if let Some(places) = &places { (places) }
            @if !fixed && may_make && found.is_none() { (new(desk)) }
        }
        (runner(desk).await?)
    })
}

fn new(desk: &Desk) -> Markup {
    let fields = &desk.fields;
    html! {
        fieldset { legend { "A new repository" }
            p.quiet { "A key is made for it and shown once, in the next step. The server keeps one of its own with which it adds snapshots and cannot read what is in them." }
            label for="new_name" { "Name" }
            input #new_name name="new_name" maxlength="100" value=(fields.get("new_name")) spellcheck="false";
            label for="new_kind" { "Kind of place" }
            select #new_kind name="new_kind" data-stay { @for (word, _, label, ..) in PLACES {
                @if may_name(desk, word) { option value=(word) selected[fields.get("new_kind") == word] { (label) } }
            } }
            (reached(desk, "new", fields.get("new_kind")))
            details { summary { "A passphrase of your own instead of a key" }
                label for="passphrase" { "Passphrase, " span.quiet { "at least 12 characters" } }
                input #passphrase name="passphrase" type="password" autocomplete="new-password" value=(desk.sent("passphrase"));
            }
        }
    }
}

/// The address of a place and its secrets. `kind`: whose examples are shown; of an unknown one all.
fn reached(desk: &Desk, prefix: &str, kind: &str) -> Markup {
    let (url, secrets) = (format!("{prefix}_url"), format!("{prefix}_credentials"));
    let known = PLACES.iter().find(|(word, ..)| *word == kind);
    html! {
        @if kind == "server" {
            p.quiet { "Nothing more is needed." }
            input type="hidden" name=(url) value=(desk.fields.get(&url));
        } @else {
            label for=(url) { "Where it lies" }
            input id=(url) name=(url) maxlength="2000" spellcheck="false" autocomplete="off" value=(desk.fields.get(&url)) placeholder=(known.map_or(EXAMPLE, |place| place.3));
            label for=(secrets) { "The storage's secrets, " span.quiet { "one a line: name = secret" @if let Some(place) = known.filter(|place| !place.4.is_empty()) { " (" (place.4) ")" } } }
            textarea id=(secrets) name=(secrets) spellcheck="false" autocomplete="off" { (desk.sent(&secrets)) }
        }
    }
}

/// The places of a repository, with those to add and to let go of.
async fn places(desk: &Desk, row: &RepositoryRow) -> Result<Markup> {
    let all = desk.server.db.destinations(&row.id).await?;
    Ok(html! {
        h3 { "Its destinations" }
        ul.plain { @for place in &all { li {
            strong { (place.name) } ": " @if place.url == OWN { "this server's own storage" } @else { code { (place.url) } }
            @if place.position == 0 { span.quiet { ", the primary one" } } @else {
                span.quiet { ", a copy" }
                @if let Some(lag) = &place.lag { " " span.state.warn { "lags behind: " (lag) } }
                " " button.plain id={ "let-go-" (place.id) } type="submit" name="do" value={ "remove-place:" (place.id) } data-inplace { "Let go of '" (place.name) "'" }
            }
        } } }
        @if all.len() > 1 { p.quiet { "Letting go of a destination never deletes what lies there." } }
        p.quiet { "A secret that was renewed is entered on the " a href={ "/a/" (desk.account.id) "/storage/" (row.id) } { "repository's page" } "." }
        details open[!desk.fields.get("copy_url").is_empty()] { summary { "Add a destination: a copy of all of it, kept up to date" }
            label for="copy_name" { "Name" }
            input #copy_name name="copy_name" maxlength="100" value=(desk.fields.get("copy_name")) spellcheck="false";
            (reached(desk, "copy", ""))
            p.quiet { "Addresses: " @for (n, place) in PLACES.iter().skip(2).filter(|place| may_name(desk, place.0)).enumerate() { @if n > 0 { ", " } code { (place.3) } } }
            button.plain #add-place type="submit" name="do" value="add-place" { "Add this destination" }
        }
    })
}

async fn runner(desk: &Desk) -> Result<Markup> {
    let clients = desk.server.db.clients(&desk.account.id).await?;
    let chosen = desk.fields.get("client");
    let is_chosen = |client: &ClientRow| client.id.as_str() == chosen;
    Ok(html! {
        fieldset { legend { "Who runs it" }
            (part::narrower("find_client", desk.sent("find_client"), clients.len()))
            label for="client" { "It runs on" }
            select #client name="client" {
                option value="" { "the server" }
                @for client in part::offered(&clients, desk.sent("find_client"), |client| &client.name, is_chosen) { option value=(client.id) selected[is_chosen(client)] { "client " (client.name) @if !client.enrolled { " (not enrolled yet)" } } }
            }
            p.quiet { "This may change at any time: the next run goes on from the last one, whoever made it. A client signs in to the tenant itself, so it is handed the tenant's secret for each run." }
        }
    })
}

/// What the buttons do.
pub(super) async fn press(desk: &mut Desk, button: &str) -> Result<Done> {
    match button.split_once(':') {
        None if button == "add-place" => add_place(desk).await,
        None if button == "next" => make(desk).await,
        Some(("remove-place", id)) => {
            let id = Id::parse(id)?;
            repositories::remove_place(&desk.server, &desk.actor, &desk.account.id, &id).await?;
            desk.told = Some("It is let go of. What lies there stays.".to_owned());
            Ok(Done::Stay)
        }
        _ => Ok(Done::Stay),
    }
}

async fn add_place(desk: &mut Desk) -> Result<Done> {
    let row = chosen(desk).await?.1.ok_or_else(|| Error::invalid("Choose a repository first"))?;
    let place = PlaceToBe {
        name: desk.fields.get("copy_name").trim().to_owned(),
        url: desk.fields.get("copy_url").trim().to_owned(),
        credentials: pairs(desk.sent("copy_credentials")),
    };
    if place.url.is_empty() {
        return Err(Error::invalid("The address is missing").with_hint(format!("Write it like {EXAMPLE}")));
    }
    let added = repositories::add_place(&desk.server, &desk.actor, &desk.account.id, &row.id, &place).await?;
    desk.told = Some(format!("'{}' is added, and is being filled.", added.name));
    for name in ["copy_name", "copy_url"] {
        desk.fields.set(name, "");
    }
    desk.forget_sent("copy_credentials");
    Ok(Done::Stay)
}

/// Makes the repository, if it is to be a new one; then its key is shown.
async fn make(desk: &mut Desk) -> Result<Done> {
    if desk.fields.get("repository") != NEW {
        return Ok(Done::Stay);
    }
    if !desk.actor.may(Right::Keys, Some(&desk.account.id)) {
        return Err(
            Error::new(ErrorKind::Permission, "Your role may not make keys").with_hint("Ask an owner of the account")
        );
    }
    let (name, kind) = (desk.fields.get("new_name").trim().to_owned(), desk.fields.get("new_kind").to_owned());
    let url = address(&kind, desk.fields.get("new_url"))?;
    let passphrase = Some(desk.sent("passphrase")).filter(|text| !text.is_empty()).map(Password::new);
    let own = passphrase.is_some();
    let wanted = RepositoryToMake {
        destination: PlaceToBe {
            name: format!("{name} ({})", if url == OWN { "server" } else { "first" }),
            url,
            credentials: pairs(desk.sent("new_credentials")),
        },
        name,
        passphrase,
    };
    let made = repositories::make(&desk.server, &desk.actor, &desk.account.id, &wanted).await?;
    desk.fields.set("repository", made.row.id.as_str());
    desk.fields.set("new_url", "");
    Ok(Done::Show(Step::Key, key::fresh(desk, &made.row, made.key.expose_text(), own).await))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_example_is_an_address_that_is_taken_with_the_secrets_that_are_named() {
        use crate::storage::{Credentials, StorageOptions, open};
        for (kind, _, _, example, secrets) in PLACES.into_iter().filter(|(_, _, _, example, _)| !example.is_empty()) {
            let url = address(kind, &example.replace('…', "example")).expect(example);
            // Of secrets that are named one by one all are needed, of others one.
            let either = secrets.split_once(" or ").map_or(secrets, |(one, _)| one);
            let credentials =
                either.split(", ").filter(|name| !name.is_empty()).fold(Credentials::new(), |all, name| {
                    let secret = if name == "credential" { "{\"type\":\"service_account\"}" } else { "c2VjcmV0" };
                    all.with(name, secret)
                });
            open(&url, &StorageOptions { credentials, ..StorageOptions::default() }).expect(example);
        }
    }

    #[test]
    fn addresses_are_taken_with_their_scheme_or_without() {
        for (kind, url, whole) in [
            ("server", "whatever", "server:"),
            ("folder", " /srv/backup ", "/srv/backup"),
            ("s3", "bucket/folder?region=x", "s3://bucket/folder?region=x"),
            ("s3", "s3://bucket", "s3://bucket"),
            ("webdav", "webdav+http://host/x", "webdav+http://host/x"),
            ("sftp", "me@host/x", "sftp://me@host/x"),
        ] {
            assert_eq!(address(kind, url).expect(url), whole);
        }
        for (kind, url) in [("s3", ""), ("s3", "azblob://x/y"), ("folder", " "), ("nowhere", "x")] {
            address(kind, url).expect_err(url);
        }
    }
}
