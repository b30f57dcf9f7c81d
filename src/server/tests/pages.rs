//! What pages tell of an account: limits, growth, what retention takes next, what protects nothing yet, gaps; and the same of the API.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::history::days_are_those_of_their_runs;
use super::restoring::{ALICE, Place};
use super::{Bench, PASSWORD, id, set_up};
use crate::format::snapshot::Totals;
use crate::server::auth::Role;
use crate::server::db::{JobKind, JobState, NewJob, NewRun, Protected};
use crate::server::id::Id;
use crate::sim::{Fault, FaultKind, SimOptions, SimTenant};

const DAY_US: i64 = 86_400_000_000;

/// Notes a run that a job made.
async fn note(bench: &Bench, (account, set, job): (&Id, &Id, &Id), outcome: &'static str, totals: Totals, at: i64) {
    let run = NewRun {
        account,
        set,
        job,
        started_us: at - 1_000_000,
        ended_us: at,
        outcome,
        error: None,
        snapshot: None,
        totals,
        bytes_logical: None,
        waits: json!({"SharePoint's request budget": 90_000_000}),
        gap_list: json!([{"name": "Report.docx", "message": "locked"}]),
    };
    bench.server().db.note_run(&run).await.expect("noted");
}

/// An account with a set that has not run, its owner, who is signed in, and a job that was stopped before it began.
pub(super) struct Ready {
    pub(super) bench: Bench,
    pub(super) account: Id,
    pub(super) token: String,
    cookie: String,
    pub(super) repository: Id,
    pub(super) set: Id,
    pub(super) job: Id,
}

pub(super) async fn ready() -> Ready {
    ready_at(json!([])).await
}

/// The same, with a set that runs by rules.
async fn ready_at(schedules: Value) -> Ready {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (repository, set, _) = set_up(&bench, &token, &account, &sim, schedules).await;
    let asked = bench.good(&token, Method::POST, &format!("/accounts/{account}/sets/{set}/runs"), None).await;
    let job = asked["job"].as_str().expect("a job").to_owned();
    bench.good(&token, Method::DELETE, &format!("/accounts/{account}/jobs/{job}"), None).await;
    let parse = |text: &str| Id::parse(text).expect("an id");
    Ready { repository: parse(&repository), set: parse(&set), job: parse(&job), bench, account, token, cookie }
}

impl Ready {
    pub(super) async fn page(&self, path: &str) -> String {
        let (status, page) = self.bench.page(&self.cookie, &format!("/a/{}{path}", self.account)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        page
    }

    pub(super) async fn ran(&self, outcome: &'static str, totals: Totals, at: i64) {
        note(&self.bench, (&self.account, &self.set, &self.job), outcome, totals, at).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn home_names_sets_that_have_no_snapshot_with_the_next_step() {
    let at = ready().await;
    let now = at.bench.server().now_us();
    assert!(at.page("").await.contains("'everyone' has never run: start its first run"));
    at.ran("failed", Totals::default(), now).await;
    assert!(at.page("").await.contains("has never had a good run, the last one failed"));
    at.ran("interrupted", Totals::default(), now + 1).await;
    assert!(at.page("").await.contains("has never had a good run: start it again"));
    at.ran("complete", Totals::default(), now + 2).await;
    assert!(at.page("").await.contains("All is well: the backup set has a snapshot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn home_takes_a_set_for_late_by_its_own_rules() {
    let by_hand = ready().await;
    let now = by_hand.bench.server().now_us();
    by_hand.ran("complete", Totals::default(), now - 100 * DAY_US).await;
    assert!(by_hand.page("").await.contains("All is well"), "somebody's hand starts it");
    // Due next tomorrow, and last six days ago.
    let tomorrow =
        jiff::Timestamp::from_microsecond(now + DAY_US).expect("a time").to_zoned_datetime(jiff::tz::TimeZone::UTC);
    let rule = format!("0 0 * * {}", tomorrow.weekday().to_sunday_zero_offset());
    let weekly = ready_at(json!([{"cron": rule, "zone": "UTC"}])).await;
    weekly.ran("complete", Totals::default(), now - 4 * DAY_US).await;
    assert!(weekly.page("").await.contains("All is well"), "its time has not come");
    weekly.ran("complete", Totals::default(), now - 9 * DAY_US).await;
    assert!(weekly.page("").await.contains("'everyone' has had no good run for"));
    let daily = ready_at(json!([{"cron": "0 0 * * *", "zone": "UTC"}])).await;
    daily.ran("complete", Totals::default(), now - 3 * DAY_US).await;
    assert!(daily.page("").await.contains("'everyone' has had no good run for"));
}

/// Queues a job, takes it and ends it so.
pub(super) async fn did(at: &Ready, kind: JobKind, state: JobState, error: Option<&str>) {
    let (db, now) = (&at.bench.server().db, at.bench.server().now_us());
    let of_set = (kind == JobKind::Backup).then_some(&at.set);
    let new = NewJob {
        account: &at.account,
        kind,
        set: of_set,
        tenant: None,
        repository: Some(&at.repository),
        client: None,
        arguments: json!({}),
        asked_by: "schedule",
        run_after_us: now,
    };
    db.ask_for(&new, now).await.expect("asked for");
    let job = db.take_job("w", None, super::PLENTY, 30_000_000, now).await.expect("taken").expect("a job");
    db.end_job(&job.id, "w", state, &json!({}), error, now + 1).await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn home_tells_of_jobs_that_failed_last_and_of_damage_until_a_later_one_is_well() {
    let at = ready().await;
    let db = &at.bench.server().db;
    at.ran("complete", Totals::default(), at.bench.server().now_us()).await;
    assert!(at.page("").await.contains("All is well"));
    did(&at, JobKind::Check, JobState::Gaps, None).await;
    did(&at, JobKind::Prune, JobState::Failed, Some("The storage is full")).await;
    // Its workers were gone: no run was noted.
    did(&at, JobKind::Backup, JobState::Failed, Some("Every worker that began it was gone")).await;
    let page = at.page("").await;
    for words in [
        "3 things need attention",
        "check of 'Main' found damage",
        "Space of 'Main' could not",
        "The last run of 'everyone' failed",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for kind in [JobKind::Check, JobKind::Prune, JobKind::Backup] {
        did(&at, kind, JobState::Done, None).await;
    }
    assert!(at.page("").await.contains("All is well"), "later ones were well");
    let place = db.destinations(&at.repository).await.expect("read").remove(0);
    db.keep_lag(&place.id, Some("No answer")).await.expect("kept");
    assert!(at.page("").await.contains("The replica 'here' is not up to date"));
}

#[tokio::test(flavor = "multi_thread")]
async fn home_shows_growth_the_last_day_and_what_deduplication_and_compression_save() {
    let at = ready().await;
    did(&at, JobKind::Check, JobState::Done, None).await;
    let totals = Totals { bytes_read: 8 << 20, bytes_new: 2 << 20, bytes_stored: 1 << 20, ..Totals::default() };
    at.ran("complete", totals, at.bench.server().now_us()).await;
    let page = at.page("").await;
    for words in [
        "The last 24 hours: 1 job, 0 of them failed",
        "<h3>Deduplication</h3><p class=\"figure\">4.0 times</p>",
        "<h3>Compression</h3><p class=\"figure\">2.0 times</p>",
        "8.0 MiB read, 1.0 MiB written",
        "polyline class=\"read\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn home_and_the_api_show_how_the_contents_of_the_newest_snapshots_grew() {
    let at = ready().await;
    let (db, now) = (&at.bench.server().db, at.bench.server().now_us());
    assert!(at.page("").await.contains("<h3>Contents</h3><p class=\"figure\">not counted yet"));
    // The first is of an early program, which did not count; the third was stopped before it had.
    for (days, counted) in [(5, None), (3, Some(8)), (2, None), (1, Some(6)), (0, Some(9))] {
        let ended_us = now - days * DAY_US;
        let run = NewRun {
            account: &at.account,
            set: &at.set,
            job: &at.job,
            started_us: ended_us - 1,
            ended_us,
            outcome: "complete",
            error: None,
            snapshot: Some("x"),
            totals: Totals::default(),
            bytes_logical: counted.map(|mib: u64| mib << 20),
            waits: json!({}),
            gap_list: json!([]),
        };
        db.note_run(&run).await.expect("noted");
    }
    assert_eq!(days_are_those_of_their_runs(&at.bench).await, 5);
    let page = at.page("").await;
    for words in [
        "<h3>Contents</h3><p class=\"figure\">9.0 MiB",
        "The contents of the newest snapshots were 8.0 MiB on",
        "and 9.0 MiB at last",
        "polyline class=\"contents\"",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let grown = at.bench.good(&at.token, Method::GET, &format!("/accounts/{}/growth", at.account), None).await;
    let told: Vec<Value> =
        grown["items"].as_array().expect("a list").iter().map(|day| day["logical"].clone()).collect();
    assert_eq!(told, [json!(null), json!(8 << 20), json!(null), json!(6 << 20), json!(9 << 20)]);
    let runs = at.bench.good(&at.token, Method::GET, &format!("/accounts/{}/runs", at.account), None).await;
    let told: Vec<&Value> = runs["items"].as_array().expect("a list").iter().map(|run| &run["bytes_logical"]).collect();
    assert_eq!(told, [&json!(9 << 20), &json!(6 << 20), &json!(null), &json!(8 << 20), &json!(null)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_used_of_budgets_and_how_fast_it_goes_are_shown() {
    let at = ready().await;
    let (db, now) = (&at.bench.server().db, at.bench.server().now_us());
    assert!(at.page("/tenants").await.contains("nothing lately"));
    at.bench.good(&at.token, Method::POST, &format!("/accounts/{}/sets/{}/runs", at.account, at.set), None).await;
    let job = db.take_job("w", None, super::PLENTY, 30_000_000, now + DAY_US).await.expect("taken").expect("a job");
    let budget = json!([
        {"what": "files_day", "used": 1_500, "limit": 1_176_000},
        {"what": "mailbox", "used": 9_000, "limit": 9_800},
        {"what": "teams", "used": 4, "limit": 29},
        {"what": "mailboxes", "used": 2, "limit": 120},
        {"what": "x", "used": "y"},
    ]);
    let progress = json!({"counts": {"items": 4_000}, "seconds": 8, "budget": budget});
    db.renew(&job.id, "w", &progress, 30_000_000, now).await.expect("renewed");
    db.keep_budget(&job.id, &budget, now).await.expect("kept");
    let page = at.page(&format!("/jobs/{}", job.id)).await;
    for words in [
        "Items a second</dt><dd id=\"rate\">500</dd>",
        "1,174,500 of 1,176,000",
        "the busiest mailbox, ten minutes</dt><dd data-left=\"mailbox\">800 of 9,800",
        "Teams, the busiest kind of call, a second</dt><dd data-left=\"teams\">25 of 29",
        "Mailboxes that have to wait, of those asked lately</dt><dd data-spent=\"mailboxes\">2 of 120",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let page = at.page("/tenants").await;
    for words in ["1,500 of 1,176,000", "9,000 of 9,800", "2 of 120 mailboxes have to wait"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    db.keep_budget(&job.id, &budget, now - 60_000_000).await.expect("kept");
    let page = at.page("/tenants").await;
    assert!(
        page.contains("9,000 of 9,800") && !page.contains("mailboxes have to wait"),
        "a minute has gone by: {page}"
    );
    db.keep_budget(&job.id, &budget, now - 2 * DAY_US).await.expect("kept");
    assert!(at.page("/tenants").await.contains("nothing lately"), "a day has gone by");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_what_is_used_of_them_are_shown_and_set_by_administrators() {
    let at = ready().await;
    let (bench, account) = (&at.bench, &at.account);
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let cookie = bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let protected = Protected { mailboxes: 12, drives: 3, sites: 0 };
    bench.server().db.keep_protected(&at.set, protected).await.expect("kept");
    bench.server().db.keep_stored_bytes(&at.repository, 1 << 30).await.expect("kept");
    let here = format!("/accounts/{account}");
    let send = async |body: &str| bench.send_form(&here, Some(&cookie), body.to_owned()).await.status();
    let limits = async || bench.good(&admin, Method::GET, &here, None).await;

    assert!(!at.page("").await.contains("Limits of the account"), "there is no limit");
    assert_eq!(send("name=Contoso&mailboxes=12&drives=50&sites=&gib=2").await, StatusCode::SEE_OTHER);
    let now = limits().await;
    assert_eq!(now["limits"], json!({"mailboxes": 12, "drives": 50, "sites": null, "bytes": 2_i64 << 30}));
    assert_eq!(now["used"], json!({"mailboxes": 12, "drives": 3, "sites": 0, "bytes": 1 << 30}));
    let listed = bench.good(&admin, Method::GET, "/accounts", None).await;
    assert_eq!(listed["items"][0]["used"], now["used"]);
    for path in ["/accounts", &here] {
        let (_, page) = bench.page(&cookie, path).await;
        for words in ["12 of 12", "full", "3 of 50", "1.0 GiB of 2.0 GiB"] {
            assert!(page.contains(words), "{path}: {words}: {page}");
        }
    }
    let home = at.page("").await;
    assert!(home.contains("protects as many mailboxes as it may") && home.contains("3 of 50"), "{home}");

    // Bytes that the form shows rounded stay as they are, unless they are changed.
    let odd = json!({"name": "Contoso", "limits": {"bytes": 1_500_000_000}});
    bench.good(&admin, Method::PUT, &here, Some(odd)).await;
    assert_eq!(send("name=Contoso+Ltd&mailboxes=&drives=&sites=&gib=2").await, StatusCode::SEE_OTHER);
    assert_eq!(limits().await["limits"]["bytes"], 1_500_000_000);
    for bad in ["name=Contoso&mailboxes=many", "name=Contoso&gib=-1", "name=&gib=1"] {
        assert_eq!(send(bad).await, StatusCode::UNPROCESSABLE_ENTITY, "{bad}");
    }
    assert_eq!(bench.page(&at.cookie, &here).await.0, StatusCode::FORBIDDEN, "whose limits they are does not set them");
    assert_eq!(bench.send_form(&here, Some(&at.cookie), "name=x".into()).await.status(), StatusCode::FORBIDDEN);
    let log = bench.good(&admin, Method::GET, "/audit", None).await.to_string();
    assert!(log.matches("account.change").count() == 3, "{log}");

    // What it holds stands in the place of the form that removes it.
    let empty = bench.account("Fabrikam").await;
    for (account, removable) in [(account, false), (&empty, true)] {
        let (_, page) = bench.page(&cookie, &format!("/accounts/{account}")).await;
        assert_eq!(page.contains(&format!("action=\"/accounts/{account}/removal\"")), removable, "{page}");
        assert_eq!(page.contains("It still has 1 tenant, 1 backup set, 1 repository."), !removable, "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_shows_how_it_grew() {
    let at = ready().await;
    let (db, now) = (&at.bench.server().db, at.bench.server().now_us());
    assert!(at.page("/storage").await.contains("Nothing has been stored yet"));
    let totals = |mib: u64| Totals { bytes_read: mib << 20, bytes_stored: mib << 19, ..Totals::default() };
    at.ran("complete", totals(600), now - 400 * DAY_US).await;
    at.ran("complete", totals(6), now - 2 * DAY_US).await;
    at.ran("complete", totals(2), now).await;
    db.keep_stored_bytes(&at.repository, 4 << 20).await.expect("kept");
    db.keep_stored_of_day(now / DAY_US).await.expect("kept");
    let page = at.page("/storage").await;
    for words in ["8.0 MiB read, 4.0 MiB written", "All repositories hold 4.0 MiB now", "polyline class=\"stored\""] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let grown = at.bench.good(&at.token, Method::GET, &format!("/accounts/{}/growth", at.account), None).await;
    let days = grown["items"].as_array().expect("a list");
    assert!(days.len() == 2 && days[0]["stored"].is_null() && days[1]["stored"] == 4 << 20, "{grown}");
    // The day is noted once an hour; what came since counts.
    db.keep_stored_bytes(&at.repository, 7 << 20).await.expect("kept");
    let grown = at.bench.good(&at.token, Method::GET, &format!("/accounts/{}/growth", at.account), None).await;
    assert_eq!(grown["items"][1]["stored"], 7 << 20, "{grown}");
    assert!(at.page("/storage").await.contains("All repositories held 7.0 MiB"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_with_gaps_offers_to_try_again_to_who_may() {
    let at = ready().await;
    let totals = Totals { gaps: 1, ..Totals::default() };
    at.ran("gaps", totals, at.bench.server().now_us()).await;
    let job = format!("/jobs/{}", at.job);
    let action = format!("action=\"/a/{}/sets/{}/runs\"", at.account, at.set);
    let page = at.page(&job).await;
    for words in [
        "For SharePoint's request budget</dt><dd>1 min 30 s",
        "Report.docx",
        "tries again what the one before could not read",
        "Try again now",
        &action,
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for (role, may) in [(Role::Operator, true), (Role::Auditor, false), (Role::Restore, false)] {
        let login = format!("{role}@contoso.com");
        at.bench.person(Some(&at.account), role, &login).await;
        let cookie = at.bench.sign_in(&login, PASSWORD).await.expect("signed in");
        let (_, page) = at.bench.page(&cookie, &format!("/a/{}{job}", at.account)).await;
        assert_eq!(page.contains("Try again now"), may, "{role}");
    }
    let again = format!("/a/{}/sets/{}/runs", at.account, at.set);
    let answer = at.bench.send_form(&again, Some(&at.cookie), String::new()).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_is_exported_from_each_page_and_verified_by_administrators() {
    let at = ready().await;
    let page = at.page("/activity?before=3").await;
    let path = format!("/api/v1/accounts/{}/audit?most=1000&amp;before=3", at.account);
    assert!(page.contains(&path) && page.contains("download=\"audit-before-3.json\""), "{page}");
    assert!(!page.contains("Verify the log"));
    at.bench.person(None, Role::Administrator, "admin@example.com").await;
    let cookie = at.bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let (_, page) = at.bench.page(&cookie, &format!("/a/{}/activity", at.account)).await;
    assert!(page.contains("action=\"/activity/verification\""), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_lists_jobs_and_tells_what_was_done_in_detail() {
    let at = ready().await;
    did(&at, JobKind::Check, JobState::Gaps, None).await;
    let page = at.page("/activity?of=jobs").await;
    let (check, backup) = (page.find(">Check</a>").expect("the check"), page.find(">Backup</a>").expect("the run"));
    // A cell says what it is: on a narrow screen there is no head above it.
    for words in ["<td data-label=\"About\">Main</td>", "<td data-label=\"About\">everyone</td>"] {
        assert!(check < backup && page.contains(words), "{words}: {page}");
    }
    let now = at.bench.server().now_us();
    let earlier = at.page(&format!("/activity?of=jobs&before={}", now - DAY_US)).await;
    assert!(earlier.contains("No job was asked for yet"), "{earlier}");
    let deed = crate::server::audit::Deed {
        account: Some(&at.account),
        action: "set.add",
        object: "x",
        detail: json!({"of": "a".repeat(500)}),
    };
    at.bench.server().db.note_as("somebody", "", deed, now).await.expect("noted");
    let log = at.page("/activity").await;
    let way = format!("href=\"/a/{}/jobs/{}\"", at.account, at.job);
    assert!(log.contains(&way), "an entry leads to its job: {log}");
    assert!(log.contains("aaaaaaaa") && log.contains("a…</code>") && !log.contains(&"a".repeat(300)), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_fit_is_answered_by_a_page() {
    let at = ready().await;
    for path in ["/activity?before=x", "/coverage?from=x", "/sets?from=-1", "/restores?before=x"] {
        let (status, page) = at.bench.page(&at.cookie, &format!("/a/{}{path}", at.account)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {page}");
        assert!(page.starts_with("<!DOCTYPE html>") && page.contains("address cannot be read"), "{path}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_and_restores_are_shown_page_by_page() {
    let at = ready().await;
    for number in 0..120 {
        at.bench.account(&format!("Customer {number:03}")).await;
    }
    at.bench.person(None, Role::Administrator, "admin@example.com").await;
    let cookie = at.bench.sign_in("admin@example.com", PASSWORD).await.expect("signed in");
    let rows = async |path: &str| {
        let (status, page) = at.bench.page(&cookie, path).await;
        assert_eq!(status, StatusCode::OK, "{path}: {page}");
        (page.matches("aria-label=\"Settings of").count(), page)
    };
    let (many, page) = rows("/accounts").await;
    assert!(many == 100 && page.contains("from=100"), "{many}: {page}");
    assert_eq!(rows("/accounts?from=100").await.0, 21);
    assert_eq!(rows("/accounts?q=customer+11").await.0, 10);
    assert!(at.page("/restores?before=5").await.contains("There is no earlier restore"));
    let row = "INSERT INTO restores (id, account_id, repository_id, tenant_id, snapshot, asked, asked_by, created_us, \
               plan_job) SELECT $1, account_id, repository_id, tenant_id, '', '', '', $2, id FROM jobs WHERE id = $3";
    for made_us in 1..=101_i64 {
        let query = sqlx::query(row).bind(Id::random().to_string()).bind(made_us).bind(at.job.as_str());
        query.execute(at.bench.server().db.pool()).await.expect("written");
    }
    let one = format!("href=\"/a/{}/restores/", at.account);
    let page = at.page("/restores").await;
    assert!(page.matches(&one).count() == 100 && page.contains("before=2"), "{page}");
    assert_eq!(at.page("/restores?before=2").await.matches(&one).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn restores_count_what_came_back_and_offer_to_take_back_what_is_there() {
    let place = Place::new().await;
    let (bench, here) = (&place.bench, format!("/a/{}/restores", place.account));
    place.unlock(&place.restorer).await;
    let cookie = bench.sign_in("restorer@contoso.com", PASSWORD).await.expect("signed in");
    let inbox = format!("users/{ALICE}/Mail/Inbox");
    let wanted = json!({"snapshot": "latest", "paths": [inbox], "in_place": true, "conflict": "copy"});
    let restore = id(&place.planned(wanted).await);
    let shown = async |what: &str| {
        let (_, list) = bench.page(&cookie, &here).await;
        assert!(list.contains(&format!("<td data-label=\"Restored\" class=\"number\">{what}</td>")), "{what}: {list}");
        list + &bench.page(&cookie, &format!("{here}/{restore}")).await.1
    };
    let begin =
        async |what: &str| bench.ended(&place.restorer, &place.account, &place.begin(&restore, what).await).await;
    let planned = place.restore(&restore).await["counts"]["counts"]["create"].as_i64().expect("a number");
    let pages = shown(&format!("{planned} planned")).await;
    assert!(planned > 0 && pages.contains(&inbox), "{pages}");

    // The mailbox takes nothing: what was tried is told, and there is nothing to take back.
    let kind = FaultKind::Status { status: 403 };
    place.sim.inject(Fault { kind, path: "/messages".into(), probability: 1.0, count: None });
    let ended = begin("run").await;
    assert_eq!((ended["state"].as_str(), ended["outcome"]["created"].as_i64()), (Some("gaps"), Some(0)), "{ended}");
    assert!(ended["outcome"]["not_restored"].as_u64() > Some(0), "{ended}");
    let now = place.restore(&restore).await;
    assert_eq!((now["can_run"].as_bool(), now["can_undo"].as_bool()), (Some(true), Some(false)), "{now}");
    let pages = shown("0").await;
    assert!(pages.matches("nothing came back").count() == 2 && !pages.contains("Take it back"), "{pages}");

    // It takes it again: what came is counted, and when it is taken back nothing is there any more.
    place.sim.clear_faults();
    let made = begin("run").await["outcome"]["created"].as_i64().expect("a number");
    assert!(made > 0 && shown(&made.to_string()).await.contains("Take it back"));
    assert_eq!(begin("undo").await["state"], "done");
    shown("0").await;
    bench.person(Some(&place.account), Role::Auditor, "auditor@contoso.com").await;
    let cookie = bench.sign_in("auditor@contoso.com", PASSWORD).await.expect("signed in");
    let (_, list) = bench.page(&cookie, &here).await;
    assert!(list.contains("taken back") && !list.contains(&inbox), "names are for those who may restore: {list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removes_next_is_what_it_removes_then() {
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (repository, set, _) = set_up(&bench, &token, &account, &sim, json!([])).await;
    let path = format!("/accounts/{account}/sets/{set}");
    let mut wanted = bench.good(&token, Method::GET, &path, None).await;
    let mut changed = json!({"name": "everyone", "tenant": wanted["tenant"].take(), "repository": repository,
        "choices": wanted["choices"].take()});
    changed["choices"]["retention"] = json!({"keep-last": 2});
    bench.good(&token, Method::PUT, &path, Some(changed)).await;
    let base = format!("/accounts/{account}/repositories/{repository}");
    let next = async || bench.good(&token, Method::GET, &format!("{base}/retention"), None).await["items"].clone();
    let snapshots = async || -> Vec<String> {
        let all = bench.good(&token, Method::GET, &format!("{base}/snapshots"), None).await;
        all["items"].as_array().expect("a list").iter().map(id).collect()
    };
    assert_eq!(next().await, json!([]), "there is no snapshot");
    let mut retentions = 0;
    let mut run = async || {
        let asked = bench.good(&token, Method::POST, &format!("{path}/runs"), None).await;
        bench.ended(&token, &account, asked["job"].as_str().expect("a job")).await;
        retentions += 1;
        loop {
            let jobs = bench.good(&token, Method::GET, &format!("/accounts/{account}/jobs?most=100"), None).await;
            let done = |job: &&Value| job["kind"] == "retention" && job["state"] == "done";
            if jobs["items"].as_array().expect("a list").iter().filter(done).count() >= retentions {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    run().await;
    let all = next().await;
    assert!(all[0]["forgotten"] == json!([]) && all[0]["left"] == 2 && all[0]["next_us"].is_null(), "{all}");
    run().await;
    let (all, before) = (next().await, snapshots().await);
    let oldest = before.last().expect("one").clone();
    assert_eq!(
        all[0]["forgotten"].as_array().expect("a list").iter().map(id).collect::<Vec<_>>(),
        std::slice::from_ref(&oldest)
    );
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/storage/{repository}")).await;
    let (_, table) = page.split_once("What retention removes next").expect("said");
    let at = all[0]["forgotten"][0]["time_us"].as_i64().expect("a time");
    let said = crate::server::pages::words::time(at).into_string();
    assert!(table.split("</table>").next().expect("a table").contains(&said), "{said}: {page}");
    run().await;
    let after = snapshots().await;
    assert!(after.len() == 2 && !after.contains(&oldest), "{after:?}");
    bench.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn days_left_on_a_secret_go_by_after_the_last_test() {
    let (bench, now) = super::notices::bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let tenant = json!({"name": "Contoso", "secret": "x", "definition": {"tenant_id": "t", "client_id": "c", "sign_in": "secret"}});
    let tenant = id(&bench.good(&token, Method::POST, &format!("/accounts/{account}/tenants"), Some(tenant)).await);
    let start = bench.server().now_us();
    let state = json!({"secret_end_us": start + 365 * DAY_US, "missing": 0}).to_string();
    bench.server().db.keep_tenant_state(&Id::parse(&tenant).expect("an id"), &state, start).await.expect("kept");
    let one = format!("/tenants/{tenant}");
    for (days, told) in [
        (
            0,
            [
                ("", "The secret of tenant", false),
                ("/tenants", "365 days left", true),
                (one.as_str(), "good for 365 more days", true),
            ],
        ),
        (
            360,
            [
                ("", "ends in 5 days", true),
                ("/tenants", "5 days left", true),
                (one.as_str(), "good for 5 more days", true),
            ],
        ),
        (366, [("", "has ended", true), ("/tenants", "ended", true), (one.as_str(), "has ended", true)]),
    ] {
        now.store(start + days * DAY_US, std::sync::atomic::Ordering::Relaxed);
        let cookie = bench.sign_in("owner@contoso.com", PASSWORD).await.expect("signed in");
        for (path, words, there) in told {
            let (_, page) = bench.page(&cookie, &format!("/a/{account}{path}")).await;
            assert_eq!(page.contains(words), there, "day {days}, {path}: {words}: {page}");
        }
    }
}
