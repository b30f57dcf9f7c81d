//! Downloads are jobs of the process that sends them.

use std::io::Write as _;
use std::time::Duration;

use futures::StreamExt as _;
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::restoring::Place;
use crate::error::{Error, ErrorKind};
use crate::monitor::{Counter, Monitor as _};
use crate::server::auth::Role;
use crate::server::db::{JobKind, JobState};
use crate::server::jobs::download::Download;

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_a_job_that_can_be_stopped_and_is_over_when_nobody_reads() {
    let place = Place::new().await;
    let server = place.bench.server();
    let row = server.db.repositories(&place.account).await.expect("a list").remove(0);
    let ended = async |job| loop {
        let job = server.db.job(&place.account, job).await.expect("a job");
        if job.state.has_ended() {
            return (job.state, job.error.unwrap_or_default());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    // One of which all was sent.
    let (whole, body) = Download::begin(server, &row, "restorer").await.expect("begun");
    let (job, mut out) = (whole.job().clone(), whole.out());
    let jobs = place.bench.good(&place.owner, Method::GET, &place.at("jobs"), None).await;
    assert!(jobs.to_string().contains(r#""kind":"export""#), "{jobs}");
    let making = async {
        let written = tokio::task::spawn_blocking(move || out.write_all(b"all of it")).await;
        written.expect("no panic").map_err(|e| Error::io("The line", e))?;
        Ok(json!({"bytes": 9}))
    };
    let (parts, ()) = tokio::join!(body.collect::<Vec<_>>(), whole.hold(making));
    assert!(parts.iter().all(Result::is_ok) && !parts.is_empty());
    assert_eq!(ended(&job).await.0, JobState::Done);

    // One that somebody stops while its reader waits: what was sent does not pass for the whole.
    let (stopped, body) = Download::begin(server, &row, "restorer").await.expect("begun");
    let (job, stop) = (stopped.job().clone(), stopped.stop());
    let until = async {
        stop.stopped().await;
        Err(Error::new(ErrorKind::Interrupted, "stopped"))
    };
    stopped.counts().add(Counter::Items, 5);
    let path = place.at(&format!("jobs/{job}"));
    let looks_on = place.bench.person(Some(&place.account), Role::Auditor, "auditor@contoso.com").await;
    let ask = async {
        let (status, _) = place.bench.ask(&looks_on, Method::DELETE, &path, None).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        place.bench.good(&place.owner, Method::DELETE, &path, None).await;
    };
    let (parts, (), ()) = tokio::join!(body.collect::<Vec<_>>(), stopped.hold(until), ask);
    assert!(parts.last().is_some_and(Result::is_err));
    assert_eq!(ended(&job).await, (JobState::Cancelled, "Somebody stopped it".to_owned()));
    let told = server.db.job(&place.account, &job).await.expect("a job").progress.expect("how far it was");
    assert_eq!(told["counts"]["items"], 5, "{told}");

    // One whose reader goes away, though nothing is sent just then.
    let (left, body) = Download::begin(server, &row, "restorer").await.expect("begun");
    let (job, stop) = (left.job().clone(), left.stop());
    drop(body);
    left.hold(async {
        stop.stopped().await;
        Err(Error::new(ErrorKind::Interrupted, "stopped"))
    })
    .await;
    assert_eq!(ended(&job).await, (JobState::Cancelled, "Who read it went away".to_owned()));

    // One whose process dies: no worker sends it in its place.
    let (lost, _body) = Download::begin(server, &row, "restorer").await.expect("begun");
    let job = lost.job().clone();
    drop(lost);
    server.db.take_over(server.now_us() + 60_000_000).await.expect("taken over");
    let (state, error) = ended(&job).await;
    assert!(state == JobState::Failed && error.contains("Download it again"), "{error}");
    assert_eq!(server.db.job(&place.account, &job).await.expect("a job").kind, JobKind::Export);
}
