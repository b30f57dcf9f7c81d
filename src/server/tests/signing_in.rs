//! One user's own account: signing in by each way to a finished run, and going on with it. What attackers try: `signing_in_attacks`.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{Bench, PASSWORD, id};
use crate::monitor::Silent;
use crate::server::auth::Role;
use crate::server::connect;
use crate::server::id::Id;
use crate::server::notices;
use crate::server::run::start_at;
use crate::sim::{SimHandle, SimOptions, SimTenant};

pub(super) const ALICE: &str = "alice@contoso.com";
pub(super) const MINUTE_US: i64 = 60_000_000;

/// A server with an account, somebody signed in to it, and a tenant at Microsoft.
pub(super) struct Yard {
    pub(super) bench: Bench,
    pub(super) sim: SimHandle,
    pub(super) account: Id,
    pub(super) owner: String,
    pub(super) cookie: String,
    pub(super) ahead: Arc<AtomicI64>,
}

pub(super) fn options() -> SimOptions {
    let redirects = vec!["http://127.0.0.1/sign-ins/callback".to_owned()];
    SimOptions { device_interval: 0, remembers: true, redirects, ..SimOptions::tiny() }
}

impl Yard {
    async fn new() -> Self {
        Self::with(options(), crate::server::ProcessRole::All).await
    }

    pub(super) async fn quiet() -> Self {
        Self::with(options(), crate::server::ProcessRole::Web).await
    }

    pub(super) async fn with(sim: SimOptions, role: crate::server::ProcessRole) -> Self {
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = {
            let ahead = ahead.clone();
            Arc::new(move || jiff::Timestamp::now().as_microsecond() + ahead.load(Ordering::Relaxed))
        };
        let bench = Bench::with(|options| options.role = role, Some(clock)).await;
        let account = bench.account("Contoso").await;
        let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
        let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
        let sim = SimTenant::start(sim).await.expect("a tenant");
        Self { bench, sim, account, owner, cookie, ahead }
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("/accounts/{}/{path}", self.account)
    }

    pub(super) async fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        self.bench.good(&self.owner, method, &self.at(path), body).await
    }

    pub(super) fn definition(&self, more: Value) -> Value {
        let mut all = json!({
            "tenant_id": self.sim.tenant_id(), "client_id": self.sim.client_id(), "sign_in": "user",
            "graph_url": self.sim.graph_url(), "login_url": self.sim.login_url(), "parts": ["mail", "onedrive"],
        });
        for (name, value) in more.as_object().expect("an object") {
            all[name] = value.clone();
        }
        all
    }

    /// Connects Alice's account; nobody has signed in yet.
    pub(super) async fn connect(&self, name: &str, more: Value) -> String {
        let wanted = json!({"name": name, "definition": self.definition(more)});
        id(&self.good(Method::POST, "tenants", Some(wanted)).await)
    }

    pub(super) async fn tenant(&self, tenant: &str) -> Value {
        self.good(Method::GET, &format!("tenants/{tenant}"), None).await
    }

    /// Sends a form; gives where it leads.
    pub(super) async fn form(&self, path: &str, body: &str) -> String {
        let answer =
            self.bench.send_form(&format!("/a/{}/{path}", self.account), Some(&self.cookie), body.into()).await;
        let (status, to) = (answer.status(), answer.headers().get(header::LOCATION).cloned());
        assert_eq!(status, StatusCode::SEE_OTHER, "{path}: {}", answer.text().await.expect("text"));
        to.expect("an address").to_str().expect("text").to_owned()
    }

    /// Begins a sign-in on the pages; gives its page, and where at Microsoft it goes on.
    pub(super) async fn begin(&self, tenant: &str, way: &str) -> (String, String) {
        let page = self.form(&format!("tenants/{tenant}/sign-ins"), &format!("way={way}")).await;
        let (status, text) = self.bench.page(&self.cookie, &page).await;
        assert!(status.is_success(), "{text}");
        (page, microsoft(&self.sim, &text))
    }

    /// Comes back as a browser with a cookie.
    pub(super) async fn come(&self, cookie: &str, back: &str) -> reqwest::Response {
        let request = self.bench.client.get(back).header(header::COOKIE, cookie);
        request.send().await.expect("an answer")
    }

    /// Signs in by redirect, to the end.
    pub(super) async fn sign_in(&self, tenant: &str) {
        let (page, address) = self.begin(tenant, "redirect").await;
        let back = browse(&address, ALICE, "").await;
        let answer = self.come(&self.cookie, &back).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{}", answer.text().await.expect("text"));
        assert_eq!(answer.headers()[header::LOCATION], page.as_str(), "no code stays in an address");
        let (_, text) = self.bench.page(&self.cookie, &page).await;
        assert!(text.contains("alice@contoso.com is signed in"), "{text}");
    }

    /// A repository and a set over the tenant's mail and files; gives their ids, and the key.
    async fn set_over(&self, tenant: &str) -> (String, String, String) {
        self.set_of(tenant, &["mail", "onedrive"]).await
    }

    async fn set_of(&self, tenant: &str, parts: &[&str]) -> (String, String, String) {
        let name = format!("of-{}", &tenant[..8]);
        let wanted = json!({"name": name, "destination": {"name": name, "url": "server:"}});
        let made = self.good(Method::POST, "repositories", Some(wanted)).await;
        let (repository, key) = (id(&made["repository"]), made["key"].as_str().expect("a key").to_owned());
        let proof = json!({"key": key, "last_four": &key[key.len() - 4..]});
        self.good(Method::POST, &format!("repositories/{repository}/confirmation"), Some(proof)).await;
        let choices = json!({"workloads": parts});
        let wanted = json!({"name": name, "tenant": tenant, "repository": repository, "choices": choices});
        let set = id(&self.good(Method::POST, "sets", Some(wanted)).await);
        (repository, set, key)
    }

    /// A set over the tenant, run to its end; gives the job, and whose data is covered.
    async fn back_up(&self, tenant: &str) -> (Value, Vec<String>) {
        let (repository, set, _) = self.set_over(tenant).await;
        let job = self.run(&set).await;
        let path = format!("repositories/{repository}/snapshots");
        let snapshots = self.good(Method::GET, &path, None).await;
        let Some(snapshot) = snapshots["items"].get(0).map(id) else { return (job, Vec::new()) };
        let covered = self.good(Method::GET, &format!("{path}/{snapshot}/coverage"), None).await;
        let items = covered["items"].as_array().expect("a list").iter();
        let read = items.filter(|item| item["state"] == "protected" || item["items"].as_u64() > Some(0));
        let mut names: Vec<String> = read.filter_map(|item| item["name"].as_str().map(str::to_owned)).collect();
        names.sort();
        names.dedup();
        (job, names)
    }

    async fn run(&self, set: &str) -> Value {
        let asked = self.good(Method::POST, &format!("sets/{set}/runs"), None).await;
        self.bench.ended(&self.owner, &self.account, asked["job"].as_str().expect("a job")).await
    }

    async fn is_backed_up(&self, tenant: &str) {
        let (job, names) = self.back_up(tenant).await;
        assert!(matches!(job["state"].as_str(), Some("done" | "gaps")), "{job}");
        assert!(job["outcome"]["totals"]["items"].as_u64().expect("a count") > 10, "{job}");
        assert_eq!(names, [ALICE], "the account of who signed in, and no other");
    }

    /// All that the server shows of an account, and has on its disk.
    async fn shown(&self, tenant: &str) -> String {
        let mut shown = String::new();
        for path in ["", "/tenants", &format!("/tenants/{tenant}"), "/activity"] {
            shown += &self.bench.page(&self.cookie, &format!("/a/{}{path}", self.account)).await.1;
        }
        for path in ["tenants", &format!("tenants/{tenant}"), "audit", "jobs", "sets"] {
            shown += &self.good(Method::GET, path, None).await.to_string();
        }
        for file in ["server/server.db", "server/server.db-wal"] {
            if let Ok(bytes) = std::fs::read(self.bench.folder.path().join(file)) {
                shown += &String::from_utf8_lossy(&bytes);
            }
        }
        shown
    }
}

/// The link to Microsoft on a page.
pub(super) fn microsoft(sim: &SimHandle, page: &str) -> String {
    let begin = format!("href=\"{}/", sim.login_url());
    let Some((_, rest)) = page.split_once(&begin) else { return String::new() };
    let path = rest.split('"').next().expect("an end").replace("&amp;", "&");
    format!("{}/{path}", sim.login_url())
}

/// Where Microsoft leads a browser back to, when a user signs in, or `more`.
pub(super) async fn browse(address: &str, user: &str, more: &str) -> String {
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let answer = http.get(format!("{address}&sim_user={user}{more}")).send().await.expect("an answer");
    let (status, to) = (answer.status(), answer.headers().get(header::LOCATION).cloned());
    assert_eq!(status.as_u16(), 302, "{}", answer.text().await.expect("text"));
    to.expect("an address").to_str().expect("text").to_owned()
}

pub(super) fn with_state(back: &str, change: impl Fn(&str) -> String) -> String {
    let mut url = url::Url::parse(back).expect("an address");
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    url.query_pairs_mut().clear().extend_pairs(
        pairs.iter().map(|(name, value)| (name.clone(), if name == "state" { change(value) } else { value.clone() })),
    );
    url.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_by_redirect_and_a_set_protects_that_account_alone() {
    let yard = Yard::new().await;
    let body = format!(
        "name=Alice&client_id={}&tenant_id={}&kind=work&part=mail&part=onedrive&way=redirect&cloud=global&address={}",
        yard.sim.client_id(),
        yard.sim.tenant_id(),
        yard.sim.login_url()
    );
    let page = yard.form("tenants/of-user", &body).await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    assert!(text.contains(&yard.bench.url("/sign-ins/callback")), "the address to be registered: {text}");
    let address = microsoft(&yard.sim, &text);
    assert!(address.contains("code_challenge_method=S256") && !address.contains("login_hint"), "{address}");
    let back = browse(&address, ALICE, "").await;
    let answer = yard.come(&yard.cookie, &back).await;
    assert_eq!(answer.headers()[header::LOCATION], page.as_str());
    let tenants = yard.good(Method::GET, "tenants", None).await;
    let tenant = id(&tenants["items"][0]);
    let found = yard.tenant(&tenant).await;
    assert_eq!((&found["user"]["name"], &found["state"]["missing"]), (&json!(ALICE), &json!(0)), "{found}");
    yard.is_backed_up(&tenant).await;
    // There is nobody else to choose.
    let users = yard.good(Method::GET, &format!("tenants/{tenant}/contents?kind=users"), None).await;
    assert_eq!((&users["all"], &users["items"][0]["rule"]), (&json!(1), &json!(ALICE)), "{users}");
    let (_, text) = yard.bench.page(&yard.cookie, &format!("/a/{}/tenants/{tenant}", yard.account)).await;
    assert!(text.contains("The account of") && text.contains(ALICE), "{text}");

    // None of what Microsoft gave out stands anywhere; who connected what does.
    let shown = yard.shown(&tenant).await;
    let given = yard.sim.given_out();
    assert!(given.len() > 3);
    for secret in given {
        assert!(!shown.contains(&secret), "{secret}");
    }
    assert!(shown.contains("tenant.sign-in") && shown.contains("owner@contoso.com"));
    assert_eq!(yard.sim.stats().token_leaks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_signs_in_by_device_code_or_is_told_why_not() {
    let yard = Yard::new().await;
    let tenant = yard.connect("Alice", json!({})).await;
    let begin = || async {
        let path = format!("tenants/{tenant}/sign-ins");
        yard.good(Method::POST, &path, Some(json!({"way": "device-code"}))).await
    };
    let look = |begun: &Value| {
        let path = format!("sign-ins/{}", id(begun));
        let yard = &yard;
        async move { yard.good(Method::GET, &path, None).await }
    };
    let begun = begin().await;
    let code = begun["user_code"].as_str().expect("a code").to_owned();
    assert!(begun["address"].as_str().expect("an address").ends_with("/devicelogin"), "{begun}");
    assert_eq!(look(&begun).await["state"], "open");
    assert!(yard.sim.answer_device(&code, ALICE, false));
    let declined = look(&begun).await;
    assert_eq!(declined["state"], "failed", "{declined}");
    assert!(declined["error"].as_str().expect("why").contains("declined"), "{declined}");

    let begun = begin().await;
    yard.sim.pass_time(Duration::from_secs(901));
    let expired = look(&begun).await;
    assert!(expired["error"].as_str().expect("why").contains("expired"), "{expired}");

    let begun = begin().await;
    yard.ahead.fetch_add(31 * MINUTE_US, Ordering::Relaxed);
    let late = look(&begun).await;
    assert_eq!((&late["state"], &late["user_code"]), (&json!("failed"), &json!(null)), "{late}");

    let begun = begin().await;
    assert!(yard.sim.answer_device(begun["user_code"].as_str().expect("a code"), ALICE, true));
    let done = look(&begun).await;
    assert_eq!((&done["state"], &done["user"]), (&json!("done"), &json!(ALICE)), "{done}");
    yard.is_backed_up(&tenant).await;

    // The page shows the code, and works without a script.
    let (page, _) = yard.begin(&tenant, "device-code").await;
    let (_, text) = yard.bench.page(&yard.cookie, &page).await;
    assert!(yard.sim.waiting_codes().iter().any(|code| text.contains(code.as_str())), "{text}");
    assert!(text.contains("look now") && !text.contains("http-equiv"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_personal_account_is_signed_in_to_by_pasting_and_is_a_set_of_one() {
    let yard = Yard::new().await;
    let tenant = yard.connect("Alice at home", json!({"tenant_id": "consumers", "parts": []})).await;
    let (page, address) = yard.begin(&tenant, "paste").await;
    assert!(address.contains("nativeclient") && address.contains("/consumers/"), "{address}");
    let paste = |text: &str| {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("code", text).finish();
        let (yard, path) = (&yard, format!("{page}/code"));
        async move { yard.bench.send_form(&path, Some(&yard.cookie), body).await.status() }
    };
    let back = browse(&address, ALICE, "").await;
    for wrong in ["nothing", "https://example.com/", &with_state(&back, |state| format!("{state}x"))] {
        assert_eq!(paste(wrong).await, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    assert_eq!(paste(&"x".repeat(20_000)).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(paste(&back).await, StatusCode::SEE_OTHER);
    assert!(yard.bench.page(&yard.cookie, &page).await.1.contains("is signed in"));
    assert_eq!(paste(&back).await, StatusCode::FORBIDDEN, "once");
    yard.is_backed_up(&tenant).await;
    assert!(!yard.sim.stats().routes.contains_key("GET /users"));

    // The same by the API: the code alone does too.
    let begun = json!({"way": "paste"});
    let begun = yard.good(Method::POST, &format!("tenants/{tenant}/sign-ins"), Some(begun)).await;
    let back = browse(begun["address"].as_str().expect("an address"), ALICE, "").await;
    let url = url::Url::parse(&back).expect("an address");
    let code = url.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    let path = format!("sign-ins/{}/code", id(&begun));
    let done = yard.good(Method::POST, &path, Some(json!({"code": code}))).await;
    assert_eq!((&done["state"], &done["user"]), (&json!("done"), &json!(ALICE)), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_user_let_be_written_is_restored_as_the_user() {
    let yard = Yard::new().await;
    let parts = ["mail", "onedrive", "tasks"];
    let tenant = yard.connect("Alice", json!({"may_restore": true, "parts": parts})).await;
    yard.sign_in(&tenant).await;
    let found = yard.tenant(&tenant).await;
    let restore = found["state"]["restore"].as_array().expect("a list");
    assert!(restore.iter().any(|p| p["name"] == "Mail.ReadWrite" && p["state"] == "granted"), "{found}");
    let (repository, set, key) = yard.set_of(&tenant, &parts).await;
    let job = yard.run(&set).await;
    assert!(matches!(job["state"].as_str(), Some("done" | "gaps")), "{job}");
    yard.good(Method::POST, &format!("repositories/{repository}/unlock"), Some(json!({"key": key}))).await;
    // Of files and tasks a user's permissions have other names than an app's.
    for (place, most) in [("Mail/Inbox", "done"), ("OneDrive", "gaps"), ("Tasks", "gaps")] {
        let wanted = json!({"snapshot": "latest", "paths": [format!("users/alice@contoso.com/{place}")]});
        let asked = yard.good(Method::POST, &format!("repositories/{repository}/restores"), Some(wanted)).await;
        let planned = yard.bench.ended(&yard.owner, &yard.account, asked["plan_job"].as_str().expect("a job")).await;
        assert_eq!(planned["state"], "done", "{place}: {planned}");
        let run = yard.good(Method::POST, &format!("restores/{}/run", id(&asked)), None).await;
        let done = yard.bench.ended(&yard.owner, &yard.account, run["job"].as_str().expect("a job")).await;
        assert!(done["state"] == "done" || done["state"] == most, "{place}: {done}");
    }
    assert!(!yard.sim.stats().routes.contains_key("GET /users"));
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_at_once_and_after_a_restart_go_on_with_the_newest_token() {
    let yard = Yard::quiet().await;
    let tenant = yard.connect("Alice", json!({})).await;
    yard.sign_in(&tenant).await;
    let tenant = Id::parse(&tenant).expect("an id");
    // A refresh token is good once here: whoever took an old one would be refused.
    let ask = |server: Arc<crate::server::state::Server>| {
        let (account, tenant) = (yard.account.clone(), tenant.clone());
        async move {
            let tenant = server.db.tenant(&account, &tenant).await.expect("there");
            let client = connect::client(&server, &tenant, None, Arc::new(Silent)).expect("a client");
            client.me().await.expect("signed in").expect("a user").name
        }
    };
    let other = crate::server::state::Server::open(yard.bench.server().options.clone(), None).await.expect("opened");
    let mut all = Vec::new();
    for number in 0..8 {
        let server = if number % 2 == 0 { yard.bench.server().clone() } else { other.clone() };
        all.push(tokio::spawn(ask(server)));
    }
    for asked in all {
        assert_eq!(asked.await.expect("it ends"), ALICE);
    }
    other.db.close().await;
    let options = yard.bench.server().options.clone();
    let (account, tenant) = (yard.account.clone(), tenant.clone());
    yard.bench.running.stop().await;
    let again = start_at(options, None).await.expect("started");
    let found = again.server().db.tenant(&account, &tenant).await.expect("there");
    let client = connect::client(again.server(), &found, None, Arc::new(Silent)).expect("a client");
    assert_eq!(client.me().await.expect("signed in").expect("a user").name, ALICE);
    assert!(found.refused.is_none());
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_died_renewing_holds_nobody_up_for_long_and_writes_no_more() {
    let yard = Yard::quiet().await;
    let tenant = Id::parse(&yard.connect("Alice", json!({})).await).expect("an id");
    let (db, now) = (&yard.bench.server().db, yard.bench.server().now_us());
    assert!(db.hold_sign_in(&tenant, "first", now + 30 * 1_000_000, now).await.expect("asked"));
    assert!(!db.hold_sign_in(&tenant, "second", now + 30 * 1_000_000, now).await.expect("asked"));
    assert!(db.renew_sign_in(&tenant, "first", Some("a")).await.expect("kept"));
    let later = now + 31 * 1_000_000;
    assert!(db.hold_sign_in(&tenant, "second", later + 30 * 1_000_000, later).await.expect("asked"));
    assert!(!db.renew_sign_in(&tenant, "first", Some("b")).await.expect("asked"), "its lease ran out");
    assert_eq!(db.held_sign_in(&tenant, "second").await.expect("read").as_deref(), Some("a"));
    db.let_go_of_sign_in(&tenant, "first").await.expect("asked");
    assert!(db.renew_sign_in(&tenant, "second", Some("c")).await.expect("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_is_refused_says_what_to_do_and_goes_on_after_a_new_one() {
    let yard = Yard::new().await;
    let tenant = yard.connect("Alice", json!({})).await;
    yard.sign_in(&tenant).await;
    let receiver =
        json!({"name": "w", "url": "http://127.0.0.1:9/", "definition": {"kind": "webhook", "warnings": true}});
    yard.good(Method::POST, "receivers", Some(receiver)).await;
    let test = format!("tenants/{tenant}/test");
    for (code, words) in [(None, "AADSTS50173"), (Some(50_076), "multi-factor"), (Some(53_003), "conditional access")] {
        match code {
            None => yard.sim.revoke_sign_ins(),
            Some(_) => yard.sim.refuse_user(ALICE, code),
        }
        let (status, problem) = yard.bench.ask(&yard.owner, Method::POST, &yard.at(&test), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
        assert!(problem["message"].as_str().expect("a message").contains(words), "{problem}");
        let found = yard.tenant(&tenant).await;
        assert!(found["refused"]["error"].as_str().expect("why").contains(words), "{found}");
        if code != Some(53_003) {
            assert!(
                found["refused"]["hint"].as_str().expect("a hint").contains("Tenants, 'Alice', Sign in"),
                "{found}"
            );
        }
        let (_, text) = yard.bench.page(&yard.cookie, &format!("/a/{}/tenants/{tenant}", yard.account)).await;
        assert!(text.contains("Sign in again: ") && text.contains("Nothing can be backed up"), "{text}");
        let (_, home) = yard.bench.page(&yard.cookie, &format!("/a/{}", yard.account)).await;
        assert!(home.contains("asks for a new sign-in"), "{home}");
        yard.sim.refuse_user(ALICE, None);
        if code.is_none() {
            let (job, _) = yard.back_up(&tenant).await;
            assert_eq!(job["state"], "failed", "{job}");
            assert!(job["error"].as_str().expect("why").contains("Sign in again"), "{job}");
            yard.ahead.fetch_add(61 * MINUTE_US, Ordering::Relaxed);
            // Either this pass warns, or the server's own, which may be at it.
            notices::pass(yard.bench.server()).await.expect("a pass");
            let mut told = String::new();
            for _ in 0..100 {
                told = yard.good(Method::GET, "deliveries", None).await.to_string();
                if told.contains("must sign in to tenant 'Alice' again") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            assert!(told.contains("must sign in to tenant 'Alice' again"), "{told}");
        }
        yard.sign_in_again(&tenant).await;
        let found = yard.tenant(&tenant).await;
        assert_eq!((&found["refused"], &found["state"]["missing"]), (&json!(null), &json!(0)), "{found}");
    }
}

impl Yard {
    /// Signs in as who is known already: Microsoft is told whom.
    async fn sign_in_again(&self, tenant: &str) {
        let (page, address) = self.begin(tenant, "redirect").await;
        assert!(address.contains("login_hint=alice"), "{address}");
        let back = browse(&address, ALICE, "").await;
        assert_eq!(self.come(&self.cookie, &back).await.headers()[header::LOCATION], page.as_str());
    }
}
