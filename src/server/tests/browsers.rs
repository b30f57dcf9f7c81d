//! What browsers meet: signing in, other sites' pages, guessing, headers, the second factor.

use reqwest::{Method, StatusCode, header};
use serde_json::json;

use super::{Bench, PASSWORD};
use crate::server::auth::{Role, code_at, new_secret};

#[tokio::test(flavor = "multi_thread")]
async fn the_first_administrator_comes_in_by_the_link_and_the_link_works_once() {
    let bench = Bench::quiet().await;
    let link = bench.running.first_link().expect("nobody is there yet").to_owned();
    let path = link.strip_prefix(&bench.running.url()).expect("a link of ours").to_owned();
    let (status, page) = bench.page("", &path).await;
    assert!(status.is_success() && page.contains("admin"), "{status} {page}");
    let form = "password=three+plain+words&again=three+plain+words".to_owned();
    let wrong = bench.send_form(&path, None, "password=short&again=short".into()).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(bench.send_form(&path, None, form.clone()).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(bench.send_form(&path, None, form).await.status(), StatusCode::NOT_FOUND, "not twice");
    let cookie = bench.sign_in("Admin", PASSWORD).await.expect("signed in");
    let (status, page) = bench.page(&cookie, "/accounts").await;
    assert!(status.is_success() && page.contains("There is no account yet"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sites_page_moves_nothing() {
    let bench = Bench::quiet().await;
    bench.person(None, Role::Administrator, "admin@example.com").await;
    let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    for (name, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("x-nothing", "x"),
    ] {
        let request = bench.client.post(bench.url("/accounts")).header(header::COOKIE, &cookie).header(name, value);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body("name=Mallory");
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::FORBIDDEN, "{name}: {value}");
        let request =
            bench.client.post(bench.url("/api/v1/accounts")).header(header::COOKIE, &cookie).header(name, value);
        let request = request.header(header::CONTENT_TYPE, "application/json").body("{\"name\": \"Mallory\"}");
        assert_eq!(request.send().await.expect("an answer").status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert!(bench.server().db.accounts().await.expect("read").is_empty());
    let answer = bench.send_form("/accounts", Some(&cookie), "name=Alice".into()).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_that_somebody_planted_is_not_taken_over_at_sign_in() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    for login in ["owner@contoso.com", "mallory@contoso.com"] {
        bench.person(Some(&account), Role::Owner, login).await;
    }
    // Who comes by a cookie.
    let who = async |cookie: &str| {
        let request = bench.client.get(bench.url("/api/v1/me")).header(header::COOKIE, cookie);
        let text = request.send().await.expect("an answer").text().await.expect("text");
        let answer: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        answer["login"].as_str().map(str::to_owned)
    };
    let mallorys = bench.sign_in("mallory@contoso.com", PASSWORD).await.expect("signed in");
    let form = "login=owner%40contoso.com&password=three+plain+words&code=";
    // One that the server never gave to anybody, and the session of whoever planted it.
    for planted in [format!("tenantvault={}", "a1".repeat(32)), mallorys.clone()] {
        let before = who(&planted).await;
        let answer = bench.send_form("/sign-in", Some(&planted), form.to_owned()).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let given = answer.headers()[header::SET_COOKIE].to_str().expect("text");
        let given = given.split(';').next().unwrap_or_default().to_owned();
        assert_ne!(given, planted, "a session has a name of its own");
        assert_eq!(who(&planted).await, before, "who planted it is who they were");
        assert_eq!(who(&given).await.as_deref(), Some("owner@contoso.com"));
    }
    let wrong = form.replace("three", "four");
    let refused = bench.send_form("/sign-in", Some(&mallorys), wrong).await;
    assert_eq!((refused.status(), refused.headers().get(header::SET_COOKIE)), (StatusCode::FORBIDDEN, None));
    assert_eq!(who(&mallorys).await.as_deref(), Some("mallory@contoso.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_must_wait_and_is_told_the_same_of_known_and_unknown_logins() {
    let bench = Bench::quiet().await;
    bench.person(None, Role::Administrator, "admin@example.com").await;
    let mut statuses = Vec::new();
    for login in ["admin@example.com", "nobody@example.com"] {
        let mut of_login = Vec::new();
        for number in 0..8 {
            of_login.push(bench.sign_in(login, &format!("wrong guess {number}")).await.expect_err("wrong"));
        }
        statuses.push(of_login);
    }
    assert_eq!(statuses[0], statuses[1]);
    assert_eq!(statuses[0][0], StatusCode::FORBIDDEN);
    assert_eq!(statuses[0][7], StatusCode::TOO_MANY_REQUESTS);
    // The right password, too, must wait now.
    assert_eq!(bench.sign_in("admin@example.com", PASSWORD).await, Err(StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_where_it_is_ended_and_a_new_password_ends_all() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    let (one, two) = (
        bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in"),
        bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in"),
    );
    assert_ne!(one, two, "a sign-in makes a new session");
    assert_eq!(bench.send_form("/sign-out", Some(&one), String::new()).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(bench.page(&one, "/me").await.0, StatusCode::SEE_OTHER, "led to sign in");
    assert_eq!(bench.page(&two, "/me").await.0, StatusCode::OK);
    let body = "old=three+plain+words&password=four+other+plain+words".to_owned();
    assert_eq!(bench.send_form("/me/password", Some(&two), body).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(bench.page(&two, "/me").await.0, StatusCode::SEE_OTHER);
    bench.sign_in("admin@example.com", PASSWORD).await.expect_err("the old one");
    bench.sign_in("admin@example.com", "four other plain words").await.expect("the new one");
    bench.good(&token, Method::GET, "/me", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_second_factor_the_password_alone_does_not_do() {
    let bench = Bench::quiet().await;
    bench.person(None, Role::Administrator, "admin@example.com").await;
    let server = bench.server();
    let person = server.db.person_by_login("admin@example.com").await.expect("read").expect("there");
    let secret = new_secret();
    server.db.begin_second_factor(&server.vault, &person.id, &secret).await.expect("begun");
    let person = server.db.person(&person.id).await.expect("read");
    let now = server.now_us();
    server.db.confirm_second_factor(&server.vault, &person, "000000", now).await.expect_err("a wrong code");
    let code = code_at(&secret, now).expect("a code");
    server.db.confirm_second_factor(&server.vault, &person, &code, now).await.expect("on");
    bench.sign_in("admin@example.com", PASSWORD).await.expect_err("no code");
    let with = |code: &str| format!("login=admin@example.com&password=three+plain+words&code={code}");
    let again = bench.send_form("/sign-in", None, with(&code)).await;
    assert_eq!(again.status(), StatusCode::FORBIDDEN, "a code is good once");
    let next = code_at(&secret, now + 30_000_000).expect("a code");
    assert_eq!(bench.send_form("/sign-in", None, with(&next)).await.status(), StatusCode::SEE_OTHER);
}

/// The secret of a second factor that a page shows.
fn secret_on(page: &str) -> &str {
    let rest = page.split_once("Or type this into it: <code>").unwrap_or_else(|| panic!("no secret: {page}")).1;
    rest.split('<').next().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistyped_code_shows_the_same_secret_again_and_never_one_that_is_on() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let confirm = async |code: &str| {
        let body = format!("old=three+plain+words&code={code}");
        let answer = bench.send_form("/me/factor/confirmation", Some(&cookie), body).await;
        (answer.status(), answer.text().await.expect("text"))
    };
    let (status, page) = confirm("000000").await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && !page.contains("Or type this"), "none was begun: {page}");
    let proof = || "old=three+plain+words".to_owned();
    let begun = bench.send_form("/me/factor", Some(&cookie), proof()).await.text().await.expect("text");
    let secret = secret_on(&begun).to_owned();
    assert!(!begun.contains("action=\"/me/factor\""), "no second set-up beside the first: {begun}");
    for wrong in ["000000", "x"] {
        let (status, page) = confirm(wrong).await;
        assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("The code is not right"), "{page}");
        assert_eq!(secret_on(&page), secret, "what was scanned is good still");
    }
    // What came by a token hears nothing of it.
    let request = bench.client.post(bench.url("/me/factor/confirmation")).bearer_auth(&token);
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    let request = request.body("old=three+plain+words&code=000000");
    let told = request.send().await.expect("an answer").text().await.expect("text");
    assert!(!told.contains(&secret), "{told}");
    let code = code_at(&secret, bench.server().now_us()).expect("a code");
    assert_eq!(confirm(&code).await.0, StatusCode::SEE_OTHER);
    let (status, page) = confirm("000000").await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && !page.contains(&secret), "it is on: {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_factor_that_is_begun_anew_in_the_same_session_has_the_same_secret() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let other = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let begin = async |cookie: &str| {
        let answer = bench.send_form("/me/factor", Some(cookie), "old=three+plain+words".to_owned()).await;
        secret_on(&answer.text().await.expect("text")).to_owned()
    };
    let confirm = async |old: &str, secret: &str| {
        let code = code_at(secret, bench.server().now_us()).expect("a code");
        let body = format!("old={old}&code={code}");
        bench.send_form("/me/factor/confirmation", Some(&cookie), body).await.status()
    };
    let secret = begin(&cookie).await;
    assert_eq!(confirm("mistyped", &secret).await, StatusCode::FORBIDDEN);
    assert_eq!(begin(&cookie).await, secret, "the app has it already");
    // Nobody else gets it, nor is what somebody else began given as one's own.
    let others = begin(&other).await;
    assert_ne!(others, secret);
    let own = begin(&cookie).await;
    assert!(own != others && own != secret);
    let body = Some(json!({"old": PASSWORD}));
    let by_token = bench.good(&token, Method::POST, "/me/factor", body).await;
    assert!(!by_token.to_string().contains(&own), "{by_token}");
    let own = begin(&cookie).await;
    assert_eq!(confirm("three+plain+words", &own).await, StatusCode::SEE_OTHER);
    let person = bench.server().db.person_by_login("admin@example.com").await.expect("read").expect("there");
    assert!(person.second_factor);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_found_a_session_or_token_turns_no_second_factor_on_without_the_password() {
    let bench = Bench::quiet().await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let send = async |path: &str, body: &str| {
        let answer = bench.send_form(path, Some(&cookie), body.to_owned()).await;
        (answer.status(), answer.text().await.expect("text"))
    };
    let (status, page) = send("/me/factor", "old=a+wrong+guess").await;
    assert!(status == StatusCode::FORBIDDEN && !page.contains("Or type this"), "{page}");
    let old = json!({"old": "a wrong guess"});
    assert_eq!(bench.ask(&token, Method::POST, "/me/factor", Some(old)).await.0, StatusCode::FORBIDDEN);
    // Nor one that its owner began.
    let begun = send("/me/factor", "old=three+plain+words").await.1;
    let secret = secret_on(&begun).to_owned();
    let code = code_at(&secret, bench.server().now_us()).expect("a code");
    let (status, page) = send("/me/factor/confirmation", &format!("old=a+wrong+guess&code={code}")).await;
    assert!(status == StatusCode::FORBIDDEN && !page.contains(&secret), "{page}");
    let wrong = json!({"old": "a wrong guess", "code": code});
    let (status, _) = bench.ask(&token, Method::POST, "/me/factor/confirmation", Some(wrong)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let person = bench.server().db.person_by_login("admin@example.com").await.expect("read").expect("there");
    assert!(!person.second_factor);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_their_second_factor_comes_in_by_a_new_link_of_somebody_else() {
    let bench = Bench::quiet().await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let account = bench.account("Contoso").await;
    let own = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let server = bench.server();
    let person = server.db.person_by_login("owner@contoso.com").await.expect("read").expect("there");
    let secret = new_secret();
    server.db.begin_second_factor(&server.vault, &person.id, &secret).await.expect("begun");
    let begun = server.db.person(&person.id).await.expect("read");
    let (now, login) = (server.now_us(), "owner@contoso.com");
    let code = code_at(&secret, now).expect("a code");
    server.db.confirm_second_factor(&server.vault, &begun, &code, now).await.expect("on");
    let path = format!("/accounts/{account}/people/{}/invitation", person.id);
    // Who found a session or token of theirs makes none.
    let (status, _) = bench.ask(&own, Method::POST, &path, None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let made = bench.good(&admin, Method::POST, &path, None).await;
    bench.sign_in(login, PASSWORD).await.expect_err("the link was not taken yet");
    bench.good(&own, Method::GET, "/me", None).await;
    let link = made["path"].as_str().expect("a path");
    let chosen = "password=four+other+plain+words&again=four+other+plain+words".to_owned();
    assert_eq!(bench.send_form(link, None, chosen).await.status(), StatusCode::SEE_OTHER);
    bench.sign_in(login, "four other plain words").await.expect("without a code");
    let (status, _) = bench.ask(&own, Method::GET, "/me", None).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "a token from before is good for nothing: somebody may have it");
    let log = bench.good(&admin, Method::GET, "/audit", None).await.to_string();
    assert!(log.contains("person.invite") && log.contains("second_factor_ended"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_tells_browsers_to_be_careful() {
    let bench = Bench::quiet().await;
    for path in ["/sign-in", "/nothing", "/assets/style.css", "/api/v1/me", "/healthz"] {
        let answer = bench.client.get(bench.url(path)).send().await.expect("an answer");
        let has = |name: &str, part: &str| {
            answer.headers().get(name).and_then(|v| v.to_str().ok()).is_some_and(|value| value.contains(part))
        };
        assert!(has("content-security-policy", "default-src 'none'"), "{path}");
        assert!(has("content-security-policy", "frame-ancestors 'none'"), "{path}");
        assert!(has("x-content-type-options", "nosniff") && has("referrer-policy", "same-origin"), "{path}");
    }
    let (_, page) = bench.page("", "/sign-in").await;
    assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains(" onclick"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_error_has_the_way_on_for_who_sees_it_and_nobody_elses_account() {
    let bench = Bench::quiet().await;
    let (own, other) = (bench.account("Contoso").await, bench.account("Fabrikam").await);
    for (account, role, login) in
        [(None, Role::Administrator, "admin@example.com"), (Some(&own), Role::Auditor, "audit@example.com")]
    {
        bench.person(account, role, login).await;
    }
    let (nav, home) = ("<nav aria-label=\"Main\">", format!("href=\"/a/{own}\""));
    let nowhere = format!("/a/{own}/sets/{}", "0".repeat(32));
    for login in ["admin@example.com", "audit@example.com"] {
        let cookie = bench.sign_in(login, PASSWORD).await.expect("signed in");
        let (status, page) = bench.page(&cookie, &nowhere).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(page.contains("Not found") && page.contains(nav) && page.contains(&home), "{login}: {page}");
        assert!(page.contains("Contoso") && !page.contains("aria-current"), "{login}: {page}");
        let (status, page) = bench.page(&cookie, &format!("/a/{other}/sets/{}", "0".repeat(32))).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        assert!(page.contains(nav), "{login}: {page}");
        assert_eq!(page.contains("Fabrikam"), login.starts_with("admin"), "{login}: {page}");
    }
    // What the role may not do, and who is not signed in.
    let cookie = bench.sign_in("audit@example.com", PASSWORD).await.expect("signed in");
    let (status, page) = bench.page(&cookie, &format!("/a/{own}/sets/new")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(page.contains("Not allowed") && page.contains(nav) && page.contains(&home), "{page}");
    let (status, page) = bench.page("", "/welcome/nothing").await;
    assert!(status.is_client_error() && !page.contains(nav) && !page.contains("Contoso"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_error_leads_back_to_the_page_of_this_server_that_sent_what_failed() {
    let bench = Bench::quiet().await;
    let own = bench.account("Contoso").await;
    bench.person(None, Role::Administrator, "admin@example.com").await;
    bench.person(Some(&own), Role::Owner, "owner@contoso.com").await;
    let admin = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let owner = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let ask = async |cookie: &str, path: &str, from: &str, sent: Option<&str>| {
        let request = match sent {
            Some(body) => bench
                .client
                .post(bench.url(path))
                .header("sec-fetch-site", "same-origin")
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(body.to_owned()),
            None => bench.client.get(bench.url(path)),
        };
        let request = request.header(header::COOKIE, cookie).header(header::REFERER, from);
        let answer = request.send().await.expect("an answer");
        let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default().to_owned();
        (answer.status(), answer.text().await.expect("text"), to)
    };
    let (listed, of_account) = (format!("/accounts/{own}"), format!("href=\"/a/{own}/sets\""));
    let back = |path: &str| format!("href=\"{path}\">Back</a>");
    let wrong = Some("name=Contoso&gib=many");

    let (status, page, _) = ask(&admin, &listed, &bench.url(&format!("{listed}?x=1&y=2")), wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains(&back(&format!("{listed}?x=1&amp;y=2"))), "{page}");
    assert!(page.contains("browser's own Back button") && !page.contains("is still there"), "{page}");
    assert!(!page.contains("server's log"), "no number that leads nowhere: {page}");
    assert!(page.contains("href=\"/administrators\"") && !page.contains(&of_account), "the server's own page: {page}");
    for elsewhere in ["https://evil.example/x", &bench.url("//evil.example/x"), &bench.url("/\\evil.example"), "x"] {
        let (_, page, _) = ask(&admin, &listed, elsewhere, wrong).await;
        assert!(!page.contains("evil.example") && !page.contains(">Back</a>"), "{elsewhere}: {page}");
        assert!(page.contains("browser's own Back button"), "{elsewhere}: {page}");
    }
    // Where nothing was sent nothing is lost, and a page does not lead back to itself.
    let (nowhere, sets) = (format!("/a/{own}/sets/{}", "0".repeat(32)), format!("/a/{own}/sets"));
    let (status, page, _) = ask(&owner, &nowhere, &bench.url(&sets), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(page.contains(&back(&sets)) && !page.contains("own Back button"), "{page}");
    let (_, page, _) = ask(&owner, &nowhere, &bench.url(&nowhere), None).await;
    assert!(!page.contains(">Back</a>") && page.contains(">Home</a>"), "{page}");
    // The page around is that of the account, also where the address names none.
    let (status, page, _) = ask(&owner, "/me/password", &bench.url("/me"), Some("x=y")).await;
    assert!(status.is_client_error() && page.contains(&back("/me")) && page.contains(&of_account), "{status} {page}");
    // A page that was the answer to a form has no address of its own.
    for (form, above) in
        [("/me/factor".to_owned(), "/me".to_owned()), (format!("/a/{own}/adoption"), format!("/a/{own}"))]
    {
        let (status, page, to) = ask(&owner, &form, &bench.url("/me"), None).await;
        assert_eq!((status, to), (StatusCode::SEE_OTHER, above), "{form}: {page}");
    }
}
