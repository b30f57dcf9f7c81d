//! Settings of a mailbox go back: automatic replies and working hours, rules, categories, focused-inbox overrides.
//!
//! The settings that are no list are always there: they are overwritten, and undo puts back the values before. A rule names
//! folders by their ids: those that were restored with it have new ones, and so have the Inbox and the Archive of somebody
//! else. Source: Microsoft Graph, "Update user mailbox settings", "Create rule", "Create Outlook category", "Create
//! inferenceClassificationOverride".

use std::collections::HashMap;

use async_trait::async_trait;
use serde_json::{Map, Value};
use tokio::sync::OnceCell;

use super::Destination;
use super::door::{Cost, Fit, Found, Made, Order, Present, Since, Source, Target, Undo};
use super::mailbox::Mailbox;
use super::rows;
use crate::error::{ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::links::segment;
use crate::graph::{GraphRequest, IMMUTABLE_IDS, Scope};
use crate::m365::door::Workload;
use crate::m365::facts::text;
use crate::m365::mail::WELL_KNOWN;
use crate::m365::settings::{INTO_FOLDER, LISTS, List, SETTINGS, item};
use crate::m365::walk::id_of;

/// What of the settings that are no list can be set.
const MAILBOX: &[&str] = &[
    "automaticRepliesSetting",
    "dateFormat",
    "delegateMeetingMessageDeliveryOptions",
    "language",
    "timeFormat",
    "timeZone",
    "workingHours",
];
/// What of a rule can be set.
const RULE: &[&str] = &["actions", "conditions", "displayName", "exceptions", "isEnabled", "sequence"];
/// What of a category can be set.
const CATEGORY: &[&str] = &["color", "displayName"];
/// What of an override can be set.
const OVERRIDE: &[&str] = &["classifyAs", "senderEmailAddress"];

/// The settings of a mailbox.
pub(super) struct Settings {
    mailbox: Mailbox,
    /// Whose they were, if that is another mailbox.
    from: Option<String>,
    /// The folders there that have names of their own, by id: what each is called whatever people see.
    known: OnceCell<HashMap<String, &'static str>>,
}

impl Settings {
    /// The settings of a mailbox, as they go to a destination.
    pub(super) fn new(mailbox: Mailbox, to: &Destination) -> Self {
        let from = (!to.original).then(|| to.from.owner.id().to_owned());
        Self { mailbox, from, known: OnceCell::new() }
    }
}

#[async_trait]
impl Target for Settings {
    fn workload(&self) -> Workload {
        Workload::Settings
    }

    fn path(&self) -> &str {
        self.mailbox.path()
    }

    fn scope(&self) -> Scope {
        self.mailbox.scope()
    }

    fn permission(&self) -> &'static str {
        "MailboxSettings.ReadWrite"
    }

    /// Rules have an order: one after the other.
    fn at_once(&self) -> usize {
        1
    }

    fn takes_folder(&self) -> bool {
        false
    }

    fn tells_changes(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<()> {
        self.mailbox.client.get_json(self.mailbox.get(SETTINGS)).await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Setting | ItemKind::Rule | ItemKind::Category => {
                Fit::Takes(Cost { requests: 1, units: 1, bytes: 500 })
            }
            kind => Fit::Cannot(format!("a {} is no setting of a mailbox", kind.word())),
        }
    }

    /// Rules name categories.
    fn rank(&self, kind: ItemKind) -> u8 {
        u8::from(kind == ItemKind::Rule)
    }

    /// All but rules and categories: a sender has one override.
    fn is_single(&self, record: &Record) -> bool {
        record.kind == ItemKind::Setting
    }

    fn identity(&self, record: &Record) -> String {
        match list_of(&record.id) {
            Some(list) => format!("{}{}", list.prefix, record.name.to_lowercase()),
            None => record.id.clone(),
        }
    }

    fn state(&self, record: &Record) -> String {
        // Without ids, which differ: what is the same in both mailboxes is not known from the record alone.
        record.fact("color").or_else(|| record.fact("classify_as")).unwrap_or_default().to_owned()
    }

    async fn present(&self, _: &str) -> Result<Vec<Present>> {
        let mut all = vec![Present {
            id: SETTINGS.to_owned(),
            kind: ItemKind::Setting,
            identity: SETTINGS.to_owned(),
            state: String::new(),
            modified_us: None,
        }];
        for list in LISTS {
            let rows = self.mailbox.client.get_all(self.mailbox.get(list.url)).await?;
            all.extend(rows.into_iter().filter_map(|row| item(row, list)).map(|told| rows::present(self, told)));
        }
        Ok(all)
    }

    async fn create_top(&self, _: &str) -> Result<Made> {
        Err(rows::no_place(ItemKind::Setting))
    }

    async fn find_top(&self, _: &str) -> Result<Option<Made>> {
        Ok(None)
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let Some(list) = list_of(&order.record.id) else { return self.overwrite(SETTINGS, order, source).await };
        let mut made = Made::default();
        let body = self.body(list, order, source, &mut made.notes).await?;
        let answer = self.mailbox.client.send(self.mailbox.post(list.url, &body.into())).await?;
        let id = format!("{}{}", list.prefix, rows::new_id(&answer)?);
        let state = held(list.prefix, &answer);
        Ok(Made { notes: made.notes, state, ..Made::new(order.record.kind, id, "") })
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let (url, names, mut notes) = match list_of(present) {
            None => (SETTINGS.to_owned(), MAILBOX, Vec::new()),
            Some(list) => (url_of(list, present), names_of(list), Vec::new()),
        };
        let mut before = rows::settable(&self.row(present, &url).await?, names);
        let mut body = match list_of(present) {
            None => rows::settable(&source.properties(order.record).await?, MAILBOX),
            Some(list) => self.body(list, order, source, &mut notes).await?,
        };
        for values in [&mut before, &mut body] {
            tidy(values);
        }
        if order.record.kind == ItemKind::Rule {
            let may_lack = |values: &Map<String, Value>| {
                let all = values.iter().filter(|(name, _)| matches!(name.as_str(), "conditions" | "exceptions"));
                all.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<String, Value>>()
            };
            // One without conditions would keep those of now.
            let (of_before, of_body) = (may_lack(&before), may_lack(&body));
            rows::clear(&mut body, &of_before);
            rows::clear(&mut before, &of_body);
        }
        if order.record.kind == ItemKind::Category {
            // A category's name is fixed.
            [&mut before, &mut body].into_iter().for_each(|values| drop(values.remove("displayName")));
        }
        let undo = Undo::Values { kind: order.record.kind, id: present.to_owned(), before: before.into() };
        let undo = order.log.note(undo).await?;
        self.mailbox.client.send(self.mailbox.patch(&url, &body.into())).await?;
        let state = held(present, &self.row(present, &url).await?);
        Ok(Made { notes, state, ..Made::over(present, undo) })
    }

    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        // A copy is not called as what it comes beside, and rules may bear one name.
        let wanted = self.identity(&Record { name: order.name.to_owned(), ..order.record.clone() });
        let is_it = |there: &Present| {
            there.identity == wanted && there.id != SETTINGS && !source.is_taken(&there.id, order.parent)
        };
        let found = self.present("").await?.into_iter().find(is_it);
        Ok(found.map_or(Found::Nothing, |there| rows::as_it_should_be(there.id)))
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let id = undo.id();
        if since.state.is_empty() {
            return Ok(false);
        }
        let now = held(id, &self.row(id, &place(id)).await?);
        Ok(!now.is_empty() && now != since.state)
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        match undo {
            Undo::Delete { id, .. } => rows::delete(&self.mailbox.client, self.mailbox.delete(&place(id))).await,
            Undo::Values { id, before, .. } => {
                rows::delete(&self.mailbox.client, self.mailbox.patch(&place(id), before)).await
            }
            other => Ok(rows::left(other)),
        }
    }
}

/// The list that an item is in, by its id; `None`: it is the settings that are no list.
fn list_of(id: &str) -> Option<&'static List> {
    LISTS.iter().find(|list| id.starts_with(list.prefix))
}

/// Where an item is written.
fn place(id: &str) -> String {
    list_of(id).map_or_else(|| SETTINGS.to_owned(), |list| url_of(list, id))
}

/// What a setting, or an item of a list, holds. Exchange numbers rules anew when others come and go.
fn held(id: &str, row: &Value) -> String {
    let mut values = rows::settable(row, list_of(id).map_or(MAILBOX, names_of));
    values.remove("sequence");
    rows::state_of(&values.into())
}

fn url_of(list: &List, id: &str) -> String {
    format!("{}/{}", list.url, segment(id.strip_prefix(list.prefix).unwrap_or_default()))
}

fn names_of(list: &List) -> &'static [&'static str] {
    match list.prefix {
        "rules/" => RULE,
        "categories/" => CATEGORY,
        _ => OVERRIDE,
    }
}

/// The row of an item in an answer that may be a list.
fn row_of(mut answer: Value, id: &str) -> Value {
    let Some(Value::Array(rows)) = answer.get_mut("value").map(Value::take) else { return answer };
    let bare = list_of(id).and_then(|list| id.strip_prefix(list.prefix)).unwrap_or_default();
    rows.into_iter().find(|row| text(row, &["id"]) == Some(bare)).unwrap_or_default()
}

/// Leaves out what is told beside a value and not taken.
fn tidy(values: &mut Map<String, Value>) {
    if let Some(Value::Object(language)) = values.get_mut("language") {
        language.remove("displayName");
    }
}

impl Settings {
    /// Where an item is read: the lists, whose single items not every service gives.
    fn url_to_read(&self, id: &str, url: &str) -> String {
        list_of(id).map_or_else(|| url.to_owned(), |list| format!("{}?$top=500", list.url))
    }

    /// What is there; null if it is gone.
    async fn row(&self, id: &str, url: &str) -> Result<Value> {
        let answer = self.mailbox.client.get_json(self.mailbox.get(&self.url_to_read(id, url))).await?;
        Ok(row_of(answer, id))
    }

    async fn body(
        &self,
        list: &List,
        order: Order<'_>,
        source: &dyn Source,
        notes: &mut Vec<String>,
    ) -> Result<Map<String, Value>> {
        let mut body = rows::settable(&source.properties(order.record).await?, names_of(list));
        if order.name != order.record.name && body.contains_key("displayName") {
            body.insert("displayName".into(), order.name.into());
        }
        if order.record.kind == ItemKind::Rule {
            self.folders(&mut body, order.record, source, notes).await?;
        }
        Ok(body)
    }

    /// Puts the ids that folders have here into a rule. One whose folder is not here is switched off.
    async fn folders(
        &self,
        body: &mut Map<String, Value>,
        record: &Record,
        source: &dyn Source,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let Some(Value::Object(actions)) = body.get_mut("actions") else { return Ok(()) };
        let mut lacks = false;
        for (action, fact) in INTO_FOLDER {
            let Some(old) = actions.get(action).and_then(Value::as_str).map(str::to_owned) else { continue };
            let there = match source.made_as(&old) {
                Some(new) => Some(new),
                None => self.folder_here(old, record.fact(fact), source).await?,
            };
            match there {
                Some(id) => drop(actions.insert(action.to_owned(), id.into())),
                None => {
                    lacks = true;
                    actions.remove(action);
                }
            }
        }
        if lacks {
            if actions.is_empty() {
                actions.insert("stopProcessingRules".into(), true.into());
            }
            body.insert("isEnabled".into(), false.into());
            notes.push("the folder that the rule moves mail to is not here: the rule is switched off".to_owned());
        }
        Ok(())
    }

    /// The id of a folder of this mailbox, by its id or the name that Graph knows it by.
    async fn folder(&self, folder: &str) -> Result<Option<String>> {
        let url = format!("mailFolders/{}?$select=id", segment(folder));
        match self.mailbox.client.get_json(self.mailbox.get(&url)).await {
            Ok(row) => Ok(id_of(&row).map(str::to_owned)),
            Err(error) if is_no_folder(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The folder here that a folder of the mailbox is which the rule comes from, or stands for: its Inbox, its Archive. `told`: by
    /// which name the snapshot says that Graph knew it.
    async fn folder_here(&self, old: String, told: Option<&str>, source: &dyn Source) -> Result<Option<String>> {
        if self.folder(&old).await?.is_some() {
            return Ok(Some(old));
        }
        if let Some(known) = WELL_KNOWN.into_iter().find(|known| Some(*known) == told) {
            return self.folder(known).await;
        }
        let Some(from) = &self.from else { return Ok(None) };
        let known = self.known.get_or_try_init(|| self.well_known(from, source)).await?;
        match known.get(&old) {
            Some(known) => self.folder(known).await,
            None => Ok(None),
        }
    }

    /// The folders of a mailbox by id, as far as it can be asked, and as its settings told then.
    async fn well_known(&self, user: &str, source: &dyn Source) -> Result<HashMap<String, &'static str>> {
        let mut all = HashMap::new();
        for known in WELL_KNOWN {
            let url = format!("users/{}/mailFolders/{known}?$select=id", segment(user));
            let request = GraphRequest::get(Scope::Mailbox(user.to_owned()), url).prefer(IMMUTABLE_IDS);
            match self.mailbox.client.get_json(request).await {
                Ok(row) => all.extend(id_of(&row).map(|id| (id.to_owned(), known))),
                // Whoever it was may be gone, or be of another tenant.
                Err(error) if is_refused(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(settings) = source.record(SETTINGS).await? {
            let archive = source.properties(&settings).await?;
            all.extend(text(&archive, &["archiveFolder"]).map(|id| (id.to_owned(), "archive")));
        }
        Ok(all)
    }
}

/// Says whether an error means that a mailbox tells nothing of a folder.
fn is_refused(error: &crate::error::Error) -> bool {
    is_no_folder(error) || matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput | ErrorKind::Permission)
}

/// Says whether an error means that a folder of that id is not in this mailbox: an id of another one is malformed.
fn is_no_folder(error: &crate::error::Error) -> bool {
    rows::is_gone(error)
        || crate::graph::graph_error(error).is_some_and(|answer| answer.has_code("ErrorInvalidIdMalformed"))
}
