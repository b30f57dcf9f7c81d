//! Settings of a mailbox: automatic replies, working hours and language; the rules of the inbox; the colour categories;
//! whose mail goes to the focused inbox. None of them knows delta: four short lists, read whole each time, in one round trip.
//!
//! Source: Microsoft Graph, "Get user mailbox settings", "List rules", "List Outlook categories", "List overrides".

use async_trait::async_trait;
use serde_json::Value;

use super::door::{Owner, Workload};
use super::facts::{flag, text};
use super::walk::{Source, Told, Walk, Walked, bare, id_of};
use crate::error::Result;
use crate::format::record::ItemKind;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope};

/// The id of the settings that are no list.
pub(super) const SETTINGS: &str = "mailboxSettings";

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
                    for told in rows.into_iter().filter_map(|row| item(row, list)) {
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
