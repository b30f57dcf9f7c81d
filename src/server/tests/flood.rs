//! What a stolen client could fill the server with, and what waits for a time that a wrong clock named.

use std::sync::atomic::Ordering;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::clients::{Thief, Yard, opened, take};
use super::notices::{Hook, bench_at, pass, receiver};
use crate::crypto::random_bytes;
use crate::format::header::{FileKind, seal_document};
use crate::format::id::SetId;
use crate::format::snapshot::{SnapshotFile, Totals};
use crate::server::auth::Role;
use crate::server::choices::Choices;
use crate::snapshot::set::{TenantRef, set_id};

const MINUTE_US: i64 = 60_000_000;

/// A snapshot of nothing.
pub(super) fn snapshot(set: SetId, set_name: &str, time_us: i64) -> SnapshotFile {
    SnapshotFile {
        set,
        set_name: set_name.to_owned(),
        tenant: "x".into(),
        time_us,
        ended_us: time_us,
        host: "x".into(),
        program: "x".into(),
        tags: vec![],
        parent: None,
        complete: true,
        catalog: None,
        gaps: None,
        totals: Totals::default(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_stores_the_documents_of_one_run_and_no_more_than_its_limit_beside_packs() {
    let yard = Yard::new().await;
    yard.back_up(true).await;
    let token = yard.stolen_token();
    yard.ask().await;
    let handout = take(&yard, &token).await;
    let root = handout["repository"]["path"].as_str().expect("a path").to_owned();
    let thief = Thief { yard: &yard, token: token.clone(), root };
    let repo = opened(&yard, &token, &handout).await;
    let own = set_id(&repo.config().id, "everyone");
    // Snapshots of now, by which those that are there would be one too many.
    let mut told = Vec::new();
    for n in 0..5 {
        let now = yard.bench.server().now_us();
        let file = snapshot(own, "everyone", now + n);
        let bytes = seal_document(repo.keys(), FileKind::Snapshot, &file);
        told.push(thief.put(&format!("snapshots/{own}"), &bytes).await.as_u16());
    }
    assert_eq!(told, [201, 201, 422, 422, 422]);
    // Over the limit a run's own few files are let in, and not whatever somebody sends.
    let path = format!("/clients/{}", yard.client);
    yard.good(Method::PUT, &path, Some(json!({"name": "backup-pc", "most_bytes": 100}))).await;
    let noise: String = (0..24_000).flat_map(|_| random_bytes::<32>()).map(|byte| format!("{byte:02x}")).collect();
    let tenant = TenantRef { name: noise, id: "x".into() };
    let mut told = Vec::new();
    for zone in ["UTC", "Europe/Berlin"] {
        let choices = Choices { time_zone: zone.into(), ..Choices::default() };
        let set = choices.definition("everyone", tenant.clone(), vec![]).expect("a definition");
        told.push(thief.put("sets", &seal_document(repo.keys(), FileKind::Set, &set.encode())).await);
    }
    assert_eq!(told, [StatusCode::CREATED, StatusCode::INSUFFICIENT_STORAGE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_stops_neither_pings_nor_what_is_tried_again() {
    let (bench, now) = bench_at("2026-11-26T10:00:00Z").await;
    let began = now.load(Ordering::Relaxed);
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let hook = Hook::default();
    let url = hook.start().await;
    let beat = json!({"name": "beat", "url": url, "definition": {"kind": "ping", "beat_minutes": 10}});
    receiver(&bench, &token, &account, beat).await;
    pass(&bench).await;
    now.fetch_add(365 * 24 * 60 * MINUTE_US, Ordering::Relaxed);
    pass(&bench).await;
    assert_eq!(hook.many(), 1, "once for the year, not once for each ten minutes");
    now.store(began + MINUTE_US, Ordering::Relaxed);
    for minute in 1..=25 {
        now.store(began + minute * MINUTE_US, Ordering::Relaxed);
        pass(&bench).await;
    }
    assert_eq!(hook.many(), 3, "after eleven minutes and after twenty-one");
}
