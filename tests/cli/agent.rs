//! A client of a backup server as processes: server, enrolling, running, being stopped.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Method, header};
use serde_json::{Value, json};
use tenantvault::sim::SimOptions;

use crate::support::{Done, Place, runtime};

const PASSWORD: &str = "three plain words";

/// A process that is killed if the test ends without it.
struct Process(Child);

impl Process {
    fn signal(&mut self, signal: &str) -> Option<i32> {
        assert!(Command::new("kill").args([signal, &self.0.id().to_string()]).status().expect("kill runs").success());
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A server, and its first administrator's token.
struct Server {
    process: Process,
    _lines: std::io::Lines<BufReader<ChildStdout>>,
    url: String,
}

fn start(place: &Place, port: u16) -> (Server, Option<String>) {
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["server", "--dir", "vault", "--listen", &listen, "--json"];
    let mut child = place.process(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let status = lines
        .by_ref()
        .map(|line| serde_json::from_str::<Value>(&line.expect("a line")).expect("JSON"))
        .find(|line| line["message_type"] == "status")
        .expect("its status");
    let text = |name: &str| status[name].as_str().map(str::to_owned);
    let server = Server { process: Process(child), _lines: lines, url: text("url").expect("an address") };
    (server, text("first_link"))
}

/// Asks as a program does; gives the JSON of a good answer.
fn ask(url: &str, token: &str, method: Method, path: &str, body: Option<Value>) -> Value {
    runtime().block_on(async {
        let mut request = Client::new().request(method, format!("{url}/api/v1{path}")).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("text"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    })
}

/// Becomes the first administrator; gives a token.
fn administrator(url: &str, link: &str) -> String {
    runtime().block_on(async {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let form = async |url: String, body: &[(&str, &str)]| {
            client.post(url).header("sec-fetch-site", "same-origin").form(body).send().await.expect("an answer")
        };
        form(link.to_owned(), &[("password", PASSWORD), ("again", PASSWORD)]).await;
        let signed_in =
            form(format!("{url}/sign-in"), &[("login", "admin"), ("password", PASSWORD), ("code", "")]).await;
        let cookie = signed_in.headers()[header::SET_COOKIE].to_str().expect("a cookie");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let made = client
            .post(format!("{url}/api/v1/me/tokens"))
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, cookie)
            .json(&json!({"label": "test"}))
            .send()
            .await
            .expect("an answer");
        let made: Value = serde_json::from_str(&made.text().await.expect("text")).expect("JSON");
        made["token"].as_str().expect("a token").to_owned()
    })
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

/// An account with a tenant, a repository, a client and its set; gives the account's path, the set, and the client's code.
fn set_up(place: &Place, url: &str, token: &str) -> (String, String, String) {
    let good = |method, path: &str, body| ask(url, token, method, path, Some(body));
    let account =
        format!("/accounts/{}", id(&good(Method::POST, "/accounts", json!({"name": "Contoso", "limits": {}}))));
    let sim = place.tenant.as_ref().expect("a tenant");
    let tenant = json!({"name": "Contoso", "secret": sim.client_secret(), "definition": {
        "tenant_id": sim.tenant_id(), "client_id": sim.client_id(), "sign_in": "secret",
        "graph_url": sim.graph_url(), "login_url": sim.login_url()}});
    let tenant = id(&good(Method::POST, &format!("{account}/tenants"), tenant));
    let made = json!({"name": "Main", "destination": {"name": "here", "url": "server:"}});
    let made = good(Method::POST, &format!("{account}/repositories"), made);
    let (repository, key) = (id(&made["repository"]), made["key"].as_str().expect("a key").to_owned());
    let proof = json!({"key": key, "last_four": &key[key.len() - 4..]});
    good(Method::POST, &format!("{account}/repositories/{repository}/confirmation"), proof);
    let added = good(Method::POST, &format!("{account}/clients"), json!({"name": "pc"}));
    let set = json!({"name": "everyone", "tenant": tenant, "repository": repository, "client": id(&added["client"])});
    let set = id(&good(Method::POST, &format!("{account}/sets"), set));
    (account, set, added["enrolment"]["code"].as_str().expect("a code").to_owned())
}

/// The program on the client's machine: with folders of its own.
fn client(place: &Place, code: Option<&str>, arguments: &[&str]) -> Done {
    let mut command = place.command(arguments);
    command.env("TENANTVAULT_DATA_DIR", place.path("client")).env("TENANTVAULT_CACHE_DIR", place.path("client-cache"));
    if let Some(code) = code {
        command.env("TENANTVAULT_AGENT_CODE", code);
    }
    Done::of(command.output().expect("it runs"))
}

#[test]
fn a_machine_enrolls_runs_what_is_due_and_goes_on_after_the_server_was_away() {
    let place = Place::with_tenant(SimOptions::tiny());
    let (mut server, link) = start(&place, 0);
    let url = server.url.clone();
    let token = administrator(&url, &link.expect("nobody is there yet"));
    let (account, set, code) = set_up(&place, &url, &token);

    client(&place, None, &["agent", "run", "--once"]).fails(1, &["not enrolled", "agent enroll"]);
    client(&place, Some("AAAA-AAAA"), &["agent", "enroll", &url]).fails(1, &["one-time code is not good"]);
    client(&place, Some(&code), &["agent", "enroll", "http://backup.example.com"]).fails(1, &["no TLS", "https://"]);
    let done = client(&place, Some(&code), &["agent", "enroll", &url]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("Enrolled as 'pc'"), "{}", done.out);
    client(&place, Some(&code), &["agent", "enroll", &url]).fails(1, &["enrolled already"]);

    let runs = |many: usize| -> Vec<Value> {
        let runs = ask(&url, &token, Method::GET, &format!("{account}/runs"), None);
        let runs = runs["items"].as_array().expect("a list").clone();
        assert_eq!(runs.len(), many, "{runs:?}");
        runs
    };
    let asked = || ask(&url, &token, Method::POST, &format!("{account}/sets/{set}/runs"), None);
    asked();
    // The tenant has a user whose mailbox cannot be read: gaps.
    let done = client(&place, None, &["agent", "run", "--once", "--json"]);
    assert_eq!(done.code, 3, "{}", done.err);
    assert_eq!(done.json().last().expect("a summary")["gaps"], 1);
    assert!(runs(1)[0]["items"].as_i64().expect("a count") > 10);
    asked();
    // The server keeps the repository in order after the last run, and this one waits for that.
    assert_eq!(client(&place, None, &["agent", "run", "--once"]).code, 3);
    assert_eq!(runs(2)[0]["items_added"], 0);

    // As a service: the server goes away and comes back, what is due runs, SIGTERM ends it.
    let mut command = place.process(&["agent", "run"]);
    command.env("TENANTVAULT_DATA_DIR", place.path("client")).env("TENANTVAULT_CACHE_DIR", place.path("client-cache"));
    let mut service = Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts"));
    assert_eq!(server.process.signal("-INT"), Some(0));
    let port = url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let (mut server, _) = start(&place, port);
    asked();
    let began = Instant::now();
    loop {
        let runs = ask(&url, &token, Method::GET, &format!("{account}/runs"), None);
        if runs["items"].as_array().expect("a list").len() == 3 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(900), "the third run does not come");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(service.signal("-TERM"), Some(0));
    assert_eq!(server.process.signal("-INT"), Some(0));

    // What lies on the client's disk is for its user alone, and is neither the repository's key nor the tenant's secret.
    use std::os::unix::fs::PermissionsExt as _;
    let kept = place.path("client/agent.json");
    assert_eq!(std::fs::metadata(&kept).expect("there").permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&kept).expect("it reads");
    assert!(text.contains("tvc_") && !text.contains(place.tenant.as_ref().expect("a tenant").client_secret()));
}
