//! The kernel's questions, answered from the model.
//!
//! Nothing below a snapshot ever changes, so the kernel may keep what it was told for long: names, attributes, contents and
//! listings; files need not be opened (`ENOSYS`), and what was read once is read from the kernel's cache. Only the folders
//! above the snapshots are asked for again.

use std::ffi::OsStr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEntry, ReplyOpen, ReplyXattr,
    Request,
};
use tokio::runtime::Handle;

use super::table::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::browse::{Browser, Listed, Meta, Node};

/// How long the kernel may keep what is in a snapshot.
const LASTING: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it may keep which snapshots there are.
const PASSING: Duration = Duration::from_secs(1);
/// Entries asked of the model at once.
const AT_ONCE: usize = 64;
/// `.` and `..` come first.
const DOTS: u64 = 2;

/// A repository as the kernel sees it.
pub(super) struct Fuse {
    shared: Arc<Shared>,
    runtime: Handle,
}

struct Shared {
    browser: Browser,
    table: Table,
    owner: (u32, u32),
}

impl Fuse {
    pub(super) fn new(browser: Browser, runtime: Handle, owner: (u32, u32)) -> Self {
        let table = Table::new(browser.root());
        Self { shared: Arc::new(Shared { browser, table, owner }), runtime }
    }

    /// Answers: at once if nothing must be waited for, else in the runtime, while the next question is taken.
    fn answer<F: Future<Output = ()> + Send + 'static>(&self, answer: impl FnOnce(Arc<Shared>) -> F) {
        let mut answer = Box::pin(answer(self.shared.clone()));
        let _runtime = self.runtime.enter();
        if answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.runtime.spawn(answer);
        }
    }
}

impl Shared {
    fn node(&self, number: INodeNo) -> Result<Node> {
        self.table.get(number.0).ok_or_else(|| Error::internal("The kernel asks for what it forgot"))
    }

    fn attributes(&self, node: &Node, meta: Meta) -> FileAttr {
        let time = system_time(meta.modified_us);
        let (kind, perm, nlink) =
            if meta.is_folder { (FileType::Directory, 0o555, 2) } else { (FileType::RegularFile, 0o444, 1) };
        FileAttr {
            ino: INodeNo(node.number()),
            size: meta.size_bytes,
            blocks: meta.size_bytes.div_ceil(512),
            atime: time,
            mtime: time,
            ctime: time,
            crtime: time,
            kind,
            perm,
            nlink,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 128 << 10,
            flags: 0,
        }
    }

    async fn find(&self, parent: INodeNo, name: &OsStr) -> Result<Option<(Node, FileAttr)>> {
        let parent = self.node(parent)?;
        // All names are Unicode, so what is none names nothing.
        let Some(name) = name.to_str() else { return Ok(None) };
        let Some(node) = self.browser.find(&parent, name).await? else { return Ok(None) };
        let meta = self.browser.meta(&node).await?;
        let attributes = self.attributes(&node, meta);
        Ok(Some((node, attributes)))
    }

    /// Lists on from an offset, until `add` says that there is no more room.
    async fn list(
        &self,
        folder: INodeNo,
        offset: u64,
        add: &mut (dyn FnMut(u64, &str, &Node) -> bool + Send),
    ) -> Result<()> {
        let folder = self.node(folder)?;
        let mut offset = offset;
        while let Some(name) = usize::try_from(offset).ok().and_then(|n| [".", ".."].get(n)) {
            offset += 1;
            // What is above is known to the kernel alone.
            if add(offset, name, &folder) {
                return Ok(());
            }
        }
        loop {
            let entries = self.browser.list(&folder, offset - DOTS, AT_ONCE).await?;
            if entries.is_empty() {
                return Ok(());
            }
            for Listed { name, node } in &entries {
                offset += 1;
                if add(offset, name, node) {
                    return Ok(());
                }
            }
        }
    }
}

impl Shared {
    /// What a program is told of a failure; the monitor hears the rest.
    fn errno(&self, doing: &str, error: &Error) -> Errno {
        if error.kind() == ErrorKind::InvalidInput {
            return Errno::EINVAL;
        }
        self.browser.failed(doing, error);
        Errno::EIO
    }
}

/// How long the kernel may keep what it is told of a node: which snapshots there are may change.
fn lasts(node: &Node) -> Duration {
    if node.is_in_snapshot() && !node.is_snapshot() { LASTING } else { PASSING }
}

fn system_time(us: i64) -> SystemTime {
    let by = Duration::from_micros(us.unsigned_abs());
    let time = if us >= 0 { SystemTime::UNIX_EPOCH.checked_add(by) } else { SystemTime::UNIX_EPOCH.checked_sub(by) };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Filesystem for Fuse {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        // What a kernel lacks it does without.
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_AUTO_INVAL_DATA,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.answer(move |shared| async move {
            match shared.find(parent, &name).await {
                Ok(Some((node, attributes))) => {
                    shared.table.hold(&node);
                    reply.entry(&lasts(&node), &attributes, Generation(0));
                }
                Ok(None) => reply.error(Errno::ENOENT),
                Err(e) => reply.error(shared.errno("Looking up a name", &e)),
            }
        });
    }

    fn forget(&self, _: &Request, number: INodeNo, times: u64) {
        self.shared.table.forget(number.0, times);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(move |shared| async move {
            let attributes = async {
                let node = shared.node(number)?;
                let meta = shared.browser.meta(&node).await?;
                Ok((lasts(&node), shared.attributes(&node, meta)))
            };
            match attributes.await {
                Ok((lasts, attributes)) => reply.attr(&lasts, &attributes),
                Err(e) => reply.error(shared.errno("Looking at a file", &e)),
            }
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // The kernel does not ask again, and keeps what it reads.
        reply.error(Errno::ENOSYS);
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.answer(move |shared| async move {
            let read = async {
                let node = shared.node(number)?;
                shared.browser.read(&node, offset, size as usize).await
            };
            match read.await {
                Ok(bytes) => reply.data(&bytes),
                Err(e) => reply.error(shared.errno("Reading a file", &e)),
            }
        });
    }

    fn getxattr(&self, _: &Request, _: INodeNo, _: &OsStr, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn listxattr(&self, _: &Request, _: INodeNo, _: u32, reply: ReplyXattr) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let lasting = self.shared.node(number).is_ok_and(|node| self.shared.browser.is_lasting(&node));
        let flags = FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE;
        reply.opened(FileHandle(0), if lasting { flags } else { FopenFlags::empty() });
    }

    fn readdir(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.answer(move |shared| async move {
            let mut add = |offset, name: &str, node: &Node| {
                let kind = if node.is_folder() { FileType::Directory } else { FileType::RegularFile };
                reply.add(INodeNo(node.number()), offset, kind, name)
            };
            match shared.list(number, offset, &mut add).await {
                Ok(()) => reply.ok(),
                Err(e) => reply.error(shared.errno("Listing a folder", &e)),
            }
        });
    }

    fn readdirplus(&self, _: &Request, number: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        self.answer(move |shared| async move {
            let mut add = |offset, name: &str, node: &Node| {
                let (is_folder, modified_us) = (node.is_folder(), node.modified_us());
                let known = shared.browser.known_size(node);
                // Nothing is made for a listing: a size that is not known yet is asked for when somebody wants it.
                let lasts = if known.is_some() { lasts(node) } else { Duration::ZERO };
                let meta = Meta { is_folder, size_bytes: known.unwrap_or(0), modified_us };
                let is_full = reply.add(
                    INodeNo(node.number()),
                    offset,
                    name,
                    &lasts,
                    &shared.attributes(node, meta),
                    Generation(0),
                );
                if !is_full && !matches!(name, "." | "..") {
                    shared.table.hold(node);
                }
                is_full
            };
            match shared.list(number, offset, &mut add).await {
                Ok(()) => reply.ok(),
                Err(e) => reply.error(shared.errno("Listing a folder", &e)),
            }
        });
    }
}
