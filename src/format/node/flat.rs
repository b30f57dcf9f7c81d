//! A leaf as look-ups want it: little memory is asked for, however many records there are.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::{HEADER_BYTES, KeyReader, Reader, decode_header};
use crate::error::{Error, Result};

/// A leaf for look-ups: its keys lie end to end, and its values stay where they are.
#[derive(Debug, Default)]
pub struct FlatLeaf {
    bytes: Bytes,
    keys: Vec<u8>,
    /// Where each record's key ends, and where its value is.
    entries: Vec<(usize, Range<usize>)>,
}

impl FlatLeaf {
    /// Decodes a leaf as [`Node::decode`] does.
    ///
    /// # Errors
    /// As [`Node::decode`]; `Corrupt` for an inner node.
    pub fn decode(name: &dyn fmt::Display, bytes: &Bytes) -> Result<Self> {
        let broken = |why: &str| Error::corrupt(format!("Tree node {name} {why}"));
        if decode_header(name, bytes)? != 0 {
            return Err(broken("is not a leaf"));
        }
        let mut leaf = Self { bytes: bytes.clone(), keys: Vec::with_capacity(bytes.len() / 4), entries: Vec::new() };
        let mut reader = Reader { bytes, at: HEADER_BYTES };
        let mut keys = KeyReader::new(0);
        while !reader.is_at_end() {
            let value = keys.value(&mut reader).map_err(broken)?;
            leaf.keys.extend_from_slice(&keys.last);
            leaf.entries.push((leaf.keys.len(), value));
        }
        if leaf.entries.is_empty() { Err(broken("is empty")) } else { Ok(leaf) }
    }

    /// Counts the records.
    pub fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The last key.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.key(self.entries.len().checked_sub(1)?)
    }

    fn key(&self, at: usize) -> Option<&[u8]> {
        let start = match at.checked_sub(1) {
            Some(before) => self.entries.get(before)?.0,
            None => 0,
        };
        self.keys.get(start..self.entries.get(at)?.0)
    }

    /// Finds the value of a key; it shares the memory of the node's bytes.
    pub fn find(&self, key: &[u8]) -> Option<Bytes> {
        let (mut low, mut high) = (0, self.entries.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.key(middle)?.cmp(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Some(self.bytes.slice(self.entries.get(middle)?.1.clone())),
            }
        }
        None
    }
}
