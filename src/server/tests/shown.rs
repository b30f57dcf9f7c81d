//! What pages show to whom, and what they say that becomes of things.

use reqwest::StatusCode;
use serde_json::json;

use super::restoring::{ALICE, Place};
use super::{Bench, PASSWORD, set_up};
use crate::server::auth::Role;
use crate::sim::{SimOptions, SimTenant};

#[tokio::test(flavor = "multi_thread")]
async fn who_something_is_restored_to_is_shown_to_those_who_may_restore() {
    let place = Place::new().await;
    place.unlock(&place.restorer).await;
    let wanted = json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")], "to": ALICE, "folder": "Millers papers"});
    let restore = super::id(&place.planned(wanted).await);
    let (bench, path) = (&place.bench, format!("/a/{}/restores/{restore}", place.account));
    for role in [Role::Auditor, Role::Operator] {
        let login = format!("{role}@contoso.com");
        bench.person(Some(&place.account), role, &login).await;
        let cookie = bench.sign_in(&login, PASSWORD).await.expect("signed in");
        let (status, page) = bench.page(&cookie, &path).await;
        assert!(status == StatusCode::OK && page.contains("somebody else"), "{role}: {page}");
        assert!(!page.contains(ALICE) && !page.contains("Millers papers"), "{role}: {page}");
    }
    let cookie = bench.sign_in("restorer@contoso.com", PASSWORD).await.expect("signed in");
    let (_, page) = bench.page(&cookie, &path).await;
    assert!(page.contains(ALICE) && page.contains("Millers papers"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_that_somebody_chose_is_never_shown_as_the_key() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let storage = format!("/a/{account}/storage");
    let shown = "<code id=\"key\">";
    for (name, chosen) in [("One", "a+passphrase+of+mine"), ("Two", "")] {
        let fields = format!("name={name}&url=&credentials=&passphrase={chosen}");
        let page = bench.send_form(&storage, Some(&cookie), fields).await.text().await.expect("text");
        assert_eq!(page.contains(shown), chosen.is_empty(), "{page}");
        let key =
            page.split_once("name=\"key\" value=\"").and_then(|(_, rest)| rest.split_once('"')).expect("its key").0;
        let key: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let all = bench.server().db.repositories(&account).await.expect("read");
        let id = &all.iter().find(|row| row.name == name).expect("there").id;
        // Typed back wrongly, it is asked for again.
        let fields = format!("key={key}&last_four=%21%21%21%21");
        let answer = bench.send_form(&format!("{storage}/{id}/confirmation"), Some(&cookie), fields).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let page = answer.text().await.expect("text");
        assert!(page.contains("not the last four characters"), "{page}");
        assert_eq!(page.contains(shown), chosen.is_empty(), "{page}");
        assert_eq!(page.contains("the passphrase that you chose"), !chosen.is_empty(), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_a_set_and_what_administrators_may_open_is_said() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (_, set, _) = set_up(&bench, &admin, &account, &sim, json!([])).await;
    let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    for (path, words) in [
        (format!("/a/{account}/sets/{set}"), "all that it keeps of its runs"),
        ("/administrators".to_owned(), "or that an account lets this server hold"),
    ] {
        let (_, page) = bench.page(&cookie, &path).await;
        assert!(page.contains(words), "{words}: {page}");
    }
}
