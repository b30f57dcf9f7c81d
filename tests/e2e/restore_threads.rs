//! Conversations that are in use come back as pages that people can read, and not into themselves.

use std::collections::BTreeMap;

use serde_json::Value;
use tenantvault::format::record::ItemKind;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::restore::{Action, Conflict, undo};
use tenantvault::sim::{Fault, FaultKind};

use crate::restore::{ALICE, Restorer, Thing, in_folder, in_place};

/// The collections of a workload in the first snapshot, by name.
async fn collections(r: &Restorer, workload: &str) -> Vec<String> {
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let of = |key: &str| key.split('/').any(|part| part == workload);
    catalog.states.iter().filter(|(key, _)| of(key)).map(|(_, state)| state.name.clone()).collect()
}

/// The pages in the drives of a snapshot, by name.
async fn pages(r: &Restorer, snapshot: usize) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for drive in [collections(r, "onedrive").await, collections(r, "files").await].concat() {
        for (path, things) in r.items(snapshot, &drive).await {
            let page = things.into_iter().find(|thing| thing.kind == ItemKind::File && path.ends_with(").html"));
            if let Some(bytes) = page.and_then(|page| page.content) {
                all.insert(path, String::from_utf8(bytes).unwrap());
            }
        }
    }
    all
}

/// The longest run of plain text of what was written.
fn written(thing: &Thing) -> Option<String> {
    let text = thing.properties.pointer("/body/content").and_then(Value::as_str)?;
    let runs = text.split(['<', '>', '&', '"', '\'', '\n']).map(str::trim).filter(|run| !run.contains(['=', '/']));
    runs.max_by_key(|run| run.len()).filter(|run| run.contains(' ')).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_and_threads_come_back_as_pages_in_the_files_of_their_people() {
    let r = Restorer::new().await;
    let mut checked = 0;
    for (workload, kind) in
        [("chats", ItemKind::Chat), ("channel", ItemKind::ChatMessage), ("conversations", ItemKind::Thread)]
    {
        let mut found = false;
        for collection in collections(&r, workload).await {
            let before = r.items(0, &collection).await;
            let plan = match r.plan(&collection, "original", in_folder()).await {
                Ok(plan) => plan,
                // A private channel has files of its own, which the simulated tenant has not, or none yet.
                Err(e) => {
                    let known = ["a valid drive", "has no folder of files"];
                    assert!(known.iter().any(|text| e.chain().contains(text)), "{collection}: {}", e.chain());
                    continue;
                }
            };
            if plan.steps.iter().all(|step| step.container) {
                continue;
            }
            found = true;
            assert!(plan.steps.iter().all(|step| !matches!(step.action, Action::Cannot(_))), "{:?}", plan.steps);
            let report = r.run(&plan).await.unwrap();
            assert!(report.problems.is_empty() && report.stopped.is_empty(), "{collection}: {report:?}");
            let after = r.again().await;
            let pages = pages(&r, after).await;
            let conversations = plan.steps.iter().filter(|step| !step.container).count();
            assert_eq!(pages.len(), conversations, "{collection}: {:?}", pages.keys());
            // Whatever was written stands in some page.
            let all: String = pages.values().cloned().collect();
            for thing in before.values().flatten().filter(|thing| thing.kind == ItemKind::ChatMessage) {
                if let Some(text) = written(thing) {
                    assert!(all.contains(&text), "{collection}: {text}");
                    checked += 1;
                }
            }
            assert!(before.values().flatten().any(|thing| thing.kind == kind));
            // A second time it is there already; taken back, nothing is left.
            let again = r.plan(&collection, "original", in_folder()).await.unwrap();
            assert_eq!(again.counts().create, 0, "{collection}: {:?}", again.steps);
            let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
            assert!(back.left.is_empty(), "{collection}: {:?}", back.left);
            let left = r.again().await;
            assert!(self::pages(&r, left).await.is_empty(), "{collection}");
        }
        assert!(found, "no {workload} went back");
    }
    assert!(checked > 20, "{checked} texts were looked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_chat_goes_to_somebody_else_and_a_message_of_it_alone_does_not() {
    let r = Restorer::new().await;
    let chats = format!("users/{ALICE}/Chats");
    let (snapshot, view) = r.view(0).await;
    drop(snapshot);
    let mut names = Vec::new();
    let place = view.resolve(&chats).await.unwrap();
    let mut collect = |entry: tenantvault::ops::view::Entry| {
        names.push(entry.name.clone());
        Ok(())
    };
    view.list(&place, &mut collect).await.unwrap();
    let chat = names.iter().find(|name| !name.ends_with(".html")).unwrap();
    let path = format!("{chats}/{chat}");
    let refused = r.plan(&path, "original", in_place(Conflict::Copy)).await.unwrap_err();
    assert!(refused.to_string().contains("cannot go back in place"), "{refused}");
    // Of a whole person all else goes, and the plan says what does not.
    let whole = r.plan(&format!("users/{ALICE}"), "original", in_place(Conflict::Skip)).await.unwrap();
    let left_out: Vec<&str> = whole.left_out.iter().map(|(path, _)| path.as_str()).collect();
    assert!(left_out.contains(&chats.as_str()), "{left_out:?}");
    assert!(whole.targets.len() > 3 && whole.targets.iter().all(|target| target.title != "Chats"));
    let plan = r.plan(&path, "bob@contoso.com", in_folder()).await.unwrap();
    assert_eq!(plan.counts().create, 2, "the folder and the page");
    let report = r.run(&plan).await.unwrap();
    assert_eq!((report.created, report.problems.as_slice()), (2, [].as_slice()));
    let pages = pages(&r, r.again().await).await;
    assert_eq!(pages.len(), 1);

    let mut messages = Vec::new();
    let mut collect = |entry: tenantvault::ops::view::Entry| {
        messages.push(entry.name.clone());
        Ok(())
    };
    view.list(&view.resolve(&path).await.unwrap(), &mut collect).await.unwrap();
    let message = format!("{path}/{}", messages.first().unwrap());
    let refused = r.plan(&message, "original", in_folder()).await.unwrap_err();
    assert!(refused.to_string().contains("part of a conversation"), "{refused}");
}

/// What some people of a team wrote among themselves does not go where all of it reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_thread_of_a_private_channel_without_files_does_not_go_to_the_whole_team() {
    let r = Restorer::new().await;
    let mut memberships = BTreeMap::new();
    for team in collections(&r, "team").await {
        for thing in r.items(0, &team).await.into_values().flatten().filter(|thing| thing.kind == ItemKind::Channel) {
            let of = |name: &str| thing.properties[name].as_str().unwrap_or_default().to_owned();
            memberships.insert(of("id"), of("membershipType"));
        }
    }
    // Nobody has used the files of any channel.
    let kind = FaultKind::Status { status: 404 };
    r.setting.sim.inject(Fault { kind, path: "/filesFolder".into(), probability: 1.0, count: None });
    let file = r.setting.snapshots().await[0].file.clone();
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let (mut taken, mut refused) = (0, 0);
    for (key, state) in catalog.states.iter().filter(|(key, _)| key.contains("/channel/")) {
        let id = key.rsplit('/').next().unwrap();
        let Some(membership) = memberships.get(id) else { continue };
        let plan = r.plan(&state.name, "original", in_folder()).await;
        match membership.as_str() {
            "standard" => taken += usize::from(plan.is_ok()),
            _ => {
                let e = plan.unwrap_err();
                assert!(e.chain().contains("has no folder of files"), "{}: {}", state.name, e.chain());
                refused += 1;
                if state.items.is_some() {
                    r.plan(&state.name, "bob@contoso.com", in_folder()).await.unwrap();
                }
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} {refused}");
}
