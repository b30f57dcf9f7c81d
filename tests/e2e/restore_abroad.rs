//! What is restored into another tenant, where nobody and nothing has the ids that the snapshot knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use tenantvault::format::record::ItemKind;
use tenantvault::monitor::Silent;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::restore::RestoreOptions;
use tenantvault::sim::SimOptions;

use crate::restore::{ALICE, Restorer, Thing, client_of, in_folder};
use crate::restore_choices::kept;

fn options() -> SimOptions {
    SimOptions { users: 3, sites: 1, groups: 1, ..SimOptions::tiny() }
}

/// A tenant with a snapshot, and another one into which its restores go.
async fn two() -> (Restorer, Restorer) {
    let mut here = Restorer::with(options(), 1, |_| ()).await;
    let abroad = Restorer::with(SimOptions { seed: 4711, ..options() }, 0, |_| ()).await;
    let ids = |r: &Restorer| r.setting.sim.expected().users.into_iter().map(|user| user.id).collect::<Vec<_>>();
    assert!(here.setting.sim.tenant_id() != abroad.setting.sim.tenant_id());
    assert!(ids(&here).iter().all(|id| !ids(&abroad).contains(id)));
    here.client = client_of(&abroad.setting, Arc::new(Silent));
    (here, abroad)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_moves_to_another_tenant() {
    let (here, abroad) = two().await;
    let plan = here.plan(&format!("users/{ALICE}"), ALICE, in_folder()).await.unwrap();
    let counts = plan.counts();
    let report = here.run(&plan).await.unwrap();
    assert_eq!((report.created, report.problems.len() as u64), (counts.create, counts.cannot), "{:?}", report.problems);
    let after = abroad.again().await;
    for (name, kind) in [("Mail", ItemKind::Message), ("OneDrive", ItemKind::File)] {
        let name = format!("users/{ALICE}/{name}");
        let (was, is) = (here.items(0, &name).await, abroad.items(after, &name).await);
        let mut compared = 0;
        for (path, things) in &was {
            // What is infected has no contents here and is not restored.
            let is_whole = |thing: &&Thing| thing.content.is_some() || thing.letter.is_some();
            for thing in things.iter().filter(|thing| thing.kind == kind).filter(is_whole) {
                let now = is.get(&format!("Restored 2026-11-20/{path}")).unwrap_or_else(|| panic!("{path} is lacking"));
                let same = |other: &Thing| other.content == thing.content && other.letter == thing.letter;
                assert!(now.iter().any(same), "{path}");
                compared += 1;
            }
        }
        assert!(compared > 10, "{name}: {compared}");
    }
    for (name, kind) in [("Calendar", ItemKind::Event), ("Contacts", ItemKind::Contact), ("Tasks", ItemKind::Task)] {
        let name = format!("users/{ALICE}/{name}");
        let names = |items: BTreeMap<String, Vec<Thing>>, marked: bool| {
            let mut names = Vec::new();
            for (path, things) in items.into_iter().filter(|(path, _)| path.contains("Restored 2026-11-20") == marked) {
                let own = path.rsplit('/').next().unwrap_or_default().to_owned();
                names.extend(things.iter().filter(|t| t.kind == kind).map(|_| own.clone()));
            }
            names.sort();
            names
        };
        let was = names(here.items(0, &name).await, false);
        let is = names(abroad.items(after, &name).await, true);
        // Graph makes no task in the list of flagged mail.
        let lacking = was.iter().filter(|name| !is.contains(name)).count();
        assert!(was.len() > 2 && lacking * 3 <= was.len() && is.len() == was.len() - lacking, "{name}: {was:?} {is:?}");
    }
    assert_eq!(abroad.setting.sim.mails_sent(), 0);
}

/// The simulated tenants know every guest; who has no account abroad is told in a note.
#[tokio::test(flavor = "multi_thread")]
async fn rights_go_abroad_without_a_mail() {
    let (here, abroad) = two().await;
    let with_rights = RestoreOptions { permissions: true, ..in_folder() };
    let plan = here.plan(&format!("users/{ALICE}/OneDrive"), ALICE, with_rights).await.unwrap();
    let report = here.run(&plan).await.unwrap();
    assert!(!report.interrupted && report.stopped.is_empty(), "{report:?}");
    let drive = format!("users/{ALICE}/OneDrive");
    let theirs = kept(&abroad, abroad.again().await, &drive).await;
    let ours = kept(&here, 0, &drive).await;
    let mut granted = 0;
    for (name, _) in ours.iter().filter(|(_, file)| file.granted.len() > 1) {
        granted += theirs[name].granted.len().saturating_sub(1);
    }
    assert!(granted > 0);
    assert_eq!(abroad.setting.sim.mails_sent(), 0);
}

/// The name of the first library of a site in the newest snapshot.
async fn library(r: &Restorer) -> String {
    let file = r.setting.snapshots().await.pop().unwrap().file;
    let catalog = Catalog::load(&r.setting.repo, Some(&file)).await.unwrap();
    let mut names: Vec<String> = catalog.states.values().map(|state| state.name.clone()).collect();
    names.retain(|name| name.starts_with("sites/") && name.ends_with("/Files/Documents"));
    names.sort();
    names.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_library_moves_to_a_site_of_another_tenant() {
    let (here, abroad) = two().await;
    let (from, to) = (library(&here).await, library(&abroad).await);
    let address = format!("https://{}", to.split('/').nth(1).unwrap_or_default().replace('_', "/"));
    let plan = here.plan(&from, &address, in_folder()).await.unwrap();
    let report = here.run(&plan).await.unwrap();
    assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
    let (was, is) = (here.items(0, &from).await, abroad.items(abroad.again().await, &to).await);
    let mut compared = 0;
    for (path, things) in &was {
        let Some(content) = &things[0].content else { continue };
        let now = is.get(&format!("Restored 2026-11-20/{path}")).unwrap_or_else(|| panic!("{path} is lacking"));
        assert!(now[0].content.as_ref() == Some(content), "{path}");
        compared += 1;
    }
    assert!(compared > 3, "{compared}");
}
