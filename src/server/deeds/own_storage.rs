//! Repositories in the server's own storage that are on no list: what an account left behind there counts, and comes back under
//! the id that its folder is called by; what a server whose database is lost left behind there is an administrator's to give.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::is_administrator;
use crate::error::{Error, ErrorKind, Result};
use crate::server::auth::Actor;
use crate::server::db::{LeftBehind, RepositoryRow};
use crate::server::id::Id;
use crate::server::state::Server;
use crate::server::targets::OWN;

/// How long the files of a repository are counted; one that is larger than that takes is taken for as large as it was last.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says whether a repository lies in the server's own storage.
///
/// # Errors
/// As any query.
pub(crate) async fn is_own(server: &Server, row: &RepositoryRow) -> Result<bool> {
    Ok(server.db.destinations(&row.id).await?.first().is_some_and(|place| place.url == OWN))
}

/// What is left behind of a repository that goes off the list, if it lies in the server's own storage.
///
/// # Errors
/// As any query.
pub(super) async fn of(server: &Server, row: &RepositoryRow) -> Result<Option<LeftBehind>> {
    if !is_own(server, row).await? {
        return Ok(None);
    }
    let folder = server.storage_folder(&row.account).join(row.id.as_str());
    let counted = tokio::task::spawn_blocking(move || size_of(&folder, Instant::now())).await.unwrap_or_default();
    Ok(Some(LeftBehind {
        id: row.id.clone(),
        name: row.name.clone(),
        repository: row.repository.clone(),
        stored_bytes: row.stored_bytes.max(i64::try_from(counted).unwrap_or(i64::MAX)),
        removed_us: server.now_us(),
    }))
}

/// The bytes of all files in a folder, as far as they can be counted in time.
fn size_of(folder: &Path, began: Instant) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        if began.elapsed() > PATIENCE {
            break;
        }
        // Links are not followed.
        bytes += match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of(&entry.path(), began),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        };
    }
    bytes
}

/// What an account left behind. What whoever runs the server deleted since is forgotten.
///
/// # Errors
/// As any query.
pub(crate) async fn left_behind(server: &Server, account: &Id) -> Result<Vec<LeftBehind>> {
    let mut all = Vec::new();
    for left in server.db.left_behind(account).await? {
        if is_gone(&server.storage_folder(account), &left.id) {
            server.db.forget_left_behind(account, &left.id).await?;
        } else {
            all.push(left);
        }
    }
    Ok(all)
}

/// A storage that is not there at all, such as a drive that is not mounted, has lost nothing.
fn is_gone(storage: &Path, id: &Id) -> bool {
    storage.is_dir() && matches!(storage.join(id.as_str()).try_exists(), Ok(false))
}

/// Where in the server's own storage something is to be taken over from.
pub(super) struct Wanted {
    /// The account whose folder it lies in.
    account: Id,
    /// The repository.
    id: Id,
}

/// Reads `server:REPOSITORY` and `server:ACCOUNT/REPOSITORY`; nothing: it is an address of another kind.
///
/// # Errors
/// `InvalidInput`, `Permission`.
pub(super) fn read(actor: &Actor, account: &Id, url: &str) -> Result<Option<Wanted>> {
    let Some(rest) = url.strip_prefix(OWN) else { return Ok(None) };
    let (of, id) = rest.split_once('/').unwrap_or((account.as_str(), rest));
    let (Ok(of), Ok(id)) = (Id::parse(of), Id::parse(id)) else {
        return Err(Error::invalid("Which repository in the server's own storage it is has to be said")
            .with_hint("Write server: and its id, as the page Storage and the folder name it"));
    };
    if of != *account && !is_administrator(actor) {
        return Err(Error::new(ErrorKind::Permission, "This lies in the folder of another account")
            .with_hint("An administrator of the server takes over what a lost server's account left behind"));
    }
    Ok(Some(Wanted { account: of, id }))
}

impl Wanted {
    /// The address under which it is taken over.
    pub(super) fn url(&self) -> String {
        format!("{OWN}{}", self.id)
    }

    /// Sees to it that it lies in the folder of the account that takes it over. Says from where it was moved, if it was.
    ///
    /// # Errors
    /// `NoRepository` when there is none; `InvalidInput` for one of another account of this server.
    pub(super) async fn bring(&self, server: &Server, account: &Id) -> Result<Option<Moved>> {
        let there = server.storage_folder(&self.account).join(self.id.as_str());
        let here = server.storage_folder(account).join(self.id.as_str());
        if here.is_dir() {
            return Ok(None);
        }
        if self.account == *account || !there.is_dir() {
            let text = format!("There is no repository {} in the server's own storage", self.id);
            return Err(Error::new(ErrorKind::NoRepository, text).with_hint("Look which folders lie in its storage"));
        }
        match server.db.account(&self.account).await {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(_) => {
                return Err(Error::invalid("This lies in the folder of another account of this server")
                    .with_hint("Take it over in that account"));
            }
        }
        let moved = Moved { there, here };
        moved.rename(true)?;
        Ok(Some(moved))
    }

    /// Puts it where it was, if it was not taken over.
    pub(super) async fn put_back(&self, server: &Server, account: &Id, moved: &Moved) {
        let known = server.db.repository(account, &self.id).await;
        if known.is_err_and(|e| e.kind() == ErrorKind::NotFound)
            && let Err(e) = moved.rename(false)
        {
            tracing::warn!("What was not taken over stays where it was moved to: {}", e.chain());
        }
    }
}

/// A repository that was moved into an account's folder.
pub(super) struct Moved {
    there: PathBuf,
    here: PathBuf,
}

impl Moved {
    fn rename(&self, forth: bool) -> Result<()> {
        let (from, to) = if forth { (&self.there, &self.here) } else { (&self.here, &self.there) };
        let cannot = |e| Error::io(format!("{} cannot be moved to {}", from.display(), to.display()), e);
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent).map_err(cannot)?;
        }
        std::fs::rename(from, to).map_err(cannot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_what_is_gone_is_told_from_a_storage_that_is_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let id = Id::random();
        let place = folder.path().join(id.as_str());
        std::fs::create_dir_all(place.join("packs/ab")).expect("made");
        for (name, bytes) in [("config", 10), ("packs/ab/abcd", 1_000)] {
            std::fs::write(place.join(name), vec![0; bytes]).expect("written");
        }
        assert_eq!(size_of(&place, Instant::now()), 1_010);
        assert!(!is_gone(folder.path(), &id));
        std::fs::remove_dir_all(&place).expect("removed");
        assert!(is_gone(folder.path(), &id) && !is_gone(&folder.path().join("away"), &id));
    }
}
