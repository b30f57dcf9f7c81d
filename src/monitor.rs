//! How the library tells a front end what it is doing. The library itself never prints.

/// Receives events of a running operation. Methods are called often and from many threads:
/// they must be quick and must not block.
pub trait Monitor: Send + Sync {
    /// A count grew (or, negative, shrank).
    fn add(&self, _counter: Counter, _by: i64) {}
    /// A new phase began, in words: "Reading alice@contoso.com: Mail".
    fn phase(&self, _text: &str) {}
    /// Something waits, in words ("SharePoint's request budget, 12 s"); empty: nothing waits any more.
    fn waiting(&self, _text: &str) {}
    /// One object could not be read or written; the operation goes on.
    fn problem(&self, _object: &str, _text: &str) {}
}

/// What is counted while an operation runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Counter {
    /// Items known to be done.
    Items,
    /// Items known to be there to do.
    ItemsTotal,
    /// Bytes of contents read from the source.
    BytesRead,
    /// Bytes of contents that are expected in all.
    BytesTotal,
    /// Bytes written to the destination.
    BytesStored,
    /// Requests sent.
    Requests,
    /// Requests answered 429 or 503.
    Throttled,
    /// Collections done.
    Collections,
    /// Collections known to be there to do.
    CollectionsTotal,
    /// Gaps found.
    Gaps,
}

/// A monitor that hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Monitor for Silent {}
