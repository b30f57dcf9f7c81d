//! Keeps a sign-in in a file that only the user can read, or all of it but the token, and that in the system's key store.
//!
//! The file is written beside and renamed, so that it is whole at any instant. A lock file beside it lets one process in at a
//! time; the system drops the lock with the process. A file that others could read is refused rather than repaired:
//! whoever opened it may have read it.

use std::fs::{File, Metadata};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::kept::{Account, Held, Keeper, Kept};
use super::{RefreshToken, system};
use crate::error::{Error, ErrorKind, Result};

const VERSION: u32 = 1;

/// Where the token is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// In the system's key store if there is one that works at the first sign-in, else in the file.
    #[default]
    Auto,
    /// In the system's key store.
    System,
    /// In the file.
    File,
}

/// Where the token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptIn {
    /// In the system's key store.
    System,
    /// In the file.
    File,
}

/// Keeps a sign-in on this machine.
#[derive(Debug, Clone)]
pub struct FileKeeper {
    folder: PathBuf,
    name: String,
    place: Place,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    account: Account,
    scopes: Vec<String>,
    kept_in: KeptIn,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refresh_token: Option<Zeroizing<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claims: Option<String>,
    signed_in_us: i64,
}

impl FileKeeper {
    /// Keeps in `folder` under a name, which must be good as a file's name. Nothing is made or read yet.
    pub fn new(folder: PathBuf, name: String, place: Place) -> Self {
        Self { folder, name, place }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.name))
    }

    /// Where the token is now; `None`: nobody is signed in.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn kept_in(&self) -> Result<Option<KeptIn>> {
        Ok(self.read()?.map(|document| document.kept_in))
    }

    fn failed(&self, what: &str) -> impl FnOnce(std::io::Error) -> Error + use<> {
        let text = format!("The sign-in's file {} cannot be {what}", self.path().display());
        move |e| Error::io(text, e)
    }

    fn read(&self) -> Result<Option<Document>> {
        let mut file = match File::open(self.path()) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(self.failed("read")(e)),
        };
        closed(&self.path(), &file.metadata().map_err(self.failed("read"))?)?;
        closed(&self.folder, &std::fs::metadata(&self.folder).map_err(self.failed("read"))?)?;
        let mut text = Zeroizing::new(String::new());
        std::io::Read::read_to_string(&mut file, &mut text).map_err(self.failed("read"))?;
        let damaged = || {
            Error::corrupt(format!("The sign-in's file {} is damaged", self.path().display()))
                .with_hint("Remove it with logout, and sign in again")
        };
        // The parser's words may repeat what stands there.
        let document: Document = serde_json::from_str(&text).map_err(|_| damaged())?;
        if document.version > VERSION {
            let text = format!("The sign-in's file {} was written by a newer version", self.path().display());
            return Err(Error::new(ErrorKind::UnsupportedVersion, text).with_hint("Use a newer tenantvault"));
        }
        Ok(Some(document))
    }

    fn write(&self, document: &Document) -> Result<()> {
        let failed = || self.failed("written");
        let text = Zeroizing::new(serde_json::to_string_pretty(document).map_err(|e| failed()(e.into()))?);
        closed(&self.folder, &std::fs::metadata(&self.folder).map_err(failed())?)?;
        // Temporary files are readable by their owner alone.
        let mut file = tempfile::Builder::new().prefix(".sign-in-").tempfile_in(&self.folder).map_err(failed())?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed())?;
        file.persist(self.path()).map_err(|e| failed()(e.error))?;
        sync_folder(&self.folder).map_err(failed())
    }

    async fn put_away(&self, token: &Zeroizing<String>, before: Option<KeptIn>) -> Result<KeptIn> {
        let place = match (self.place, before) {
            (Place::Auto, Some(KeptIn::System)) => Place::System,
            (Place::Auto, Some(KeptIn::File)) => Place::File,
            (place, _) => place,
        };
        match place {
            Place::File => Ok(KeptIn::File),
            Place::System => system::write(&self.name, token).await.map(|()| KeptIn::System),
            Place::Auto => match system::write(&self.name, token).await {
                Ok(()) => Ok(KeptIn::System),
                Err(e) => {
                    tracing::info!("{}: the sign-in is kept in a file", e.chain());
                    Ok(KeptIn::File)
                }
            },
        }
    }
}

#[async_trait]
impl Keeper for FileKeeper {
    async fn hold(&self) -> Result<Box<dyn Held>> {
        let keeper = self.clone();
        // Another process may be at the sign-in server for a while.
        let locked = tokio::task::spawn_blocking(move || {
            make_folder(&keeper.folder)?;
            let path = keeper.folder.join(format!("{}.lock", keeper.name));
            let lock = File::options().create(true).truncate(false).write(true).open(&path)?;
            lock.lock()?;
            Ok((keeper, lock))
        });
        let failed = || format!("The sign-ins' folder {} cannot be used", self.folder.display());
        let locked = locked.await.map_err(|e| Error::internal(failed()).with_source(e))?;
        let (keeper, lock) = locked.map_err(|e: std::io::Error| Error::io(failed(), e))?;
        Ok(Box::new(HeldFile { keeper, _lock: lock }))
    }
}

struct HeldFile {
    keeper: FileKeeper,
    _lock: File,
}

#[async_trait]
impl Held for HeldFile {
    async fn load(&self) -> Result<Option<Kept>> {
        let Some(document) = self.keeper.read()? else { return Ok(None) };
        let token = match (document.kept_in, document.refresh_token) {
            (KeptIn::File, token) => token,
            (KeptIn::System, _) => system::read(&self.keeper.name).await?,
        };
        // Whoever removed the token alone has signed out.
        let Some(token) = token else { return Ok(None) };
        Ok(Some(Kept {
            account: document.account,
            scopes: document.scopes,
            refresh: RefreshToken(token),
            claims: document.claims,
            signed_in_us: document.signed_in_us,
        }))
    }

    async fn save(&self, kept: &Kept) -> Result<()> {
        // A damaged file is no reason not to write a whole one.
        let before = self.keeper.read().ok().flatten().map(|document| document.kept_in);
        let kept_in = self.keeper.put_away(&kept.refresh.0, before).await?;
        self.keeper.write(&Document {
            version: VERSION,
            account: kept.account.clone(),
            scopes: kept.scopes.clone(),
            kept_in,
            refresh_token: (kept_in == KeptIn::File).then(|| kept.refresh.0.clone()),
            claims: kept.claims.clone(),
            signed_in_us: kept.signed_in_us,
        })?;
        if before == Some(KeptIn::System) && kept_in == KeptIn::File {
            system::remove(&self.keeper.name).await?;
        }
        Ok(())
    }

    async fn remove(&self) -> Result<bool> {
        let there = self.keeper.read();
        match &there {
            Ok(Some(document)) if document.kept_in == KeptIn::System => system::remove(&self.keeper.name).await?,
            // What the file said is not known: whatever may be there goes.
            Err(_) if self.keeper.place != Place::File => drop(system::remove(&self.keeper.name).await),
            _ => {}
        }
        match std::fs::remove_file(self.keeper.path()) {
            Ok(()) => {
                sync_folder(&self.keeper.folder).map_err(self.keeper.failed("removed"))?;
                Ok(true)
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(self.keeper.failed("removed")(e)),
        }
    }
}

#[cfg(unix)]
fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make_folder(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// Refuses a file or folder that other users can open.
#[cfg(unix)]
fn closed(path: &Path, found: &Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let text = format!("{} holds a sign-in and is open to other users of this machine (mode {mode:o})", path.display());
    let good = if found.is_dir() { "700" } else { "600" };
    Err(Error::new(ErrorKind::Permission, text)
        .with_hint(format!("If nobody can have read it: chmod {good} {}; else log out and in again", path.display())))
}

/// This system has no file modes; the user's own folder is closed to others.
#[cfg(not(unix))]
fn closed(_: &Path, _: &Metadata) -> Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}
