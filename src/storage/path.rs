//! Which paths name a file. One rule for every storage, so that what one takes, all take.

use crate::error::{Error, Result};

/// The folder of unfinished files. Only the storages themselves write there.
pub(super) const TMP: &str = "tmp";

const MAX_PATH_BYTES: usize = 512;
const MAX_PART_BYTES: usize = 200;

/// Accepts a path that names a file.
pub(super) fn check_file(path: &str) -> Result<()> {
    match problem(path) {
        None => Ok(()),
        Some(problem) => Err(refusal(path, problem)),
    }
}

/// Accepts a path that names a folder; the empty one is the whole storage.
pub(super) fn check_folder(path: &str) -> Result<()> {
    if path.is_empty() { Ok(()) } else { check_file(path) }
}

/// Says whether something found in a listing is a file of ours.
pub(super) fn is_file(path: &str) -> bool {
    problem(path).is_none()
}

fn problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("it is empty");
    }
    if path.len() > MAX_PATH_BYTES {
        return Some("it is longer than 512 bytes");
    }
    if path.starts_with('/') {
        return Some("it begins with /");
    }
    if !path.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-')) {
        return Some("it has characters other than a-z 0-9 / . _ -");
    }
    for part in path.split('/') {
        match part {
            "" => return Some("a part of it is empty"),
            "." | ".." => return Some("a part of it is . or .."),
            _ if part.len() > MAX_PART_BYTES => return Some("a part of it is longer than 200 bytes"),
            _ => {}
        }
    }
    if path.split('/').next() == Some(TMP) {
        return Some("tmp/ is kept for unfinished files");
    }
    None
}

fn refusal(path: &str, problem: &str) -> Error {
    let shown: String = path.chars().take(80).flat_map(char::escape_debug).collect();
    Error::invalid(format!("\"{shown}\" cannot name a file in a storage: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_relative_names_are_taken() {
        let long_part = "a".repeat(201);
        let long_path = "a/".repeat(256) + "a";
        for bad in [
            "",
            "/",
            "/config",
            "..",
            "../config",
            "a/../b",
            "a/./b",
            ".",
            "a//b",
            "a/",
            "A",
            "packs/Ä",
            "a b",
            "a\0b",
            "a\\b",
            "c:config",
            "a\nb",
            "%2e%2e/a",
            "tmp",
            "tmp/x",
            &long_part,
            &long_path,
        ] {
            assert_eq!(check_file(bad).unwrap_err().kind(), crate::ErrorKind::InvalidInput, "{bad:?}");
        }
        for good in ["config", "packs/3f/3f9a", "a.b_c-d", "..a/b..", "tmpx/a", "a/tmp"] {
            check_file(good).unwrap();
        }
        check_folder("").unwrap();
    }
}
