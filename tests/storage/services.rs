//! The contract over real servers, started by hand or by CI; ignored without them:
//! `cargo test --test storage services -- --ignored`.
//!
//! - `TENANTVAULT_TEST_S3`: a URL like `s3://bucket/?endpoint=http://127.0.0.1:5000` (moto, MinIO, …); the bucket exists;
//!   keys `testing` / `testing`. `pip install moto[server] && moto_server -p 5000`.
//! - `TENANTVAULT_TEST_WEBDAV`: `webdav+http://127.0.0.1:8080/` without sign-in.
//! - `TENANTVAULT_TEST_SFTP`: `sftp://user@127.0.0.1:2222/tmp/x?key=/path&known_hosts=accept`.
//! - `TENANTVAULT_TEST_AZBLOB`: `azblob://box/?account=devstoreaccount1&endpoint=http://127.0.0.1:10000/devstoreaccount1`
//!   (Azurite); the container exists; `TENANTVAULT_TEST_AZBLOB_KEY` holds the key.

use std::env;

use tenantvault::storage::{Credentials, StorageOptions, open};

use super::Place;

crate::contract!(
    #[ignore = "needs a server"]
    s3,
    at("S3", s3_keys(), true)
);
crate::contract!(
    #[ignore = "needs a server"]
    webdav,
    at("WEBDAV", Credentials::new(), false)
);
crate::contract!(
    #[ignore = "needs a server"]
    sftp,
    at("SFTP", Credentials::new(), false)
);
crate::contract!(
    #[ignore = "needs a server"]
    azblob,
    at("AZBLOB", azure_key(), true)
);

fn s3_keys() -> Credentials {
    Credentials::new().with("access_key_id", "testing").with("secret_access_key", "testing")
}

fn azure_key() -> Credentials {
    Credentials::new().with("account_key", env::var("TENANTVAULT_TEST_AZBLOB_KEY").unwrap_or_default())
}

/// Opens a new folder at the server.
fn at(service: &str, credentials: Credentials, refuses_races: bool) -> Place {
    let name = format!("TENANTVAULT_TEST_{service}");
    let base = env::var(&name).unwrap_or_else(|_| panic!("{name} names no server"));
    let (path, query) = base.split_once('?').unwrap_or((&base, ""));
    let url = format!("{}/{:016x}?{query}", path.trim_end_matches('/'), rand::random::<u64>());
    let options = StorageOptions { credentials, retries: 1, ..StorageOptions::default() };
    Place { storage: open(&url, &options).unwrap(), refuses_races, keep: Box::new(()) }
}
