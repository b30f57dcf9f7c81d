//! The system's key store: Keychain, Credential Manager, Secret Service.
//!
//! Its calls block, and one that waits for a user who is not there would wait for ever.

use std::time::Duration;

use keyring::Entry;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};

const SERVICE: &str = "tenantvault";
/// How long the user may take to unlock the store.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads what is kept under a name; `None`: there is nothing.
pub(super) async fn read(name: &str) -> Result<Option<Zeroizing<String>>> {
    let found = call(name, |entry| match entry.get_secret() {
        Ok(secret) => Ok(Some(Zeroizing::new(secret))),
        Err(keyring::Error::NoEntry) => Ok(None),
        Err(e) => Err(e),
    });
    let text = |bytes: Zeroizing<Vec<u8>>| std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
    found.await?.map(text).transpose().map_err(|_| Error::corrupt("What the system's key store holds is no text"))
}

/// Keeps a secret under a name.
pub(super) async fn write(name: &str, secret: &Zeroizing<String>) -> Result<()> {
    let secret = secret.clone();
    call(name, move |entry| entry.set_secret(secret.as_bytes())).await
}

/// Removes what is kept under a name, if there is anything.
pub(super) async fn remove(name: &str) -> Result<()> {
    let removed = call(name, |entry| match entry.delete_credential() {
        Err(keyring::Error::NoEntry) => Ok(()),
        other => other,
    });
    removed.await
}

async fn call<T: Send + 'static>(
    name: &str,
    work: impl FnOnce(&Entry) -> Result<T, keyring::Error> + Send + 'static,
) -> Result<T> {
    let away = |why: String| {
        Error::new(ErrorKind::Unavailable, format!("The system's key store cannot be used: {why}"))
            .with_hint("Unlock it, or keep sign-ins in a file: keep_tokens = \"file\"")
    };
    let name = name.to_owned();
    // A thread of its own: the libraries beneath bring their own loops, and may hang.
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let worked = Entry::new(SERVICE, &name).and_then(|entry| work(&entry));
        // Nobody waits any more if it took too long.
        let _ = done.send(worked.map_err(|e| reason(&e)));
    });
    match tokio::time::timeout(PATIENCE, result).await {
        Ok(Ok(worked)) => worked.map_err(away),
        Ok(Err(_)) => Err(away("it failed".to_owned())),
        Err(_) => Err(away("it does not answer".to_owned())),
    }
}

/// The reason without data: some of the errors carry the secret.
fn reason(error: &keyring::Error) -> String {
    match error {
        keyring::Error::BadEncoding(_) | keyring::Error::BadDataFormat(..) => "its data cannot be read".to_owned(),
        keyring::Error::NoDefaultStore => match Entry::store_status() {
            Err(e) => e.to_string(),
            Ok(()) => error.to_string(),
        },
        other => other.to_string(),
    }
}
