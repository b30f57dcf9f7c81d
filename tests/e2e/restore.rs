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
    Action, Around, Asked, Conflict, Into, Only, Plan, RestoreOptions, RestoreReport, To, make, run, undo,
};
use tenantvault::ops::view::View;
use tenantvault::sim::{Fault, FaultKind, SimOptions};
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

use crate::support::{START_US, Setting};

const ALICE: &str = "alice@contoso.com";

struct Restorer {
    setting: Setting,
    client: Client,
    folder: tempfile::TempDir,
}

fn client_of(setting: &Setting, monitor: Arc<dyn Monitor>) -> Client {
    let sim = &setting.sim;
    let cloud = Cloud::custom(sim.graph_url(), sim.login_url()).unwrap();
    let wait = std::time::Duration::from_millis(2);
    let timeout = std::time::Duration::from_secs(3);
    let retry = RetryOptions { base: wait, longest: wait, attempts_internal: 8, timeout, ..RetryOptions::default() };
    let limits = Limits::for_licences(100).scaled(1e6);
    let options = ClientOptions { limits, retry, monitor, ..ClientOptions::new(cloud) };
    let secret = Credential::secret(sim.restore_client_secret());
    Client::new(options, sim.tenant_id(), sim.restore_client_id(), secret).unwrap()
}

fn in_place(conflict: Conflict) -> RestoreOptions {
    RestoreOptions { into: Into::Place, conflict, only: Only::All, permissions: false, versions: false }
}

fn in_folder() -> RestoreOptions {
    RestoreOptions { into: Into::Folder("Restored 2026-11-20".into()), ..in_place(Conflict::Skip) }
}

impl Restorer {
    async fn new() -> Self {
        let setting = Setting::new(SimOptions::tiny()).await;
        setting.backup().await.unwrap();
        let client = client_of(&setting, Arc::new(Silent));
        Self { setting, client, folder: tempfile::tempdir().unwrap() }
    }

    async fn view(&self, number: usize) -> (String, View) {
        let snapshots = self.setting.snapshots().await;
        let snapshot = &snapshots[number];
        (snapshot.id.to_string(), View::new(self.setting.repo.clone(), snapshot.file.clone()))
    }

    fn around(&self) -> Around {
        let clock = AtomicI64::new(START_US);
        Around {
            monitor: Arc::new(Silent),
            now_us: Arc::new(move || clock.fetch_add(1, Ordering::Relaxed)),
            stop: Stop::new(),
            folder: self.folder.path().to_owned(),
        }
    }

    async fn plan(&self, path: &str, to: &str, options: RestoreOptions) -> tenantvault::Result<Plan> {
        let (snapshot, view) = self.view(0).await;
        let asked = Asked {
            view: &view,
            snapshot,
            paths: vec![path.to_owned()],
            to: to.parse().unwrap(),
            tenant: "sim".into(),
            options,
        };
        make(asked, &self.client, &self.around()).await
    }

    async fn run(&self, plan: &Plan) -> tenantvault::Result<RestoreReport> {
        let (_, view) = self.view(0).await;
        run(plan, &view, &self.client, &self.around()).await
    }

    /// Backs up again and tells what is in a collection of that snapshot.
    async fn again(&self) -> usize {
        self.setting.clock.fetch_add(1_000_000, Ordering::Relaxed);
        self.setting.backup().await.unwrap();
        self.setting.snapshots().await.len() - 1
    }

    /// All items of a collection of a snapshot, by path within it and what tells them apart; what was told of each.
    async fn items(&self, snapshot: usize, name: &str) -> BTreeMap<String, Vec<Thing>> {
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
struct Thing {
    kind: ItemKind,
    properties: Value,
    content: Option<Vec<u8>>,
    letter: Option<Letter>,
}

/// What people see of a message: its text and its files.
#[derive(Debug, Clone, PartialEq)]
struct Letter {
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
