//! Names of files on export that Windows, macOS and Linux all take, made from whatever names a tenant has.
//!
//! A name made here is one path component: it never leads out of its folder, never names a device, and never
//! fails for its length. Names in one folder stay apart on file systems that take upper and lower case, or two
//! ways to write an accent, for the same.
//!
//! Windows' rules: Microsoft, "Naming Files, Paths, and Namespaces".

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use crate::ops::present::names::hash_of;
use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};

#[cfg(test)]
mod tests;

/// The longest name made here, in bytes of UTF-8. File systems take 255; the rest is for ` (2)`.
pub const MAX_NAME_BYTES: usize = 240;

/// The longest ending that is taken for a file's extension, in bytes with its dot.
const MAX_EXTENSION_BYTES: usize = 17;

/// Makes a name safe, whatever it is. A name that is safe stays as it is.
pub fn safe_name(name: &str) -> String {
    shorten(clean(name), "", name)
}

/// Makes a safe file name of a text (a subject, say) and an extension without its dot, which is kept whatever
/// the length of the text. The extension is ours, not foreign: letters and digits.
pub fn safe_file_name(text: &str, extension: &str) -> String {
    shorten(clean(text), &format!(".{extension}"), text)
}

/// Replaces what no name may have, by `_`.
fn clean(name: &str) -> String {
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(name);
    let replaced: String = composed.chars().map(|c| if is_forbidden(c) { '_' } else { c }).collect();
    // Windows drops dots and blanks at the end; this also ends `.` and `..`.
    let kept = replaced.trim_end_matches(|c: char| c == '.' || c.is_whitespace());
    if kept.is_empty() {
        "_".into()
    } else if is_device(kept) {
        format!("_{kept}")
    } else {
        kept.into()
    }
}

fn is_forbidden(c: char) -> bool {
    match c {
        '<' | '>' | ':' | '"' | '/' | '\\' | '|' | '?' | '*' => true,
        // Invisible characters, and those that turn text round, so that `exe.fdp` reads as `pdf.exe`.
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        '\u{feff}' | '\u{fff9}'..='\u{fffb}' => true,
        c => c.is_control(),
    }
}

/// Says whether Windows takes a name for a device: `CON`, `com1.txt`, `NUL .x`.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_end();
    let upper = stem.to_uppercase();
    if matches!(upper.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let digit = upper.strip_prefix("COM").or_else(|| upper.strip_prefix("LPT"));
    digit.is_some_and(|d| matches!(d, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7" | "8" | "9" | "¹" | "²" | "³"))
}

/// Cuts a clean name that is too long, and marks it with a hash of the whole, so that long names stay apart.
fn shorten(clean: String, extension: &str, original: &str) -> String {
    if clean.len() + extension.len() <= MAX_NAME_BYTES {
        return clean + extension;
    }
    let (stem, extension) = if extension.is_empty() { split_extension(&clean) } else { (clean.as_str(), extension) };
    let hash = blake3::hash(original.as_bytes()).to_hex();
    let mark = format!("~{}", hash.get(..8).unwrap_or_default());
    let mut end = MAX_NAME_BYTES.saturating_sub(mark.len() + extension.len()).min(stem.len());
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}{extension}", stem.get(..end).unwrap_or_default())
}

/// Splits a name before its extension. What is long, or has other characters than letters and digits, is none.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.').and_then(|dot| name.split_at_checked(dot)) {
        Some((stem, extension))
            if !stem.is_empty()
                && (2..=MAX_EXTENSION_BYTES).contains(&extension.len())
                && extension.chars().skip(1).all(char::is_alphanumeric) =>
        {
            (stem, extension)
        }
        _ => (name, ""),
    }
}

/// Gives out the names of one folder, no two of which any file system takes for the same. The same names asked
/// for in the same order are given the same answers.
#[derive(Debug, Default)]
pub struct FolderNames {
    /// Hashes of the names, folded. Two names of one hash would only give one of them a number that it does not need.
    used: HashSet<u64>,
    /// The number to try next for a name that was given out before.
    next: HashMap<u64, u32>,
}

impl FolderNames {
    /// Begins with an empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a name safe ([`safe_name`]) and gives it out; if it is taken already, with ` (2)`, ` (3)`, … before
    /// its extension.
    pub fn allocate(&mut self, name: &str) -> String {
        self.give(safe_name(name))
    }

    /// The same for a text and an extension ([`safe_file_name`]).
    pub fn allocate_file(&mut self, text: &str, extension: &str) -> String {
        self.give(safe_file_name(text, extension))
    }

    fn give(&mut self, name: String) -> String {
        let key = hash_of(&fold(&name));
        if self.used.insert(key) {
            return name;
        }
        let number = self.next.entry(key).or_insert(2);
        let (stem, extension) = split_extension(&name);
        loop {
            let candidate = format!("{stem} ({number}){extension}");
            *number += 1;
            if self.used.insert(hash_of(&fold(&candidate))) {
                return candidate;
            }
        }
    }
}

/// A hash of what two names have in common that some file system takes for one. Within one run of the program alone.
pub(super) fn folded_hash(name: &str) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(fold(name))
}

/// What two names have in common that some file system takes for one: case folded, accents taken apart, letters
/// without width left out.
fn fold(name: &str) -> String {
    let visible: String = name.chars().filter(|c| !matches!(c, '\u{200c}' | '\u{200d}')).collect();
    let nfd = DecomposingNormalizerBorrowed::new_nfd();
    nfd.normalize(&visible.to_uppercase().to_lowercase()).into_owned()
}
