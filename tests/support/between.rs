//! A storage between whose calls others come: once a folder was listed for the n-th time, or before something in it is
//! deleted, something is done to it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use tenantvault::error::Result;
use tenantvault::storage::{Entry, Storage};

type Deed = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// See the file.
pub struct Between {
    inner: Arc<dyn Storage>,
    folder: &'static str,
    /// Listings till then; 0: it is for a deletion.
    left: AtomicUsize,
    deed: Mutex<Option<Deed>>,
}

impl Between {
    /// Does `deed` after the `nth` listing (from one) of `folder`, before its answer is given.
    pub fn after_list<F>(
        inner: &Arc<dyn Storage>,
        folder: &'static str,
        nth: usize,
        deed: impl FnOnce() -> F + Send + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let deed: Deed = Box::new(move || Box::pin(deed()));
        Arc::new(Self { inner: inner.clone(), folder, left: AtomicUsize::new(nth), deed: Mutex::new(Some(deed)) })
    }

    #[allow(dead_code)] // Not every test program comes at that time.
    /// Does `deed` before anything below `folder` is deleted for the first time.
    pub fn before_delete<F>(
        inner: &Arc<dyn Storage>,
        folder: &'static str,
        deed: impl FnOnce() -> F + Send + 'static,
    ) -> Arc<Self>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::after_list(inner, folder, 0, deed)
    }

    async fn do_it(&self) {
        let deed = self.deed.lock().unwrap().take();
        if let Some(deed) = deed {
            deed().await;
        }
    }

    /// Whether the deed was done.
    pub fn is_done(&self) -> bool {
        self.deed.lock().unwrap().is_none()
    }
}

impl fmt::Debug for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Between({}, {})", self.inner.describe(), self.folder)
    }
}

#[async_trait]
impl Storage for Between {
    async fn put(&self, path: &str, data: Vec<Bytes>) -> Result<()> {
        self.inner.put(path, data).await
    }

    async fn get(&self, path: &str, limit_bytes: u64) -> Result<Bytes> {
        self.inner.get(path, limit_bytes).await
    }

    async fn get_range(&self, path: &str, offset: u64, length: u64) -> Result<Bytes> {
        self.inner.get_range(path, offset, length).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<Entry>> {
        let found = self.inner.list(folder).await;
        if folder == self.folder && self.left.load(SeqCst) > 0 && self.left.fetch_sub(1, SeqCst) == 1 {
            self.do_it().await;
        }
        found
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        self.inner.stat(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        if path.starts_with(self.folder) && self.left.load(SeqCst) == 0 {
            self.do_it().await;
        }
        self.inner.delete(path).await
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
