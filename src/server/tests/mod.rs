//! A server on a port of loopback, asked as programs and browsers ask it.

mod abroad;
mod access;
mod adopt;
mod again;
mod browsers;
mod clients;
mod consent;
mod crowd;
mod digests;
mod downloads;
mod flood;
mod history;
mod hostile;
mod keys;
mod lifecycle;
mod lines;
mod missing;
mod notices;
mod operating;
mod others;
mod pages;
mod places;
mod queue;
mod restoring;
mod said;
mod scale;
mod scheduling;
mod served_by_both;
mod sets;
mod shown;
mod signing_in;
mod signing_in_attacks;
mod stopping;
mod tenants;
mod turns;

use reqwest::{Client, Method, StatusCode, header};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::auth::{NewPerson, Password, Role};
use super::db::AtOnce;
use super::id::Id;
use super::options::ServerOptions;
use super::run::{Running, start_at};
use super::state::{Clock, Server};
use std::sync::Arc;

/// A good password.
const PASSWORD: &str = "three plain words";

/// More than runs at once in a test.
const PLENTY: AtOnce = AtOnce { of_tenant: 100, of_account: 100 };

/// A server under test.
struct Bench {
    running: Running,
    folder: TempDir,
    client: Client,
}

impl Bench {
    /// A server that does all.
    async fn new() -> Self {
        Self::with(|_| {}, None).await
    }

    /// A server that only answers: nothing is done in the background.
    async fn quiet() -> Self {
        Self::with(|options| options.role = super::ProcessRole::Web, None).await
    }

    async fn with(change: impl FnOnce(&mut ServerOptions), clock: Option<Clock>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = ServerOptions::in_folder(folder.path().join("server"));
        options.database_url = postgres().await;
        change(&mut options);
        let running = start_at(options, clock).await.expect("the server starts");
        // The server ends connections on which nothing comes for a while: under test, for five seconds.
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(std::time::Duration::from_secs(2))
            .build()
            .expect("a client");
        Self { running, folder, client }
    }

    fn server(&self) -> &Arc<Server> {
        self.running.server()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.running.url())
    }

    /// A person with a password and a token.
    async fn person(&self, account: Option<&Id>, role: Role, login: &str) -> String {
        let (db, vault, now) = (&self.server().db, &self.server().vault, self.server().now_us());
        let (person, invitation) = db.add_person(vault, &NewPerson { account, login, role }, now).await.expect("added");
        db.accept(vault, &invitation.token, &Password::new(PASSWORD), now).await.expect("accepted");
        db.add_token(vault, &person.id, "test", None, now).await.expect("a token").token
    }

    /// An account.
    async fn account(&self, name: &str) -> Id {
        let (db, now) = (&self.server().db, self.server().now_us());
        db.add_account(name, super::db::Entitlements::default(), now).await.expect("added").id
    }

    /// Asks the API; gives the status and the JSON of the answer.
    async fn ask(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, self.url(&format!("/api/v1{path}"))).bearer_auth(token);
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Asks the API for what must work.
    async fn good(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(token, method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }

    /// Signs in as a browser does; gives the cookie.
    async fn sign_in(&self, login: &str, password: &str) -> Result<String, StatusCode> {
        let body = format!("login={login}&password={}&code=", password.replace(' ', "+"));
        let answer = self.send_form("/sign-in", None, body).await;
        let cookie = answer.headers().get(header::SET_COOKIE).and_then(|value| value.to_str().ok());
        match cookie {
            Some(cookie) if answer.status() == StatusCode::SEE_OTHER => {
                Ok(cookie.split(';').next().unwrap_or_default().to_owned())
            }
            _ => Err(answer.status()),
        }
    }

    /// Sends a form as a page of ours does.
    async fn send_form(&self, path: &str, cookie: Option<&str>, body: String) -> reqwest::Response {
        let request = self
            .client
            .post(self.url(path))
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        let request = match cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        };
        request.send().await.expect("an answer")
    }

    /// A page as text.
    async fn page(&self, cookie: &str, path: &str) -> (StatusCode, String) {
        let request = self.client.get(self.url(path)).header(header::COOKIE, cookie);
        let answer = request.send().await.expect("an answer");
        (answer.status(), answer.text().await.expect("text"))
    }

    /// Waits until a job has ended; gives it.
    async fn ended(&self, token: &str, account: &Id, job: &str) -> Value {
        loop {
            let found = self.good(token, Method::GET, &format!("/accounts/{account}/jobs/{job}"), None).await;
            if !matches!(found["state"].as_str(), Some("queued" | "running")) {
                return found;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

/// The variable that names a PostgreSQL server (`postgres://user@host/database`); with it, every test here has a database of its
/// own there.
const POSTGRES: &str = "TENANTVAULT_TEST_POSTGRES";

async fn postgres() -> Option<String> {
    let server = std::env::var(POSTGRES).ok()?;
    sqlx::any::install_default_drivers();
    let mut connection = <sqlx::AnyConnection as sqlx::Connection>::connect(&server).await.expect("PostgreSQL answers");
    let name = format!("test_{}", Id::random());
    let make = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
    sqlx::query(make).execute(&mut connection).await.expect("a database");
    let (before, _) = server.rsplit_once('/').expect("an address with a database");
    Some(format!("{before}/{name}"))
}

/// The id in an answer.
fn id(answer: &Value) -> String {
    answer["id"].as_str().expect("an id").to_owned()
}

/// Connects a simulated tenant, for backups and restores; gives its id.
async fn connect(bench: &Bench, token: &str, account: &Id, sim: &crate::sim::SimHandle, name: &str) -> String {
    let wanted = json!({
        "name": name,
        "definition": {
            "tenant_id": sim.tenant_id(), "client_id": sim.client_id(), "sign_in": "secret",
            "graph_url": sim.graph_url(), "login_url": sim.login_url(),
            "restore": {"client_id": sim.restore_client_id(), "sign_in": "secret"},
        },
        "secret": sim.client_secret(),
        "restore_secret": sim.restore_client_secret(),
    });
    id(&bench.good(token, Method::POST, &format!("/accounts/{account}/tenants"), Some(wanted)).await)
}

/// Connects a simulated tenant, makes a repository and a set; gives the ids of repository and set, and the
/// key.
async fn set_up(
    bench: &Bench,
    token: &str,
    account: &Id,
    sim: &crate::sim::SimHandle,
    schedules: Value,
) -> (String, String, String) {
    let tenant = connect(bench, token, account, sim, "Contoso").await;
    let made = bench
        .good(
            token,
            Method::POST,
            &format!("/accounts/{account}/repositories"),
            Some(json!({"name": "Main", "destination": {"name": "here", "url": "server:"}})),
        )
        .await;
    let (repository, key) = (id(&made["repository"]), made["key"].as_str().expect("a key").to_owned());
    let proof = json!({"key": key, "last_four": &key[key.len() - 4..]});
    let path = format!("/accounts/{account}/repositories/{repository}/confirmation");
    bench.good(token, Method::POST, &path, Some(proof)).await;
    let set = bench
        .good(
            token,
            Method::POST,
            &format!("/accounts/{account}/sets"),
            Some(json!({
                "name": "everyone", "tenant": tenant, "repository": repository, "schedules": schedules,
                "choices": {"workloads": ["mail", "onedrive"]},
            })),
        )
        .await;
    (repository, id(&set), key)
}
