//! A form that is refused comes again on its page, with what was typed in it and nothing that is secret.

use reqwest::{Method, StatusCode, header};

use super::{Bench, PASSWORD};
use crate::server::auth::Role;

/// Sends a form from a page, as a browser does; gives the answer.
pub(super) async fn send(bench: &Bench, cookie: &str, from: &str, to: &str, body: &str) -> (StatusCode, String) {
    let request = bench.client.post(bench.url(to)).header("sec-fetch-site", "same-origin");
    let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(body.to_owned());
    let request = request.header(header::COOKIE, cookie).header(header::REFERER, from);
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.text().await.expect("text"))
}

/// What the page of an error says, on which no form comes again.
const PLAIN: &str = "browser's own Back button";

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_refused_comes_again_with_what_was_typed() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(None, Role::Administrator, "admin@example.com").await;
    bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let admin = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let owner = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let log = async || bench.good(&token, Method::GET, "/audit", None).await;
    let (before, people) = (log().await, format!("/a/{account}/people"));
    let has = |page: &str, all: &[&str]| {
        for words in all {
            assert!(page.contains(words), "{words}: {page}");
        }
        assert_eq!(page.matches("id=\"refused\"").count(), 1, "{page}");
        assert!(page.contains("role=\"alert\"") && !page.contains(PLAIN), "{page}");
    };

    let typed = "name=Fabrikam+%3Cb%3E&mailboxes=many&drives=7&sites=&gib=";
    let (status, page) = send(&bench, &admin, &bench.url("/accounts"), "/accounts", typed).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    has(&page, &["<h1>Accounts</h1>", "<title>That cannot be done: Accounts", "The limit of mailboxes is not a whole"]);
    has(&page, &["value=\"Fabrikam &lt;b&gt;\"", "value=\"many\"", "value=\"7\"", "<details open><summary>Limits"]);
    has(&page, &["href=\"#refused-form\"", "id=\"refused-form\"", "aria-describedby=\"refused\""]);

    // What is there already; and of several forms on the page, the one that was sent.
    let typed = "login=owner%40contoso.com&role=operator";
    let (status, page) = send(&bench, &owner, &bench.url(&people), &people, typed).await;
    assert_eq!(status, StatusCode::CONFLICT);
    has(&page, &["value=\"owner@contoso.com\"", "value=\"operator\" required checked>", "has a login already"]);

    let notices = format!("/a/{account}/notices");
    let typed = "name=IT&kind=webhook&to=a%40x.example%0D%0Ab%40x.example&url=https%3A%2F%2Fx.example%2Fs3cret&runs=all&set=\
        &digest=yes&hour=99&zone=Europe%2FVienna&beat_minutes=&enabled=yes";
    let (status, page) = send(&bench, &owner, &bench.url(&notices), &notices, typed).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    has(&page, &["value=\"webhook\" checked>", "value=\"mail\">", "value=\"all\" checked>", "value=\"trouble\">"]);
    has(&page, &[">\na@x.example\nb@x.example</textarea>", "value=\"99\"", "value=\"Europe/Vienna\""]);
    has(&page, &["name=\"warnings\" value=\"yes\">", "name=\"digest\" value=\"yes\" checked>", "A day has no hour 99"]);
    assert!(!page.contains("s3cret") && page.contains("type those anew"), "{page}");
    // What does not even fit is no other case.
    let (status, page) =
        send(&bench, &owner, &bench.url(&notices), &notices, &typed.replace("hour=99", "hour=noon")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    has(&page, &["value=\"noon\"", "The form cannot be taken as it is"]);
    assert_eq!(log().await, before, "nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_secret_does_not_stand_in_a_form_again() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let base = format!("/a/{account}");

    let (from, to) = (bench.url(&format!("{base}/tenants")), format!("{base}/tenants"));
    let typed = "name=Fabrikam&tenant_id=no+id&client_id=app&sign_in=certificate&secret=s3cret-of-app\
        &certificate=-----BEGIN+PRIVATE+KEY-----pasted-amiss&cloud=china&restore_client_id=other\
        &restore_secret=s3cret-of-other&address=";
    let (status, page) = send(&bench, &cookie, &from, &to, typed).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    for words in
        ["value=\"Fabrikam\"", "value=\"no id\"", "value=\"other\"", "value=\"china\" selected", "directory id"]
    {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(page.contains("value=\"certificate\" checked>") && page.contains("type those anew"), "{page}");
    assert!(!page.contains("s3cret") && !page.contains("pasted-amiss"), "{page}");

    let typed = "old=wrong+words+here&password=words+too+new";
    let (status, page) = send(&bench, &cookie, &bench.url("/me"), "/me/password", typed).await;
    assert!(status.is_client_error() && page.contains("id=\"refused\""), "{status} {page}");
    assert!(!page.contains("wrong words") && !page.contains("words too new"), "{page}");

    // The page that comes again stands at the form's address, which is no page's: it says itself which page it is.
    let (storage, adoption) = (format!("{base}/storage"), format!("{base}/adoption"));
    let typed = "name=Old&url=ftp%3A%2F%2Fhost%2Fx&credentials=access_key_id+%3D+s3cret&key=four+words+of+mine";
    let (_, page) = send(&bench, &cookie, &bench.url(&storage), &adoption, typed).await;
    for words in ["value=\"Old\"", "value=\"ftp://host/x\"", "<details open><summary>Take over a repository"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("s3cret") && !page.contains("four words of mine"), "{page}");
    for (address, is_in) in [
        ("webdav://me:s3cret@host/x?nothing=1", "has an unknown option"),
        ("s3://bucket/x?secret_access_key=s3cret", "secret_access_key is a secret"),
    ] {
        let address: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
        let typed = format!("name=Old&url={address}&credentials=&key=four+words+of+mine");
        let (status, page) = send(&bench, &cookie, &bench.url(&storage), &adoption, &typed).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{page}");
        assert!(page.contains("value=\"Old\"") && page.contains("type those anew"), "{page}");
        assert!(page.contains(is_in) && !page.contains("s3cret"), "{page}");
    }
    let next = format!("{adoption}?again={}", storage.replace('/', "%2F"));
    assert!(page.contains(&format!("action=\"{next}\"")), "{page}");
    let (status, page) =
        send(&bench, &cookie, &bench.url(&adoption), &next, &typed.replace("name=Old", "name=Older")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(page.contains("value=\"Older\"") && page.contains("<h1>Storage</h1>"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_comes_again_on_no_page_but_its_own() {
    let bench = Bench::quiet().await;
    let (own, other) = (bench.account("Contoso").await, bench.account("Fabrikam").await);
    bench.person(Some(&own), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let (people, typed) = (format!("/a/{own}/people"), "login=owner%40contoso.com&role=operator");
    let good = bench.url(&people);

    for from in
        ["https://evil.example/x".to_owned(), bench.url("//evil.example/x"), bench.url("/me"), bench.url("/accounts")]
    {
        let (status, page) = send(&bench, &cookie, &from, &people, typed).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(page.contains(PLAIN) && !page.contains("evil.example") && !page.contains("id=\"refused\""), "{page}");
    }
    for noted in ["//evil.example/x", "/\\evil.example", "javascript:x", "/accounts", &format!("/a/{other}/people")] {
        let to =
            format!("{people}?again={}", url::form_urlencoded::byte_serialize(noted.as_bytes()).collect::<String>());
        let (status, page) = send(&bench, &cookie, &good, &to, typed).await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(
            page.contains(PLAIN) && !page.contains("evil.example") && !page.contains("Fabrikam"),
            "{noted}: {page}"
        );
        assert!(!page.contains("javascript:"), "{noted}: {page}");
    }
    // What no form of the page sends.
    let (_, page) = send(&bench, &cookie, &good, &people, &format!("{typed}&more=x")).await;
    assert!(page.contains(PLAIN) && !page.contains("id=\"refused\""), "{page}");
    // Who may not send a form is not asked again.
    bench.person(Some(&own), Role::Auditor, "auditor@contoso.com").await;
    let auditor = bench.sign_in("auditor@contoso.com", PASSWORD).await.expect("signed in");
    let (status, page) = send(&bench, &auditor, &good, &people, typed).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(!page.contains("id=\"refused\""), "{page}");
}
