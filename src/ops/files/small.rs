//! Small files: put together in memory, written with one call.

use std::io;

use crate::error::{Error, Result};
use crate::format::pieces::LineEncoder;
use crate::format::record::Encoding;
use crate::ops::files::Made;
use crate::ops::files::pool::Item;
use crate::ops::files::sink::{Sink, failed};

/// Room that is used again for the next item.
#[derive(Default)]
pub(super) struct Room {
    whole: Vec<u8>,
    stretch: Vec<u8>,
}

/// Writes an item that has all its contents.
pub(super) fn make<T>(item: &Item<T>, room: &mut Room) -> Result<Made> {
    let whole = match item.parts.as_slice() {
        // Nothing to put together.
        [part] if part.encoding == Encoding::Raw && part.stretches.len() == 1 => {
            part.stretches.first().and_then(|s| s.held.as_ref()?.in_memory())
        }
        _ => None,
    };
    let whole = match whole {
        Some(whole) => whole,
        None => {
            put_together(item, room).map_err(|e| failed(&item.path, e))?;
            &room.whole
        }
    };
    let size = item.size_bytes;
    if whole.len() as u64 != size {
        let text = format!("{size} bytes were expected and {} came", whole.len());
        return Ok(Made::Lost(Error::corrupt(text).with_hint("run check --read-data")));
    }
    let written = Sink::create(&item.path, size).and_then(|mut sink| {
        sink.write(whole)?;
        sink.publish(&item.path, item.modified)
    });
    written.map_err(|e| failed(&item.path, e))?;
    Ok(Made::Whole(size))
}

fn put_together<T>(item: &Item<T>, room: &mut Room) -> io::Result<()> {
    room.whole.clear();
    for part in &item.parts {
        let mut stretches = part.stretches.iter().filter_map(|s| s.held.as_ref());
        match part.encoding {
            Encoding::Raw => stretches.try_for_each(|held| held.read_to(&mut room.whole))?,
            Encoding::Base64 { line, crlf } => {
                let mut encoder = LineEncoder::new(line, crlf);
                for held in stretches {
                    if let Some(bytes) = held.in_memory() {
                        encoder.push(bytes, &mut room.whole);
                    } else {
                        room.stretch.clear();
                        held.read_to(&mut room.stretch)?;
                        encoder.push(&room.stretch, &mut room.whole);
                    }
                }
                encoder.finish(&mut room.whole);
            }
        }
    }
    Ok(())
}
