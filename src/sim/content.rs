//! Contents made on the fly: a blob is a list of pieces, each a stretch of an endless stream that
//! follows from a seed. Nothing is kept in memory, any range can be made alone, and an insertion in
//! the middle of a large file leaves the bytes on both sides as they were.

use std::sync::Arc;

use bytes::Bytes;

use super::quickxor::QuickXor;
use super::rng::{hash, mix};
use super::words;

const BLOCK: u64 = 4096;
/// After so many bytes what is alike begins again.
const ALIKE: u64 = 1 << 20;

/// How bytes look to a compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Texture {
    /// Does not compress: pictures, archives.
    Random,
    /// Compresses well: prose, tables.
    Text,
    /// A quarter text, the rest random: Office documents, PDF.
    Mixed,
    /// The same random mebibyte over and over: so large that only its length is of interest.
    Alike,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    texture: Texture,
    seed: u64,
    start: u64,
    len: u64,
}

/// Bytes that are made when they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pieces: Arc<[Piece]>,
    len: u64,
    /// The bytes themselves, where a client sent them.
    kept: Option<Bytes>,
}

impl Blob {
    /// Makes a blob of `len` bytes.
    pub(super) fn new(texture: Texture, seed: u64, len: u64) -> Self {
        let pieces = if len == 0 { vec![] } else { vec![Piece { texture, seed, start: 0, len }] };
        Self { pieces: pieces.into(), len, kept: None }
    }

    /// Bytes that a client sent.
    pub(super) fn kept(bytes: Bytes) -> Self {
        Self { pieces: Arc::from([]), len: bytes.len() as u64, kept: Some(bytes) }
    }

    /// Says how many bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Says whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes the bytes from `offset` on; fewer than asked for at the end.
    pub fn read_at(&self, offset: u64, count: usize) -> Vec<u8> {
        let count = (self.len.saturating_sub(offset)).min(count as u64) as usize;
        if let Some(kept) = &self.kept {
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(kept.len());
            return kept[from..from + count].to_vec();
        }
        let mut out = vec![0; count];
        let (mut at, mut done) = (0u64, 0usize);
        for piece in self.pieces.iter() {
            let from = (offset + done as u64).saturating_sub(at);
            if done < count && from < piece.len {
                let n = ((piece.len - from) as usize).min(count - done);
                fill(piece, piece.start + from, &mut out[done..done + n]);
                done += n;
            }
            at += piece.len;
        }
        out
    }

    /// Makes all bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.read_at(0, usize::try_from(self.len).unwrap_or(usize::MAX))
    }

    /// A blob with `len` new bytes put in at `at`.
    pub(super) fn insert(&self, at: u64, texture: Texture, seed: u64, len: u64) -> Self {
        if let Some(kept) = &self.kept {
            let at = usize::try_from(at).unwrap_or(usize::MAX).min(kept.len());
            let made = Self::new(texture, seed, len).bytes();
            return Self::kept([&kept[..at], &made, &kept[at..]].concat().into());
        }
        let (mut pieces, mut pos) = (Vec::new(), 0u64);
        let new = Piece { texture, seed, start: 0, len };
        for piece in self.pieces.iter() {
            let cut = at.saturating_sub(pos).min(piece.len);
            if at >= pos && at < pos + piece.len {
                if cut > 0 {
                    pieces.push(Piece { len: cut, ..*piece });
                }
                pieces.push(new);
                pieces.push(Piece { start: piece.start + cut, len: piece.len - cut, ..*piece });
            } else {
                pieces.push(*piece);
            }
            pos += piece.len;
        }
        if at >= self.len {
            pieces.push(new);
        }
        Self { pieces: pieces.into(), len: self.len + len, kept: None }
    }

    /// The QuickXorHash of all bytes, in base64.
    pub(super) fn quick_xor(&self) -> String {
        let mut hash = QuickXor::new();
        let mut at = 0;
        while at < self.len {
            let part = self.read_at(at, 1 << 20);
            hash.update(&part);
            at += part.len() as u64;
        }
        hash.finish()
    }
}

/// Makes the bytes of a piece's endless stream from `pos` on.
fn fill(piece: &Piece, pos: u64, out: &mut [u8]) {
    if piece.texture == Texture::Random {
        return random(piece.seed, pos, out);
    }
    let mut done = 0;
    while piece.texture == Texture::Alike && done < out.len() {
        let at = (pos + done as u64) % ALIKE;
        let n = ((ALIKE - at) as usize).min(out.len() - done);
        random(piece.seed, at, &mut out[done..done + n]);
        done += n;
    }
    while done < out.len() {
        let at = pos + done as u64;
        let (block, skip) = (at / BLOCK, (at % BLOCK) as usize);
        let n = (BLOCK as usize - skip).min(out.len() - done);
        let target = &mut out[done..done + n];
        if piece.texture == Texture::Text || mix(piece.seed ^ mix(block)) & 3 == 0 {
            let text = words::text_block(hash(piece.seed, &[1, block]), BLOCK as usize);
            target.copy_from_slice(&text[skip..skip + n]);
        } else {
            random(piece.seed, at, target);
        }
        done += n;
    }
}

fn random(seed: u64, pos: u64, out: &mut [u8]) {
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.set_position(pos);
    reader.fill(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_equals_the_same_range_of_the_whole() {
        for texture in [Texture::Random, Texture::Text, Texture::Mixed, Texture::Alike] {
            let blob = Blob::new(texture, 7, 30_000).insert(10_001, Texture::Random, 9, 500);
            let all = blob.bytes();
            assert_eq!(all.len() as u64, blob.len());
            for (at, n) in [(0, 1), (4095, 2), (9_990, 600), (10_001, 500), (30_400, 100), (30_499, 9), (30_500, 9)] {
                let end = all.len().min(at + n);
                assert_eq!(blob.read_at(at as u64, n), all[at.min(end)..end], "{texture:?} {at}");
            }
        }
    }

    #[test]
    fn an_insertion_leaves_both_sides_as_they_were() {
        let old = Blob::new(Texture::Mixed, 3, 20_000);
        for at in [0, 1, 9_999, 20_000] {
            let (a, b) = (old.bytes(), old.insert(at, Texture::Text, 4, 77).bytes());
            let at = at as usize;
            assert_eq!((&a[..at], &a[at..]), (&b[..at], &b[at + 77..]), "at {at}");
        }
    }
}
