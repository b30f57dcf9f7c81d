//! The repository format is what `format-spec/` says: the test vectors in `format-spec/vectors/` are read, and made again
//! where they follow from their inputs. A repository that an earlier program made is read in full.
//!
//! They are written by `cargo test --test format write_vectors -- --ignored`, once: a change to them is a change of the
//! format. What holds random parts (slots, sealed keys, packs) is kept as it was written first.

mod chunks;
mod files;
mod keys;
mod samples;
mod stored;

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tenantvault::crypto::{MasterKeys, Secret, SlotSecrets};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format-spec/vectors").join(name)
}

/// Reads a file of vectors.
fn vectors(name: &str) -> Value {
    let text = fs::read(path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    serde_json::from_slice(&text).expect("JSON")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no text"));
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    unhex(value).try_into().expect("of the right length")
}

fn list(value: &Value) -> &[Value] {
    let list = value.as_array().expect("a list");
    assert!(!list.is_empty(), "an empty list proves nothing");
    list
}

/// The secrets that all vectors use.
fn secrets() -> SlotSecrets {
    let (private, public) = keys::content_pair();
    let secret = |first: u8| Secret::new(std::array::from_fn(|i| first + i as u8));
    SlotSecrets {
        content_private: Some(private),
        content_public: public,
        psk: secret(0x20),
        state: secret(0x40),
        id: secret(0x60),
    }
}

fn master_keys() -> MasterKeys {
    MasterKeys::new(secrets())
}

#[test]
#[ignore = "writes the vectors anew; what holds random parts stays as it is"]
fn write_vectors() {
    let old = |name: &str| fs::read(path(name)).ok().map(|text| serde_json::from_slice(&text).expect("JSON"));
    let made = [
        ("crypto.json", keys::make(old("crypto.json"))),
        ("files.json", files::make(old("files.json"))),
        ("chunks.json", chunks::make()),
    ];
    for (name, value) in made {
        let text = serde_json::to_string_pretty(&value).expect("JSON") + "\n";
        fs::write(path(name), text).expect("it can be written");
    }
}
