//! Storing a file: only under the name that its bytes have, only where none is, whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::names::Kind;
use super::visit::Visit;
use crate::error::{Error, ErrorKind, Result};
use crate::format::header::{FileKind, PREFIX_BYTES, check_prefix};
use crate::format::id::{IndexId, SnapshotId};
use crate::format::snapshot::{RunFile, SnapshotFile};
use crate::repo::{DocumentKind, DocumentName};
use crate::server::db::ClientRow;
use crate::server::error::ApiError;
use crate::server::state::Server;
use crate::snapshot::set::SetDefinition;

/// Beyond a pack's usual size: its last segment, and its header.
const PACK_SLACK: u64 = 64 << 20;
const INDEX_LIMIT: u64 = 64 << 20;
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// So many bytes of index files and documents a job stores whatever the limits, for what it has is worth nothing without them.
const MOST_BESIDE: i64 = if cfg!(test) { 1 << 20 } else { 128 << 20 };
/// The longest pause in a body.
const LONGEST_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });
/// The slowest that a body may come, in bytes a second, beyond the first minute.
const SLOWEST: u64 = 16 << 10;
const FIRST: Duration = Duration::from_secs(60);
/// How long a file waits for memory.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How far a client's clock may be ahead, in microseconds.
const SKEW_US: i64 = 300_000_000;

/// A file to store.
pub(super) struct Put<'a> {
    pub(super) server: &'a Server,
    pub(super) client: &'a ClientRow,
    pub(super) visit: &'a Visit,
    pub(super) path: &'a str,
    pub(super) kind: Kind,
    pub(super) set: Option<&'a str>,
    pub(super) id: &'a str,
}

/// A refusal with a status of its own.
fn refuse(status: StatusCode, text: &str, hint: &str) -> Response {
    let mut answer = ApiError(Error::invalid(text).with_hint(hint)).into_response();
    *answer.status_mut() = status;
    answer
}

impl Put<'_> {
    /// Takes the body and stores it.
    pub(super) async fn take(&self, headers: &HeaderMap, body: Body) -> Response {
        match self.try_take(headers, body).await {
            Ok(answer) => answer,
            // WebDAV's word for it (RFC 4918, 9.7.1 and RFC 9110, 13.1.2): what is there stays.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                refuse(StatusCode::PRECONDITION_FAILED, "A file of this name is there already", "It stays as it is")
            }
            Err(e) => ApiError(e).into_response(),
        }
    }

    async fn try_take(&self, headers: &HeaderMap, body: Body) -> Result<Response> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let Some(length) = length else {
            let text = "The request does not say how long the file is";
            return Ok(refuse(StatusCode::LENGTH_REQUIRED, text, "Send a Content-Length"));
        };
        if length > self.limit() {
            let text = format!("The file is longer than any of its kind: {length} bytes");
            return Ok(refuse(StatusCode::PAYLOAD_TOO_LARGE, &text, "Files of a backup are smaller"));
        }
        let beside = match self.kind {
            Kind::Pack => None,
            kind => match self.visit.let_in(kind, length) {
                None => return Err(wrong("This job has stored as many files of this kind as a run does")),
                entry => entry,
            },
        };
        // What a run needs to keep what it has is small, and let in over the limit too.
        if (beside.is_none() || self.visit.beside() > MOST_BESIDE) && !self.has_quota(length).await? {
            return Ok(refuse(
                StatusCode::INSUFFICIENT_STORAGE,
                "There is stored as much as may be for this client",
                "Ask the account's owner, or the server's administrator, for more",
            ));
        }
        let Some(_room) = self.make_room(length).await else {
            let text = "The server has too much under way";
            return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, text, "Try again"));
        };
        let Some((data, hash)) = read(body.into_data_stream(), length).await? else {
            let text = "The body came too slowly";
            return Ok(refuse(StatusCode::REQUEST_TIMEOUT, text, "Try again with a faster connection"));
        };
        if hash != self.id {
            return Err(Error::invalid("The file's bytes are others than its name says").with_hint("Send it again"));
        }
        self.vet(&data).await?;
        self.visit.storage().put(self.path, data).await?;
        match beside {
            Some(entry) => entry.stored(),
            None => self.visit.count(usize::try_from(length).unwrap_or_default()),
        }
        Ok(StatusCode::CREATED.into_response())
    }

    fn limit(&self) -> u64 {
        match self.kind {
            Kind::Pack => u64::from(self.visit.repo.config().pack_bytes) + PACK_SLACK,
            Kind::Index => INDEX_LIMIT,
            Kind::Key | Kind::Snapshot | Kind::Set | Kind::Run => DOCUMENT_LIMIT,
        }
    }

    /// Says whether there is room for more.
    async fn has_quota(&self, length: u64) -> Result<bool> {
        let (db, new) = (&self.server.db, i64::try_from(length).unwrap_or(i64::MAX));
        let more = self.visit.uncounted().saturating_add(new);
        if let Some(most) = self.client.most_bytes
            && db.stored_for_client(&self.client.id).await?.saturating_add(more) > most
        {
            return Ok(false);
        }
        // What its account may store blocks what is added to it, and no run.
        Ok(true)
    }

    async fn make_room(&self, length: u64) -> Option<[OwnedSemaphorePermit; 2]> {
        let kib = u32::try_from(length.div_ceil(1024).max(1)).ok()?;
        // Its own first: a client that waits for itself keeps nothing from others.
        let own = take(self.visit.room.clone(), kib).await?;
        let shared = take(self.server.endpoint.room.clone(), kib).await?;
        Some([own, shared])
    }

    /// Looks at what is in the file, as far as whoever cannot open contents can: it must not speak for others.
    async fn vet(&self, data: &[Bytes]) -> Result<()> {
        if self.kind == Kind::Pack {
            let head: Vec<u8> = data.iter().flatten().copied().take(PREFIX_BYTES).collect();
            let is = |kind| check_prefix("The pack", kind, &head).is_ok();
            let good = is(FileKind::ContentPack) || is(FileKind::TreePack);
            return if good { Ok(()) } else { Err(wrong("This is no pack")) };
        }
        let whole = Bytes::from(data.concat());
        match self.kind {
            Kind::Key => Err(Error::new(ErrorKind::Permission, "A client makes no keys")),
            Kind::Pack => Ok(()),
            Kind::Index => {
                let id: IndexId = self.id.parse()?;
                self.visit.repo.vet_index_file(&id, &whole, &self.visit.before).await
            }
            Kind::Snapshot => {
                let file: SnapshotFile = self.open(DocumentKind::Snapshot, &whole)?;
                let times =
                    self.visit.started_us.saturating_sub(SKEW_US)..=self.server.now_us().saturating_add(SKEW_US);
                let own = Some(file.set.to_string().as_str()) == self.set && file.set_name == self.visit.set_name;
                if own && times.contains(&file.time_us) && times.contains(&file.ended_us) {
                    Ok(())
                } else {
                    Err(wrong("The snapshot is of another set, or of another time"))
                }
            }
            Kind::Set => {
                let bytes: Vec<u8> = self.open(DocumentKind::Set, &whole)?;
                let definition = SetDefinition::decode(&bytes).map_err(|_| wrong("This is no definition of a set"))?;
                if definition.name == self.visit.set_name {
                    Ok(())
                } else {
                    Err(wrong("The definition is of another set"))
                }
            }
            Kind::Run => {
                let file: RunFile = self.open(DocumentKind::Run, &whole)?;
                let own = Some(file.set.to_string().as_str()) == self.set;
                if own { Ok(()) } else { Err(wrong("The run is of another set")) }
            }
        }
    }

    fn open<T: bincode::Decode<()>>(&self, kind: DocumentKind, bytes: &Bytes) -> Result<T> {
        let name = DocumentName { set: None, id: self.id.parse::<SnapshotId>()?.0 };
        self.visit
            .repo
            .open_document_bytes(kind, &name, bytes)
            .map_err(|e| Error::invalid("The file cannot be opened with the repository's key").with_source(e))
    }
}

fn wrong(text: &str) -> Error {
    Error::invalid(text).with_hint("A client writes the documents of its own runs only")
}

async fn take(room: Arc<Semaphore>, kib: u32) -> Option<OwnedSemaphorePermit> {
    timeout(LONGEST_WAIT, room.acquire_many_owned(kib)).await.ok()?.ok()
}

/// Reads a body whole, with its hash; nothing when it comes too slowly.
async fn read(mut body: BodyDataStream, length: u64) -> Result<Option<(Vec<Bytes>, String)>> {
    let end = Instant::now() + FIRST + Duration::from_secs(length / SLOWEST);
    let (mut data, mut arrived, mut hasher) = (Vec::new(), 0u64, blake3::Hasher::new());
    loop {
        let Ok(part) = timeout_at(end.min(Instant::now() + LONGEST_PAUSE), body.next()).await else { return Ok(None) };
        let Some(part) = part else { break };
        let part = part.map_err(|e| Error::new(ErrorKind::InvalidInput, "The body broke off").with_source(e))?;
        arrived += part.len() as u64;
        if arrived > length {
            return Err(Error::invalid("The body is longer than it was said to be"));
        }
        hasher.update(&part);
        data.push(part);
    }
    if arrived < length {
        return Err(Error::invalid("The body broke off"));
    }
    Ok(Some((data, hasher.finalize().to_hex().to_string())))
}
