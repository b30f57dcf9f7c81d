//! Feeds a folder of files, or of messages, into the product's own pipeline, to be measured beside other engines.
//!
//! `tv-bench init REPO | backup REPO DIR [--mail] | restore REPO DST | forget REPO | check REPO`. The passphrase is
//! fixed, or in `TV_KEY`; the cache folder is in `TV_CACHE`, a storage's token in `TV_TOKEN`. Every file is an item of one collection: id and parent are paths, the
//! version tag is size and time of change.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tenantvault::crypto::Passphrase;
use tenantvault::error::{Error, Result};
use tenantvault::format::record::{ItemKind, Record, StreamRole};
use tenantvault::m365::discover::Discovery;
use tenantvault::m365::{
    Change, ChangesEnd, Collection, CollectionKey, ContentSink, Contents, Fetched, Known, Owner, Previous, Sink,
    Wanted, Workload,
};
use tenantvault::monitor::Silent;
use tenantvault::ops::backup::{BackupOptions, Stop, Surroundings, run};
use tenantvault::ops::catalog::Catalog;
use tenantvault::ops::files::{FileMaker, Made, NewFile, PoolLimits};
use tenantvault::ops::nodes::RepoNodes;
use tenantvault::ops::{check, forget, prune, read};
use tenantvault::repo::{Clock, PruneOptions, ReadData, Repository, WriterOptions};
use tenantvault::snapshot::policy::{Count, Policy};
use tenantvault::snapshot::set::{Selection, SetDefinition, SetOptions, TenantRef};
use tenantvault::snapshot::store;
use tenantvault::storage::StorageOptions;
use tenantvault::tree::collection::{CollectionReader, CollectionRoots};

/// What is read of a large file at once, in bytes.
const READ_BYTES: usize = 1 << 20;

struct Folder {
    key: CollectionKey,
    root: PathBuf,
    mail: bool,
    known: HashMap<String, String>,
}

fn io(path: &Path, e: std::io::Error) -> Error {
    Error::io(path.display(), e)
}

/// Paths are bytes; ids are text: what is not UTF-8 is escaped.
fn text(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut out, b| {
        if b.is_ascii() && *b != b'%' {
            out.push(char::from(*b));
        } else {
            out.push_str(&format!("%{b:02x}"));
        }
        out
    })
}

fn path_of(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail.get(..2)) {
            (b'%', Some(hex)) => {
                bytes.push(u8::from_str_radix(&String::from_utf8_lossy(hex), 16).unwrap_or(b'?'));
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

impl Folder {
    fn record(&self, path: &Path, meta: &std::fs::Metadata) -> Record {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let time = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        let modified_us = time.and_then(|d| i64::try_from(d.as_micros()).ok());
        let kind = if meta.is_dir() {
            ItemKind::Folder
        } else if self.mail {
            ItemKind::Message
        } else {
            ItemKind::File
        };
        Record {
            id: text(relative),
            parent: relative.parent().map(text).unwrap_or_default(),
            name: relative.file_name().map(|n| text(Path::new(n))).unwrap_or_default(),
            kind,
            created_us: None,
            modified_us,
            sort_us: None,
            size_bytes: meta.len(),
            version: format!("{}-{}", meta.len(), modified_us.unwrap_or(0)),
            summary: Vec::new(),
            streams: Vec::new(),
        }
    }
}

#[async_trait]
impl Collection for Folder {
    fn key(&self) -> &CollectionKey {
        &self.key
    }

    fn path(&self) -> &str {
        "users/bench/files"
    }

    async fn changes(&self, _: Previous<'_>, _: &dyn Known, sink: &mut dyn Sink) -> Result<ChangesEnd> {
        let mut seen = HashSet::new();
        let mut open = vec![self.root.clone()];
        while let Some(folder) = open.pop() {
            let listed = std::fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
            let mut entries = listed.map_err(|e| io(&folder, e))?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            let mut below = Vec::new();
            for entry in entries {
                let path = entry.path();
                let meta = entry.metadata().map_err(|e| io(&path, e))?;
                if meta.is_symlink() {
                    continue;
                }
                let record = self.record(&path, &meta);
                if meta.is_dir() {
                    below.push(path);
                }
                let unchanged = self.known.get(&record.id) == Some(&record.version);
                seen.insert(record.id.clone());
                if unchanged {
                    continue;
                }
                let contents =
                    if meta.is_dir() { Contents::None } else { Contents::Fetch(Box::new(Wanted::of(record.clone()))) };
                sink.change(Change::Put { record: Box::new(record), properties: Bytes::new(), contents }).await?;
            }
            open.extend(below.into_iter().rev());
        }
        for id in self.known.keys().filter(|id| !seen.contains(*id)) {
            sink.change(Change::Remove { id: id.clone() }).await?;
        }
        Ok(ChangesEnd::default())
    }

    async fn fetch(&self, wanted: &Wanted, contents: &mut dyn ContentSink) -> Result<Fetched> {
        let path = self.root.join(path_of(&wanted.record.id));
        let role = if self.mail { StreamRole::Mime } else { StreamRole::Content };
        let size = wanted.record.size_bytes;
        let stream = if size <= READ_BYTES as u64 {
            // Read where it stands: a hop to another thread would cost more than a small file does.
            let bytes = read_small(&path, size as usize).map(Bytes::from).map_err(|e| io(&path, e));
            futures::stream::iter([bytes]).boxed()
        } else {
            let file = tokio::fs::File::open(&path).await.map_err(|e| io(&path, e))?.into_std().await;
            futures::stream::try_unfold((file, path), |(mut file, path)| async move {
                let read = tokio::task::spawn_blocking(move || {
                    use std::io::Read;
                    let mut buffer = BytesMut::zeroed(READ_BYTES);
                    let n = file.read(&mut buffer).map_err(|e| io(&path, e))?;
                    buffer.truncate(n);
                    Ok::<_, Error>((buffer.freeze(), file, path))
                });
                let (bytes, file, path) = read.await.map_err(|e| Error::internal(e.to_string()))??;
                Ok(if bytes.is_empty() { None } else { Some((bytes, (file, path))) })
            })
            .boxed()
        };
        contents.store(role, Some(size), stream).await?;
        Ok(Fetched::Stored { source_hash: String::new(), newer: None, gap: None })
    }
}

/// Reads a file whose size is known, with as few calls as that takes.
fn read_small(path: &Path, size: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::with_capacity(size);
    std::fs::File::open(path)?.take(size as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn set() -> SetDefinition {
    SetDefinition {
        name: "bench".into(),
        tenant: TenantRef { name: "bench".into(), id: "bench".into() },
        selection: Selection::default(),
        options: SetOptions::default(),
        destinations: Vec::new(),
        retention: Policy::default(),
        time_zone: "UTC".into(),
    }
}

fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

async fn known_versions(repo: &Arc<Repository>) -> Result<HashMap<String, String>> {
    let listing = store::list(repo).await?;
    let catalog = Catalog::load(repo, listing.snapshots.last().map(|s| &s.file)).await?;
    let nodes = RepoNodes(repo.clone());
    let mut known = HashMap::new();
    for state in catalog.states.values() {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let mut records = CollectionReader::new(&nodes, roots).records();
        while let Some(record) = records.next().await? {
            known.insert(record.id, record.version);
        }
    }
    Ok(known)
}

async fn backup(repo: &Arc<Repository>, root: PathBuf, mail: bool) -> Result<()> {
    let key = CollectionKey { owner: Owner::User("bench".into()), workload: Workload::OneDrive, id: String::new() };
    let known = known_versions(repo).await?;
    let folder = Folder { key, root, mail, known };
    let mut discovery = Discovery::default();
    discovery.collections.push(Arc::new(folder));
    let level = std::env::var("TV_LEVEL").ok().and_then(|l| l.parse().ok()).unwrap_or(WriterOptions::default().level);
    let options = BackupOptions {
        set: set(),
        host: "bench".into(),
        program: "tv-bench".into(),
        tags: Vec::new(),
        writer: WriterOptions { level, ..WriterOptions::default() },
        collections_at_once: 0,
    };
    let around = Surroundings { monitor: Arc::new(Silent), now_us: Arc::new(now_us), stop: Stop::new() };
    let report = run(repo, discovery, &|| (0, 0), &options, &around, now_us()).await?;
    if let Some(gap) = report.gaps.first() {
        return Err(Error::internal(format!("{} gaps, the first: {} {}", report.gaps.len(), gap.name, gap.text)));
    }
    println!("{}", serde_json::to_string(&report.totals).unwrap_or_default());
    Ok(())
}

async fn restore(repo: &Arc<Repository>, target: &Path) -> Result<()> {
    let listing = store::list(repo).await?;
    let newest = listing.snapshots.last().ok_or_else(|| Error::not_found("There is no snapshot"))?;
    let catalog = Catalog::load(repo, Some(&newest.file)).await?;
    let nodes = RepoNodes(repo.clone());
    let mut files = FileMaker::new(repo.clone(), target, PoolLimits::default(), Stop::new());
    let mut tell = |path: String, made| match made {
        Made::Whole(_) => Ok(()),
        Made::Lost(e) => Err(e.context(format!("{path} is lost"))),
    };
    for state in catalog.states.values() {
        let roots = CollectionRoots { items: state.items, children: state.children };
        let mut records = CollectionReader::new(&nodes, roots).records();
        while let Some(record) = records.next().await? {
            let path = target.join(path_of(&record.id));
            if record.kind == ItemKind::Folder {
                std::fs::create_dir_all(&path).map_err(|e| io(&path, e))?;
                continue;
            }
            let time = record.modified_us.and_then(|us| u64::try_from(us).ok());
            let modified = time.map(|us| UNIX_EPOCH + std::time::Duration::from_micros(us));
            let contents = read::main_stream(&record)?.clone();
            files.add(NewFile { path, modified, contents }, record.id, &mut tell).await?;
        }
    }
    files.finish(&mut tell).await
}

async fn forget_and_prune(repo: &Arc<Repository>) -> Result<()> {
    let snapshots = store::list(repo).await?.snapshots;
    let policy = Policy { keep_last: Count(1), ..Policy::default() };
    let zone = jiff::tz::TimeZone::UTC;
    let plans = forget::plan(&snapshots, |_| Ok(Some((policy.clone(), zone.clone()))), jiff::Timestamp::now())?;
    forget::execute(repo, &snapshots, &plans).await?;
    let options = PruneOptions { grace_us: 0, max_unused_percent: 5.0, now_us: now_us(), clock: Clock::new(now_us) };
    prune::plan(repo, &options, &Silent).await?.execute(repo, &Silent).await.map(drop)
}

async fn work(arguments: &[String]) -> Result<()> {
    let argument = |n: usize| arguments.get(n).cloned().ok_or_else(|| Error::invalid("an argument is missing"));
    let mut options = StorageOptions::default();
    if let Ok(token) = std::env::var("TV_TOKEN") {
        options.credentials = options.credentials.with("token", token);
    }
    let storage = tenantvault::storage::open(&argument(1)?, &options)?;
    let cache = std::env::var_os("TV_CACHE").map(PathBuf::from);
    // 44 characters: the cheap key derivation, as a server's generated key has it.
    let key = std::env::var("TV_KEY").unwrap_or_else(|_| "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned());
    let passphrase = Passphrase::new(&key)?;
    if argument(0)? == "init" {
        Repository::init(storage, &passphrase, "bench", now_us(), cache).await?;
        return Ok(());
    }
    let repo = Repository::open(storage, &passphrase, cache).await?;
    match argument(0)?.as_str() {
        "backup" => backup(&repo, PathBuf::from(argument(2)?), arguments.iter().any(|a| a == "--mail")).await,
        "restore" => restore(&repo, Path::new(&argument(2)?)).await,
        "forget" => forget_and_prune(&repo).await,
        "check" => {
            let report = check::check(&repo, ReadData::All, &Silent).await?;
            if report.has_errors() { Err(check::failure(&report)) } else { Ok(()) }
        }
        other => Err(Error::invalid(format!("'{other}' is no command"))),
    }
}

#[tokio::main]
async fn main() {
    tenantvault::cli::keep_memory_small();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(e) = work(&arguments).await {
        eprintln!("{}", e.chain());
        std::process::exit(1);
    }
}
