//! Pre-authenticated download URLs: they carry their own permission, expire, take ranges, and must never be
//! sent the bearer token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use std::sync::atomic::Ordering;

use super::app::App;
use super::drive_json::unique_id;
use super::library::Drive;
use super::query::Request;
use super::reply::{Answer, Payload, Reply};

/// The path of download URLs.
pub(super) const PATH: &str = "/_layouts/15/download.aspx";

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Makes a URL for an item's present bytes or those of one version. `paid`: the request that gave it has been
/// counted as the download.
pub(super) fn url(app: &App, drive: &Drive, number: u32, version: Option<usize>, paid: bool) -> String {
    let until = (now() + app.options.download_url_lifetime).as_millis();
    let version = version.map_or("-".to_string(), |v| v.to_string());
    let text = format!("{}|{number}|{version}|{until}|{}", drive.id, u8::from(paid));
    let mac = blake3::keyed_hash(&app.auth.key, text.as_bytes());
    let permission = B64.encode([&mac.as_bytes()[..9], text.as_bytes()].concat());
    if app.options.remembers {
        app.counts.gives_out(&permission);
    }
    format!("{}{PATH}?UniqueId={}&tempauth={permission}", app.base_url, unique_id(drive, number))
}

/// What a URL permits.
struct Permission {
    drive: String,
    number: u32,
    version: Option<usize>,
    until: u128,
    paid: bool,
}

fn open(app: &App, text: &str) -> Option<Permission> {
    let raw = B64.decode(text).ok()?;
    let (mac, text) = raw.split_at_checked(9)?;
    if blake3::keyed_hash(&app.auth.key, text).as_bytes()[..9] != *mac {
        return None;
    }
    let parts: Vec<&str> = std::str::from_utf8(text).ok()?.split('|').collect();
    let [drive, number, version, until, paid] = parts[..] else { return None };
    Some(Permission {
        drive: drive.into(),
        number: number.parse().ok()?,
        version: version.parse().ok(),
        until: until.parse().ok()?,
        paid: paid == "1",
    })
}

/// Units that a download is counted with: none if the request for the URL was.
pub(super) fn units(app: &App, request: &Request) -> u64 {
    let permission = request.option("tempauth").and_then(|t| open(app, t));
    u64::from(!permission.is_some_and(|p| p.paid) && request.header("range").is_none())
}

/// Answers a download.
pub(super) fn serve(app: &App, request: &Request) -> Answer {
    if request.headers.contains_key("authorization") {
        app.counts.leaks.fetch_add(1, Ordering::Relaxed);
        return Err(Reply::fail(401, "unauthenticated", "The bearer token does not belong here."));
    }
    let refused = || Reply::status(401).header("X-MSDAVEXT_Error", "917656; Access denied.");
    let permission = request.option("tempauth").and_then(|t| open(app, t)).ok_or_else(refused)?;
    if permission.until <= now().as_millis() {
        return Err(refused());
    }
    let (blob, tag) = {
        let world = app.read();
        let index = super::drive::owner(&world, &permission.drive)?;
        let drive = super::drive::shown(&world, index)?.drive;
        let item = drive.items.get(permission.number as usize).filter(|i| i.alive).ok_or_else(|| Reply::status(404))?;
        let at = permission.version.unwrap_or(item.bodies.len().saturating_sub(1));
        let body = item.bodies.get(at).ok_or_else(|| Reply::status(404))?;
        (body.blob.clone(), format!("\"{{{}}},{}\"", unique_id(drive, permission.number).to_uppercase(), at + 1))
    };
    let len = blob.len();
    let reply = Reply::status(200).header("ETag", tag).header("Accept-Ranges", "bytes");
    let Some(range) = request.header("range") else {
        return Ok(Reply { payload: Payload::Blob(blob, 0, len), ..reply });
    };
    let Some((from, to)) = parse_range(range, len) else {
        return Err(Reply::status(416).header("Content-Range", format!("bytes */{len}")));
    };
    let reply = reply.header("Content-Range", format!("bytes {from}-{}/{len}", to - 1));
    Ok(Reply { status: 206, payload: Payload::Blob(blob, from, to - from), ..reply })
}

/// Reads `bytes=a-b`, `bytes=a-`, `bytes=-n`; gives start and end (exclusive).
fn parse_range(text: &str, len: u64) -> Option<(u64, u64)> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => (from, to.saturating_add(1).min(len)),
        (Ok(from), Err(_)) if to.is_empty() => (from, len),
        (Err(_), Ok(last)) if from.is_empty() => (len.saturating_sub(last), len),
        _ => return None,
    };
    (from < to).then_some((from, to))
}
