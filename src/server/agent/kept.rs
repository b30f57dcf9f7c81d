//! What a client keeps on its disk: where its server is, and its token, in a file that only its user can read.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::wire::Enrolled;
use crate::error::{Error, ErrorKind, Result};

const VERSION: u32 = 1;
/// The file in the folder.
const NAME: &str = "agent.json";

/// An enrolment. Holds the token: no `Debug`.
#[derive(Serialize, Deserialize)]
pub(super) struct Enrolment {
    version: u32,
    /// The server.
    pub(super) url: String,
    /// The client's id there.
    id: String,
    /// What the account calls it.
    pub(super) name: String,
    /// What it shows to the server.
    pub(super) token: Zeroizing<String>,
}

impl Enrolment {
    pub(super) fn of(url: &str, enrolled: Enrolled) -> Self {
        let (id, name, token) = (enrolled.id.to_string(), enrolled.name, enrolled.token);
        Self { version: VERSION, url: url.to_owned(), id, name, token }
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// Reads the enrolment, if there is one.
///
/// # Errors
/// When it cannot be read, or other users could.
pub(super) fn read(folder: &Path) -> Result<Option<Enrolment>> {
    let path = path(folder);
    let failed = |e| Error::io(format!("The enrolment {} cannot be read", path.display()), e);
    let mut file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    closed(&path, &file.metadata().map_err(failed)?)?;
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    // The parser's words may repeat what stands there.
    let enrolment: Enrolment = serde_json::from_str(&text).map_err(|_| {
        Error::corrupt(format!("The enrolment {} is damaged", path.display())).with_hint("Enroll again, with --again")
    })?;
    if enrolment.version > VERSION {
        let text = format!("The enrolment {} was written by a newer version", path.display());
        return Err(Error::new(ErrorKind::UnsupportedVersion, text).with_hint("Use that version, or a newer one"));
    }
    Ok(Some(enrolment))
}

/// Writes the enrolment: whole, durable, for its user alone.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(folder: &Path, enrolment: &Enrolment) -> Result<()> {
    let path = path(folder);
    let failed = |e| Error::io(format!("The enrolment {} cannot be written", path.display()), e);
    make(folder).map_err(failed)?;
    let text = serde_json::to_string_pretty(enrolment).map(Zeroizing::new);
    let text = text.map_err(|e| Error::internal("The enrolment has no form").with_source(e))?;
    // Temporary files are for their user alone (0600) from the beginning.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(&path).map_err(|e| failed(e.error))?;
    if cfg!(unix) {
        std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    }
    Ok(())
}

#[cfg(unix)]
fn make(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(not(unix))]
fn make(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// Refuses a file that other users can open: whoever opened it may have the token.
#[cfg(unix)]
fn closed(path: &Path, found: &std::fs::Metadata) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let text = format!("{} holds a token and is open to other users of this machine (mode {mode:o})", path.display());
    Err(Error::new(ErrorKind::Permission, text)
        .with_hint(format!("If nobody can have read it: chmod 600 {}; else enroll again", path.display())))
}

/// This system has no file modes; the user's own folder is closed to others.
#[cfg(not(unix))]
fn closed(_: &Path, _: &std::fs::Metadata) -> Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::server::id::Id;

    #[test]
    fn an_enrolment_is_for_its_user_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("data");
        assert!(read(&inside).expect("nothing").is_none());
        let enrolled = Enrolled { id: Id::random(), name: "pc".into(), token: "tvc_x".to_owned().into() };
        write(&inside, &Enrolment::of("https://example.com", enrolled)).expect("written");
        let found = read(&inside).expect("read").expect("there");
        assert_eq!((found.url.as_str(), found.token.as_str()), ("https://example.com", "tvc_x"));
        let file = path(&inside);
        assert_eq!(std::fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert_eq!(read(&inside).err().expect("open to others").kind(), ErrorKind::Permission);
    }
}
