//! A first run that is broken off goes on where it stopped, and its snapshot is still the tenant.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tenantvault::format::collection::Gap;
use tenantvault::m365::CollectionKey;
use tenantvault::monitor::{Counter, Monitor};
use tenantvault::ops::backup::{BackupReport, Stop, Surroundings, backup};
use tenantvault::ops::catalog::Catalog;
use tenantvault::sim::{Contents, Fault, FaultKind, Script, SimOptions};
use tenantvault::snapshot::set::{Exclusions, Selection, Workload};

use crate::compare::assert_equal;
use crate::support::Setting;

/// Throws a switch after so many items.
struct StopAfter(AtomicI64, Stop);

impl Monitor for StopAfter {
    fn add(&self, counter: Counter, by: i64) {
        if counter == Counter::Items && self.0.fetch_sub(by, Ordering::Relaxed) <= by {
            self.1.stop();
        }
    }
}

fn options() -> SimOptions {
    // Much happens in a day, so that something happens to what was told already.
    let script = Script {
        changed_messages: 50,
        moved_messages: 20,
        deleted_messages: 15,
        purged_messages: 25,
        deleted_files: 25,
        others: 20,
        ..Script::default()
    };
    SimOptions {
        users: 1,
        messages: 150,
        drive_items: 120,
        contacts: 60,
        list_items: 40,
        contents: Contents::tiny(),
        script,
        ..SimOptions::tiny()
    }
}

async fn backup_until(setting: &Setting, items: u64) -> BackupReport {
    let stop = Stop::new();
    let clock = setting.clock.clone();
    let around = Surroundings {
        monitor: Arc::new(StopAfter(AtomicI64::new(items as i64), stop.clone())),
        now_us: Arc::new(move || clock.fetch_add(1000, Ordering::Relaxed)),
        stop,
    };
    backup(&setting.repo, &setting.client, &setting.options, &around).await.unwrap()
}

/// Pages of items asked for.
fn pages(setting: &Setting) -> u64 {
    let routes = setting.sim.stats().routes;
    let of_items = ["/root/delta", "/messages/delta", "/contacts/delta", "/lists/{id}/items/delta"];
    routes.iter().filter(|(route, _)| of_items.iter().any(|end| route.ends_with(end))).map(|(_, count)| count).sum()
}

async fn is_the_tenant(setting: &Setting) {
    let last = setting.snapshots().await.pop().unwrap();
    assert_equal(&setting.repo, &last.file, &setting.sim.expected(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_run_that_was_broken_off_asks_for_fewer_pages_the_next_time() {
    let whole = Setting::new(options()).await;
    let report = whole.backup().await.unwrap();
    let (items, all_pages) = (report.totals.items, pages(&whole));
    is_the_tenant(&whole).await;
    for part in [3, 5, 8] {
        let setting = Setting::new(options()).await;
        let first = backup_until(&setting, items * part / 10).await;
        assert!(first.stopped && !first.complete);
        setting.sim.clear_stats();
        let second = setting.backup().await.unwrap();
        assert!(second.complete, "{:?}", second.gaps);
        is_the_tenant(&setting).await;
        let asked = pages(&setting);
        if part > 3 {
            // One more a list: what changed meanwhile.
            assert!(asked < all_pages, "part {part}: {asked} of {all_pages} pages");
        }
        println!("part {part}: {asked} of {all_pages} pages");
        // Nothing is left of the checkpoint.
        let third = setting.backup().await.unwrap();
        assert_eq!((third.totals.items_added, third.totals.items_removed, third.totals.bytes_read), (0, 0, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vanishes_or_moves_between_the_parts_of_a_first_run_is_not_missed() {
    for (step, excluded, most) in
        [(70, false, 4), (110, true, 1), (170, false, 1), (230, false, 1), (300, false, 1), (360, false, 1)]
    {
        let mut setting = Setting::new(options()).await;
        if excluded {
            setting.options.set.options.exclusions =
                Exclusions { folders: vec!["no such*".parse().unwrap()], ..Exclusions::default() };
        }
        let mut parts = 0;
        loop {
            let report = backup_until(&setting, step).await;
            setting.next_day();
            parts += 1;
            if report.complete || parts >= most {
                break;
            }
        }
        assert!(!setting.snapshots().await.pop().unwrap().file.complete, "it was never broken off");
        setting.backup().await.unwrap();
        is_the_tenant(&setting).await;
    }
}

/// Mail and contacts come in pages of some hundreds, whatever the tenant would like.
#[tokio::test(flavor = "multi_thread")]
async fn folders_of_several_pages_are_gone_on_with_in_the_middle() {
    for part in [7, 10] {
        let options = SimOptions { users: 1, messages: 1700, folders: 1, contacts: 700, drive_items: 5, ..options() };
        let setting = Setting::new(options).await;
        let first = backup_until(&setting, 4500 * part / 10).await;
        assert!(first.stopped);
        setting.next_day();
        assert!(setting.backup().await.unwrap().complete);
        is_the_tenant(&setting).await;
    }
}

/// The lists that the last snapshot goes on with in the middle: the ids of their collections and, of mail, their folders.
async fn kept_pages(setting: &Setting) -> Vec<(CollectionKey, String)> {
    let snapshot = setting.snapshots().await.pop().unwrap();
    let catalog = Catalog::load(&setting.repo, Some(&snapshot.file)).await.unwrap();
    let mut kept = Vec::new();
    for state in catalog.states.values() {
        for (name, link) in state.cursors.iter().flat_map(|cursors| &cursors.links) {
            if name.starts_with("p:") || link.starts_with("page:") {
                let folder = name.strip_prefix("p:").unwrap_or_default();
                kept.push((state.key.parse().unwrap(), folder.to_owned()));
            }
        }
    }
    kept
}

/// Breaks first runs off, and then refuses the beginnings of all lists that were in the middle: who went on where it
/// stopped needs none of them. `begins`: part of the address at which such a list begins.
async fn goes_on(
    (workload, stops): (Workload, &[u64]),
    options: SimOptions,
    begins: impl Fn(&CollectionKey, &str) -> String,
) {
    let mut in_the_middle = 0;
    for items in stops.iter().copied() {
        let mut setting = Setting::new(options.clone()).await;
        let everything = setting.options.set.selection.clone();
        setting.options.set.selection = Selection::of_users(vec!["*".parse().unwrap()], vec![], &[workload]);
        assert!(backup_until(&setting, items).await.stopped);
        let kept = kept_pages(&setting).await;
        for (key, folder) in &kept {
            let kind = FaultKind::Status { status: 403 };
            setting.sim.inject(Fault { kind, path: begins(key, folder), probability: 1.0, count: None });
        }
        let report = setting.backup().await.unwrap();
        let is_kept = |gap: &Gap| kept.iter().any(|(key, _)| key.to_string() == gap.collection);
        assert!(!report.gaps.iter().any(is_kept), "{:?}", report.gaps);
        in_the_middle += kept.len();
        setting.sim.clear_faults();
        setting.options.set.selection = everything;
        setting.backup().await.unwrap();
        is_the_tenant(&setting).await;
    }
    // Where exactly a run stops is a matter of threads.
    assert!(in_the_middle > 0, "no list was broken off in the middle");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_mail_folder_that_were_read_are_not_asked_for_again() {
    let options = SimOptions { users: 1, messages: 150, folders: 10, largest_page: 5, ..SimOptions::tiny() };
    goes_on((Workload::Mail, &[90, 160, 220]), options, |_, folder| {
        format!("mailFolders/{}/messages/delta?$select", folder.replace('=', "%3D"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_list_that_were_read_are_not_asked_for_again() {
    let options = SimOptions { users: 1, list_items: 40, ..SimOptions::tiny() };
    goes_on((Workload::Sites, &[75, 95, 110, 130, 150, 170, 190]), options, |key, _| {
        format!("lists/{}/items/delta?$expand", key.id)
    })
    .await;
}

/// Places to stop at, in the middle of what there is of a workload.
async fn stops(workload: Workload, options: &SimOptions) -> Vec<u64> {
    let mut setting = Setting::new(options.clone()).await;
    setting.options.set.selection = Selection::of_users(vec!["*".parse().unwrap()], vec![], &[workload]);
    let items = setting.backup().await.unwrap().totals.items;
    [20, 30, 60].iter().map(|percent| items * percent / 100).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_lists_and_contacts_between_several_parts_of_a_first_run_is_not_missed() {
    let few = || SimOptions { messages: 20, drive_items: 20, ..options() };
    let of_lists = SimOptions { list_items: 60, largest_page: 4, ..few() };
    let of_contacts = SimOptions { contacts: 900, list_items: 3, ..few() };
    for (workload, options) in [(Workload::Sites, of_lists), (Workload::Contacts, of_contacts)] {
        let mut in_the_middle = 0;
        for step in stops(workload, &options).await {
            let mut setting = Setting::new(options.clone()).await;
            let everything = setting.options.set.selection.clone();
            setting.options.set.selection = Selection::of_users(vec!["*".parse().unwrap()], vec![], &[workload]);
            let mut parts = 0;
            while !backup_until(&setting, step).await.complete && parts < 3 {
                in_the_middle += kept_pages(&setting).await.len();
                setting.next_day();
                parts += 1;
            }
            assert!(parts > 0, "it was never broken off");
            assert!(setting.backup().await.unwrap().complete);
            setting.options.set.selection = everything;
            assert!(setting.backup().await.unwrap().complete);
            is_the_tenant(&setting).await;
        }
        assert!(in_the_middle > 0, "no list of {workload:?} was broken off in the middle");
    }
}

/// Hears what is waited for.
#[derive(Default)]
struct Listener(std::sync::Mutex<std::collections::BTreeSet<String>>);

impl Monitor for Listener {
    fn waiting(&self, text: &str) {
        let words = text.split(',').next().unwrap_or_default();
        self.0.lock().unwrap().insert(words.to_owned());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_bytes_a_second_holds_for_all_that_comes_and_is_told() {
    let small = SimOptions { users: 1, messages: 10, drive_items: 8, contacts: 2, ..SimOptions::tiny() };
    let mut setting = Setting::new(small).await;
    let listener = Arc::new(Listener::default());
    let rate = 409_600;
    setting.client = crate::support::client_with(&setting.sim, |options| {
        options.speed = vec![Arc::new(tenantvault::graph::SpeedLimit::new(rate))];
        options.monitor = listener.clone();
    });
    let began = std::time::Instant::now();
    assert!(setting.backup().await.is_ok());
    let took = began.elapsed().as_secs_f64();
    let least = 0.9 * setting.client.stats().bytes as f64 / rate as f64 - 1.0;
    assert!(least > 0.5 && took >= least, "{took} s for {} bytes", setting.client.stats().bytes);
    let heard = listener.0.lock().unwrap().clone();
    assert!(heard.iter().any(|text| text.contains("the download limit of 400 KiB/s")), "{heard:?}");
    is_the_tenant(&setting).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_the_service_forgot_is_compared_from_the_beginning() {
    let setting = Setting::new(options()).await;
    let first = backup_until(&setting, 200).await;
    assert!(first.stopped);
    setting.next_day();
    setting.sim.expire_mail_deltas();
    setting.sim.expire_drive_deltas();
    assert!(setting.backup().await.unwrap().complete);
    is_the_tenant(&setting).await;
}
