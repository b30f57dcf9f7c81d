//! Messages as other mail programs keep them: many in one file (mbox), or a file for each whose name tells its flags
//! (Maildir).
//!
//! mbox is written as mboxrd: lines end in LF, and a line that begins with `From `, or with that behind any number of `>`,
//! gets one `>` more, so that a reader that takes one away has the message as it was. Sources: RFC 4155; qmail's mbox(5) and
//! maildir(5).

use std::sync::PoisonError;

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::walk::{Losses, is_message};
use crate::error::{Error, Result};
use crate::format::record::Record;
use crate::ops::present::names::component;
use crate::ops::present::{self, Face};
use crate::ops::read;
use crate::ops::view::{Entry, Listing, Place, View};
use crate::repo::ByteStream;

/// A message up to this length is read before its first byte is written, so that one that is lost leaves no trace; in bytes.
const WHOLE_BYTES: u64 = 1 << 20;
/// Records that are read at once.
const LISTED_AT_ONCE: usize = 2048;
/// Messages that are read ahead.
const AHEAD: usize = 4;
/// What stands before the flags in the name of a message of a Maildir: a colon, which on Windows names a stream.
pub(super) const BEFORE_FLAGS: char = if cfg!(windows) { FOR_WINDOWS } else { ':' };
/// What stands there where the name must be one on Windows, too: what NeoMutt's manual recommends for it.
pub(super) const FOR_WINDOWS: char = ';';
/// What begins a message, and what must not begin a line of one.
const FROM: &[u8] = b"From ";

/// The messages of a folder, one after another, in the order of a listing.
pub(super) fn mbox(view: View, path: String, place: Place, losses: Losses) -> ByteStream {
    let records = messages(view.clone(), place);
    let ahead = records.map(move |record| {
        let view = view.clone();
        async move {
            match record {
                Ok(record) => (component(&record, Face::Item, view.mode()), opened(&view, &record).await),
                Err(e) => {
                    (String::new(), stream::iter([Err(e.context("The rest of its messages cannot be listed"))]).boxed())
                }
            }
        }
    });
    let messages = ahead.buffered(AHEAD).map(move |(name, message)| {
        let (path, losses) = (path.clone(), losses.clone());
        message
            .filter_map(move |part| {
                let kept = match part {
                    // One message that is lost takes no other with it.
                    Err(e) if e.is_loss() => {
                        let told = (format!("{path}/{name}"), e.chain());
                        losses.lock().unwrap_or_else(PoisonError::into_inner).push(told);
                        None
                    }
                    other => Some(other),
                };
                async move { kept }
            })
            .boxed()
    });
    messages.flatten().boxed()
}

/// The records of a folder's messages, read page by page.
fn messages(view: View, place: Place) -> impl futures::Stream<Item = Result<Record>> + Send {
    let pages = stream::unfold(Some(Listing::default()), move |listing| {
        let (view, place) = (view.clone(), place.clone());
        async move {
            let (mut listing, mut page) = (listing?, Vec::new());
            let mut collect = |entry: Entry| {
                if is_message(&entry) {
                    page.extend(entry.record.map(Ok));
                }
                Ok(())
            };
            match view.list_on(&place, &mut listing, LISTED_AT_ONCE, &mut collect).await {
                Ok(more) => Some((page, more.then_some(listing))),
                Err(e) => Some((vec![Err(e)], None)),
            }
        }
    });
    pages.map(stream::iter).flatten()
}

/// A message as it stands in an mbox. A short one is read already.
async fn opened(view: &View, record: &Record) -> ByteStream {
    let failed = |e: Error| stream::iter([Err(e)]).boxed();
    let of = match read::main_stream(record) {
        Ok(of) => of,
        Err(e) => return failed(e),
    };
    let bytes: ByteStream = if of.size_bytes <= WHOLE_BYTES {
        match read::read_whole(view.repository(), of, WHOLE_BYTES).await {
            Ok(bytes) => stream::iter([Ok(Bytes::from(bytes))]).boxed(),
            Err(e) => return failed(e),
        }
    } else {
        read::read_stream(view.repository(), of)
    };
    let begin = stream::iter([Ok(Bytes::from(separator(record)))]);
    let quoted = stream::unfold(Some((bytes, Quoter::default())), |state| async move {
        let (mut bytes, mut quoter) = state?;
        let mut out = Vec::new();
        match bytes.next().await {
            Some(Ok(part)) => {
                quoter.push(&part, &mut out);
                Some((Ok(Bytes::from(out)), Some((bytes, quoter))))
            }
            Some(Err(e)) => Some((Err(e), None)),
            None => {
                quoter.finish(&mut out);
                Some((Ok(Bytes::from(out)), None))
            }
        }
    });
    begin.chain(quoted).boxed()
}

/// The line before a message: who sent it, when.
fn separator(record: &Record) -> String {
    let from = record.fact("from").unwrap_or_default();
    let address = from.rsplit_once('<').map_or(from, |(_, rest)| rest.trim_end_matches('>'));
    let is_plain = !address.is_empty() && address.chars().all(|c| c.is_ascii_graphic());
    let at = present::time_us(record).and_then(|us| jiff::Timestamp::from_microsecond(us).ok()).unwrap_or_default();
    format!("From {} {}\n", if is_plain { address } else { "MAILER-DAEMON" }, at.strftime("%a %b %e %H:%M:%S %Y"))
}

/// Quotes lines that look like separators, and makes line ends LF.
#[derive(Debug)]
struct Quoter {
    /// How the line began so far: so many `>`, then so many bytes of `From `; `None`: it is past that.
    begun: Option<(usize, usize)>,
    /// The last byte was a CR.
    cr: bool,
    last: u8,
}

impl Default for Quoter {
    fn default() -> Self {
        Self { begun: Some((0, 0)), cr: false, last: b'\n' }
    }
}

impl Quoter {
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        out.reserve(bytes.len());
        for &byte in bytes {
            if std::mem::take(&mut self.cr) && byte != b'\n' {
                self.put(b'\r', out);
            }
            match byte {
                b'\r' => self.cr = true,
                byte => self.put(byte, out),
            }
        }
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        if let Some((marks, matched)) = self.begun {
            match FROM.get(matched) {
                _ if matched == 0 && byte == b'>' => {
                    self.begun = Some((marks + 1, 0));
                    return;
                }
                Some(next) if *next == byte => {
                    self.begun = Some((marks, matched + 1));
                    if matched + 1 == FROM.len() {
                        self.release(1, out);
                    }
                    return;
                }
                _ => self.release(0, out),
            }
        }
        out.push(byte);
        self.last = byte;
        if byte == b'\n' {
            self.begun = Some((0, 0));
        }
    }

    /// Writes the beginning of a line that was held back.
    fn release(&mut self, more: usize, out: &mut Vec<u8>) {
        let Some((marks, matched)) = self.begun.take() else { return };
        out.extend(std::iter::repeat_n(b'>', marks + more));
        out.extend_from_slice(FROM.get(..matched).unwrap_or_default());
        if marks + more + matched > 0 {
            self.last = b' ';
        }
    }

    /// Ends the message: with a line end, and an empty line.
    fn finish(&mut self, out: &mut Vec<u8>) {
        self.release(0, out);
        if self.last != b'\n' {
            out.push(b'\n');
        }
        out.push(b'\n');
    }
}

/// The name of a message in a Maildir: the time, a mark made from its id, its flags in the order of their letters.
pub(super) fn maildir_name(record: &Record, before_flags: char) -> String {
    let seconds = present::time_us(record).unwrap_or_default().div_euclid(1_000_000).max(0);
    let hash = blake3::hash(record.id.as_bytes()).to_hex();
    let mark = hash.get(..16).unwrap_or_default();
    let is = |key: &str| record.fact(key).is_some();
    let flags = [('D', is("draft")), ('F', is("flag")), ('S', is("read"))];
    let flags: String = flags.into_iter().filter(|(_, set)| *set).map(|(letter, _)| letter).collect();
    format!("{seconds}.{mark}.tenantvault{before_flags}2,{flags}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::record::ItemKind;

    fn quoted(parts: &[&[u8]]) -> Vec<u8> {
        let (mut quoter, mut out) = (Quoter::default(), Vec::new());
        parts.iter().for_each(|part| quoter.push(part, &mut out));
        quoter.finish(&mut out);
        out
    }

    /// What a reader of mboxrd does.
    fn unquoted(mbox: &[u8]) -> Vec<u8> {
        let lines = mbox.strip_suffix(b"\n").unwrap().split_inclusive(|byte| *byte == b'\n');
        let unquote = |line: &[u8]| {
            let marks = line.iter().take_while(|byte| **byte == b'>').count();
            if marks > 0 && line[marks..].starts_with(FROM) { line[1..].to_vec() } else { line.to_vec() }
        };
        lines.flat_map(unquote).collect()
    }

    #[test]
    fn lines_that_look_like_separators_are_quoted() {
        assert_eq!(
            quoted(&[b"From a\r\n>From b\r\nFro", b"m c\r\nFrom", b"age\r\n\rx>\r"]),
            b">From a\n>>From b\n>From c\nFromage\n\rx>\n\n"
        );
        assert_eq!(quoted(&[b""]), b"\n");
        assert_eq!(quoted(&[b">>"]), b">>\n\n");
    }

    proptest! {
        #[test]
        fn a_message_comes_back_from_an_mbox(text in "(>{0,3}(From |From|F|x)?[a\r]?\n?){0,20}", cut in 0..40usize) {
            let (a, b) = text.as_bytes().split_at(cut.min(text.len()));
            let whole = quoted(&[a, b]);
            prop_assert!(!whole.split(|byte| *byte == b'\n').any(|line| line.starts_with(FROM)));
            let mut plain = text.replace("\r\n", "\n").into_bytes();
            // A message ends in a line end; a CR alone at its end goes.
            if plain.last() == Some(&b'\r') {
                plain.pop();
            }
            if !plain.is_empty() && !plain.ends_with(b"\n") {
                plain.push(b'\n');
            }
            prop_assert_eq!(unquoted(&whole), plain);
        }
    }

    #[test]
    fn a_separator_is_one_line_whoever_sent_the_message() {
        let at = Some(1_793_524_440_000_000);
        for (from, address) in
            [("Dana <dana@contoso.com>", "dana@contoso.com"), ("x y", "MAILER-DAEMON"), ("", "MAILER-DAEMON")]
        {
            let mut record = Record::new(ItemKind::Message, "id", "f", "s");
            record.sort_us = at;
            record.summary = vec![("from".into(), from.into()), ("read".into(), "true".into())];
            assert_eq!(separator(&record), format!("From {address} Sun Nov  1 09:14:00 2026\n"));
            for (before, end) in [(':', ".tenantvault:2,S"), (FOR_WINDOWS, ".tenantvault;2,S")] {
                let name = maildir_name(&record, before);
                assert!(name.starts_with("1793524440.") && name.ends_with(end), "{name}");
            }
        }
    }
}
