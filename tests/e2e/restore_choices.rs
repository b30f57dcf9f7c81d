//! What a restore of files takes along as a choice: earlier versions, and who may use them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tenantvault::error::ErrorKind;
use tenantvault::format::record::{ItemKind, Record, StreamRole};
use tenantvault::format::snapshot::CollectionState;
use tenantvault::graph::{GraphRequest, Scope, TeamsCall};
use tenantvault::ops::access::{State, look_restore};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::ops::read;
use tenantvault::ops::restore::{Action, Conflict, Only, RestoreOptions, Step, undo};
use tenantvault::sim::{Fault, FaultKind, SimOptions, SimStats};
use tenantvault::snapshot::set::Versions;
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

use crate::restore::{ALICE, Restorer, in_folder, in_place, seen};

/// Of a file: the contents of its versions, the oldest first, the present one last; whom it is granted to, with which roles,
/// but for what it inherits. Of a folder the latter alone.
#[derive(Debug, Default, PartialEq)]
pub struct Kept {
    versions: Vec<Vec<u8>>,
    pub granted: Vec<(String, String)>,
    links: usize,
}

impl Kept {
    /// Says whether there are that many versions at least.
    pub fn has_versions(&self, count: usize) -> bool {
        self.versions.len() >= count
    }
}

/// All files and folders of a collection, by name: names are unique in the simulated drive but for few.
pub async fn kept(r: &Restorer, snapshot: usize, name: &str) -> BTreeMap<String, Kept> {
    let file = r.setting.snapshots().await[snapshot].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let state = catalog.states.values().find(|s| s.name == name).unwrap();
    let nodes = RepoNodes(r.setting.repo.clone());
    let reader = CollectionReader::new(&nodes, CollectionRoots { items: state.items, children: state.children });
    let (mut all, mut cursor): (Vec<Record>, _) = (Vec::new(), reader.records());
    while let Some(record) = cursor.next().await.unwrap() {
        all.push(record);
    }
    let bytes = async |record: &Record, role| match record.stream(role) {
        Some(stream) => read::read_whole(&r.setting.repo, stream, u64::MAX).await.unwrap(),
        None => Default::default(),
    };
    let mut files = BTreeMap::new();
    for file in all.iter().filter(|record| matches!(record.kind, ItemKind::File | ItemKind::Folder)) {
        let mut kept = Kept::default();
        let mut below: Vec<&Record> = all.iter().filter(|part| part.parent == file.id).collect();
        below.sort_by_key(|part| part.modified_us);
        for part in below {
            match part.kind {
                ItemKind::Version => kept.versions.push(bytes(part, StreamRole::Content).await.to_vec()),
                ItemKind::Permission => {
                    let json: Value = serde_json::from_slice(&bytes(part, StreamRole::Properties).await).unwrap();
                    if json.get("inheritedFrom").is_some() {
                        continue;
                    }
                    let user = json.pointer("/grantedToV2/user/id").and_then(Value::as_str).unwrap_or_default();
                    kept.links += usize::from(json.get("link").is_some());
                    kept.granted.push((user.to_owned(), json["roles"].to_string()));
                }
                _ => {}
            }
        }
        kept.versions.push(bytes(file, StreamRole::Content).await.to_vec());
        kept.granted.sort();
        files.insert(file.name.clone(), kept);
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_rights_of_files_come_back_if_that_is_asked_and_not_else() {
    let drive = format!("users/{ALICE}/OneDrive");
    for asked in [true, false] {
        let mut tenant = SimOptions::tiny();
        tenant.script.edited_files = 8;
        let r = Restorer::with(tenant, 6, |options| options.versions = Versions::All).await;
        let before = kept(&r, 0, &drive).await;
        assert!(before.values().filter(|kept| kept.versions.len() > 2).count() > 1, "no file has versions");
        assert!(before.values().filter(|kept| kept.granted.len() > 1).count() > 1, "no file is shared");
        r.setting.sim.wipe(ALICE);
        let options = RestoreOptions { versions: asked, permissions: asked, ..in_place(Conflict::Skip) };
        let plan = r.plan(&drive, "original", options).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
        let after = kept(&r, r.again().await, &drive).await;
        let lost: Vec<&str> = report.problems.iter().map(|(path, _)| path.as_str()).collect();
        for (name, old) in &before {
            let Some(new) = after.get(name) else {
                assert!(lost.iter().any(|path| path.ends_with(name.as_str())), "{name} did not come back");
                continue;
            };
            match asked {
                true => {
                    assert_eq!(old.versions, new.versions, "{name}");
                    assert_eq!(old.granted.len() - old.links, new.granted.len() - new.links, "{name}");
                }
                false => assert_eq!((new.versions.len(), new.granted.len()), (1, 0), "{name}"),
            }
        }
        let links = before.values().filter(|kept| kept.links > 0).count();
        let said = report.notes.iter().filter(|(_, note)| note.contains("sharing link")).count();
        assert_eq!(said, if asked { links } else { 0 }, "{:?}", report.notes);
        assert_eq!(r.setting.sim.mails_sent(), 0, "somebody was sent a mail");
    }
}

/// The snapshot's records tell what hangs below files and events: a plan counts it, and reads no contents for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_versions_rights_and_attachments() {
    let drive = format!("users/{ALICE}/OneDrive");
    let mut tenant = SimOptions::tiny();
    tenant.script.edited_files = 8;
    let r = Restorer::with(tenant, 6, |options| options.versions = Versions::All).await;
    let before = kept(&r, 0, &drive).await;
    r.setting.sim.wipe(ALICE);
    let plain = in_place(Conflict::Skip);
    let versions = RestoreOptions { versions: true, ..plain.clone() };
    let shared = RestoreOptions { permissions: true, links: true, ..plain.clone() };
    // Each choice by itself.
    let mut alone = Vec::new();
    for (permissions, links) in [(false, false), (true, false), (false, true)] {
        let options = RestoreOptions { permissions, links, ..plain.clone() };
        alone.push(r.plan(&drive, "original", options).await.unwrap().counts().requests);
    }
    let of = |stats: &SimStats, doors: &[&str]| -> u64 { doors.iter().map(|door| stats.requests_to(door)).sum() };
    let uploads = ["POST /drives/{id}/items/{id}/createUploadSession", "PUT /drives/{id}/items/{id}/content"];
    let sharing = ["POST /drives/{id}/items/{id}/invite", "POST /drives/{id}/items/{id}/createLink"];
    let mut seen = Vec::new();
    for options in [plain, versions, shared] {
        let plan = r.plan(&drive, "original", options).await.unwrap();
        r.setting.sim.clear_stats();
        let report = r.run(&plan).await.unwrap();
        let stats = r.setting.sim.stats();
        seen.push((plan.counts(), of(&stats, &uploads), of(&stats, &sharing), report.bytes));
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{:?}", back.left);
    }
    let [(plain, files, none, _), (versions, with_versions, ..), (shared, _, given, _)] = seen[..] else { panic!() };
    assert!(none == 0 && with_versions > files + 2 && versions.bytes > plain.bytes, "{seen:?}");
    assert_eq!(versions.requests - plain.requests, (with_versions - files) * 2, "a session and a part for each");
    let counted = shared.requests - plain.requests;
    assert!(given > 1 && counted >= given, "{counted} counted, {given} given");
    let (rights, links) = (alone[1] - alone[0], alone[2] - alone[0]);
    assert!(rights > 0 && links > 0 && rights + links == counted, "{alone:?} {counted}");
    // Who owns a file has it already.
    let all: usize = before.values().map(|kept| kept.granted.len() - kept.links).sum();
    assert!(rights < all as u64, "{rights} counted of {all}");
    // Attachments of events.
    let calendar = format!("users/{ALICE}/Calendar");
    let items = r.items(0, &calendar).await;
    let attached = items.values().flatten().filter(|thing| thing.kind == ItemKind::Attachment);
    let bytes: usize = attached.filter_map(|thing| thing.content.as_ref()).map(Vec::len).sum();
    let plan = r.plan(&calendar, "original", in_folder()).await.unwrap();
    let own = |step: &Step| if step.container { 200 } else { 3_000 };
    let made = plan.steps.iter().filter(|step| step.action == Action::Create);
    let counted = plan.counts().bytes - made.map(|step| own(&step)).sum::<u64>();
    // Those of calendars of others are not made; as text they are longer.
    assert!(bytes > 0 && counted >= bytes as u64 / 2 && counted <= bytes as u64 * 2, "{counted} of {bytes}");
    // And of tasks.
    let plan = r.plan(&format!("users/{ALICE}/Tasks"), "original", in_folder()).await.unwrap();
    let made = plan.steps.iter().filter(|step| step.action == Action::Create && !step.container);
    assert!(made.map(|step| step.cost.bytes - 1_000).sum::<u64>() > 200);
}

/// What comes back without its folder is given the folder's rights: a plan counts these too, and the steps and links of tasks.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_rights_of_a_folder_that_stays_away_and_steps_of_tasks() {
    let r = Restorer::new().await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let library = catalog.states.values().find(|state| state.name.ends_with("/Files/Plans & more")).unwrap();
    r.setting.sim.wipe(ALICE);
    let shared = RestoreOptions { permissions: true, links: true, ..in_folder() };
    let counted_and_given = async |path: &str| {
        let plain = r.plan(path, ALICE, in_folder()).await.unwrap().counts().requests;
        let plan = r.plan(path, ALICE, shared.clone()).await.unwrap();
        assert!(plan.not_counted().is_empty(), "{:?}", plan.not_counted());
        r.setting.sim.clear_stats();
        r.run(&plan).await.unwrap();
        let stats = r.setting.sim.stats();
        (plan.counts().requests - plain, stats.requests_to("/invite") + stats.requests_to("/createLink"))
    };
    // Two guests, and a link.
    for name in ["Agenda.txt", "Minutes/Minutes of May.txt"] {
        let path = format!("users/{ALICE}/OneDrive/Documents/Committee/{name}");
        assert_eq!(counted_and_given(&path).await, (3, 3), "{name}");
    }
    // Who may use a whole library stands at its root, which is no item.
    let (counted, given) = counted_and_given(&library.name).await;
    assert!(given > 1 && counted >= given, "{counted} counted, {given} given");
    let plan = r.plan(&format!("users/{ALICE}/Tasks"), "original", in_folder()).await.unwrap();
    r.setting.sim.clear_stats();
    r.run(&plan).await.unwrap();
    let stats = r.setting.sim.stats();
    let sent = |part: &str| stats.requests_to(&format!("POST /users/{{id}}/todo/lists/{{id}}/tasks/{{id}}/{part}"));
    let (parts, attached) = (sent("checklistItems") + sent("linkedResources"), sent("attachments"));
    // Without them a task takes four requests.
    let made = plan.steps.iter().filter(|step| step.action == Action::Create && !step.container);
    let counted: u64 = made.map(|step| step.cost.requests - 4).sum();
    assert!(parts > 2 && attached > 0, "{stats:?}");
    assert_eq!(counted, parts + attached);
}

/// What may be there is looked for by undo, and taken away as it is: it may be somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn undo_gives_a_folder_in_doubt_neither_times_nor_rights() {
    let r = Restorer::new().await;
    r.setting.sim.wipe(ALICE);
    let before = seen(&r);
    let options = RestoreOptions { permissions: true, ..in_place(Conflict::Skip) };
    let plan = r.plan(&format!("users/{ALICE}/OneDrive/Documents"), "original", options).await.unwrap();
    // The folder is made, and nobody hears of it.
    let (kind, path) = (FaultKind::Drop, "/children".to_owned());
    r.setting.sim.inject(Fault { kind, path, probability: 1.0, count: None });
    assert_eq!(r.run(&plan).await.unwrap().created, 0);
    r.setting.sim.clear_faults();
    assert_ne!(seen(&r), before);
    r.setting.sim.clear_stats();
    let (_, view) = r.view(0).await;
    let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
    assert!(back.undone > 0 && back.left.is_empty(), "{back:?}");
    let stats = r.setting.sim.stats();
    assert_eq!(stats.requests_to("PATCH /drives") + stats.requests_to("/invite"), 0, "{stats:?}");
    assert_eq!(seen(&r), before);
}

/// Permissions of what lies in a shared folder stand at the folder. What comes back without it gets them itself.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_inherited_comes_back_with_the_folder_or_without_it() {
    let drive = format!("users/{ALICE}/OneDrive");
    let folder = format!("{drive}/Documents/Committee");
    // The folder, with two files that have no rights of their own and one that has; a file of it; a file two folders below it.
    for (asked, name) in
        [("", "Committee"), ("/Agenda.txt", "Agenda.txt"), ("/Minutes/Minutes of May.txt", "Minutes of May.txt")]
    {
        let r = Restorer::with(SimOptions::tiny(), 0, |_| ()).await;
        let before = kept(&r, 0, &drive).await;
        assert_eq!((before["Committee"].granted.len(), before["Committee"].links), (4, 1), "an owner, guests, a link");
        assert_eq!((before["Agenda.txt"].granted.len(), before["Guest list.txt"].granted.len()), (0, 2));
        r.setting.sim.wipe(ALICE);
        let options = RestoreOptions { permissions: true, ..in_folder() };
        let report = r.run(&r.plan(&format!("{folder}{asked}"), ALICE, options).await.unwrap()).await.unwrap();
        let after = kept(&r, r.again().await, &drive).await;
        assert_eq!(after[name].granted.len() - after[name].links, 3, "{name}: the owner and the guests of the folder");
        if asked.is_empty() {
            assert_eq!((after["Agenda.txt"].granted.len(), after["Guest list.txt"].granted.len()), (0, 2));
        }
        assert_eq!(report.notes.iter().filter(|(_, note)| note.contains("sharing link")).count(), 1, "{report:?}");
        assert_eq!((report.problems.len(), r.setting.sim.mails_sent()), (0, 0), "{:?}", report.problems);
    }
}

/// Who may use a whole library stands at its root, which is no item.
#[tokio::test(flavor = "multi_thread")]
async fn rights_to_a_whole_library_go_to_what_lay_at_its_top() {
    let r = Restorer::with(SimOptions::tiny(), 0, |_| ()).await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let library = catalog.states.values().find(|state| state.name.ends_with("/Files/Plans & more")).unwrap();
    r.setting.sim.wipe(ALICE);
    let options = RestoreOptions { permissions: true, ..in_folder() };
    r.run(&r.plan(&library.name, ALICE, options).await.unwrap()).await.unwrap();
    let after = kept(&r, r.again().await, &format!("users/{ALICE}/OneDrive")).await;
    assert_eq!((after["Pictures"].granted.len(), after["Documents"].granted.len()), (2, 2), "the owner and a guest");
    assert_eq!(after["Large database.accdb"].granted.len(), 0, "it inherits");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_made_anew_if_that_is_asked() {
    let drive = format!("users/{ALICE}/OneDrive");
    let r = Restorer::with(SimOptions::tiny(), 6, |_| ()).await;
    let before = kept(&r, 0, &drive).await;
    r.setting.sim.wipe(ALICE);
    let options = RestoreOptions { links: true, ..in_place(Conflict::Skip) };
    let report = r.run(&r.plan(&drive, "original", options).await.unwrap()).await.unwrap();
    let after = kept(&r, r.again().await, &drive).await;
    let mut made = 0;
    for (name, old) in before.iter().filter(|(_, old)| old.links > 0) {
        // What is infected is not restored.
        let Some(new) = after.get(name) else { continue };
        // The owner stands in the list of whatever is shared.
        assert_eq!((new.links, new.granted.len()), (old.links, old.links + 1), "{name}");
        made += old.links;
    }
    assert!(made > 0);
    // A notebook comes back as a folder.
    assert!(after.iter().all(|(name, new)| before.get(name).map_or(0, |old| old.links) == new.links));
    let said = report.notes.iter().filter(|(_, note)| note.contains("a new sharing link was made")).count();
    assert_eq!((said, r.setting.sim.mails_sent()), (made, 0), "{:?}", report.notes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_goes_into_another_site_to_a_person_or_a_team() {
    let r = Restorer::new().await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    // "sites/HOST_sites_NAME/Files/LIBRARY"
    let is_library = |state: &&tenantvault::format::snapshot::CollectionState| state.name.contains("/Files/");
    let mut names: Vec<&str> = catalog.states.values().filter(is_library).map(|state| state.name.as_str()).collect();
    names.sort_unstable();
    let site_of = |name: &str| name.split('/').nth(1).unwrap_or_default().to_owned();
    let from = *names.iter().find(|name| name.ends_with("/Documents")).unwrap();
    let other = *names.iter().find(|name| name.ends_with("/Documents") && site_of(name) != site_of(from)).unwrap();
    let address = format!("https://{}", site_of(other).replace('_', "/"));
    let before = r.items(0, from).await;
    let files = |items: &BTreeMap<String, Vec<crate::restore::Thing>>, below: &str| -> BTreeMap<String, Vec<u8>> {
        let all = items.iter().filter_map(|(path, things)| Some((path.strip_prefix(below)?, things)));
        all.filter_map(|(path, things)| Some((path.to_owned(), things[0].content.clone()?))).collect()
    };
    let people = [(address.as_str(), Some(other)), ("bob@contoso.com", Some("users/bob@contoso.com/OneDrive"))];
    // Which library of a site is a team's the simulated tenant knows.
    for (to, place) in people.into_iter().chain([("Sales", None)]) {
        let plan = r.plan(from, to, in_folder()).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert_eq!(report.created, plan.counts().create, "{to}: {:?}", report.problems);
        let now = r.again().await;
        let mut after = BTreeMap::new();
        for name in place.map_or_else(|| names.clone(), |place| vec![place]) {
            after.extend(r.items(now, name).await);
        }
        let (old, new) = (files(&before, ""), files(&after, "Restored 2026-11-20/"));
        // A shortcut into another drive has no contents.
        assert!(old.len() > 3 && new == old, "{to}: {:?} {:?}", new.keys(), old.keys());
        // What the next one finds is its own.
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{to}: {:?}", back.left);
    }
}

/// The app that restores has rights of its own: `test --restore` names them, and with them teams come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_comes_back_by_the_app_that_restores_and_one_that_refuses_holds_up_nobody() {
    let r = Restorer::with(SimOptions { groups: 1, ..SimOptions::tiny() }, 2, |_| ()).await;
    let granted = look_restore(&r.client).await.unwrap();
    assert!(granted.iter().all(|(_, state)| *state == State::Granted), "{granted:?}");
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let is_team = |state: &&CollectionState| state.name.starts_with("teams/") && state.name.ends_with("/Team");
    let state = catalog.states.values().filter(is_team).min_by_key(|state| &state.name).expect("a team");
    let group = state.key.split('/').nth(1).unwrap().to_owned();
    let before = r.items(0, &state.name).await;
    r.setting.sim.wipe_items(&group);
    let plan = r.plan(&state.name, "original", in_place(Conflict::Skip)).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    assert!(report.created > 3 && report.stopped.is_empty(), "{:?} {:?}", report.problems, report.stopped);
    let after = r.items(r.again().await, &state.name).await;
    let kinds = |items: &BTreeMap<String, Vec<crate::restore::Thing>>| {
        let mut kinds = BTreeMap::new();
        items.values().flatten().for_each(|thing| *kinds.entry(thing.kind.word()).or_insert(0) += 1);
        kinds
    };
    assert_eq!(kinds(&after), kinds(&before), "{:?} {:?}", report.problems, report.notes);

    // Of the whole tenant all goes on, and the team is told.
    let path = format!("teams/{group}");
    let kind = FaultKind::Status { status: 403 };
    r.setting.sim.inject(Fault { kind, path: path.clone(), probability: 1.0, count: None });
    let plan = r.plan("", "original", in_folder()).await.unwrap();
    assert!(plan.targets.len() > 5, "{:?}", plan.targets);
    assert!(plan.refused.iter().any(|(left, _)| *left == state.name), "{:?} {:?}", plan.refused, plan.left_out);
    let e = r.plan(&state.name, "original", in_place(Conflict::Skip)).await.unwrap_err();
    assert!(e.chain().contains("403") || e.kind() == ErrorKind::Permission, "{e:?}");
}

/// What a living team is called, and who sees it, is as people have it now.
#[tokio::test(flavor = "multi_thread")]
async fn a_team_that_is_there_keeps_its_settings_unless_they_are_to_be_replaced() {
    let r = Restorer::with(SimOptions::tiny(), 0, |_| ()).await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let is_team = |state: &&CollectionState| state.name.starts_with("teams/") && state.name.ends_with("/Team");
    let state = catalog.states.values().find(is_team).expect("a team");
    let id = state.key.split('/').nth(1).unwrap();
    let (url, scope) = (format!("teams/{id}"), || Scope::teams(TeamsCall::Team, id));
    let name = async || {
        let team = r.client.get_json(GraphRequest::get(scope(), url.as_str())).await.unwrap();
        team["displayName"].as_str().unwrap().to_owned()
    };
    let before = name().await;
    let changed = serde_json::json!({"displayName": "Renamed"});
    r.client.send(GraphRequest::patch(scope(), url.as_str(), &changed)).await.unwrap();
    for only in [Only::All, Only::Deleted] {
        let options = RestoreOptions { only, ..in_place(Conflict::Skip) };
        let plan = r.plan(&state.name, "original", options).await.unwrap();
        assert_eq!(plan.counts().overwrite, 0, "{:?}", plan.steps);
        let report = r.run(&plan).await.unwrap();
        assert_eq!(name().await, "Renamed");
        let said = |(_, note): &(String, String)| note.contains("its settings are left");
        assert!(report.notes.iter().any(said), "{:?}", report.notes);
    }
    let plan = r.plan(&state.name, "original", in_place(Conflict::Replace)).await.unwrap();
    let is_of_team = |step: &Step| step.item == id && matches!(step.action, Action::Overwrite(_));
    assert!(plan.steps.iter().any(|step| is_of_team(&step)), "{:?}", plan.steps);
    r.run(&plan).await.unwrap();
    assert_eq!(name().await, before);
    undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!(name().await, "Renamed");
}

/// A plan does not promise to overwrite what it leaves.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_overwritten_is_not_planned_to_be() {
    let r = Restorer::new().await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let is_meant = |state: &&CollectionState| {
        let key = state.key.as_str();
        key.starts_with("sites/") && key.ends_with("/pages") || key.ends_with("/site") || key.ends_with("tenant/terms")
    };
    let mut skipped = 0;
    for state in catalog.states.values().filter(|state| state.items.is_some()).filter(is_meant) {
        let plan = r.plan(&state.name, "original", in_place(Conflict::Replace)).await.unwrap();
        assert_eq!(plan.counts().overwrite, 0, "{}: {:?}", state.name, plan.steps);
        let why = |step: &Step| matches!(&step.action, Action::Skip(why) if why.contains("it is there already: "));
        skipped += plan.steps.iter().filter(why).count();
    }
    assert!(skipped > 0);
}

/// What a mailbox has once is not overwritten by its copy.
#[tokio::test(flavor = "multi_thread")]
async fn no_copy_comes_of_settings() {
    let r = Restorer::new().await;
    let plan = r.plan(&format!("users/{ALICE}/Settings"), "original", in_place(Conflict::Copy)).await.unwrap();
    let step = plan.steps.iter().find(|step| step.item == "mailboxSettings").expect("the settings");
    assert!(matches!(step.action, Action::Skip(_)), "{step:?}");
    assert!(plan.steps.iter().any(|step| step.action == Action::Copy), "rules can be there twice");
}

/// A personal site is a site: its lists and pages go back into it.
#[tokio::test(flavor = "multi_thread")]
async fn lists_and_pages_of_a_personal_site_come_back() {
    let r = Restorer::new().await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let of = format!("users/{ALICE}/Personal Site/");
    let (mut lists, mut pages) = (0, 0);
    for state in catalog.states.values().filter(|state| state.name.starts_with(&of) && state.items.is_some()) {
        let (path, is_pages) = (&state.name, state.name.ends_with("/Pages"));
        let options = if is_pages { in_place(Conflict::Copy) } else { in_folder() };
        let plan = r.plan(path, "original", options).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        let counts = plan.counts();
        assert_eq!(report.created, counts.create, "{path}: {:?} {:?}", report.problems, report.stopped);
        *(if is_pages { &mut pages } else { &mut lists }) += report.created;
        assert!(undo(&plan.run, None, &r.client, &r.around()).await.unwrap().left.is_empty(), "{path}");
    }
    assert!(lists > 5 && pages > 0, "{lists} {pages}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_several_pages_is_planned_whole_and_each_item_once() {
    // A page of a plan has 2,000 records.
    let r = Restorer::with(SimOptions { users: 1, messages: 6_000, ..SimOptions::tiny() }, 0, |_| ()).await;
    let mailbox = r.setting.sim.expected().user(ALICE).unwrap().mailbox.clone().unwrap();
    let inbox = mailbox.folders.iter().find(|folder| folder.well_known == Some("inbox")).unwrap();
    let wanted: BTreeSet<String> =
        mailbox.messages.iter().filter(|m| m.folder_id == inbox.id).map(|m| m.id.clone()).collect();
    assert!(wanted.len() > 2_000, "{}", wanted.len());
    let plan = r.plan(&format!("users/{ALICE}/Mail/Inbox"), "original", in_folder()).await.unwrap();
    let planned: Vec<String> = plan.steps.iter().filter(|step| !step.container).map(|step| step.item).collect();
    assert_eq!(planned.len(), planned.iter().collect::<BTreeSet<_>>().len(), "each once");
    assert!(wanted.is_subset(&planned.iter().cloned().collect()), "{}", planned.len());
    // In place all of them are there already.
    let plan = r.plan(&format!("users/{ALICE}/Mail/Inbox"), "original", in_place(Conflict::Skip)).await.unwrap();
    assert_eq!((plan.counts().create, plan.counts().skip >= wanted.len() as u64), (0, true), "{:?}", plan.counts());
}
