//! What a storage is opened with besides its URL.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::reach::Reach;

/// How a storage is reached. The defaults suit a store across the internet.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// Secrets that the service asks for. They come from nowhere else: not from the environment, not from files in
    /// the user's home.
    pub credentials: Credentials,
    /// How often a request that failed for a passing reason is sent again (with growing, jittered pauses from half a
    /// second up to 30 s). A folder of this machine is never tried again: a failed sync repeated can lie.
    pub retries: usize,
    /// How long one small request (stat, rename) may take.
    pub timeout: Duration,
    /// How long one transfer (reading or writing up to 32 MiB, one page of a listing) may take. The wait for
    /// a bandwidth limit does not count.
    pub io_timeout: Duration,
    /// The most bytes a second written, on average; single writes of up to 8 MiB go at full speed.
    pub upload_bytes_per_second: Option<u64>,
    /// The most bytes a second read, on average.
    pub download_bytes_per_second: Option<u64>,
    /// How many operations run at once; more wait.
    pub concurrency: usize,
    /// Which machines it may connect to, if not all.
    pub reach: Option<Reach>,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            retries: 5,
            timeout: Duration::from_secs(60),
            io_timeout: Duration::from_secs(300),
            upload_bytes_per_second: None,
            download_bytes_per_second: None,
            concurrency: 16,
            reach: None,
        }
    }
}

/// Secrets by name (`secret_access_key`, `password`, …). Wiped when dropped; `Debug` shows the names alone.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, Zeroizing<String>>);

impl Credentials {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces one secret.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, secret: impl Into<String>) -> Self {
        self.0.insert(name.into(), Zeroizing::new(secret.into()));
        self
    }

    /// Says whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, secret)| (name.as_str(), secret.as_str()))
    }
}

impl<N: Into<String>, S: Into<String>> FromIterator<(N, S)> for Credentials {
    fn from_iter<I: IntoIterator<Item = (N, S)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::new(), |all, (name, secret)| all.with(name, secret))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")?;
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let options =
            StorageOptions { credentials: Credentials::new().with("password", "hunter2"), ..StorageOptions::default() };
        let shown = format!("{options:?} {options:#?}");
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}
