//! Asks a server's API as its first administrator, and sets an account up.
#![cfg(unix)]

use reqwest::{Client, Method, header, redirect};
use serde_json::{Value, json};
use tenantvault::sim::SimHandle;

use crate::support::runtime;

/// The first administrator, signed in.
pub struct Http {
    client: Client,
    url: String,
    cookie: String,
}

/// What was set up.
pub struct Made {
    pub account: String,
    pub repository: String,
    pub set: String,
    pub key: String,
}

impl Http {
    /// Takes the link of the first administrator, and signs in.
    pub fn sign_in(url: &str, first_link: &str) -> Self {
        let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).build().expect("a client");
        let form = |address: String, body: &'static str| {
            let request = client
                .post(address)
                .header("sec-fetch-site", "same-origin")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body);
            runtime().block_on(request.send()).expect("an answer")
        };
        let path = first_link.rfind("/welcome").map(|at| &first_link[at..]).expect("a path");
        assert!(
            !form(format!("{url}{path}"), "password=three+plain+words&again=three+plain+words")
                .status()
                .is_client_error()
        );
        let answer = form(format!("{url}/sign-in"), "login=admin&password=three+plain+words&code=");
        let cookie = answer.headers()[header::SET_COOKIE].to_str().expect("text");
        let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
        Self { client, url: url.to_owned(), cookie }
    }

    pub fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request = self
            .client
            .request(method, format!("{}/api/v1{path}", self.url))
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, &self.cookie);
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        runtime().block_on(async {
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("text");
            (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        })
    }

    pub fn good(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Sends a form as its page does; gives the status, where it leads, and the page.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> (u16, String, String) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header("sec-fetch-site", "same-origin")
            .header(header::COOKIE, &self.cookie)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        runtime().block_on(async {
            let answer = request.send().await.expect("an answer");
            let to = answer.headers().get(header::LOCATION).map(|to| to.to_str().expect("text").to_owned());
            let status = answer.status().as_u16();
            (status, to.unwrap_or_default(), answer.text().await.expect("text"))
        })
    }

    /// Makes an account, a tenant, a repository and a set.
    pub fn set_up(&self, sim: &SimHandle, schedules: Value) -> Made {
        let id = |answer: &Value| answer["id"].as_str().expect("an id").to_owned();
        let post = |path: &str, body: Value| self.good(Method::POST, path, Some(body));
        let account = id(&post("/accounts", json!({"name": "Contoso"})));
        let base = format!("/accounts/{account}");
        let tenant = post(
            &format!("{base}/tenants"),
            json!({
                "name": "Contoso", "secret": sim.client_secret(),
                "definition": {
                    "tenant_id": sim.tenant_id(), "client_id": sim.client_id(), "sign_in": "secret",
                    "graph_url": sim.graph_url(), "login_url": sim.login_url(),
                    "restore": {"client_id": sim.restore_client_id(), "sign_in": "secret"},
                },
                "restore_secret": sim.restore_client_secret(),
            }),
        );
        let destination = json!({"name": "here", "url": "server:"});
        let made = post(&format!("{base}/repositories"), json!({"name": "Main", "destination": destination}));
        let (repository, key) = (id(&made["repository"]), made["key"].as_str().expect("a key").to_owned());
        let proof = json!({"key": key, "last_four": &key[key.len() - 4..]});
        post(&format!("{base}/repositories/{repository}/confirmation"), proof);
        let set = json!({
            "name": "everyone", "tenant": id(&tenant), "repository": repository, "schedules": schedules,
            "choices": {"workloads": ["mail", "onedrive"]},
        });
        let set = id(&post(&format!("{base}/sets"), set));
        Made { account, repository, set, key }
    }

    /// The same, asking a server that was started anew on the same folder.
    pub fn at(self, url: &str) -> Self {
        Self { url: url.to_owned(), ..self }
    }

    /// Restores Alice's mail into a folder of its own, and looks whether the tenant has each mail twice then.
    pub fn restore(&self, made: &Made, sim: &SimHandle) {
        let subjects = || {
            let truth = sim.expected();
            let mailbox = truth.user("alice@contoso.com").and_then(|user| user.mailbox.clone()).expect("a mailbox");
            let mut all: Vec<String> =
                mailbox.messages.iter().filter(|mail| !mail.recoverable).map(|mail| mail.subject.clone()).collect();
            all.sort();
            all
        };
        let before = subjects();
        let base = format!("/accounts/{}", made.account);
        let of_repository = format!("{base}/repositories/{}", made.repository);
        self.good(Method::POST, &format!("{of_repository}/unlock"), Some(json!({"key": made.key})));
        let wanted = json!({"snapshot": "latest", "paths": ["users/alice@contoso.com/Mail"], "folder": "Back"});
        let asked = self.good(Method::POST, &format!("{of_repository}/restores"), Some(wanted));
        let ended = |job: &Value| {
            let path = format!("{base}/jobs/{}", job.as_str().expect("a job"));
            loop {
                let job = self.good(Method::GET, &path, None);
                if !matches!(job["state"].as_str(), Some("queued" | "running")) {
                    return job;
                }
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        };
        let planned = ended(&asked["plan_job"]);
        assert_eq!(planned["state"], "done", "{planned}");
        let run = format!("{base}/restores/{}/run", asked["id"].as_str().expect("an id"));
        let done = ended(&self.good(Method::POST, &run, None)["job"]);
        assert!(matches!(done["state"].as_str(), Some("done" | "gaps")), "{done}");
        // But for the few that the simulated tenant gives nobody.
        let (many, mut left) = (before.len(), subjects());
        for subject in &before {
            let at = left.iter().position(|other| other == subject);
            left.remove(at.expect("what was there stays"));
        }
        assert!(left.iter().all(|subject| before.contains(subject)), "{left:?}");
        assert!(many > 10 && left.len() <= many && left.len() * 10 >= many * 9, "{} of {many}", left.len());
    }

    /// The backups of an account.
    pub fn backups(&self, made: &Made) -> Vec<Value> {
        let jobs = self.good(Method::GET, &format!("/accounts/{}/jobs", made.account), None);
        let all = jobs["items"].as_array().expect("a list").clone();
        all.into_iter().filter(|job| job["kind"] == "backup").collect()
    }

    /// The snapshots of the repository.
    pub fn snapshots(&self, made: &Made) -> Vec<Value> {
        let path = format!("/accounts/{}/repositories/{}/snapshots", made.account, made.repository);
        self.good(Method::GET, &path, None)["items"].as_array().expect("a list").clone()
    }
}
