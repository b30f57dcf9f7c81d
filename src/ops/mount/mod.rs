//! The mount: a repository as a folder of this machine (FUSE, Linux), read-only.
//!
//! What is shown is [`crate::ops::browse`]; here is only how the kernel asks for it.

#[cfg(target_os = "linux")]
mod fuse;
#[cfg(target_os = "linux")]
mod table;

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::ops::browse::Browser;

/// What helps where nothing can be mounted.
const INSTEAD: &str = "install it (Debian, Ubuntu: apt install fuse3), or look inside with serve webdav";

/// How to mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct MountOptions {
    /// Other users of the machine may look too.
    pub allow_other: bool,
}

/// How an unmounting went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// Nobody was looking.
    Cleanly,
    /// Somebody had something open, or stood in a folder: that meets errors from now on.
    InUse,
}

/// A mount that is there.
#[derive(Debug)]
pub struct Mounted {
    folder: PathBuf,
    #[cfg(target_os = "linux")]
    session: linux::Running,
}

impl Mounted {
    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

/// Mounts a repository on an empty folder. To be called within a runtime, which answers the kernel.
///
/// # Errors
/// `NotFound`, `InvalidInput` when the folder is not there, none, or not empty; `AlreadyExists` when something is mounted
/// there; `Permission`, `NotFound` where the system does not let the program mount. All with what to do.
pub fn mount(browser: &Browser, folder: &Path, options: MountOptions) -> Result<Mounted> {
    check_folder(folder)?;
    #[cfg(target_os = "linux")]
    return linux::mount(browser, folder, options);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (browser, options);
        Err(Error::invalid("Mounting needs Linux").with_hint("look inside with serve webdav"))
    }
}

fn check_folder(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let busy = |text: String| {
        let hint = format!("end the earlier mount (fusermount3 -u {shown}), or choose another folder");
        Error::new(ErrorKind::AlreadyExists, text).with_hint(hint)
    };
    let there = match std::fs::metadata(folder) {
        Ok(there) => there,
        // What the kernel says of a mount whose program is gone.
        #[cfg(unix)]
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => {
            return Err(busy(format!("{shown} is a mount that nobody serves any more")).with_source(e));
        }
        Err(e) => {
            let is_missing = e.kind() == std::io::ErrorKind::NotFound;
            let error = Error::io(format!("Folder {shown} cannot be mounted on"), e);
            return Err(if is_missing { error.with_hint(format!("make it: mkdir {shown}")) } else { error });
        }
    };
    if !there.is_dir() {
        return Err(Error::invalid(format!("{shown} is a file")).with_hint("name an empty folder"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if std::fs::metadata(folder.join("..")).is_ok_and(|above| above.dev() != there.dev()) {
            return Err(busy(format!("Something is mounted on {shown} already")));
        }
    }
    let mut entries = std::fs::read_dir(folder).map_err(|e| Error::io(format!("{shown} cannot be listed"), e))?;
    if entries.next().is_some() {
        return Err(Error::invalid(format!("{shown} is not empty"))
            .with_hint("name an empty folder: what is in it could not be seen while something is mounted on it"));
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use fuser::{Config, MountOption, Session, SessionACL, SessionUnmounter};
    use tokio::sync::oneshot;

    use super::fuse::Fuse;
    use super::{INSTEAD, MountOptions, Mounted, Unmounted};
    use crate::error::{Error, ErrorKind, Result};
    use crate::ops::browse::Browser;

    /// Threads that take the kernel's questions; those that must wait are answered by the runtime.
    const THREADS: usize = 4;

    /// A mount, and the threads that serve it.
    #[derive(Debug)]
    pub(super) struct Running {
        unmounter: Option<SessionUnmounter>,
        ended: oneshot::Receiver<std::io::Result<()>>,
    }

    pub(super) fn mount(browser: &Browser, folder: &Path, options: MountOptions) -> Result<Mounted> {
        // Its own process belongs to whoever runs it.
        let me = std::fs::metadata("/proc/self").map_err(|e| Error::io("/proc/self cannot be read", e))?;
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|e| Error::internal("Nobody is there to answer the kernel").with_source(e))?;
        let fuse = Fuse::new(browser.clone(), runtime, (me.uid(), me.gid()));
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("tenantvault".into()),
            MountOption::Subtype("tenantvault".into()),
            MountOption::RO,
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::NoExec,
            MountOption::DefaultPermissions,
        ];
        config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
        config.n_threads = Some(THREADS);
        let mut session = Session::new(fuse, folder, &config).map_err(|e| refused(folder, e))?;
        let unmounter = session.unmount_callable();
        let (end, ended) = oneshot::channel();
        let serve = move || drop(end.send(session.run()));
        let thread = std::thread::Builder::new().name("mount".into()).spawn(serve);
        thread.map_err(|e| Error::io("No thread can be started", e))?;
        Ok(Mounted { folder: folder.to_owned(), session: Running { unmounter: Some(unmounter), ended } })
    }

    /// Why nothing could be mounted, and what to do.
    fn refused(folder: &Path, e: std::io::Error) -> Error {
        let text = format!("{} cannot be mounted on", folder.display());
        let said = e.to_string();
        if said.contains("user_allow_other") {
            return Error::new(ErrorKind::Permission, text)
                .with_source(e)
                .with_hint("add the line user_allow_other to /etc/fuse.conf, or leave --allow-other out");
        }
        if !Path::new("/dev/fuse").exists() {
            return Error::not_found("This system has no FUSE: there is no /dev/fuse")
                .with_source(e)
                .with_hint(format!("load it (modprobe fuse), {INSTEAD}"));
        }
        if e.kind() == std::io::ErrorKind::NotFound {
            return Error::not_found("FUSE is not installed: there is no fusermount3")
                .with_source(e)
                .with_hint(INSTEAD);
        }
        if e.kind() == std::io::ErrorKind::PermissionDenied || said.contains("ermission denied") {
            return Error::new(ErrorKind::Permission, text)
                .with_source(e)
                .with_hint("the folder must be yours, and /dev/fuse open to you; or look inside with serve webdav");
        }
        Error::io(text, e).with_hint("look inside with serve webdav")
    }

    impl Mounted {
        /// Waits till somebody unmounts it from outside (`fusermount3 -u`, `umount`).
        ///
        /// # Errors
        /// What the kernel's channel ended in.
        pub async fn ended(&mut self) -> Result<()> {
            match (&mut self.session.ended).await {
                Ok(Err(e)) => Err(Error::io(format!("The mount on {} ended", self.folder.display()), e)),
                _ => Ok(()),
            }
        }

        /// Unmounts it, also while somebody looks.
        ///
        /// # Errors
        /// When the system does not let go of it.
        pub async fn unmount(mut self) -> Result<Unmounted> {
            let Some(mut unmounter) = self.session.unmounter.take() else { return Ok(Unmounted::Cleanly) };
            let unmounted = tokio::task::spawn_blocking(move || unmounter.unmount()).await;
            let unmounted = unmounted.map_err(|e| Error::internal("Unmounting ended early").with_source(e))?;
            let Err(e) = unmounted else {
                self.ended().await?;
                return Ok(Unmounted::Cleanly);
            };
            if detach(&self.folder) {
                return Ok(Unmounted::InUse);
            }
            let hint = format!("umount -l {}", self.folder.display());
            Err(Error::io(format!("{} cannot be unmounted", self.folder.display()), e).with_hint(hint))
        }
    }

    /// Takes a mount out of sight though it is in use.
    fn detach(folder: &Path) -> bool {
        [("fusermount3", &["-u", "-z", "--"][..]), ("umount", &["-l", "--"]), ("fusermount", &["-u", "-z", "--"])]
            .iter()
            .any(|(program, arguments)| {
                let mut command = Command::new(program);
                command.args(*arguments).arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                command.status().is_ok_and(|status| status.success())
            })
    }
}
