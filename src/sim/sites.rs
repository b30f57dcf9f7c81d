//! Sites: collections and subsites, personal ones, what each is made of, and what a day changes.

use serde_json::{Map, Value, json};

use super::contacts::object;
use super::letter::Cast;
use super::library::{Drive, ROOT, home_of};
use super::lists::{Holds, SiteList};
use super::options::SimOptions;
use super::reply::Reply;
use super::rng::{Rng, guid, hash};
use super::shelf::{self, Kind, Shelf, TOP};
use super::state::{UserKind, World};
use super::{drive, populate, terms, times, words};

/// Whether a site lets anybody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    Open,
    /// "No access": 423.
    Locked,
    /// Archived: 403.
    Archived,
}

/// A document library.
#[derive(Debug)]
pub(super) struct Library {
    pub(super) name: String,
    pub(super) drive: Drive,
}

/// A site.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) id: String,
    pub(super) seed: u64,
    pub(super) title: String,
    pub(super) url: String,
    /// The site that it lies below.
    pub(super) above: Option<usize>,
    /// The user whose personal site it is.
    pub(super) owner: Option<usize>,
    pub(super) lock: Lock,
    pub(super) changed: i64,
    pub(super) libraries: Vec<Library>,
    pub(super) lists: Vec<SiteList>,
    /// Columns, content types and grants of the site.
    pub(super) facts: Shelf,
    pub(super) pages: Shelf,
    /// The site's own part of the term store; empty for most.
    pub(super) terms: Shelf,
}

/// A column of a site.
pub(super) static COLUMN: Kind =
    Kind { name: "columnDefinition", id: guid_id, json: column_json, content: shelf::nothing };
/// A content type of a site.
pub(super) static TYPE: Kind = Kind { name: "contentType", id: type_id, json: type_json, content: shelf::nothing };
/// What an application may do with a site.
pub(super) static GRANT: Kind = Kind { name: "permission", id: grant_id, json: grant_json, content: shelf::nothing };
/// A page; with what is on it.
pub(super) static PAGE: Kind = Kind { name: "sitePage", id: guid_id, json: page_json, content: shelf::nothing };

pub(super) fn guid_id(seed: u64, number: u32) -> String {
    guid(hash(seed, &[0x91d, number.into()]))
}

fn type_id(seed: u64, number: u32) -> String {
    format!("0x0100{}", guid_id(seed, number).replace('-', "").to_uppercase())
}

fn grant_id(seed: u64, number: u32) -> String {
    format!("aTowaS50fG1zLnNwLmV4dHw/{}=", guid_id(seed, number))
}

/// Refuses who asks for something of a site that lets nobody in.
pub(super) fn open(site: &Site) -> Result<(), Reply> {
    let text = "Access to this site has been blocked.";
    match site.lock {
        Lock::Open => Ok(()),
        Lock::Locked => Err(Reply::fail_inner(423, "notAllowed", text, "resourceLocked")),
        Lock::Archived => Err(Reply::fail_inner(403, "notAllowed", text, "resourceLocked")),
    }
}

/// Makes the sites of the tenant: the root, others, a subsite with one of its own, locked ones, personal ones.
pub(super) fn populate(world: &mut World, options: &SimOptions) {
    let host = "https://contoso.sharepoint.com";
    let mut plain = vec![("Contoso Intranet".to_owned(), host.to_owned(), None, Lock::Open)];
    for number in 1..options.sites {
        let title = words::title(&mut Rng::new(options.seed, &[0x517e, number.into()]), 2);
        plain.push((title, format!("{host}/sites/site{number}"), None, Lock::Open));
    }
    if options.sites > 1 && options.awkward {
        plain.push(("Ünïcödé / ☃ 日本語".to_owned(), format!("{host}/sites/site1/sub"), Some(1), Lock::Open));
        let above = plain.len() - 1;
        plain.push(("..".to_owned(), format!("{host}/sites/site1/sub/deep"), Some(above), Lock::Open));
        plain.push(("Closed".to_owned(), format!("{host}/sites/closed"), None, Lock::Locked));
        plain.push(("Archive".to_owned(), format!("{host}/sites/archive"), None, Lock::Archived));
    }
    for (number, (title, url, above, lock)) in plain.into_iter().enumerate() {
        let seed = hash(options.seed, &[0x517e5, number as u64]);
        let collection = above.map_or(seed, |above| world.sites[above].seed);
        let mut site = site("contoso.sharepoint.com", seed, (collection, &title, url), options);
        (site.above, site.lock) = (above, lock);
        add_library(&mut site, options, "Documents", 0);
        if number == 1 {
            site.lists.push(SiteList::new(hash(seed, &[0x300]), "Wide", "genericList", (5, 300)));
            site.lists.push(SiteList::new(hash(seed, &[0x301]), "../up", "genericList", (2, 1)));
            site.terms = terms::populate(hash(seed, &[0x7e]), 1, "siteCollection");
            add_library(&mut site, options, "Plans & more", 1);
        }
        world.add_site(site);
    }
    for user in 0..world.users.len() {
        add_personal(world, options, user);
    }
    world.terms = terms::populate(hash(options.seed, &[0x7e]), 3, "global");
}

/// The site of a user's drive.
fn add_personal(world: &mut World, options: &SimOptions, user: usize) {
    if world.users[user].drive.is_none() {
        return;
    }
    let home = home_of(populate::drive_seed(hash(world.seed, &[0x05e5, user as u64])));
    let person = &world.users[user].person;
    let url = format!("https://contoso-my.sharepoint.com/personal/{}", person.address.replace(['@', '.'], "_"));
    let title = person.name.clone();
    let mut site = site("contoso-my.sharepoint.com", home, (home, &title, url), options);
    site.owner = Some(user);
    site.lists.truncate(2);
    if user == 0 {
        add_library(&mut site, options, "Private papers", 0);
    }
    world.add_site(site);
}

fn add_library(site: &mut Site, options: &SimOptions, name: &str, number: u64) {
    let items = (options.drive_items / 2).max(14);
    let mut drive = populate::drive(options, hash(site.seed, &[0x11b, number]), 7, items);
    drive.home = site.seed;
    // A library that people may use who may not use its site: whatever is in it inherits that.
    drive.items[ROOT as usize].shared = u32::from(["Plans & more", "Private papers"].contains(&name));
    site.libraries.push(Library { name: name.to_owned(), drive });
}

fn site(host: &str, seed: u64, (collection, title, url): (u64, &str, String), options: &SimOptions) -> Site {
    let born = times::EPOCH - 400 * times::DAY;
    let mut facts = Shelf::new(hash(seed, &[0xfa]));
    for _ in 0..4 {
        facts.add(&COLUMN, TOP, born, 0);
    }
    for kind in [&TYPE, &TYPE, &GRANT] {
        facts.add(kind, TOP, born, 0);
    }
    facts.begin();
    let mut pages = Shelf::new(hash(seed, &[0x9a]));
    for _ in 0..options.list_items / 4 + 1 {
        pages.add(&PAGE, TOP, born, 0);
    }
    pages.begin();
    let items = options.list_items;
    let mut lists = vec![
        SiteList::new(hash(seed, &[0x30]), "Issues and risks", "genericList", (items, 15)),
        SiteList::new(hash(seed, &[0x31]), "users", "userInformation", (4, 1)),
        SiteList::new(hash(seed, &[0x32]), "Kalender", "events", (items / 2, 4)),
        SiteList::new(hash(seed, &[0x33]), "Composed Looks", "designCatalog", (3, 1)),
    ];
    lists[1].system = true;
    lists[3].system = true;
    Site {
        id: format!("{host},{},{}", guid(collection), guid(hash(seed, &[1]))),
        seed,
        title: title.to_owned(),
        url,
        above: None,
        owner: None,
        lock: Lock::Open,
        changed: born,
        libraries: Vec::new(),
        lists,
        facts,
        pages,
        terms: Shelf::default(),
    }
}

impl World {
    fn add_site(&mut self, site: Site) {
        let number = self.sites.len();
        self.by_site.insert(site.id.clone(), number);
        for (library, of) in site.libraries.iter().enumerate() {
            self.by_drive.insert(of.drive.id.clone(), drive::LIBRARIES + self.libraries.len());
            self.libraries.push((number, library));
        }
        self.sites.push(site);
    }

    /// Says whether a site is listed: that of a user who comes later is not yet.
    pub(super) fn has_site(&self, site: &Site) -> bool {
        site.owner.is_none_or(|user| self.users[user].present || self.day >= 3)
    }
}

/// What a day brings to the sites, and to the term store.
pub(super) fn day(world: &mut World, options: &SimOptions) {
    let (day, now, seed) = (world.day, world.now(), world.seed);
    let others = options.script.others;
    if others == 0 {
        return;
    }
    for (number, site) in world.sites.iter_mut().enumerate() {
        let gone = site.owner.is_some_and(|user| !world.users[user].present);
        if site.lock != Lock::Open || gone {
            continue;
        }
        let mut rng = Rng::new(seed, &[0x517e, day.into(), number as u64]);
        site.changed = now;
        for list in &mut site.lists {
            list_day(list, others, day, now, &mut rng);
        }
        pages_day(&mut site.pages, others, now, &mut rng);
        facts_day(&mut site.facts, day, now, &mut rng);
        if !site.terms.things.is_empty() {
            terms::day(&mut site.terms, now, &mut rng);
        }
        if number == 1 && day == 2 {
            let fresh = SiteList::new(hash(site.seed, &[0x302]), "New of day 2", "genericList", (3, 2));
            site.lists.push(fresh);
        }
        if number == 1 && day == 4 {
            site.lists.retain(|list| list.title != "New of day 2");
        }
    }
    terms::day(&mut world.terms, now, &mut Rng::new(seed, &[0x7e, day.into()]));
}

fn list_day(list: &mut SiteList, others: u32, day: u32, now: i64, rng: &mut Rng) {
    if list.system {
        return;
    }
    for _ in 0..others {
        list.items.add(&super::lists::ITEM, TOP, now - 60, 0);
        if let Some(item) = list.items.any(&super::lists::ITEM, rng) {
            list.items.edit(item, now);
        }
    }
    for _ in 0..others.div_ceil(2) {
        if let Some(item) = list.items.any(&super::lists::ITEM, rng) {
            list.items.delete(item);
        }
    }
    list.changed = now;
    match day % 4 {
        1 => {
            list.add_own_column(now);
            list.add_unused_column(now);
            list.touch(now);
        }
        3 => {
            list.columns.retain(|column| column.holds != Holds::Unused);
            list.touch(now);
        }
        _ => {}
    }
}

fn pages_day(pages: &mut Shelf, others: u32, now: i64, rng: &mut Rng) {
    pages.add(&PAGE, TOP, now - 60, 0);
    for _ in 0..others {
        if let Some(page) = pages.any(&PAGE, rng) {
            pages.edit(page, now);
        }
    }
    if let Some(page) = pages.any(&PAGE, rng).filter(|_| rng.chance(0.5)) {
        pages.delete(page);
    }
}

fn facts_day(facts: &mut Shelf, day: u32, now: i64, rng: &mut Rng) {
    let kind: &'static Kind = match day % 3 {
        0 => &COLUMN,
        1 => &TYPE,
        _ => &GRANT,
    };
    facts.add(kind, TOP, now, 0);
    if let Some(one) = facts.any(kind, rng) {
        facts.edit(one, now);
    }
    if day.is_multiple_of(2)
        && let Some(one) = facts.any(kind, rng)
    {
        facts.delete(one);
    }
}

/// The site, as Graph tells it.
pub(super) fn json(site: &Site) -> Value {
    let mut json = json!({
        "createdDateTime": times::graph(times::EPOCH - 400 * times::DAY),
        "description": "",
        "id": site.id,
        "lastModifiedDateTime": times::graph(site.changed),
        "name": site.url.rsplit('/').next().unwrap_or_default(),
        "webUrl": site.url,
        "displayName": site.title,
        "isPersonalSite": site.owner.is_some(),
    });
    if site.above.is_none() {
        json["root"] = json!({});
        let mut collection = json!({"hostname": site.id.split(',').next().unwrap_or_default()});
        if site.lock == Lock::Archived {
            collection["archivalDetails"] = json!({"archiveStatus": "fullyArchived"});
        }
        json["siteCollection"] = collection;
    }
    json
}

fn column_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let name = words::title(&mut shelf.rng(number), 2);
    object(json!({
        "columnGroup": "Custom Columns",
        "description": "",
        "displayName": name,
        "hidden": false,
        "id": shelf.id(number),
        "indexed": false,
        "name": name.replace(' ', "_x0020_"),
        "readOnly": false,
        "required": false,
        "text": {"allowMultipleLines": false, "maxLength": 255},
    }))
}

fn type_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    object(json!({
        "id": shelf.id(number),
        "description": words::title(&mut rng, 4),
        "group": "Custom Content Types",
        "hidden": false,
        "name": words::title(&mut rng, 2),
        "base": {"name": "Item", "id": "0x01"},
        "columns": [{"id": guid(rng.next()), "name": "Title", "displayName": "Title", "text": {}}],
        "columnLinks": [{"id": guid(rng.next()), "name": "Title"}],
    }))
}

fn grant_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let mut rng = shelf.rng(number);
    let app = json!({"application": {"id": guid(shelf.thing(number).seed), "displayName": words::title(&mut rng, 2)}});
    object(json!({
        "id": shelf.id(number),
        "roles": [rng.pick(&["read", "write", "owner"])],
        "grantedToIdentities": [app],
        "grantedToIdentitiesV2": [app],
    }))
}

/// The type of a web part: one that can be made, or any other.
fn part_type(rng: &mut Rng) -> String {
    match rng.below(4) as usize {
        place @ 0..=1 => super::pages_write::ACCEPTED[place].to_owned(),
        _ => guid(rng.next()),
    }
}

fn page_json(_: &Cast, shelf: &Shelf, number: u32) -> Map<String, Value> {
    let thing = shelf.thing(number);
    let mut rng = shelf.rng(number);
    let title = match thing.seed % 5 {
        0 => (*rng.pick(words::FOREIGN)).to_owned(),
        _ => words::title(&mut rng, 3),
    };
    let parts: Vec<Value> = (0..1 + rng.below(3))
        .map(|_| match rng.below(2) {
            0 => json!({
                "@odata.type": "#microsoft.graph.textWebPart", "id": guid(rng.next()),
                "innerHtml": format!("<p>{}</p>", words::paragraphs(&mut rng, 40).join("</p><p>")),
            }),
            _ => json!({
                "@odata.type": "#microsoft.graph.standardWebPart", "id": guid(rng.next()),
                "webPartType": part_type(&mut rng), "data": {"dataVersion": "1.4", "properties": {"x": rng.below(9)}},
            }),
        })
        .collect();
    let tag = format!("\"{{{}}},{}\"", shelf.id(number).to_uppercase(), thing.revision + 1);
    object(json!({
        "@odata.type": "#microsoft.graph.sitePage",
        "@odata.etag": tag,
        "createdDateTime": times::graph(thing.created),
        "eTag": tag,
        "id": shelf.id(number),
        "lastModifiedDateTime": times::graph(thing.changed),
        "name": format!("{}.aspx", title.replace(['/', '?', '#'], "-")),
        "webUrl": format!("https://contoso.sharepoint.com/SitePages/{}.aspx", number),
        "title": title,
        "pageLayout": "article",
        "promotionKind": "page",
        "showComments": true,
        "showRecommendedPages": false,
        "parentReference": {"siteId": guid(shelf.seed)},
        "publishingState": {"level": "published", "versionId": format!("{}.0", thing.revision + 1)},
        "reactions": {},
        "titleArea": {"layout": "plain", "textAlignment": "left"},
        "canvasLayout": {"horizontalSections": [{
            "layout": "oneColumn", "id": "1", "emphasis": "none",
            "columns": [{"id": "1", "width": 12, "webparts": parts}],
        }]},
    }))
}

/// Says whether a user's personal site is there to be read.
pub(super) fn of_user(world: &World, user: usize) -> Option<&Site> {
    let readable = world.users[user].present && world.users[user].kind != UserKind::Blocked;
    world.sites.iter().find(|site| readable && site.owner == Some(user))
}
