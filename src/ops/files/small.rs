//! Small files: put together in memory, written with one call.

use std::fs::{File, FileTimes};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::format::pieces::LineEncoder;
use crate::format::record::Encoding;
use crate::ops::files::Made;
use crate::ops::files::pool::Item;

/// Writes an item that has all its contents. `buffer` is used again for the next.
pub(super) fn make<T>(item: &Item<T>, buffer: &mut Vec<u8>) -> Result<Made> {
    let whole = match item.parts.as_slice() {
        // Nothing to put together.
        [part] if part.encoding == Encoding::Raw && part.stretches.len() == 1 => {
            part.stretches.first().and_then(|s| s.bytes.as_deref()).unwrap_or_default()
        }
        _ => {
            put_together(item, buffer);
            buffer.as_slice()
        }
    };
    let size = item.size_bytes;
    if whole.len() as u64 != size {
        let text = format!("{size} bytes were expected and {} came", whole.len());
        return Ok(Made::Lost(Error::corrupt(text).with_hint("run check --read-data")));
    }
    let temporary = temporary_name(&item.path);
    let written = File::create(&temporary).and_then(|mut file| file.write_all(whole).map(|()| file));
    match written {
        Ok(file) => publish(file, &temporary, &item.path, item.modified)?,
        Err(e) => {
            drop(std::fs::remove_file(&temporary));
            return Err(failed(&item.path, e));
        }
    }
    Ok(Made::Whole(size))
}

fn put_together<T>(item: &Item<T>, buffer: &mut Vec<u8>) {
    buffer.clear();
    for part in &item.parts {
        let stretches = part.stretches.iter().filter_map(|s| s.bytes.as_deref());
        match part.encoding {
            Encoding::Raw => stretches.for_each(|bytes| buffer.extend_from_slice(bytes)),
            Encoding::Base64 { line, crlf } => {
                let mut encoder = LineEncoder::new(line, crlf);
                stretches.for_each(|bytes| encoder.push(bytes, buffer));
                encoder.finish(buffer);
            }
        }
    }
}

/// Gives a finished file its time and its name.
pub(super) fn publish(file: File, temporary: &Path, path: &Path, modified: Option<SystemTime>) -> Result<()> {
    if let Some(time) = modified {
        // Times are a courtesy: a disk that does not keep them still gets the contents.
        drop(file.set_times(FileTimes::new().set_modified(time).set_accessed(time)));
    }
    drop(file);
    std::fs::rename(temporary, path).map_err(|e| {
        drop(std::fs::remove_file(temporary));
        failed(path, e)
    })
}

/// What a disk's refusal means to the user.
pub(super) fn failed(path: &Path, e: std::io::Error) -> Error {
    let text = format!("{} cannot be written", path.display());
    Error::io(text, e).with_hint("make room or choose another folder, then export again: what is whole is skipped")
}

/// A name beside the target that no item can have: safe names never begin with a dot and end in `.part`.
pub(super) fn temporary_name(to: &Path) -> PathBuf {
    let name = to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let short = crate::format::id::PackId(crate::crypto::hash_buffers([name.as_bytes()])).short();
    to.with_file_name(format!(".tenantvault-{short}.part"))
}
