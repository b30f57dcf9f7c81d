//! Packs: `packs/<xx>/<id>`. Ciphertexts of blobs, then a sealed header that lists them.
//!
//! `TVLT` version kind, salt (32), blobs…, sealed header, length of the sealed header (u32, little endian).
//! The header is under the state sub-key of (kind, salt) with nonce 2^64-1, the first 38 bytes its associated data. Blobs of a
//! content pack are under pack keys that the header lists sealed; blobs of a tree pack under the same state sub-key
//! with nonces from 0 up. A blob's associated data is its id.

use bincode::{Decode, Encode};
use bytes::{Bytes, BytesMut};

use crate::crypto::{self, BlobKind, MasterKeys, SealedKey, Secret, TAG_BYTES, random_bytes};
use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::header::{FileKind, SALTED_BYTES, check_prefix, prefix, salt_of};
use crate::format::id::{BlobId, PackId};
use crate::format::index::{ChunkPlace, IndexedBlob, IndexedPack};

/// The nonce of a pack's header. Blobs count up from 0 and never come here.
const HEADER_NONCE: u64 = u64::MAX;

/// A blob as its pack's header lists it. Offsets follow from the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct PackedBlob {
    /// The blob.
    pub id: BlobId,
    /// How long its ciphertext is with its tag, in bytes.
    pub stored_bytes: u32,
    /// How long its plaintext is, in bytes.
    pub plain_bytes: u32,
    /// Which of the header's keys, counted from 0.
    pub key: u32,
    /// The nonce counter under that key.
    pub nonce: u64,
}

/// A pack's header.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
pub struct PackHeader {
    /// The sealed pack keys; none in a tree pack.
    pub keys: Vec<SealedKey>,
    /// The blobs in the order of their ciphertexts.
    pub blobs: Vec<PackedBlob>,
}

/// The file kind of packs of a blob kind.
pub fn file_kind(kind: BlobKind) -> FileKind {
    match kind {
        BlobKind::Content => FileKind::ContentPack,
        BlobKind::Tree => FileKind::TreePack,
    }
}

/// A blob's plaintext, made ready to be encrypted: compressed where that helps.
#[derive(Debug)]
pub struct PreparedBlob {
    /// The blob's id.
    pub id: BlobId,
    /// The length of the plaintext in bytes.
    pub plain_bytes: u32,
    /// The plaintext or, shorter, its Zstandard frame.
    pub body: Vec<u8>,
}

/// Builds one pack in memory.
pub struct PackBuilder {
    kind: BlobKind,
    state_key: Secret,
    pack_key: Option<Secret>,
    bytes: Vec<u8>,
    header: PackHeader,
    chunks: Vec<ChunkPlace>,
    next_nonce: u64,
}

impl std::fmt::Debug for PackBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackBuilder({:?}, {} blobs, {} bytes)", self.kind, self.header.blobs.len(), self.bytes.len())
    }
}

/// A finished pack.
#[derive(Debug)]
pub struct FinishedPack {
    /// What an index file says of the pack.
    pub pack: IndexedPack,
    /// What an index file says of its blobs; `pack` is 0 in all of them.
    pub blobs: Vec<IndexedBlob>,
    /// What an index file says of the chunks in them.
    pub chunks: Vec<ChunkPlace>,
    /// The file.
    pub bytes: Vec<u8>,
}

impl PackBuilder {
    /// Starts a pack for new blobs. A content pack gets a key of its own, sealed to the content public key.
    ///
    /// # Errors
    /// Only when the public key is not valid.
    pub fn new(keys: &MasterKeys, kind: BlobKind, capacity: usize) -> Result<Self> {
        let mut builder = Self::empty(keys, kind, random_bytes(), capacity);
        if kind == BlobKind::Content {
            let key = Secret::random();
            builder.header.keys.push(keys.seal_pack_key(&key)?);
            builder.pack_key = Some(key);
        }
        Ok(builder)
    }

    /// Starts a pack that takes ciphertexts over from other content packs ([`Self::append_sealed`]).
    pub fn for_moving(keys: &MasterKeys, capacity: usize) -> Self {
        Self::empty(keys, BlobKind::Content, random_bytes(), capacity)
    }

    fn empty(keys: &MasterKeys, kind: BlobKind, salt: [u8; 32], capacity: usize) -> Self {
        let kind_byte = file_kind(kind);
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(&prefix(kind_byte));
        bytes.extend_from_slice(&salt);
        Self {
            kind,
            state_key: keys.state_sub_key(kind_byte as u8, &salt),
            pack_key: None,
            bytes,
            header: PackHeader::default(),
            chunks: Vec::new(),
            next_nonce: 0,
        }
    }

    /// Appends a new blob, encrypting it under the next nonce.
    ///
    /// # Errors
    /// `Internal` in a pack that was started for moving.
    pub fn append(&mut self, blob: &PreparedBlob) -> Result<()> {
        let nonce = self.next_nonce;
        self.next_nonce += 1;
        let key = match self.kind {
            BlobKind::Tree => &self.state_key,
            BlobKind::Content => {
                self.pack_key.as_ref().ok_or_else(|| Error::internal("A pack for moving takes no new blobs"))?
            }
        };
        crypto::seal_append(key, nonce, blob.id.as_bytes(), &blob.body, &mut self.bytes);
        let stored_bytes = length_u32(blob.body.len() + TAG_BYTES)?;
        self.header.blobs.push(PackedBlob { id: blob.id, stored_bytes, plain_bytes: blob.plain_bytes, key: 0, nonce });
        Ok(())
    }

    /// Notes chunks that lie in the pack's blobs. The pack itself does not list them, an index file does.
    pub fn note_chunks(&mut self, chunks: impl IntoIterator<Item = ChunkPlace>) {
        self.chunks.extend(chunks);
    }

    /// Takes a blob over from another content pack as ciphertext, with the sealed key that opens it.
    ///
    /// # Errors
    /// `Internal` in a pack that was started for new blobs.
    pub fn append_sealed(&mut self, sealed_key: &SealedKey, blob: &IndexedBlob, ciphertext: &[u8]) -> Result<()> {
        if self.pack_key.is_some() || self.kind == BlobKind::Tree {
            return Err(Error::internal("A pack for new blobs takes no moved ones"));
        }
        let at = match self.header.keys.iter().position(|k| k == sealed_key) {
            Some(at) => at,
            None => {
                self.header.keys.push(*sealed_key);
                self.header.keys.len() - 1
            }
        };
        self.bytes.extend_from_slice(ciphertext);
        self.header.blobs.push(PackedBlob {
            id: blob.id,
            stored_bytes: length_u32(ciphertext.len())?,
            plain_bytes: blob.plain_bytes,
            key: length_u32(at)?,
            nonce: blob.nonce,
        });
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Says whether no blob was added yet.
    pub fn is_empty(&self) -> bool {
        self.header.blobs.is_empty()
    }

    /// Seals the header and names the pack.
    ///
    /// # Errors
    /// Only when a length does not fit its field.
    pub fn finish(mut self) -> Result<FinishedPack> {
        let head: [u8; SALTED_BYTES] = std::array::from_fn(|i| self.bytes[i]);
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&codec::encode(&self.header));
        crypto::seal_in_place(&self.state_key, HEADER_NONCE, &head, &mut self.bytes, start);
        let length = length_u32(self.bytes.len() - start)?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        let id = PackId(crypto::hash_buffers([&self.bytes[..]]));
        let size_bytes = self.bytes.len() as u64;
        let blobs = place(&self.header)?;
        let salt = salt_of("the new pack", &head)?;
        let pack = IndexedPack { id, kind: self.kind, size_bytes, salt, keys: self.header.keys };
        Ok(FinishedPack { pack, blobs, chunks: self.chunks, bytes: self.bytes })
    }
}

fn length_u32(length: usize) -> Result<u32> {
    u32::try_from(length).map_err(|_| Error::internal(format!("A length of {length} bytes does not fit a pack")))
}

/// Gives the blobs of a header their offsets.
fn place(header: &PackHeader) -> Result<Vec<IndexedBlob>> {
    let mut offset = SALTED_BYTES as u32;
    header
        .blobs
        .iter()
        .map(|b| {
            let at = offset;
            offset = offset
                .checked_add(b.stored_bytes)
                .ok_or_else(|| Error::corrupt("A pack header lists more bytes than a pack can hold"))?;
            Ok(IndexedBlob {
                id: b.id,
                pack: 0,
                offset: at,
                stored_bytes: b.stored_bytes,
                plain_bytes: b.plain_bytes,
                key: b.key,
                nonce: b.nonce,
            })
        })
        .collect()
}

/// How many bytes from a pack's end its header takes, read from the pack's last four bytes.
///
/// # Errors
/// `Corrupt`.
pub fn header_bytes(what: &str, size_bytes: u64, last_four: &[u8]) -> Result<u64> {
    let length: [u8; 4] = last_four.try_into().map_err(|_| Error::corrupt(format!("{what} is too short")))?;
    let length = u64::from(u32::from_le_bytes(length));
    let room = size_bytes.saturating_sub(SALTED_BYTES as u64 + 4);
    if length < TAG_BYTES as u64 || length > room {
        return Err(Error::corrupt(format!("{what} ends in an impossible header length: it was damaged or cut")));
    }
    Ok(length + 4)
}

/// Reads a pack's header from its first 38 bytes and its tail (sealed header and length).
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`.
pub fn read_header(
    what: &str,
    keys: &MasterKeys,
    kind: BlobKind,
    id: PackId,
    size_bytes: u64,
    head: &[u8],
    tail: &[u8],
) -> Result<(IndexedPack, Vec<IndexedBlob>)> {
    let kind_byte = file_kind(kind);
    check_prefix(what, kind_byte, head)?;
    let salt = salt_of(what, head)?;
    let body_end = tail.len().checked_sub(4).ok_or_else(|| Error::corrupt(format!("{what} is too short")))?;
    let mut sealed = tail.get(..body_end).unwrap_or_default().to_vec();
    crypto::open_in_place(what, &keys.state_sub_key(kind_byte as u8, &salt), HEADER_NONCE, head, &mut sealed)?;
    let header: PackHeader = codec::decode(what, &sealed)?;
    let blobs = place(&header)?;
    let pack = IndexedPack { id, kind, size_bytes, salt, keys: header.keys };
    let file = crate::format::index::IndexFile { packs: vec![pack], blobs: Vec::new(), ..Default::default() };
    let mut sorted = file;
    sorted.blobs = blobs.clone();
    sorted.blobs.sort_by_key(|b| b.id);
    let checked = sorted.check(what)?;
    let pack = checked.packs.into_iter().next().ok_or_else(|| Error::internal("a pack got lost"))?;
    Ok((pack, blobs))
}

/// The kind of a pack, from its first bytes.
///
/// # Errors
/// `Corrupt`, `UnsupportedVersion`.
pub fn pack_kind(what: &str, head: &[u8]) -> Result<BlobKind> {
    match head.get(5) {
        Some(&k) if k == FileKind::TreePack as u8 => {
            check_prefix(what, FileKind::TreePack, head).map(|_| BlobKind::Tree)
        }
        _ => check_prefix(what, FileKind::ContentPack, head).map(|_| BlobKind::Content),
    }
}

/// Decrypts and decompresses one blob. `key` is the pack key, or a tree pack's state sub-key.
///
/// # Errors
/// `Corrupt`.
pub fn open_blob(what: &str, key: &Secret, blob: &IndexedBlob, mut ciphertext: Vec<u8>) -> Result<Vec<u8>> {
    crypto::open_in_place(what, key, blob.nonce, blob.id.as_bytes(), &mut ciphertext)?;
    if ciphertext.len() == blob.plain_bytes as usize {
        return Ok(ciphertext);
    }
    expand(what, blob, &ciphertext)
}

/// As [`open_blob`], of a blob that was read together with others: it is not moved to memory of its own first.
///
/// # Errors
/// `Corrupt`.
pub fn open_blob_of_many(what: &str, key: &Secret, blob: &IndexedBlob, mut ciphertext: BytesMut) -> Result<Bytes> {
    let body = crypto::open_slice(what, key, blob.nonce, blob.id.as_bytes(), &mut ciphertext)?;
    ciphertext.truncate(body);
    if body == blob.plain_bytes as usize {
        return Ok(ciphertext.freeze());
    }
    expand(what, blob, &ciphertext).map(Bytes::from)
}

fn expand(what: &str, blob: &IndexedBlob, body: &[u8]) -> Result<Vec<u8>> {
    let plain_bytes = blob.plain_bytes as usize;
    let plain = codec::decompress(what, body, plain_bytes)?;
    if plain.len() != plain_bytes {
        return Err(Error::corrupt(format!("{what} has {} bytes, the index says {plain_bytes}", plain.len())));
    }
    Ok(plain)
}
