//! Takes streams apart into raw bytes and decoded Base64, so that an attachment is stored once and
//! compresses; and writes the Base64 out again.
//!
//! It looks for runs of equally long Base64 lines and knows nothing of MIME, so nested messages and
//! broken headers need no care. The argument for exactness: a run is accepted only if every line is
//! canonical Base64 (no stray characters, padding or bits) and ends alike, and canonical Base64 has one
//! decoding and one encoding. Everything else stays raw.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

#[cfg(test)]
mod tests;

/// The longest line that is taken for Base64, in characters without its end (RFC 5322 allows 998).
pub const MAX_LINE: usize = 996;

/// The fewest lines that make a run.
const MIN_LINES: usize = 3;

/// Lines decoded in one go, once a run has proved to be one.
const BATCH_LINES: usize = 256;

/// A stretch of a stream, as [`split`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part<'a> {
    /// Bytes that stand for themselves.
    Raw(&'a [u8]),
    /// Lines of Base64, decoded: [`LineEncoder`] with the same `line` and `crlf` gives the source bytes again.
    Base64 {
        /// The bytes that the lines encode.
        decoded: Vec<u8>,
        /// Characters a line, without its end: a multiple of four, 4 to 996.
        line: u16,
        /// Lines end in CR LF (true) or LF (false).
        crlf: bool,
        /// How many bytes of the source the lines take, line ends included.
        source_len: usize,
    },
}

/// Takes a stream apart. The parts, in order and encoded again, are exactly `bytes`.
///
/// Runs of Base64 that decode to fewer than `min_decoded` bytes stay raw. For large streams, [`Splitter`]
/// gives the parts one by one.
pub fn split(bytes: &[u8], min_decoded: usize) -> Vec<Part<'_>> {
    Splitter::new(bytes, min_decoded).collect()
}

/// Puts parts together again: the bytes that [`split`] was given.
pub fn join(parts: &[Part<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        match part {
            Part::Raw(bytes) => out.extend_from_slice(bytes),
            Part::Base64 { decoded, line, crlf, .. } => {
                let mut encoder = LineEncoder::new(*line, *crlf);
                encoder.push(decoded, &mut out);
                encoder.finish(&mut out);
            }
        }
    }
    out
}

/// Gives the parts of a stream one by one, so that only one decoded part is in memory.
#[derive(Debug)]
pub struct Splitter<'a> {
    bytes: &'a [u8],
    min_decoded: usize,
    /// Where the part that comes next begins.
    start: usize,
    /// A run that was found while the raw bytes before it were given out.
    found: Option<Part<'a>>,
    scan: Scan,
}

impl<'a> Splitter<'a> {
    /// Begins to take `bytes` apart; see [`split`].
    pub fn new(bytes: &'a [u8], min_decoded: usize) -> Self {
        Self { bytes, min_decoded, start: 0, found: None, scan: Scan::new(min_decoded) }
    }
}

impl<'a> Iterator for Splitter<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if let Some(part) = self.found.take() {
            return Some(part);
        }
        let begin = self.start;
        let rest = self.bytes.get(begin..).filter(|rest| !rest.is_empty())?;
        let Some((at, run)) = self.scan.next_run(self.bytes, self.min_decoded) else {
            self.start = self.bytes.len();
            return Some(Part::Raw(rest));
        };
        self.start = at + run.source_len;
        let part = Part::Base64 { decoded: run.decoded, line: run.line, crlf: run.crlf, source_len: run.source_len };
        match self.bytes.get(begin..at) {
            Some(raw) if !raw.is_empty() => {
                self.found = Some(part);
                Some(Part::Raw(raw))
            }
            _ => Some(part),
        }
    }
}

/// The search for runs. Every byte is looked at a bounded number of times, whatever the input.
#[derive(Debug)]
struct Scan {
    /// The start of the line to look at next.
    at: usize,
    /// Bytes before this, from `at` on, are known to be ones that Base64 lines may hold.
    clean: usize,
    /// No run takes fewer bytes of the source than this.
    shortest: usize,
    scratch: Vec<u8>,
}

impl Scan {
    fn new(min_decoded: usize) -> Self {
        let shortest = min_decoded.div_ceil(3).saturating_mul(4).max(MIN_LINES);
        Self { at: 0, clean: 0, shortest, scratch: Vec::new() }
    }

    /// Finds the next run and where it begins.
    fn next_run(&mut self, bytes: &[u8], min_decoded: usize) -> Option<(usize, Run)> {
        loop {
            let end = self.at.checked_add(self.shortest)?;
            // A run that begins in this window fills it to its end or beyond, so none begins at or before
            // the window's last foreign byte.
            let from = self.at.max(self.clean).min(end);
            let window = bytes.get(from..end)?;
            if let Some(foreign) = window.iter().rposition(|&b| !may_occur(b)) {
                let foreign = from + foreign;
                self.clean = end;
                self.at = foreign + 1 + memchr(b'\n', bytes.get(foreign + 1..)?)? + 1;
                continue;
            }
            self.clean = end;
            let begin = self.at;
            match read_run(bytes.get(begin..)?, &mut self.scratch) {
                Ok(run) if run.lines >= MIN_LINES && run.decoded.len() >= min_decoded => {
                    self.at = begin + run.source_len;
                    return Some((begin, run));
                }
                Ok(run) => self.at = begin + run.full_len,
                Err(NoRun) => self.at = begin + memchr(b'\n', bytes.get(begin..)?)? + 1,
            }
        }
    }
}

/// Says whether a byte may occur in lines of Base64.
fn may_occur(byte: u8) -> bool {
    const TABLE: [bool; 256] = {
        let mut table = [false; 256];
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\r\n";
        let mut i = 0;
        while i < alphabet.len() {
            table[alphabet[i] as usize] = true;
            i += 1;
        }
        table
    };
    TABLE[usize::from(byte)]
}

/// Lines of Base64 at the beginning of some bytes.
struct Run {
    decoded: Vec<u8>,
    line: u16,
    crlf: bool,
    /// Lines, the last, shorter one included.
    lines: usize,
    source_len: usize,
    /// The length of the lines of full length; at least one line.
    full_len: usize,
}

/// No line of Base64 stands here.
struct NoRun;

/// The form that all lines of a run share.
#[derive(Clone, Copy)]
struct Form {
    line: usize,
    crlf: bool,
}

impl Form {
    fn stride(self) -> usize {
        self.line + ending(self.crlf).len()
    }

    /// Reads the form off the first line.
    fn of_first_line(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..bytes.len().min(MAX_LINE + 2))?;
        let newline = memchr(b'\n', head)?;
        let crlf = newline > 0 && head.get(newline - 1) == Some(&b'\r');
        let line = newline - usize::from(crlf);
        ((4..=MAX_LINE).contains(&line) && line.is_multiple_of(4)).then_some(Self { line, crlf })
    }

    /// Counts, up to `limit`, the lines at the beginning of `bytes` whose ends are where they must be.
    fn count(self, bytes: &[u8], limit: usize) -> usize {
        bytes
            .chunks_exact(self.stride())
            .take(limit)
            .take_while(|chunk| chunk.get(self.line..) == Some(ending(self.crlf)))
            .count()
    }
}

/// Reads as many lines of one run as there are at the beginning of `bytes`.
fn read_run(bytes: &[u8], scratch: &mut Vec<u8>) -> Result<Run, NoRun> {
    let form = Form::of_first_line(bytes).ok_or(NoRun)?;
    let mut decoded = Vec::new();
    let mut lines = 0;
    let mut at = 0;
    let mut batch = MIN_LINES;
    let mut padded = false;
    while !padded {
        let rest = bytes.get(at..).unwrap_or_default();
        let count = form.count(rest, batch);
        let block = rest.get(..count * form.stride()).unwrap_or_default();
        let read = decode_lines(block, form, scratch, &mut decoded);
        padded = read.padded;
        lines += read.lines;
        at += read.lines * form.stride();
        if read.lines < batch {
            break;
        }
        batch = (batch * 4).min(BATCH_LINES);
    }
    if lines == 0 {
        return Err(NoRun);
    }
    let full_len = at;
    if !padded && let Some(taken) = decode_last(bytes.get(at..).unwrap_or_default(), form, &mut decoded) {
        at += taken;
        lines += 1;
    }
    let line = u16::try_from(form.line).map_err(|_| NoRun)?;
    Ok(Run { decoded, line, crlf: form.crlf, lines, source_len: at, full_len })
}

struct ReadLines {
    lines: usize,
    /// The last line read ends in padding, and so ends the run.
    padded: bool,
}

/// Decodes full lines, all at once where none of them is bad or padded, one by one otherwise, and
/// appends what they encode. Stops before the first line that is not Base64.
fn decode_lines(block: &[u8], form: Form, scratch: &mut Vec<u8>, decoded: &mut Vec<u8>) -> ReadLines {
    let count = block.len() / form.stride();
    let before = decoded.len();
    scratch.resize(count * form.line, 0);
    for (text, line) in scratch.chunks_exact_mut(form.line).zip(block.chunks_exact(form.stride())) {
        if let Some(line) = line.get(..form.line) {
            text.copy_from_slice(line);
        }
    }
    if decode_into(scratch, decoded).is_some_and(|length| length == count * (form.line / 4 * 3)) {
        return ReadLines { lines: count, padded: false };
    }
    decoded.truncate(before);
    read_line_by_line(scratch, form, count, decoded)
}

fn read_line_by_line(text: &[u8], form: Form, count: usize, decoded: &mut Vec<u8>) -> ReadLines {
    for (index, line) in text.chunks_exact(form.line).take(count).enumerate() {
        match decode_into(line, decoded) {
            None => return ReadLines { lines: index, padded: false },
            Some(length) if length < form.line / 4 * 3 => return ReadLines { lines: index + 1, padded: true },
            Some(_) => {}
        }
    }
    ReadLines { lines: count, padded: false }
}

/// Decodes the last, shorter line of a run and says how many bytes it takes with its end.
fn decode_last(bytes: &[u8], form: Form, decoded: &mut Vec<u8>) -> Option<usize> {
    let head = bytes.get(..bytes.len().min(form.stride()))?;
    let newline = memchr(b'\n', head)?;
    let crlf = newline > 0 && head.get(newline - 1) == Some(&b'\r');
    let length = newline - usize::from(crlf);
    if crlf != form.crlf || length == 0 || length >= form.line {
        return None;
    }
    decode_into(head.get(..length)?, decoded)?;
    Some(newline + 1)
}

fn ending(crlf: bool) -> &'static [u8] {
    if crlf { b"\r\n" } else { b"\n" }
}

/// Decodes canonical Base64 and appends the bytes; says how many. Leaves `out` as it was if it is not.
fn decode_into(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let before = out.len();
    if !text.len().is_multiple_of(4) {
        return None;
    }
    out.resize(before + text.len() / 4 * 3, 0);
    let written = out.get_mut(before..).and_then(|room| STANDARD.decode_slice(text, room).ok());
    out.truncate(before + written.unwrap_or(0));
    written
}

/// Says how long `decoded_len` bytes are when written as lines of `line` characters.
pub fn encoded_len(decoded_len: u64, line: u16, crlf: bool) -> u64 {
    let characters = decoded_len.div_ceil(3).saturating_mul(4);
    let lines = characters.div_ceil(u64::from(line.max(4)));
    characters.saturating_add(lines.saturating_mul(if crlf { 2 } else { 1 }))
}

/// Writes bytes as lines of Base64, taking them in pieces of any size.
#[derive(Debug)]
pub struct LineEncoder {
    line: usize,
    crlf: bool,
    /// The beginning of the line in hand, not yet encoded.
    carry: Vec<u8>,
}

impl LineEncoder {
    /// Begins with lines of `line` characters, a multiple of four, ended by CR LF (`crlf`) or LF. A length
    /// that is no such multiple is rounded down, to four at least.
    pub fn new(line: u16, crlf: bool) -> Self {
        let line = usize::from(line) / 4 * 4;
        Self { line: line.max(4), crlf, carry: Vec::new() }
    }

    /// Encodes more bytes and appends the lines that are complete.
    pub fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        let bytes_a_line = self.line / 4 * 3;
        if !self.carry.is_empty() {
            let (head, rest) = input.split_at(input.len().min(bytes_a_line - self.carry.len()));
            self.carry.extend_from_slice(head);
            input = rest;
            if self.carry.len() < bytes_a_line {
                return;
            }
            let line = std::mem::take(&mut self.carry);
            self.write_line(&line, out);
        }
        let lines = input.chunks_exact(bytes_a_line);
        self.carry.extend_from_slice(lines.remainder());
        let (ending, before) = (ending(self.crlf), out.len());
        let stride = self.line + ending.len();
        out.resize(before + lines.len() * stride, 0);
        let room = out.get_mut(before..).unwrap_or_default();
        for (line, room) in lines.zip(room.chunks_exact_mut(stride)) {
            let (text, end) = room.split_at_mut(self.line);
            // There is room for just the line, so this cannot fail.
            let _ = STANDARD.encode_slice(line, text);
            end.copy_from_slice(ending);
        }
    }

    /// Ends the last line, if one is begun.
    pub fn finish(self, out: &mut Vec<u8>) {
        if !self.carry.is_empty() {
            self.write_line(&self.carry, out);
        }
    }

    fn write_line(&self, input: &[u8], out: &mut Vec<u8>) {
        encode_into(input, out);
        out.extend_from_slice(ending(self.crlf));
    }
}

/// Encodes bytes and appends the text.
fn encode_into(input: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    out.resize(before + input.len().div_ceil(3) * 4, 0);
    let written = out.get_mut(before..).and_then(|room| STANDARD.encode_slice(input, room).ok());
    out.truncate(before + written.unwrap_or(0));
}
