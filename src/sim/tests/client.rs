//! A naive client: signs in, follows links, keeps what it was told.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::sim::{SimHandle, SimOptions, SimTenant};

pub(super) async fn start(options: SimOptions) -> (SimHandle, Client) {
    let sim = SimTenant::start(options).await.expect("starts");
    let client = Client::new(&sim).await;
    (sim, client)
}

pub(super) struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

pub(super) struct Got {
    pub(super) status: u16,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) bytes: Vec<u8>,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    pub(super) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_string()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

pub(super) fn plain_http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("client")
}

pub(super) async fn sign_in(sim: &SimHandle, form: &[(&str, &str)]) -> Got {
    let url = format!("{}/{}/oauth2/v2.0/token", sim.login_url(), sim.tenant_id());
    got(plain_http().post(url).form(form).send().await.expect("answers")).await
}

pub(super) async fn got(response: reqwest::Response) -> Got {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Got { status, headers, bytes: response.bytes().await.expect("a whole body").to_vec() }
}

impl Client {
    pub(super) async fn new(sim: &SimHandle) -> Self {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", sim.client_id()),
            ("client_secret", sim.client_secret()),
            ("scope", "https://graph.microsoft.com/.default"),
        ];
        let answer = sign_in(sim, &form).await;
        assert_eq!(answer.status, 200);
        let token = answer.json()["access_token"].as_str().expect("a token").to_string();
        Self { http: plain_http(), base: sim.graph_url().to_string(), token }
    }

    pub(super) fn request(&self, url: &str) -> reqwest::RequestBuilder {
        let url = if url.starts_with("http") { url.to_string() } else { format!("{}/v1.0/{url}", self.base) };
        self.http.get(url).bearer_auth(&self.token)
    }

    pub(super) async fn get(&self, url: &str) -> Got {
        got(self.request(url).header("Prefer", "IdType=\"ImmutableId\"").send().await.expect("answers")).await
    }

    pub(super) async fn ok(&self, url: &str) -> Value {
        let answer = self.get(url).await;
        assert_eq!(answer.status, 200, "{url}: {}", String::from_utf8_lossy(&answer.bytes));
        answer.json()
    }

    /// All rows of a list.
    pub(super) async fn all(&self, url: &str) -> Vec<Value> {
        self.round(url).await.0
    }

    /// All rows of a list or a delta round, and its delta link.
    pub(super) async fn round(&self, url: &str) -> (Vec<Value>, String) {
        let (mut rows, mut url) = (Vec::new(), url.to_string());
        loop {
            let page = self.ok(&url).await;
            rows.extend(page["value"].as_array().expect("rows").clone());
            match page["@odata.nextLink"].as_str() {
                Some(next) => url = next.to_string(),
                None => return (rows, page["@odata.deltaLink"].as_str().unwrap_or_default().to_string()),
            }
        }
    }

    /// The bytes behind a pre-authenticated URL.
    pub(super) async fn download(&self, url: &str, range: Option<&str>) -> Got {
        let request = self.http.get(url);
        let request = range.into_iter().fold(request, |r, range| r.header("Range", range));
        got(request.send().await.expect("answers")).await
    }

    /// The bytes of a file by `/content`.
    pub(super) async fn content(&self, drive: &str, item: &str) -> Got {
        let answer = self.get(&format!("drives/{drive}/items/{item}/content")).await;
        if answer.status != 302 {
            return answer;
        }
        self.download(answer.header("location"), None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Got {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(body);
        got(request.send().await.expect("answers")).await
    }
}

/// Rows by id, as a client keeps them over the rounds: a removed row takes the kept one away.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) rows: BTreeMap<String, Value>,
    pub(super) link: String,
}

impl Kept {
    pub(super) async fn follow(&mut self, client: &Client, first: &str) {
        let url = if self.link.is_empty() { first.to_string() } else { self.link.clone() };
        let (rows, link) = client.round(&url).await;
        for row in rows {
            let id = row["id"].as_str().expect("an id").to_string();
            if row["@removed"].is_object() || row["deleted"].is_object() {
                self.rows.remove(&id);
            } else {
                self.rows.insert(id, row);
            }
        }
        assert!(!link.is_empty(), "{url} ended without a delta link");
        self.link = link;
    }
}
