//! The last step: the key of the repository, and all that was chosen, once more.

use maud::{Markup, html};

use super::desk::{Desk, Done};
use super::steps::Step;
use super::when;
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::{Password, Right};
use crate::server::choices::Choices;
use crate::server::db::RepositoryRow;
use crate::server::deeds::keys;
use crate::server::pages::storage::{KitOf, key_mark, kit_facts, typed_back};
use crate::server::store::{TYPED_BACK, is_chosen};

async fn repository(desk: &Desk) -> Result<RepositoryRow> {
    let id = desk.fields.id("repository", "a repository")?;
    desk.server.db.repository(&desk.account.id, &id).await
}

/// Whether somebody has the key.
pub(super) async fn check(desk: &Desk) -> Result<()> {
    let row = repository(desk).await?;
    match row.confirmed {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Permission,
            format!("Nobody has typed back the key of repository '{}'", row.name),
        )
        .with_hint("Without the key nothing could ever be restored: confirm it first")),
    }
}

/// The key of a repository that was made just now.
pub(super) async fn fresh(desk: &Desk, row: &RepositoryRow, key: &str, own: bool) -> Markup {
    let facts = kit_facts(&desk.server, &desk.account, row, key, KitOf::First { own }).await;
    html! {
        p { "The key of '" (row.name) "':" }
        (facts)
        h3 { "Do you have it?" }
        (typed_back(key))
        button #confirm type="submit" name="do" value="confirm" { "I have kept it" }
    }
}

/// What is shown.
pub(super) async fn part(desk: &Desk) -> Result<Markup> {
    let Ok(row) = repository(desk).await else {
        return Ok(
            html! { p.empty { "First " a href={ (desk.base()) "/where" } { "choose where the snapshots lie" } "." } },
        );
    };
    let sent = desk.sent("key").to_owned();
    if !row.confirmed && !sent.is_empty() && desk.all_sent("last_four").next().is_some() {
        // Typed back wrongly: it is still at hand, and must not be lost for that.
        return Ok(fresh(desk, &row, &sent, is_chosen(&sent)).await);
    }
    let told = if desk.set.is_some() {
        html! {}
    } else {
        summary(desk, &row).await?
    };
    Ok(html! {
        p { "Repository " a href={ "/a/" (desk.account.id) "/storage/" (row.id) } { (row.name) } " " (key_mark(&row)) }
        @if row.confirmed {
            @if row.holds_owner_key { p { "The account lets this server hold an owner's key: it can read what is stored." } }
            @else { p { "Only those who have the key can read what is stored. The server adds snapshots and cannot read what is in them." } }
            p.quiet { "More keys are made, and keys replaced, on the page " a href={ "/a/" (desk.account.id) "/keys" } { "Keys" } "." }
        } @else { (unconfirmed(desk, &row)) }
        (told)
    })
}

fn unconfirmed(desk: &Desk, row: &RepositoryRow) -> Markup {
    let may = desk.actor.may(Right::Keys, Some(&desk.account.id));
    html! {
        div.notice.warn {
            p { "The key of '" (row.name) "' was shown once, when it was made, and nobody has proved that they have it." }
            p { "If you have it, enter it here. If not, "
                @if desk.set.is_none() { a href={ (desk.base()) "/where" } { "go back and make another repository" } "; " }
                "what has no key could never be restored." }
        }
        @if may {
            label for="key" { "The key, " span.quiet { "all of it" } }
            input #key name="key" type="password" autocomplete="off" spellcheck="false";
            button #confirm type="submit" name="do" value="confirm" { "I have it" }
        } @else { p { "An owner of the account can confirm it." } }
    }
}

/// All that was chosen.
async fn summary(desk: &Desk, row: &RepositoryRow) -> Result<Markup> {
    let (fields, account) = (&desk.fields, &desk.account.id);
    let tenant = match fields.id("tenant", "a tenant") {
        Ok(id) => desk.server.db.tenant(account, &id).await?.name,
        Err(_) => "none yet".to_owned(),
    };
    let rules = fields.rules();
    let runner = match fields.client()? {
        Some(client) => format!("client {}", desk.server.db.client(account, &client).await?.name),
        None => "the server".to_owned(),
    };
    let mut choices = Choices::default();
    let kept = fields.put_kept(&mut choices).map_or_else(|e| e.to_string(), |()| when::kept(&choices.retention));
    let short = |all: &[String]| {
        let more = all.len().saturating_sub(12);
        let first = all.iter().take(12).map(String::as_str).collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{first} and {more} more") } else { first }
    };
    let line = |what: &str, value: String, step: Step| {
        html! { div { dt { (what) } dd { (value) " " a href={ (desk.base()) "/" (step.word()) } aria-label={ "Change: " (what) } { "Change" } } } }
    };
    Ok(html! {
        h3 { "What will be made" }
        dl.facts {
            (line("Name", fields.get("name").to_owned(), Step::Connect))
            (line("Tenant", tenant, Step::Connect))
            (line("Included", short(&rules.include), Step::Choose))
            (line("Left out", if rules.exclude.is_empty() { "nothing".to_owned() } else { short(&rules.exclude) }, Step::Choose))
            (line("Parts", if rules.workloads.is_empty() { "all".to_owned() } else { short(&rules.workloads) }, Step::Choose))
            (line("Runs", when::summary(fields), Step::When))
            (line("Kept", kept, Step::When))
            (line("Repository", row.name.clone(), Step::Where))
            (line("Run by", runner, Step::Where))
        }
    })
}

/// What the buttons do.
pub(super) async fn press(desk: &mut Desk, button: &str) -> Result<Done> {
    if button != "confirm" {
        return Ok(Done::Stay);
    }
    let account = desk.account.id.clone();
    if !desk.actor.may(Right::Keys, Some(&account)) {
        return Err(Error::new(ErrorKind::Permission, "Your role may not confirm keys")
            .with_hint("Ask an owner of the account"));
    }
    let row = repository(desk).await?;
    let key = Password::new(desk.sent("key").trim());
    // Who brings all of the key has its end too.
    let last: String = {
        let mut last: Vec<char> = key.expose().chars().rev().take(TYPED_BACK).collect();
        last.reverse();
        last.into_iter().collect()
    };
    let shown = desk.all_sent("last_four").next().map(str::to_owned);
    keys::confirm(&desk.server, &desk.actor, &account, &row.id, &key, shown.as_deref().unwrap_or(&last)).await?;
    desk.forget_sent("key");
    desk.told = Some("The key is confirmed.".to_owned());
    Ok(Done::Stay)
}
