//! Where repositories lie, and how they are reached: what was entered once is entered anew when it is another by now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method as Asked, StatusCode as Status, Uri, header as names};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Bench, PASSWORD, connect, id};
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::sim::{SimOptions, SimTenant};

/// A WebDAV server in memory, as far as a storage needs it: lets in who has the token of the day.
#[derive(Default)]
struct Cloud {
    files: Mutex<BTreeMap<String, Bytes>>,
    token: Mutex<String>,
}

impl Cloud {
    /// Listens; gives the address of a place there.
    async fn start(self: &Arc<Self>, token: &str) -> String {
        self.renew(token);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = axum::Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("webdav+http://{address}/box?append_only=true")
    }

    fn renew(&self, token: &str) {
        *self.token.lock().expect("free") = token.to_owned();
    }
}

async fn answer(State(cloud): State<Arc<Cloud>>, method: Asked, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let brought = headers.get(names::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if brought.strip_prefix("Bearer ") != Some(cloud.token.lock().expect("free").as_str()) {
        return Status::UNAUTHORIZED.into_response();
    }
    let path = uri.path().trim_end_matches('/').to_owned();
    let mut files = cloud.files.lock().expect("free");
    match method.as_str() {
        "PUT" if files.contains_key(&path) => Status::PRECONDITION_FAILED.into_response(),
        "PUT" => {
            files.insert(path, body);
            Status::CREATED.into_response()
        }
        "DELETE" => {
            files.remove(&path);
            Status::NO_CONTENT.into_response()
        }
        "GET" => files.get(&path).map_or_else(|| Status::NOT_FOUND.into_response(), |bytes| stretch(bytes, &headers)),
        "PROPFIND" => listing(&files, &path, headers.get("depth").is_some_and(|depth| depth == "1")),
        _ => Status::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn stretch(bytes: &Bytes, headers: &HeaderMap) -> Response {
    let asked =
        headers.get(names::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let Some((from, last)) = asked else { return bytes.clone().into_response() };
    let from = from.parse::<usize>().expect("where it begins");
    let end = last.parse::<usize>().map_or(bytes.len(), |last| bytes.len().min(last + 1));
    if from >= end {
        return Status::RANGE_NOT_SATISFIABLE.into_response();
    }
    let range = [(names::CONTENT_RANGE, format!("bytes {from}-{}/{}", end - 1, bytes.len()))];
    (Status::PARTIAL_CONTENT, range, bytes.slice(from..end)).into_response()
}

fn listing(files: &BTreeMap<String, Bytes>, path: &str, children: bool) -> Response {
    let (folder, mut found) = (format!("{path}/"), BTreeMap::new());
    if let Some(bytes) = files.get(path) {
        found.insert(path.to_owned(), Some(bytes.len()));
    } else if files.keys().any(|name| name.starts_with(&folder)) {
        found.insert(folder.clone(), None);
    } else {
        return Status::NOT_FOUND.into_response();
    }
    for (name, bytes) in files.iter().filter(|_| children) {
        let Some(rest) = name.strip_prefix(&folder) else { continue };
        match rest.split_once('/') {
            Some((inner, _)) => found.insert(format!("{folder}{inner}/"), None),
            None => found.insert(name.clone(), Some(bytes.len())),
        };
    }
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><D:multistatus xmlns:D=\"DAV:\">");
    for (name, size) in &found {
        let kind = match size {
            Some(size) => format!("<D:resourcetype/><D:getcontentlength>{size}</D:getcontentlength>"),
            None => "<D:resourcetype><D:collection/></D:resourcetype>".to_owned(),
        };
        let time = "<D:getlastmodified>Thu, 01 Jan 1970 00:00:00 GMT</D:getlastmodified>";
        let status = "<D:status>HTTP/1.1 200 OK</D:status>";
        let prop = format!("<D:propstat><D:prop>{kind}{time}</D:prop>{status}</D:propstat>");
        write!(text, "<D:response><D:href>{name}</D:href>{prop}</D:response>").expect("written");
    }
    text.push_str("</D:multistatus>");
    (Status::MULTI_STATUS, [(names::CONTENT_TYPE, "application/xml; charset=utf-8")], text).into_response()
}

/// Makes a repository and proves that its key is there; gives what was answered.
async fn make(bench: &Bench, token: &str, account: &Id, name: &str, place: Value) -> Value {
    let path = format!("/accounts/{account}/repositories");
    let made = bench.good(token, Method::POST, &path, Some(json!({"name": name, "destination": place}))).await;
    let key = made["key"].as_str().expect("a key");
    let proof = json!({"key": key, "last_four": &key[key.len() - 4..]});
    let path = format!("{path}/{}/confirmation", id(&made["repository"]));
    bench.good(token, Method::POST, &path, Some(proof)).await;
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_renewed_is_entered_and_the_next_run_uses_it() {
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let operator = bench.person(Some(&account), Role::Operator, "operator@contoso.com").await;
    let (cloud, sim) = (Arc::new(Cloud::default()), SimTenant::start(SimOptions::tiny()).await.expect("a tenant"));
    let url = cloud.start("s3cret-one").await;
    let place = json!({"name": "cloud", "url": url, "credentials": {"token": "s3cret-one"}});
    let made = make(&bench, &token, &account, "Main", place).await;
    let (repository, destination) = (id(&made["repository"]), id(&made["repository"]["destinations"][0]));
    let tenant = connect(&bench, &token, &account, &sim, "Contoso").await;
    let base = format!("/accounts/{account}");
    let set =
        json!({"name": "everyone", "tenant": tenant, "repository": repository, "choices": {"workloads": ["mail"]}});
    let set = id(&bench.good(&token, Method::POST, &format!("{base}/sets"), Some(set)).await);
    let run = async || {
        let asked = bench.good(&token, Method::POST, &format!("{base}/sets/{set}/runs"), None).await;
        let ended = bench.ended(&token, &account, asked["job"].as_str().expect("a job")).await;
        assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    };
    run().await;
    let of_repository = |path: &str| format!("{base}/repositories/{repository}/{path}");
    bench.good(&token, Method::POST, &of_repository("unlock"), Some(json!({"key": made["key"]}))).await;
    let look = async |path: &str| bench.ask(&token, Method::GET, &of_repository(path), None).await.0;
    assert_eq!(look("contents?path=").await, StatusCode::OK);

    cloud.renew("s3cret-two");
    assert_ne!(look("snapshots").await, StatusCode::OK);
    let path = format!("{base}/destinations/{destination}");
    let change = async |who: &str, body: Value| bench.ask(who, Method::PUT, &path, Some(body)).await;
    let renewed = json!({"name": "cloud", "credentials": {"token": "s3cret-two"}});
    assert_eq!(change(&operator, renewed.clone()).await.0, StatusCode::FORBIDDEN);
    let (status, problem) = change(&token, json!({"name": "cloud", "credentials": {"token": "s3cret-three"}})).await;
    assert!(!status.is_success() && !problem.to_string().contains("s3cret"), "{status} {problem}");
    // At another address they would be shown to whoever answers there.
    let elsewhere = json!({"name": "cloud", "url": "webdav+http://127.0.0.1:9/box"});
    let (status, problem) = change(&token, elsewhere).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("needed anew"), "{problem}");
    assert_ne!(look("snapshots").await, StatusCode::OK, "nothing was changed");

    let (status, changed) = change(&token, renewed).await;
    assert_eq!((status, &changed["url"]), (StatusCode::OK, &json!(url)), "{changed}");
    assert_eq!(look("snapshots").await, StatusCode::OK);
    run().await;
    // Who had unlocked it looks on.
    assert_eq!(look("contents?path=").await, StatusCode::OK);

    // By the page: renewed once more; then called otherwise, and the secrets stay.
    cloud.renew("s3cret-four");
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/storage/{repository}")).await;
    let form = format!("/a/{account}/destinations/{destination}");
    assert!(page.contains(&format!("action=\"{form}\"")) && !page.contains("s3cret"), "{page}");
    let send = async |name: &str, secrets: &str| {
        let mut fields = url::form_urlencoded::Serializer::new(String::new());
        let body =
            fields.append_pair("name", name).append_pair("url", &url).append_pair("credentials", secrets).finish();
        bench.send_form(&form, Some(&cookie), body).await.status()
    };
    assert!(send("cloud", "token = s3cret-five").await.is_client_error());
    assert_eq!(send("cloud", "token = s3cret-four").await, StatusCode::SEE_OTHER);
    assert_eq!(send("Clouds", "").await, StatusCode::SEE_OTHER);
    run().await;
    let shown = bench.good(&token, Method::GET, &format!("{base}/repositories"), None).await;
    assert_eq!(shown["items"][0]["destinations"][0]["name"], "Clouds", "{shown}");
    let log = bench.good(&token, Method::GET, &format!("{base}/audit"), None).await.to_string();
    assert!(log.matches("destination.change").count() == 3 && !log.contains("s3cret"), "{log}");
    bench.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_moves_only_to_where_the_same_repository_lies() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let at = |name: &str| bench.folder.path().join(name).to_string_lossy().into_owned();
    let base = format!("/accounts/{account}");
    let one = make(&bench, &admin, &account, "One", json!({"name": "one", "url": at("one")})).await;
    make(&bench, &admin, &account, "Two", json!({"name": "two", "url": at("two")})).await;
    let own = make(&bench, &owner, &account, "Own", json!({"name": "own", "url": "server:"})).await;
    let first = |made: &Value| id(&made["repository"]["destinations"][0]);
    let change = async |who: &str, place: &str, body: Value| {
        bench.ask(who, Method::PUT, &format!("{base}/destinations/{place}"), Some(body)).await
    };
    let of_one = first(&one);
    std::fs::rename(at("one"), at("moved")).expect("moved");
    for (who, place, url, expected, word) in [
        (&admin, &of_one, at("two"), StatusCode::UNPROCESSABLE_ENTITY, "not 'One'"),
        (&admin, &of_one, at("nowhere"), StatusCode::NOT_FOUND, "no repository"),
        (&admin, &of_one, "server:".to_owned(), StatusCode::UNPROCESSABLE_ENTITY, "does not move"),
        (&admin, &first(&own), at("moved"), StatusCode::UNPROCESSABLE_ENTITY, "does not move"),
        (&owner, &of_one, at("moved"), StatusCode::FORBIDDEN, "Only an administrator"),
        (&admin, &of_one, "nonsense:".to_owned(), StatusCode::UNPROCESSABLE_ENTITY, "no kind"),
    ] {
        let (status, problem) = change(who, place, json!({"name": "other", "url": url})).await;
        assert_eq!(status, expected, "{url}: {problem}");
        assert!(problem["message"].as_str().expect("a message").contains(word), "{word}: {problem}");
    }
    let snapshots = format!("{base}/repositories/{}/snapshots", id(&one["repository"]));
    assert_ne!(bench.ask(&owner, Method::GET, &snapshots, None).await.0, StatusCode::OK);
    let (status, changed) = change(&admin, &of_one, json!({"name": "one", "url": at("moved")})).await;
    assert_eq!((status, &changed["url"]), (StatusCode::OK, &json!(at("moved"))), "{changed}");
    bench.good(&owner, Method::GET, &snapshots, None).await;
    // A name alone is anybody's who may change things, and one that is taken stays whose it is.
    assert_eq!(change(&owner, &of_one, json!({"name": "Folder"})).await.0, StatusCode::OK);
    assert_eq!(change(&owner, &of_one, json!({"name": "two"})).await.0, StatusCode::CONFLICT);

    // A further one that nothing came to yet may be corrected where it is, and goes nowhere else.
    let path = format!("{base}/repositories/{}/destinations", id(&one["repository"]));
    let copy = id(&bench.good(&admin, Method::POST, &path, Some(json!({"name": "copy", "url": at("copy")}))).await);
    assert_eq!(change(&admin, &copy, json!({"name": "copy", "credentials": {}})).await.0, StatusCode::OK);
    for (url, expected) in [(at("nowhere"), StatusCode::NOT_FOUND), (at("two"), StatusCode::UNPROCESSABLE_ENTITY)] {
        let (status, problem) = change(&admin, &copy, json!({"name": "copy", "url": url})).await;
        assert_eq!(status, expected, "{url}: {problem}");
    }
}
