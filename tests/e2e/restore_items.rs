//! What is no mail and no file goes the same way: planned, made, backed up again, taken back.

use std::collections::{BTreeMap, BTreeSet};

use tenantvault::format::record::ItemKind;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::restore::{Action, Conflict, undo};

use crate::restore::{ALICE, Restorer, Thing, in_folder, in_place};

/// Kinds of which every item comes back under its name.
const KINDS: &[ItemKind] = &[
    ItemKind::Calendar,
    ItemKind::Event,
    ItemKind::ContactFolder,
    ItemKind::Contact,
    ItemKind::Task,
    ItemKind::Rule,
    ItemKind::Category,
];

async fn names(r: &Restorer, snapshot: usize, path: &str) -> BTreeSet<(String, usize)> {
    let all = r.items(snapshot, path).await;
    let count = |things: &[crate::restore::Thing]| things.iter().filter(|thing| KINDS.contains(&thing.kind)).count();
    all.iter().map(|(name, things)| (name.clone(), count(things))).filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_mailbox_gets_its_calendars_contacts_tasks_and_rules_back() {
    let r = Restorer::new().await;
    r.setting.sim.wipe_items(ALICE);
    let wiped = r.again().await;
    for part in ["Calendar", "Contacts", "Tasks", "Settings"] {
        let path = format!("users/{ALICE}/{part}");
        let before = names(&r, 0, &path).await;
        let then = names(&r, wiped, &path).await;
        assert!(then.len() < before.len(), "{part}: nothing was wiped");
        let plan = r.plan(&path, "original", in_place(Conflict::Skip)).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert!(report.stopped.is_empty() && !report.interrupted, "{part}: {report:?}");
        assert_eq!(report.created, plan.counts().create, "{part}: {:?}", report.problems);
        // What follows from flagged mail is not made.
        let after = names(&r, r.again().await, &path).await;
        let lost: Vec<_> = before.difference(&after).filter(|(name, _)| !name.contains("Flagged Emails")).collect();
        assert!(lost.is_empty(), "{part}: {lost:?}");
        assert_eq!(r.setting.sim.mails_sent(), 0, "{part}: mail was sent");
        // A second time nothing is left to do.
        let again = r.plan(&path, "original", in_place(Conflict::Skip)).await.unwrap();
        assert_eq!(again.counts().create, 0, "{part}");
        // Undo takes back what was made.
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{part}: {:?}", back.left);
        assert_eq!(names(&r, r.again().await, &path).await, then, "{part}");
        assert_eq!(r.setting.sim.mails_sent(), 0, "{part}: undo sent mail");
    }
}

/// Lists of tasks cannot lie in one another: those of a restore into a folder lie beside it and bear its name.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_go_into_lists_of_their_own_and_a_single_one_into_one_list() {
    let r = Restorer::new().await;
    let tasks = format!("users/{ALICE}/Tasks");
    let before = r.items(0, &tasks).await;
    let count = |items: &BTreeMap<String, Vec<Thing>>, mark: &str| {
        items
            .iter()
            .filter(|(path, _)| path.contains(mark))
            .flat_map(|(_, t)| t)
            .filter(|t| t.kind == ItemKind::Task)
            .count()
    };
    let plan = r.plan(&tasks, "original", in_folder()).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
    let now = r.items(r.again().await, &tasks).await;
    assert!(
        now.contains_key("Tasks (Restored 2026-11-20)") && !now.contains_key("Restored 2026-11-20"),
        "{:?}",
        now.keys()
    );
    let flagged = count(&before, "Flagged Emails/");
    assert_eq!(count(&now, " (Restored 2026-11-20)/"), count(&before, "") - flagged);
    assert_eq!(count(&now, ""), count(&before, "") * 2 - flagged);
    // A second time nothing is left to do.
    let again = r.plan(&tasks, "original", in_folder()).await.unwrap();
    assert_eq!(again.counts().create, 0, "{:?}", again.steps);
    let (_, view) = r.view(0).await;
    let (list, mut paths) = (view.resolve(&format!("{tasks}/Tasks")).await.unwrap(), Vec::new());
    view.list(&list, &mut |entry| {
        if !entry.is_container() {
            paths.push(entry.place(list.path()).path().to_owned());
        }
        Ok(())
    })
    .await
    .unwrap();
    let one = r.plan(&paths[0], "original", in_folder()).await.unwrap();
    assert_eq!(one.counts().create, 2, "the list and the task: {:?}", one.steps);
    r.run(&one).await.unwrap();
    let now = r.items(r.again().await, &tasks).await;
    assert_eq!(count(&now, "Restored 2026-11-20/"), 1);
    for run in [&one.run, &plan.run] {
        assert!(undo(run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
    }
    let after = r.items(r.again().await, &tasks).await;
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
}

/// What a restore put into its folder is there: the same restore again finds it, whatever it is called there, and makes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_folder_again_gets_nothing_twice() {
    let r = Restorer::new().await;
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let of =
        |part: &str| catalog.states.values().find(|s| s.name.contains(part) && s.items.is_some()).unwrap().name.clone();
    let alice = ["Mail", "Calendar", "Contacts", "Tasks", "OneDrive"].map(|part| format!("users/{ALICE}/{part}"));
    for path in alice.into_iter().chain([of("/Files/"), of("/Lists/")]) {
        let plan = r.plan(&path, "original", in_folder()).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert!(report.created == plan.counts().create && report.created > 3, "{path}: {:?}", report.problems);
        let again = r.plan(&path, "original", in_folder()).await.unwrap();
        let made: Vec<_> = again.steps.iter().filter(|step| step.action == Action::Create).collect();
        // A column of a kind that Graph does not make is tried again.
        let columns = if path.contains("/Lists/") { 1 } else { 0 };
        assert!(made.len() <= columns, "{path}: {} of {} {:?}", made.len(), report.created, &made[..made.len().min(3)]);
        let second = r.run(&again).await.unwrap();
        assert_eq!((second.created, second.overwritten), (made.len() as u64, 0), "{path}");
        assert!(undo(&again.run, None, &r.client, &r.around()).await.unwrap().left.is_empty());
        assert!(undo(&plan.run, None, &r.client, &r.around()).await.unwrap().left.is_empty(), "{path}");
    }
}
