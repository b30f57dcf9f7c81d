//! What a file was when it was restored, and what somebody made of it since.

use serde_json::Value;

use crate::format::record::{Record, StreamRole};
use crate::m365::facts::{text, time_us};
use crate::m365::restore::{Made, Since, rows};

/// The part of what is kept of a file that is its time.
const TIME: &str = "time";
/// The same where Graph tells only when the bytes came: not what the file's own time is.
const CAME: &str = "came";
/// Times are kept to the second.
const SECOND_US: u64 = 1_000_000;

/// Says whether a file that is there holds what the snapshot's does.
pub(super) fn alike(there: &Record, record: &Record) -> bool {
    let has_hash = |record: &Record| record.version.contains("Hash:");
    let size = record.stream(StreamRole::Content).map(|stream| stream.size_bytes);
    if has_hash(there) && has_hash(record) {
        return there.version == record.version;
    }
    Some(there.size_bytes) == size && there.modified_us == record.modified_us
}

/// What is kept of a file that was made, or got other contents: its name and its time, as Graph told them then.
pub(super) fn held(name: &str, modified_us: Option<i64>) -> String {
    let mut made = Made { state: rows::state_of(&name.into()), ..Made::default() };
    made.tell(TIME, &modified_us.map(|us| us.to_string()).unwrap_or_default());
    made.state
}

/// The same by the JSON of a file.
pub(super) fn held_of(file: &Value) -> String {
    let name = text(file, &["name"]).unwrap_or_default();
    if let Some(us) = time_us(file, &["fileSystemInfo", "lastModifiedDateTime"]) {
        return held(name, Some(us));
    }
    let mut made = Made { state: held(name, None), ..Made::default() };
    made.tell(CAME, &time_us(file, &["lastModifiedDateTime"]).map(|us| us.to_string()).unwrap_or_default());
    made.state
}

/// Says whether a file bears another name than it was made with.
pub(super) fn was_renamed(now: &Value, since: Since<'_>) -> bool {
    let name = text(now, &["name"]).unwrap_or_default();
    !since.own().is_empty() && rows::state_of(&name.into()) != since.own()
}

/// Says whether somebody changed a file by its time: it is another one than the restore gave the file, also an older one, which who
/// puts an own file in its place may bring. Where that is not known, it is later than the run, and not the one of the snapshot, which
/// may hold a time that is still to come.
pub(super) fn was_written(modified_us: Option<i64>, since: Since<'_>) -> bool {
    let (Some(now_us), Some(run_us)) = (modified_us, since.run_us) else { return false };
    let is_other = |given_us: i64| now_us.abs_diff(given_us) >= SECOND_US;
    if let Ok(given_us) = since.of(TIME).parse() {
        return is_other(given_us);
    }
    now_us > run_us && since.of(CAME).parse().ok().or(since.item_us).is_none_or(is_other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_that_the_restore_did_not_give_tells_a_change_and_where_that_is_unknown_a_later_one_than_the_run() {
        let run = Since { run_us: Some(1_000_000_000), ..Since::default() };
        let told = held("a", Some(5_000_000_000));
        let item = Since { item_us: Some(5_000_000_000), ..run };
        for given in [Since { state: &told, ..run }, item] {
            assert!(!was_written(Some(5_000_000_000), given) && !was_written(Some(5_000_999_999), given));
            assert!(was_written(Some(5_001_000_000), given) && was_written(Some(2_000_000_000), given));
            assert!(!was_written(None, given));
        }
        // An older one is put in its place.
        assert!(was_written(Some(1_000_000_000), Since { state: &told, ..run }));
        assert!(!was_written(Some(1_000_000_000), item));
        let state = held_of(&json!({"name": "a", "lastModifiedDateTime": "1970-01-01T00:20:00Z"}));
        let came = Since { state: &state, ..run };
        assert!(!was_written(Some(1_200_000_000), came) && was_written(Some(1_202_000_000), came));
        assert!(!was_written(Some(900_000_000), came));
        assert!(was_written(Some(1_000_000_001), run) && !was_written(Some(2_000_000_000), Since::default()));
    }

    #[test]
    fn another_name_is_told_where_the_first_is_known() {
        let file = json!({"name": "a.txt", "fileSystemInfo": {"lastModifiedDateTime": "2026-11-20T00:00:00Z"}});
        let state = held_of(&file);
        let since = Since { state: &state, ..Since::default() };
        assert!(!was_renamed(&file, since) && was_renamed(&json!({"name": "b.txt"}), since));
        assert!(!was_renamed(&json!({"name": "b.txt"}), Since::default()));
        assert_eq!(held("a.txt", since.of(TIME).parse().ok()), state);
    }
}
