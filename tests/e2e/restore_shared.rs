//! Plans, lists, pages, teams and terms: restores that end halfway, and what people do meanwhile.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tenantvault::graph::{GraphRequest, Payload, Scope, TeamsCall};
use tenantvault::ops::restore::{Conflict, undo};
use tenantvault::sim::{ExpectedThing, Fault, FaultKind, SimOptions};

use crate::restore::{ALICE, Restorer, in_folder, in_place};
use crate::restore_halves::{killed_at, mailbox, strike, things, with_drafts};

/// A part of the tenant that can be wiped and restored.
struct Part {
    /// Its path.
    name: String,
    /// What the keys of its collections begin with.
    key: String,
    /// What is wiped with it.
    owner: String,
    /// Requests that follow the first one of something.
    doors: &'static [&'static str],
}

/// A tenant that lived for two days, and a plan, a team, pages and a list of it.
async fn shared() -> (Restorer, Vec<Part>) {
    let r = Restorer::with(SimOptions { groups: 2, ..SimOptions::tiny() }, 2, |_| ()).await;
    let all = r.setting.sim.expected().collections;
    let part = |of: &str, end: &str, doors| {
        let is_it = |key: &str, name: &str| key.starts_with(of) && (key.ends_with(end) || name.ends_with(end));
        let mut fits = all.iter().filter(|(key, c)| is_it(key, &c.name) && c.things.len() > 2);
        let (key, collection) = fits.next().unwrap_or_else(|| panic!("no {end}"));
        let parts: Vec<&str> = key.split('/').collect();
        let key = parts[..3].join("/");
        Part { name: collection.name.clone(), key, owner: parts[1].to_owned(), doors }
    };
    let parts = vec![
        part("groups/", "/planner", &["/details "] as &[&str]),
        part("sites/", "/pages", &["/publish "]),
        part("sites/", "/Lists/Issues and risks", &["/columns ", "/items "]),
        part("teams/", "/team", &["/tags ", "/tabs "]),
    ];
    (r, parts)
}

/// Wipes a part; of a team also one of its members.
async fn wipe(r: &Restorer, part: &Part) {
    r.setting.sim.wipe_items(&part.owner);
    if part.key.starts_with("teams/") {
        let members = r.client.get_all(team(part, "members")).await.unwrap();
        if members.len() > 2 {
            let url = format!("teams/{}/members/{}", part.owner, members.last().unwrap()["id"].as_str().unwrap());
            r.client.send(GraphRequest::delete(Scope::teams(TeamsCall::Team, &part.owner), url)).await.unwrap();
        }
    }
}

fn team(part: &Part, rest: &str) -> GraphRequest {
    GraphRequest::get(Scope::teams(TeamsCall::Team, &part.owner), format!("teams/{}/{rest}", part.owner))
}

/// What is in a part now.
fn there(r: &Restorer, part: &Part) -> BTreeSet<String> {
    let all = r.setting.sim.expected().collections;
    let of_part = all.into_iter().filter(|(key, _)| key.starts_with(&part.key));
    of_part.flat_map(|(key, c)| c.things.into_iter().map(move |thing| format!("{key} {}", thing.id))).collect()
}

/// Restores the part of that number, which was wiped, while something of it fails.
async fn fails_halfway(number: usize) {
    let (r, parts) = shared().await;
    let part = &parts[number];
    let (_, view) = r.view(0).await;
    wipe(&r, part).await;
    let (name, before) = (&part.name, there(&r, part));
    let clean = r.plan(name, "original", in_place(Conflict::Skip)).await.unwrap();
    let whole = r.run(&clean).await.unwrap().created;
    let made = there(&r, part).len() - before.len();
    assert!(made > 2, "{name}: {made}");
    let back = undo(&clean.run, None, &r.client, &r.around()).await.unwrap();
    assert!(back.left.is_empty(), "{name}: {:?}", back.left);
    assert_eq!(there(&r, part), before, "{name}");
    for (door, status) in part.doors.iter().flat_map(|door| [400, 503, 500].map(|status| (door, status))) {
        let plan = r.plan(name, "original", in_place(Conflict::Skip)).await.unwrap();
        for _ in 0..2 {
            strike(&r, door, status, None);
            let report = r.run(&plan).await.unwrap();
            r.setting.sim.clear_faults();
            assert!(report.created < whole, "{name}: nothing failed at {door}");
        }
        let report = r.run(&plan).await.unwrap();
        assert_eq!(report.created, whole, "{name} {door} {status}: {:?}", report.problems);
        assert_eq!(there(&r, part).len() - before.len(), made, "{name} {door} {status}: something is there twice");
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{name} {door} {status}: {:?}", back.left);
        assert_eq!(there(&r, part), before, "{name} {door} {status}");
        // What failed is taken back also where the run never came to its end.
        let plan = r.plan(name, "original", in_place(Conflict::Skip)).await.unwrap();
        strike(&r, door, status, None);
        r.run(&plan).await.unwrap();
        r.setting.sim.clear_faults();
        let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{name} {door} {status}: {:?}", back.left);
        assert_eq!(there(&r, part), before, "{name} {door} {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_fail_halfway_are_made_once_and_taken_back_whole() {
    fails_halfway(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_fail_halfway_are_made_once_and_taken_back_whole() {
    fails_halfway(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_fail_halfway_are_made_once_and_taken_back_whole() {
    fails_halfway(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn teams_that_fail_halfway_are_made_once_and_taken_back_whole() {
    fails_halfway(3).await;
}

/// Nothing of these can carry a mark: what the run was about to make when it was killed, and is there when it goes on, is told,
/// and undo leaves it.
#[tokio::test(flavor = "multi_thread")]
async fn plans_lists_pages_and_teams_are_made_once_though_the_run_is_killed_at_any_request() {
    let (r, parts) = shared().await;
    for part in &parts {
        wipe(&r, part).await;
        let (name, before) = (&part.name, there(&r, part));
        let clean = r.plan(name, "original", in_place(Conflict::Skip)).await.unwrap();
        let whole = r.run(&clean).await.unwrap().created;
        let made = there(&r, part).len() - before.len();
        let back = undo(&clean.run, None, &r.client, &r.around()).await.unwrap();
        assert!(back.left.is_empty(), "{name}: {:?}", back.left);
        assert_eq!(there(&r, part), before, "{name}");
        let mut sure = 0;
        for at in (2..).step_by(5) {
            let plan = r.plan(name, "original", in_place(Conflict::Skip)).await.unwrap();
            let (ended, report) = killed_at(&r, &plan, at).await;
            assert_eq!(report.created, whole, "{name} at {at}: {:?} {:?}", report.problems, report.stopped);
            assert_eq!(there(&r, part).len() - before.len(), made, "{name} at {at}: something is there twice");
            let doubts = report.notes.iter().filter(|(_, note)| note.contains("nothing says who made it")).count();
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            let left = there(&r, part).difference(&before).count();
            match doubts {
                0 => {
                    assert!(back.left.is_empty(), "{name} at {at}: {:?}", back.left);
                    assert_eq!(there(&r, part), before, "{name} at {at}");
                    sure += 1;
                }
                _ => {
                    // What stays is not said to be taken back. Members of a team that are in doubt were told by the run.
                    let is_told = !back.left.is_empty() || part.key.starts_with("teams/");
                    assert!(left == 0 || is_told, "{name} at {at}: {left} are left, and nothing says so");
                    // What is made at once may all be in doubt.
                    let all = doubts as u64 >= whole;
                    assert!(left < made || all, "{name} at {at}: {left} of {made} are left for {doubts} in doubt");
                    r.setting.sim.wipe_items(&part.owner);
                    assert_eq!(there(&r, part), before, "{name} at {at}");
                }
            }
            if ended {
                break;
            }
        }
        assert!(sure > 0, "{name}");
    }
}

/// What of undo says that something was changed.
fn changed(left: &[(String, String)]) -> usize {
    left.iter().filter(|(_, why)| why.contains("changed after")).count()
}

fn is_there(r: &Restorer, name: &str, id: &str) -> bool {
    things(r, name).contains_key(id)
}

/// Photos and attachments tell no change of what they hang on.
#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_what_somebody_gave_a_photo_an_attachment_or_a_step() {
    let r = Restorer::new().await;
    let part = |id: &str| id.replace('+', "%2B").replace('/', "%2F");
    let photo = |thing: &ExpectedThing| {
        let url = format!("users/{ALICE}/contacts/{}/photo/$value", part(&thing.id));
        let bytes = [&[0xff, 0xd8, 0xff][..], b"theirs"].concat();
        Some(GraphRequest::put(mailbox(), url, Payload { content_type: "image/jpeg", bytes: bytes.into() }))
    };
    let file = |kind: &str| json!({"@odata.type": format!("#microsoft.graph.{kind}"), "name": "theirs.txt", "contentBytes": "dGhlaXJz"});
    let attach = |url: String, kind: &str| Some(GraphRequest::post(mailbox(), url, &file(kind)));
    let to_event = |thing: &ExpectedThing| {
        attach(format!("users/{ALICE}/events/{}/attachments", part(&thing.id)), "fileAttachment")
    };
    let task =
        |thing: &ExpectedThing| format!("users/{ALICE}/todo/lists/{}/tasks/{}", part(&thing.parent), part(&thing.id));
    let to_task = |thing: &ExpectedThing| attach(format!("{}/attachments", task(thing)), "taskFileAttachment");
    let step = |thing: &ExpectedThing| {
        let url = format!("{}/checklistItems", task(thing));
        Some(GraphRequest::post(mailbox(), url, &json!({"displayName": "Theirs"})))
    };
    type Change<'a> = &'a dyn Fn(&ExpectedThing) -> Option<GraphRequest>;
    let all: [(&str, &str, Change<'_>); 4] = [
        ("Contacts", "contact", &photo),
        ("Calendar", "event", &to_event),
        ("Tasks", "todoTask", &to_task),
        ("Tasks", "todoTask", &step),
    ];
    for (number, (of, kind, change)) in all.into_iter().enumerate() {
        let name = format!("users/{ALICE}/{of}");
        let before = things(&r, &name);
        // One that had some, and one that had none.
        for has in [true, false] {
            let plan = r.plan(&name, "original", in_folder()).await.unwrap();
            r.run(&plan).await.unwrap();
            let now = things(&r, &name);
            let fits = |thing: &&ExpectedThing| {
                let holds = now.values().any(|part| part.parent == thing.id) || thing.content.is_some();
                thing.kind == kind
                    && !before.contains_key(&thing.id)
                    && thing.json["type"] != "exception"
                    && holds == has
            };
            let Some(thing) = now.values().find(fits).cloned() else {
                assert!(number > 1, "{name}: nothing to change");
                undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
                continue;
            };
            r.client.send(change(&thing).unwrap().prefer(tenantvault::graph::IMMUTABLE_IDS)).await.unwrap();
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            assert_eq!(changed(&back.left), 1, "{name} {number} {has}: {:?}", back.left);
            assert!(is_there(&r, &name, &thing.id), "{name} {number} {has}: theirs is gone");
            assert!(back.undone > 2, "{name}: {back:?}");
            // Nobody changed what is restored beside it.
            let plan = r.plan(&name, "original", in_folder()).await.unwrap();
            r.run(&plan).await.unwrap();
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            assert_eq!(changed(&back.left), 0, "{name} {number}: {:?}", back.left);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_draft_that_somebody_attached_something_to() {
    let r = with_drafts().await;
    let get = async |url: String| -> Vec<Value> {
        let request = GraphRequest::get(mailbox(), format!("users/{ALICE}/{url}"));
        r.client.get_all(request.prefer(tenantvault::graph::IMMUTABLE_IDS)).await.unwrap()
    };
    let drafts = async || get("mailFolders/drafts/messages?$top=100&$select=id".into()).await;
    let ids = |rows: &[Value]| rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    let before = ids(&drafts().await);
    let plan = r.plan(&format!("users/{ALICE}/Mail/Drafts"), "original", in_place(Conflict::Copy)).await.unwrap();
    r.run(&plan).await.unwrap();
    let now = ids(&drafts().await);
    let made = now.difference(&before).next().expect("a draft").clone();
    let body = json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": "a.txt", "contentBytes": "dGhlaXJz"});
    let url = format!("users/{ALICE}/messages/{made}/attachments");
    let request = GraphRequest::post(mailbox(), url, &body).prefer(tenantvault::graph::IMMUTABLE_IDS);
    r.client.send(request).await.unwrap();
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!((changed(&back.left), back.left.len()), (1, 1), "{:?}", back.left);
    let left: Vec<String> = ids(&drafts().await).difference(&before).cloned().collect();
    assert_eq!(left, [made]);
}

/// Restores a part that was wiped, lets somebody change one of the things that were made, and takes the rest back.
async fn left_changed(
    r: &Restorer,
    part: &Part,
    (kind, fits): (&str, &dyn Fn(&ExpectedThing) -> bool),
    change: impl AsyncFn(&ExpectedThing),
) {
    wipe(r, part).await;
    let before = there(r, part);
    let plan = r.plan(&part.name, "original", in_place(Conflict::Skip)).await.unwrap();
    r.run(&plan).await.unwrap();
    let all = r.setting.sim.expected().collections;
    let known = &before;
    let mut made = all.iter().filter(|(key, _)| key.starts_with(&part.key)).flat_map(|(key, c)| {
        let new = c.things.iter().filter(move |thing| !known.contains(&format!("{key} {}", thing.id)));
        new.map(move |thing| (key, thing))
    });
    let (key, thing) = made.find(|(_, thing)| thing.kind == kind && fits(thing)).unwrap_or_else(|| panic!("no {kind}"));
    let thing_id = format!("{key} {}", thing.id);
    change(thing).await;
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    // A channel holds other tabs than at first then.
    let holders = usize::from(kind == "teamsTab");
    assert_eq!(changed(&back.left), 1 + holders, "{kind}: {:?}", back.left);
    let after = there(r, part);
    assert!(after.contains(&thing_id), "{kind}: theirs is gone");
    let left = after.difference(&before).count();
    assert!(left <= 8 && back.undone > 0, "{kind}: {left} left: the thing with its parts, and what holds it");
    wipe(r, part).await;
}

const ANY: &dyn Fn(&ExpectedThing) -> bool = &|_| true;

async fn send(r: &Restorer, request: GraphRequest) {
    r.client.send(request).await.unwrap();
}

async fn patch(r: &Restorer, url: String, body: Value) {
    send(r, GraphRequest::patch(Scope::Files, url, &body)).await;
}

fn last(id: &str) -> String {
    id.rsplit('/').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_task_of_a_plan_whose_details_somebody_changed() {
    let (r, parts) = shared().await;
    left_changed(&r, &parts[0], ("plannerTask", ANY), async |task| {
        let url = format!("planner/tasks/{}/details", task.id);
        let details = r.client.get_json(GraphRequest::get(Scope::Planner, url.as_str())).await.unwrap();
        let request = GraphRequest::patch(Scope::Planner, url, &json!({"description": "Theirs"}));
        send(&r, request.header("If-Match", details["@odata.etag"].as_str().unwrap())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_task_of_a_plan_that_somebody_put_into_another_bucket() {
    let (r, parts) = shared().await;
    let in_bucket = |task: &ExpectedThing| task.json["bucketId"].is_string();
    left_changed(&r, &parts[0], ("plannerTask", &in_bucket), async |task| {
        let body = json!({"name": "Theirs", "planId": task.json["planId"], "orderHint": " !"});
        let bucket = r.client.send(GraphRequest::post(Scope::Planner, "planner/buckets", &body)).await.unwrap();
        let (url, body) = (format!("planner/tasks/{}", task.id), json!({"bucketId": bucket["id"]}));
        let request = GraphRequest::patch(Scope::Planner, url, &body);
        send(&r, request.header("If-Match", task.json["@odata.etag"].as_str().unwrap())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_page_that_somebody_changed() {
    let (r, parts) = shared().await;
    let pages = &parts[1];
    left_changed(&r, pages, ("sitePage", ANY), async |page| {
        let url = format!("sites/{}/pages/{}/microsoft.graph.sitePage", pages.owner, page.id);
        patch(&r, url, json!({"@odata.type": "#microsoft.graph.sitePage", "title": "Theirs"})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_term_that_somebody_changed() {
    let (r, _) = shared().await;
    let terms = Part { name: "tenant/Term Store".into(), key: "tenant/terms".into(), owner: String::new(), doors: &[] };
    left_changed(&r, &terms, ("term", ANY), async |term| {
        let (set, id) = term.id.split_once('/').unwrap();
        let labels = json!([{"name": "Theirs", "languageTag": "en-US", "isDefault": true}]);
        patch(&r, format!("sites/root/termStore/sets/{set}/terms/{id}"), json!({"labels": labels})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_channels_and_tabs_that_somebody_changed() {
    let (r, parts) = shared().await;
    let team = &parts[3];
    let url = |rest: String| format!("teams/{}/{rest}", team.owner);
    left_changed(&r, team, ("channel", ANY), async |channel| {
        patch(&r, url(format!("channels/{}", last(&channel.id))), json!({"description": "Theirs"})).await;
    })
    .await;
    left_changed(&r, team, ("channel", ANY), async |channel| {
        let app = "https://graph.microsoft.com/v1.0/appCatalogs/teamsApps/06805b9e-77e3-4b93-ac81-525eb87513b8";
        let body = json!({"displayName": "Theirs", "teamsApp@odata.bind": app});
        let url = url(format!("channels/{}/tabs", last(&channel.id)));
        send(&r, GraphRequest::post(Scope::Files, url, &body)).await;
    })
    .await;
    left_changed(&r, team, ("teamsTab", ANY), async |tab| {
        let channel = last(tab.parent.as_str());
        patch(&r, url(format!("channels/{channel}/tabs/{}", last(&tab.id))), json!({"displayName": "Theirs"})).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_tags_and_members_that_somebody_changed() {
    let (r, parts) = shared().await;
    let team = &parts[3];
    let url = |rest: String| format!("teams/{}/{rest}", team.owner);
    left_changed(&r, team, ("teamworkTag", ANY), async |tag| {
        patch(&r, url(format!("tags/{}", last(&tag.id))), json!({"displayName": "Theirs"})).await;
    })
    .await;
    let in_team = |member: &ExpectedThing| !member.parent.contains("19:");
    left_changed(&r, team, ("aadUserConversationMember", &in_team), async |member| {
        let owns = member.json["roles"].as_array().is_some_and(|roles| !roles.is_empty());
        let roles = if owns { json!([]) } else { json!(["owner"]) };
        let body = json!({"@odata.type": "#microsoft.graph.aadUserConversationMember", "roles": roles});
        patch(&r, url(format!("members/{}", last(&member.id))), body).await;
    })
    .await;
}

/// Columns carry no mark: those that are in doubt are looked for, and none is made for that.
#[tokio::test(flavor = "multi_thread")]
async fn undo_makes_no_columns_to_look_for_those_in_doubt() {
    let (r, parts) = shared().await;
    let lists = format!("sites/{}/lists", parts[2].owner);
    let get = async |url: &str| r.client.get_all(GraphRequest::get(Scope::Files, url.to_owned())).await.unwrap();
    let is_list = |row: &&Value| row["displayName"] == "Issues and risks";
    let list = get(&lists).await.iter().find(is_list).expect("the list")["id"].as_str().unwrap().to_owned();
    let columns = format!("{lists}/{list}/columns");
    let names = async || get(&columns).await.iter().map(|row| row["name"].to_string()).collect::<BTreeSet<_>>();
    let before = names().await;
    for column in get(&columns).await {
        let url = format!("{columns}/{}", column["id"].as_str().unwrap());
        // Those of SharePoint stay.
        drop(r.client.send(GraphRequest::delete(Scope::Files, url)).await);
    }
    let without = names().await;
    assert!(without.len() + 2 < before.len(), "{without:?}");
    let (_, view) = r.view(0).await;
    for goes_on in [false, true] {
        let plan = r.plan(&parts[2].name, "original", in_place(Conflict::Skip)).await.unwrap();
        // What became of the columns is not known.
        strike(&r, "/columns ", 500, None);
        assert_eq!(r.run(&plan).await.unwrap().created, 0);
        r.setting.sim.clear_faults();
        if goes_on {
            let report = r.run(&plan).await.unwrap();
            assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
            assert!(names().await.len() > without.len());
        } else {
            let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
            assert!(back.undone > 1 && back.left.is_empty(), "{back:?}");
            assert_eq!(names().await, without, "undo made columns");
        }
    }
}

/// Plans and what a team lacks carry no mark either: nothing is added to what is there.
#[tokio::test(flavor = "multi_thread")]
async fn undo_adds_nothing_to_a_plan_or_team_in_doubt() {
    let (r, parts) = shared().await;
    let (_, view) = r.view(0).await;
    for (part, path, kind, adding) in [
        // The plan is made, and nobody hears of it.
        (&parts[0], "0/planner/plans ", FaultKind::Drop, "PATCH /planner"),
        // What became of the first member is not known.
        (&parts[3], "/members ", FaultKind::Status { status: 500 }, "POST /teams/{id}/members"),
    ] {
        wipe(&r, part).await;
        let plan = r.plan(&part.name, "original", in_place(Conflict::Skip)).await.unwrap();
        r.setting.sim.inject(Fault { kind, path: path.to_owned(), probability: 1.0, count: None });
        let report = r.run(&plan).await.unwrap();
        r.setting.sim.clear_faults();
        r.setting.sim.clear_stats();
        assert!(report.stopped.is_empty(), "{}: {report:?}", part.name);
        let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
        let in_doubt = back.left.iter().filter(|(_, why)| why.contains("nothing says so: it stays")).count();
        assert!(in_doubt > 0, "{}: said to be taken back, and there: {back:?}", part.name);
        assert_eq!(r.setting.sim.stats().requests_to(adding), 0, "{}: {back:?}", part.name);
    }
}
