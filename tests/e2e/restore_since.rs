//! What people do with what was restored before it is taken back, and between a plan and its run: theirs stays.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tenantvault::graph::{GraphRequest, IMMUTABLE_IDS, Scope};
use tenantvault::ops::restore::{Action, Conflict, Plan, UndoReport, run, undo};
use tenantvault::sim::{ExpectedDrive, ExpectedMessage, Fault, FaultKind};

use crate::restore::{ALICE, Restorer, Thing, in_folder, in_place};
use crate::restore_halves::{mailbox, strike, things, with_drafts};
use crate::restore_plan::plan_at;

async fn taken_back(r: &Restorer, plan: &Plan) -> UndoReport {
    undo(&plan.run, None, &r.client, &r.around()).await.unwrap()
}

/// How many things undo says to be moved or changed.
fn changed(back: &UndoReport) -> usize {
    back.left.iter().filter(|(_, why)| why.contains("moved or changed after")).count()
}

/// Alice's mail that people see.
fn mails(r: &Restorer) -> Vec<ExpectedMessage> {
    let mailbox = r.setting.sim.expected().user(ALICE).unwrap().mailbox.clone().unwrap();
    mailbox.messages.into_iter().filter(|mail| !mail.recoverable).collect()
}

fn ids(mails: &[ExpectedMessage]) -> BTreeSet<String> {
    mails.iter().map(|mail| mail.id.clone()).collect()
}

/// Restores a folder of Alice's mail into a dated one; gives the plan and the mail that came.
async fn restored(r: &Restorer, folder: &str) -> (Plan, Vec<ExpectedMessage>) {
    let before = ids(&mails(r));
    let plan = r.plan(&format!("users/{ALICE}/Mail/{folder}"), "original", in_folder()).await.unwrap();
    assert_eq!(r.run(&plan).await.unwrap().created, plan.counts().create);
    let made = mails(r).into_iter().filter(|mail| !before.contains(&mail.id)).collect();
    (plan, made)
}

async fn patch_mail(r: &Restorer, mail: &ExpectedMessage, body: Value) {
    let url = format!("users/{ALICE}/messages/{}", mail.id);
    r.client.send(GraphRequest::patch(mailbox(), url, &body).prefer(IMMUTABLE_IDS)).await.unwrap();
}

async fn move_mail(r: &Restorer, mail: &ExpectedMessage, to: &str) {
    let url = format!("users/{ALICE}/messages/{}/move", mail.id);
    let request = GraphRequest::post(mailbox(), url, &json!({"destinationId": to})).prefer(IMMUTABLE_IDS);
    r.client.send(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_mail_that_somebody_moved_flagged_or_filed_and_takes_back_what_was_read() {
    let r = Restorer::new().await;
    let before = ids(&mails(&r));
    let (plan, made) = restored(&r, "Inbox").await;
    assert!(made.len() > 4, "{}", made.len());
    move_mail(&r, &made[0], "inbox").await;
    patch_mail(&r, &made[1], json!({"flag": {"flagStatus": "complete"}})).await;
    patch_mail(&r, &made[2], json!({"categories": ["Theirs"]})).await;
    patch_mail(&r, &made[3], json!({"isRead": !made[3].is_read})).await;
    let back = taken_back(&r, &plan).await;
    assert_eq!(changed(&back), 3, "{:?}", back.left);
    let left: BTreeSet<String> = ids(&mails(&r)).difference(&before).cloned().collect();
    assert_eq!(left, ids(&made[..3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_draft_that_somebody_sent() {
    let r = with_drafts().await;
    let before = ids(&mails(&r));
    let (plan, made) = restored(&r, "Drafts").await;
    // Who sends a draft finds it among what was sent, by the same id.
    move_mail(&r, &made[0], "sentitems").await;
    let back = taken_back(&r, &plan).await;
    assert_eq!((changed(&back), back.left.len()), (1, 1), "{:?}", back.left);
    let left: BTreeSet<String> = ids(&mails(&r)).difference(&before).cloned().collect();
    assert_eq!(left, ids(&made[..1]));
}

/// Alice's OneDrive.
fn drive(r: &Restorer) -> ExpectedDrive {
    r.setting.sim.expected().user(ALICE).unwrap().drive.clone().unwrap()
}

/// Of what lies below a folder of it the ids of the files.
fn files_below(r: &Restorer, folder: &str) -> BTreeSet<String> {
    let below = format!("{folder}/");
    let files = drive(r).items.into_iter().filter(|item| item.content.is_some() && item.path.starts_with(&below));
    files.map(|item| item.id).collect()
}

async fn patch_item(r: &Restorer, id: &str, body: Value) {
    let url = format!("drives/{}/items/{id}", drive(r).id);
    r.client.send(GraphRequest::patch(Scope::Files, url, &body)).await.unwrap();
}

async fn root(r: &Restorer) -> String {
    let url = format!("drives/{}/root?$select=id", drive(r).id);
    r.client.get_json(GraphRequest::get(Scope::Files, url)).await.unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_files_that_somebody_moved_or_renamed_and_all_in_a_folder_that_was_moved() {
    let r = Restorer::new().await;
    let (path, top) = (format!("users/{ALICE}/OneDrive"), "Restored 2026-11-20");
    let before = files_below(&r, top);
    let plan = r.plan(&path, "original", in_folder()).await.unwrap();
    r.run(&plan).await.unwrap();
    assert!(before.is_empty() && !files_below(&r, top).is_empty());
    let committee = format!("{top}/Documents/Committee");
    let in_committee = files_below(&r, &committee);
    let folder = drive(&r).items.into_iter().find(|item| item.path == committee).expect("the folder").id;
    let rest: Vec<String> = files_below(&r, top).difference(&in_committee).cloned().collect();
    assert!(in_committee.len() > 2 && rest.len() > 2, "{in_committee:?} {rest:?}");
    let root = root(&r).await;
    patch_item(&r, &folder, json!({"name": "Taken", "parentReference": {"id": root}})).await;
    patch_item(&r, &rest[0], json!({"name": "Taken.bin", "parentReference": {"id": root}})).await;
    patch_item(&r, &rest[1], json!({"name": "Theirs.bin"})).await;
    let back = taken_back(&r, &plan).await;
    assert_eq!(files_below(&r, "Taken"), in_committee, "{:?}", back.left);
    let there: BTreeSet<String> = drive(&r).items.into_iter().map(|item| item.id).collect();
    assert!(there.contains(&rest[0]) && there.contains(&rest[1]), "{:?}", back.left);
    assert!(rest[2..].iter().all(|id| !there.contains(id)), "{:?}", back.left);
    // The folder itself, and the two files.
    assert_eq!(changed(&back), 3, "{:?}", back.left);
    let carried = back.left.iter().filter(|(_, why)| why.contains("a folder that it lies in was moved"));
    assert!(carried.count() >= in_committee.len(), "{:?}", back.left);
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_contact_or_event_that_somebody_moved() {
    let r = Restorer::new().await;
    for (part, kind) in [("Contacts", "contact"), ("Calendar", "event")] {
        let name = format!("users/{ALICE}/{part}");
        let before = things(&r, &name);
        let plan = r.plan(&name, "original", in_folder()).await.unwrap();
        r.run(&plan).await.unwrap();
        let is_meant = |json: &Value| kind == "contact" || json["type"] == "singleInstance";
        let now = things(&r, &name);
        let mut made = now.values().filter(|thing| thing.kind == kind && !before.contains_key(&thing.id));
        let moved = made.find(|thing| is_meant(&thing.json)).expect("something to move");
        let home = before.values().find(|thing| thing.kind == kind && is_meant(&thing.json)).unwrap();
        r.setting.sim.carry(ALICE, &moved.id, &home.parent);
        let back = taken_back(&r, &plan).await;
        assert_eq!(changed(&back), 1, "{part}: {:?}", back.left);
        let after = things(&r, &name);
        assert_eq!(after.get(&moved.id).map(|thing| &thing.parent), Some(&home.parent), "{part}");
        let left = after.values().filter(|thing| thing.kind == kind && !before.contains_key(&thing.id));
        assert_eq!(left.count(), 1, "{part}");
    }
}

/// Its owner takes the lost file out of the recycle bin while the run that makes it again is interrupted.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_that_its_owner_fetched_meanwhile_is_not_taken_for_the_restored_one() {
    let r = Restorer::new().await;
    let path = "Documents/Committee/Agenda.txt";
    let file = drive(&r).items.into_iter().find(|item| item.path == path).expect("the file");
    let root = root(&r).await;
    // As good as in the bin: the folder does not have it.
    patch_item(&r, &file.id, json!({"name": "Bin.txt", "parentReference": {"id": root}})).await;
    let of_alice = format!("users/{ALICE}/OneDrive/{path}");
    let plan = r.plan(&of_alice, "original", in_place(Conflict::Skip)).await.unwrap();
    assert_eq!(plan.counts().create, 1, "{:?}", plan.steps);
    let (kind, door) = (FaultKind::Drop, "createUploadSession".to_owned());
    r.setting.sim.inject(Fault { kind, path: door, probability: 1.0, count: None });
    assert_eq!(r.run(&plan).await.unwrap().created, 0);
    r.setting.sim.clear_faults();
    patch_item(&r, &file.id, json!({"name": file.name, "parentReference": {"id": file.parent_id}})).await;
    r.run(&plan).await.unwrap();
    let back = taken_back(&r, &plan).await;
    assert!(drive(&r).items.iter().any(|item| item.id == file.id), "taken away: {back:?}");
    assert_eq!((back.undone, back.left.len()), (0, 1), "{back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_time_that_is_to_come_is_taken_back() {
    let r = Restorer::new().await;
    let path = "Documents/Committee/Agenda.txt";
    let file = drive(&r).items.into_iter().find(|item| item.path == path).expect("the file");
    let to_come = json!({"fileSystemInfo": {"lastModifiedDateTime": "2031-01-01T00:00:00Z"}});
    patch_item(&r, &file.id, to_come).await;
    let now = r.again().await;
    let (_, view) = r.view(now).await;
    let plan = plan_at(&r, now, &format!("users/{ALICE}/OneDrive/{path}"), in_folder()).await;
    assert_eq!(run(&plan, &view, &r.client, &r.around()).await.unwrap().created, plan.counts().create);
    let back = taken_back(&r, &plan).await;
    assert!(back.left.is_empty() && back.undone == plan.counts().create, "{back:?}");
}

/// Who puts an own copy in its place may keep the time of that.
#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_file_that_somebody_replaced_by_an_older_one() {
    let r = Restorer::new().await;
    let top = "Restored 2026-11-20";
    let path = format!("users/{ALICE}/OneDrive/Documents/Committee/Agenda.txt");
    let plan = r.plan(&path, "original", in_folder()).await.unwrap();
    r.run(&plan).await.unwrap();
    let made = files_below(&r, top);
    assert_eq!(made.len(), 1, "{made:?}");
    let file = made.first().expect("the file");
    patch_item(&r, file, json!({"fileSystemInfo": {"lastModifiedDateTime": "2001-01-01T00:00:00Z"}})).await;
    let back = taken_back(&r, &plan).await;
    assert_eq!(changed(&back), 1, "{back:?}");
    assert_eq!(files_below(&r, top), made);
}

/// Two plan the same, and the second runs a day later.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_after_an_old_plan_was_made_does_not_come_twice() {
    let r = Restorer::new().await;
    r.setting.sim.wipe(ALICE);
    r.setting.sim.wipe_items(ALICE);
    for part in ["Mail", "OneDrive", "Contacts", "Calendar", "Tasks"] {
        let path = format!("users/{ALICE}/{part}");
        let first = r.plan(&path, "original", in_place(Conflict::Skip)).await.unwrap();
        let mut second = r.plan(&path, "original", in_place(Conflict::Skip)).await.unwrap();
        second.run.replace_range(.."20261120".len(), "20261119");
        let report = r.run(&first).await.unwrap();
        assert!(report.created > 3 && report.created == first.counts().create, "{part}: {:?}", report.problems);
        let there = r.items(r.again().await, &path).await;
        let report = r.run(&second).await.unwrap();
        assert_eq!(report.created, 0, "{part}: {report:?}");
        let came = report.notes.iter().filter(|(_, note)| note.contains("came after the plan was made")).count();
        // Of folders is told, too, that they came; what is left out are items.
        let folders = second.steps.iter().filter(|step| step.container && step.action == Action::Create).count();
        assert!(came > 2 && report.skipped + folders as u64 >= came as u64, "{part}: {report:?}");
        let again = r.run(&second).await.unwrap();
        assert_eq!((again.created, again.notes.len()), (0, report.notes.len()), "{part}: {again:?}");
        let now = r.items(r.again().await, &path).await;
        let count = |items: &BTreeMap<String, Vec<Thing>>| items.values().map(Vec::len).sum::<usize>();
        assert_eq!(count(&now), count(&there), "{part}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_to_a_target_that_cannot_be_seen_when_the_run_begins() {
    let r = Restorer::new().await;
    let plan = r.plan(&format!("users/{ALICE}/Contacts"), "original", in_folder()).await.unwrap();
    strike(&r, "/contactFolders/contacts ", 403, None);
    r.setting.sim.clear_stats();
    let report = r.run(&plan).await.unwrap();
    r.setting.sim.clear_faults();
    assert_eq!((report.created, report.stopped.len()), (0, 1), "{report:?}");
    assert_eq!(r.setting.sim.stats().requests_to("POST /users/{id}/contactFolders"), 0);
    assert_eq!(r.run(&plan).await.unwrap().created, plan.counts().create, "it goes on when it is seen");
}
