//! What pages say of things that are easily told wrong: what starts a set, why it failed, which permissions are missing.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{Bench, PASSWORD, id, set_up};
use crate::format::snapshot::Totals;
use crate::server::ProcessRole;
use crate::server::auth::Role;
use crate::server::db::NewRun;
use crate::server::id::Id;
use crate::server::options::ServerOptions;
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
    assert!(untested.contains("press Test now"), "{untested}");
    let sites = one("Sites.Read.All", "granted", "to read libraries");
    let again = one("Sites.Read.All", "granted", "to read lists");
    let (shown, list) =
        tell(json!({"missing": 0, "permissions": [sites, again, one("Mail.Read", "granted", "to read mail")]})).await;
    assert!(shown.contains("2 permissions, each") && shown.contains("to read libraries; to read lists"), "{shown}");
    assert!(shown.contains("Tested <time") && list.contains("all granted"), "{list}");
    let refused = one("Sites.Read.All", "refused", "Graph refuses everybody asked");
    let (shown, list) = tell(json!({"missing": 2, "permissions": [sites, refused, refused]})).await;
    assert!(shown.contains("1 permission is missing") && list.contains("1 missing"), "{shown}{list}");
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
    let answer = bench.send_form(&format!("/a/{account}/storage"), Some(&cookie), typed.to_owned()).await;
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = answer.text().await.expect("text");
    for words in ["role=\"alert\"", "value=\"Third\"", "value=\"ftp://host/x\"", "access_key_id = x", "'ftp:'"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("four words of mine") && page.matches("id=\"url\"").count() == 1, "{page}");
}
