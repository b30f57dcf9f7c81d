//! Files and folders go back into a drive: by upload sessions, with their times; versions and permissions as a choice.
//!
//! A file appears at once and whole, when its session ends, under a name that was free. So what an interrupted run left behind is
//! told by name, size and hash. Nobody is sent a mail: permissions are given with `sendInvitation: false`.
//!
//! Source: Microsoft Graph, "driveItem: createUploadSession", "Create a new folder in a drive", "driveItem: invite",
//! "driveItemVersion: restoreVersion".

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::{Value, json};

use super::again::{invitation, link, times};
use super::api::Api;
use super::cost::{self, FRAGMENT_BYTES};
use super::model::{Row, UNIQUE, has_own_rights, row};
use super::since::{alike, held, held_of, was_renamed, was_written};
use super::which::drive_of;
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record, StreamRole};
use crate::graph::links::segment;
use crate::graph::{Client, Fate, Scope, UploadSource, Uploaded, fate, is_doubtful};
use crate::m365::door::{Owner, Workload};
use crate::m365::facts::{at, text};
use crate::m365::restore::{
    Cost, Destination, Extras, Fit, Found, Made, Order, Present, Since, Source, Target, Undo, rows,
};

/// A drive, as a target.
pub(in crate::m365) struct DriveTarget {
    api: Api,
    root: String,
    path: String,
    workload: Workload,
}

impl DriveTarget {
    /// Says whether a drive takes what comes from there.
    pub(in crate::m365) fn takes(to: &Destination) -> bool {
        let is_drive = to.from.workload != Workload::PersonalSite || to.from.id.starts_with("b!");
        is_drive && (to.original || to.owner != Owner::Tenant)
    }

    /// Opens the drive that is meant: the original one, a user's OneDrive, the library of that name of a site or group.
    ///
    /// # Errors
    /// Graph's; `NotFound` if the site has no library.
    pub(in crate::m365) async fn open(client: Client, to: &Destination) -> Result<Self> {
        let id = match to.original {
            true => to.from.id.clone(),
            false => drive_of(&client, &to.owner, &to.name, &to.title).await?,
        };
        let api = Api::new(client, &id);
        let root = api.root().await.map_err(|e| e.context(format!("The drive of {} cannot be opened", to.name)))?;
        let root = text(&root, &["id"]).unwrap_or_default().to_owned();
        let title = match &to.owner {
            Owner::User(_) if !to.original => Workload::OneDrive.title(),
            _ if to.title.is_empty() => to.from.workload.title(),
            _ => &to.title,
        };
        let path = format!("{}/{}/{title}", to.owner.word(), to.name);
        Ok(Self { api, root, path, workload: to.from.workload })
    }

    /// A folder of a drive, by its JSON, as the top.
    ///
    /// # Errors
    /// `NotFound` if `item` names no drive.
    pub(in crate::m365) fn in_folder(client: &Client, item: &Value, path: String, workload: Workload) -> Result<Self> {
        let drive = text(item, &["parentReference", "driveId"]);
        let drive = drive.ok_or_else(|| Error::not_found(format!("{path} has no folder for files")))?;
        Ok(Self { api: Api::new(client.clone(), drive), root: id_of(item)?, path, workload })
    }

    /// The drive that takes what is no file of its own: a user's OneDrive, the first library of a site or group.
    ///
    /// # Errors
    /// Graph's; `NotFound` if there is none.
    pub(in crate::m365) async fn of_owner(client: &Client, to: &Destination) -> Result<Self> {
        let api = Api::new(client.clone(), &drive_of(client, &to.owner, &to.name, "").await?);
        let title = if matches!(to.owner, Owner::User(_)) { Workload::OneDrive.title() } else { "Documents" };
        let path = format!("{}/{}/{title}", to.owner.word(), to.name);
        Ok(Self { root: id_of(&api.root().await?)?, api, path, workload: to.from.workload })
    }

    fn folder<'a>(&'a self, parent: &'a str) -> &'a str {
        if parent.is_empty() { &self.root } else { parent }
    }

    /// Says whether what was made lies in another folder now.
    fn lies_elsewhere(&self, now: &Value, undo: &Undo) -> bool {
        let Undo::Delete { parent, .. } = undo else { return false };
        text(now, &["parentReference", "id"]).is_some_and(|is| is != self.folder(parent))
    }

    /// The item of that name in a folder.
    async fn named(&self, parent: &str, name: &str) -> Result<Option<Record>> {
        let all = self.children(parent).await?;
        Ok(all.into_iter().find(|record| record.name.to_lowercase() == name.to_lowercase()))
    }

    async fn children(&self, parent: &str) -> Result<Vec<Record>> {
        let rows = self.api.children(self.folder(parent)).await?;
        let there = rows.into_iter().filter_map(|value| match row(value, &self.root) {
            Some(Row::There(told)) => Some(told.record),
            _ => None,
        });
        Ok(there.collect())
    }

    /// Makes a folder. `lost`: the id of the one that the snapshot holds, which is never this restore's.
    async fn create_folder(&self, parent: &str, name: &str, lost: &str) -> Result<Made> {
        let body = json!({"name": name, "folder": {}, "@microsoft.graph.conflictBehavior": "fail"});
        match self.api.create_folder(self.folder(parent), &body).await {
            Ok(folder) => Ok(Made::new(ItemKind::Folder, id_of(&folder)?, parent)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists || is_doubtful(&e) => {
                // An answer was lost: what is there is ours. Where somebody was faster it is not, and undo leaves it.
                match (self.named(parent, name).await?, is_doubtful(&e)) {
                    (Some(there), true) if there.id != lost => Ok(Made::new(ItemKind::Folder, there.id, parent)),
                    (Some(there), _) => Ok(Made { id: there.id, ..Made::default() }),
                    (None, _) => Err(e),
                }
            }
            Err(e) => Err(e),
        }
    }

    /// Gives a folder that was made the times of the snapshot's.
    async fn date(&self, made: Made, record: &Record) -> Result<Made> {
        if !made.undo.is_empty() {
            self.api.patch_item(&made.id, &json!({"fileSystemInfo": times(record)})).await?;
        }
        Ok(made)
    }

    async fn create_file(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let mut steps = if order.extras.versions { versions(order.record, source).await? } else { Vec::new() };
        steps.sort_by_key(|part| part.modified_us);
        let first = steps.first().unwrap_or(order.record).clone();
        let place = format!("items/{}:/{}:", segment(self.folder(order.parent)), segment(order.name));
        let Put { id, is_ours, mut state } = self.put(&place, Some(order), &first, source).await?;
        if !is_ours {
            return Ok(Made { id, ..Made::default() });
        }
        let made = Made::new(ItemKind::File, &id, order.parent);
        if !steps.is_empty() || order.extras != Extras::default() {
            rows::note(&made, order).await?;
        }
        let later = steps.iter().skip(1).chain((!steps.is_empty()).then_some(order.record));
        for version in later {
            state = self.put(&format!("items/{}", segment(&id)), None, version, source).await?.state;
        }
        let notes = self.share(&id, order, source).await?;
        Ok(Made { notes, state, ..made })
    }

    /// Puts the contents of a record in a place. `new`: it must not be there yet.
    async fn put(&self, place: &str, new: Option<Order<'_>>, record: &Record, source: &dyn Source) -> Result<Put> {
        let stream = record.stream(StreamRole::Content);
        let missing = || Error::not_found("The contents of a file are not in this snapshot");
        let size_bytes = stream.ok_or_else(missing)?.size_bytes;
        let conflict = if new.is_some() { "fail" } else { "replace" };
        if size_bytes == 0 {
            let file = match self.api.put_empty(place, conflict).await {
                // An answer was lost: what is there is ours. Where somebody was faster it is not, and undo leaves it.
                Err(e) if is_doubtful(&e) || e.kind() == ErrorKind::AlreadyExists => {
                    let was_lost = is_doubtful(&e);
                    let there = self.look(new, record).await?.ok_or(e)?;
                    return Ok(Put { is_ours: there.is_ours && was_lost, ..there });
                }
                other => other?,
            };
            let id = id_of(&file)?;
            if let Some(order) = new {
                rows::note(&Made::new(ItemKind::File, &id, order.parent), order).await?;
            }
            let dated = self.api.patch_item(&id, &json!({"fileSystemInfo": times(record)})).await?;
            return Ok(Put { id, is_ours: true, state: held_of(&dated) });
        }
        let mut item = json!({
            "@microsoft.graph.conflictBehavior": conflict,
            "fileSize": size_bytes,
            "fileSystemInfo": times(record),
        });
        if let Some(order) = new {
            item["name"] = order.name.into();
        }
        let bytes = FromSource { source, record };
        let _held = source.room(size_bytes.min(FRAGMENT_BYTES)).await?;
        match self.api.upload(place, &json!({"item": item}), size_bytes, &bytes).await? {
            Uploaded::Done(file, _) => Ok(Put { id: id_of(&file)?, is_ours: true, state: held_of(&file) }),
            Uploaded::Doubtful => {
                let lost = "Whether the last part of an upload arrived is not known";
                let lost = || Error::new(ErrorKind::Unavailable, lost).with_hint("Run the same command again");
                self.look(new, record).await?.ok_or_else(lost)
            }
        }
    }

    /// Makes a version of a file the newest again; where it is that, as nothing was overwritten, nothing is done.
    async fn back_to(&self, id: &str, version: &str) -> Result<()> {
        let versions = self.api.versions(id).await?;
        if versions.first().and_then(|row| text(row, &["id"])) == Some(version) {
            return Ok(());
        }
        self.api.restore_version(id, version).await
    }

    /// Looks whether a new file came about although its answer was lost.
    async fn look(&self, new: Option<Order<'_>>, record: &Record) -> Result<Option<Put>> {
        let Some(order) = new else { return Ok(None) };
        let there = self.named(order.parent, order.name).await?;
        Ok(there.filter(|there| alike(there, record)).map(|there| Put {
            // The lost one itself, which its owner fetched from the recycle bin.
            is_ours: there.id != order.record.id,
            state: held(&there.name, there.modified_us),
            id: there.id,
        }))
    }

    /// Gives a folder that was made what its record tells: the times, and who may use it.
    async fn furnish(&self, made: Made, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        if made.undo.is_empty() {
            return Ok(made);
        }
        rows::note(&made, order).await?;
        let mut made = self.date(made, order.record).await?;
        made.notes.extend(self.share(&made.id, order, source).await?);
        Ok(made)
    }

    /// The permissions that an item is to be given, and whether with those that it inherited. What lies in a container of this
    /// restore inherits from there again; what does not gets what the nearest item above it with rights of its own tells.
    async fn rights(&self, record: &Record, source: &dyn Source) -> Result<(Vec<Record>, bool)> {
        let root = match record.parent.is_empty() {
            true => root_of(record, source).await?,
            false => None,
        };
        let inherits = match &root {
            Some(root) => *root == self.root,
            None => source.made_as(&record.parent).is_some(),
        };
        let mut at = record.clone();
        for _ in 0..MAX_DEPTH {
            if has_own_rights(&at) || inherits {
                return Ok((source.parts(&at.id).await?, !inherits));
            }
            let above = if at.parent.is_empty() { None } else { source.record(&at.parent).await? };
            match above {
                Some(above) => at = above,
                None => match root_of(&at, source).await? {
                    Some(root) => return Ok((source.parts(&root).await?, true)),
                    None => break,
                },
            }
        }
        Ok((Vec::new(), false))
    }

    /// Says whether an item that was kept out of the sharing of the folder above it is in it now: Graph cannot keep it out.
    async fn is_wider(&self, record: &Record, source: &dyn Source) -> Result<bool> {
        let mut at = record.clone();
        if record.fact(UNIQUE).is_none() {
            return Ok(false);
        }
        for _ in 0..MAX_DEPTH {
            if source.made_as(&at.parent).is_none() {
                return Ok(false);
            }
            let Some(above) = source.record(&at.parent).await? else { return Ok(false) };
            if has_own_rights(&above) {
                return Ok(above.fact("shared").is_some());
            }
            at = above;
        }
        Ok(false)
    }

    /// Gives the people who had a right to an item the same right, and makes links like those it had, if that is wanted;
    /// gives in words what was not possible.
    async fn share(&self, id: &str, order: Order<'_>, source: &dyn Source) -> Result<Vec<String>> {
        let (mut notes, Extras { permissions, links, .. }): (Vec<&str>, _) = (Vec::new(), order.extras);
        if !permissions && !links {
            return Ok(Vec::new());
        }
        if permissions && self.is_wider(order.record, source).await? {
            notes.push("it inherited nothing, and now those whom its folder is shared with may use it too");
        }
        let (parts, inherited_too) = self.rights(order.record, source).await?;
        for part in parts.iter().filter(|part| part.kind == ItemKind::Permission) {
            let permission = source.properties(part).await?;
            if at(&permission, &["inheritedFrom"]).is_some() && !inherited_too {
                continue;
            }
            let is_link = at(&permission, &["link"]).is_some();
            if is_link && links {
                let made = is_allowed(self.api.create_link(id, &link(&permission)).await)?;
                notes.push(if made { "a new sharing link was made: its address is another one" } else { REFUSED_LINK });
            } else if permissions {
                match invitation(&permission) {
                    Ok(None) => {}
                    Ok(Some(body)) if is_allowed(self.api.invite(id, &body).await)? => {}
                    Ok(Some(_)) => notes.push("a permission was refused by Microsoft"),
                    Err(why) => notes.push(why),
                }
            }
        }
        Ok(notes.into_iter().map(str::to_owned).collect())
    }
}

/// A file whose contents were put in their place.
struct Put {
    id: String,
    /// This restore made it, or gave it its contents.
    is_ours: bool,
    /// What is known of it then.
    state: String,
}

/// The earlier versions of a file of which the snapshot has the contents.
async fn versions(record: &Record, source: &dyn Source) -> Result<Vec<Record>> {
    let mut versions = source.below(record).await?;
    versions.retain(|part| part.kind == ItemKind::Version && part.stream(StreamRole::Content).is_some());
    Ok(versions)
}

/// The id of the drive's root folder that an item of the top lay in.
async fn root_of(record: &Record, source: &dyn Source) -> Result<Option<String>> {
    let told = source.properties(record).await?;
    Ok(text(&told, &["parentReference", "id"]).map(str::to_owned))
}

/// Folders do not lie deeper in one another.
const MAX_DEPTH: usize = 200;

const REFUSED_LINK: &str = "a sharing link was refused by Microsoft";

/// Says whether Graph shared something, or refuses to.
fn is_allowed(shared: Result<()>) -> Result<bool> {
    match shared {
        Err(e) if matches!(fate(&e), Fate::Fatal) && e.kind() != ErrorKind::InvalidInput => Err(e),
        other => Ok(other.is_ok()),
    }
}

fn id_of(value: &Value) -> Result<String> {
    let id = text(value, &["id"]).map(str::to_owned);
    id.ok_or_else(|| Error::corrupt("Graph made something and does not tell its id"))
}

struct FromSource<'a> {
    source: &'a dyn Source,
    record: &'a Record,
}

#[async_trait]
impl UploadSource for FromSource<'_> {
    async fn open(&self, from: u64) -> Result<BoxStream<'static, Result<Bytes>>> {
        let open = self.source.open(self.record, StreamRole::Content, from).await?;
        open.map(|open| open.bytes).ok_or_else(|| Error::not_found("The contents of a file are not in this snapshot"))
    }
}

#[async_trait]
impl Target for DriveTarget {
    fn workload(&self) -> Workload {
        self.workload
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn place(&self) -> String {
        // The library of a name may be the first one, for lack of it.
        format!("{}/{}", self.api.drive(), self.root)
    }

    fn scope(&self) -> Scope {
        Scope::Files
    }

    fn permission(&self) -> &'static str {
        "Files.ReadWrite.All"
    }

    async fn probe(&self) -> Result<()> {
        self.api.root().await.map(drop)
    }

    fn fit(&self, record: &Record) -> Fit {
        match record.kind {
            ItemKind::Folder | ItemKind::Package => Fit::Takes(Cost { requests: 2, units: 4, bytes: 0 }),
            ItemKind::Shortcut => Fit::Cannot("a shortcut into another drive is kept as a reference only".to_owned()),
            ItemKind::File => match record.stream(StreamRole::Content) {
                None => Fit::Cannot("its contents are not in this snapshot".to_owned()),
                Some(stream) => Fit::Takes(cost::upload(stream.size_bytes)),
            },
            other => Fit::Cannot(format!("a {} is not made in a drive", other.word())),
        }
    }

    async fn further(&self, record: &Record, extras: Extras, source: &dyn Source) -> Result<Cost> {
        let versions = cost::versions(record, extras, source).await?;
        // What has no rights of its own and lies in a container of this restore gets none.
        let in_one = !record.parent.is_empty() && source.made_as(&record.parent).is_some();
        if !(extras.permissions || extras.links) || (in_one && !has_own_rights(record)) {
            return Ok(versions);
        }
        let (parts, _) = rows::unless_damaged(self.rights(record, source).await)?;
        Ok(versions.and(cost::sharing(&parts, extras)))
    }

    fn comes_along(&self, kind: ItemKind) -> bool {
        kind == ItemKind::Permission
    }

    fn tells_by_name(&self, _: ItemKind) -> bool {
        true
    }

    fn identity(&self, record: &Record) -> String {
        record.name.to_lowercase()
    }

    fn state(&self, record: &Record) -> String {
        if record.kind == ItemKind::File { record.version.clone() } else { String::new() }
    }

    async fn present(&self, parent: &str) -> Result<Vec<Present>> {
        let all = self.children(parent).await?;
        let present = all.into_iter().map(|record| Present {
            identity: self.identity(&record),
            state: self.state(&record),
            id: record.id,
            kind: record.kind,
            modified_us: record.modified_us,
        });
        Ok(present.collect())
    }

    async fn has_moved(&self, record: &Record) -> Result<bool> {
        // What is in the recycle bin is not found.
        self.api.is_there(&record.id).await
    }

    async fn everywhere(&self, pages: usize, each: &mut (dyn for<'i> FnMut(&'i str) + Send)) -> Result<bool> {
        self.api.each_id(pages, each).await
    }

    async fn create_top(&self, name: &str) -> Result<Made> {
        self.create_folder("", name, "").await
    }

    async fn find_top(&self, name: &str) -> Result<Option<Made>> {
        Ok(self.named("", name).await?.map(|there| Made::new(ItemKind::Folder, there.id, "")))
    }

    async fn create(&self, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        match order.record.kind {
            ItemKind::Folder => {
                let made = self.create_folder(order.parent, order.name, &order.record.id).await?;
                self.furnish(made, order, source).await
            }
            ItemKind::Package => {
                let made = self.create_folder(order.parent, order.name, &order.record.id).await?;
                let mut made = self.furnish(made, order, source).await?;
                made.notes.push("a notebook comes back as a folder of its parts".to_owned());
                Ok(made)
            }
            _ => self.create_file(order, source).await,
        }
    }

    async fn overwrite(&self, present: &str, order: Order<'_>, source: &dyn Source) -> Result<Made> {
        let versions = self.api.versions(present).await?;
        let id = present.to_owned();
        let undo = match versions.first().and_then(|row| text(row, &["id"])).map(str::to_owned) {
            Some(version) => Undo::Version { id, version },
            None => Undo::Cannot { id, why: "the file had no version before".to_owned() },
        };
        let undo = order.log.note(undo).await?;
        let state = match self.put(&format!("items/{}", segment(present)), None, order.record, source).await {
            Ok(put) => put.state,
            Err(e) => {
                let now = self.api.item(present).await?;
                match row(now, &self.root) {
                    Some(Row::There(told)) if is_doubtful(&e) && alike(&told.record, order.record) => {
                        held(&told.record.name, told.record.modified_us)
                    }
                    _ => return Err(e),
                }
            }
        };
        Ok(Made { state, ..Made::over(present, undo) })
    }

    async fn changed_us(&self, present: &str, _: &str) -> Result<Option<i64>> {
        match self.api.item(present).await {
            Ok(now) => match row(now, &self.root) {
                Some(Row::There(told)) => Ok(told.record.modified_us),
                _ => Ok(None),
            },
            Err(e) if fate(&e) == Fate::Gone => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn find(&self, order: Order<'_>, source: &dyn Source) -> Result<Found> {
        let Some(there) = self.named(order.parent, order.name).await? else { return Ok(Found::Nothing) };
        let made = Made::new(order.record.kind, there.id.clone(), order.parent);
        // Something of that name that is not ours: making the item will say so.
        if (there.kind == ItemKind::File) != (order.record.kind == ItemKind::File) {
            return Ok(Found::Nothing);
        }
        let is_itself = there.id == order.record.id;
        if order.record.kind != ItemKind::File {
            if is_itself {
                return Ok(rows::as_it_should_be(there.id));
            }
            let made = if order.only_looks { made } else { self.furnish(made, order, source).await? };
            return Ok(Found::Whole(made));
        }
        let plain = order.extras == Extras::default();
        // Its owner fetched it from the recycle bin meanwhile. Where it holds something else, making it says so.
        if is_itself {
            return Ok(if alike(&there, order.record) { rows::as_it_should_be(there.id) } else { Found::Nothing });
        }
        if alike(&there, order.record) {
            return Ok(if plain { Found::Whole(made) } else { Found::Part(made) });
        }
        if order.extras.versions && versions(order.record, source).await?.iter().any(|version| alike(&there, version)) {
            return Ok(Found::Part(made));
        }
        Ok(Found::Nothing)
    }

    async fn was_changed(&self, undo: &Undo, since: Since<'_>) -> Result<bool> {
        let (id, is_made) = match undo {
            Undo::Delete { kind: ItemKind::File, id, .. } => (id, true),
            Undo::Version { id, .. } => (id, false),
            _ => return self.was_moved(undo, since).await,
        };
        let now = match self.api.item(id).await {
            Err(e) if fate(&e) == Fate::Gone => return Ok(false),
            other => other?,
        };
        // Undo gives back contents wherever the file lies, and whatever it is called.
        if is_made && (self.lies_elsewhere(&now, undo) || was_renamed(&now, since)) {
            return Ok(true);
        }
        match row(now, &self.root) {
            // An empty file has its time from a second request, which may be what is missing.
            Some(Row::There(told)) if told.record.size_bytes == 0 => Ok(false),
            Some(Row::There(told)) => Ok(was_written(told.record.modified_us, since)),
            _ => Ok(false),
        }
    }

    async fn was_moved(&self, undo: &Undo, _: Since<'_>) -> Result<bool> {
        let Undo::Delete { id, .. } = undo else { return Ok(false) };
        match self.api.item(id).await {
            Ok(now) => Ok(self.lies_elsewhere(&now, undo)),
            Err(e) if fate(&e) == Fate::Gone => Ok(false),
            Err(e) => Err(e),
        }
    }

    async fn undo(&self, undo: &Undo) -> Result<Option<String>> {
        let done = match undo {
            Undo::Delete { kind, id, .. } if *kind != ItemKind::File && !self.children(id).await?.is_empty() => {
                return Ok(Some("the folder holds what this restore did not put there".to_owned()));
            }
            Undo::Delete { id, .. } => self.api.delete_item(id).await.map(|()| None),
            Undo::Version { id, version } => self.back_to(id, version).await.map(|()| None),
            Undo::MoveBack { .. } | Undo::Values { .. } => Ok(Some("it was not done in a drive".to_owned())),
            Undo::Cannot { why, .. } => Ok(Some(why.clone())),
        };
        match done {
            Err(e) if fate(&e) == Fate::Gone => Ok(None),
            other => other,
        }
    }
}
