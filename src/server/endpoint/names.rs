//! Which paths the endpoint knows: those of a repository's files (`format-spec/files.md`), letter by letter. A path is read as it
//! was sent: nothing is decoded, so that nothing can hide in it.

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// A folder.
    Folder,
    /// The repository's settings.
    Config,
    /// A file whose name is the hash of its bytes.
    File {
        /// What it is.
        kind: Kind,
        /// The set's id, for what lies in a set's folder.
        set: Option<&'a str>,
        /// BLAKE3 of the file.
        id: &'a str,
    },
}

/// The kinds of files whose names are hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A key slot.
    Key,
    /// A pack, of contents or of trees.
    Pack,
    /// An index file.
    Index,
    /// A snapshot.
    Snapshot,
    /// A set's definition.
    Set,
    /// The facts of a run.
    Run,
}

/// Reads a path, without the slash before it. Nothing: no file of a repository is called so.
pub(super) fn read(path: &str) -> Option<Name<'_>> {
    if let Some(folder) = path.strip_suffix('/') {
        return is_folder(folder).then_some(Name::Folder);
    }
    let mut parts = path.split('/');
    let name = match (parts.next()?, parts.next(), parts.next()) {
        ("config", None, None) => Name::Config,
        ("keys", Some(id), None) => Name::File { kind: Kind::Key, set: None, id },
        ("index", Some(id), None) => Name::File { kind: Kind::Index, set: None, id },
        ("sets", Some(id), None) => Name::File { kind: Kind::Set, set: None, id },
        ("packs", Some(first), Some(id)) if first.len() == 2 && id.starts_with(first) => {
            Name::File { kind: Kind::Pack, set: None, id }
        }
        ("snapshots", Some(set), Some(id)) => Name::File { kind: Kind::Snapshot, set: Some(set), id },
        ("runs", Some(set), Some(id)) => Name::File { kind: Kind::Run, set: Some(set), id },
        _ => return is_folder(path).then_some(Name::Folder),
    };
    let good = match name {
        Name::File { set, id, .. } => is_hash(id) && set.is_none_or(is_hash),
        _ => true,
    };
    match parts.next() {
        None if good => Some(name),
        _ => is_folder(path).then_some(Name::Folder),
    }
}

fn is_folder(path: &str) -> bool {
    match path.split_once('/') {
        None => matches!(path, "" | "keys" | "packs" | "index" | "snapshots" | "sets" | "runs"),
        Some(("packs", two)) => two.len() == 2 && is_hex(two),
        Some(("snapshots" | "runs", set)) => is_hash(set),
        Some(_) => false,
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_repository_are_known() {
        let hash = "0a".repeat(32);
        let set = "bc".repeat(32);
        let file = |kind, set| Some(Name::File { kind, set, id: hash.as_str() });
        assert_eq!(read("config"), Some(Name::Config));
        assert_eq!(read(&format!("keys/{hash}")), file(Kind::Key, None));
        assert_eq!(read(&format!("packs/0a/{hash}")), file(Kind::Pack, None));
        assert_eq!(read(&format!("index/{hash}")), file(Kind::Index, None));
        assert_eq!(read(&format!("sets/{hash}")), file(Kind::Set, None));
        assert_eq!(read(&format!("snapshots/{set}/{hash}")), file(Kind::Snapshot, Some(set.as_str())));
        assert_eq!(read(&format!("runs/{set}/{hash}")), file(Kind::Run, Some(set.as_str())));
        for folder in [
            "",
            "keys",
            "keys/",
            "packs/",
            "packs/0a",
            "packs/0a/",
            &format!("snapshots/{set}"),
            &format!("runs/{set}/"),
        ] {
            assert_eq!(read(folder), Some(Name::Folder), "{folder}");
        }
        for bad in [
            "..".to_owned(),
            "../config".to_owned(),
            "/config".to_owned(),
            "//".to_owned(),
            "/etc/passwd".to_owned(),
            "config/".to_owned(),
            "config/x".to_owned(),
            "Config".to_owned(),
            "con%66ig".to_owned(),
            "keys/..".to_owned(),
            "keys/../config".to_owned(),
            format!("keys/{}", hash.to_uppercase()),
            format!("keys/{hash}0"),
            format!("keys/{hash}/"),
            format!("keys//{hash}"),
            format!("keys/{hash}/../../config"),
            format!("keys%2f{hash}"),
            format!("keys\\{hash}"),
            format!("packs/0b/{hash}"),
            format!("packs/{hash}"),
            format!("packs/0a/{hash}/{hash}"),
            format!("packs/../{hash}"),
            format!("snapshots/{hash}/{hash}/{hash}"),
            format!("snapshots/../{hash}"),
            format!("tmp/{hash}"),
            "a".repeat(100_000),
            "keys/".repeat(50_000),
            format!("keys/{}\0", &hash[..63]),
            "keys/é".to_owned(),
        ] {
            assert_eq!(read(&bad), None, "{}", &bad[..bad.len().min(90)]);
        }
    }
}
