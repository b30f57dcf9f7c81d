//! A segment of the search log: what one snapshot has that the one before it in the log had not, column by column.
//!
//! Rows are records as a search sees them: folded texts, times, sizes, kinds, without streams. They lie in blocks of
//! [`BLOCK_ROWS`], every column a piece of its own, so that a query reads only the columns it asks about.

use std::collections::HashMap;

use bincode::{Decode, Encode};

use crate::error::{Error, Result};
use crate::format::codec;
use crate::format::record::{ItemKind, PARTS, Record};
use crate::ops::find::fold::fold;
use crate::ops::present::{Face, Mode, names};
use crate::repo::{Piece, SealedFile, SealedReader, SealedWriter};

/// Rows of a block.
pub(super) const BLOCK_ROWS: usize = 4096;
/// A record without any time.
pub(super) const NO_TIME: i64 = i64::MIN;
const ATTACHMENTS: u8 = 1;

/// An item of a set, whatever the snapshot: half of the BLAKE3 hash of its collection's key, a NUL and its id. An item
/// that moved from folder to folder is the same one.
pub(super) type Key = [u8; 16];
/// Stands for the top of a collection.
pub(super) const TOP: Key = [0; 16];

/// Makes the key of an item; [`TOP`] for no id.
pub(super) fn key_of(collection: &str, id: &str) -> Key {
    if id.is_empty() {
        return TOP;
    }
    let mut key = TOP;
    let mut hasher = blake3::Hasher::new();
    hasher.update(collection.as_bytes()).update(b"\0").update(id.as_bytes());
    hasher.finalize_xof().fill(&mut key);
    key
}

/// What a segment tells beside its rows.
#[derive(Debug, Clone, Default, Encode, Decode)]
pub(super) struct Directory {
    /// All that was in the log before is gone: this segment tells everything.
    pub(super) all: bool,
    /// The collections that the segment tells of.
    pub(super) collections: Vec<Told>,
    /// The blocks.
    pub(super) blocks: Vec<BlockPieces>,
    /// Items that are there no more: their keys.
    pub(super) gone: Vec<Piece>,
    /// What others hang below.
    pub(super) places: Vec<Piece>,
}

/// A collection in a segment.
#[derive(Debug, Clone, Encode, Decode)]
pub(super) struct Told {
    /// The collection's key.
    pub(super) key: String,
    /// Its name in this snapshot.
    pub(super) name: String,
    /// All that was known of it is gone: the segment has all of its rows.
    pub(super) anew: bool,
}

/// Where the columns of a block are.
#[derive(Debug, Clone, Copy, Encode, Decode)]
pub(super) struct BlockPieces {
    pub(super) rows: u32,
    pub(super) keys: Piece,
    pub(super) facts: Piece,
    /// Texts, in the order of [`Column`].
    pub(super) texts: [Piece; 4],
    pub(super) ids: Piece,
}

/// A column of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    /// Names and subjects.
    Name = 0,
    /// Who sent, organised, made or changed it; of contacts: the addresses.
    From = 1,
    /// Who got it.
    To = 2,
    /// What else people know it by: title, company, place.
    Other = 3,
}

/// The facts of each column of texts.
const FACTS: [&[&str]; 4] = [
    &[],
    &["from", "organizer", "created_by", "modified_by", "mail", "address"],
    &["to", "cc", "attendees"],
    &["title", "company", "location"],
];

/// Gives the folded text of a record in a column.
pub(super) fn text_of(record: &Record, column: Column) -> String {
    if column == Column::Name {
        return fold(&record.name).into_owned();
    }
    let mut out = String::new();
    for name in FACTS.get(column as usize).copied().unwrap_or_default() {
        if let Some(value) = record.fact(name) {
            out.push_str(if out.is_empty() { "" } else { "\n" });
            out.push_str(&fold(value));
        }
    }
    out
}

/// The time that a search sorts and compares by: reception, start, or the last change.
pub(super) fn time_of(record: &Record) -> i64 {
    record.sort_us.or(record.modified_us).or(record.created_us).unwrap_or(NO_TIME)
}

/// Says whether an item has attachments, as far as its source tells.
pub(super) fn has_attachments(record: &Record) -> bool {
    use ItemKind::{Event, Post, Task};
    record.fact("attachments") == Some("true")
        || (matches!(record.kind, Event | Post | Task) && record.fact(PARTS).is_some())
}

/// Something that others hang below, or that it is there no more.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct PlaceRow {
    pub(super) key: Key,
    /// What it hangs below.
    pub(super) parent: Key,
    /// How it reads in a path, folded; `None`: it is gone.
    pub(super) component: Option<String>,
}

/// Says whether others may hang below.
pub(super) fn is_place(record: &Record) -> bool {
    record.kind.is_container() || record.has_parts()
}

#[derive(Debug, Default, Encode, Decode)]
struct Facts {
    times: Vec<u8>,
    sizes: Vec<u8>,
    kinds: Vec<u8>,
    flags: Vec<u8>,
    /// Numbers in `parents`.
    places: Vec<u8>,
    parents: Vec<(u32, Key)>,
}

#[derive(Debug, Default, Encode, Decode)]
struct Texts {
    ends: Vec<u8>,
    bytes: Vec<u8>,
}

impl Texts {
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        // A block has 4096 rows of texts that each came out of a record of at most 1 MiB.
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.ends.extend_from_slice(&end.to_le_bytes());
    }
}

/// Makes a segment.
pub(super) struct Builder {
    out: SealedWriter,
    directory: Directory,
    numbers: HashMap<String, u32>,
    keys: Vec<u8>,
    facts: Facts,
    parents: HashMap<(u32, Key), u16>,
    texts: [Texts; 4],
    ids: Texts,
    rows: usize,
    gone: Vec<u8>,
    places: Vec<PlaceRow>,
}

/// Keys, or places, of a piece.
const LIST_ROWS: usize = 16 << 10;
/// A block has so many bytes of texts at most, but for its last row.
const BLOCK_TEXT: usize = 16 << 20;

impl Builder {
    pub(super) fn new(out: SealedWriter, all: bool) -> Self {
        Self {
            out,
            directory: Directory { all, ..Directory::default() },
            numbers: HashMap::new(),
            keys: Vec::new(),
            facts: Facts::default(),
            parents: HashMap::new(),
            texts: Default::default(),
            ids: Texts::default(),
            rows: 0,
            gone: Vec::new(),
            places: Vec::new(),
        }
    }

    /// Tells of a collection; told twice, the last word counts.
    pub(super) fn collection(&mut self, key: &str, name: &str, anew: bool) -> u32 {
        if let Some(number) = self.numbers.get(key) {
            if let Some(told) = self.directory.collections.get_mut(*number as usize) {
                (told.name, told.anew) = (name.to_owned(), told.anew || anew);
            }
            return *number;
        }
        let number = u32::try_from(self.directory.collections.len()).unwrap_or(u32::MAX);
        self.directory.collections.push(Told { key: key.to_owned(), name: name.to_owned(), anew });
        self.numbers.insert(key.to_owned(), number);
        number
    }

    fn key(&self, collection: u32, id: &str) -> Key {
        key_of(self.directory.collections.get(collection as usize).map_or("", |told| &told.key), id)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn put(&mut self, collection: u32, record: &Record) -> Result<()> {
        let (key, parent) = (self.key(collection, &record.id), self.key(collection, &record.parent));
        let next = u16::try_from(self.parents.len()).unwrap_or(u16::MAX);
        let place = *self.parents.entry((collection, parent)).or_insert_with(|| {
            self.facts.parents.push((collection, parent));
            next
        });
        self.keys.extend_from_slice(&key);
        self.facts.times.extend_from_slice(&time_of(record).to_le_bytes());
        self.facts.sizes.extend_from_slice(&record.size_bytes.to_le_bytes());
        self.facts.kinds.push(record.kind as u8);
        self.facts.flags.push(if has_attachments(record) { ATTACHMENTS } else { 0 });
        self.facts.places.extend_from_slice(&place.to_le_bytes());
        for (column, texts) in [Column::Name, Column::From, Column::To, Column::Other].into_iter().zip(&mut self.texts)
        {
            texts.push(&text_of(record, column));
        }
        self.ids.push(&record.id);
        self.rows += 1;
        if is_place(record) {
            let component = Some(fold(&names::component(record, Face::Item, Mode::Presented)).into_owned());
            self.place(PlaceRow { key, parent, component })?;
        }
        let text: usize = self.texts.iter().map(|texts| texts.bytes.len()).sum();
        if self.rows == BLOCK_ROWS || text > BLOCK_TEXT { self.end_block() } else { Ok(()) }
    }

    /// Notes that an item is there no more.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn gone(&mut self, collection: u32, record: &Record) -> Result<()> {
        let key = self.key(collection, &record.id);
        self.gone.extend_from_slice(&key);
        if is_place(record) {
            self.place(PlaceRow { key, parent: TOP, component: None })?;
        }
        if self.gone.len() >= LIST_ROWS * 16 { self.end_gone() } else { Ok(()) }
    }

    fn place(&mut self, row: PlaceRow) -> Result<()> {
        self.places.push(row);
        if self.places.len() >= LIST_ROWS { self.end_places() } else { Ok(()) }
    }

    fn end_gone(&mut self) -> Result<()> {
        if !self.gone.is_empty() {
            self.directory.gone.push(self.out.push(&std::mem::take(&mut self.gone))?);
        }
        Ok(())
    }

    fn end_places(&mut self) -> Result<()> {
        if !self.places.is_empty() {
            self.directory.places.push(self.out.push(&codec::encode(&std::mem::take(&mut self.places)))?);
        }
        Ok(())
    }

    fn end_block(&mut self) -> Result<()> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut push = |bytes: Vec<u8>| self.out.push(&bytes);
        let keys = push(std::mem::take(&mut self.keys))?;
        let facts = push(codec::encode(&std::mem::take(&mut self.facts)))?;
        let mut texts = [keys; 4];
        for (piece, column) in texts.iter_mut().zip(&mut self.texts) {
            *piece = push(codec::encode(&std::mem::take(column)))?;
        }
        let ids = push(codec::encode(&std::mem::take(&mut self.ids)))?;
        let rows = u32::try_from(self.rows).unwrap_or(u32::MAX);
        self.directory.blocks.push(BlockPieces { rows, keys, facts, texts, ids });
        self.parents.clear();
        self.rows = 0;
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn finish(mut self) -> Result<Segment> {
        self.end_block()?;
        self.end_gone()?;
        self.end_places()?;
        let file = self.out.finish(&codec::encode(&self.directory))?;
        Ok(Segment { file, directory: self.directory })
    }
}

/// A segment, for reading.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) file: SealedFile,
    pub(super) directory: Directory,
}

fn broken() -> Error {
    Error::corrupt("A search log has a column that does not fit the others")
}

impl Segment {
    /// Takes a file's directory for that of a segment.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn new(file: SealedFile, directory: &[u8]) -> Result<Self> {
        Ok(Self { file, directory: codec::decode("The directory of a search log", directory)? })
    }

    /// Reads what others hang below.
    ///
    /// # Errors
    /// `Corrupt`; the disk's.
    pub(super) fn places(&self, visit: &mut dyn FnMut(PlaceRow)) -> Result<()> {
        let reader = self.file.open()?;
        for piece in &self.directory.places {
            let rows: Vec<PlaceRow> = codec::decode("Places of a search log", &reader.read(*piece)?)?;
            rows.into_iter().for_each(&mut *visit);
        }
        Ok(())
    }
}

/// Keys of a piece, one after another.
pub(super) fn keys(reader: &SealedReader, piece: Piece) -> Result<Vec<Key>> {
    let bytes = reader.read(piece)?;
    let (keys, rest) = bytes.as_chunks::<16>();
    if rest.is_empty() { Ok(keys.to_vec()) } else { Err(broken()) }
}

/// A column of texts, each ended by a NUL.
pub(super) struct TextColumn {
    pub(super) bytes: Vec<u8>,
    /// Where each row's text ends, its NUL included.
    pub(super) ends: Vec<usize>,
}

impl TextColumn {
    fn read(reader: &SealedReader, piece: Piece, rows: usize) -> Result<Self> {
        let texts: Texts = codec::decode("Texts of a search log", &reader.read(piece)?)?;
        let (ends, rest) = texts.ends.as_chunks::<4>();
        let ends: Vec<usize> = ends.iter().map(|end| u32::from_le_bytes(*end) as usize).collect();
        let fits = ends.len() == rows && rest.is_empty() && ends.last() == Some(&texts.bytes.len());
        if fits && ends.is_sorted_by(|a, b| a < b) { Ok(Self { bytes: texts.bytes, ends }) } else { Err(broken()) }
    }

    /// The text of a row.
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let start = if row == 0 { 0 } else { *self.ends.get(row - 1)? };
        std::str::from_utf8(self.bytes.get(start..self.ends.get(row)?.checked_sub(1)?)?).ok()
    }
}

/// A block, whose columns are read when they are asked for.
pub(super) struct Block<'a> {
    reader: &'a SealedReader,
    pieces: BlockPieces,
    facts: Option<Columns>,
    texts: [Option<TextColumn>; 4],
}

/// The columns that are not texts.
pub(super) struct Columns {
    pub(super) times: Vec<i64>,
    pub(super) sizes: Vec<u64>,
    pub(super) kinds: Vec<u8>,
    flags: Vec<u8>,
    /// The place of each row, as a number in `parents`.
    pub(super) places: Vec<u16>,
    /// Collections of the segment, and keys.
    pub(super) parents: Vec<(u32, Key)>,
}

impl Columns {
    fn read(reader: &SealedReader, piece: Piece, rows: usize) -> Result<Self> {
        let facts: Facts = codec::decode("Facts of a search log", &reader.read(piece)?)?;
        let columns = Self {
            times: facts.times.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
            sizes: facts.sizes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect(),
            kinds: facts.kinds,
            flags: facts.flags,
            places: facts.places.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes)).collect(),
            parents: facts.parents,
        };
        let lengths =
            [columns.times.len(), columns.sizes.len(), columns.kinds.len(), columns.flags.len(), columns.places.len()];
        let fits = lengths.iter().all(|length| *length == rows)
            && columns.places.iter().all(|place| usize::from(*place) < columns.parents.len());
        if fits { Ok(columns) } else { Err(broken()) }
    }

    pub(super) fn has_attachments(&self, row: usize) -> bool {
        self.flags.get(row).is_some_and(|flags| flags & ATTACHMENTS != 0)
    }
}

impl<'a> Block<'a> {
    pub(super) fn new(reader: &'a SealedReader, pieces: BlockPieces) -> Self {
        Self { reader, pieces, facts: None, texts: [const { None }; 4] }
    }

    pub(super) fn rows(&self) -> usize {
        self.pieces.rows as usize
    }

    pub(super) fn columns(&mut self) -> Result<&Columns> {
        let (reader, piece, rows) = (self.reader, self.pieces.facts, self.rows());
        match &mut self.facts {
            Some(columns) => Ok(columns),
            empty => Ok(empty.insert(Columns::read(reader, piece, rows)?)),
        }
    }

    pub(super) fn text(&mut self, column: Column) -> Result<&TextColumn> {
        let rows = self.rows();
        let (Some(slot), Some(piece)) = (self.texts.get_mut(column as usize), self.pieces.texts.get(column as usize))
        else {
            return Err(broken());
        };
        match slot {
            Some(texts) => Ok(texts),
            empty => Ok(empty.insert(TextColumn::read(self.reader, *piece, rows)?)),
        }
    }

    pub(super) fn keys(&self) -> Result<Vec<Key>> {
        let keys = keys(self.reader, self.pieces.keys)?;
        if keys.len() == self.rows() { Ok(keys) } else { Err(broken()) }
    }

    pub(super) fn ids(&self) -> Result<TextColumn> {
        TextColumn::read(self.reader, self.pieces.ids, self.rows())
    }
}
