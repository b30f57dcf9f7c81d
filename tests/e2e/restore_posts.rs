//! What was written in a channel comes back as posts, by author and time, where a restore makes the channel.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use tenantvault::error::{Error, ErrorKind};
use tenantvault::graph::{GraphRequest, Scope, TeamsCall};
use tenantvault::ops::access::{State, look_restore};
use tenantvault::ops::restore::{self, Action, Around, Book, Conflict, Kept, Plan, RestoreReport, Step, run, undo};
use tenantvault::sim::{ExpectedThing, SimOptions};

use crate::restore::{Restorer, in_place};
use crate::restore_halves::{killed_at, strike};

/// A post: by whom, in which second, and what.
type Post = (String, String, String);

/// What a channel holds: its threads, each with its posts in order; and its pictures by their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    threads: BTreeSet<Vec<Post>>,
    pictures: Vec<String>,
}

/// The words of a text, without its tags and what is linked at its end.
fn words(html: &str) -> String {
    let html = html.split("<div><a href=").next().unwrap();
    html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect()
}

/// A post that can be imported: one of somebody who is in the tenant.
fn post(thing: &ExpectedThing, people: &BTreeSet<String>) -> Option<Post> {
    let (json, text) = (&thing.json, |at: &str| thing.json.pointer(at).and_then(Value::as_str).map(str::to_owned));
    if thing.kind != "chatMessage" || json["messageType"] != "message" || !json["deletedDateTime"].is_null() {
        return None;
    }
    let second = text("/createdDateTime")?.split('.').next()?.to_owned();
    let author = text("/from/user/id").filter(|id| people.contains(id))?;
    Some((author, second, words(&text("/body/content")?)))
}

fn said(things: &[ExpectedThing], people: &BTreeSet<String>) -> Said {
    let mut threads: BTreeMap<&str, Vec<Post>> = BTreeMap::new();
    let mut pictures = Vec::new();
    let mut posts: BTreeMap<&str, Post> = BTreeMap::new();
    for thing in things {
        posts.extend(post(thing, people).map(|post| (thing.id.as_str(), post)));
    }
    for thing in things {
        if let Some(post) = posts.get(thing.id.as_str()) {
            threads.entry(thing.id.split('/').next().unwrap()).or_default().push(post.clone());
        } else if let Some(content) = thing.content.as_ref().filter(|_| posts.contains_key(thing.parent.as_str())) {
            let bytes = content.bytes();
            pictures.push(blake3::hash(&bytes).to_hex().to_string());
        }
    }
    pictures.sort();
    let sorted = |mut posts: Vec<Post>| {
        posts.sort_by(|a, b| (&a.1, &a.0, &a.2).cmp(&(&b.1, &b.0, &b.2)));
        posts
    };
    Said { threads: threads.into_values().map(sorted).collect(), pictures }
}

/// A team, and what its standard channels hold that people deleted, by path.
struct Wiped {
    r: Restorer,
    team: String,
    path: String,
    before: BTreeMap<String, Said>,
}

impl Wiped {
    async fn new(options: SimOptions) -> Self {
        let r = Restorer::with(options, 0, |_| ()).await;
        let all = r.setting.sim.expected().collections;
        let (key, shape) = all.iter().find(|(key, _)| key.ends_with("/team")).expect("a team");
        let (team, path) = (key.split('/').nth(1).unwrap().to_owned(), shape.name.clone());
        let mut wiped = Self { r, team, path, before: BTreeMap::new() };
        let standard: BTreeSet<String> = wiped.rows().await.into_iter().filter_map(standard).collect();
        let whole = wiped.now();
        wiped.r.setting.sim.wipe_items(&wiped.team);
        let left = wiped.now();
        let is_gone = |(path, _): &(String, Said)| {
            let is_called = |name: &String| path.ends_with(&format!("/{}", name.replace('/', "_")));
            !left.contains_key(path) && standard.iter().any(is_called)
        };
        wiped.before = whole.into_iter().filter(is_gone).collect();
        let posts: usize = wiped.before.values().flat_map(|said| &said.threads).map(Vec::len).sum();
        assert!(posts > 5, "{:?}", wiped.before);
        wiped
    }

    /// What the channels of the team hold now, by path.
    fn now(&self) -> BTreeMap<String, Said> {
        let of_team = format!("teams/{}/channel/", self.team);
        let expected = self.r.setting.sim.expected();
        let people: BTreeSet<String> = expected.users.iter().map(|user| user.id.clone()).collect();
        let all = expected.collections.iter().filter(|(key, _)| key.starts_with(&of_team));
        all.map(|(_, channel)| (channel.name.clone(), said(&channel.things, &people))).collect()
    }

    /// What came back of what was deleted.
    fn back(&self) -> BTreeMap<String, Said> {
        self.now().into_iter().filter(|(path, _)| self.before.contains_key(path)).collect()
    }

    fn request(&self, rest: &str, body: Option<Value>) -> GraphRequest {
        let (scope, url) = (Scope::teams(TeamsCall::Team, &self.team), format!("teams/{}/{rest}", self.team));
        match body {
            Some(body) => GraphRequest::post(scope, url, &body),
            None => GraphRequest::get(scope, url).prefer("include-unknown-enum-members"),
        }
    }

    async fn rows(&self) -> Vec<Value> {
        self.r.client.get_all(self.request("channels", None)).await.unwrap()
    }

    /// Says whether a path is that of a standard channel that people deleted, or of something in it.
    fn is_ours(&self, path: &str) -> bool {
        let path = path.replace('/', "_");
        self.before.keys().filter_map(|ours| ours.rsplit('/').next()).any(|name| path.contains(name))
    }

    /// What did not come back of the standard channels. One of the others is of somebody who is no user any more.
    fn failed(&self, report: &RestoreReport) -> Vec<(String, String)> {
        let problems = report.problems.iter().filter(|(path, _)| self.is_ours(path));
        problems.chain(&report.stopped).cloned().collect()
    }

    /// The channels that people may not use now.
    async fn shut(&self) -> usize {
        self.rows().await.iter().filter(|row| row["migrationMode"] == "inProgress").count()
    }
}

fn standard(row: Value) -> Option<String> {
    (row["membershipType"] == "standard").then(|| row["displayName"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_comes_back_has_its_posts_by_author_and_time() {
    let w = Wiped::new(SimOptions { messages: 160, ..SimOptions::tiny() }).await;
    let r = &w.r;
    let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
    let posts: usize = w.before.values().flat_map(|said| &said.threads).map(Vec::len).sum();
    assert!(plan.counts().requests > posts as u64 && plan.left_out.is_empty(), "{:?}", plan.left_out);
    let report = r.run(&plan).await.unwrap();
    assert!(w.failed(&report).is_empty(), "{report:?}");
    assert_eq!(w.back(), w.before);
    assert!(w.before.values().any(|said| !said.pictures.is_empty()), "no post has a picture");
    let told = |(_, note): &(String, String)| note.contains("none of the organisation's people");
    assert!(report.notes.iter().any(told), "{:?}", report.notes);
    assert_eq!(w.shut().await, 0);
    // The next backup has them, and a second restore finds nothing to do.
    r.again().await;
    let again = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
    let made = |step: &Step| step.container && step.action == Action::Create && w.is_ours(&step.path);
    assert!(!again.steps.iter().any(|step| made(&step)), "{:?}", again.steps);
    // Of a whole team nothing is said to be left out that comes back so.
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert!(back.left.is_empty(), "{:?}", back.left);
    assert!(w.back().is_empty(), "{:?}", w.back());
    let whole = w.path.strip_suffix("/Team").unwrap();
    let plan = r.plan(whole, "original", in_place(Conflict::Skip)).await.unwrap();
    let left: BTreeSet<&String> = plan.left_out.iter().map(|(path, _)| path).collect();
    let with_posts: Vec<_> = w.before.iter().filter(|(_, said)| !said.threads.is_empty()).collect();
    assert!(with_posts.iter().all(|(path, _)| !left.contains(path)), "{:?}", plan.left_out);
    let refused = |path: &String| plan.refused.iter().any(|(refused, _)| refused == path);
    assert!(!with_posts.iter().any(|(path, _)| refused(path)), "{:?}", plan.refused);
    assert!(!left.is_empty(), "channels that are there come back as pages alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_come_once_and_no_channel_stays_shut_though_the_run_is_killed_at_any_request() {
    let w = Wiped::new(SimOptions::tiny()).await;
    let r = &w.r;
    for at in (2..).step_by(3) {
        let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
        let (ended, report) = killed_at(r, &plan, at).await;
        assert!(w.failed(&report).is_empty(), "at {at}: {report:?}");
        assert_eq!(w.back(), w.before, "killed at request {at}");
        assert_eq!(w.shut().await, 0, "killed at request {at}");
        undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        // Of what bears no mark something may be left: tabs, and channels without posts.
        r.setting.sim.wipe_items(&w.team);
        if ended {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_fail_halfway_leave_no_channel_shut_and_come_once() {
    let w = Wiped::new(SimOptions::tiny()).await;
    let r = &w.r;
    let (_, view) = r.view(0).await;
    for status in [503, 500, 403] {
        for goes_on in [true, false] {
            let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
            for _ in 0..2 {
                strike(r, "/replies ", status, None);
                let report = r.run(&plan).await.unwrap();
                r.setting.sim.clear_faults();
                assert!(!w.failed(&report).is_empty(), "{status}: nothing failed");
                assert_eq!(w.shut().await, 0, "{status}");
            }
            assert_ne!(w.back(), w.before, "{status}");
            if goes_on {
                let report = r.run(&plan).await.unwrap();
                assert!(w.failed(&report).is_empty(), "{status}: {report:?}");
                assert_eq!(w.back(), w.before, "{status}");
                assert_eq!(w.shut().await, 0, "{status}");
            }
            let back = undo(&plan.run, Some(&view), &r.client, &r.around()).await.unwrap();
            assert!(back.left.is_empty(), "{status}: {:?}", back.left);
            assert!(w.back().is_empty(), "{status}: {:?}", w.back());
        }
    }
}

/// A journal that has no room for the line that tells of a channel: the first one after so many.
struct Tight(Arc<dyn Kept>, usize);

#[async_trait]
impl Kept for Tight {
    async fn save(&self, plan: &Plan) -> tenantvault::Result<()> {
        self.0.save(plan).await
    }

    async fn plan(&self) -> tenantvault::Result<Option<Plan>> {
        self.0.plan().await
    }

    async fn open(&self) -> tenantvault::Result<(Box<dyn Book>, restore::State)> {
        let (book, state) = self.0.open().await?;
        Ok((Box::new(TightBook(book, self.1)), state))
    }
}

struct TightBook(Box<dyn Book>, usize);

#[async_trait]
impl Book for TightBook {
    async fn append(&mut self, lines: Vec<u8>) -> tenantvault::Result<()> {
        let has = |part: &str| String::from_utf8_lossy(&lines).contains(part);
        if has(r#""event":"half""#) && has(r#""kind":"channel""#) {
            let Some(left) = self.1.checked_sub(1) else {
                return Err(Error::new(ErrorKind::StorageFull, "There is no room"));
            };
            self.1 = left;
        }
        self.0.append(lines).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_fails_when_a_channel_was_made_leaves_it_open() {
    let w = Wiped::new(SimOptions::tiny()).await;
    let r = &w.r;
    let (_, view) = r.view(0).await;
    let mut opened = 0;
    for room in 0.. {
        let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
        let around = r.around();
        let runs = around.runs.clone();
        let tight = move |run: &str| Arc::new(Tight(runs(run), room)) as Arc<dyn Kept>;
        let tight = Around { runs: Arc::new(tight), ..around };
        let ended = run(&plan, &view, &r.client, &tight).await;
        assert_eq!(w.shut().await, 0, "{room}");
        opened += w.rows().await.iter().filter(|row| row["migrationMode"] == "completed").count();
        r.setting.sim.wipe_items(&w.team);
        if ended.is_ok() {
            break;
        }
        assert!(room < 50, "{ended:?}");
    }
    assert!(opened > 1, "no channel was made to import into");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_cannot_be_opened_is_told_and_opened_when_the_run_goes_on() {
    let w = Wiped::new(SimOptions::tiny()).await;
    let r = &w.r;
    for door in ["/completeMigration ", "/replies "] {
        let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
        strike(r, "/completeMigration ", 503, None);
        if door != "/completeMigration " {
            strike(r, door, 503, None);
        }
        let report = r.run(&plan).await.unwrap();
        r.setting.sim.clear_faults();
        assert!(w.shut().await > 0, "{door}");
        let told = report.problems.iter().chain(&report.stopped).any(|(_, why)| why.contains("closed to its members"));
        assert!(told, "{door}: {report:?}");
        let report = r.run(&plan).await.unwrap();
        assert!(w.failed(&report).is_empty(), "{door}: {report:?}");
        assert_eq!((w.shut().await, w.back()), (0, w.before.clone()), "{door}");
        undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
        r.setting.sim.wipe_items(&w.team);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_made_channel_that_somebody_renamed_is_gone_on_with_and_not_made_twice() {
    let w = Wiped::new(SimOptions::tiny()).await;
    let r = &w.r;
    let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
    strike(r, "/replies ", 503, None);
    assert!(!w.failed(&r.run(&plan).await.unwrap()).is_empty());
    r.setting.sim.clear_faults();
    let half: Vec<Value> = w.rows().await.into_iter().filter(|row| !row["migrationMode"].is_null()).collect();
    assert!(!half.is_empty());
    for (number, row) in half.iter().enumerate() {
        let url = format!("teams/{}/channels/{}", w.team, row["id"].as_str().unwrap());
        let body = json!({"displayName": format!("Theirs {number}")});
        r.client.send(GraphRequest::patch(Scope::teams(TeamsCall::Team, &w.team), url, &body)).await.unwrap();
    }
    let report = r.run(&plan).await.unwrap();
    assert!(w.failed(&report).is_empty(), "{report:?}");
    assert_eq!(w.shut().await, 0);
    let rows = w.rows().await;
    for old in half {
        assert!(rows.iter().any(|row| row["id"] == old["id"]), "{old} is gone");
        assert!(rows.iter().all(|row| row["displayName"] != old["displayName"]), "{old} was made twice");
    }
}

/// Somebody else writes there: by an import of their own, as the simulated tenant knows no other way.
#[tokio::test(flavor = "multi_thread")]
async fn undo_leaves_a_channel_in_which_somebody_wrote_since() {
    let w = Wiped::new(SimOptions::tiny()).await;
    let r = &w.r;
    let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
    r.run(&plan).await.unwrap();
    let rows = w.rows().await;
    let row = rows.iter().find(|row| row["migrationMode"] == "completed").expect("a channel with posts");
    let channel = format!("channels/{}", row["id"].as_str().unwrap());
    let author = w.before.values().flat_map(|said| said.threads.iter().flatten()).next().unwrap().0.clone();
    let post = json!({
        "createdDateTime": "2026-11-01T00:00:00.001Z",
        "from": {"user": {"id": author, "displayName": "Ada", "userIdentityType": "aadUser"}},
        "body": {"contentType": "html", "content": "Theirs"},
    });
    // Outside of the mode nothing is taken.
    let refused = r.client.send(w.request(&format!("{channel}/messages"), Some(post.clone()))).await;
    assert!(refused.is_err());
    let start = json!({"conversationCreationDateTime": "2020-01-01T00:00:00Z"});
    for (rest, body) in [("startMigration", start), ("messages", post), ("completeMigration", json!({}))] {
        r.client.send(w.request(&format!("{channel}/{rest}"), Some(body))).await.unwrap();
    }
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    let name = row["displayName"].as_str().unwrap();
    let stays = |(path, why): &(String, String)| path.ends_with(name) && why.contains("changed after");
    assert!(back.left.iter().any(stays), "{name}: {:?}", back.left);
    assert!(w.rows().await.iter().any(|now| now["id"] == row["id"]));
}

/// Somebody makes it anew between a plan and its run a day later.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_channel_that_came_after_an_old_plan_was_made_is_told_that_its_posts_do_not_come() {
    let w = Wiped::new(SimOptions::tiny()).await;
    let r = &w.r;
    let mut plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
    plan.run.replace_range(.."20261120".len(), "20261119");
    let has_posts = |name: &str| {
        let end = format!("/{}", name.replace('/', "_"));
        w.before.iter().any(|(path, said)| path.ends_with(&end) && !said.threads.is_empty())
    };
    let is_it = |step: &Step| step.container && step.action == Action::Create && has_posts(&step.name);
    let step = plan.steps.iter().find(is_it).expect("a channel with posts");
    let body = json!({"displayName": step.name, "membershipType": "standard"});
    r.client.send(w.request("channels", Some(body))).await.unwrap();
    let report = r.run(&plan).await.unwrap();
    let told = |what: &str| report.notes.iter().any(|(path, note)| *path == step.path && note.contains(what));
    assert!(told("came after the plan was made") && told("does not come back as posts"), "{report:?}");
    // It was not made, however often that is counted.
    let again = r.run(&plan).await.unwrap();
    assert_eq!((again.created, again.notes.len()), (report.created, report.notes.len()), "{again:?}");
    undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert!(w.rows().await.iter().any(|row| row["displayName"] == step.name.as_str()), "it is not the run's");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permission_a_channel_comes_back_empty_and_the_plan_says_so() {
    let mut options = SimOptions::tiny();
    options.restore_roles.retain(|role| role != "Teamwork.Migrate.All");
    let w = Wiped::new(options).await;
    let r = &w.r;
    let found = look_restore(&r.client).await.unwrap();
    let lacks: Vec<_> = found.iter().filter(|(_, state)| *state != State::Granted).collect();
    assert!(matches!(lacks[..], [(permission, State::Missing)] if permission.is_optional()), "{lacks:?}");
    let plan = r.plan(&w.path, "original", in_place(Conflict::Skip)).await.unwrap();
    let told = plan.left_out.iter().filter(|(_, why)| why.contains("Teamwork.Migrate.All")).count();
    let with_posts = w.before.values().filter(|said| !said.threads.is_empty()).count();
    assert!(told >= with_posts && with_posts > 0, "{:?}", plan.left_out);
    let report = r.run(&plan).await.unwrap();
    assert!(w.failed(&report).is_empty(), "{report:?}");
    let back = w.back();
    assert_eq!(back.len(), w.before.len());
    assert!(back.values().all(|said| *said == Said::default()), "{back:?}");
    assert_eq!(w.rows().await.iter().filter(|row| !row["migrationMode"].is_null()).count(), 0);
    let back = undo(&plan.run, None, &r.client, &r.around()).await.unwrap();
    assert!(back.left.is_empty(), "{:?}", back.left);
}
