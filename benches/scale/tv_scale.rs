//! Draws the scale curves: how time, memory and bytes grow with items, blobs, snapshots, writers and the length of a stream.
//!
//! `tv-scale items|blobs|find|snapshots|writers|stream DIR NUMBER...` measures one curve at the numbers given and prints a JSON
//! line a point; `benches/scale/plot.py` makes plots of them. DIR is for the repositories; each is removed after its
//! point. Every step that is measured is a process of its own (this program again), so that its peak memory is its own:
//! `peak_mib` is VmHWM, the most that the kernel ever counted for the process, pages of files included. `load` is the machine's
//! load average of the last minute when the point began.
//!
//! | curve | NUMBER | a point |
//! |---|---|---|
//! | `items` | records of a collection | `items.rs` |
//! | `blobs` | blobs listed by generated index files | `blobs.rs` |
//! | `find` | items of a collection in 30 snapshots | `find.rs` |
//! | `snapshots` | snapshots in a repository, each by a writer of its own | `snapshots.rs` |
//! | `writers` | writers at once | `streams.rs` |
//! | `stream` | GiB in one stream | `streams.rs` |

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};
use tenantvault::crypto::Passphrase;
use tenantvault::error::{Error, Result};
use tenantvault::repo::Repository;
use tenantvault::storage::StorageOptions;

mod blobs;
mod find;
mod items;
#[path = "../common/process.rs"]
mod process;
mod snapshots;
mod streams;

pub use process::{cpu_s, memory_mib, stored_bytes};

/// What a step is told.
pub struct Step {
    /// The folder of the point: the repository and the cache lie in it.
    pub folder: PathBuf,
    /// The number of the point.
    pub number: u64,
}

impl Step {
    fn passphrase() -> Result<Passphrase> {
        // 44 characters: the cheap key derivation, as a server's generated key has it.
        Passphrase::new("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    }

    pub fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    pub fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    fn storage(&self) -> Result<Arc<dyn tenantvault::storage::Storage>> {
        tenantvault::storage::open(&self.repository().to_string_lossy(), &StorageOptions::default())
    }

    pub async fn init(&self) -> Result<Arc<Repository>> {
        Repository::init(self.storage()?, &Self::passphrase()?, "bench", now_us(), Some(self.cache())).await
    }

    pub async fn open(&self) -> Result<Arc<Repository>> {
        Repository::open(self.storage()?, &Self::passphrase()?, Some(self.cache())).await
    }

    pub async fn open_uncached(&self) -> Result<Arc<Repository>> {
        Repository::open(self.storage()?, &Self::passphrase()?, None).await
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        std::fs::write(&path, bytes).map_err(|e| Error::io(path.display(), e))
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.folder.join(name);
        std::fs::read(&path).map_err(|e| Error::io(path.display(), e))
    }
}

pub fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// A number that looks random and is the same every time.
pub fn mix(n: u64) -> u64 {
    let z = n.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Seconds since `start`.
pub fn seconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64()
}

/// Starts a step in a process of its own.
pub fn start(step: &Step, name: &str) -> Result<Child> {
    let program = std::env::current_exe().map_err(|e| Error::io("This program's own file", e))?;
    // A command to put before it: `perf record -g -o /tmp/p`.
    let under = std::env::var("TV_UNDER").unwrap_or_default();
    let mut words = under.split_whitespace().map(PathBuf::from).chain([program]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).args(["step", name]).arg(&step.folder).arg(step.number.to_string());
    let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    started.map_err(|e| Error::io(format!("Step {name}"), e))
}

/// Waits for a step and reads what it says.
pub fn finish(child: Child, name: &str) -> Result<Map<String, Value>> {
    let output = child.wait_with_output().map_err(|e| Error::io(format!("Step {name}"), e))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|l| l.starts_with('{'));
    match line.and_then(|l| serde_json::from_str::<Value>(l).ok()) {
        Some(Value::Object(facts)) if output.status.success() => Ok(facts),
        _ => Err(Error::internal(format!("Step {name} came to no end ({})", output.status))),
    }
}

/// Runs a step and adds what it says to a point, each name with the step's before it.
pub fn run(step: &Step, name: &str, point: &mut Map<String, Value>) -> Result<()> {
    for (key, value) in finish(start(step, name)?, name)? {
        point.insert(format!("{}_{key}", name.rsplit('-').next().unwrap_or(name)), value);
    }
    Ok(())
}

/// The step itself, in its own process.
async fn work(name: &str, step: &Step) -> Result<Value> {
    match name {
        "items-build" => items::build(step).await,
        "items-edit" => items::edit(step).await,
        "items-look" => items::look(step).await,
        "items-walk" => items::walk(step).await,
        "blobs-make" => blobs::make(step).await,
        "blobs-cold" | "blobs-warm" => blobs::open(step).await,
        "blobs-look" => blobs::look(step).await,
        "find-make" => find::make(step).await,
        "find-cold" | "find-warm" => find::find(step).await,
        "find-uncached" => find::uncached(step).await,
        "snapshots-make" => snapshots::make(step).await,
        "snapshots-open" => snapshots::open(step).await,
        "snapshots-list" => snapshots::list(step).await,
        "snapshots-forget" => snapshots::forget(step).await,
        "snapshots-prune" => snapshots::prune(step).await,
        "writers-init" => streams::init(step).await,
        "writers-one" => streams::writers(step, 1).await,
        "writers-all" => streams::writers(step, step.number).await,
        "stream-init" => streams::init(step).await,
        "stream-put" => streams::stream(step).await,
        other => Err(Error::invalid(format!("'{other}' is no step"))),
    }
}

/// Measures one point of a curve.
fn measure(curve: &str, step: &Step) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().and_then(|l| l.parse::<f64>().ok());
    let mut point = Map::new();
    point.insert("curve".into(), curve.into());
    point.insert("n".into(), step.number.into());
    point.insert("load".into(), load.into());
    std::fs::create_dir_all(&step.folder).map_err(|e| Error::io(step.folder.display(), e))?;
    let steps: &[&str] = match curve {
        "items" => &["items-build", "items-edit", "items-look", "items-walk"],
        "blobs" => &["blobs-make", "blobs-cold", "blobs-warm", "blobs-look"],
        "snapshots" => &["snapshots-make", "snapshots-open", "snapshots-list", "snapshots-forget", "snapshots-prune"],
        "find" => &["find-make", "find-uncached", "find-cold", "find-warm"],
        "writers" => &["writers-init", "writers-all"],
        "stream" => &["stream-init", "stream-put"],
        other => return Err(Error::invalid(format!("'{other}' is no curve"))),
    };
    let done = steps.iter().try_for_each(|name| run(step, name, &mut point));
    let done = done.and_then(|()| if curve == "writers" { streams::processes(step, &mut point) } else { Ok(()) });
    if std::env::var_os("TV_KEEP").is_none() {
        drop(std::fs::remove_dir_all(&step.folder));
    }
    done?;
    println!("{}", Value::Object(point));
    Ok(())
}

fn main() {
    tenantvault::cli::keep_memory_small();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["step", name, folder, number] => in_step(name, Path::new(folder), number),
        [curve, folder, ref numbers @ ..] if !numbers.is_empty() => numbers.iter().try_for_each(|number| {
            let number = parse(number)?;
            measure(curve, &Step { folder: Path::new(folder).join(format!("{curve}-{number}")), number })
        }),
        _ => Err(Error::invalid("say a curve, a folder, and one number or more")),
    };
    if let Err(e) = result {
        eprintln!("{}", e.chain());
        std::process::exit(1);
    }
}

fn parse(number: &str) -> Result<u64> {
    number.replace('_', "").parse().map_err(|_| Error::invalid(format!("'{number}' is no number")))
}

fn in_step(name: &str, folder: &Path, number: &str) -> Result<()> {
    let step = Step { folder: folder.to_owned(), number: parse(number)? };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::io("Threads cannot be started", e))?;
    let mut facts = runtime.block_on(work(name, &step))?;
    facts["peak_mib"] = json!(memory_mib("VmHWM"));
    facts["cpu_s"] = json!(cpu_s());
    println!("{facts}");
    Ok(())
}
