//! What is missing from snapshots, and what did not work: how Home and the pages of jobs tell of it.

use reqwest::Method;
use serde_json::{Value, json};

use super::pages::{did, ready};
use super::{PASSWORD, id};
use crate::format::snapshot::Totals;
use crate::server::auth::Role;
use crate::server::db::{JobKind, JobState, NewRun};
use crate::server::id::Id;

#[tokio::test(flavor = "multi_thread")]
async fn home_says_that_all_is_well_only_where_nothing_is_missing_and_leads_to_what_is() {
    let at = ready().await;
    let now = at.bench.server().now_us();
    at.bench.person(Some(&at.account), Role::Auditor, "audit@contoso.com").await;
    let cookie = at.bench.sign_in("audit@contoso.com", PASSWORD).await.expect("signed in");
    let (_, page) = at.bench.page(&cookie, &format!("/a/{}", at.account)).await;
    assert!(page.contains("'everyone' has never run<"), "who may start no run is not asked to: {page}");
    at.ran("gaps", Totals { gaps: 9, ..Totals::default() }, now).await;
    let page = at.page("").await;
    for words in ["9 things are missing", &format!("href=\"/a/{}/jobs/{}\">See what is missing", at.account, at.job)] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("All is well") && !page.contains("notice good"), "{page}");
    at.ran("complete", Totals::default(), now + 1).await;
    let page = at.page("").await;
    assert!(page.contains("All is well") && !page.contains("missing from the newest"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_tells_whole_collections_that_are_missing_from_single_items() {
    let at = ready().await;
    let told = async |job: &Id, gaps: u64, gap_list: Value| {
        let run = NewRun {
            account: &at.account,
            set: &at.set,
            job,
            started_us: 1,
            ended_us: 2,
            outcome: "gaps",
            error: None,
            snapshot: None,
            totals: Totals { gaps, ..Totals::default() },
            bytes_logical: None,
            waits: json!({}),
            gap_list,
        };
        at.bench.server().db.note_run(&run).await.expect("noted");
        at.page(&format!("/jobs/{job}")).await
    };
    let part = json!({"name": "users/bea@contoso.com/Mail", "message": "refused", "of": "", "whole": true});
    let item = json!({"name": "RE: System", "message": "corrupt", "of": "bob@contoso.com, mail", "whole": false});
    let page = told(&at.job, 12, json!([part, item])).await;
    for words in [
        "1 part (all of a mailbox, drive, site, chat or the like) and 11 items could not be read",
        "users/bea@contoso.com/Mail</strong>: refused",
        "bob@contoso.com, mail: RE: System</strong>: corrupt",
        "and 10 more",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let next =
        at.bench.good(&at.token, Method::POST, &format!("/accounts/{}/sets/{}/runs", at.account, at.set), None).await;
    let next = Id::parse(next["job"].as_str().expect("a job")).expect("an id");
    let page = told(&next, 3, json!([{"name": "x", "message": "y"}])).await;
    // An early client does not say which is which.
    assert!(page.contains("3 things (items, or all of a mailbox"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_upkeep_names_its_repository_and_is_asked_for_again_where_it_failed() {
    let at = ready().await;
    did(&at, JobKind::Check, JobState::Failed, Some("The storage does not answer")).await;
    let jobs = at.bench.good(&at.token, Method::GET, &format!("/accounts/{}/jobs", at.account), None).await;
    let check = jobs["items"].as_array().expect("a list").iter().find(|job| job["kind"] == "check").expect("the check");
    let page = at.page(&format!("/jobs/{}", id(check))).await;
    let storage = format!("/a/{}/storage/{}", at.account, at.repository);
    for words in [format!("Check of <a href=\"{storage}\">Main</a>"), format!("action=\"{storage}/upkeep\"")] {
        assert!(page.contains(&words), "{words}: {page}");
    }
    assert!(page.contains("name=\"kind\" value=\"check\"") && !page.contains("read_data"), "{page}");
}
