//! Restores that are cut off as processes, killed or by Ctrl-C: going on makes nothing twice, and undo takes back all.
//! (`cli/disk` does the same to one whose journal finds no room.)
#![cfg(unix)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tenantvault::sim::{Fault, FaultKind, SimHandle, SimOptions};

use crate::restore::place_of;
use crate::support::{Done, Place};

const ALICE: &str = "alice@contoso.com";
pub const INBOX: &str = "latest:users/alice@contoso.com/Mail/Inbox";
/// The requests that make messages; the last sign says that their addresses end so.
const MAKING: &str = "/messages ";
/// Those that take them back.
const TAKING: &str = "/messages/";
/// Those that look whether a message is there whose answer was lost.
const LOOKING: &str = "$select=id&$filter=";
/// So many of them come before anything happens.
const FIRST: u64 = 3;
/// Long enough to be in the middle of it, and short enough to be waited for.
const SLOW: FaultKind = FaultKind::Slow { millis: 1500 };
/// Longer than any of these tests.
const FOR_EVER: FaultKind = FaultKind::Slow { millis: 600_000 };

/// A place with some dozens of messages in an Inbox, and a snapshot of them.
pub fn place() -> Place {
    place_of(SimOptions { messages: 100, ..SimOptions::tiny() })
}

/// Folders and messages of the mailbox, but for what Exchange keeps of deleted ones.
pub fn seen(place: &Place) -> BTreeSet<String> {
    let truth = place.tenant.as_ref().expect("a tenant").expected();
    let mailbox = truth.user(ALICE).and_then(|user| user.mailbox.as_ref()).expect("a mailbox");
    let folders = mailbox.folders.iter().filter(|folder| !folder.recoverable);
    let folders = folders.map(|folder| format!("folder {} {} {}", folder.id, folder.parent_id, folder.name));
    let messages = mailbox.messages.iter().filter(|message| !message.recoverable);
    folders.chain(messages.map(|m| format!("message {} {} {}", m.id, m.folder_id, m.subject))).collect()
}

/// Waits until what was on its way to the tenant has arrived.
pub fn settle(tenant: &SimHandle) {
    let (mut before, mut quiet) = (tenant.stats().requests, 0);
    while quiet < 5 {
        std::thread::sleep(Duration::from_millis(20));
        let now = tenant.stats().requests;
        quiet = if now == before { quiet + 1 } else { 0 };
        before = now;
    }
}

/// Starts a command, and waits until something is so.
fn started(place: &Place, arguments: &[&str], is_so: impl Fn() -> bool) -> Child {
    let mut command = place.process(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    while !is_so() {
        assert!(child.try_wait().expect("it can be asked").is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// The same, and sends it what Ctrl-C sends.
fn interrupted_when(place: &Place, arguments: &[&str], is_so: impl Fn() -> bool) -> Done {
    let child = started(place, arguments, is_so);
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
    Done::of(child.wait_with_output().expect("it ends"))
}

/// A restore that is planned, and what was there before it.
pub struct Planned {
    pub place: Place,
    /// The run's name.
    pub run: String,
    /// How many folders and messages it makes.
    pub create: usize,
    /// How a whole run ends.
    code: i32,
    journal: PathBuf,
    before: BTreeSet<String>,
}

impl Planned {
    pub fn new(place: Place) -> Self {
        let before = seen(&place);
        let (code, lines) = place.json(&["restore", INBOX, "--to", "original", "--folder", "Back", "--plan"]);
        let plan = lines.last().expect("a summary");
        assert_eq!(code, 0, "{plan}");
        let number = |name: &str| plan["counts"][name].as_u64().expect("a number");
        assert!(number("create") > 20, "{plan}");
        Self {
            run: plan["run"].as_str().expect("a name").to_owned(),
            create: number("create") as usize,
            code: if number("cannot") == 0 { 0 } else { 3 },
            journal: Path::new(plan["plan"].as_str().expect("a file")).with_file_name("journal.jsonl"),
            place,
            before,
        }
    }

    pub fn tenant(&self) -> &SimHandle {
        self.place.tenant.as_ref().expect("a tenant")
    }

    /// How much is there that was not before: `folder`, `message`, or both.
    pub fn made(&self, kind: &str) -> usize {
        seen(&self.place).difference(&self.before).filter(|line| line.starts_with(kind)).count()
    }

    /// From now on the first of some requests are answered as always, and then something happens to each.
    fn after_the_first(&self, path: &str, kind: FaultKind) {
        let fault = |kind, count| Fault { kind, path: path.into(), probability: 1.0, count };
        // Of several faults the first that is not used up strikes.
        self.tenant().inject(fault(FaultKind::Slow { millis: 0 }, Some(FIRST)));
        self.tenant().inject(fault(kind, None));
    }

    /// Interrupts a command as soon as something is so, and lets the tenant be as always.
    fn interrupted_when(&self, arguments: &[&str], is_so: impl Fn() -> bool) -> Done {
        let ended = interrupted_when(&self.place, arguments, is_so);
        self.tenant().clear_faults();
        ended
    }

    /// The same of what is done with the run, killed.
    fn killed_when(&self, verb: &str, is_so: impl Fn() -> bool) {
        let mut child = started(&self.place, &["restore", verb, &self.run], is_so);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        settle(self.tenant());
        self.tenant().clear_faults();
    }

    /// Kills the run when a message is there of which it does not know it.
    fn killed_unheard(&self) {
        self.after_the_first(MAKING, FaultKind::Drop);
        self.tenant().inject(Fault { kind: FOR_EVER, path: LOOKING.into(), probability: 1.0, count: None });
        self.killed_when("run", || self.made("message ") > FIRST as usize);
        assert!(self.in_doubt() > 0, "the journal says of each what came of it");
    }

    /// Kills the run when it has asked for a message that is not made.
    fn killed_unasked(&self) {
        self.after_the_first(MAKING, FOR_EVER);
        self.killed_when("run", || self.tenant().stats().faults > FIRST);
        assert!(self.in_doubt() > 0, "the journal says of each what came of it");
    }

    /// How many steps were begun, and have no end in the journal.
    fn in_doubt(&self) -> usize {
        let journal = std::fs::read_to_string(&self.journal).expect("a journal");
        let mut open = BTreeSet::new();
        // What was torn says nothing.
        for entry in journal.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let Some(step) = entry["step"].as_u64() else { continue };
            match entry["event"].as_str() {
                Some("done" | "failed") => open.remove(&step),
                _ => open.insert(step),
            };
        }
        open.len()
    }

    /// Goes on to the end: as many come as were planned, each once.
    pub fn goes_on(&self) {
        let (code, lines) = self.place.json(&["restore", "run", &self.run]);
        let done = lines.last().expect("a summary");
        assert_eq!((code, done["created"].as_u64()), (self.code, Some(self.create as u64)), "{done}");
        assert_eq!(done["interrupted"], false, "{done}");
        assert_eq!(self.made(""), self.create, "as many as planned, each once");
    }

    /// Takes all back.
    pub fn goes_back(&self) {
        let (code, lines) = self.place.json(&["restore", "undo", &self.run]);
        let back = lines.last().expect("a summary");
        assert_eq!((code, &back["left"]), (0, &json!([])), "{back}");
        assert_eq!(seen(&self.place), self.before);
    }
}

#[test]
fn a_restore_that_is_killed_again_and_again_goes_on_and_makes_nothing_twice() {
    let planned = Planned::new(place());
    planned.killed_unheard();
    let runs = planned.place.run(&["restore", "runs"]);
    assert!(runs.out.contains(&format!("{}  interrupted", planned.run)), "{}", runs.out);
    planned.killed_unasked();
    planned.goes_on();
    planned.goes_back();
}

#[test]
fn a_restore_that_was_killed_is_taken_back_without_going_on() {
    let planned = Planned::new(place());
    planned.killed_unheard();
    assert!(planned.made("message ") > 3 && planned.made("") < planned.create);
    planned.goes_back();
    planned.place.run(&["restore", "run", &planned.run]).fails(2, &["taken back"]);
}

#[test]
fn an_undo_that_is_killed_goes_on_and_takes_all_back() {
    let planned = Planned::new(place());
    planned.goes_on();
    planned.after_the_first(TAKING, FOR_EVER);
    planned.killed_when("undo", || planned.tenant().stats().faults > FIRST);
    let left = planned.made("");
    assert!(left > 0 && left < planned.create, "{left} of {}", planned.create);
    planned.goes_back();
}

#[test]
fn an_interrupted_restore_finishes_what_is_under_way_says_how_to_go_on_and_goes_on() {
    let planned = Planned::new(place());
    planned.after_the_first(MAKING, SLOW);
    let ended = planned.interrupted_when(&["restore", "run", &planned.run], || planned.tenant().stats().faults > FIRST);
    let run = &planned.run;
    ended.fails(
        130,
        &[
            "Stopping: what is under way is finished. 'restore run' goes on with what was begun.",
            "Press Ctrl-C again to stop at once",
            &format!("Go on with: tenantvault restore run {run}"),
            &format!("Take it back with: tenantvault restore undo {run}"),
        ],
    );
    let made = planned.made("");
    assert!(planned.made("message ") > 3 && made < planned.create, "{made} of {}", planned.create);
    assert_eq!(planned.in_doubt(), 0, "what is under way is finished");
    let runs = planned.place.run(&["restore", "runs"]);
    assert!(runs.out.contains(&format!("{run}  interrupted")), "{}", runs.out);
    planned.goes_on();
    planned.goes_back();
}

#[test]
fn an_interrupted_undo_says_how_to_go_on_and_goes_on() {
    let planned = Planned::new(place());
    planned.goes_on();
    let run = &planned.run;
    planned.tenant().inject(Fault { kind: SLOW, path: TAKING.into(), probability: 1.0, count: None });
    // What it takes back first are messages.
    let ended = planned.interrupted_when(&["restore", "undo", run], || planned.tenant().stats().faults > 0);
    let on = format!("Go on with: tenantvault restore undo {run}");
    ended.fails(130, &["Stopping: what is under way is finished. 'restore undo' goes on with it.", &on]);
    let left = planned.made("");
    assert!(left > 0 && left < planned.create, "{left} of {}", planned.create);
    let runs = planned.place.run(&["restore", "runs"]);
    assert!(runs.out.contains(&format!("{run}  undone in part")), "{}", runs.out);
    planned.goes_back();
}

#[test]
fn a_restore_that_is_interrupted_before_it_has_a_plan_makes_and_keeps_nothing() {
    let place = place();
    let before = seen(&place);
    let tenant = place.tenant.as_ref().expect("a tenant");
    let kind = FaultKind::Slow { millis: 300 };
    tenant.inject(Fault { kind, path: "/mailFolders".into(), probability: 1.0, count: None });
    let ended = interrupted_when(&place, &["restore", INBOX, "--to", "original"], || tenant.stats().faults > 0);
    ended.fails(130, &["Stopping: ", "Nothing was made, and no plan is kept"]);
    assert_eq!(seen(&place), before);
    assert_eq!(place.run(&["restore", "runs"]).out, "");
}
