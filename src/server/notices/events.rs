//! Tells of jobs that ended: of each once, whichever process looks first and whatever dies in between.

use std::collections::HashMap;

use super::notice::Notice;
use crate::error::{Error, Result};
use crate::server::db::{EndedJob, NewDelivery, Receiver, ReceiverKind, RunsTold, is_away};
use crate::server::id::Id;
use crate::server::pages::words;
use crate::server::state::Server;

/// How many at a time.
const PAGE: i64 = 200;
/// Gaps named in a notice.
const MOST_GAPS: usize = 10;

/// Tells of all that ended.
pub(super) async fn pass(server: &Server) -> Result<()> {
    loop {
        let jobs = server.db.unnoticed_jobs(PAGE).await?;
        if jobs.is_empty() {
            return Ok(());
        }
        let mut accounts: HashMap<Id, Vec<Receiver>> = HashMap::new();
        // (account, receiver, event, notice)
        let mut news = Vec::new();
        for job in &jobs {
            if !accounts.contains_key(&job.account) {
                accounts.insert(job.account.clone(), server.db.receivers(&job.account).await?);
            }
            let receivers = accounts.get(&job.account).map(Vec::as_slice).unwrap_or_default();
            let wanting: Vec<&Receiver> = receivers.iter().filter(|receiver| wants(receiver, job)).collect();
            if wanting.is_empty() {
                continue;
            }
            let told = match tell(server, job).await {
                // It is noticed all the same: what cannot be told of one keeps nothing from others.
                Err(e) if !is_away(&e) => {
                    tracing::error!(job = job.id.as_str(), "What came of a job cannot be told: {}", e.chain());
                    continue;
                }
                told => told?,
            };
            let notice =
                serde_json::to_string(&told).map_err(|e| Error::internal("A notice cannot be kept").with_source(e))?;
            for receiver in wanting {
                news.push((receiver.account.clone(), receiver.id.clone(), format!("job {}", job.id), notice.clone()));
            }
        }
        let rows: Vec<NewDelivery<'_>> = news
            .iter()
            .map(|(account, receiver, event, notice)| NewDelivery { account, receiver, event, notice })
            .collect();
        server.db.tell_of_jobs(&jobs, &rows, server.now_us()).await?;
    }
}

fn is_trouble(job: &EndedJob) -> bool {
    match job.kind.as_str() {
        "backup" => job.state != "done",
        // Who downloads sees it break off.
        "export" => false,
        // Who stopped it knows; what replicas and checks found shows in "gaps".
        _ => matches!(job.state.as_str(), "failed" | "gaps"),
    }
}

/// Says whether a receiver is told of a job.
fn wants(receiver: &Receiver, job: &EndedJob) -> bool {
    let definition = &receiver.definition;
    // What was before it, it does not hear of.
    if !definition.enabled || receiver.created_us > job.ended_us {
        return false;
    }
    if definition.set.is_some() && definition.set != job.set {
        return false;
    }
    if definition.kind == ReceiverKind::Ping {
        let good = job.kind == "backup" && matches!(job.state.as_str(), "done" | "gaps");
        return definition.beat_minutes.is_none() && good;
    }
    match definition.runs {
        RunsTold::None => false,
        RunsTold::Trouble => is_trouble(job),
        RunsTold::All => job.kind == "backup" || is_trouble(job),
    }
}

async fn tell(server: &Server, job: &EndedJob) -> Result<Notice> {
    let account = server.db.account(&job.account).await?;
    let about = match (&job.set_name, &job.repository_name) {
        (Some(set), _) => format!("'{set}'"),
        (None, Some(repository)) => format!("repository '{repository}'"),
        (None, None) => "the account".to_owned(),
    };
    let (event, title) = if job.kind == "backup" {
        match job.state.as_str() {
            "done" => ("run.complete", format!("Backup of {about} is whole")),
            "gaps" => ("run.gaps", format!("Backup of {about} has gaps")),
            "cancelled" => ("run.interrupted", format!("Backup of {about} was stopped")),
            "missed" => ("run.missed", format!("Backup of {about} was missed and is not caught up")),
            _ => ("run.failed", format!("Backup of {about} failed")),
        }
    } else {
        match (job.kind.as_str(), job.state.as_str()) {
            ("check", "gaps") => ("check.damage", format!("The check of {about} found something wrong")),
            ("mirror", "gaps") => ("mirror.behind", format!("A replica of {about} lags behind")),
            (kind, "gaps") => ("job.gaps", format!("Not all of '{kind}' of {about} could be done")),
            (kind, _) => ("job.failed", format!("'{kind}' of {about} failed")),
        }
    };
    let mut notice =
        Notice::new(event, job.ended_us, &account.name, title).page(format!("/a/{}/jobs/{}", job.account, job.id));
    if let Some(error) = &job.error {
        notice = notice.fact("Why", error.clone());
    }
    let run = match &job.set {
        Some(set) if job.kind == "backup" => server.db.run_of_job(&job.account, set, &job.id).await?,
        _ => None,
    };
    if let Some(run) = run {
        notice = notice
            .fact("Took", words::duration(run.ended_us - run.started_us))
            .fact("Items", words::number(run.items))
            .fact("New", words::number(run.items_added))
            .fact("Changed", words::number(run.items_changed))
            .fact("Stored", words::size(u64::try_from(run.bytes_stored).unwrap_or(0)));
        if run.gaps > 0 {
            notice = notice.fact("Gaps", words::number(run.gaps));
        }
        for gap in run.gap_list.as_array().map(Vec::as_slice).unwrap_or_default().iter().take(MOST_GAPS) {
            let text = |name: &str| gap.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
            notice = notice.detail(format!("{}: {}", text("name"), text("message")));
        }
    }
    Ok(notice)
}
