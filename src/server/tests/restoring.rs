//! Restoring by the API and the pages: found, picked, planned, run, taken back; by whom, and after a worker's death.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Bench, PASSWORD, PLENTY, id, set_up};
use crate::graph::{Client, ClientOptions, Cloud, Credential, GraphRequest, Scope};
use crate::server::auth::Role;
use crate::server::db::JobState;
use crate::server::id::Id;
use crate::server::jobs;
use crate::sim::{Fault, FaultKind, SimHandle, SimOptions, SimTenant};

pub(super) const ALICE: &str = "alice@contoso.com";
const LEASE_US: i64 = 30_000_000;

/// An account with a tenant that was backed up once, and somebody who may restore.
pub(super) struct Place {
    pub(super) bench: Bench,
    pub(super) sim: SimHandle,
    pub(super) account: Id,
    pub(super) owner: String,
    pub(super) restorer: String,
    repository: String,
    key: String,
}

impl Place {
    pub(super) async fn new() -> Self {
        Self::with(SimOptions::tiny()).await
    }

    pub(super) async fn with(options: SimOptions) -> Self {
        let bench = Bench::new().await;
        let account = bench.account("Contoso").await;
        let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
        let restorer = bench.person(Some(&account), Role::Restore, "restorer@contoso.com").await;
        let sim = SimTenant::start(options).await.expect("a tenant");
        let (repository, set, key) = set_up(&bench, &owner, &account, &sim, json!([])).await;
        let place = Self { bench, sim, account, owner, restorer, repository, key };
        let asked = place.bench.good(&place.owner, Method::POST, &place.at(&format!("sets/{set}/runs")), None).await;
        let ended = place.bench.ended(&place.owner, &place.account, asked["job"].as_str().expect("a job")).await;
        assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
        place
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("/accounts/{}/{path}", self.account)
    }

    pub(super) fn of_repository(&self, path: &str) -> String {
        self.at(&format!("repositories/{}/{path}", self.repository))
    }

    pub(super) async fn unlock(&self, token: &str) {
        let path = self.of_repository("unlock");
        self.bench.good(token, Method::POST, &path, Some(json!({"key": self.key}))).await;
    }

    /// Whoever may write in the tenant.
    fn graph(&self) -> Client {
        let cloud = Cloud::custom(self.sim.graph_url(), self.sim.login_url()).expect("addresses");
        let secret = Credential::secret(self.sim.restore_client_secret());
        let options = ClientOptions::new(cloud);
        Client::new(options, self.sim.tenant_id(), self.sim.restore_client_id(), secret).expect("a client")
    }

    /// The subjects of Alice's mails, but for what Exchange keeps of deleted ones.
    pub(super) fn subjects(&self) -> Vec<String> {
        let expected = self.sim.expected();
        let mailbox = expected.user(ALICE).and_then(|user| user.mailbox.as_ref()).expect("a mailbox");
        let mut all: Vec<String> =
            mailbox.messages.iter().filter(|m| !m.recoverable).map(|m| m.subject.clone()).collect();
        all.sort();
        all
    }

    async fn find(&self, query: &str) -> Value {
        let query: String = url::form_urlencoded::byte_serialize(query.as_bytes()).collect();
        let path = self.of_repository(&format!("search?q={query}"));
        self.bench.good(&self.restorer, Method::GET, &path, None).await
    }

    /// Plans a restore; gives it once the plan is there.
    pub(super) async fn planned(&self, wanted: Value) -> Value {
        let path = self.of_repository("restores");
        let asked = self.bench.good(&self.restorer, Method::POST, &path, Some(wanted)).await;
        let job = asked["plan_job"].as_str().expect("a job").to_owned();
        let ended = self.bench.ended(&self.restorer, &self.account, &job).await;
        assert_eq!(ended["state"], "done", "{ended}");
        self.restore(&id(&asked)).await
    }

    pub(super) async fn restore(&self, restore: &str) -> Value {
        self.bench.good(&self.restorer, Method::GET, &self.at(&format!("restores/{restore}")), None).await
    }

    pub(super) async fn begin(&self, restore: &str, what: &str) -> String {
        let path = self.at(&format!("restores/{restore}/{what}"));
        let asked = self.bench.good(&self.restorer, Method::POST, &path, None).await;
        asked["job"].as_str().expect("a job").to_owned()
    }

    async fn lent_keys(&self) -> i64 {
        use crate::server::db::Columns as _;
        let query = sqlx::query("SELECT COUNT(*) AS many FROM job_keys");
        let row = query.fetch_one(self.bench.server().db.pool()).await.expect("read");
        row.number("many").expect("a number")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_mail_is_found_restored_and_taken_back() {
    let place = Place::new().await;
    let wanted = json!({"snapshot": "latest", "paths": ["users/alice@contoso.com/Mail"]});
    let restores = place.of_repository("restores");
    let (status, problem) = place.bench.ask(&place.restorer, Method::POST, &restores, Some(wanted)).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("locked"), "{problem}");
    assert!(problem["hint"].as_str().expect("a hint").contains("owner's key"), "{problem}");
    place.unlock(&place.restorer).await;

    // A mail goes, and is found in the snapshot.
    let before = place.subjects();
    let expected = place.sim.expected();
    let mails = &expected.user(ALICE).and_then(|user| user.mailbox.as_ref()).expect("a mailbox").messages;
    let plain = |text: &str| text.len() > 5 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b' ');
    let alone = |subject: &String| plain(subject) && before.iter().filter(|other| *other == subject).count() == 1;
    let gone = mails.iter().find(|m| !m.recoverable && alone(&m.subject)).expect("a mail of its own subject");
    let delete = GraphRequest::delete(Scope::Mailbox(ALICE.into()), format!("users/{ALICE}/messages/{}", gone.id));
    place.graph().send(delete).await.expect("deleted");
    assert_eq!(place.subjects().len(), before.len() - 1);
    let found = place.find(&format!("kind:message in:{ALICE} subject:\"{}\"", gone.subject)).await;
    let items = found["items"].as_array().expect("a list");
    let item = items.iter().find(|item| item["name"] == gone.subject.as_str()).expect("it is found");
    let (status, problem) =
        place.bench.ask(&place.restorer, Method::GET, &place.of_repository("search?q=(x"), None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(problem["message"].as_str().expect("a message").contains("at character"), "{problem}");

    // The plan says what would be made; the run makes it.
    let planned = place
        .planned(json!({"snapshot": item["snapshot"], "paths": [item["path"]], "in_place": true, "only": "deleted"}))
        .await;
    assert_eq!((planned["stage"].as_str(), planned["can_run"].as_bool()), (Some("planned"), Some(true)));
    assert_eq!(planned["counts"]["counts"]["create"], 1, "{planned}");
    assert!(planned["counts"]["counts"]["requests"].as_u64() > Some(0), "{planned}");
    assert_eq!(place.subjects().len(), before.len() - 1, "a plan writes nothing");
    // Nor does one for a folder of its own make that.
    let folders = || {
        let expected = place.sim.expected();
        expected.user(ALICE).and_then(|user| user.mailbox.as_ref()).map(|mailbox| mailbox.folders.len())
    };
    let there = folders();
    place.planned(json!({"snapshot": item["snapshot"], "paths": [item["path"]], "folder": "Back"})).await;
    assert_eq!(folders(), there, "a plan makes no folder");
    let restore = id(&planned);
    let ended = place.bench.ended(&place.restorer, &place.account, &place.begin(&restore, "run").await).await;
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(place.subjects(), before);
    let path = place.at(&format!("restores/{restore}/steps"));
    let steps = place.bench.good(&place.restorer, Method::GET, &path, None).await;
    let made: Vec<&Value> =
        steps["items"].as_array().expect("a list").iter().filter(|s| s["result"] == "done").collect();
    assert_eq!(made.len(), 1, "{steps}");
    let now = place.restore(&restore).await;
    assert_eq!((now["stage"].as_str(), now["outcome"]["created"].as_u64()), (Some("done"), Some(1)), "{now}");

    // And back.
    let ended = place.bench.ended(&place.restorer, &place.account, &place.begin(&restore, "undo").await).await;
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(place.subjects().len(), before.len() - 1);
    assert_eq!(place.restore(&restore).await["stage"], "taken-back");
    let again = place.at(&format!("restores/{restore}/run"));
    assert_eq!(place.bench.ask(&place.restorer, Method::POST, &again, None).await.0, StatusCode::UNPROCESSABLE_ENTITY);

    // The key was lent, is told, and is gone.
    assert_eq!(place.lent_keys().await, 0);
    let log = place.bench.good(&place.owner, Method::GET, &place.at("audit"), None).await.to_string();
    for word in ["restore.plan", "restore.run", "restore.undo", "key.lend-to-job"] {
        assert!(log.contains(word), "{word}");
    }
    let jobs = place.bench.good(&place.owner, Method::GET, &place.at("jobs"), None).await.to_string();
    assert!(!jobs.contains(&place.key) && !log.contains(&place.key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_worker_died_is_taken_over_and_makes_nothing_twice() {
    let place = Place::new().await;
    place.unlock(&place.restorer).await;
    let planned =
        place.planned(json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")], "folder": "Back"})).await;
    let restore = id(&planned);
    let before = place.subjects().len();
    // The server goes: from here on the test is the workers.
    while !place.bench.server().db.open_jobs(&place.account).await.expect("read").is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    place.bench.running.pause_workers().await;
    place.sim.inject(Fault {
        kind: FaultKind::Slow { millis: 60 },
        path: "/messages".into(),
        probability: 1.0,
        count: None,
    });
    let job = Id::parse(&place.begin(&restore, "run").await).expect("an id");
    let (server, db) = (place.bench.server().clone(), &place.bench.server().db);
    let now = server.now_us();
    let taken = db.take_job("doomed", None, PLENTY, LEASE_US, now).await.expect("asked").expect("a job");
    assert_eq!((&taken.id, place.lent_keys().await), (&job, 1));
    let killed = CancellationToken::new();
    let doomed = {
        let (server, killed, runtime) = (server.clone(), killed.clone(), tokio::runtime::Handle::current());
        tokio::task::spawn_blocking(move || {
            let doing = killed.run_until_cancelled(jobs::do_now(&server, taken));
            runtime.block_on(doing).is_none()
        })
    };
    let restore_id = Id::parse(&restore).expect("an id");
    let journal = async || db.journal(&server.vault, &restore_id).await.expect("read").0;
    let done = async || journal().await.matches("\"done\"").count();
    while done().await < 8 || place.subjects().len() < before + 4 {
        assert!(!doomed.is_finished(), "it was to be killed on the way");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.cancel();
    assert!(doomed.await.expect("it ended"), "killed on the way");
    // What was on its way to the tenant arrives all the same.
    tokio::time::sleep(Duration::from_millis(500)).await;
    lose_the_last_words(&place, &restore, 3).await;

    // Its lease runs out; another takes it over, and the dead one could write no more.
    assert_eq!(db.take_over(now + 2 * LEASE_US).await.expect("looked"), 1);
    let taken = db.take_job("second", None, PLENTY, LEASE_US, now + 2 * LEASE_US).await.expect("asked").expect("a job");
    assert_eq!((&taken.id, taken.attempts), (&job, 2));
    let late = db.add_to_journal(&server.vault, &restore_id, 1_000_000, "{}\n", (&job, "doomed", 1)).await;
    let late = late.expect_err("fenced");
    assert_eq!(late.kind(), crate::error::ErrorKind::Interrupted);
    place.sim.clear_faults();
    let (state, outcome) = jobs::do_now(&server, taken).await.expect("it goes on");
    assert!(matches!(state, JobState::Done | JobState::Gaps), "{outcome}");
    assert!(db.end_job(&job, "second", state, &outcome, None, now + 3 * LEASE_US).await.expect("ended"));
    assert_eq!(place.lent_keys().await, 0, "the key goes with the job");
    let path = place.at(&format!("restores/{restore}/steps"));
    let steps = place.bench.good(&place.restorer, Method::GET, &path, None).await;
    let items = steps["items"].as_array().expect("a list");
    let mails = items.iter().filter(|step| step["action"] == "create" && step["container"] == false).count();
    let makes = |step: &&Value| matches!(step["action"].as_str(), Some("create" | "copy"));
    assert!(mails > 20 && items.iter().filter(makes).all(|step| step["result"] == "done"), "{steps}");
    assert_eq!(place.subjects().len() - before, mails, "each once");
}

/// Takes the last lines that say what came of a step out of the journal: a process that died after the request, and before
/// it noted the answer, leaves it so. What is left lies open then, as in a database of an earlier version.
async fn lose_the_last_words(place: &Place, restore: &str, most: usize) {
    use crate::server::db::Columns as _;
    let (pool, vault) = (place.bench.server().db.pool(), &place.bench.server().vault);
    let rows = sqlx::query("SELECT number, lines FROM restore_journal ORDER BY number DESC").fetch_all(pool).await;
    let mut lost = 0;
    for row in rows.expect("read") {
        let (number, sealed) = (row.number("number").expect("a number"), row.text("lines").expect("text"));
        assert!(!sealed.contains('{'), "a journal that is not sealed");
        let lines = vault.open_sealed(&format!("restores/{restore}/journal/{number}"), &sealed).expect("it opens");
        let stays = |line: &&str| {
            let goes = lost < most && line.contains("\"done\"");
            lost += usize::from(goes);
            !goes
        };
        let left: String = lines.split_inclusive('\n').filter(stays).collect();
        let change = sqlx::query("UPDATE restore_journal SET lines = $1 WHERE number = $2").bind(left).bind(number);
        change.execute(pool).await.expect("changed");
    }
    assert_eq!(lost, most);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_stopped_keeps_what_it_did_and_goes_on() {
    let place = Place::new().await;
    place.unlock(&place.restorer).await;
    let planned =
        place.planned(json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")], "folder": "Back"})).await;
    let (restore, before) = (id(&planned), place.subjects().len());
    place.sim.inject(Fault {
        kind: FaultKind::Slow { millis: 600 },
        path: "/messages".into(),
        probability: 1.0,
        count: None,
    });
    let job = place.begin(&restore, "run").await;
    let path = place.at(&format!("restores/{restore}/run"));
    assert_eq!(place.bench.ask(&place.restorer, Method::POST, &path, None).await.0, StatusCode::CONFLICT, "it runs");
    while place.subjects().len() < before + 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    place.bench.good(&place.restorer, Method::POST, &place.at(&format!("restores/{restore}/stop")), None).await;
    let ended = place.bench.ended(&place.restorer, &place.account, &job).await;
    assert_eq!(ended["state"], "cancelled", "{ended}");
    place.sim.clear_faults();
    let now = place.restore(&restore).await;
    assert_eq!((now["stage"].as_str(), now["can_run"].as_bool()), (Some("halted"), Some(true)), "{now}");
    let made = place.subjects().len() - before;
    assert!((2..40).contains(&made), "{made}");
    let ended = place.bench.ended(&place.restorer, &place.account, &place.begin(&restore, "run").await).await;
    // One of the tenant's odd mails has no way back.
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    let ended = place.bench.ended(&place.restorer, &place.account, &place.begin(&restore, "undo").await).await;
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(place.subjects().len(), before, "all of it, of both runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_snapshot_was_forgotten_is_taken_back_but_for_what_is_in_doubt() {
    let place = Place::new().await;
    place.unlock(&place.restorer).await;
    let planned =
        place.planned(json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")], "folder": "Back"})).await;
    let (restore, before) = (id(&planned), place.subjects().len());
    let ended = place.bench.ended(&place.restorer, &place.account, &place.begin(&restore, "run").await).await;
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    let made = place.subjects().len() - before;
    lose_the_last_words(&place, &restore, 3).await;
    let server = place.bench.server();
    let repository = Id::parse(&place.repository).expect("an id");
    let row = server.db.repository(&place.account, &repository).await.expect("a repository");
    let key = crate::crypto::Passphrase::new(&place.key).expect("a key");
    let repo = crate::server::store::open_with(server, &row, &key).await.expect("open");
    let listing = crate::snapshot::store::list(&repo).await.expect("listed");
    crate::snapshot::store::delete(&repo, &listing.snapshots.iter().collect::<Vec<_>>()).await.expect("forgotten");
    let ended = place.bench.ended(&place.restorer, &place.account, &place.begin(&restore, "undo").await).await;
    assert_eq!(
        (ended["state"].as_str(), ended["outcome"]["not_taken_back"].as_u64() >= Some(3)),
        (Some("gaps"), true),
        "{ended}"
    );
    assert!(made > 10 && place.subjects().len() <= before + 3, "{made} {}", place.subjects().len() - before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_touches_anothers_basket_plan_or_restore_and_each_role_does_its_own() {
    let place = Place::new().await;
    let bench = &place.bench;
    let other = bench.account("Other").await;
    let stranger = bench.person(Some(&other), Role::Owner, "owner@other.example").await;
    let operator = bench.person(Some(&place.account), Role::Operator, "operator@contoso.com").await;
    let auditor = bench.person(Some(&place.account), Role::Auditor, "auditor@contoso.com").await;
    place.unlock(&place.restorer).await;
    let planned = place.planned(json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail/Inbox")]})).await;
    let restore = id(&planned);
    let snapshot = planned["snapshot"].as_str().expect("an id").to_owned();
    let basket = place.of_repository("basket");
    let pick = json!({"items": [{"snapshot": snapshot, "path": format!("users/{ALICE}/Mail/Inbox")}]});
    bench.good(&place.restorer, Method::POST, &basket, Some(pick)).await;

    // Another account's owner finds nothing, by their own account's paths or by these.
    for path in ["", "/steps"] {
        for account in [&place.account, &other] {
            let path = format!("/accounts/{account}/restores/{restore}{path}");
            assert_eq!(bench.ask(&stranger, Method::GET, &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
        }
    }
    for path in ["run", "undo", "stop"] {
        let path = format!("/accounts/{other}/restores/{restore}/{path}");
        assert_eq!(bench.ask(&stranger, Method::POST, &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["basket", "search?q=x", "origin?path=sets"] {
        let path = format!("/accounts/{other}/repositories/{}/{path}", place.repository);
        assert_eq!(bench.ask(&stranger, Method::GET, &path, None).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // The owner's own session has a basket, and a lock, of its own.
    assert_eq!(bench.good(&place.owner, Method::GET, &basket, None).await["items"], json!([]));
    let run = place.at(&format!("restores/{restore}/run"));
    assert_eq!(bench.ask(&place.owner, Method::POST, &run, None).await.0, StatusCode::FORBIDDEN, "locked for them");
    for token in [&operator, &auditor] {
        assert_eq!(bench.ask(token, Method::POST, &run, None).await.0, StatusCode::FORBIDDEN);
        assert_eq!(bench.ask(token, Method::GET, &basket, None).await.0, StatusCode::FORBIDDEN);
        let seen = bench.good(token, Method::GET, &place.at(&format!("restores/{restore}")), None).await;
        assert_eq!((seen["stage"].as_str(), &seen["plan"]), (Some("planned"), &Value::Null), "{seen}");
        assert!(seen["counts"]["counts"]["create"].as_u64() > Some(0), "{seen}");
    }
    // A plan is asked for with what makes sense, or not at all.
    for (wanted, status) in [
        (json!({"snapshot": "latest", "paths": []}), 422),
        (json!({"snapshot": "0123", "paths": [""]}), 404),
        (json!({"snapshot": "latest", "paths": [""], "tenant": "0".repeat(32)}), 404),
        (json!({"snapshot": "latest", "paths": [""], "to": ""}), 422),
        (json!({"snapshot": "latest", "paths": [""], "folder": "a/../b"}), 422),
        (json!({"snapshot": "latest", "paths": [""], "to": "bob@contoso.com", "only": "deleted"}), 422),
    ] {
        let (found, answer) =
            bench.ask(&place.restorer, Method::POST, &place.of_repository("restores"), Some(wanted.clone())).await;
        assert_eq!(found.as_u16(), status, "{wanted}: {answer}");
    }
    // What cannot be planned says why.
    let wanted = json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")], "to": "nobody@contoso.com"});
    let asked = bench.good(&place.restorer, Method::POST, &place.of_repository("restores"), Some(wanted)).await;
    let ended = bench.ended(&place.restorer, &place.account, asked["plan_job"].as_str().expect("a job")).await;
    assert!(ended["error"].as_str().is_some_and(|text| text.contains("nobody@contoso.com")), "{ended}");
    assert_eq!(place.restore(&id(&asked)).await["stage"], "not-planned");

    // Without an app for restores it is the one that backs up, which may not write.
    let tenants = bench.good(&place.owner, Method::GET, &place.at("tenants"), None).await;
    let mut tenant = tenants["items"][0].clone();
    let path = place.at(&format!("tenants/{}", id(&tenant)));
    tenant["definition"].as_object_mut().expect("an object").remove("restore");
    let change = json!({"name": tenant["name"], "definition": tenant["definition"]});
    bench.good(&place.owner, Method::PUT, &path, Some(change)).await;
    let wanted = json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")]});
    let asked = bench.good(&place.restorer, Method::POST, &place.of_repository("restores"), Some(wanted)).await;
    let ended = bench.ended(&place.restorer, &place.account, asked["plan_job"].as_str().expect("a job")).await;
    let text = ended["error"].as_str().expect("a reason");
    assert!(text.contains("lacks Mail.ReadWrite") && text.contains("another app for restores"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_lead_from_a_name_to_a_restore_and_to_a_zip() {
    let place = Place::new().await;
    let (bench, key) = (&place.bench, &place.key);
    let cookie = bench.sign_in("restorer@contoso.com", PASSWORD).await.expect("signed in");
    let here = format!("/a/{}/look/{}", place.account, place.repository);
    let (_, page) = bench.page(&cookie, &format!("{here}/search?q=x")).await;
    assert!(page.contains("Unlock 'Main'"), "{page}");
    let form = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let body = format!("key={}&back={}", form(key), form("https://evil.example/"));
    let answer = bench.send_form(&format!("{here}/unlock"), Some(&cookie), body).await;
    assert_eq!(answer.headers()[header::LOCATION], here.as_str(), "no way out");
    let (_, page) = bench.page(&cookie, &format!("{here}?q=ALI")).await;
    assert!(page.contains("alice@contoso.com") && !page.contains("bob@contoso.com"), "{page}");
    assert!(page.contains("aria-current=\"page\">Browse</a>") && page.contains("You have unlocked 'Main'"), "{page}");
    assert!(page.contains("for half an hour"), "how long its key is kept: {page}");
    let (_, page) = bench.page(&cookie, &format!("{here}?path=")).await;
    assert!(page.contains("sets/</a>") && !page.contains("Size</th>") && !page.contains("Time</th>"), "{page}");
    let when = format!("{here}/when?set=everyone&owner=users%2F{}", form(ALICE));
    let (status, page) = bench.page(&cookie, &when).await;
    assert!(status.is_success() && page.contains("svg") && page.contains("class=\"month\""), "{page}");
    assert!(page.contains("in the table are in UTC"), "{page}");
    let (_, page) = bench.page(&cookie, &format!("{here}/search?q={}", form("from:(dana"))).await;
    assert!(page.contains("<mark>") && page.contains("at character"), "{page}");
    assert!(page.contains("aria-current=\"page\">Search</a>"), "{page}");
    let (_, page) =
        bench.page(&cookie, &format!("{here}/search?q={}", form(&format!("kind:message in:{ALICE}")))).await;
    let mut hits = page.split("name=\"item\" value=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let item = hits.find(|hit| !hit.contains(['&', '~'])).expect("a hit");
    let (snapshot, path) = item.split_once(':').expect("two parts");
    let answer = bench.client.get(bench.url(&format!("{here}/item?snapshot={snapshot}&path={}", form(path))));
    let answer = answer.header(header::COOKIE, &cookie).send().await.expect("an answer");
    let (status, page) = bench.page(&cookie, answer.headers()[header::LOCATION].to_str().expect("text")).await;
    assert!(status.is_success() && page.contains("Restore this item"), "{page}");

    // Two mails and a folder are picked; the ZIP has them under their paths.
    let inbox = format!("sets/everyone/latest/users/{ALICE}/Mail/Inbox");
    let (_, page) = bench.page(&cookie, &format!("{here}?path={}", form(&inbox))).await;
    let picks: Vec<&str> =
        page.split("name=\"pick\" value=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let picks: Vec<&str> = picks.into_iter().filter(|name| name.ends_with(".eml") && !name.contains('&')).collect();
    assert!(picks.len() > 2, "{page}");
    let body = format!("path={}&pick={}&pick={}", form(&inbox), form(picks[0]), form(picks[1]));
    let answer = bench.send_form(&format!("{here}/basket"), Some(&cookie), body).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let body = format!("item={}&back={}", form(item), form("//evil.example"));
    let answer = bench.send_form(&format!("{here}/basket"), Some(&cookie), body).await;
    assert!(answer.headers()[header::LOCATION].to_str().expect("text").starts_with("/a/"));
    let (_, page) = bench.page(&cookie, &format!("{here}/basket")).await;
    assert!(page.contains("Download as ZIP") && page.contains("Mail/Inbox/"), "{page}");
    let zip = bench.send_form(&format!("{here}/basket/zip"), Some(&cookie), String::new()).await;
    assert_eq!(zip.headers()[header::CONTENT_TYPE], "application/zip");
    let bytes = zip.bytes().await.expect("all of it");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).expect("a ZIP");
    assert!((2..=3).contains(&archive.len()), "{}", archive.len());
    for number in 0..archive.len() {
        let mut file = archive.by_index(number).expect("a file");
        let name = file.name().expect("a name").into_owned();
        assert!(name.starts_with(&format!("users/{ALICE}/Mail/")), "{name}");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("text");
        assert!(text.contains("Subject:"), "{text}");
    }

    // A plan by the form; run, and taken back, by its buttons.
    let body = "to=original&place=folder&folder=From+the+pages&conflict=skip&only=all".to_owned();
    let answer = bench.send_form(&format!("{here}/restore"), Some(&cookie), body).await;
    let restore = answer.headers()[header::LOCATION].to_str().expect("text").to_owned();
    let stage = async |word: &str| loop {
        let (_, page) = bench.page(&cookie, &restore).await;
        assert!(!page.contains("no plan") && !page.contains("failed"), "{page}");
        if page.contains(word) {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let page = stage("waits to be started").await;
    assert!(page.contains("Restore now") && page.contains("under Microsoft's limits"), "{page}");
    assert!(page.contains("To be made") && !page.contains("What came of it"), "nothing was done yet: {page}");
    assert!(page.contains("Change the choices") && page.contains("name=\"then\" value=\"restore\""), "{page}");
    let before = place.subjects().len();
    bench.send_form(&format!("{restore}/run"), Some(&cookie), String::new()).await;
    let page = stage("Take it back").await;
    assert!(page.contains("What came back"), "{page}");
    assert!(place.subjects().len() > before);
    bench.send_form(&format!("{restore}/undo"), Some(&cookie), String::new()).await;
    stage("What was taken back").await;
    assert_eq!(place.subjects().len(), before);
    let locked = bench.send_form(&format!("{here}/lock"), Some(&cookie), String::new()).await;
    assert_eq!(locked.headers()[header::LOCATION], format!("{here}/unlock").as_str());
    let (_, page) = bench.page(&cookie, &here).await;
    assert!(page.contains("Unlock 'Main'"), "{page}");
    let zip = bench.send_form(&format!("{here}/basket/zip"), Some(&cookie), String::new()).await;
    assert!(zip.status().is_client_error(), "{}", zip.status());
    let log = bench.good(&place.owner, Method::GET, &place.at("audit"), None).await.to_string();
    assert!(log.contains("archive.download"), "{log}");
    let jobs = bench.good(&place.owner, Method::GET, &place.at("jobs"), None).await;
    let sent =
        jobs["items"].as_array().expect("a list").iter().find(|job| job["kind"] == "export").expect("a job").clone();
    assert!(sent["state"] == "done" && sent["outcome"]["files"].as_u64() >= Some(2), "{sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_folder_is_listed_to_its_end() {
    let place = Place::with(SimOptions { messages: 1_500, ..SimOptions::tiny() }).await;
    place.unlock(&place.restorer).await;
    let inbox = format!("sets/everyone/latest/users/{ALICE}/Mail/Inbox");
    let inbox: String = url::form_urlencoded::byte_serialize(inbox.as_bytes()).collect();
    let (mut names, mut from) = (std::collections::BTreeSet::new(), Some(0));
    while let Some(at) = from {
        let path = place.of_repository(&format!("contents?path={inbox}&from={at}"));
        let page = place.bench.good(&place.restorer, Method::GET, &path, None).await;
        let items = page["items"].as_array().expect("a list");
        names.extend(items.iter().filter(|i| i["kind"] == "message").map(|i| i["name"].to_string()));
        from = page["next"].as_u64();
    }
    let expected = place.sim.expected();
    let mailbox = expected.user(ALICE).and_then(|user| user.mailbox.as_ref()).expect("a mailbox");
    let id = &mailbox.folders.iter().find(|folder| folder.well_known == Some("inbox")).expect("an inbox").id;
    let there = mailbox.messages.iter().filter(|m| !m.recoverable && m.folder_id == *id).count();
    assert!(there > 400, "more than two pages: {there}");
    assert_eq!(names.len(), there);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_every_byte_finds_one_that_changed() {
    let place = Place::new().await;
    let folder = place.bench.server().storage_folder(&place.account).join(&place.repository).join("packs");
    let in_it = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    // The largest holds contents.
    let packs = in_it(&folder).into_iter().flat_map(|folder| in_it(&folder));
    let pack = packs.max_by_key(|pack| pack.metadata().expect("a file").len()).expect("a pack");
    let mut bytes = std::fs::read(&pack).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::remove_file(&pack).expect("removed");
    std::fs::write(&pack, bytes).expect("written");
    for (every_byte, state) in [(false, "done"), (true, "gaps")] {
        let wanted = json!({"kind": "check", "read_data": every_byte});
        let asked = place.bench.good(&place.owner, Method::POST, &place.of_repository("upkeep"), Some(wanted)).await;
        let job = asked["job"].as_str().expect("a job");
        let ended = place.bench.ended(&place.owner, &place.account, job).await;
        assert_eq!(ended["state"], state, "{ended}");
    }
}
