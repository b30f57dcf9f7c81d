//! The kernel's own word on durability: what system calls a put makes, and in which order.
//!
//! Needs `strace`, which containers may forbid, hence ignored: `cargo test --test storage strace -- --ignored`.

use std::process::Command;

use bytes::Bytes;
use tenantvault::storage::{StorageOptions, open};

const CHILD: &str = "TENANTVAULT_TEST_STRACE_CHILD";

/// Not a test of its own: what runs under strace.
#[tokio::test]
#[ignore = "runs below the test that follows"]
async fn child() {
    let Ok(root) = std::env::var(CHILD) else { return };
    let storage = open(&root, &StorageOptions::default()).unwrap();
    storage.put("packs/3f/a", vec![Bytes::from(vec![7; 100_000])]).await.unwrap();
    // Seen in the trace: the put has returned.
    let _ = std::fs::metadata(format!("{root}/returned"));
    // Large enough to go past the page cache.
    storage.put("packs/3f/large", vec![Bytes::from(vec![7; (2 << 20) + 5])]).await.unwrap();
    let _ = std::fs::metadata(format!("{root}/large-returned"));
    storage.get_range("packs/3f/a", 10, 50_000).await.unwrap();
    let _ = std::fs::metadata(format!("{root}/read"));
}

#[test]
#[ignore = "needs strace"]
fn file_and_folders_are_synced_before_a_put_returns_and_a_range_is_one_read() {
    let dir = tempfile::tempdir().unwrap();
    let (root, trace) = (dir.path().join("repo"), dir.path().join("trace"));
    let calls =
        "openat,fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,statx,pread64,read,write,pwrite64";
    let status = Command::new("strace")
        .args(["-f", "-y", "-e", &format!("trace={calls}"), "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "strace::child"])
        .env(CHILD, &root)
        .status()
        .expect("strace is installed");
    assert!(status.success());
    let trace = std::fs::read_to_string(&trace).unwrap();
    let root = root.display().to_string();
    let ours: Vec<&str> = trace.lines().filter(|line| line.contains(&root)).collect();
    let at = |what: &str, needles: &[&str]| {
        let hit = |line: &&str| needles.iter().all(|needle| line.contains(needle));
        let found = ours.iter().position(hit);
        found.unwrap_or_else(|| panic!("no {what} in\n{}", ours.join("\n")))
    };
    let file_synced = at("sync of the file", &["sync(", &format!("<{root}/tmp/")]);
    let written = at("write of the file", &["write", &format!("<{root}/tmp/")]);
    let renamed = at("rename", &["rename", "packs/3f/a"]);
    let folder_synced = at("sync of the folder", &["sync(", &format!("<{root}/packs/3f>")]);
    let returned = at("return", &["/returned"]);
    assert!(written < file_synced && file_synced < renamed && renamed < folder_synced && folder_synced < returned);
    for (folder, parent) in [("packs/3f", format!("{root}/packs")), ("packs", root.clone())] {
        let made = at("mkdir", &["mkdir", &format!("{root}/{folder}\"")]);
        let synced = ours.iter().skip(made).position(|l| l.contains("sync(") && l.contains(&format!("<{parent}>")));
        assert!(synced.is_some_and(|after| made + after < renamed), "{folder} is not synced into its parent");
    }
    let later = |from: usize, what: &str, needles: &[&str]| {
        let found = ours.iter().skip(from).position(|line| needles.iter().all(|needle| line.contains(needle)));
        from + found.unwrap_or_else(|| panic!("no {what} of the large file in\n{}", ours.join("\n")))
    };
    let tmp = format!("<{root}/tmp/");
    let large_renamed = later(returned, "rename", &["rename", "packs/3f/large"]);
    let last_write = ours[..large_renamed].iter().rposition(|l| l.contains("write(") && l.contains(&tmp)).unwrap();
    let large_synced = later(last_write, "sync", &["sync(", &tmp]);
    let again = later(large_renamed, "sync of the folder", &["sync(", &format!("<{root}/packs/3f>")]);
    let large_returned = later(returned, "return", &["/large-returned"]);
    assert!(returned < last_write && large_synced < large_renamed && again < large_returned);
    let reads: Vec<_> = ours.iter().skip(returned).filter(|l| l.contains("read") && l.contains("3f/a>")).collect();
    assert_eq!(reads.len(), 1, "{reads:?}");
    let opens = ours.iter().skip(returned).filter(|l| l.contains("openat") && l.contains("3f/a\"")).count();
    assert_eq!(opens, 1);
}
