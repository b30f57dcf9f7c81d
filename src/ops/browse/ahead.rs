//! Ahead of who reads the files of a folder one after the other. A message is small, and opening what it lies in costs what
//! reading a hundred does: so that is begun before the reader comes there.
//!
//! It is bounded: of all readers one is read ahead of at a time, by few segments, and about once each record is looked at.

use futures::future::join_all;

use crate::error::Result;
use crate::format::record::{Extent, Record};
use crate::ops::browse::folder::Folder;
use crate::ops::browse::node::{FileNode, What};
use crate::ops::browse::{Browser, locked};
use crate::ops::read;

/// Entries that are looked at ahead of a reader.
const ENTRIES_AHEAD: u32 = 64;
/// Segments that are opened at once.
const SEGMENTS_AHEAD: usize = 3;
/// So near the entry that was read last one goes on from it: several readers may share a list of names.
const NEAR: u32 = 8;
/// Longer files, in bytes, are read ahead within themselves.
const LONGEST_FILE: u64 = 1 << 20;

/// How far somebody reads the files of a folder one after the other.
#[derive(Default)]
pub(super) struct Reading {
    last: Option<u32>,
    /// The first entry that was not looked at.
    ahead: u32,
    /// How often somebody began elsewhere: what was under way then does not count.
    jumps: u32,
}

impl Reading {
    /// Notes that an entry is read; gives where to look ahead from, if it is time to.
    fn at(&mut self, entry: u32) -> Option<u32> {
        let before = self.last.replace(entry);
        if before.is_none_or(|before| before.abs_diff(entry) > NEAR) {
            self.ahead = 0;
            self.jumps = self.jumps.wrapping_add(1);
            return None;
        }
        let next = self.ahead.max(entry.saturating_add(1));
        (next - entry <= ENTRIES_AHEAD / 2).then_some(next)
    }
}

impl Browser {
    /// Lets what the files after one lie in be opened, for whoever goes on to them.
    pub(super) fn look_ahead(&self, file: &FileNode) {
        let Some(folder) = locked(&self.kept.folders).get(&file.folder) else { return };
        let (from, jumps) = {
            let mut reading = locked(&folder.reading);
            (reading.at(file.entry), reading.jumps)
        };
        let Some(from) = from else { return };
        let Ok(alone) = self.kept.ahead.clone().try_acquire_owned() else { return };
        let browser = self.clone();
        tokio::spawn(async move {
            // What it fails with, the reader meets when it comes there.
            let next = open_ahead(&browser, &folder, from).await;
            let mut reading = locked(&folder.reading);
            if reading.jumps == jumps {
                reading.ahead = next.unwrap_or_else(|_| from.saturating_add(ENTRIES_AHEAD));
            }
            drop(reading);
            drop(alone);
        });
    }
}

/// Opens what the files from an entry on lie in, as far as the folder was walked; gives the first entry that was not looked at.
async fn open_ahead(browser: &Browser, folder: &Folder, from: u32) -> Result<u32> {
    let (mut next, mut wanted): (u32, Vec<Extent>) = (from, Vec::new());
    while next < from.saturating_add(ENTRIES_AHEAD) && wanted.len() < SEGMENTS_AHEAD {
        let Some(node) = folder.walked(browser, next).await? else { break };
        next += 1;
        let What::File(file) = node.what() else { continue };
        if file.size_bytes.is_some_and(|bytes| bytes <= LONGEST_FILE) {
            let record = browser.kept_record(&node, file).await?;
            want(browser, &record, &mut wanted);
        }
    }
    let mut opening = Vec::with_capacity(wanted.len());
    for extent in &wanted {
        opening.push(browser.repo.open_ahead(extent));
    }
    join_all(opening).await;
    Ok(next)
}

/// Adds what the contents of an item lie in and is not opened yet.
fn want(browser: &Browser, record: &Record, wanted: &mut Vec<Extent>) {
    let Ok(stream) = read::main_stream(record) else { return };
    let pieces = stream.pieces.iter().filter(|piece| piece.extents.depth == 0);
    for extent in pieces.flat_map(|piece| &piece.extents.list) {
        let is_new = wanted.iter().all(|other| other.blob != extent.blob) && !browser.repo.is_opened(&extent.blob);
        if is_new && wanted.len() < SEGMENTS_AHEAD {
            wanted.push(*extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_is_looked_ahead_of_and_who_jumps_is_not() {
        let mut reading = Reading::default();
        assert_eq!([reading.at(5), reading.at(6)], [None, Some(7)]);
        reading.ahead = 71;
        assert_eq!([reading.at(7), reading.at(38), reading.at(39)], [None, None, Some(40)], "who jumps begins anew");
        reading.ahead = 104;
        for entry in 40..72 {
            assert_eq!(reading.at(entry), None, "{entry}");
        }
        assert_eq!(reading.at(72), Some(104));
        // Two with one list of names come out of order.
        assert_eq!([reading.at(74), reading.at(73)], [Some(104), Some(104)]);
        assert_eq!([reading.at(3), reading.at(3), reading.at(u32::MAX)], [None, Some(4), None]);
        assert_eq!(reading.at(u32::MAX), Some(u32::MAX));
    }
}
