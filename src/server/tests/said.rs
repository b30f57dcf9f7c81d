//! What pages say of things that are easily told wrong: what starts a set, why it failed, of when its last snapshot is, which
//! permissions are missing.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::again::send;
use super::pages::ready;
use super::restoring::Place;
use super::{Bench, PASSWORD, PLENTY, id, set_up};
use crate::format::snapshot::Totals;
use crate::server::ProcessRole;
use crate::server::auth::Role;
use crate::server::db::{NewDelivery, NewRun};
use crate::server::id::Id;
use crate::server::options::ServerOptions;
use crate::server::pages::words;
use crate::sim::{SimOptions, SimTenant};

#[tokio::test(flavor = "multi_thread")]
async fn settings_tell_of_a_server_with_several_accounts_that_reaches_into_its_own_network() {
    for (inside, accounts, told) in [(true, 1, false), (true, 2, true), (false, 2, false)] {
        let options = |options: &mut ServerOptions| {
            options.role = ProcessRole::Web;
            options.allow_private_targets = inside;
        };
        let bench = Bench::with(options, None).await;
        bench.person(None, Role::Administrator, "admin@example.com").await;
        for number in 0..accounts {
            bench.account(&format!("Account {number}")).await;
        }
        let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
        let (status, page) = bench.page(&cookie, "/settings").await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(page.contains("--public-targets-only"), told, "{inside} {accounts}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_that_no_schedule_starts_runs_only_when_asked_and_its_page_says_why_it_failed() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let first = bench.page(&cookie, &format!("/a/{account}/sets/new/connect")).await.1;
    assert!(first.contains("value=\"everyone\""), "{first}");
    let (_, set, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let page = async |path: &str| bench.page(&cookie, &format!("/a/{account}{path}")).await.1;
    let list = page("/sets").await;
    assert!(list.contains("only when asked") && !list.contains("on schedule"), "{list}");
    // A name that is taken is none to begin with.
    let first = page("/sets/new/connect").await;
    assert!(first.contains("id=\"name\"") && !first.contains("value=\"everyone\""), "{first}");

    let save = async |more: &str| {
        let when = format!("when_kind=daily&when_time=22%3A00&when_cron=&zone=UTC&keep_last=3&do=save{more}");
        let path = format!("/a/{account}/sets/{set}/change/when");
        assert_eq!(bench.send_form(&path, Some(&cookie), when).await.status(), StatusCode::SEE_OTHER);
    };
    save("&enabled=on").await;
    let list = page("/sets").await;
    assert!(list.contains("on schedule") && !list.contains("only when asked"), "{list}");
    save("").await;
    assert!(page("/sets").await.contains("only when asked"), "it is switched off");
    assert!(page(&format!("/sets/{set}")).await.contains(", switched off"));

    let asked = bench.good(&token, Method::POST, &format!("/accounts/{account}/sets/{set}/runs"), None).await;
    let parse = |text: &str| Id::parse(text).expect("an id");
    let (of_set, job) = (parse(&set), parse(asked["job"].as_str().expect("a job")));
    let run = NewRun {
        account: &account,
        set: &of_set,
        job: &job,
        started_us: 1,
        ended_us: bench.server().now_us(),
        outcome: "failed",
        error: Some("The secret is wrong"),
        snapshot: None,
        totals: Totals::default(),
        bytes_logical: None,
        waits: json!({}),
        gap_list: json!([]),
    };
    bench.server().db.note_run(&run).await.expect("noted");
    let shown = page(&format!("/sets/{set}")).await;
    assert!(shown.contains("The last run failed: The secret is wrong.") && shown.contains("See the run"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_snapshot_is_told_by_its_own_time_and_not_by_the_end_of_its_run() {
    let at = ready().await;
    let now = at.bench.server().now_us();
    let time = |us: i64| words::time(us).into_string();
    let hour_us = 3_600_000_000;
    for (outcome, snapshot, began, ended) in
        [("gaps", Some("x"), 9, 8), ("interrupted", Some("y"), 5, 4), ("failed", None, 2, 1)]
    {
        let run = NewRun {
            account: &at.account,
            set: &at.set,
            job: &at.job,
            started_us: now - began * hour_us,
            ended_us: now - ended * hour_us,
            outcome,
            error: None,
            snapshot,
            totals: Totals::default(),
            bytes_logical: None,
            waits: json!({}),
            gap_list: json!([]),
        };
        at.bench.server().db.note_run(&run).await.expect("noted");
        let list = at.page("/sets").await;
        let of = if snapshot.is_some() { began } else { 5 };
        let last = format!("<td data-label=\"Last snapshot\">{}</td>", time(now - of * hour_us));
        assert!(list.contains(&last), "{outcome}: {last}: {list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_began_when_its_snapshot_says() {
    let place = Place::new().await;
    let runs = place.bench.good(&place.owner, Method::GET, &place.at("runs"), None).await;
    let kept = place.bench.good(&place.owner, Method::GET, &place.of_repository("snapshots"), None).await;
    let (run, snapshot) = (&runs["items"][0]["started_us"], &kept["items"][0]["time_us"]);
    assert!(run.is_i64() && run == snapshot, "{runs} {kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_says_when_it_began_once_it_has() {
    let at = ready().await;
    let asked =
        at.bench.good(&at.token, Method::POST, &format!("/accounts/{}/sets/{}/runs", at.account, at.set), None).await;
    let job = asked["job"].as_str().expect("a job");
    let page = at.page(&format!("/jobs/{job}")).await;
    // The page's script fills in what is hidden.
    assert!(page.contains("<div id=\"began\" hidden><dt>Began</dt><dd></dd></div>"), "{page}");
    let now = at.bench.server().now_us();
    let taken = at.bench.server().db.take_job("w", None, PLENTY, 30_000_000, now).await.expect("taken").expect("a job");
    assert_eq!(taken.id.as_str(), job);
    let page = at.page(&format!("/jobs/{job}")).await;
    let began = format!("<div id=\"began\"><dt>Began</dt><dd>{}</dd></div>", words::time(now).into_string());
    assert!(page.contains(&began), "{began}: {page}");
    // One that never began does not say so.
    assert!(!at.page(&format!("/jobs/{}", at.job)).await.contains("Began"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_several_parts_need_is_counted_and_told_once() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let tenant = json!({"name": "Contoso", "secret": "x", "definition": {"tenant_id": "t", "client_id": "c", "sign_in": "secret"}});
    let tenant = id(&bench.good(&token, Method::POST, &format!("/accounts/{account}/tenants"), Some(tenant)).await);
    let one = |name: &str, state: &str, use_: &str| json!({"name": name, "state": state, "message": use_});
    let tell = async |state: serde_json::Value| {
        let of = Id::parse(&tenant).expect("an id");
        bench.server().db.keep_tenant_state(&of, &state.to_string(), bench.server().now_us()).await.expect("kept");
        let (_, shown) = bench.page(&cookie, &format!("/a/{account}/tenants/{tenant}")).await;
        let (_, list) = bench.page(&cookie, &format!("/a/{account}/tenants")).await;
        (shown, list)
    };
    let untested = bench.page(&cookie, &format!("/a/{account}/tenants/{tenant}")).await.1;
    assert!(untested.contains("press Test now") && untested.contains("<form id=\"test\""), "{untested}");
    let list = bench.page(&cookie, &format!("/a/{account}/tenants")).await.1;
    let here = format!("/a/{account}/tenants/{tenant}");
    let test = format!("not tested</span> <a href=\"{here}#test\" aria-label=\"Test Contoso\">Test</a>");
    assert!(list.contains(&test) && list.contains("<code>Mail.Read</code>: read mail<"), "{list}");
    let sites = one("Sites.Read.All", "granted", "to read libraries");
    let again = one("Sites.Read.All", "granted", "to read lists");
    let (shown, list) =
        tell(json!({"missing": 0, "permissions": [sites, again, one("Mail.Read", "granted", "to read mail")]})).await;
    assert!(shown.contains("2 permissions, each") && shown.contains("to read libraries; to read lists"), "{shown}");
    assert!(shown.contains("Tested <time") && list.contains("all granted"), "{list}");
    let refused = one("Sites.Read.All", "refused", "Graph refuses everybody asked");
    let (shown, list) = tell(json!({"missing": 2, "permissions": [sites, refused, refused]})).await;
    assert!(shown.contains("1 permission is missing"), "{shown}");
    assert!(list.contains("1 missing</span>: Sites.Read.All</td>") && !list.contains("#test"), "{list}");
    let many: Vec<_> = (0..6).map(|n| one(&format!("P{n}"), "missing", "")).collect();
    let (_, list) = tell(json!({"missing": 6, "permissions": many})).await;
    assert!(list.contains("6 missing</span>: P0, P1, P2, P3 and 2 more</td>"), "{list}");
    // What was found before an administrator consented holds no longer.
    let (of, now) = (Id::parse(&tenant).expect("an id"), bench.server().now_us());
    bench.server().db.keep_consent(&of, "admin", now + 60_000_000).await.expect("kept");
    let list = bench.page(&cookie, &format!("/a/{account}/tenants")).await.1;
    assert!(list.contains("consented to since") && list.contains("#test"), "{list}");
    // What a wrong secret takes stands first, and its form is open.
    let (shown, _) =
        tell(json!({"error": "Tenant t refuses the sign-in (AADSTS7000215)", "hint": "enter a new one"})).await;
    assert!(shown.contains("<strong>Enter a new one.</strong>"), "{shown}");
    assert!(shown.contains("<details open><summary>Enter a new secret"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_that_cannot_be_made_is_asked_for_again_with_what_was_typed() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let typed = "name=Third&url=ftp%3A%2F%2Fhost%2Fx&credentials=access_key_id+%3D+x&passphrase=four+words+of+mine";
    let path = format!("/a/{account}/storage");
    let (status, page) = send(&bench, &cookie, &bench.url(&path), &path, typed).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!page.contains("access_key_id = x"), "{page}");
    for words in ["role=\"alert\"", "value=\"Third\"", "value=\"ftp://host/x\"", "<details open>", "'ftp:'"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("four words of mine") && page.matches("id=\"url\"").count() == 1, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_went_to_several_receivers_at_one_time_is_listed_by_their_names() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let now = bench.server().now_us();
    for name in ["d", "a", "f", "c", "e", "b"] {
        let wanted = json!({"name": format!("to {name}"), "definition": {"kind": "mail", "to": ["it@contoso.com"]}});
        let made = bench.good(&token, Method::POST, &format!("/accounts/{account}/receivers"), Some(wanted)).await;
        let receiver = Id::parse(&id(&made["receiver"])).expect("an id");
        let new = NewDelivery { account: &account, receiver: &receiver, event: "x", notice: "{}" };
        bench.server().db.post(&new, now).await.expect("posted");
    }
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/notices")).await;
    let places = |before: &str, after: &str| -> Vec<usize> {
        let text = |name: &str| format!("{before}to {name}{after}");
        let at = |name: &str| page.find(&text(name)).unwrap_or_else(|| panic!("{name}: {page}"));
        ["a", "b", "c", "d", "e", "f"].map(at).to_vec()
    };
    assert!(places("\">", "</a></th>").is_sorted(), "the receivers: {page}");
    assert!(places("<td data-label=\"To\">", "</td>").is_sorted(), "what was sent: {page}");
}
