//! What one account or person does, and others are not to feel: storages that hang, dear keys, wrong keys, much that is open.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::{Bench, PASSWORD, id};
use crate::crypto::{KdfParams, KeyRight, Passphrase, hash_buffers};
use crate::error::ErrorKind;
use crate::format::id::KeyId;
use crate::format::slot;
use crate::repo::Repository;
use crate::server::auth::Role;
use crate::server::db::{NewDestination, NewRepository, RepositoryRow};
use crate::server::id::Id;
use crate::storage::{StorageOptions, open as open_storage};

/// Longer than anything here takes that waits for nobody.
const SOON: Duration = Duration::from_secs(30);
/// Long enough to see that something waits.
const A_WHILE: Duration = Duration::from_millis(700);

/// An account with an owner and a repository, its key chosen.
struct Yard {
    account: Id,
    token: String,
    repository: String,
    key: String,
}

impl Yard {
    async fn new(bench: &Bench, name: &str) -> Self {
        let account = bench.account(name).await;
        let token = bench.person(Some(&account), Role::Owner, &format!("owner@{name}.example")).await;
        let (repository, key) = made(bench, &token, &account, "Main").await;
        Self { account, token, repository, key }
    }

    fn path(&self, rest: &str) -> String {
        format!("/accounts/{}/repositories/{}{rest}", self.account, self.repository)
    }

    /// Unlocks the repository; gives the status and the problem, if there is one.
    async fn unlock(&self, bench: &Bench, token: &str, key: &str) -> (StatusCode, String) {
        let (status, answer) = bench.ask(token, Method::POST, &self.path("/unlock"), Some(json!({"key": key}))).await;
        (status, answer.to_string())
    }

    async fn may_look(&self, bench: &Bench, token: &str) -> bool {
        bench.ask(token, Method::GET, &self.path("/contents?path="), None).await.0 == StatusCode::OK
    }
}

/// Makes a repository; gives its id and its key.
async fn made(bench: &Bench, token: &str, account: &Id, name: &str) -> (String, String) {
    let wanted = json!({"name": name, "destination": {"name": "here", "url": "server:"}});
    let made = bench.good(token, Method::POST, &format!("/accounts/{account}/repositories"), Some(wanted)).await;
    (id(&made["repository"]), made["key"].as_str().expect("a key").to_owned())
}

/// A repository at an address that takes connections and answers nothing.
pub(super) async fn silent(bench: &Bench, account: &Id) -> RepositoryRow {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("webdav+http://{}/x", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let (server, key) = (bench.server(), Passphrase::generate());
    let new = NewRepository {
        id: Id::random(),
        name: "Silent",
        repository: "0".repeat(32),
        write_key: key.expose_text(),
        own_slot: "",
        destination: NewDestination { name: "there", url: &url, credentials: None },
    };
    server.db.add_repository(&server.vault, account, &new, server.now_us()).await.expect("noted")
}

async fn waits<T>(task: &JoinHandle<T>) -> bool {
    sleep(A_WHILE).await;
    !task.is_finished()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_does_not_answer_holds_up_no_other_repository() {
    let bench = Bench::quiet().await;
    let (one, other) = (Yard::new(&bench, "one").await, Yard::new(&bench, "other").await);
    let dead = silent(&bench, &one.account).await;
    let server = bench.server().clone();
    let hung = tokio::spawn(async move { server.stores.open(&server, &dead).await.map(drop) });
    assert!(waits(&hung).await);
    // Of another account, and of the same one.
    for yard in [&other, &one] {
        let path = yard.path("/keys");
        let keys = bench.good(&yard.token, Method::GET, &path, None);
        timeout(Duration::from_secs(10), keys).await.expect("it waits for nobody");
    }
    // A page of both says which one does not answer, and shows the other.
    let cookie = bench.sign_in("owner@one.example", PASSWORD).await.expect("signed in");
    let path = format!("/a/{}/keys", one.account);
    let page = timeout(Duration::from_secs(11), bench.page(&cookie, &path)).await;
    let (status, page) = page.expect("a page waits less long than one who opens");
    assert!(status.is_success() && page.contains("does not answer") && page.contains("this server"), "{page}");
    let ended = timeout(SOON, hung).await.expect("it is not tried for ever").expect("no panic");
    assert_eq!(ended.expect_err("it never answers").kind(), ErrorKind::Unavailable);
}

/// It would wait with all that it can have in hand.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_has_a_place_for_others_while_an_account_waits_for_its_storage() {
    let bench = Bench::with(|options| options.jobs_at_once = 2, None).await;
    let (one, other) = (Yard::new(&bench, "one").await, Yard::new(&bench, "other").await);
    let dead = silent(&bench, &one.account).await;
    let ask = async |yard: &Yard, repository: &str, kind: &str| {
        let path = format!("/accounts/{}/repositories/{repository}/upkeep", yard.account);
        bench.good(&yard.token, Method::POST, &path, Some(json!({"kind": kind}))).await["job"].clone()
    };
    for kind in ["check", "prune"] {
        ask(&one, dead.id.as_str(), kind).await;
    }
    // Until it has taken what it takes.
    sleep(3 * A_WHILE).await;
    let job = ask(&other, &other.repository, "check").await;
    let ended = bench.ended(&other.token, &other.account, job.as_str().expect("a job"));
    let ended = timeout(Duration::from_secs(9), ended).await.expect("there is a place for it");
    assert_eq!(ended["state"], "done", "{ended}");
    bench.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_asks_for_much_memory_opens_nothing_here_and_opens_elsewhere() {
    let bench = Bench::quiet().await;
    let yard = Yard::new(&bench, "one").await;
    let folder = bench.server().storage_folder(&yard.account).join(&yard.repository);
    let (key, dear) = (Passphrase::new(&yard.key).expect("a key"), Passphrase::new("a dear passphrase").expect("one"));
    let mut found = None;
    for file in std::fs::read_dir(folder.join("keys")).expect("slots") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("read");
        found = found.or(slot::open_slot("x", &bytes, &key).ok());
    }
    let (facts, secrets) = found.expect("the owner's slot");
    let cost = KdfParams { memory_kib: 160 * 1024, passes: 1, lanes: 1 };
    let bytes = slot::seal_slot_at(cost, facts.repo, &secrets, "dear", 1, &dear).expect("sealed");
    let name = KeyId(hash_buffers([&bytes[..]]));
    std::fs::write(folder.join("keys").join(name.to_string()), bytes).expect("written");

    let storage = open_storage(folder.to_str().expect("UTF-8"), &StorageOptions::default()).expect("a folder");
    let opened = Repository::open(storage, &dear, None).await.expect("whoever opens their own may spend it");
    assert_eq!(opened.right(), KeyRight::Owner);
    let (status, problem) = yard.unlock(&bench, &yard.token, "a dear passphrase").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    let (status, problem) = yard.unlock(&bench, &yard.token, &yard.key).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "it keeps nobody else out: {problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_account_are_derived_one_at_a_time_and_two_in_all() {
    let bench = Arc::new(Bench::quiet().await);
    let mut yards = Vec::new();
    for name in ["one", "other"] {
        yards.push(Arc::new(Yard::new(&bench, name).await));
    }
    let unlock = |which: usize| {
        let (bench, yard) = (bench.clone(), yards[which].clone());
        tokio::spawn(async move { yard.unlock(&bench, &yard.token, &yard.key).await.0 })
    };
    let [own, all] = bench.server().derivations.gates(&yards[0].account);
    assert_eq!((own.available_permits(), all.available_permits()), (1, 2));
    let turn = own.acquire().await.expect("open");
    let waiting = unlock(0);
    assert!(waits(&waiting).await, "another one of its account is at it");
    let done = timeout(SOON, unlock(1)).await.expect("another account waits for nobody").expect("no panic");
    assert_eq!(done, StatusCode::NO_CONTENT);
    drop(turn);
    assert_eq!(timeout(SOON, waiting).await.expect("its turn").expect("no panic"), StatusCode::NO_CONTENT);
    let turns = all.acquire_many(2).await.expect("open");
    let waiting = unlock(1);
    assert!(waits(&waiting).await, "two are at it");
    drop(turns);
    assert_eq!(timeout(SOON, waiting).await.expect("its turn").expect("no panic"), StatusCode::NO_CONTENT);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_many_wrong_keys_must_wait_and_nobody_else() {
    let bench = Bench::quiet().await;
    let yard = Yard::new(&bench, "one").await;
    let restorer = bench.person(Some(&yard.account), Role::Restore, "restorer@one.example").await;
    let second = bench.person(Some(&yard.account), Role::Owner, "second@one.example").await;
    let mut told = Vec::new();
    for _ in 0..13 {
        told.push(yard.unlock(&bench, &restorer, Passphrase::generate().expose_text()).await.0);
    }
    assert_eq!(told[..11], [StatusCode::FORBIDDEN; 11]);
    assert_eq!(told[11..], [StatusCode::SERVICE_UNAVAILABLE; 2]);
    let (status, problem) = yard.unlock(&bench, &restorer, &yard.key).await;
    assert!(status == StatusCode::SERVICE_UNAVAILABLE && problem.contains("Try again in"), "{status}: {problem}");
    assert_eq!(yard.unlock(&bench, &yard.token, &yard.key).await.0, StatusCode::NO_CONTENT);

    // Sent at once they are looked at one after the other; keys that are changed by a key count too.
    let attempts = (0..40).map(|number| {
        let (bench, yard, token) = (&bench, &yard, &second);
        async move {
            let wrong = "x".repeat(44);
            if number % 2 == 0 {
                return yard.unlock(bench, token, &wrong).await.0;
            }
            let wanted = json!({"key": wrong, "label": "x"});
            bench.ask(token, Method::POST, &yard.path("/keys"), Some(wanted)).await.0
        }
    });
    let told = futures::future::join_all(attempts).await;
    assert_eq!(told.iter().filter(|status| **status == StatusCode::FORBIDDEN).count(), 11, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_open_locks_nothing_and_memory_stays_bounded() {
    let bench = Bench::quiet().await;
    let mut yards = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        let yard = Yard::new(&bench, name).await;
        assert_eq!(yard.unlock(&bench, &yard.token, &yard.key).await.0, StatusCode::NO_CONTENT);
        yards.push(yard);
    }
    // More than are held in memory: those let go are opened again, and nobody is asked.
    assert_eq!(bench.server().unlocked.many_held(), 4);
    for yard in &yards {
        assert!(yard.may_look(&bench, &yard.token).await, "{}", yard.account);
        assert!(bench.server().unlocked.many_held() <= 4);
    }
    // One with many tokens has one repository in memory, and locks nobody out but itself.
    let (db, vault, now) = (&bench.server().db, &bench.server().vault, bench.server().now_us());
    let person = db.person_by_login("owner@a.example").await.expect("read").expect("there").id;
    let mut tokens = Vec::new();
    for number in 0..20 {
        let token = db.add_token(vault, &person, &format!("token {number}"), None, now).await.expect("a token");
        assert_eq!(yards[0].unlock(&bench, &token.token, &yards[0].key).await.0, StatusCode::NO_CONTENT);
        tokens.push(token);
    }
    for yard in &yards[1..] {
        assert!(yard.may_look(&bench, &yard.token).await, "{}", yard.account);
    }
    assert!(!yards[0].may_look(&bench, &tokens[0].token).await, "the oldest of its own is locked");
    assert!(yards[0].may_look(&bench, &tokens[19].token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_open_goes_with_its_session_token_or_person() {
    let bench = Bench::quiet().await;
    // Without one nobody is removed.
    bench.person(None, Role::Administrator, "boss").await;
    let yard = Yard::new(&bench, "one").await;
    let (db, vault, now) = (&bench.server().db, &bench.server().vault, bench.server().now_us());
    let held = || bench.server().unlocked.many_held();
    let person = db.person_by_login("owner@one.example").await.expect("read").expect("there").id;

    let token = db.add_token(vault, &person, "short", None, now).await.expect("a token");
    assert_eq!(yard.unlock(&bench, &token.token, &yard.key).await.0, StatusCode::NO_CONTENT);
    assert_eq!(yard.unlock(&bench, &yard.token, &yard.key).await.0, StatusCode::NO_CONTENT);
    assert_eq!(held(), 1, "both look into one");
    bench.good(&token.token, Method::DELETE, &format!("/me/tokens/{}", token.id), None).await;
    assert!(held() == 1 && yard.may_look(&bench, &yard.token).await);
    bench.good(&yard.token, Method::DELETE, &yard.path("/unlock"), None).await;
    assert_eq!(held(), 0);

    let body = format!("key={}", url::form_urlencoded::byte_serialize(yard.key.as_bytes()).collect::<String>());
    let unlock = format!("/a/{}/look/{}/unlock", yard.account, yard.repository);
    let cookie = bench.sign_in("owner@one.example", PASSWORD).await.expect("signed in");
    assert_eq!(bench.send_form(&unlock, Some(&cookie), body.clone()).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(held(), 1);
    let sessions = db.sessions(&person, now).await.expect("read");
    bench.good(&yard.token, Method::DELETE, &format!("/me/sessions/{}", sessions[0].id), None).await;
    assert_eq!(held(), 0);

    let cookie = bench.sign_in("owner@one.example", PASSWORD).await.expect("signed in");
    bench.send_form(&unlock, Some(&cookie), body.clone()).await;
    let changed = "old=three+plain+words&password=four+other+plain+words".to_owned();
    assert_eq!(bench.send_form("/me/password", Some(&cookie), changed).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(held(), 0);

    let restorer = bench.person(Some(&yard.account), Role::Restore, "restorer@one.example").await;
    assert_eq!(yard.unlock(&bench, &restorer, &yard.key).await.0, StatusCode::NO_CONTENT);
    let gone = db.person_by_login("restorer@one.example").await.expect("read").expect("there").id;
    bench.good(&yard.token, Method::DELETE, &format!("/accounts/{}/people/{gone}", yard.account), None).await;
    assert_eq!(held(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_that_waits_already_is_not_queued_again_and_is_noted() {
    let bench = Bench::quiet().await;
    let (one, other) = (Yard::new(&bench, "one").await, Yard::new(&bench, "other").await);
    let ask = async |yard: &Yard, kind: &str| {
        let asked = bench.good(&yard.token, Method::POST, &yard.path("/upkeep"), Some(json!({"kind": kind}))).await;
        asked["job"].as_str().expect("a job").to_owned()
    };
    let first = ask(&one, "prune").await;
    for _ in 0..3 {
        assert_eq!(ask(&one, "prune").await, first);
    }
    let (check, others) = (ask(&one, "check").await, ask(&other, "prune").await);
    assert!(check != first && others != first);
    // A check of every byte is another one, and nothing else is of every byte.
    let every = |kind: &str| Some(json!({"kind": kind, "read_data": true}));
    let whole = bench.good(&one.token, Method::POST, &one.path("/upkeep"), every("check")).await["job"].clone();
    assert_ne!(whole, json!(check));
    assert_eq!(ask(&one, "check").await, check);
    let (status, _) = bench.ask(&one.token, Method::POST, &one.path("/upkeep"), every("prune")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    // One that runs has begun with what was there: another one follows it.
    let now = bench.server().now_us();
    let taken = bench.server().db.take_job("one", None, super::PLENTY, 1_000_000, now).await.expect("asked");
    assert_eq!(taken.expect("a job").id.as_str(), first);
    assert_ne!(ask(&one, "prune").await, first);
    let log = bench.good(&one.token, Method::GET, &format!("/accounts/{}/audit", one.account), None).await.to_string();
    assert!(log.contains("repository.upkeep") && log.contains(&check), "{log}");
}
