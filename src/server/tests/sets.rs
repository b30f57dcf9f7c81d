//! A backup set by the forms of its pages: five steps to a run, drafts, tabs; and what the choice is counted by.

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use super::{Bench, PASSWORD, id, set_up};
use crate::server::auth::Role;
use crate::server::id::Id;
use crate::sim::{SimHandle, SimOptions, SimTenant};

/// Text for a form.
fn form(fields: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Sends a step's form; gives the status, where it leads, and the page.
async fn step(bench: &Bench, cookie: &str, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String, String) {
    let answer = bench.send_form(path, Some(cookie), form(fields)).await;
    let status = answer.status();
    let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
    (status, to, answer.text().await.expect("text"))
}

/// The value of what stands between two texts.
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let rest = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}")).1;
    rest.split_once(after).expect("its end").0
}

/// Loads the second step until Microsoft has told.
async fn told(bench: &Bench, cookie: &str, path: &str) -> String {
    for _ in 0..60 {
        let (status, page) = bench.page(cookie, path).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        if !page.contains("data-asking") {
            return page;
        }
    }
    panic!("Microsoft never told");
}

async fn connect(bench: &Bench, cookie: &str, account: &Id, sim: &SimHandle) -> String {
    let fields = [
        ("name", "Contoso"),
        ("tenant_id", sim.tenant_id()),
        ("client_id", sim.client_id()),
        ("sign_in", "secret"),
        ("secret", sim.client_secret()),
        ("address", sim.base_url()),
    ];
    let (status, to, page) = step(bench, cookie, &format!("/a/{account}/tenants"), &fields).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn five_steps_lead_from_nothing_to_a_set_and_its_run() {
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let base = format!("/a/{account}/sets/new");
    let at = |step: &str| format!("{base}/{step}");

    // 1. Connect: there is no tenant yet. Going off to connect one loses nothing, and leads back.
    let (_, page) = bench.page(&cookie, &base).await;
    assert!(page.contains("aria-current=\"step\"") && page.contains("No tenant is connected yet"), "{page}");
    let (status, _, page) = step(&bench, &cookie, &at("connect"), &[("name", "all of it"), ("do", "next")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("value=\"all of it\"") && page.contains("role=\"alert\""), "{page}");
    let (_, to, _) = step(&bench, &cookie, &at("connect"), &[("name", "whole"), ("do", "connect")]).await;
    assert_eq!(to, format!("/a/{account}/tenants"));
    let to = connect(&bench, &cookie, &account, &sim).await;
    let (_, page) = bench.page(&cookie, &to).await;
    assert!(page.contains(&format!("{base}/connect")), "{page}");
    let (_, page) = bench.page(&cookie, &at("connect")).await;
    let tenant = between(&page, "<option value=\"", "\"").to_owned();
    assert!(page.contains("value=\"whole\"") && page.contains("permissions that a backup needs are granted"), "{page}");
    let fields = [("name", "whole"), ("tenant", &tenant)];
    let (_, _, page) = step(&bench, &cookie, &at("connect"), &[fields[0], fields[1], ("do", "test")]).await;
    assert!(page.contains("It signs in"), "{page}");
    let (status, to, page) = step(&bench, &cookie, &at("connect"), &[fields[0], fields[1], ("do", "next")]).await;
    assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, at("choose").as_str()), "{page}");
    // Later steps are not there yet.
    let answer = bench.client.get(bench.url(&at("key"))).header(header::COOKIE, &cookie).send().await.expect("one");
    assert_eq!(answer.headers()[header::LOCATION], at("choose").as_str());

    // 2. Choose.
    let page = told(&bench, &cookie, &at("choose")).await;
    assert!(page.contains("are chosen. New users, groups, sites and teams come in"), "{page}");
    assert!(page.contains("Public folders") && page.contains("Exchange Web Services"), "{page}");
    let rules = |do_: &'static str| {
        vec![
            ("include", "*"),
            ("exclude", ""),
            ("parts", "all"),
            ("versions", "current"),
            ("leavers", "keep"),
            ("do", do_),
        ]
    };
    let (_, _, page) = step(&bench, &cookie, &at("choose"), &rules("open:users")).await;
    let user = between(&page, "name=\"shown\" value=\"1", "\"").to_owned();
    assert!(user.contains('@'), "{user}");
    // A box that was ticked and is not any more, with the next button that is pressed.
    let (shown, mut more) = (format!("1{user}"), rules("open:sites"));
    more.extend([("open", "users"), ("shown", &shown)]);
    let (status, _, page) = step(&bench, &cookie, &at("choose"), &more).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    assert!(between(&page, "name=\"exclude\"", "</textarea>").ends_with(&user), "{page}");
    // What was chosen last counts: only mail, and everybody again.
    let fields = [
        ("include", "*"),
        ("exclude", ""),
        ("parts", "some"),
        ("part", "mail"),
        ("part", "onedrive"),
        ("versions", "current"),
        ("leavers", "keep"),
        ("do", "next"),
    ];
    let (status, _, page) =
        step(&bench, &cookie, &at("choose"), &[fields.as_slice(), &[("include", "plan:x")]].concat()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("plan:x") && page.contains("cannot be selected by"), "{page}");
    let (status, to, page) = step(&bench, &cookie, &at("choose"), &fields).await;
    assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, at("when").as_str()), "{page}");

    // 3. When: two schedules; a wrong zone is told here, and what was typed stays.
    let mut fields = vec![
        ("when_kind", "weekdays"),
        ("when_time", "06:30"),
        ("when_cron", ""),
        ("zone", "Mars/Olympus"),
        ("jitter", "5"),
        ("enabled", "on"),
        ("keep_last", "3"),
        ("keep_daily", "7"),
    ];
    let (status, _, page) =
        step(&bench, &cookie, &at("when"), &[fields.as_slice(), &[("do", "add-time")]].concat()).await;
    assert!(status == StatusCode::OK && page.contains("Schedule 2"), "{page}");
    fields.extend([("when_kind", "cron"), ("when_time", ""), ("when_cron", "0 0 1 * *"), ("do", "next")]);
    let (status, _, page) = step(&bench, &cookie, &at("when"), &fields).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("value=\"Mars/Olympus\"") && page.contains("value=\"0 0 1 * *\""), "{page}");
    // Back and forth, nothing is lost.
    fields[3] = ("zone", "Europe/Berlin");
    *fields.last_mut().expect("the button") = ("do", "back");
    let (_, to, _) = step(&bench, &cookie, &at("when"), &fields).await;
    assert_eq!(to, at("choose"));
    let (_, page) = bench.page(&cookie, &at("when")).await;
    assert!(
        page.contains("value=\"Europe/Berlin\"") && page.contains("value=\"06:30\"") && page.contains("Schedule 2"),
        "{page}"
    );
    assert!(page.contains("the last 3, and one of each of the last 7 days"), "{page}");
    *fields.last_mut().expect("the button") = ("do", "next");
    let (_, to, page) = step(&bench, &cookie, &at("when"), &fields).await;
    assert_eq!(to, at("where"), "{page}");

    // 4. Where: a new repository; an address that is none is told here.
    let mut fields = vec![
        ("repository", "new"),
        ("client", ""),
        ("new_name", "Main"),
        ("new_kind", "s3"),
        ("new_url", ""),
        ("new_credentials", "secret_access_key = hush"),
        ("do", "next"),
    ];
    let (status, _, page) = step(&bench, &cookie, &at("where"), &fields).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("The address is missing"), "{page}");
    assert!(page.contains("hush"), "what was typed stays on the page");
    let draft = bench.server().db.draft(&account, &owner(&bench).await).await.expect("read").expect("kept");
    assert!(!format!("{draft:?}").contains("hush"), "and is nowhere else");
    fields[3] = ("new_kind", "server");
    let (status, _, page) = step(&bench, &cookie, &at("where"), &fields).await;
    assert_eq!(status, StatusCode::OK, "{page}");

    // 5. Key: shown now and never again; without it nothing is made.
    let key = between(&page, "<code id=\"key\">", "</code>").to_owned();
    assert_eq!(key.len(), 44);
    let (status, _, page) = step(&bench, &cookie, &at("key"), &[("do", "make")]).await;
    assert!(status == StatusCode::FORBIDDEN && page.contains("typed back the key"), "{page}");
    assert!(!page.contains(&key), "not again");
    let (status, _, page) =
        step(&bench, &cookie, &at("key"), &[("key", &key), ("last_four", "0000"), ("do", "confirm")]).await;
    assert!(status == StatusCode::FORBIDDEN && page.contains("not the last four characters"), "{page}");
    let last = &key[key.len() - 4..];
    let (status, _, page) =
        step(&bench, &cookie, &at("key"), &[("key", &key), ("last_four", last), ("do", "confirm")]).await;
    assert!(status == StatusCode::OK && page.contains("Make it and back up now") && page.contains("whole"), "{page}");
    let (status, to, page) = step(&bench, &cookie, &at("key"), &[("do", "make-run")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    let job = to.rsplit('/').next().expect("a job");
    let ended = bench.ended(&token, &account, job).await;
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");

    let sets = bench.good(&token, Method::GET, &format!("/accounts/{account}/sets"), None).await;
    let set = &sets["items"][0];
    assert_eq!(set["name"], "whole");
    assert_eq!(set["choices"]["workloads"], json!(["mail", "onedrive"]));
    let rules: Vec<&str> =
        set["schedules"].as_array().expect("a list").iter().filter_map(|s| s["cron"].as_str()).collect();
    assert!(rules.len() == 2 && rules.contains(&"30 6 * * 1-5") && rules.contains(&"0 0 1 * *"), "{set}");
    assert_eq!(
        (&set["schedules"][0]["zone"], &set["schedules"][0]["jitter_s"], &set["schedules"][0]["catch_up"]),
        (&json!("Europe/Berlin"), &json!(300), &json!(false))
    );
    assert!(bench.server().db.draft(&account, &owner(&bench).await).await.expect("read").is_none(), "done");
    bench.running.stop().await;
}

async fn owner(bench: &Bench) -> Id {
    bench.server().db.person_by_login("owner@contoso.com").await.expect("read").expect("there").id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_is_one_persons_in_one_account_and_goes_when_nobody_wants_it() {
    let bench = Bench::quiet().await;
    let (one, two) = (bench.account("One").await, bench.account("Two").await);
    for (account, login) in
        [(Some(&one), "owner@contoso.com"), (Some(&one), "other@contoso.com"), (None, "admin@example.com")]
    {
        let role = if account.is_some() { Role::Owner } else { Role::Administrator };
        bench.person(account, role, login).await;
    }
    let cookie = async |login: &str| bench.sign_in(login, PASSWORD).await.expect("signed in");
    let (own, other, admin) =
        (cookie("owner@contoso.com").await, cookie("other@contoso.com").await, cookie("admin@example.com").await);
    let at = |account: &Id| format!("/a/{account}/sets/new/connect");
    for (cookie, name) in [(&own, "mine"), (&admin, "theirs")] {
        step(&bench, cookie, &at(&one), &[("name", name), ("do", "stay")]).await;
    }
    for (cookie, account, name) in
        [(&own, &one, "mine"), (&admin, &one, "theirs"), (&other, &one, "everyone"), (&admin, &two, "everyone")]
    {
        let (status, page) = bench.page(cookie, &at(account)).await;
        assert!(status.is_success() && page.contains(&format!("value=\"{name}\"")), "{name}: {page}");
    }
    assert_eq!(bench.page(&own, &at(&two)).await.0, StatusCode::NOT_FOUND);
    let (_, page) = bench.page(&own, &format!("/a/{one}/sets")).await;
    assert!(page.contains("You began a new backup set"), "{page}");
    let (_, page) = bench.page(&other, &format!("/a/{one}/sets")).await;
    assert!(!page.contains("You began a new backup set"), "{page}");

    // Too much is refused, and what was there stays.
    let much = "x".repeat(400_000);
    let (status, _, _) = step(&bench, &own, &at(&one), &[("name", &much), ("do", "next")]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    // Discarded; outlived; gone with who began it.
    step(&bench, &admin, &at(&one), &[("do", "discard")]).await;
    let server = bench.server();
    let admin = server.db.person_by_login("admin@example.com").await.expect("read").expect("there").id;
    assert!(server.db.draft(&one, &admin).await.expect("read").is_none());
    let person = owner(&bench).await;
    assert!(server.db.draft(&one, &person).await.expect("read").is_some());
    server.db.forget_drafts(server.now_us() - 1_000_000_000).await.expect("nothing so old");
    assert!(server.db.draft(&one, &person).await.expect("read").is_some());
    server.db.forget_drafts(server.now_us() + 1).await.expect("old now");
    assert!(server.db.draft(&one, &person).await.expect("read").is_none());
    step(&bench, &own, &at(&one), &[("name", "again"), ("do", "stay")]).await;
    server.db.remove_person(&person).await.expect("removed with it");
    step(&bench, &other, &at(&one), &[("name", "again"), ("do", "stay")]).await;
    server.db.remove_account(&one).await.expect("removed with it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_saves_its_part_and_nothing_else() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    // Two zones and a rule of quarters: no tab can say that, and none may take it away.
    let schedules = json!([{"cron": "0 1 * * *", "zone": "Asia/Tokyo", "jitter_s": 77}, {"cron": "@weekly", "zone": "Europe/Paris", "catch_up": false}]);
    let (repository, set, _) = set_up(&bench, &token, &account, &sim, schedules).await;
    let path = format!("/accounts/{account}/sets/{set}");
    let now = async || {
        let mut set = bench.good(&token, Method::GET, &path, None).await;
        for schedule in set["schedules"].as_array_mut().expect("a list") {
            schedule.as_object_mut().expect("an object").remove("id");
        }
        set["schedules"].as_array_mut().expect("a list").sort_by_key(Value::to_string);
        set
    };
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let tab = |name: &str| format!("/a/{account}/sets/{set}/change/{name}");
    for name in ["connect", "when", "where", "key"] {
        let (status, page) = bench.page(&cookie, &tab(name)).await;
        assert!(status.is_success() && page.contains("aria-current=\"page\""), "{name}: {page}");
        assert!(page.len() < 100_000, "{name}: {} bytes", page.len());
    }
    let before = now().await;
    let page = told(&bench, &cookie, &format!("{}?open=users", tab("choose"))).await;
    let user = between(&page, "name=\"shown\" value=\"1", "\"").to_owned();
    let shown = format!("1{user}");
    let choice = [
        ("include", "*"),
        ("exclude", ""),
        ("parts", "some"),
        ("part", "mail"),
        ("part", "onedrive"),
        ("versions", "all"),
        ("leavers", "freeze"),
        ("open", "users"),
        ("shown", &shown),
        ("name", "other"),
        ("tenant", "x"),
        ("zone", "UTC"),
        ("keep_last", "1"),
        ("do", "save"),
    ];
    let (status, to, page) = step(&bench, &cookie, &tab("choose"), &choice).await;
    assert_eq!((status, to), (StatusCode::SEE_OTHER, format!("{}?saved=1", tab("choose"))), "{page}");
    let after = now().await;
    let mut expected = before.clone();
    expected["choices"]["exclude"] = json!([user]);
    expected["choices"]["versions"] = json!("all");
    expected["choices"]["leavers"] = json!("freeze");
    assert_eq!(after, expected);

    // What the form has once for all, and nobody changes, stays as each schedule has it.
    let rules = |set: &Value| {
        let rule = |row: &Value| json!([row["cron"], row["zone"], row["jitter_s"], row["catch_up"]]);
        let mut all: Vec<Value> = set["schedules"].as_array().expect("a list").iter().map(rule).collect();
        all.sort_by_key(Value::to_string);
        (all, set["choices"]["time_zone"].clone())
    };
    let page = told(&bench, &cookie, &tab("when")).await;
    let zone = between(&page, "list=\"zones\" value=\"", "\"").to_owned();
    let jitter = between(&page, "max=\"1380\" value=\"", "\"").to_owned();
    let mut as_it_is = vec![
        ("when_kind", "cron"),
        ("when_time", ""),
        ("when_cron", "@weekly"),
        ("when_kind", "daily"),
        ("when_time", "01:00"),
        ("when_cron", ""),
        ("zone", &zone),
        ("jitter", &jitter),
        ("keep_last", "3"),
        ("do", "save"),
    ];
    if page.contains("name=\"catch_up\" value=\"on\" checked") {
        as_it_is.push(("catch_up", "on"));
    }
    let (status, _, page) = step(&bench, &cookie, &tab("when"), &as_it_is).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    assert_eq!(rules(&now().await), rules(&after));

    let when = [
        ("when_kind", "hourly"),
        ("when_time", "00:15"),
        ("when_cron", ""),
        ("zone", "Europe/Berlin"),
        ("jitter", "2"),
        ("catch_up", "on"),
        ("keep_last", "9"),
        ("include", "nobody@x"),
        ("do", "save"),
    ];
    let (status, _, page) = step(&bench, &cookie, &tab("when"), &when).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    let after = now().await;
    assert_eq!(
        (&after["schedules"][0]["cron"], &after["schedules"][0]["jitter_s"]),
        (&json!("15 * * * *"), &json!(120))
    );
    assert_eq!(
        (&after["enabled"], &after["choices"]["include"], &after["choices"]["exclude"]),
        (&json!(false), &json!(["*"]), &json!([user]))
    );
    assert_eq!(
        (&after["choices"]["retention"]["keep-last"], &after["choices"]["time_zone"]),
        (&json!(9), &json!("Europe/Berlin"))
    );

    // What would never run, or back up nothing, is refused.
    for (schedules, most, why) in [
        (json!([{"cron": "0 0 30 2 *", "zone": "UTC"}]), Value::Null, "never comes"),
        (json!([]), json!(0), "nothing would be backed up"),
    ] {
        let mut choices = after["choices"].clone();
        choices["skip_larger_than_bytes"] = most;
        let body = json!({
            "name": after["name"], "tenant": after["tenant"], "repository": after["repository"], "choices": choices,
            "schedules": schedules,
        });
        let (status, answer) = bench.ask(&token, Method::PUT, &path, Some(body)).await;
        assert!(status == StatusCode::UNPROCESSABLE_ENTITY && answer.to_string().contains(why), "{answer}");
    }

    // Where: a further destination is added and let go of; the repository stays what it is.
    let place = tempfile::tempdir().expect("a folder");
    let copy = [
        ("client", ""),
        ("repository", "new"),
        ("copy_name", "Copy"),
        ("copy_url", place.path().to_str().expect("text")),
        ("do", "add-place"),
    ];
    let (status, _, page) = step(&bench, &cookie, &tab("where"), &copy).await;
    assert!(
        status == StatusCode::FORBIDDEN && page.contains("Only an administrator") && page.contains("value=\"Copy\""),
        "{page}"
    );
    let (status, _, page) = step(
        &bench,
        &cookie,
        &tab("where"),
        &[
            ("client", ""),
            ("copy_name", "Copy"),
            ("copy_url", "webdav://127.0.0.1:9/x"),
            ("copy_credentials", "password = hush"),
            ("do", "add-place"),
        ],
    )
    .await;
    assert!(status.is_success() && page.contains("is added") && !page.contains("hush"), "{page}");
    let letting = between(&page, "value=\"remove-place:", "\"").to_owned();
    let (_, _, page) =
        step(&bench, &cookie, &tab("where"), &[("client", ""), ("do", &format!("remove-place:{letting}"))]).await;
    assert!(page.contains("What lies there stays") && !page.contains("remove-place:"), "{page}");
    assert_eq!(now().await["repository"], json!(repository));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_has_is_told_counted_and_ticked_for_programs_too() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let operator = bench.person(Some(&account), Role::Operator, "operator@contoso.com").await;
    let options = SimOptions { users: 30, groups: 3, ..SimOptions::tiny() };
    let sim = SimTenant::start(options).await.expect("a tenant");
    set_up(&bench, &token, &account, &sim, json!([])).await;
    let tenants = bench.good(&token, Method::GET, &format!("/accounts/{account}/tenants"), None).await;
    let tenant = format!("/accounts/{account}/tenants/{}", id(&tenants["items"][0]));
    let (status, _) = bench.ask(&operator, Method::GET, &format!("{tenant}/contents?kind=users"), None).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = bench.ask(&token, Method::GET, &format!("{tenant}/contents?kind=printers"), None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let users = bench.good(&token, Method::GET, &format!("{tenant}/contents?kind=users"), None).await;
    let all = users["items"].as_array().expect("a list").len();
    assert!(all >= 30 && users["all"] == all && users["next"].is_null(), "{users}");
    let some = bench.good(&token, Method::GET, &format!("{tenant}/contents?kind=users&q=ALICE"), None).await;
    assert!(some["items"].as_array().expect("a list").len() < all && some["found"].as_u64() >= Some(1), "{some}");
    let rest = bench.good(&token, Method::GET, &format!("{tenant}/contents?kind=users&from={}", all - 2), None).await;
    assert_eq!(rest["items"].as_array().expect("a list").len(), 2);

    // Asked again, it comes from memory.
    let asked = sim.stats().requests;
    for kind in ["groups", "sites", "teams", "licences"] {
        bench.good(&token, Method::GET, &format!("{tenant}/contents?kind={kind}"), None).await;
    }
    assert_eq!(sim.stats().requests, asked);

    let rule = users["items"][3]["rule"].as_str().expect("a rule").to_owned();
    let counted = bench
        .good(
            &token,
            Method::POST,
            &format!("{tenant}/choice/count"),
            Some(json!({"include": ["*"], "exclude": [rule]})),
        )
        .await;
    assert_eq!(
        (&counted["kinds"][0]["all"], &counted["kinds"][0]["chosen"], &counted["kinds"][0]["new_ones"]),
        (&json!(all), &json!(all - 1), &json!(true)),
        "{counted}"
    );
    let tick = json!({"rules": {"include": ["*"], "exclude": [rule]}, "rule": rule, "chosen": true});
    let ticked = bench.good(&token, Method::POST, &format!("{tenant}/choice/tick"), Some(tick)).await;
    assert_eq!(
        (&ticked["rules"]["exclude"], &ticked["counts"]["kinds"][0]["chosen"]),
        (&json!([]), &json!(all)),
        "{ticked}"
    );

    // A group takes in who is in it: as many as a backup finds.
    let groups = bench.good(&token, Method::GET, &format!("{tenant}/contents?kind=groups"), None).await;
    let group = groups["items"][0]["rule"].as_str().expect("a rule");
    let counted =
        bench.good(&token, Method::POST, &format!("{tenant}/choice/count"), Some(json!({"include": [group]}))).await;
    let members = counted["kinds"][0]["chosen"].as_u64().expect("a number");
    assert!(members > 0 && members < all as u64, "{counted}");

    let many = json!({"include": vec!["x@y"; 1_001]});
    let (status, _) = bench.ask(&token, Method::POST, &format!("{tenant}/choice/count"), Some(many)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let none = json!({"rules": {"include": ["*"]}, "rule": "nobody@x", "chosen": true});
    let (status, _) = bench.ask(&token, Method::POST, &format!("{tenant}/choice/tick"), Some(none)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_microsoft_does_not_tell_is_said_and_rules_can_be_written() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (_, set, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    sim.expire_secret();
    sim.revoke_tokens();
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let tab = format!("/a/{account}/sets/{set}/change/choose");
    let page = told(&bench, &cookie, &tab).await;
    assert!(page.contains("cannot be shown now") && page.contains("name=\"include\""), "{page}");
    let fields = [
        ("include", "alice@contoso.com"),
        ("exclude", ""),
        ("parts", "all"),
        ("versions", "current"),
        ("leavers", "keep"),
        ("do", "save"),
    ];
    let (status, _, page) = step(&bench, &cookie, &tab, &fields).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{page}");
    let tenants = bench.good(&token, Method::GET, &format!("/accounts/{account}/tenants"), None).await;
    let path = format!("/accounts/{account}/tenants/{}/contents?kind=users", id(&tenants["items"][0]));
    let (status, problem) = bench.ask(&token, Method::GET, &path, None).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
    assert!(problem["hint"].is_string(), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_that_means_more_than_the_account_may_protect_is_refused_before_anything_ran() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let options = SimOptions { users: 8, ..SimOptions::tiny() };
    let sim = SimTenant::start(options).await.expect("a tenant");
    let (repository, _, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let tenants = bench.good(&token, Method::GET, &format!("/accounts/{account}/tenants"), None).await;
    let tenant = id(&tenants["items"][0]);
    let users = format!("/accounts/{account}/tenants/{tenant}/contents?kind=users");
    let users = bench.good(&token, Method::GET, &users, None).await;
    // Nothing is to be remarked of those who have a licence.
    let licensed = users["items"].as_array().expect("a list").iter().filter(|user| user["remark"] == "");
    let rules: Vec<&Value> = licensed.map(|user| &user["rule"]).collect();
    assert!(rules.len() > 4, "{users}");

    let limits = crate::server::db::Entitlements { mailboxes: Some(3), ..Default::default() };
    bench.server().db.change_account(&account, "Contoso", limits).await.expect("changed");
    let path = format!("/accounts/{account}/sets");
    let wanted = |name: &str, include: Value| {
        let choices = json!({"include": include, "workloads": ["mail", "onedrive"]});
        Some(json!({"name": name, "tenant": tenant, "repository": repository, "choices": choices}))
    };
    let refused = async |method: Method, path: &str, body: Option<Value>| {
        let (status, problem) = bench.ask(&token, method, path, body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
        let message = problem["message"].as_str().expect("a message");
        assert!(message.contains("mailboxes") && message.contains("may protect 3"), "{problem}");
    };
    refused(Method::POST, &path, wanted("all", json!(["*"]))).await;
    let two = bench.good(&token, Method::POST, &path, wanted("two", json!([rules[0], rules[1]]))).await;
    let used = bench.good(&token, Method::GET, &format!("/accounts/{account}"), None).await["used"].clone();
    assert_eq!(used["mailboxes"], 2, "what is chosen counts before it ran: {used}");
    // One after the other leads no further, nor does a change.
    refused(Method::POST, &path, wanted("more", json!([rules[2], rules[3]]))).await;
    refused(Method::PUT, &format!("{path}/{}", id(&two)), wanted("two", json!(["*"]))).await;
    bench.good(&token, Method::PUT, &format!("{path}/{}", id(&two)), wanted("two", json!([rules[0]]))).await;
    bench.good(&token, Method::POST, &path, wanted("one", json!([rules[2]]))).await;

    // The wizard says so where it is chosen.
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let at = |step: &str| format!("/a/{account}/sets/new/{step}");
    step(&bench, &cookie, &at("connect"), &[("name", "whole"), ("tenant", &tenant), ("do", "next")]).await;
    let fields = [("include", "*"), ("parts", "all"), ("versions", "current"), ("leavers", "keep"), ("do", "next")];
    let (status, _, page) = step(&bench, &cookie, &at("choose"), &fields).await;
    assert!(status == StatusCode::FORBIDDEN && page.contains("may protect 3"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_stores_as_much_as_it_may_gets_no_further_set() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (repository, set, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let path = format!("/accounts/{account}/sets");
    let before = bench.good(&token, Method::GET, &format!("{path}/{set}"), None).await;
    let wanted = |name: &str| json!({"name": name, "tenant": before["tenant"], "repository": before["repository"], "choices": before["choices"]});
    let db = &bench.server().db;
    let row = Id::parse(&repository).expect("an id");
    db.keep_stored_bytes(&row, 5_000).await.expect("kept");
    let limits = crate::server::db::Entitlements { bytes: Some(5_000), ..Default::default() };
    db.change_account(&account, "Contoso", limits).await.expect("changed");
    let (status, problem) = bench.ask(&token, Method::POST, &path, Some(wanted("more"))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    assert!(problem["message"].as_str().expect("a message").contains("stores as much as it may"), "{problem}");
    // What is there may be changed all the same.
    bench
        .good(&token, Method::PUT, &format!("{path}/{set}"), Some(wanted(before["name"].as_str().expect("a name"))))
        .await;
}
