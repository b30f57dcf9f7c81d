//! Settings of a mailbox: automatic replies, working hours and language; the rules of the inbox; the colour categories;
//! whose mail goes to the focused inbox. None of them knows delta: four short lists, read whole each time, in one round trip.
//!
//! A rule names folders by their ids, which tell nothing in another mailbox: so it is noted which of them are the Inbox, the Archive
//! or another folder that every mailbox has. That is asked once of a rule, and again when it names other folders.
//!
//! Source: Microsoft Graph, "Get user mailbox settings", "List rules", "List Outlook categories", "List overrides", "Get
//! mailFolder".

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::Value;

use super::contents::{Trouble, trouble};
use super::door::{Owner, Workload};
use super::facts::{at, flag, set_fact, short_hash, text};
use super::mail::WELL_KNOWN;
use super::walk::{Source, Told, Walk, Walked, bare, id_of};
use crate::error::Result;
use crate::format::record::ItemKind;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope};

/// The id of the settings that are no list.
pub(super) const SETTINGS: &str = "mailboxSettings";

/// The actions of a rule that name a folder, each with the fact that says by which name Graph knows that in every mailbox.
pub(super) const INTO_FOLDER: [(&str, &str); 2] = [("moveToFolder", "moves_to"), ("copyToFolder", "copies_to")];
/// The fact of a rule that says of which folders that was asked.
const FOLDERS_ASKED: &str = "folders_asked";

/// A list of settings.
pub(super) struct List {
    /// What the ids of its items begin with.
    pub(super) prefix: &'static str,
    title: &'static str,
    pub(super) url: &'static str,
    kind: ItemKind,
}

pub(super) const LISTS: &[List] = &[
    List { prefix: "rules/", title: "Rules of the inbox", url: "mailFolders/inbox/messageRules", kind: ItemKind::Rule },
    List { prefix: "categories/", title: "Categories", url: "outlook/masterCategories", kind: ItemKind::Category },
    List {
        prefix: "overrides/",
        title: "Focused inbox overrides",
        url: "inferenceClassification/overrides",
        kind: ItemKind::Setting,
    },
];

/// Names the settings of a user's mailbox.
pub(super) fn settings(client: Client, user_id: &str, user_name: &str) -> Walked<Settings> {
    let source = Settings { client: client.clone(), user: user_id.to_owned() };
    Walked::new(client, Owner::User(user_id.to_owned()), user_name, Workload::Settings, source)
}

/// The settings of one mailbox.
pub(super) struct Settings {
    client: Client,
    user: String,
}

#[async_trait]
impl Source for Settings {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let lists = self.client.ask_all_of(LISTS.iter().map(|list| self.get(list.url)));
        let (settings, lists) = futures::join!(self.client.ask(self.get(SETTINGS)), lists);
        match settings {
            Ok(row) => {
                let told = Told::new(ItemKind::Setting, SETTINGS, "", "Mailbox settings", bare(row));
                walk.put(told).await?;
            }
            Err(error) => walk.gap_of_list("", SETTINGS, "Mailbox settings", ItemKind::Setting, error).await?,
        }
        for (list, rows) in LISTS.iter().zip(lists) {
            match rows {
                Ok(rows) => {
                    let mut all: Vec<Told> = rows.into_iter().filter_map(|row| item(row, list)).collect();
                    if list.kind == ItemKind::Rule {
                        self.name_folders(walk, &mut all).await?;
                    }
                    for told in all {
                        walk.put(told).await?;
                    }
                    walk.was_read(list.prefix);
                }
                Err(error) => walk.gap_of_list("", list.prefix, list.title, list.kind, error).await?,
            }
        }
        Ok(())
    }
}

impl Settings {
    fn get(&self, url: &str) -> GraphRequest {
        let url = format!("users/{}/{url}", segment(&self.user));
        GraphRequest::get(Scope::Mailbox(self.user.clone()), url).prefer(IMMUTABLE_IDS)
    }

    /// Notes which of the folders that rules name are those that every mailbox has.
    async fn name_folders(&self, walk: &Walk<'_>, rules: &mut [Told]) -> Result<()> {
        let mut names = None;
        for rule in rules {
            let Some(folders) = folders_of(&rule.json) else { continue };
            let known = walk.known(&rule.record.id).await?;
            match known.filter(|known| known.fact(FOLDERS_ASKED) == Some(folders.as_str())) {
                Some(known) => {
                    INTO_FOLDER.iter().for_each(|(_, fact)| set_fact(&mut rule.record, fact, known.fact(fact)));
                }
                None => {
                    if names.is_none() {
                        names = Some(self.well_known().await);
                    }
                    // Where Graph does not tell, the next reading asks again.
                    let Some(Some(names)) = &names else { continue };
                    for (action, fact) in INTO_FOLDER {
                        let folder = text(&rule.json, &["actions", action]);
                        set_fact(&mut rule.record, fact, folder.and_then(|id| names.get(id).copied()));
                    }
                }
            }
            set_fact(&mut rule.record, FOLDERS_ASKED, Some(&folders));
        }
        Ok(())
    }

    /// The folders that every mailbox has, by id; `None`: Graph does not tell of all of them now.
    async fn well_known(&self) -> Option<HashMap<String, &'static str>> {
        let asked = WELL_KNOWN.map(|name| self.client.ask(self.get(&format!("mailFolders/{name}?$select=id"))));
        let mut all = HashMap::new();
        for (name, answer) in WELL_KNOWN.into_iter().zip(futures::future::join_all(asked).await) {
            match answer {
                Ok(row) => all.extend(id_of(&row).map(|id| (id.to_owned(), name))),
                // An Archive is made when it is first used.
                Err(error) if trouble(&error) == Trouble::Gone => {}
                Err(_) => return None,
            }
        }
        // Where there is not even an inbox, the answers say nothing.
        all.values().any(|name| *name == "inbox").then_some(all)
    }
}

/// Tells the folders that a rule names apart from others; `None`: it names none.
fn folders_of(rule: &Value) -> Option<String> {
    let folders = INTO_FOLDER.map(|(action, _)| at(rule, &["actions", action]));
    folders.iter().any(Option::is_some).then(|| short_hash(folders))
}

pub(super) fn item(row: Value, list: &List) -> Option<Told> {
    let id = format!("{}{}", list.prefix, id_of(&row)?);
    let paths: [&[&str]; 3] = [&["displayName"], &["senderEmailAddress", "name"], &["senderEmailAddress", "address"]];
    let name = paths.iter().find_map(|path| text(&row, path).filter(|name| !name.is_empty()));
    let name = name.unwrap_or_default().to_owned();
    let fact = |key: &str| text(&row, &[key]).unwrap_or_default().to_owned();
    let (color, classify_as) = (fact("color"), fact("classifyAs"));
    let disabled = flag(&row, &["isEnabled"]) == Some(false);
    Some(
        Told::new(list.kind, id, "", &name, bare(row))
            .fact("color", &color)
            .fact("classify_as", &classify_as)
            .fact("disabled", if disabled { "true" } else { "" }),
    )
}
