//! What a restore must not do to a tenant that is in use: put things where they were not meant to go, or take away what it did
//! not make.

use std::collections::{BTreeMap, BTreeSet};

use tenantvault::error::ErrorKind;
use tenantvault::ops::restore::{Conflict, Into, RestoreOptions, undo};
use tenantvault::sim::{Fault, FaultKind};

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
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_that_was_there_is_not_taken_away() {
    let r = Restorer::new().await;
    let alice = r.setting.sim.expected().user(ALICE).unwrap().clone();
    let files = alice.drive.unwrap().items;
    let is_empty = |item: &&tenantvault::sim::ExpectedItem| item.content.as_ref().is_some_and(|blob| blob.is_empty());
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
    let r = Restorer::new().await;
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

/// Alice's files, with the hash of each.
fn files(r: &Restorer) -> BTreeMap<String, String> {
    let alice = r.setting.sim.expected().user(ALICE).unwrap().clone();
    let items = alice.drive.unwrap().items.into_iter();
    items.filter_map(|i| Some((i.path, blake3::hash(&i.content?.bytes()).to_hex().to_string()))).collect()
}
