//! The contract over real servers, which `servers.rs` starts; ignored unless asked for, since they must be installed:
//! `.ci/servers FOLDER && PATH="FOLDER/bin:$PATH" cargo test --test storage services -- --ignored`.

use std::sync::Arc;

use tenantvault::ErrorKind;
use tenantvault::storage::fault::{FaultPlan, FaultStorage};
use tenantvault::storage::{Credentials, StorageOptions, open};
use tokio::sync::Mutex;

use super::{Place, flaky, servers, throttled};

crate::contract!(
    #[ignore = "needs moto, which .ci/servers installs"]
    s3,
    s3()
);
crate::contract!(
    #[ignore = "needs moto, which .ci/servers installs"]
    s3_throttled,
    at_s3(servers::s3().port, throttled())
);
crate::contract!(
    #[ignore = "needs moto, which .ci/servers installs"]
    s3_with_lost_requests_and_answers,
    flaky_s3().await
);
crate::contract!(
    #[ignore = "needs azurite-blob, which .ci/servers installs"]
    azblob,
    azblob()
);
crate::contract!(
    #[ignore = "needs wsgidav, which .ci/servers installs"]
    webdav,
    webdav()
);
crate::contract!(
    #[ignore = "needs moto, which .ci/servers installs"]
    s3_behind_the_fault_wrapper,
    behind_faults(s3())
);
crate::contract!(
    #[ignore = "needs sshd, which .ci/servers installs"]
    sftp,
    sftp().await
);

pub fn s3() -> Place {
    at_s3(servers::s3().port, StorageOptions::default())
}

fn at_s3(port: u16, options: StorageOptions) -> Place {
    let keys = [("access_key_id", servers::S3_KEY), ("secret_access_key", servers::S3_KEY)];
    let options = StorageOptions { credentials: keys.into_iter().collect(), ..options };
    at("s3://bucket", &format!("endpoint=http://127.0.0.1:{port}"), &options)
}

/// Of every 40 requests one never arrives, and the answer to another is lost.
async fn flaky_s3() -> Place {
    let proxy = flaky::Proxy::start(servers::s3().port, 40).await;
    let place = at_s3(proxy.port, StorageOptions::default());
    Place { keep: Box::new(proxy), ..place }
}

pub fn azblob() -> Place {
    let credentials = Credentials::new().with("account_key", servers::account_key());
    let options = StorageOptions { credentials, ..StorageOptions::default() };
    let (account, port) = (servers::ACCOUNT, servers::azblob().port);
    // A page of its listings holds 5,000.
    Place {
        listed: 5_200,
        ..at("azblob://box", &format!("account={account}&endpoint=http://127.0.0.1:{port}/{account}"), &options)
    }
}

pub fn webdav() -> Place {
    let root = format!("webdav+http://127.0.0.1:{}", servers::webdav().port);
    Place { refuses_races: false, ..at(&root, "", &StorageOptions::default()) }
}

/// One test at a time, so that it alone decides how many connections there are.
pub async fn sftp() -> Place {
    static ONE: std::sync::OnceLock<Arc<Mutex<()>>> = std::sync::OnceLock::new();
    let turn = Arc::clone(ONE.get_or_init(Arc::default)).lock_owned().await;
    // A refused connection is an error at once.
    Place { keep: Box::new(turn), ..at_sftp(servers::sftp().port, 0) }
}

fn at_sftp(port: u16, retries: usize) -> Place {
    let user = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    let (user, folder) = (String::from_utf8(user).unwrap(), servers::sftp().folder.display());
    let root = format!("sftp://{}@127.0.0.1:{port}{folder}/served", user.trim());
    let options = StorageOptions { retries, ..StorageOptions::default() };
    Place { refuses_races: false, ..at(&root, &format!("key={folder}/user&known_hosts=accept"), &options) }
}

#[tokio::test]
#[ignore = "needs sshd, which .ci/servers installs"]
async fn an_ssh_connection_that_does_not_come_about_is_tried_again() {
    let data = || vec![bytes::Bytes::from_static(b"x")];
    let port = flaky::hanging_up(servers::sftp().port, 1).await;
    let error = at_sftp(port, 0).storage.put("packs/a", data()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let port = flaky::hanging_up(servers::sftp().port, 2).await;
    let place = at_sftp(port, 3);
    place.storage.put("packs/a", data()).await.unwrap();
    assert_eq!(&place.storage.get("packs/a", 1).await.unwrap()[..], b"x");
}

fn behind_faults(place: Place) -> Place {
    Place { storage: Arc::new(FaultStorage::new(place.storage, FaultPlan::new())), ..place }
}

/// Opens a new folder at a server.
fn at(root: &str, query: &str, options: &StorageOptions) -> Place {
    let url = format!("{root}/{:016x}?{query}", rand::random::<u64>());
    Place { storage: open(&url, options).unwrap(), refuses_races: true, listed: 2000, keep: Box::new(()) }
}

/// Each connection is a process of its own, which nobody else would end.
#[tokio::test]
#[ignore = "needs sshd, which .ci/servers installs"]
async fn the_program_leaves_no_ssh_process_behind() {
    let _turn = sftp().await;
    let folder = servers::sftp().folder.join("served").display().to_string();
    let port = servers::sftp().port;
    let home = tempfile::tempdir().unwrap();
    let id = std::process::Command::new("id").arg("-un").output().unwrap().stdout;
    let id = String::from_utf8(id).unwrap();
    let key = servers::sftp().folder.join("user");
    let url = format!("sftp://{}@127.0.0.1:{port}{folder}/program?key={}&known_hosts=accept", id.trim(), key.display());
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tenantvault"));
    program.args(["init", "-r", &url]).current_dir(home.path()).env("TENANTVAULT_PASSWORD", "a passphrase");
    program.env("HOME", home.path()).env("XDG_STATE_HOME", home.path()).stdin(std::process::Stdio::null());
    let done = program.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // A connection keeps its control socket in a folder that goes with it.
    let left = || {
        std::fs::read_dir(home.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".ssh-connection"))
            .count()
    };
    assert_eq!(left(), 0, "connections are left behind");
}
