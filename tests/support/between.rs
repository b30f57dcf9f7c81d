//! A storage between whose calls others come: once a folder was listed for the n-th time, something is done to it.

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
        if folder == self.folder && self.left.fetch_sub(1, SeqCst) == 1 {
            let deed = self.deed.lock().unwrap().take();
            if let Some(deed) = deed {
                deed().await;
            }
        }
        found
    }

    async fn stat(&self, path: &str) -> Result<Entry> {
        self.inner.stat(path).await
    }

    async fn delete(&self, path: &str) -> Result<()> {
        self.inner.delete(path).await
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
