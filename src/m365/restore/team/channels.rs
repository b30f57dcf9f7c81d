//! Channels of a team: made, and filled with what was written in them where that comes back as posts.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{MEMBERS, TABS, Team, held, is_among, of_channel};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::m365::door::{CollectionKey, Owner, Workload};
use crate::m365::facts::text;
use crate::m365::restore::door::{Cost, Made, Order, Since, Source};
use crate::m365::restore::posts::{self, Brought, Import};
use crate::m365::restore::rows;
use crate::m365::walk::id_of;

/// What of a channel can be set.
const CHANNEL: &[&str] = &["description", "displayName", "isFavoriteByDefault", "layoutType", "membershipType"];
/// What is written in a channel, as a part of what it holds.
const POSTS: &str = "posts";

impl Team {
    /// Makes a channel, with what was written in it if that comes back as posts.
    pub(super) async fn make_channel(&self, order: Order<'_>, json: &Value, source: &dyn Source) -> Result<Made> {
        let mut body = rows::settable(json, CHANNEL);
        body.insert("displayName".into(), order.name.into());
        let is_standard = text(json, &["membershipType"]).is_none_or(|kind| kind == "standard");
        if !is_standard {
            body.insert("members".into(), self.owners(order.record, source).await?.into());
        }
        let said = if self.imports { self.said(order.record, source).await? } else { None };
        if let Some(said) = &said {
            body.insert(posts::MODE.0.into(), posts::MODE.1.into());
            body.insert("createdDateTime".into(), posts::begin(json, &**said).await?.into());
        }
        let answer = self.post("/channels", &body.into()).await?;
        let made = Made::new(ItemKind::Channel, rows::new_id(&answer)?, "");
        self.note(&made, order, said.is_some()).await?;
        match said {
            Some(said) => self.fill(made, &*said, None).await,
            None => Ok(self.as_it_is(made, &answer, is_standard).await),
        }
    }

    /// Finds the channel that an order makes by importing, and goes on with that unless it is only looked for. People may have renamed
    /// one that was noted.
    pub(super) async fn half_made(&self, order: Order<'_>, source: &dyn Source) -> Result<Option<Made>> {
        let (all, noted, name) = (self.channels().await?, order.log.so_far(), order.name.to_lowercase());
        let imported = || all.iter().filter(|row| is_imported(row)).filter_map(|row| Some((row, id_of(row)?)));
        let is_noted = |(_, id): &(&Value, &str)| noted.iter().any(|undo| undo.id() == *id);
        let is_it =
            |(row, _): &(&Value, &str)| text(row, &["displayName"]).is_some_and(|other| other.to_lowercase() == name);
        let Some((row, id)) = imported().find(is_noted).or_else(|| imported().find(is_it)) else {
            return Ok(None);
        };
        let made = Made::new(ItemKind::Channel, id, "");
        if order.only_looks {
            return Ok(Some(made));
        }
        let Some(said) = self.said(order.record, source).await? else { return Ok(None) };
        if !self.imports {
            let text = format!("The channel is half made, and going on takes an app that has {}", posts::PERMISSION);
            return Err(Error::invalid(text).with_hint("Grant it, and run the restore again"));
        }
        self.note(&made, order, true).await?;
        self.fill(made, &*said, Some(row)).await.map(Some)
    }

    /// Takes note of a channel. Where that fails, one that is shut is opened to its members: nobody may come to it again.
    async fn note(&self, made: &Made, order: Order<'_>, is_shut: bool) -> Result<()> {
        let noted = rows::note(made, order).await;
        if noted.is_err() && is_shut {
            drop(self.import(&made.id).open().await);
        }
        noted
    }

    /// Says whether a channel is one into which posts were imported, perhaps not all yet.
    pub(super) async fn is_half_made(&self, channel: &str) -> Result<bool> {
        Ok(self.imports && self.channels().await?.iter().any(|row| id_of(row) == Some(channel) && is_imported(row)))
    }

    /// What comes back with a channel, or would.
    pub(super) async fn brought(&self, record: &Record, source: &dyn Source) -> Result<Option<Brought>> {
        if record.kind != ItemKind::Channel || self.said(record, source).await?.is_none() {
            return Ok(None);
        }
        let (owner, id) = (Owner::Team(self.id.clone()), record.id.clone());
        let from = CollectionKey { owner, workload: Workload::Channel, id }.to_string();
        let lacks = || {
            let permission = posts::PERMISSION;
            format!(
                "what was written in it comes back as posts only by an app that has {permission}, else with --to as pages"
            )
        };
        Ok(Some(Brought { from, lacks: (!self.imports).then(lacks) }))
    }

    /// What the posts of a channel cost.
    pub(super) async fn cost_of_posts(&self, record: &Record, source: &dyn Source) -> Result<Cost> {
        if record.kind != ItemKind::Channel || !self.imports {
            return Ok(Cost::default());
        }
        match self.said(record, source).await? {
            Some(said) => posts::cost(&*said).await,
            None => Ok(Cost::default()),
        }
    }

    /// Says whether somebody wrote in a channel since it was made.
    pub(super) async fn was_written_in(&self, channel: &str, since: Since<'_>) -> Result<bool> {
        let there = match self.import(channel).there().await {
            Err(e) if rows::is_gone(&e) => return Ok(false),
            Err(e) if e.kind() == ErrorKind::Permission => {
                return Err(e.context("Whether somebody wrote in the channel cannot be seen"));
            }
            other => other?,
        };
        Ok(was_added_to(&there, since))
    }

    /// Which tabs or members a channel has now.
    pub(super) async fn in_channel(&self, channel: &str, part: &str) -> Result<String> {
        let rows = self.client.get_all(self.get(&of_channel(channel, &format!("/{part}")))).await?;
        Ok(rows::state_of_all(&rows, &["id"]))
    }

    async fn channels(&self) -> Result<Vec<Value>> {
        self.client.get_all(self.get("/channels")).await
    }

    fn import<'a>(&'a self, channel: &'a str) -> Import<'a> {
        Import { client: &self.client, team: &self.id, channel }
    }

    /// What was written in a channel of the snapshot, if it can come back as posts: the whole team reads it, and it is this team.
    async fn said(&self, record: &Record, source: &dyn Source) -> Result<Option<Box<dyn Source>>> {
        let is_standard = record.fact("membership").is_none_or(|kind| kind == "standard");
        if !self.original || !is_standard {
            return Ok(None);
        }
        let Some(said) = source.beside(Workload::Channel, &record.id).await? else { return Ok(None) };
        match posts::has_any(&*said).await {
            // More threads than can be held at once.
            Err(e) if e.kind() == ErrorKind::InvalidInput => Ok(None),
            has => Ok(has?.then_some(said)),
        }
    }

    /// Imports what was written in a channel, and tells what the channel holds then. `found`: it, as an earlier try left it.
    async fn fill(&self, made: Made, said: &dyn Source, found: Option<&Value>) -> Result<Made> {
        let import = self.import(&made.id);
        let notes = import.run(said, found).await?;
        let written = import.there().await.map(|there| state_of(&there)).unwrap_or_default();
        let all = self.channels().await?;
        let now = all.iter().find(|row| id_of(row) == Some(made.id.as_str())).unwrap_or(&Value::Null);
        let mut made = self.as_it_is(Made { notes, ..made }, now, true).await;
        made.tell(POSTS, &written);
        Ok(made)
    }

    /// What a new channel holds, and what is in it from the beginning.
    async fn as_it_is(&self, made: Made, json: &Value, is_standard: bool) -> Made {
        let mut made = Made { state: held(ItemKind::Channel, json), ..made };
        let tabs = self.in_channel(&made.id, TABS).await.unwrap_or_default();
        made.tell(TABS, &tabs);
        // The members of all others are those of the team.
        if !is_standard {
            let members = self.in_channel(&made.id, MEMBERS).await.unwrap_or_default();
            made.tell(MEMBERS, &members);
        }
        made
    }

    /// The owners of a channel, who must come with it: those of them who are in the team now.
    async fn owners(&self, record: &Record, source: &dyn Source) -> Result<Vec<Value>> {
        let (people, mut owners) = (self.in_team().await?, Vec::new());
        for part in source.below(record).await?.iter().filter(|part| part.kind == ItemKind::Member) {
            let json = source.properties(part).await?;
            let owns = json.get("roles").and_then(Value::as_array).is_some_and(|roles| roles.contains(&json!("owner")));
            owners.extend(self.member(&json).filter(|_| owns && is_among(&people, &json)));
        }
        if owners.is_empty() {
            return Err(Error::invalid(format!("Nobody who owned the channel '{}' is in the team", record.name))
                .with_hint("Add an owner of it to the team, and run the restore again"));
        }
        Ok(owners)
    }
}

/// Says whether posts were, or are being, imported into a channel.
fn is_imported(channel: &Value) -> bool {
    text(channel, &[posts::TOLD]).is_some()
}

/// Says whether something was written in a channel since it was made.
fn was_added_to(there: &HashMap<i64, String>, since: Since<'_>) -> bool {
    match since.of(POSTS) {
        // What was imported is older than the run.
        "" => there.keys().any(|ms| since.run_us.is_none_or(|us| *ms >= us.div_euclid(1_000))),
        told => state_of(there) != told,
    }
}

/// What is written in a channel, as a hash.
fn state_of(there: &HashMap<i64, String>) -> String {
    let rows: Vec<Value> = there.values().map(|id| json!({"id": id})).collect();
    rows::state_of_all(&rows, &["id"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_imported_is_no_change_though_nothing_told_what_that_was() {
        let (imported, later) = ((1_000, "1000".to_owned()), (5_000, "5000".to_owned()));
        let there = |all: &[(i64, String)]| all.iter().cloned().collect::<HashMap<i64, String>>();
        let (old, new) = (there(std::slice::from_ref(&imported)), there(&[imported, later]));
        let run = Since { run_us: Some(4_000_000), ..Since::default() };
        for state in ["", "held"] {
            let since = Since { state, ..run };
            assert!(!was_added_to(&old, since) && was_added_to(&new, since), "{state}");
        }
        let mut made = Made { state: "held".into(), ..Made::default() };
        made.tell(POSTS, &state_of(&old));
        let since = Since { state: &made.state, ..run };
        assert!(!was_added_to(&old, since) && was_added_to(&new, since) && was_added_to(&there(&[]), since));
    }
}
