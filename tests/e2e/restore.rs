//! Restores into the simulated tenant: what comes back, what an interruption leaves, what undo takes away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use mail_parser::{MessageParser, MimeHeaders, PartType};
use serde_json::Value;
use tenantvault::error::ErrorKind;
use tenantvault::format::record::{ItemKind, Record, StreamRole};
use tenantvault::graph::{Client, ClientOptions, Cloud, Credential, Limits, RetryOptions};
use tenantvault::monitor::{Counter, Monitor, Silent};
use tenantvault::ops::backup::Stop;
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::ops::read;
use tenantvault::ops::restore::{
    Action, Around, Asked, Conflict, Into, Only, Plan, RestoreOptions, RestoreReport, make, run, runs_in, undo,
};
use tenantvault::ops::view::View;
use tenantvault::sim::{Fault, FaultKind, SimOptions};
use tenantvault::snapshot::set::SetOptions;
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

use crate::support::{START_US, Setting};

pub const ALICE: &str = "alice@contoso.com";

pub struct Restorer {
    pub setting: Setting,
    pub client: Client,
    folder: tempfile::TempDir,
}

pub fn client_of(setting: &Setting, monitor: Arc<dyn Monitor>) -> Client {
    let sim = &setting.sim;
    let cloud = Cloud::custom(sim.graph_url(), sim.login_url()).unwrap();
    let wait = std::time::Duration::from_millis(2);
    let timeout = std::time::Duration::from_secs(3);
    let retry = RetryOptions { base: wait, longest: wait, attempts_internal: 8, timeout, ..RetryOptions::default() };
    let limits = Limits::for_licences(100).scaled(1e6);
    let options = ClientOptions { limits, retry, monitor, http2: true, ..ClientOptions::new(cloud) };
    let secret = Credential::secret(sim.restore_client_secret());
    Client::new(options, sim.tenant_id(), sim.restore_client_id(), secret).unwrap()
}

pub fn in_place(conflict: Conflict) -> RestoreOptions {
    RestoreOptions { into: Into::Place, conflict, only: Only::All, permissions: false, links: false, versions: false }
}

pub fn in_folder() -> RestoreOptions {
    RestoreOptions { into: Into::Folder("Restored 2026-11-20".into()), ..in_place(Conflict::Skip) }
}

impl Restorer {
    pub async fn new() -> Self {
        Self::with(SimOptions::tiny(), 0, |_| ()).await
    }

    /// A tenant that lived for some days, backed up once with options of its own.
    pub async fn with(options: SimOptions, days: u32, edit: impl FnOnce(&mut SetOptions)) -> Self {
        let mut setting = Setting::new(options).await;
        edit(&mut setting.options.set.options);
        for _ in 0..days {
            setting.next_day();
        }
        setting.backup().await.unwrap();
        let client = client_of(&setting, Arc::new(Silent));
        Self { setting, client, folder: tempfile::tempdir().unwrap() }
    }

    pub async fn view(&self, number: usize) -> (String, View) {
        let snapshots = self.setting.snapshots().await;
        let snapshot = &snapshots[number];
        (snapshot.id.to_string(), View::new(self.setting.repo.clone(), snapshot.file.clone()))
    }

    pub fn around(&self) -> Around {
        let clock = AtomicI64::new(START_US);
        Around {
            monitor: Arc::new(Silent),
            now_us: Arc::new(move || clock.fetch_add(1, Ordering::Relaxed)),
            stop: Stop::new(),
            runs: runs_in(self.folder.path().to_owned()),
        }
    }

    pub async fn plan(&self, path: &str, to: &str, options: RestoreOptions) -> tenantvault::Result<Plan> {
        self.plan_of(&[path.to_owned()], to, options).await
    }

    pub async fn plan_of(&self, paths: &[String], to: &str, options: RestoreOptions) -> tenantvault::Result<Plan> {
        let (snapshot, view) = self.view(0).await;
        let asked = Asked {
            view: &view,
            snapshot,
            paths: paths.to_vec(),
            to: to.parse().unwrap(),
            tenant: "sim".into(),
            tenant_id: String::new(),
            options,
            grantee: "whoever the caller names".into(),
        };
        make(asked, &self.client, &self.around()).await
    }

    pub async fn run(&self, plan: &Plan) -> tenantvault::Result<RestoreReport> {
        let (_, view) = self.view(0).await;
        run(plan, &view, &self.client, &self.around()).await
    }

    /// Backs up again and tells what is in a collection of that snapshot.
    pub async fn again(&self) -> usize {
        self.setting.clock.fetch_add(1_000_000, Ordering::Relaxed);
        self.setting.backup().await.unwrap();
        self.setting.snapshots().await.len() - 1
    }

    /// All items of a collection of a snapshot, by path within it and what tells them apart; what was told of each.
    pub async fn items(&self, snapshot: usize, name: &str) -> BTreeMap<String, Vec<Thing>> {
        let file = self.setting.snapshots().await[snapshot].file.clone();
        let catalog = Catalog::load(&self.setting.repo, Some(&file)).await.unwrap();
        let Some(state) = catalog.states.values().find(|s| s.name == name) else { return BTreeMap::new() };
        let nodes = RepoNodes(self.setting.repo.clone());
        let reader = CollectionReader::new(&nodes, CollectionRoots { items: state.items, children: state.children });
        let mut all: BTreeMap<String, Record> = BTreeMap::new();
        let mut cursor = reader.records();
        while let Some(record) = cursor.next().await.unwrap() {
            all.insert(record.id.clone(), record);
        }
        let mut out: BTreeMap<String, Vec<Thing>> = BTreeMap::new();
        for record in all.values().filter(|r| !matches!(r.kind, ItemKind::Permission | ItemKind::Version)) {
            let mut parts = vec![record.fact("message_id").unwrap_or(&record.name).to_owned()];
            let mut parent = &record.parent;
            while let Some(above) = all.get(parent) {
                parts.push(above.name.clone());
                parent = &above.parent;
            }
            parts.reverse();
            out.entry(parts.join("/")).or_default().push(self.thing(record).await);
        }
        out
    }

    async fn thing(&self, record: &Record) -> Thing {
        let repo = &self.setting.repo;
        let bytes = async |role| match record.stream(role) {
            Some(stream) => Some(read::read_whole(repo, stream, u64::MAX).await.unwrap()),
            None => None,
        };
        let properties = bytes(StreamRole::Properties).await.unwrap_or_default();
        Thing {
            kind: record.kind,
            properties: serde_json::from_slice(&properties).unwrap_or(Value::Null),
            content: bytes(StreamRole::Content).await,
            letter: bytes(StreamRole::Mime).await.map(|mime| letter(&mime)),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Thing {
    pub kind: ItemKind,
    pub properties: Value,
    pub content: Option<Vec<u8>>,
    pub letter: Option<Letter>,
}

/// What people see of a message: its text and its files.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    text: String,
    files: BTreeSet<Vec<u8>>,
}

fn letter(mime: &[u8]) -> Letter {
    let message = MessageParser::default().parse(mime).unwrap();
    let text = message.body_html(0).or_else(|| message.body_text(0)).unwrap_or_default();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let files = message.attachments().filter_map(|part| match &part.body {
        PartType::Binary(bytes) | PartType::InlineBinary(bytes) if part.attachment_name().is_some() => {
            Some(bytes.to_vec())
        }
        _ => None,
    });
    Letter { text: words, files: files.collect() }
}

/// The properties that may differ after a restore, by workload, from the table in docs/restore.md.
fn table(section: &str) -> BTreeSet<String> {
    let text = include_str!("../../docs/restore.md");
    let section = text.split("\n## ").find(|part| part.starts_with(section)).expect("the section is there");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let names: BTreeSet<String> = rows.filter_map(|row| row.split('`').next()).map(str::to_owned).collect();
    assert!(!names.is_empty());
    names
}

fn differing(a: &Value, b: &Value) -> BTreeSet<String> {
    let keys = |v: &Value| v.as_object().map(|m| m.keys().cloned().collect::<BTreeSet<_>>()).unwrap_or_default();
    keys(a).union(&keys(b)).filter(|key| a.get(key.as_str()) != b.get(key.as_str())).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_was_wiped_comes_back_as_it_was() {
    let r = Restorer::new().await;
    let mail = format!("users/{ALICE}/Mail");
    let before = r.items(0, &mail).await;
    r.setting.sim.wipe(ALICE);
    let plan = r.plan(&mail, "original", in_place(Conflict::Skip)).await.unwrap();
    let counts = plan.counts();
    let report = r.run(&plan).await.unwrap();
    assert!(report.stopped.is_empty() && !report.interrupted, "{report:?}");
    assert_eq!(report.created, counts.create, "a plan is what the run does");
    assert_eq!((report.skipped, report.problems.len() as u64), (counts.skip, counts.cannot), "{:?}", report.problems);
    let after = r.items(r.again().await, &mail).await;
    let allowed = table("Mail");
    let mut seen = BTreeSet::new();
    let search = |things: &Vec<Thing>| things.iter().any(|t| t.kind == ItemKind::MailSearchFolder);
    for (path, things) in before.iter().filter(|(_, things)| !search(things)) {
        let now = after.get(path).unwrap_or_else(|| panic!("{path} did not come back"));
        assert_eq!(now.len(), things.len(), "{path}");
        for (was, is) in things.iter().zip(now).filter(|(was, _)| was.kind == ItemKind::Message) {
            let differs = differing(&was.properties, &is.properties);
            assert!(differs.is_subset(&allowed), "{path}: {:?}", differs.difference(&allowed));
            seen.extend(differs);
            let (was, is) = (was.letter.as_ref().unwrap(), is.letter.as_ref().unwrap());
            assert_eq!(was.text, is.text, "{path}");
            assert!(was.files.is_subset(&is.files), "{path}");
        }
    }
    assert_eq!(seen, allowed, "the table says what really differs");
    assert_eq!(after.keys().filter(|path| !before.contains_key(*path)).count(), 0, "nothing else was made");
    assert_eq!((r.setting.sim.mails_sent(), r.setting.sim.stats().token_leaks), (0, 0));
    // A second time nothing is left to do.
    let plan = r.plan(&mail, "original", in_place(Conflict::Skip)).await.unwrap();
    assert_eq!(plan.counts().create, 0, "{:?}", plan.steps.iter().find(|s| s.action == Action::Create));
}

/// What the tenant's users see of alice's mail and files: not the Recoverable Items, nor tags that change by being written.
pub fn seen(r: &Restorer) -> BTreeSet<String> {
    let expected = r.setting.sim.expected();
    let alice = expected.user(ALICE).unwrap();
    let mailbox = alice.mailbox.as_ref().unwrap();
    let folders =
        mailbox.folders.iter().filter(|f| !f.recoverable).map(|f| format!("{} {} {}", f.id, f.parent_id, f.name));
    let messages = mailbox.messages.iter().filter(|m| !m.recoverable);
    let messages = messages.map(|m| format!("{} {} {} {}", m.id, m.folder_id, m.subject, m.is_read));
    let files = alice.drive.as_ref().unwrap().items.iter();
    let files = files.map(|i| {
        let hash = i.content.as_ref().map(|blob| blake3::hash(&blob.bytes()).to_hex().to_string());
        format!("{} {} {} {:?}", i.id, i.path, i.modified, hash)
    });
    folders.chain(messages).chain(files).collect()
}

/// Counts requests and throws a switch at one of them.
struct At(AtomicI64, Arc<tokio::sync::Notify>);

impl Monitor for At {
    fn add(&self, counter: Counter, by: i64) {
        if counter == Counter::Requests && self.0.fetch_sub(by, Ordering::Relaxed) == 1 {
            self.1.notify_one();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_the_tenant_as_it_was() {
    let r = Restorer::new().await;
    for path in [format!("users/{ALICE}/Mail"), format!("users/{ALICE}/OneDrive")] {
        let before = seen(&r);
        let plan = r.plan(&path, "original", in_folder()).await.unwrap();
        let report = r.run(&plan).await.unwrap();
        assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
        assert!(report.created > 20 && report.stopped.is_empty(), "{report:?}");
        assert!(seen(&r).is_superset(&before), "what was there stays");
        let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert_eq!((back.undone, back.left.as_slice()), (report.created, [].as_slice()));
        assert_eq!(seen(&r), before, "{path}");
        let e = r.run(&plan).await.unwrap_err();
        assert!(e.to_string().contains("taken back"), "{e}");
    }
}

// A message that somebody put into the restored folder is not taken away with it.
#[tokio::test(flavor = "multi_thread")]
async fn undo_takes_nothing_that_it_did_not_make() {
    let r = Restorer::new().await;
    let file = format!("users/{ALICE}/OneDrive");
    let first = r.plan(&file, "original", in_folder()).await.unwrap();
    r.run(&first).await.unwrap();
    let before = seen(&r);
    // The second finds the folder there, and puts copies beside.
    let options = RestoreOptions { conflict: Conflict::Copy, ..in_folder() };
    let second = r.plan(&file, "original", options).await.unwrap();
    let report = r.run(&second).await.unwrap();
    assert!(report.created > 5 && report.problems.len() as u64 == second.counts().cannot, "{report:?}");
    let back = undo(&first.run, None, &r.client, &r.around()).await.unwrap();
    assert!(!back.left.is_empty(), "folders with something of the second in them stay");
    assert!(back.left.iter().all(|(_, why)| why.contains("did not put there")), "{:?}", back.left);
    undo(&second.run, None, &r.client, &r.around()).await.unwrap();
    assert!(seen(&r).is_subset(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_killed_at_any_request_goes_on_without_making_anything_twice() {
    let r = Restorer::new().await;
    let before = seen(&r);
    // At every request of the one, at every seventh of the other.
    for (path, step) in [(format!("users/{ALICE}/Mail/Inbox"), 1), (format!("users/{ALICE}/OneDrive"), 7)] {
        let mut killed = 0;
        for at in (1..).step_by(step) {
            let plan = r.plan(&path, "original", in_folder()).await.unwrap();
            let (_, view) = r.view(0).await;
            let switch = Arc::new(tokio::sync::Notify::new());
            let client = client_of(&r.setting, Arc::new(At(at.into(), switch.clone())));
            let around = r.around();
            let ended = tokio::select! {
                ended = run(&plan, &view, &client, &around) => Some(ended.unwrap()),
                () = switch.notified() => None,
            };
            drop(client);
            killed += u32::from(ended.is_none());
            // Whoever was killed holds the journal no longer than its last write.
            let report = loop {
                match r.run(&plan).await {
                    Err(e) if e.to_string().contains("Another process") => {
                        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    }
                    other => break other.unwrap(),
                }
            };
            assert_eq!(report.created, plan.counts().create, "at {at}: {:?} {:?}", report.problems, report.stopped);
            let made = seen(&r).difference(&before).count() as u64;
            assert_eq!(made, report.created, "{path} killed at request {at}: as many as planned, each once");
            let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
            assert!(back.left.is_empty(), "{:?}", back.left);
            assert_eq!(seen(&r), before, "{path} killed at request {at}");
            if ended.is_some() {
                break;
            }
        }
        assert!(killed > 5, "{path}: {killed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_make_nothing_twice() {
    let r = Restorer::new().await;
    let before = seen(&r);
    for path in [format!("users/{ALICE}/Mail"), format!("users/{ALICE}/OneDrive")] {
        let plan = r.plan(&path, "original", in_folder()).await.unwrap();
        for kind in [FaultKind::Drop, FaultKind::Status { status: 504 }] {
            r.setting.sim.inject(Fault { kind, path: String::new(), probability: 0.2, count: None });
        }
        // Some steps may fail at every attempt; the next run looks at what they left.
        let mut runs = 0;
        let report = loop {
            runs += 1;
            match r.run(&plan).await {
                Ok(report) if report.stopped.is_empty() && report.created == plan.counts().create => break report,
                Ok(_) | Err(_) if runs < 20 => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(r.setting.sim.stats().faults > 5);
        r.setting.sim.clear_faults();
        assert_eq!(seen(&r).difference(&before).count() as u64, report.created, "{path}");
        undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        assert_eq!(seen(&r), before, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drive_that_was_wiped_comes_back_with_its_times() {
    let r = Restorer::new().await;
    let drive = format!("users/{ALICE}/OneDrive");
    let before = r.items(0, &drive).await;
    r.setting.sim.wipe(ALICE);
    let plan = r.plan(&drive, "original", in_place(Conflict::Skip)).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    assert_eq!((report.created, report.problems.len() as u64), (plan.counts().create, plan.counts().cannot));
    let after = r.items(r.again().await, &drive).await;
    let (allowed, mut seen) = (table("OneDrive and libraries"), BTreeSet::new());
    let lost: BTreeSet<&str> = report.problems.iter().map(|(path, _)| path.as_str()).collect();
    for (path, things) in &before {
        if lost.contains(format!("{drive}/{path}").as_str()) {
            continue;
        }
        let now = after.get(path).unwrap_or_else(|| panic!("{path} did not come back"));
        assert_eq!((now.len(), things.len()), (1, 1), "{path}");
        assert_eq!(things[0].content, now[0].content, "{path}");
        let differs = differing(&things[0].properties, &now[0].properties);
        assert!(differs.is_subset(&allowed), "{path}: {:?}", differs.difference(&allowed));
        seen.extend(differs);
    }
    // The simulated tenant is more generous than Microsoft with who made a file, and when.
    assert!(seen.contains("id") && seen.contains("package"), "{seen:?}");
    assert_eq!(r.setting.sim.mails_sent(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_changed_get_the_old_contents_and_back_again() {
    let r = Restorer::new().await;
    let drive = format!("users/{ALICE}/OneDrive");
    for _ in 0..3 {
        r.setting.next_day();
    }
    let before = seen(&r);
    let now = r.items(r.again().await, &drive).await;
    let options = RestoreOptions { only: Only::Changed, ..in_place(Conflict::Replace) };
    let plan = r.plan(&drive, "original", options).await.unwrap();
    let counts = plan.counts();
    assert!(counts.overwrite > 0 && counts.create == 0, "{counts:?}");
    let report = r.run(&plan).await.unwrap();
    assert_eq!(report.overwritten, counts.overwrite, "{:?}", report.problems);
    let (old, new) = (r.items(0, &drive).await, r.items(r.again().await, &drive).await);
    for step in plan.steps.iter().filter(|step| matches!(step.action, Action::Overwrite(_))) {
        let path = step.path.strip_prefix(&format!("{drive}/")).unwrap();
        assert_eq!(old[path][0].content, new[path][0].content, "{path}");
        assert_ne!(old[path][0].content, now[path][0].content, "{path}");
    }
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert_eq!((back.undone, back.left.len()), (counts.overwrite, 0), "{:?}", back.left);
    assert_eq!(seen(&r), before);
    // What is newer in the tenant stays, if that is wished.
    let newer = r.plan(&drive, "original", in_place(Conflict::Newer)).await.unwrap();
    assert_eq!(newer.counts().overwrite, 0, "{:?}", newer.counts());
    let deleted = RestoreOptions { only: Only::Deleted, ..in_place(Conflict::Skip) };
    let deleted = r.plan(&drive, "original", deleted).await.unwrap();
    assert!(deleted.counts().skip == 0 && deleted.counts().create < 20, "{:?}", deleted.counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_full_in_the_middle_is_told_and_goes_on_later() {
    let r = Restorer::new().await;
    let before = seen(&r);
    r.setting.sim.limit_mailbox(ALICE, Some(60_000));
    let all = format!("users/{ALICE}");
    let paths = [format!("{all}/Mail"), format!("{all}/OneDrive")];
    let (snapshot, view) = r.view(0).await;
    let (to, tenant, options) = ("original".parse().unwrap(), "sim".to_owned(), in_folder());
    let asked = Asked {
        view: &view,
        snapshot,
        paths: paths.to_vec(),
        to,
        tenant,
        tenant_id: String::new(),
        options,
        grantee: String::new(),
    };
    let plan = make(asked, &r.client, &r.around()).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    let [(path, why)] = report.stopped.as_slice() else { panic!("{report:?}") };
    assert!(path.ends_with("Mail") && why.contains("full"), "{path}: {why}");
    let files = plan.steps.iter().filter(|s| s.target == 1 && s.action == Action::Create).count() as u64;
    assert!(report.created > files && report.created < plan.counts().create, "the drive was not held up");
    r.setting.sim.limit_mailbox(ALICE, None);
    let report = r.run(&plan).await.unwrap();
    assert_eq!((report.created, report.stopped.len()), (plan.counts().create, 0));
    assert_eq!(seen(&r).difference(&before).count() as u64, report.created);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_said_before_anything_is_written() {
    let mut r = Restorer::new().await;
    let (mail, before) = (format!("users/{ALICE}/Mail"), seen(&r));
    let e = r.plan(&mail, "nobody@contoso.com", in_folder()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::NotFound && e.to_string().contains("nobody@contoso.com"), "{e}");
    let e = r.plan(&mail, "https://contoso.sharepoint.com/sites/none", in_folder()).await.unwrap_err();
    assert!(e.kind() == ErrorKind::NotFound, "{}", e.chain());
    let e = r.plan(&format!("{mail}/No such folder"), "original", in_folder()).await.unwrap_err();
    assert!(e.to_string().contains("No such folder"), "{e}");
    let deleted = RestoreOptions { only: Only::Deleted, ..in_folder() };
    let e = r.plan(&mail, "bob@contoso.com", deleted).await.unwrap_err();
    assert_eq!(e.kind(), ErrorKind::InvalidInput, "{e}");
    r.client = r.setting.client.clone();
    let e = r.plan(&mail, "original", in_folder()).await.unwrap_err();
    let hint = e.hint().unwrap_or_default();
    assert!(e.kind() == ErrorKind::Permission && e.to_string().contains("Mail.ReadWrite"), "{e}");
    assert_eq!(hint, "Grant Mail.ReadWrite to whoever the caller names");
    assert_eq!(seen(&r), before);
    let stats = r.setting.sim.stats();
    // A batch holds questions alone.
    let wrote = stats.routes.keys().filter(|r| !r.starts_with("GET") && !r.contains("token") && !r.contains("$batch"));
    assert_eq!(wrote.collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_user_gets_mail_and_files_in_a_folder() {
    let r = Restorer::new().await;
    let bob = r.setting.sim.expected().users.iter().find(|u| u.upn != ALICE && u.drive.is_some()).unwrap().upn.clone();
    let all = format!("users/{ALICE}");
    let plan = r.plan(&all, &bob, in_folder()).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
    let after = r.again().await;
    let (mail, files) =
        (r.items(after, &format!("users/{bob}/Mail")).await, r.items(after, &format!("users/{bob}/OneDrive")).await);
    let within =
        |items: &BTreeMap<String, Vec<Thing>>| items.keys().filter(|p| p.starts_with("Restored 2026-11-20/")).count();
    assert!(within(&mail) > 30 && within(&files) > 10, "{} {}", within(&mail), within(&files));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_attachments_and_files_go_in_sessions_that_break_and_expire() {
    let contents = tenantvault::sim::Contents {
        attachment_bytes: 3_600_000.0,
        attachment_max_bytes: 4_500_000,
        file_bytes: 300_000.0,
        file_max_bytes: 400_000,
        large_file_bytes: 11_000_000,
        ..tenantvault::sim::Contents::tiny()
    };
    let options = SimOptions { users: 1, messages: 10, drive_items: 3, contents, ..SimOptions::tiny() };
    let setting = Setting::new(options).await;
    setting.backup().await.unwrap();
    let client = client_of(&setting, Arc::new(Silent));
    let r = Restorer { setting, client, folder: tempfile::tempdir().unwrap() };
    let all = format!("users/{ALICE}");
    let (mail, files) = (format!("{all}/Mail"), format!("{all}/OneDrive"));
    let (old_mail, old_files) = (r.items(0, &mail).await, r.items(0, &files).await);
    r.setting.sim.wipe(ALICE);
    let plan = r.plan(&all, "original", in_place(Conflict::Skip)).await.unwrap();
    for (kind, probability) in
        [(FaultKind::Drop, 0.2), (FaultKind::Status { status: 503 }, 0.1), (FaultKind::Status { status: 404 }, 0.05)]
    {
        r.setting.sim.inject(Fault { kind, path: "/_api/upload/".into(), probability, count: None });
    }
    let mut report = r.run(&plan).await.unwrap();
    for _ in 0..5 {
        if report.created < plan.counts().create {
            report = r.run(&plan).await.unwrap();
        }
    }
    assert_eq!(report.created, plan.counts().create, "{:?}", report.problems);
    let stats = r.setting.sim.stats();
    assert!(stats.requests_to("PUT /_api/upload/") > 5 && stats.faults > 2, "{stats:?}");
    assert_eq!(stats.token_leaks, 0);
    let after = r.again().await;
    let (new_mail, new_files) = (r.items(after, &mail).await, r.items(after, &files).await);
    let large =
        |things: &Vec<Thing>| things.iter().flat_map(|t| &t.letter).flat_map(|l| &l.files).any(|f| f.len() > 3_000_000);
    assert!(old_mail.values().any(large), "there is a large attachment");
    for (path, things) in old_mail.iter().filter(|(_, things)| things[0].kind == ItemKind::Message) {
        for (was, is) in things.iter().zip(&new_mail[path]) {
            let (was, is) = (was.letter.as_ref().unwrap(), is.letter.as_ref().unwrap());
            assert!(was.files.is_subset(&is.files), "{path}");
        }
        assert_eq!(things.len(), new_mail[path].len(), "{path}");
    }
    for (path, things) in old_files.iter().filter(|(_, things)| things[0].content.is_some()) {
        assert!(things[0].content == new_files[path][0].content, "{path}");
    }
}
