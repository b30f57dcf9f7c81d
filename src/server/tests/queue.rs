//! The queue: no job is done twice at once, none is lost with its worker.

use serde_json::json;

use super::{Bench, PLENTY, connect, set_up};
use crate::error::{Error, ErrorKind};
use crate::server::auth::Role;
use crate::server::db::{AtOnce, Before, JobKind, JobState, NewJob};
use crate::server::id::Id;
use crate::server::jobs::facts::{self, Facts};
use crate::sim::{SimOptions, SimTenant};

const LEASE_US: i64 = 30_000_000;

fn job<'a>(account: &'a Id, kind: JobKind, run_after_us: i64) -> NewJob<'a> {
    NewJob {
        account,
        kind,
        set: None,
        tenant: None,
        repository: None,
        client: None,
        arguments: json!({}),
        asked_by: "test",
        run_after_us,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_take_each_job_once_and_in_turn() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let db = &bench.server().db;
    for number in 0..40 {
        db.ask_for(&job(&account, JobKind::Check, number), 0).await.expect("asked");
    }
    let taking = (0..60).map(|number| {
        let db = db.clone();
        async move { db.take_job(&format!("worker {number}"), None, PLENTY, LEASE_US, 1_000).await.expect("asked") }
    });
    let taken: Vec<_> = futures::future::join_all(taking).await.into_iter().flatten().collect();
    let ids: std::collections::HashSet<&str> = taken.iter().map(|job| job.id.as_str()).collect();
    assert_eq!((taken.len(), ids.len()), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_tenant_begins_when_what_it_has_ends() {
    let bench = Bench::new().await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let tenant = Id::parse(&connect(&bench, &owner, &account, &sim, "Contoso").await).expect("an id");
    // Each is over at once, for what it is to take back is not there; of a tenant one goes after the other.
    let (mut asked, mut took) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let wanted = NewJob { tenant: Some(&tenant), ..job(&account, JobKind::Undo, 0) };
        asked.push(bench.server().db.ask_for(&wanted, 0).await.expect("asked"));
    }
    for id in &asked {
        bench.ended(&owner, &account, id.as_str()).await;
        let job = bench.server().db.job(&account, id).await.expect("there");
        took.push((job.started_us.expect("it began"), job.ended_us.expect("it ended")));
    }
    took.sort_unstable();
    // Half a second between any two, if the worker slept.
    let pauses: Vec<i64> = took.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    assert!(pauses.iter().filter(|pause| **pause > 250_000).count() < 10, "{pauses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_much_to_do_leaves_others_a_place_at_each_worker() {
    let bench = Bench::quiet().await;
    let busy = bench.account("Contoso").await;
    let db = &bench.server().db;
    for number in 0..6 {
        db.ask_for(&job(&busy, JobKind::Check, number), 0).await.expect("asked");
    }
    let take = async |worker: &str, of_account: i64| {
        let at_once = AtOnce { of_account, ..PLENTY };
        db.take_job(worker, None, at_once, LEASE_US, 1_000).await.expect("asked").map(|job| job.account)
    };
    // Alone on the server it has all places.
    assert_eq!(take("first", 1).await.as_ref(), Some(&busy));
    assert_eq!(take("first", 1).await.as_ref(), Some(&busy));
    let other = bench.account("Other").await;
    db.ask_for(&job(&other, JobKind::Check, 100), 0).await.expect("asked");
    assert_eq!(take("first", 3).await.as_ref(), Some(&busy));
    assert_eq!(take("first", 3).await.as_ref(), Some(&other), "it waited less long");
    assert_eq!(take("first", 3).await, None);
    assert_eq!(take("second", 3).await.as_ref(), Some(&busy), "another worker has places of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_a_worker_that_is_gone_is_anothers_and_the_first_cannot_end_it() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let db = &bench.server().db;
    let id = db.ask_for(&job(&account, JobKind::Check, 0), 0).await.expect("asked");
    assert!(db.take_job("one", None, PLENTY, LEASE_US, -1).await.expect("asked").is_none(), "not before its time");
    db.take_job("one", None, PLENTY, LEASE_US, 0).await.expect("asked").expect("a job");
    assert!(db.take_job("two", None, PLENTY, LEASE_US, 0).await.expect("asked").is_none());
    assert_eq!(db.take_over(LEASE_US - 1).await.expect("looked"), 0);
    assert_eq!(db.renew(&id, "one", &json!({}), LEASE_US, LEASE_US - 1).await.expect("renewed"), Some(false));
    assert_eq!(db.take_over(LEASE_US + 1).await.expect("looked"), 0, "it gave word");
    assert_eq!(db.take_over(3 * LEASE_US).await.expect("looked"), 1);
    db.take_job("two", None, PLENTY, LEASE_US, 3 * LEASE_US).await.expect("asked").expect("a job");
    assert_eq!(db.renew(&id, "one", &json!({}), LEASE_US, 3 * LEASE_US).await.expect("asked"), None);
    let end = |worker: &'static str| {
        let (db, id) = (db.clone(), id.clone());
        async move { db.end_job(&id, worker, JobState::Done, &json!({}), None, 4 * LEASE_US).await.expect("asked") }
    };
    assert!(!end("one").await, "it is another's");
    assert!(end("two").await);
    assert_eq!(db.job(&account, &id).await.expect("there").state, JobState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_takes_every_worker_down_is_given_up() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let db = &bench.server().db;
    let id = db.ask_for(&job(&account, JobKind::Check, 0), 0).await.expect("asked");
    let mut now = 0;
    for _ in 0..20 {
        if db.take_job("doomed", None, PLENTY, LEASE_US, now).await.expect("asked").is_none() {
            break;
        }
        now += 2 * LEASE_US;
        db.take_over(now).await.expect("looked");
    }
    let job = db.job(&account, &id).await.expect("there");
    assert_eq!((job.state, job.attempts), (JobState::Failed, 5));
    assert!(job.error.expect("a reason").contains("gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stopped_before_it_began_never_begins() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let db = &bench.server().db;
    let waiting = db.ask_for(&job(&account, JobKind::Check, 0), 0).await.expect("asked");
    db.cancel_job(&account, &waiting, 1).await.expect("stopped");
    assert!(db.take_job("one", None, PLENTY, LEASE_US, 2).await.expect("asked").is_none());
    db.cancel_job(&account, &waiting, 3).await.expect_err("it has ended");
    let other = bench.account("Other").await;
    let running = db.ask_for(&job(&account, JobKind::Prune, 0), 0).await.expect("asked");
    db.take_job("one", None, PLENTY, LEASE_US, 2).await.expect("asked").expect("a job");
    db.cancel_job(&other, &running, 3).await.expect_err("another account's");
    db.cancel_job(&account, &running, 3).await.expect("asked to stop");
    assert_eq!(db.renew(&running, "one", &json!({}), LEASE_US, 4).await.expect("renewed"), Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_noted_twice_is_one() {
    let bench = Bench::quiet().await;
    let account = bench.account("Contoso").await;
    let owner = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = SimTenant::start(SimOptions::tiny()).await.expect("a tenant");
    let (_, set, _) = set_up(&bench, &owner, &account, &sim, json!([])).await;
    let db = &bench.server().db;
    let set = db.backup_set(&account, &Id::parse(&set).expect("an id")).await.expect("a set");
    let wanted = NewJob { set: Some(&set.id), ..job(&account, JobKind::Backup, i64::MAX) };
    let asked = db.ask_for(&wanted, 0).await.expect("asked");
    let facts = Facts::of(&Err(Error::new(ErrorKind::Unavailable, "Microsoft does not answer")));
    // The answer to the first was lost with the database's connection; the next try is another run.
    for (started_us, runs) in [(5, 1), (5, 1), (6, 2)] {
        facts::note(bench.server(), &set, &asked, started_us, &facts).await.expect("noted");
        let noted = db.runs(&account, Some(&set.id), &Before::NOTHING, 10).await.expect("read");
        assert_eq!(noted.len(), runs, "{noted:?}");
    }
}
