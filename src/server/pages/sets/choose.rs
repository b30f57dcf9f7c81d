//! The second step: rules, as text, beside a tree of what the tenant has in which ticking writes them.

use std::sync::Arc;

use maud::{Markup, html};

use super::desk::{Desk, Done, PATIENCE};
use super::tree::{self, PAGE};
use crate::error::{Error, Result};
use crate::server::contents::{Contents, Kind, Looked};
use crate::server::db::Tenant;
use crate::server::deeds::contents as deeds;
use crate::snapshot::set::Workload;

/// What each part is, for people.
fn named(part: Workload) -> &'static str {
    match part {
        Workload::Mail => "Mail",
        Workload::OneDrive => "OneDrive",
        Workload::Contacts => "Contacts",
        Workload::Calendar => "Calendars",
        Workload::Tasks => "To Do",
        Workload::Settings => "Settings and rules of mailboxes",
        Workload::PersonalSite => "Personal sites, beside OneDrive",
        Workload::Groups => "Conversations and plans of groups",
        Workload::Sites => "Sites: libraries, lists, pages",
        Workload::Teams => "Teams: channels and what they are made of",
        Workload::Chats => "Chats",
    }
}

async fn tenant(desk: &Desk) -> Option<Tenant> {
    let id = desk.fields.id("tenant", "a tenant").ok()?;
    desk.server.db.tenant(&desk.account.id, &id).await.ok()
}

/// What is typed.
pub(super) async fn part(desk: &Desk) -> Result<Markup> {
    let fields = &desk.fields;
    let Some(tenant) = tenant(desk).await else {
        return Ok(html! { p.empty { "First " a href={ (desk.base()) "/connect" } { "choose a tenant" } "." } });
    };
    let beside = match desk.server.contents.look(&desk.server, &tenant, desk.anew, PATIENCE).await {
        Looked::Asking => tree::asking(),
        Looked::Failed(trouble) => tree::failed(&trouble),
        Looked::Have(contents) => have(desk, &tenant, &contents).await?,
    };
    Ok(html! {
        div.choice {
            section aria-labelledby="rules-title" {
                h3 #rules-title { "The rules" }
                label for="include" { "Included, " span.quiet { "one per line" } }
                textarea #include.rules name="include" spellcheck="false" data-typed { (fields.get("include")) }
                label for="exclude" { "Left out, whatever is included" }
                textarea #exclude.rules name="exclude" spellcheck="false" data-typed { (fields.get("exclude")) }
                details { summary { "How rules are written" }
                    ul {
                        li { code { "*" } " everything, and what is yet to come" }
                        li { code { "alice@contoso.com" } ", " code { "*@contoso.com" } " users; " code { "user:*" } " all of them" }
                        li { code { "group:Sales*" } " a group, and the users who are in it" }
                        li { code { "licence:SPE_E3" } " users who have a licence" }
                        li { code { "site:https://…/sites/*" } ", " code { "team:Marketing" } }
                    }
                    p.quiet { code { "*" } " stands for any characters, " code { "?" } " for one. What is left out is out, whichever rule takes it in." }
                }
            }
            section #beside aria-labelledby="beside-title" {
                h3 #beside-title { "What '" (tenant.name) "' has" }
                (beside)
            }
        }
        (parts(desk))
        (options(desk))
    })
}

async fn have(desk: &Desk, tenant: &Tenant, contents: &Arc<Contents>) -> Result<Markup> {
    let rules = desk.fields.rules();
    deeds::within(&rules)?;
    let read = rules.read();
    let named = match deeds::named(&desk.server, tenant, contents, &read).await {
        Ok(named) => named,
        Err(e) => return Ok(tree::failed(&e.into())),
    };
    let counts = desk.server.contents.count(contents, &read, &named).await?;
    Ok(tree::show(&desk.view, contents, &read, &named, &counts))
}

fn parts(desk: &Desk) -> Markup {
    let fields = &desk.fields;
    let chosen = fields.list("part");
    let some = fields.get("parts") == "some";
    html! {
        fieldset { legend { "Which parts of it" }
            label { input type="radio" name="parts" value="all" checked[!some] data-stay; " All, and what later versions can read too" }
            label { input type="radio" name="parts" value="some" checked[some] data-stay; " Only these:" }
            ul.plain.columns.parts { @for part in Workload::ALL { li { label {
                input type="checkbox" name="part" value=(part.word()) checked[chosen.contains(&part.word())] data-stay; " " (named(*part))
            } } } }
        }
    }
}

fn options(desk: &Desk) -> Markup {
    let fields = &desk.fields;
    html! {
        details { summary { "Folders, files, versions, leavers" }
            label for="skip_folders" { "Folders left out, " span.quiet { "one per line: Inbox/Newsletters" } }
            textarea #skip_folders name="skip_folders" spellcheck="false" { (fields.get("skip_folders")) }
            label for="skip_files" { "Files left out, " span.quiet { "one per line: *.iso" } }
            textarea #skip_files name="skip_files" spellcheck="false" { (fields.get("skip_files")) }
            label for="versions" { "Versions of files beside the current one, " span.quiet { "current, all, or how many" } }
            input #versions name="versions" value=(fields.get("versions")) autocomplete="off";
            label for="leavers" { "People who leave, " span.quiet { "keep, freeze, or drop after 90 days" } }
            input #leavers name="leavers" value=(fields.get("leavers")) autocomplete="off";
        }
    }
}

/// What the buttons do: first what was ticked, then the button itself.
pub(super) async fn press(desk: &mut Desk, button: &str) -> Result<Done> {
    let ticked = tick(desk).await;
    match button.split_once(':') {
        Some(("open", word)) => {
            word.clone_into(&mut desk.view.open);
            desk.view.from = 0;
        }
        Some(("page", from)) => desk.view.from = from.parse().unwrap_or_default(),
        Some((what @ ("all" | "none"), word)) => {
            let kind = Kind::named(word).ok_or_else(|| Error::invalid("There is no such kind"))?;
            let mut rules = desk.fields.rules();
            rules.tick_all(kind, what == "all");
            desk.fields.set_rules(&rules);
        }
        None if button == "close" => desk.view.open.clear(),
        None if button == "find" => desk.view.from = 0,
        None if button == "again" => desk.anew = true,
        _ => {}
    }
    ticked.map(|()| Done::Stay)
}

/// Takes over what was ticked: boxes that do not stand as they were shown.
async fn tick(desk: &mut Desk) -> Result<()> {
    // Each begins with how it was shown.
    let shown = desk.all_sent("shown").take(PAGE).filter_map(|text| Some((text.get(..1)? == "1", text.get(1..)?)));
    let changed: Vec<(String, bool)> = {
        let ticked: std::collections::HashSet<&str> = desk.all_sent("tick").take(PAGE).collect();
        let now = shown.map(|(was, rule)| (was, rule, ticked.contains(rule)));
        now.filter(|(was, _, is)| was != is).map(|(_, rule, is)| (rule.to_owned(), is)).collect()
    };
    if changed.is_empty() {
        return Ok(());
    }
    let Some(tenant) = tenant(desk).await else { return Ok(()) };
    let Looked::Have(contents) = desk.server.contents.look(&desk.server, &tenant, false, PATIENCE).await else {
        return Err(Error::invalid(
            "What was ticked could not be taken over: Microsoft does not say what the tenant has",
        )
        .with_hint("Write it as rules, or try again"));
    };
    let mut rules = desk.fields.rules();
    deeds::within(&rules)?;
    let named = deeds::named(&desk.server, &tenant, &contents, &rules.read()).await.unwrap_or_default();
    let mut refused = None;
    for (rule, chosen) in changed {
        let Some(item) = contents.by_rule(&rule) else { continue };
        // One that cannot be does not keep the others from it.
        if let Err(e) = rules.tick(&contents, &item, &named, chosen) {
            refused = Some(e);
        }
    }
    desk.fields.set_rules(&rules);
    refused.map_or(Ok(()), Err)
}
