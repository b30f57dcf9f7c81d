//! Downloading what was picked, as a ZIP that is written while it is sent.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use super::note;
use crate::error::{Error, Result};
use crate::ops::browse::Origin;
use crate::ops::export::{ArchiveKind, ArchiveTarget, ExportOptions, MailFormat, Wanted, export_several};
use crate::ops::present::{self, Face, Mode, names};
use crate::ops::view::Place;
use crate::server::auth::Actor;
use crate::server::basket;
use crate::server::db::RepositoryRow;
use crate::server::jobs::download::Download;
use crate::server::state::Server;

/// Sends an archive of what was picked, as a job, noted in the audit log. Nothing of it is held but what is under way.
///
/// # Errors
/// `InvalidInput` when nothing was picked; `NotFound` for what is not there; `WrongKey` when the repository is locked;
/// `Unavailable` when too many are under way.
pub(crate) async fn download(
    server: &Server,
    actor: &Actor,
    row: &RepositoryRow,
    items: &[Origin],
    mail: MailFormat,
) -> Result<Response> {
    if items.is_empty() {
        return Err(Error::invalid("There is nothing to download").with_hint("Pick something first"));
    }
    if items.len() > basket::MOST {
        return Err(Error::invalid(format!("At most {} things at once", basket::MOST)).with_hint("Pick the folder"));
    }
    let browser = server.unlocked.browser(server, actor, row).await?;
    let mut wanted = Vec::with_capacity(items.len());
    for item in items {
        let view = browser.view(&item.snapshot).await?;
        let place = view.resolve(&item.path).await?;
        if let Some(place) = as_a_whole(&place) {
            wanted.push(Wanted { snapshot: item.snapshot, view: view.clone(), place });
        }
        wanted.push(Wanted { snapshot: item.snapshot, view, place });
    }
    let (download, body) = Download::begin(server, row, &actor.login).await?;
    let paths: Vec<String> =
        items.iter().take(50).map(|item| format!("{}:{}", item.snapshot.short(), item.path)).collect();
    let detail = json!({"repository": row.name, "items": items.len(), "paths": paths, "job": download.job()});
    note(server, actor, &row.account, "archive.download", &row.name, detail).await?;
    server.aside.spawn(async move {
        let (target, counts, stop) = ((ArchiveKind::Zip, ArchiveTarget::Stream(download.out())), download.counts(), download.stop());
        let options = ExportOptions { overwrite: false, mail };
        let making = async {
            let report = export_several(wanted, target, options, &counts, &stop).await?;
            Ok(json!({"files": report.files, "bytes": report.bytes, "problems": report.problems.len(), "damaged": report.damaged}))
        };
        download.hold(making).await;
    });
    let time = Timestamp::from_microsecond(server.now_us()).unwrap_or(Timestamp::UNIX_EPOCH);
    let headers = [
        (header::CONTENT_TYPE, "application/zip".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"tenantvault-{}.zip\"", time.strftime("%Y-%m-%d-%H%M%S")),
        ),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// The file that shows an item with all that is below it, where there is one: a conversation, a table.
fn as_a_whole(place: &Place) -> Option<Place> {
    let Place::Item(state, record, path) = place else { return None };
    present::beside(record)?;
    let name = names::component(record, Face::Beside, Mode::Presented);
    let path = path.rsplit_once('/').map_or_else(|| name.clone(), |(above, _)| format!("{above}/{name}"));
    Some(Place::Beside(state.clone(), record.clone(), path))
}
