//! What a restore must not do to a tenant that is in use: put things where they were not meant to go, or take away what it did
//! not make.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tenantvault::error::ErrorKind;
use tenantvault::graph::{GraphRequest, IMMUTABLE_IDS, Scope};
use tenantvault::ops::restore::{Asked, Conflict, Into, Only, Plan, RestoreOptions, make, undo};
use tenantvault::sim::{Fault, FaultKind, SimOptions};

use crate::restore::{ALICE, Restorer, in_folder, in_place, seen};

#[tokio::test(flavor = "multi_thread")]
async fn where_the_folder_of_a_restore_was_not_made_nothing_is() {
    let r = Restorer::new().await;
    let before = seen(&r);
    for (path, door) in [("Mail/Inbox", "mailFolders/msgfolderroot/childFolders"), ("OneDrive", "/children")] {
        let plan = r.plan(&format!("users/{ALICE}/{path}"), "original", in_folder()).await.unwrap();
        let kind = FaultKind::Status { status: 400 };
        r.setting.sim.inject(Fault { kind, path: door.to_owned(), probability: 1.0, count: Some(1) });
        let report = r.run(&plan).await.unwrap();
        r.setting.sim.clear_faults();
        assert_eq!(report.created, 0, "{path}: {report:?}");
        let why = &report.problems.last().expect("a problem").1;
        assert!(why.contains("What should hold it was not made"), "{path}: {why}");
        assert_eq!(seen(&r), before, "{path}");
        // Asked once more, all of it comes.
        let report = r.run(&plan).await.unwrap();
        assert!(report.created > 5 && report.stopped.is_empty(), "{path}: {report:?}");
        undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert_eq!(seen(&r), before, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_folder_can_have_is_refused_before_anything_is_asked() {
    let r = Restorer::new().await;
    for name in ["", " ", " a", "a/b", "a\\b", "a:b", "end.", "bell\u{7}"] {
        let options = RestoreOptions { into: Into::Folder(name.into()), ..in_folder() };
        let e = r.plan(&format!("users/{ALICE}/Mail"), "original", options).await.unwrap_err();
        assert!(e.kind() == ErrorKind::InvalidInput && e.to_string().contains("name of a folder"), "{name:?}: {e}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_below_another_path_comes_once() {
    let r = Restorer::new().await;
    let mail = format!("users/{ALICE}/Mail");
    let whole = r.plan(&mail, "original", in_folder()).await.unwrap();
    let both = [format!("{mail}/Inbox"), mail.clone(), format!("users/{ALICE}")];
    let plan = r.plan_of(&both[..2], "original", in_folder()).await.unwrap();
    assert_eq!(plan.counts(), whole.counts());
    let user = r.plan(&both[2], "original", in_folder()).await.unwrap();
    assert_eq!(r.plan_of(&both, "original", in_folder()).await.unwrap().counts(), user.counts());
    // One item has two names: the second is told by a mark.
    let items = r.setting.sim.expected().user(ALICE).unwrap().drive.clone().unwrap().items;
    let file = items.iter().find(|item| item.path == "Documents/Committee/Agenda.txt").unwrap();
    let mark: String = blake3::hash(file.id.as_bytes()).to_hex().chars().take(8).collect();
    let names = ["Agenda.txt".to_owned(), format!("Agenda ~{mark}.txt")];
    let paths = names.map(|name| format!("users/{ALICE}/OneDrive/Documents/Committee/{name}"));
    let plan = r.plan_of(&paths, "original", in_folder()).await.unwrap();
    assert_eq!(plan.steps.iter().filter(|step| !step.container).count(), 1, "{:?}", plan.steps);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_that_was_there_is_not_taken_away() {
    let r = Restorer::new().await;
    let alice = r.setting.sim.expected().user(ALICE).unwrap().clone();
    let files = alice.drive.unwrap().items;
    let is_empty =
        |item: &&tenantvault::sim::ExpectedItem| item.content.as_ref().is_some_and(tenantvault::sim::Blob::is_empty);
    let file = files.iter().find(is_empty).expect("an empty file");
    let path = format!("users/{ALICE}/OneDrive/{}", file.path);
    r.setting.sim.wipe(ALICE);
    let [first, second] = [
        r.plan(&path, "original", in_place(Conflict::Skip)).await.unwrap(),
        r.plan(&path, "original", in_place(Conflict::Skip)).await.unwrap(),
    ];
    r.run(&first).await.unwrap();
    let before = seen(&r);
    r.run(&second).await.unwrap();
    undo(&second.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!(seen(&r), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_somebody_changed_after_its_restore_stays() {
    let mut tenant = SimOptions::tiny();
    tenant.script.moved_files = 0;
    let r = Restorer::with(tenant, 0, |_| ()).await;
    let before = files(&r);
    let mut plan = r.plan(&format!("users/{ALICE}/OneDrive"), "original", in_folder()).await.unwrap();
    // In the time of the simulated tenant.
    plan.run = "20261102-235959-0000000000".into();
    r.run(&plan).await.unwrap();
    let restored = files(&r);
    let changed = |now: &BTreeMap<String, String>| -> BTreeSet<String> {
        let of_restore = restored.iter().filter(|(path, _)| !before.contains_key(*path));
        of_restore
            .filter(|(path, hash)| now.get(*path).is_some_and(|now| now != *hash))
            .map(|(p, _)| p.clone())
            .collect()
    };
    let mut days = 0;
    while changed(&files(&r)).is_empty() {
        r.setting.next_day();
        days += 1;
        assert!(days < 60, "nobody changes a file");
    }
    let theirs = changed(&files(&r));
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    let left = back.left.iter().filter(|(_, why)| why.contains("changed after"));
    assert_eq!(left.count(), theirs.len(), "{:?} {theirs:?}", back.left);
    let now = files(&r);
    assert!(theirs.iter().all(|path| now.contains_key(path)), "{theirs:?}");
}

/// What is chosen in several places comes to the top of one container, each under a name of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_one_name_in_two_places_comes_under_two() {
    let r = Restorer::new().await;
    let drive = format!("users/{ALICE}/OneDrive");
    let paths = |of: &str| ["Agenda.txt", "Minutes"].map(|name| format!("{drive}/{of}/{name}"));
    let into = |name: &str| RestoreOptions { into: Into::Folder(name.into()), ..in_folder() };
    let beside = r.plan_of(&paths("Documents/Committee"), "original", into("Beside")).await.unwrap();
    assert!(r.run(&beside).await.unwrap().problems.is_empty());
    let (snapshot, view) = r.view(r.again().await).await;
    let plan = async || -> Plan {
        let asked = Asked {
            view: &view,
            snapshot: snapshot.clone(),
            paths: [paths("Beside"), paths("Documents/Committee")].concat(),
            to: "original".parse().unwrap(),
            tenant: "sim".into(),
            tenant_id: String::new(),
            options: into("Both"),
            grantee: "whoever the caller names".into(),
        };
        make(asked, &r.client, &r.around()).await.unwrap()
    };
    let first = plan().await;
    let at_top = |plan: &Plan| -> BTreeSet<String> {
        let steps = plan.steps.iter().filter(|step| step.parent.is_empty() && !step.item.is_empty());
        steps.map(|step| step.name).collect()
    };
    let names = ["Agenda (2).txt", "Agenda.txt", "Minutes", "Minutes (2)"].map(str::to_owned);
    assert_eq!(at_top(&first), BTreeSet::from(names));
    let report = tenantvault::ops::restore::run(&first, &view, &r.client, &r.around()).await.unwrap();
    assert_eq!((report.created, report.problems.as_slice()), (first.counts().create, [].as_slice()));
    let now = files(&r);
    for (one, other) in
        [("Agenda.txt", "Agenda (2).txt"), ("Minutes/Minutes of May.txt", "Minutes (2)/Minutes of May.txt")]
    {
        let [one, other] = [one, other].map(|name| now.get(&format!("Both/{name}")));
        assert!(one.is_some() && one == other, "{now:?}");
    }
    // Another plan finds each where the first put it.
    let again = plan().await;
    assert_eq!((again.counts().create, at_top(&again)), (0, at_top(&first)));
    // And takes neither for the other.
    let items = r.setting.sim.expected().user(ALICE).unwrap().clone().drive.unwrap().items;
    let second = &items.iter().find(|item| item.path == "Both/Agenda (2).txt").expect("the second").id;
    let own = r.client.get_json(GraphRequest::get(Scope::Files, format!("users/{ALICE}/drive"))).await.unwrap();
    let url = format!("drives/{}/items/{second}", own["id"].as_str().unwrap());
    r.client.send(GraphRequest::delete(Scope::Files, url)).await.unwrap();
    assert_eq!(plan().await.counts().create, 1, "the one that is gone");
    assert!(undo(&first.run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
}

/// What was moved was not deleted, and where nothing was deleted nothing is made. What lies in Deleted Items was.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_in_the_target_no_more_counts_as_deleted() {
    let r = Restorer::new().await;
    let alice = r.setting.sim.expected().user(ALICE).unwrap().clone();
    let mailbox = alice.mailbox.unwrap();
    let folder = |name: &str| mailbox.folders.iter().find(|f| f.well_known == Some(name)).unwrap().id.clone();
    let (inbox, sent) = (folder("inbox"), folder("sentitems"));
    let mut mails = mailbox.messages.iter().filter(|m| m.folder_id == inbox && !m.recoverable).map(|m| m.id.clone());
    let scope = || Scope::Mailbox(ALICE.into());
    let move_mail = async |id: &str, to: &str| {
        let url = format!("users/{ALICE}/messages/{id}/move");
        let request = GraphRequest::post(scope(), url, &json!({"destinationId": to})).prefer(IMMUTABLE_IDS);
        r.client.send(request).await.unwrap();
    };
    move_mail(&mails.next().unwrap(), &sent).await;
    let items = alice.drive.unwrap().items;
    let id_of = |path: &str| items.iter().find(|item| item.path == path).unwrap().id.clone();
    let drive = r.client.get_json(GraphRequest::get(Scope::Files, format!("users/{ALICE}/drive"))).await.unwrap();
    let url = format!("drives/{}/items/{}", drive["id"].as_str().unwrap(), id_of("Documents/Committee/Agenda.txt"));
    let to = json!({"parentReference": {"id": id_of("Documents")}});
    r.client.send(GraphRequest::patch(Scope::Files, url, &to)).await.unwrap();
    for (path, options) in [
        ("Mail/Inbox", in_folder()),
        ("Mail/Inbox", in_place(Conflict::Skip)),
        ("OneDrive/Documents/Committee", in_folder()),
        ("OneDrive/Documents/Committee/Agenda.txt", in_place(Conflict::Skip)),
    ] {
        let options = RestoreOptions { only: Only::Deleted, ..options };
        let plan = r.plan(&format!("users/{ALICE}/{path}"), "original", options).await.unwrap();
        assert_eq!(plan.counts().create, 0, "{path}: {:?}", plan.steps);
    }
    move_mail(&mails.next().unwrap(), "deleteditems").await;
    let url = format!("users/{ALICE}/messages/{}", mails.next().unwrap());
    r.client.send(GraphRequest::delete(scope(), url).prefer(IMMUTABLE_IDS)).await.unwrap();
    let options = RestoreOptions { only: Only::Deleted, ..in_place(Conflict::Skip) };
    let plan = r.plan(&format!("users/{ALICE}/Mail/Inbox"), "original", options).await.unwrap();
    assert_eq!(plan.counts().create, 2, "{:?}", plan.steps);
}

/// Rights go with what is made, and a plan says what keeps its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_how_many_files_keep_their_rights() {
    let r = Restorer::new().await;
    let drive = format!("users/{ALICE}/OneDrive");
    for (permissions, conflict) in [(true, Conflict::Skip), (true, Conflict::Replace), (false, Conflict::Skip)] {
        let options = RestoreOptions { permissions, ..in_place(conflict) };
        let plan = r.plan(&drive, "original", options).await.unwrap();
        let counts = plan.counts();
        assert!(counts.create == 0 && counts.skip > 0, "{counts:?}");
        let there = plan.steps.len() as u64 - counts.cannot;
        assert_eq!(plan.keep_rights(), if permissions { there } else { 0 }, "{conflict:?}");
    }
    // What is overwritten keeps its own too.
    for _ in 0..60 {
        r.setting.next_day();
        let options = RestoreOptions { permissions: true, ..in_place(Conflict::Replace) };
        let plan = r.plan(&drive, "original", options).await.unwrap();
        let counts = plan.counts();
        if counts.overwrite > 0 {
            assert_eq!(plan.keep_rights(), plan.steps.len() as u64 - counts.cannot - counts.create);
            return;
        }
    }
    panic!("nobody changes a file");
}

/// Alice's files, with the hash of each.
fn files(r: &Restorer) -> BTreeMap<String, String> {
    let alice = r.setting.sim.expected().user(ALICE).unwrap().clone();
    let items = alice.drive.unwrap().items.into_iter();
    items.filter_map(|i| Some((i.path, blake3::hash(&i.content?.bytes()).to_hex().to_string()))).collect()
}
