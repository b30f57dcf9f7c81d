//! Fetching a message's contents: its MIME form.

use super::api::Api;
use crate::error::Result;
use crate::format::record::StreamRole;
use crate::m365::contents::{Trouble, Watch, gap_of, trouble};
use crate::m365::door::{ContentSink, Fetched, Wanted};

/// Reads the MIME form of a message into `contents`.
pub(super) async fn message(
    api: &Api,
    collection: &str,
    wanted: &Wanted,
    contents: &mut dyn ContentSink,
) -> Result<Fetched> {
    let record = &wanted.record;
    let (error, what) = match api.mime(&record.id).await {
        Err(error) => {
            let what = trouble(&error);
            (error, what)
        }
        Ok(download) => {
            let watch = Watch::default();
            let expected = download.length_bytes().or((record.size_bytes > 0).then_some(record.size_bytes));
            let stream = watch.over(download.into_stream(), None);
            match contents.store(StreamRole::Mime, expected, stream).await {
                Ok(()) => return Ok(Fetched::Stored { source_hash: String::new(), newer: None, gap: None }),
                Err(error) => match watch.take().trouble {
                    Some(what) => (error, what),
                    None => return Err(error),
                },
            }
        }
    };
    match what {
        Trouble::Gone | Trouble::Resync { .. } => Ok(Fetched::Gone),
        Trouble::Gap { reason, text } => Ok(Fetched::Unreadable(gap_of(record, collection, reason, text))),
        Trouble::Fatal => Err(error.context(format!("Reading a message of {collection} failed"))),
    }
}
