//! Users sign in by every way, stay signed in, and sign out; what `test` says of them.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};

use serde_json::Value;
use tenantvault::sim::{SimOptions, UserKind};

use crate::support::{Done, Place, close, runtime};

const ALICE: &str = "alice@contoso.com";

/// A folder whose tenant a user signs in to; `keys`: what stands in the tenant's table beside its addresses.
fn place(options: SimOptions, keys: &str) -> Place {
    let place = Place::with_tenant(SimOptions { device_interval: 0, ..options });
    change(&place, |text| {
        text.replace("client_secret_file = \"sim.secret\"", &format!("{keys}\nkeep_tokens = \"file\""))
    });
    place
}

fn change(place: &Place, change: impl Fn(String) -> String) {
    place.write("tenantvault.toml", &change(place.read("tenantvault.toml")));
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    let mut command = place.process(arguments);
    // Whatever would open a browser here is not there.
    command.env("PATH", place.path("bin")).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("it runs")
}

/// The first word of stderr that is an address.
fn address(child: &mut Child) -> (String, impl std::io::Read + use<>) {
    let mut err = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("http") {
        line.clear();
        assert!(err.read_line(&mut line).expect("it reads") > 0, "no address");
    }
    (line.split_whitespace().find(|word| word.starts_with("http")).expect("an address").to_owned(), err)
}

fn end(mut child: Child, mut err: impl std::io::Read) -> Done {
    drop(child.stdin.take());
    let mut text = String::new();
    err.read_to_string(&mut text).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    Done { err: text, ..Done::of(output) }
}

/// What a browser is led back to, as `user`.
fn browse(address: &str, user: &str) -> String {
    let http =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let answer = runtime().block_on(http.get(format!("{address}&sim_user={user}")).send()).expect("it answers");
    answer.headers()["location"].to_str().expect("text").to_owned()
}

fn by_device_code(place: &Place, user: &str, approve: bool) -> Done {
    let sim = place.tenant.as_ref().expect("a tenant");
    let mut child = start(place, &["login", "sim", "--device-code"]);
    let (address, err) = address(&mut child);
    assert!(address.ends_with("/devicelogin"));
    for code in sim.waiting_codes() {
        assert!(sim.answer_device(&code, user, approve));
    }
    end(child, err)
}

#[test]
fn a_user_signs_in_by_device_code_and_backs_up_what_is_the_users_own() {
    let place = place(SimOptions::tiny(), "sign_in = \"device-code\"");
    place.init();
    place.run(&["backup", "everyone"]).fails(1, &["Nobody is signed in", "Hint: tenantvault login sim"]);
    by_device_code(&place, ALICE, false).fails(1, &["declined in the browser", "tenantvault login sim"]);
    let done = by_device_code(&place, ALICE, true);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains(&format!("signed in as {ALICE}, kept in ")), "{}", done.out);
    // Alice has a file that is a gap.
    let done = place.run(&["backup", "everyone"]);
    assert_eq!(done.code, 3, "{}", done.err);
    let users = place.run(&["ls", "latest:users"]).out;
    assert!(users.contains(ALICE) && users.lines().count() == 1, "{users}");
    let coverage = place.run(&["coverage", "latest"]).out;
    assert!(coverage.contains("everybody else"), "{coverage}");
    assert_eq!(place.tenant.as_ref().expect("a tenant").stats().token_leaks, 0);
    let done = place.run(&["test", "everyone"]);
    assert_eq!(done.code, 0, "{}", done.err);
    for part in [
        "signed in as alice@contoso.com",
        "mail           green",
        "Files.Read ",
        "no directory role",
        "of 1 user 1 have",
    ] {
        assert!(done.out.contains(part), "'{part}' is not in {}", done.out);
    }
    assert!(place.run(&["logout", "sim"]).out.contains("signed out"));
    assert!(place.run(&["logout", "sim"]).out.contains("nobody was signed in"));
    place.run(&["test", "everyone"]).fails(1, &["Nobody is signed in", "Hint: tenantvault login sim"]);
}

#[test]
fn an_administrator_finds_the_others() {
    let admins = vec![ALICE.to_owned()];
    let place = place(SimOptions { admins, ..SimOptions::tiny() }, "sign_in = \"device-code\"");
    place.init();
    let sim = place.tenant.as_ref().expect("a tenant");
    let mut child = start(&place, &["login", "sim", "--admin"]);
    let (_, err) = address(&mut child);
    sim.waiting_codes().iter().for_each(|code| assert!(sim.answer_device(code, ALICE, true)));
    assert_eq!(end(child, err).code, 0);
    let done = place.run(&["test", "everyone"]);
    assert!(done.out.contains("Global Administrator"), "{}", done.out);
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let coverage = place.run(&["coverage", "latest"]).out;
    assert!(coverage.contains("info@contoso.com") && !coverage.contains("everybody else"), "{coverage}");
}

#[test]
fn a_user_signs_in_in_a_browser_that_comes_back() {
    let place = place(SimOptions::tiny(), "sign_in = \"browser\"\nuser = \"alice@contoso.com\"");
    let mut child = start(&place, &["login", "sim"]);
    let (address, err) = address(&mut child);
    assert!(address.contains("code_challenge_method=S256") && address.contains("login_hint=alice"), "{address}");
    let back = browse(&address, ALICE).replace("localhost", "127.0.0.1");
    let page = runtime().block_on(async { reqwest::get(back).await.expect("it answers").text().await });
    assert!(page.expect("a page").contains("You are signed in"));
    let done = end(child, err);
    assert_eq!(done.code, 0, "{}", done.err);
}

/// Signs in with what `pasted` makes of the last page's address.
fn by_paste(place: &Place, user: &str, pasted: impl Fn(String) -> String) -> Done {
    let mut child = start(place, &["login", "sim", "--paste"]);
    let (address, err) = address(&mut child);
    let text = pasted(browse(&address, user));
    writeln!(child.stdin.as_mut().expect("piped"), "{text}").expect("it takes it");
    end(child, err)
}

#[test]
fn the_last_pages_address_is_pasted_and_rubbish_is_told() {
    let place = place(SimOptions::tiny(), "sign_in = \"browser\"\nuser = \"alice@contoso.com\"");
    by_paste(&place, ALICE, |_| String::new()).fails(2, &["neither the last page's address nor a code", "login sim"]);
    by_paste(&place, ALICE, |back| back.replace("state=", "state=x"))
        .fails(2, &["belongs to another sign-in", "login sim"]);
    by_paste(&place, ALICE, |back| back.replace("?code=", "?code=x")).fails(1, &["AADSTS70000", "login sim"]);
    let sim = place.tenant.as_ref().expect("a tenant");
    let is_other = |user: &&tenantvault::sim::ExpectedUser| user.kind == UserKind::Regular && user.upn != ALICE;
    let other = sim.expected().users.iter().find(is_other).expect("another user").upn.clone();
    by_paste(&place, &other, |back| back).fails(1, &["but the configuration says", ALICE, "nothing was kept"]);
    place.run(&["test", "sim"]).fails(1, &["Nobody is signed in"]);
    assert_eq!(by_paste(&place, ALICE, |back| back).code, 0);
}

#[test]
fn a_revoked_sign_in_says_how_to_begin_anew() {
    let place = place(SimOptions::tiny(), "sign_in = \"device-code\"");
    assert_eq!(by_device_code(&place, ALICE, true).code, 0);
    place.tenant.as_ref().expect("a tenant").revoke_sign_ins();
    place.run(&["test", "everyone"]).fails(1, &["AADSTS50173", "Hint: Sign in again: tenantvault login sim"]);
}

#[test]
fn two_processes_at_once_keep_the_sign_in() {
    let place = place(SimOptions::tiny(), "sign_in = \"device-code\"");
    assert_eq!(by_device_code(&place, ALICE, true).code, 0);
    let mut both = [(); 4].map(|()| start(&place, &["test", "everyone"]));
    for child in &mut both {
        let mut err = String::new();
        let status = child.wait().expect("it ends");
        child.stderr.take().expect("piped").read_to_string(&mut err).expect("it reads");
        assert!(status.success(), "{err}");
    }
    assert_eq!(place.run(&["test", "everyone"]).code, 0);
}

#[test]
fn a_password_works_till_a_second_factor_is_wanted() {
    let keys = "sign_in = \"password\"\nuser = \"alice@contoso.com\"\npassword_file = \"alice.password\"";
    let place = place(SimOptions::tiny(), keys);
    change(&place, |text| text.replace("keep_tokens = \"file\"\n", ""));
    let sim = place.tenant.as_ref().expect("a tenant");
    place.write("alice.password", &sim.password_of(ALICE));
    close(&place.path("alice.password"));
    let done = place.run(&["login", "sim"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.contains("works; nothing is kept") && done.err.contains("signs in by password"), "{}", done.err);
    assert_eq!(place.run(&["test", "everyone"]).code, 0);
    sim.refuse_user(ALICE, Some(50_076));
    place
        .run(&["test", "everyone"])
        .fails(1, &["multi-factor", "AADSTS50076", "a password alone cannot work", "login sim"]);
    sim.refuse_user(ALICE, None);
    place.write("alice.password", "wrong");
    place.run(&["test", "everyone"]).fails(1, &["user name or password is wrong", "AADSTS50126"]);
}

#[test]
fn a_personal_account_is_a_set_of_one() {
    let place = place(SimOptions::tiny(), "type = \"personal\"");
    change(&place, |text| {
        text.lines().filter(|line| !line.starts_with("tenant_id")).map(|line| format!("{line}\n")).collect()
    });
    place.init();
    assert_eq!(by_device_code(&place, ALICE, true).code, 0);
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let listed = place.run(&["ls", "-R", "latest"]).out;
    assert!(
        listed.contains(&format!("users/{ALICE}/Mail")) && listed.contains(&format!("users/{ALICE}/OneDrive")),
        "{listed}"
    );
    place.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let routes = place.tenant.as_ref().expect("a tenant").stats().routes;
    assert!(!routes.contains_key("GET /users"), "{routes:?}");
    let coverage = place.run(&["coverage", "latest"]).out;
    assert!(coverage.contains("a personal account has none of it"), "{coverage}");
    assert!(!coverage.contains("everybody else"), "{coverage}");
    let done = place.run(&["test", "everyone"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(!done.out.contains("roles") && !done.out.contains("plans"), "{}", done.out);
}

#[test]
fn an_app_has_nothing_to_log_in_to() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.run(&["login", "sim"]).fails(2, &["is signed in to by an app", "Hint: ", "device-code"]);
    place.run(&["login", "nobody"]).fails(1, &["There is no tenant 'nobody'", "sim"]);
    place.run(&["login", "sim", "--browser", "--paste"]).fails(2, &["cannot be used with"]);
}

#[test]
fn a_sign_in_that_others_can_read_is_refused() {
    let place = place(SimOptions::tiny(), "sign_in = \"device-code\"");
    let done = by_device_code(&place, ALICE, true);
    let file = done.out.split("kept in ").nth(1).expect("a place").trim().to_owned();
    open(Path::new(&file));
    if cfg!(unix) {
        place.run(&["test", "everyone"]).fails(1, &["is open to other users", "chmod 600"]);
    }
}

fn open(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[test]
fn test_tells_the_plans_the_days_and_the_address_for_consent() {
    let roles =
        |more: &[&str]| [&["User.Read.All", "Mail.Read"], more].concat().iter().map(ToString::to_string).collect();
    let place = Place::with_tenant(SimOptions {
        roles: roles(&["Application.Read.All"]),
        secret_days: 12,
        ..SimOptions::tiny()
    });
    let done = place.run(&["test"]);
    done.fails(1, &["missing", "Warning: Tenant sim: the secret is good for 12 days"]);
    let sim = place.tenant.as_ref().expect("a tenant");
    let address = format!("{}/{}/adminconsent?client_id={}", sim.login_url(), sim.tenant_id(), sim.client_id());
    for part in ["mail           green", "onedrive       missing  Files.Read.All", "have a plan for Exchange", &address]
    {
        assert!(done.out.contains(part), "'{part}' is not in {}", done.out);
    }
    // An administrator opens it.
    let page = runtime().block_on(async { reqwest::get(address).await.expect("it answers").text().await });
    assert!(page.expect("a page").contains("Consent was granted"));
    let (code, lines) = place.json(&["test", "everyone"]);
    assert_eq!(code, 0);
    let proof = lines.iter().find(|line| line["message_type"] == "proof").expect("a line");
    assert!(
        proof["days"].is_null() && proof["message"].as_str().is_some_and(|text| text.contains("Application.Read.All"))
    );
    assert!(lines.iter().filter(|line| line["message_type"] == "workload").all(|line| line["state"] == "green"));
    assert!(lines.iter().any(|line| line["message_type"] == "plans" && line["plans"]["exchange"].as_u64() > Some(0)));
}

/// The export of chats and the list of all sites are for apps alone: a user who is signed in gets the same another way.
#[test]
fn a_users_chats_and_sites_are_read_as_an_app_reads_them() {
    let user = place(SimOptions::tiny(), "sign_in = \"device-code\"");
    let app = Place::with_tenant(SimOptions::tiny());
    user.init();
    app.init();
    assert_eq!(by_device_code(&user, ALICE, true).code, 0);
    for day in 0..4 {
        let items = |place: &Place| {
            assert_eq!(place.run(&["backup", "everyone"]).code, 3, "day {day}");
            let (_, lines) = place.json(&["coverage", "latest"]);
            let of = |name: &str, workload: &str| -> Vec<Value> {
                let mine = lines.iter().filter(|line| line["workload"] == workload && line["name"] == name);
                mine.map(|line| serde_json::json!([line["items"], line["state"], line["gaps"]])).collect()
            };
            let sites = lines.iter().filter(|line| line["owner"].as_str().is_some_and(|o| o.starts_with("sites/")));
            let sites: BTreeSet<String> =
                sites.filter(|l| l["workload"] == "site").map(|l| l["owner"].to_string()).collect();
            (of(ALICE, "chats"), sites)
        };
        let (by_user, by_app) = (items(&user), items(&app));
        assert!(
            by_user.0.len() == 1 && by_user.0[0][0].as_u64() > Some(10) && by_user.0[0][1] == "protected",
            "{by_user:?}"
        );
        assert!(!by_user.1.is_empty());
        assert_eq!(by_user, by_app, "day {day}");
        for place in [&user, &app] {
            place.tenant.as_ref().expect("a tenant").advance_day();
        }
    }
    let stats = user.tenant.as_ref().expect("a tenant").stats();
    assert_eq!(stats.requests_to("getAllMessages") + stats.requests_to("getAllSites"), 0);
}

#[test]
fn calendars_of_groups_are_read_for_members_who_sign_in_and_said_to_be_impossible_for_others() {
    let options = SimOptions { users: 6, groups: 5, ..SimOptions::tiny() };
    let user = place(options.clone(), "sign_in = \"device-code\"");
    let app = Place::with_tenant(options);
    user.init();
    app.init();
    assert_eq!(by_device_code(&user, ALICE, true).code, 0);
    let calendars = |place: &Place| {
        assert_eq!(place.run(&["backup", "everyone"]).code, 3);
        let (_, lines) = place.json(&["coverage", "latest"]);
        let of_groups = |line: &&Value| line["owner"].as_str().is_some_and(|owner| owner.starts_with("groups/"));
        let lines: Vec<Value> =
            lines.iter().filter(of_groups).filter(|l| l["workload"] == "calendar").cloned().collect();
        assert_eq!(lines.len(), 5, "{lines:?}");
        lines
    };
    assert!(calendars(&app).iter().all(|line| line["state"] == "impossible" && line["items"] == 0));
    let by_user = calendars(&user);
    let read = by_user.iter().filter(|line| line["state"] == "protected" && line["items"] == 3);
    let (read, others) = (read.count(), by_user.iter().filter(|line| line["state"] == "impossible").count());
    assert!(read > 0 && others > 0 && read + others == 5, "{by_user:?}");
    assert!(by_user.iter().all(|line| !line["reason"].as_str().unwrap_or_default().is_empty()));
}
