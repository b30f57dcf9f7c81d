//! Keys of the `children` tree: under each parent, the order of a listing. Described in `format-spec/tree.md`.

use crate::error::{Error, Result};
use crate::format::record::Record;

/// How many bytes of the parent's hash a key begins with.
pub(super) const PARENT_BYTES: usize = 16;
/// The longest item id, in bytes.
pub(super) const MAX_ID_BYTES: usize = 4 << 10;
/// Up to this many bytes of a name, and of its folded form, take part in the order.
const MAX_NAME_BYTES: usize = 2 << 10;

const CLASS_CONTAINER: u8 = 1;
const CLASS_NAMED: u8 = 2;
const CLASS_TIMED: u8 = 3;

/// What all keys below a parent begin with: the first 16 bytes of the BLAKE3 hash of its id.
pub(super) fn parent_prefix(parent: &str) -> [u8; PARENT_BYTES] {
    let mut prefix = [0; PARENT_BYTES];
    blake3::Hasher::new().update(parent.as_bytes()).finalize_xof().fill(&mut prefix);
    prefix
}

/// Makes a record's key in the `children` tree.
///
/// Containers come first, by name; then what has no `sort_us`, by name; then what has one, by it. Equal names or
/// times follow the id. Names compare without case first, then as they are.
pub fn children_key(record: &Record) -> Vec<u8> {
    let mut key = parent_prefix(&record.parent).to_vec();
    match record.sort_us {
        Some(time) if !record.kind.is_container() => {
            key.push(CLASS_TIMED);
            // With the sign bit turned, unsigned order is signed order.
            key.extend_from_slice(&(time.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        }
        _ => {
            key.push(if record.kind.is_container() { CLASS_CONTAINER } else { CLASS_NAMED });
            push_name(&mut key, &fold(&record.name));
            push_name(&mut key, &record.name);
        }
    }
    key.extend_from_slice(record.id.as_bytes());
    key
}

/// Finds the item's id in a key of the `children` tree.
///
/// # Errors
/// [`crate::ErrorKind::Corrupt`] when it is no such key.
pub(super) fn item_id(key: &[u8]) -> Result<&str> {
    let broken = || Error::corrupt("A key of a children tree does not read");
    let (class, rest) = key.get(PARENT_BYTES..).and_then(<[u8]>::split_first).ok_or_else(broken)?;
    let id = match *class {
        CLASS_TIMED => rest.get(8..),
        CLASS_CONTAINER | CLASS_NAMED => rest.splitn(3, |byte| *byte == 0).nth(2),
        _ => None,
    };
    id.and_then(|id| std::str::from_utf8(id).ok()).ok_or_else(broken)
}

/// Adds a name, cut after a whole character, without NUL, and a NUL.
fn push_name(key: &mut Vec<u8>, name: &str) {
    let mut end = name.len().min(MAX_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    key.extend(name.bytes().take(end).filter(|byte| *byte != 0));
    key.push(0);
}

/// Lower case, character by character, of the Latin, Greek, Cyrillic and Armenian blocks, which are settled (Unicode
/// still adds letters to others). A test holds the table to a fixed hash: keys made with another would not be found.
fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '\0'..'\u{590}' | '\u{1e00}'..'\u{2000}') {
            folded.extend(c.to_lowercase());
        } else {
            folded.push(c);
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::ItemKind;

    const FOLDED: &str = "b7779ac800b8f2273b399dbdea41ab1c715e4bbef62bc9319c62d1f584bf7b55";

    fn record(kind: ItemKind, name: &str, sort_us: Option<i64>, id: &str) -> Record {
        Record {
            id: id.into(),
            parent: "p".into(),
            name: name.into(),
            kind,
            created_us: None,
            modified_us: None,
            sort_us,
            size_bytes: 0,
            version: String::new(),
            summary: Vec::new(),
            streams: Vec::new(),
        }
    }

    #[test]
    fn keys_sort_as_a_listing_reads() {
        use ItemKind::{File, Folder, MailFolder, Message};
        let long = "x".repeat(450);
        let listing = [
            record(MailFolder, "Archive", Some(9), "4"),
            record(Folder, "Éa", None, "9"),
            record(Folder, "éB", None, "1"),
            record(File, "", None, "1"),
            record(File, "a", None, "2"),
            record(File, "B", None, "0"),
            record(File, "b", None, "0"),
            record(File, "b", None, "1"),
            record(File, "b c", None, "0"),
            record(File, &format!("{long}1"), None, "7"),
            record(File, &format!("{long}2"), None, "3"),
            record(Message, "z", Some(i64::MIN), "8"),
            record(Message, "y", Some(-1), "7"),
            record(Message, "x", Some(0), "6"),
            record(Message, "w", Some(1), "4"),
            record(Message, "w", Some(1), "5"),
            record(Message, "a", Some(i64::MAX), "3"),
        ];
        let keys: Vec<_> = listing.iter().map(children_key).collect();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
        for (record, key) in listing.iter().zip(&keys) {
            assert_eq!(item_id(key).unwrap(), record.id);
        }
    }

    #[test]
    fn any_name_gives_a_key_within_the_limit_that_parses() {
        let id = "i".repeat(MAX_ID_BYTES);
        for name in ["a\0b\0", "\0", &"😀".repeat(5000), &"İ".repeat(5000), "../\r\n"] {
            let key = children_key(&record(ItemKind::File, name, None, &id));
            assert!(key.len() <= crate::format::node::MAX_KEY_BYTES);
            assert_eq!(item_id(&key).unwrap(), id);
        }
    }

    #[test]
    fn keys_that_are_none_are_refused() {
        for key in [&b""[..], &[0; 16], &[9; 40], &[3; 20], &[1; 40]] {
            assert!(item_id(key).is_err(), "{key:?}");
        }
    }

    /// If this fails, a new Rust maps a letter otherwise, and `fold` needs a table of its own.
    #[test]
    fn folding_never_changes() {
        let all: String = ('\0'..'\u{590}').chain('\u{1e00}'..'\u{2000}').collect();
        assert_eq!(blake3::hash(fold(&all).as_bytes()).to_hex().as_str(), FOLDED);
    }

    #[test]
    fn keys_are_those_of_the_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/format-spec/vectors/tree.json");
        let vectors: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        for vector in vectors["children_keys"].as_array().unwrap() {
            let kind = match vector["kind"].as_str().unwrap() {
                "MailFolder" => ItemKind::MailFolder,
                "Message" => ItemKind::Message,
                "File" => ItemKind::File,
                "Folder" => ItemKind::Folder,
                other => panic!("{other}"),
            };
            let mut record = record(kind, &text(&vector["name"]), vector["sort_us"].as_i64(), &text(&vector["id"]));
            record.parent = text(&vector["parent"]);
            let key: String = children_key(&record).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(key, text(&vector["key"]));
        }
    }
}
