//! The journal of a run: what was meant before it was asked for, and what came of it after.
//!
//! A line an entry, only ever appended to. That something is meant is durable before the request goes out. The last line may be
//! torn by a crash; then it says nothing. What takes several requests says on the way how it is taken back by then; what a
//! try left stays noted until it was taken back, or the step is done. What stands in it: ids, reasons in words, and of contents
//! only the values before of what was overwritten; no secrets. Only its owner reads it. Where it is kept is the business of a
//! [`Kept`]: a folder a run ([`RunFolder`]: `plan.json`, `journal.jsonl`), or a server's database.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use super::Plan;
use crate::error::{Error, ErrorKind, Result};
use crate::m365::restore::Undo;

const PLAN: &str = "plan.json";
const JOURNAL: &str = "journal.jsonl";
/// How often, and after how long, a journal that is in use is tried again.
const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub(super) enum Entry {
    /// A step is about to be done.
    Begin {
        /// The step.
        step: usize,
    },
    /// It is under way.
    Half {
        /// The step.
        step: usize,
        /// How all is taken back that it may have done by now.
        undo: Vec<Undo>,
    },
    /// It is done.
    Done {
        /// The step.
        step: usize,
        /// The id in the target.
        id: String,
        /// How it is taken back.
        undo: Vec<Undo>,
        /// What did not come back as it was.
        notes: Vec<String>,
        /// What it held then, as a hash; empty: not known, as in journals of before it was kept.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        state: String,
    },
    /// It failed.
    Failed {
        /// The step.
        step: usize,
        /// The reason in words.
        why: String,
        /// How what may be there of it all the same is taken back.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undo: Vec<Undo>,
    },
    /// All steps were gone through.
    Ended,
    /// A step was taken back.
    Undone {
        /// The step.
        step: usize,
    },
    /// A step was left when the run was taken back.
    Left {
        /// The step.
        step: usize,
        /// The reason in words.
        why: String,
    },
}

/// What a journal says of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It was begun; nobody knows what came of it.
    Begun {
        /// How what it had done when it last told is taken back.
        undo: Vec<Undo>,
    },
    /// It is done.
    Done {
        /// The id in the target.
        id: String,
        /// How it is taken back.
        undo: Vec<Undo>,
        /// What did not come back as it was.
        notes: Vec<String>,
        /// What it held then, as a hash; empty: not known.
        state: String,
    },
    /// It failed.
    Failed {
        /// The reason in words.
        why: String,
        /// How what may be there of it all the same is taken back.
        undo: Vec<Undo>,
    },
    /// It was taken back.
    Undone,
}

/// Where the plan and the journal of one run are kept.
#[async_trait]
pub trait Kept: Send + Sync {
    /// Keeps the plan, before the first step.
    async fn save(&self, plan: &Plan) -> Result<()>;

    /// The plan; none: it was not kept yet.
    async fn plan(&self) -> Result<Option<Plan>>;

    /// Takes the journal for going on, and gives what it says. Nobody else can go on with it from now on: either this
    /// fails (`Unavailable`), or what the other one appends does.
    async fn open(&self) -> Result<(Box<dyn Book>, State)>;
}

/// A journal that is open for going on.
#[async_trait]
pub trait Book: Send {
    /// Adds whole lines; they are durable when this returns. Where it fails nothing is appended any more, and what comes to be there of
    /// them all the same ends the journal.
    async fn append(&mut self, lines: Vec<u8>) -> Result<()>;
}

/// Says where a run of a name is kept.
pub type Keeper = Arc<dyn Fn(&str) -> Arc<dyn Kept> + Send + Sync>;

/// Keeps runs in folders below a folder.
pub fn runs_in(runs: PathBuf) -> Keeper {
    Arc::new(move |run| Arc::new(RunFolder::new(&runs, run)))
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Names the folder of a run; nothing is read or made.
    pub fn new(runs: &Path, run: &str) -> Self {
        Self { path: runs.join(run) }
    }

    /// Where the plan is.
    pub fn plan_path(&self) -> PathBuf {
        self.path.join(PLAN)
    }

    /// Keeps the plan of a run, before its first step.
    ///
    /// # Errors
    /// The disk's.
    pub fn save(&self, plan: &Plan) -> Result<()> {
        let failed = |e| Error::io(format!("The plan {} cannot be written", self.plan_path().display()), e);
        make(&self.path).map_err(failed)?;
        let file = tempfile::NamedTempFile::new_in(&self.path).map_err(failed)?;
        let mut out = BufWriter::new(file.as_file());
        serde_json::to_writer(&mut out, plan).map_err(|e| failed(e.into()))?;
        out.flush().and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        drop(out);
        file.persist(self.plan_path()).map_err(|e| failed(e.error))?;
        sync(&self.path).map_err(failed)
    }

    /// Reads the plan of a run.
    ///
    /// # Errors
    /// `NotFound`, with the next step; the disk's.
    pub fn plan(&self) -> Result<Plan> {
        let file = File::open(self.plan_path()).map_err(|e| {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match e.kind() {
                std::io::ErrorKind::NotFound => Error::not_found(format!("There is no restore run '{name}'"))
                    .with_hint("restore runs lists those of this machine"),
                _ => Error::io(format!("The plan {} cannot be read", self.plan_path().display()), e),
            }
        })?;
        Plan::read(BufReader::new(file))
    }

    /// Reads what the journal says, without opening it for going on.
    ///
    /// # Errors
    /// The disk's.
    pub fn state(&self) -> Result<State> {
        let path = self.path.join(JOURNAL);
        match File::open(&path).and_then(|file| State::read(BufReader::new(file))) {
            Ok((state, _)) => Ok(state),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(e) => Err(Error::io(format!("The journal {} cannot be read", path.display()), e)),
        }
    }
}

#[async_trait]
impl Kept for RunFolder {
    async fn save(&self, plan: &Plan) -> Result<()> {
        Self::save(self, plan)
    }

    async fn plan(&self) -> Result<Option<Plan>> {
        if self.plan_path().exists() { Self::plan(self).map(Some) } else { Ok(None) }
    }

    async fn open(&self) -> Result<(Box<dyn Book>, State)> {
        let path = self.path.join(JOURNAL);
        let failed = |e| Error::io(format!("The journal {} cannot be used", path.display()), e);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(failed)?;
        // What is durable in it is worth nothing if it itself goes with the power.
        sync(&self.path).map_err(failed)?;
        let mut tries = 0;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                // Whoever just ended may still be writing the last line.
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => tries += 1,
                Err(TryLockError::WouldBlock) => {
                    let text = "Another process is at work on this run";
                    return Err(Error::new(ErrorKind::Unavailable, text).with_hint("Wait until it is done"));
                }
                Err(TryLockError::Error(e)) => return Err(failed(e)),
            }
            tokio::time::sleep(LOCK_WAIT).await;
        }
        // A journal may be longer than memory: it is read line by line.
        let (state, whole) = State::read(BufReader::new(&file)).map_err(failed)?;
        if whole < file.metadata().map_err(failed)?.len() {
            // What was torn is cut off, so that the next line begins a line.
            file.set_len(whole).map_err(failed)?;
        }
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok((Box::new(FileBook { file: Arc::new(file), path, whole }), state))
    }
}

#[cfg(unix)]
fn make(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// Makes durable which files a folder has.
#[cfg(unix)]
fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// A journal in a file. The lock goes with the last of it.
struct FileBook {
    file: Arc<File>,
    path: PathBuf,
    /// How many bytes are in it, all of them lines that are whole.
    whole: u64,
}

#[async_trait]
impl Book for FileBook {
    async fn append(&mut self, lines: Vec<u8>) -> Result<()> {
        let (file, whole, more) = (self.file.clone(), self.whole, lines.len() as u64);
        let write = move || put(&file, whole, |mut file| file.write_all(&lines).and_then(|()| file.sync_data()));
        let written = tokio::task::spawn_blocking(write).await;
        written
            .map_err(|e| Error::internal("A worker thread ended early").with_source(e))?
            .map_err(|e| Error::io(format!("The journal {} cannot be written", self.path.display()), e))?;
        self.whole += more;
        Ok(())
    }
}

/// Appends to a file that is so long. What is there of it after a failure is cut off: the next line would be glued to it, and read as
/// no line.
fn put(file: &File, whole: u64, write: impl FnOnce(&File) -> std::io::Result<()>) -> std::io::Result<()> {
    write(file).inspect_err(|_| {
        // Nothing is appended after a failure: where this fails, too, opening the journal anew cuts it off.
        let _ = file.set_len(whole).and_then(|()| file.sync_data());
    })
}

/// Lists the names of the runs that are kept in a folder, the oldest first.
///
/// # Errors
/// The disk's.
pub fn list(runs: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(runs) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(format!("Folder {} cannot be read", runs.display()), e)),
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join(PLAN).is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// What a journal says.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// By step.
    pub steps: HashMap<usize, Known>,
    /// All steps were gone through.
    pub ended: bool,
}

impl State {
    /// Says whether there is something to take back.
    pub fn can_be_undone(&self) -> bool {
        self.steps.values().any(|known| match known {
            Known::Done { undo, .. } | Known::Failed { undo, .. } => !undo.is_empty(),
            Known::Begun { .. } => true,
            Known::Undone => false,
        })
    }

    /// Says whether something was taken back.
    pub fn was_undone(&self) -> bool {
        self.steps.values().any(|known| *known == Known::Undone)
    }

    /// Says whether the result of a step that was begun is not known.
    pub fn has_doubt(&self) -> bool {
        self.steps.values().any(|known| matches!(known, Known::Begun { undo } if undo.is_empty()))
    }

    /// Reads what stands in a journal.
    pub fn of(text: &[u8]) -> Self {
        // Bytes in memory can always be read.
        Self::read(text).map(|(state, _)| state).unwrap_or_default()
    }

    /// Reads entries; also says how many bytes are whole lines.
    fn read(mut text: impl BufRead) -> std::io::Result<(Self, u64)> {
        let (mut state, mut whole, mut line) = (Self::default(), 0, Vec::new());
        loop {
            line.clear();
            let count = text.read_until(b'\n', &mut line)?;
            let Some(line_text) = line.strip_suffix(b"\n") else { return Ok((state, whole)) };
            whole += count as u64;
            // A line that is none of ours, as a crash of the machine may leave behind, says nothing.
            if let Ok(entry) = serde_json::from_slice(line_text) {
                state.take(entry);
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            // What an earlier try left is still there.
            Entry::Begin { step } => match self.steps.remove(&step) {
                Some(Known::Begun { undo } | Known::Failed { undo, .. }) => {
                    drop(self.steps.insert(step, Known::Begun { undo }));
                }
                _ => drop(self.steps.insert(step, Known::Begun { undo: Vec::new() })),
            },
            Entry::Half { step, undo } => drop(self.steps.insert(step, Known::Begun { undo })),
            Entry::Done { step, id, undo, notes, state } => {
                drop(self.steps.insert(step, Known::Done { id, undo, notes, state }));
            }
            Entry::Failed { step, why, undo } => drop(self.steps.insert(step, Known::Failed { why, undo })),
            Entry::Undone { step } => drop(self.steps.insert(step, Known::Undone)),
            Entry::Ended => self.ended = true,
            Entry::Left { .. } => {}
        }
    }
}

/// Lines are durable, or in words why they are not.
type Written = std::result::Result<(), (ErrorKind, String)>;

/// Is told that.
type Acked = oneshot::Sender<Written>;

/// An open journal. Entries that come together are made durable together.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    to: mpsc::UnboundedSender<(Vec<u8>, Acked)>,
}

/// Opens the journal of a run for going on. Only one at a time can.
pub(super) async fn open(kept: &dyn Kept) -> Result<(Journal, State)> {
    let (book, state) = kept.open().await?;
    let (to, from) = mpsc::unbounded_channel();
    tokio::spawn(write_all(book, from));
    Ok((Journal { to }, state))
}

impl Journal {
    /// Appends an entry, and returns when it is durable.
    pub(super) async fn write(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry).map_err(|e| Error::internal("An entry has no form").with_source(e))?;
        line.push(b'\n');
        let (acked, done) = oneshot::channel();
        let gone = || Error::internal("The journal is closed");
        self.to.send((line, acked)).map_err(|_| gone())?;
        done.await.map_err(|_| gone())?.map_err(|(kind, text)| Error::new(kind, text))
    }
}

async fn write_all(mut book: Box<dyn Book>, mut from: mpsc::UnboundedReceiver<(Vec<u8>, Acked)>) {
    let mut written: Written = Ok(());
    while let Some((mut lines, acked)) = from.recv().await {
        let mut waiting: Vec<Acked> = vec![acked];
        while let Ok((line, acked)) = from.try_recv() {
            lines.extend_from_slice(&line);
            waiting.push(acked);
        }
        // After a failure nobody knows how the journal ends. Whoever is still at work ends with it.
        if written.is_ok() {
            written = book.append(lines).await.map_err(|e| (e.kind(), e.chain()));
        }
        for acked in waiting {
            // Who asked may have gone.
            let _ = acked.send(written.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_step_counts_and_a_torn_line_says_nothing() {
        let line = |entry: &Entry| serde_json::to_string(entry).unwrap() + "\n";
        let undo = vec![Undo::Cannot { id: "x".into(), why: "y".into() }];
        let done = Entry::Done { step: 1, id: "x".into(), undo: undo.clone(), notes: vec![], state: "s".into() };
        let text = line(&Entry::Begin { step: 1 }) + &line(&done) + &line(&Entry::Begin { step: 2 });
        let torn = text.clone() + "{\"event\":\"done\",\"st";
        let (state, whole) = State::read(torn.as_bytes()).unwrap();
        assert_eq!(whole, text.len() as u64);
        assert_eq!(state.steps.get(&1), Some(&Known::Done { id: "x".into(), undo, notes: vec![], state: "s".into() }));
        assert_eq!(state.steps.get(&2), Some(&Known::Begun { undo: vec![] }));
        assert!(!state.ended);
        for cut in 0..torn.len() {
            State::read(&torn.as_bytes()[..cut]).unwrap();
        }
    }

    #[test]
    fn what_a_try_left_is_known_until_it_is_taken_back_or_done() {
        let line = |entry: &Entry| serde_json::to_string(entry).unwrap() + "\n";
        let undo = vec![Undo::Version { id: "x".into(), version: "1.0".into() }];
        let begin = line(&Entry::Begin { step: 0 });
        let half = line(&Entry::Half { step: 0, undo: undo.clone() });
        let failed = |undo: &[Undo]| line(&Entry::Failed { step: 0, why: "w".into(), undo: undo.to_vec() });
        let done = line(&Entry::Done { step: 0, id: "x".into(), undo: vec![], notes: vec![], state: String::new() });
        for (text, known, doubt) in [
            (begin.clone(), Known::Begun { undo: vec![] }, true),
            ([&*begin, &*half, &*begin].concat(), Known::Begun { undo: undo.clone() }, false),
            ([&*begin, &*half, &*failed(&undo)].concat(), Known::Failed { why: "w".into(), undo: undo.clone() }, false),
            ([&*begin, &*half, &*failed(&undo), &*begin].concat(), Known::Begun { undo: undo.clone() }, false),
            ([&*begin, &*half, &*failed(&[])].concat(), Known::Failed { why: "w".into(), undo: vec![] }, false),
            ([&*begin, &*half, &*done, &*begin].concat(), Known::Begun { undo: vec![] }, true),
        ] {
            let state = State::of(text.as_bytes());
            assert_eq!((state.steps.get(&0), state.has_doubt()), (Some(&known), doubt), "{text}");
        }
    }

    #[test]
    fn what_is_there_of_lines_that_could_not_be_appended_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(JOURNAL);
        std::fs::write(&path, "one\n").unwrap();
        let file = OpenOptions::new().append(true).open(&path).unwrap();
        let failed = put(&file, 4, |mut file| {
            file.write_all(b"tw")?;
            Err(std::io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        put(&file, 4, |mut file| file.write_all(b"three\n")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\nthree\n");
    }

    /// Has no room for the second of what it is given.
    #[derive(Default)]
    struct Tight {
        tries: usize,
        kept: Arc<std::sync::Mutex<Vec<u8>>>,
    }

    #[async_trait]
    impl Book for Tight {
        async fn append(&mut self, lines: Vec<u8>) -> Result<()> {
            self.tries += 1;
            if self.tries == 2 {
                return Err(Error::new(ErrorKind::StorageFull, "It is full"));
            }
            self.kept.lock().unwrap().extend(lines);
            Ok(())
        }
    }

    #[tokio::test]
    async fn after_a_failure_nothing_is_appended() {
        let tight = Tight::default();
        let kept = tight.kept.clone();
        let (to, from) = mpsc::unbounded_channel();
        tokio::spawn(write_all(Box::new(tight), from));
        let journal = Journal { to };
        journal.write(&Entry::Begin { step: 1 }).await.unwrap();
        for step in [2, 3] {
            let refused = journal.write(&Entry::Begin { step }).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::StorageFull);
        }
        let steps: Vec<usize> = State::of(&kept.lock().unwrap()).steps.into_keys().collect();
        assert_eq!(steps, [1]);
    }

    #[test]
    fn journals_of_earlier_versions_are_read() {
        let text = concat!(
            r#"{"event":"begin","step":0}"#,
            "\n",
            r#"{"event":"done","step":0,"id":"a","undo":[{"how":"version","id":"a","version":"1.0"}],"notes":[]}"#,
            "\n",
            r#"{"event":"begin","step":1}"#,
            "\n",
            r#"{"event":"failed","step":1,"why":"w"}"#,
            "\n",
        );
        let state = State::of(text.as_bytes());
        let undo = vec![Undo::Version { id: "a".into(), version: "1.0".into() }];
        let done = Known::Done { id: "a".into(), undo, notes: vec![], state: String::new() };
        assert_eq!(state.steps.get(&0), Some(&done));
        assert_eq!(state.steps.get(&1), Some(&Known::Failed { why: "w".into(), undo: vec![] }));
        let failed = Entry::Failed { step: 1, why: "w".into(), undo: vec![] };
        assert_eq!(Some(&*serde_json::to_string(&failed).unwrap()), text.lines().last());
    }
}
