//! For whoever watches the server: is it there, can it work, and its figures.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{Method, header};
use axum::response::IntoResponse;

use super::{Access, Door, Routes};
use crate::error::Result;
use crate::server::db::{Columns as _, in_time};
use crate::server::error::ApiError;
use crate::server::state::Server;

/// Adds the routes.
pub(super) fn add(routes: Routes) -> Routes {
    let routes = routes.add(Door::Api, Method::GET, "/healthz", Access::Anybody, || async { "ok\n" });
    routes.add(Door::Api, Method::GET, "/readyz", Access::Anybody, ready).add(
        Door::Api,
        Method::GET,
        "/metrics",
        Access::Anybody,
        metrics,
    )
}

/// How long the database may take to say that it is there.
const LONGEST_ANSWER: std::time::Duration = std::time::Duration::from_secs(10);

/// The process can work: its database answers, and what it does in the background goes well.
async fn ready(State(server): State<Arc<Server>>) -> Result<&'static str, ApiError> {
    in_time(LONGEST_ANSWER, server.db.ping()).await?;
    server.pulse.check(server.options.role, server.now_us())?;
    Ok("ready\n")
}

/// How long figures are kept.
const FIGURES_US: i64 = 5_000_000;

/// Figures in Prometheus' text format (version 0.0.4). Sums over all accounts: no name of anybody's stands in them.
async fn metrics(State(server): State<Arc<Server>>) -> Result<impl IntoResponse, ApiError> {
    // Anybody may ask, as often as they like: the answer is that of a few seconds.
    let (mut kept, now) = (server.figures.lock().await, server.now_us());
    let text = match &*kept {
        Some((at, text)) if (0..FIGURES_US).contains(&(now - at)) => text.clone(),
        _ => {
            let text = figures(&server, now).await?;
            *kept = Some((now, text.clone()));
            text
        }
    };
    drop(kept);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
}

async fn figures(server: &Server, now_us: i64) -> Result<String> {
    let db = &server.db;
    let mut text = String::new();
    let head = |name: &str, kind: &str, help: &str| format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    text.push_str(&head("tenantvault_build_info", "gauge", "The version that runs"));
    let _ = writeln!(text, "tenantvault_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    text.push_str(&head("tenantvault_connections", "gauge", "Connections to this process that are open"));
    let _ = writeln!(text, "tenantvault_connections {}", server.connections.connection_count());
    text.push_str(&head(
        "tenantvault_connections_turned_away_total",
        "counter",
        "Connections to this process that were closed because their address had as many as it may",
    ));
    let turned_away = server.turned_away.load(Ordering::Relaxed);
    let _ = writeln!(text, "tenantvault_connections_turned_away_total {turned_away}");
    text.push_str(&head("tenantvault_jobs", "gauge", "Jobs by kind and state"));
    for row in
        sqlx::query("SELECT kind, state, COUNT(*) AS many FROM jobs GROUP BY kind, state").fetch_all(db.pool()).await?
    {
        let (kind, state, many) = (row.text("kind")?, row.text("state")?, row.number("many")?);
        let _ = writeln!(text, "tenantvault_jobs{{kind=\"{kind}\",state=\"{state}\"}} {many}");
    }
    let row = sqlx::query("SELECT COALESCE(MIN(run_after_us), 0) AS oldest FROM jobs WHERE state = 'queued' AND client_id IS NULL AND run_after_us <= $1")
        .bind(now_us)
        .fetch_one(db.pool())
        .await?;
    let oldest = row.number("oldest")?;
    let waits = if oldest == 0 { 0 } else { now_us - oldest };
    text.push_str(&head("tenantvault_queue_wait_seconds", "gauge", "How long the oldest job that is due has waited"));
    let _ = writeln!(text, "tenantvault_queue_wait_seconds {}", waits as f64 / 1e6);
    let parts = server.pulse.parts(server.options.role);
    if !parts.is_empty() {
        let help = "How long ago a part of this process last did what it is there for";
        text.push_str(&head("tenantvault_silence_seconds", "gauge", help));
    }
    for (part, silence) in parts {
        let _ = writeln!(text, "tenantvault_silence_seconds{{part=\"{part}\"}} {}", silence.as_secs());
    }
    for (name, help, query) in [
        ("tenantvault_accounts", "Accounts", "SELECT COUNT(*) AS many FROM accounts"),
        ("tenantvault_sets", "Backup sets", "SELECT COUNT(*) AS many FROM sets"),
        (
            "tenantvault_stored_bytes",
            "Bytes stored, over all repositories",
            "SELECT CAST(COALESCE(SUM(stored_bytes), 0) AS BIGINT) AS many FROM repositories",
        ),
        (
            "tenantvault_sets_failing",
            "Enabled backup sets whose last run failed",
            "SELECT COUNT(*) AS many FROM sets WHERE enabled = 1 AND last_state = 'failed'",
        ),
    ] {
        let row = sqlx::query(query).fetch_one(db.pool()).await?;
        text.push_str(&head(name, "gauge", help));
        let _ = writeln!(text, "{name} {}", row.number("many")?);
    }
    let row = sqlx::query(
        "SELECT COALESCE(MIN(COALESCE(last_good_us, created_us)), 0) AS oldest FROM sets WHERE enabled = 1",
    )
    .fetch_one(db.pool())
    .await?;
    text.push_str(&head(
        "tenantvault_oldest_good_run_seconds",
        "gauge",
        "When the set that waits longest for a good run had its last one, or was made if it had none, since 1970 UTC",
    ));
    let _ = writeln!(text, "tenantvault_oldest_good_run_seconds {}", row.number("oldest")? as f64 / 1e6);
    Ok(text)
}
