//! Clients: enrolling, running sets in the server's place, and what one that was stolen can and cannot do.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::flood::snapshot;
use super::{Bench, PASSWORD, id, set_up};
use crate::crypto::{BlobKind, KeyRight, Passphrase};
use crate::error::ErrorKind;
use crate::format::header::{FileKind, seal_document};
use crate::format::id::PackId;
use crate::format::index::{IndexFile, Mark};
use crate::format::snapshot::{RunFile, Totals};
use crate::ops::backup::Stop;
use crate::repo::{Repository, Writer, WriterOptions};
use crate::server::agent::{AgentOptions, Ran, enroll, work};
use crate::server::auth::Role;
use crate::server::choices::Choices;
use crate::server::id::Id;
use crate::sim::{SimHandle, SimOptions, SimTenant};
use crate::snapshot::set::{TenantRef, set_id};
use crate::storage::{self, Credentials, StorageOptions};

/// A server with an account, a tenant, a set, and a client that runs it.
pub(super) struct Yard {
    pub(super) bench: Bench,
    sim: SimHandle,
    pub(super) account: Id,
    owner: String,
    repository: String,
    set: String,
    key: String,
    pub(super) client: String,
    agent: AgentOptions,
}

impl Yard {
    pub(super) async fn new() -> Self {
        let bench = Bench::new().await;
        let account = bench.account("Contoso").await;
        let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
        let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
        let (repository, set, key) = set_up(&bench, &owner, &account, &sim, json!([])).await;
        let added = bench
            .good(&owner, Method::POST, &format!("/accounts/{account}/clients"), Some(json!({"name": "backup-pc"})))
            .await;
        let agent = AgentOptions {
            folder: bench.folder.path().join("client"),
            cache: Some(bench.folder.path().join("client-cache")),
            insecure_http: false,
        };
        let code = added["enrolment"]["code"].as_str().expect("a code");
        let name = enroll(&agent, &bench.url(""), code, false).await.expect("enrolled");
        assert_eq!(name, "backup-pc");
        let again = enroll(&agent, &bench.url(""), code, true).await.expect_err("a code is good once");
        assert_eq!(again.kind(), ErrorKind::Permission);
        let client = id(&added["client"]);
        let yard = Self { bench, sim, account, owner, repository, set, key, client, agent };
        yard.run_on(Some(&yard.client)).await;
        yard
    }

    pub(super) async fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.bench.good(&self.owner, method, &format!("/accounts/{}{path}", self.account), body).await
    }

    /// Moves the set.
    async fn run_on(&self, client: Option<&String>) {
        let path = format!("/sets/{}", self.set);
        let set = self.good(Method::GET, &path, None).await;
        let wanted = json!({
            "name": set["name"], "tenant": set["tenant"], "repository": set["repository"], "choices": set["choices"],
            "client": client,
        });
        let moved = self.good(Method::PUT, &path, Some(wanted)).await;
        assert_eq!(moved["client"], json!(client));
    }

    /// Asks for a run of the set; gives the job.
    pub(super) async fn ask(&self) -> String {
        let asked = self.good(Method::POST, &format!("/sets/{}/runs", self.set), None).await;
        asked["job"].as_str().expect("a job").to_owned()
    }

    async fn work(&self) -> crate::Result<Ran> {
        work(&self.agent, true, &Stop::new(), &|_| {}).await
    }

    /// A run from asking to its row.
    pub(super) async fn back_up(&self, on_client: bool) -> Value {
        let job = self.ask().await;
        if on_client {
            let ran = self.work().await.expect("it works");
            assert_eq!(ran.complete + ran.gaps, 1, "{ran:?}");
        }
        let ended = self.bench.ended(&self.owner, &self.account, &job).await;
        assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
        let runs = self.good(Method::GET, "/runs", None).await;
        let run = runs["items"][0].clone();
        assert_eq!(run["job"], json!(job), "{runs}");
        run
    }

    /// What a thief of the machine has: its token.
    pub(super) fn stolen_token(&self) -> String {
        let file = std::fs::read_to_string(self.agent.folder.join("agent.json")).expect("the enrolment");
        let kept: Value = serde_json::from_str(&file).expect("JSON");
        kept["token"].as_str().expect("a token").to_owned()
    }

    /// The folder of the repository on the server's disk.
    fn stored(&self) -> PathBuf {
        self.bench.folder.path().join("server/storage").join(self.account.as_str()).join(&self.repository)
    }

    /// Every file of the repository with its bytes.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut open = vec![self.stored()];
        let mut found = Vec::new();
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).expect("it lists") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    found.push((path.clone(), std::fs::read(&path).expect("it reads")));
                }
            }
        }
        found.sort();
        found
    }
}

/// A thief at work: with a token, in a repository.
pub(super) struct Thief<'a> {
    pub(super) yard: &'a Yard,
    pub(super) token: String,
    pub(super) root: String,
}

impl Thief<'_> {
    async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> (StatusCode, Bytes) {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let url = self.yard.bench.url(&format!("{}/{path}", self.root));
        let request = self.yard.bench.client.request(method, url).bearer_auth(&self.token).header("depth", "1");
        let answer = request.body(body).send().await.expect("an answer");
        (answer.status(), answer.bytes().await.expect("bytes"))
    }

    pub(super) async fn put(&self, folder: &str, bytes: &[u8]) -> StatusCode {
        let id = blake3::hash(bytes).to_hex();
        let path = if folder == "packs" { format!("packs/{}/{id}", &id[..2]) } else { format!("{folder}/{id}") };
        self.send("PUT", &path, bytes.to_vec()).await.0
    }

    /// Sends a path as it stands, which no well-meaning program would.
    async fn raw(&self, method: &str, path: &str) -> String {
        let address = self.yard.bench.running.address().expect("it listens");
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            self.token
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        answer.split_whitespace().nth(1).unwrap_or_default().to_owned()
    }
}

/// Takes the client's job as the machine would; gives the handout.
pub(super) async fn take(yard: &Yard, token: &str) -> Value {
    loop {
        let (status, mut offer) = yard.bench.ask(token, Method::POST, "/agent/jobs", Some(json!({}))).await;
        assert_eq!(status, StatusCode::OK, "{offer}");
        if offer["handout"].is_object() {
            return offer["handout"].take();
        }
        assert_eq!(offer["waits"], true, "the server keeps the repository in order after the last run: {offer}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// Opens the repository through the endpoint, as the machine would.
pub(super) async fn opened(yard: &Yard, token: &str, handout: &Value) -> Arc<Repository> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let place = yard.bench.url(&text(&handout["repository"]["path"])).replacen("http://", "webdav+http://", 1);
    let credentials = Credentials::new().with("token", token);
    let options = StorageOptions { credentials, retries: 0, ..StorageOptions::default() };
    let storage = storage::open(&format!("{place}?append_only=true"), &options).expect("a storage");
    let key = Passphrase::new(&text(&handout["repository"]["key"])).expect("a key");
    Repository::open(storage, &key, None).await.expect("it opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_runs_on_a_client_and_moves_without_a_new_full_backup() {
    let yard = Yard::new().await;
    assert_eq!(yard.work().await.expect("nothing is due"), Ran::default());
    let first = yard.back_up(true).await;
    assert!(first["items_added"].as_i64().expect("a count") > 10, "{first}");
    let again = yard.back_up(true).await;
    assert_eq!((&again["items_added"], &again["bytes_read"]), (&json!(0), &json!(0)), "{again}");

    // To the server, and back: each goes on from where the other ended.
    yard.run_on(None).await;
    let here = yard.back_up(false).await;
    assert_eq!((&here["items_added"], &here["bytes_read"]), (&json!(0), &json!(0)), "{here}");
    assert_eq!(here["items"], first["items"]);
    yard.run_on(Some(&yard.client)).await;
    let there = yard.back_up(true).await;
    assert_eq!((&there["items_added"], &there["bytes_read"]), (&json!(0), &json!(0)), "{there}");

    // A job that waits goes along with its set.
    let waiting = yard.ask().await;
    yard.run_on(None).await;
    let ended = yard.bench.ended(&yard.owner, &yard.account, &waiting).await;
    assert!(ended["worker"].as_str().expect("somebody did it").starts_with("worker"), "{ended}");
    yard.run_on(Some(&yard.client)).await;

    // Retention and the like are the server's.
    for job in yard.good(Method::GET, "/jobs", None).await["items"].as_array().expect("a list") {
        let by_client = job["worker"].as_str().is_some_and(|worker| worker.starts_with("client"));
        assert!(!by_client || job["kind"] == "backup", "{job}");
    }
    let snapshots = yard.good(Method::GET, &format!("/repositories/{}/snapshots", yard.repository), None).await;
    assert!(!snapshots["items"].as_array().expect("a list").is_empty());
    let check = yard
        .good(Method::POST, &format!("/repositories/{}/upkeep", yard.repository), Some(json!({"kind": "check"})))
        .await;
    let check = yard.bench.ended(&yard.owner, &yard.account, check["job"].as_str().expect("a job")).await;
    assert_eq!((&check["state"], &check["outcome"]["read_data"]), (&json!("done"), &json!(false)), "{check}");
    let every = Some(json!({"kind": "check", "read_data": true}));
    let check = yard.good(Method::POST, &format!("/repositories/{}/upkeep", yard.repository), every).await;
    let check = yard.bench.ended(&yard.owner, &yard.account, check["job"].as_str().expect("a job")).await;
    assert_eq!((&check["state"], &check["outcome"]["read_data"]), (&json!("done"), &json!(true)), "{check}");
    seen_and_removed(&yard).await;
}

/// What pages and the log say of it; removing it.
async fn seen_and_removed(yard: &Yard) {
    let cookie = yard.bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let base = format!("/a/{}", yard.account);
    for (path, word) in [
        ("/clients".to_owned(), "backup-pc"),
        (format!("/sets/{}", yard.set), "client "),
        (format!("/sets/{}/change/where", yard.set), "It runs on"),
        ("/keys".to_owned(), "not read contents, not delete</td><td data-label=\"Held by\">client backup-pc</td>"),
        ("/keys".to_owned(), "forget and prune; not read contents</td><td data-label=\"Held by\">this server</td>"),
        ("/keys".to_owned(), ">read and write everything</td><td data-label=\"Held by\">its owner</td>"),
    ] {
        let (status, page) = yard.bench.page(&cookie, &format!("{base}{path}")).await;
        assert!(status.is_success() && page.contains(word), "{path}: {status}\n{page}");
    }
    let path = format!("{base}/clients/{}", yard.client);
    let page = yard.bench.send_form(&path, Some(&cookie), "what=code".into()).await;
    assert!(page.text().await.expect("text").contains("agent enroll"), "a new code");

    let token = yard.stolen_token();
    let keys = format!("/repositories/{}/keys", yard.repository);
    let label = |keys: &Value| keys.to_string().contains("client backup-pc");
    let all = yard.good(Method::GET, &keys, None).await;
    assert!(label(&all), "its own key");
    let its = all["items"].as_array().expect("a list").iter().find(|slot| slot["of_client"] == json!(yard.client));
    let removal = format!("/accounts/{}{keys}/{}/removal", yard.account, id(its.expect("its key")));
    let (status, _) = yard.bench.ask(&yard.owner, Method::POST, &removal, Some(json!({"key": yard.key}))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "it goes with the client");
    yard.good(Method::DELETE, &format!("/clients/{}", yard.client), None).await;
    assert!(!label(&yard.good(Method::GET, &keys, None).await), "its key is gone");
    assert_eq!(yard.work().await.expect_err("shut out").kind(), ErrorKind::Permission);
    let (status, _) = yard.bench.ask(&token, Method::POST, "/agent/jobs", Some(json!({}))).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // The server runs its sets.
    let here = yard.back_up(false).await;
    assert_eq!(here["items_added"], 0, "{here}");
    let log = yard.good(Method::GET, "/audit", None).await.to_string();
    for word in ["client.add", "client.enroll", "client.code", "client.remove", "set.move"] {
        assert!(log.contains(word), "{word}: {log}");
    }
    assert!(!log.contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_client_destroys_nothing() {
    let yard = Yard::new().await;
    yard.back_up(true).await;
    let before = yard.files();
    let token = yard.stolen_token();
    yard.ask().await;
    let handout = take(&yard, &token).await;
    let root = handout["repository"]["path"].as_str().expect("a path").to_owned();
    let thief = Thief { yard: &yard, token: token.clone(), root };
    let name = |folder: &str| {
        let folder = yard.stored().join(folder);
        let path = before.iter().map(|(path, _)| path).find(|path| path.starts_with(&folder)).expect("a file");
        path.strip_prefix(yard.stored()).expect("inside").to_str().expect("a name").to_owned()
    };
    for folder in ["packs", "index", "snapshots", "runs", "sets", "keys", "config"] {
        let path = name(folder);
        for method in ["DELETE", "MOVE", "COPY", "PROPPATCH", "LOCK", "POST", "PATCH", "MKCOL"] {
            let (status, _) = thief.send(method, &path, Vec::new()).await;
            assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
        let (status, _) = thief.send("PUT", &path, b"something else".to_vec()).await;
        assert!(matches!(status.as_u16(), 405 | 422), "PUT {path}: {status}");
    }
    // The same bytes again are there already.
    let pack = name("packs");
    let bytes = std::fs::read(yard.stored().join(&pack)).expect("the pack");
    assert_eq!(thief.send("PUT", &pack, bytes).await.0, StatusCode::PRECONDITION_FAILED);
    // A whole folder.
    for folder in ["", "packs/", "snapshots/"] {
        assert_eq!(thief.send("DELETE", folder, Vec::new()).await.0, StatusCode::METHOD_NOT_ALLOWED, "{folder}");
    }
    // Bytes under a name that is not theirs, or that are no pack.
    let other = format!("packs/ab/{}", "ab".repeat(32));
    assert_eq!(thief.send("PUT", &other, b"TVLT\x01\x03 and more".to_vec()).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(thief.put("packs", b"no pack at all").await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(thief.put("keys", b"a key").await, StatusCode::FORBIDDEN);
    forge(&yard, &thief, &handout).await;
    assert_eq!(yard.files(), before, "not a byte is other than it was");
}

/// Writes documents as who holds the key can, which would make others forget or delete.
async fn forge(yard: &Yard, thief: &Thief<'_>, handout: &Value) {
    let repo = opened(yard, &thief.token, handout).await;
    let keys = repo.keys();
    let own = set_id(&repo.config().id, "everyone");
    let now = yard.bench.server().now_us();
    // Snapshots of other times, for which retention would let good ones go; of other sets; under another set's name.
    let day = 86_400_000_000;
    let folder = format!("snapshots/{own}");
    let other = set_id(&repo.config().id, "other");
    for (folder, file) in [
        (folder.clone(), snapshot(own, "everyone", now - day)),
        (folder.clone(), snapshot(own, "everyone", now + day)),
        (folder.clone(), snapshot(other, "everyone", now)),
        (folder.clone(), snapshot(own, "other", now)),
        (format!("snapshots/{other}"), snapshot(other, "other", now)),
    ] {
        let bytes = seal_document(keys, FileKind::Snapshot, &file);
        assert_eq!(thief.put(&folder, &bytes).await, StatusCode::UNPROCESSABLE_ENTITY, "{folder} {file:?}");
    }
    assert_eq!(thief.put(&folder, b"no snapshot").await, StatusCode::UNPROCESSABLE_ENTITY);
    // Runs and definitions of other sets, by which a history and a retention would be others.
    let run = RunFile {
        set: other,
        started_us: now,
        ended_us: now,
        outcome: "complete".into(),
        error: String::new(),
        snapshot: None,
        totals: Totals::default(),
        waits: vec![],
    };
    let other_set = Choices::default().definition("other", TenantRef { name: "x".into(), id: "x".into() }, vec![]);
    for (folder, bytes) in [
        (format!("runs/{own}"), seal_document(keys, FileKind::Run, &run)),
        ("sets".to_owned(), seal_document(keys, FileKind::Set, &other_set.expect("a definition").encode())),
    ] {
        assert_eq!(thief.put(&folder, &bytes).await, StatusCode::UNPROCESSABLE_ENTITY, "{folder}");
    }
    // Index files that mark packs, stand in for others, tell of packs that are not there, or claim what others hold.
    let index = repo.index();
    let there: Vec<PackId> = index.packs().map(|pack| pack.id).collect();
    let marks = there.iter().map(|pack| Mark { pack: *pack, marked_us: 1 }).collect();
    let listed = index.files().next().expect("an index file");
    let whole = repo.read_index_file(&listed).await.expect("it reads");
    let mut nowhere = whole.clone();
    nowhere.packs.iter_mut().for_each(|pack| pack.id = PackId([7; 32]));
    let mut shifted = whole.clone();
    shifted.blobs.iter_mut().for_each(|blob| blob.nonce += 1);
    for file in [
        IndexFile { marks, ..IndexFile::default() },
        IndexFile { replaces: vec![listed], ..IndexFile::default() },
        nowhere,
        shifted,
        // The very same, sealed anew: its blobs lie elsewhere already.
        whole,
    ] {
        let bytes = seal_document(keys, FileKind::Index, &file);
        assert_eq!(thief.put("index", &bytes).await, StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_client_reads_no_contents_and_no_other_repository() {
    let yard = Yard::new().await;
    yard.back_up(true).await;
    let token = yard.stolen_token();
    let path = format!("/storage/{}", yard.repository);
    let thief = Thief { yard: &yard, token: token.clone(), root: path.clone() };
    // Without a job in hand it gets nowhere.
    for (method, path) in [("GET", "config"), ("PROPFIND", "index/"), ("PUT", "config")] {
        assert_eq!(thief.send(method, path, Vec::new()).await.0, StatusCode::CONFLICT, "{method} {path}");
    }
    yard.ask().await;
    let handout = take(&yard, &token).await;
    assert_eq!(handout["repository"]["path"], json!(path));
    assert_eq!(thief.send("GET", "config", Vec::new()).await.0, StatusCode::OK);
    // Its key opens no contents, and of the key slots it sees its own alone.
    let repo = opened(&yard, &token, &handout).await;
    assert_eq!(repo.right(), KeyRight::WriteOnly);
    let blob = repo.index().blobs().find(|(pack, _)| pack.kind == BlobKind::Content).expect("contents").1.id;
    assert_eq!(repo.read_blob(BlobKind::Content, &blob).await.expect_err("sealed").kind(), ErrorKind::WrongKey);
    assert_eq!(repo.slots().await.expect("a list").len(), 1);
    for entry in std::fs::read_dir(yard.stored().join("keys")).expect("keys") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let (status, _) = thief.send("GET", &format!("keys/{name}"), Vec::new()).await;
        let own = name == repo.slot().to_string();
        assert_eq!(status, if own { StatusCode::OK } else { StatusCode::NOT_FOUND }, "{name}");
    }
    let owners = Passphrase::new(&yard.key).expect("a key");
    assert_eq!(
        Repository::open(repo.storage().clone(), &owners, None).await.expect_err("no slot").kind(),
        ErrorKind::WrongKey
    );
    // Another set's snapshots, other repositories, of this account and of another.
    assert_eq!(
        thief.send("GET", &format!("snapshots/{0}/{0}", "ab".repeat(32)), Vec::new()).await.0,
        StatusCode::NOT_FOUND
    );
    let body = |name: &str| Some(json!({"name": name, "destination": {"name": name, "url": "server:"}}));
    let second = id(&yard.good(Method::POST, "/repositories", body("second")).await["repository"]);
    let other = yard.bench.account("Other").await;
    let stranger = yard.bench.person(Some(&other), Role::Owner, "owner@other.com").await;
    let strange = yard.bench.good(&stranger, Method::POST, &format!("/accounts/{other}/repositories"), body("x")).await;
    for elsewhere in [second, id(&strange["repository"]), "0".repeat(32), "..".into(), "x".into()] {
        let thief = Thief { yard: &yard, token: token.clone(), root: format!("/storage/{elsewhere}") };
        for (method, path) in [("GET", "config"), ("PROPFIND", "index/"), ("PUT", "config"), ("DELETE", "config")] {
            let status = thief.send(method, path, Vec::new()).await.0;
            assert!(matches!(status.as_u16(), 404 | 409), "{method} {elsewhere}: {status}");
        }
    }
    // The token opens nothing else, and nobody else's opens this.
    for path in ["/me", "/accounts", &format!("/accounts/{}/sets", yard.account)] {
        assert_eq!(yard.bench.ask(&token, Method::GET, path, None).await.0, StatusCode::UNAUTHORIZED, "{path}");
    }
    for token in [yard.owner.as_str(), "tvc_guessed", ""] {
        let thief = Thief { yard: &yard, token: token.to_owned(), root: path.clone() };
        assert_eq!(thief.send("GET", "config", Vec::new()).await.0, StatusCode::UNAUTHORIZED);
    }
    ended_by_its_lease(&yard, &token, &handout).await;
    assert_eq!(thief.send("GET", "config", Vec::new()).await.0, StatusCode::CONFLICT, "the job is over");
}

/// Who has another lease moves nothing; with the right one the job ends, once.
async fn ended_by_its_lease(yard: &Yard, token: &str, handout: &Value) {
    let job = handout["job"].as_str().expect("a job");
    let facts = json!({"outcome": "failed", "error": "x".repeat(100_000), "snapshot": null, "totals": {
        "collections": 0, "items": 0, "items_added": 0, "items_changed": 0, "items_removed": 0, "gaps": 0, "bytes_read": 0,
        "bytes_new": 0, "bytes_stored": 0, "requests": 0, "throttled": 0}, "gaps": [], "protected": null});
    let word = |lease: &Value| json!({"lease": lease, "progress": {}});
    let ending = |lease: &Value| json!({"lease": lease, "facts": facts});
    let (progress, end) = (format!("/agent/jobs/{job}/progress"), format!("/agent/jobs/{job}/end"));
    let ask = |path: &str, body: Value| {
        let (bench, path) = (&yard.bench, path.to_owned());
        async move { bench.ask(token, Method::POST, &path, Some(body)).await.0 }
    };
    let (right, wrong) = (&handout["lease"], json!("0123456789abcdef"));
    assert_eq!(ask(&progress, word(&wrong)).await, StatusCode::NOT_FOUND);
    assert_eq!(ask(&end, ending(&wrong)).await, StatusCode::NOT_FOUND);
    assert_eq!(ask(&progress, word(right)).await, StatusCode::OK);
    assert_eq!(ask(&end, ending(right)).await, StatusCode::NO_CONTENT);
    assert_eq!(ask(&end, ending(right)).await, StatusCode::NOT_FOUND);
    let ended = yard.good(Method::GET, &format!("/jobs/{job}"), None).await;
    assert_eq!(ended["state"], "failed");
    assert!(ended["error"].as_str().expect("why").len() <= 4_000, "what a client says is cut");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_lead_nowhere_and_bodies_are_bounded() {
    let yard = Yard::new().await;
    let token = yard.stolen_token();
    yard.ask().await;
    let handout = take(&yard, &token).await;
    let root = handout["repository"]["path"].as_str().expect("a path").to_owned();
    let thief = Thief { yard: &yard, token: token.clone(), root: root.clone() };
    let before = yard.files();
    let hash = "ab".repeat(32);
    for path in [
        "../../../master.key",
        "..%2f..%2f..%2fmaster.key",
        "%2e%2e/%2e%2e/master.key",
        "packs/../../../../master.key",
        "packs/ab/../../config",
        "//etc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "keys/%00",
        "con%66ig",
        "config%00",
        "CONFIG",
        "tmp/x",
        &format!("packs%2fab%2f{hash}"),
        &format!("packs/ab\\{hash}"),
        &format!("index/{hash}/../../config"),
        &format!("index/{}", "a".repeat(6_000)),
        &"packs/".repeat(1_000),
    ] {
        for method in ["GET", "PUT", "PROPFIND", "DELETE"] {
            let status = thief.raw(method, &format!("{root}/{path}")).await;
            assert!(matches!(status.as_str(), "400" | "404" | "409" | "414" | "431"), "{method} {path}: {status}");
        }
    }
    assert_eq!(yard.files(), before);
    // A body longer than any file, told so before it comes; one whose length is not told.
    let address = yard.bench.running.address().expect("it listens");
    for (head, expected) in [("Content-Length: 99999999999\r\n", "413"), ("Transfer-Encoding: chunked\r\n", "411")] {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        let head = format!(
            "PUT {root}/packs/ab/{hash} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{head}Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer[9..]), expected);
    }
    // One that breaks off, or trickles, leaves nothing, and ends in bounded time.
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let head = format!(
        "PUT {root}/packs/ab/{hash} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\nTVLT"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    let read = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_exact(&mut answer)).await;
    read.expect("in time").expect("an answer");
    assert_eq!(String::from_utf8_lossy(&answer[9..]), "408");
    assert_eq!(yard.files(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_no_end_of_a_request_is_let_go() {
    let bench = Bench::quiet().await;
    let address = bench.running.address().expect("it listens");
    let second = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\nX-Slow: ";
    for head in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", second] {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(std::time::Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the connection is still open after {head:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_limit_no_pack_is_added_and_what_is_there_stays_readable() {
    let yard = Yard::new().await;
    yard.back_up(true).await;
    let admin = yard.bench.person(None, Role::Administrator, "admin@example.com").await;
    let token = yard.stolen_token();
    yard.ask().await;
    let handout = take(&yard, &token).await;
    let root = handout["repository"]["path"].as_str().expect("a path").to_owned();
    let thief = Thief { yard: &yard, token: token.clone(), root };
    let repo = opened(&yard, &token, &handout).await;
    let try_to_add = async |what: &str| {
        let writer = Writer::new(repo.clone(), WriterOptions::default());
        writer.put_blob(BlobKind::Content, Bytes::from(what.to_owned())).await.expect("taken");
        writer.finish().await.map(|_| ()).map_err(|e| e.kind())
    };
    try_to_add("within").await.expect("no limit");
    let path = format!("/clients/{}", yard.client);
    let limit = |most: Option<u32>| Some(json!({"name": "backup-pc", "most_bytes": most}));
    yard.good(Method::PUT, &path, limit(Some(100))).await;
    assert_eq!(try_to_add("over the client's").await, Err(ErrorKind::StorageFull));
    // What came in since the client gave word last counts too.
    let row = yard.bench.server().db.repositories(&yard.account).await.expect("read").remove(0);
    let nearly = u32::try_from(row.stored_bytes).expect("little") + 2_000;
    yard.good(Method::PUT, &path, limit(Some(nearly))).await;
    let mut tries = 0..100;
    while try_to_add(&format!("a little {}", tries.next().expect("an end of it"))).await.is_ok() {}
    assert_eq!(thief.send("GET", "config", Vec::new()).await.0, StatusCode::OK);
    yard.good(Method::PUT, &path, limit(None)).await;
    let account = |bytes: Option<u32>| Some(json!({"name": "Contoso", "limits": {"bytes": bytes}}));
    yard.bench.good(&admin, Method::PUT, &format!("/accounts/{}", yard.account), account(Some(100))).await;
    try_to_add("over the account's").await.expect("it blocks what is added, and no run");
    yard.bench.good(&admin, Method::PUT, &format!("/accounts/{}", yard.account), account(None)).await;
    try_to_add("within again").await.expect("no limit");
    let answer = yard
        .bench
        .client
        .get(yard.bench.url(&format!("{}/config", thief.root)))
        .bearer_auth(&token)
        .header(header::RANGE, "bytes=0-3")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(answer.bytes().await.expect("bytes").as_ref(), b"TVLT");
    drop(yard.sim);
}
