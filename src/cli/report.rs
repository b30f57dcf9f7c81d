//! The coverage of a snapshot for other programs and for people without one: CSV and a web page.

use std::fmt::Write as _;

use jiff::tz::TimeZone;

use crate::cli::output;
use crate::error::{Error, Result};
use crate::format::snapshot::{CoverageEntry, Protection};
use crate::ops::coverage::{self, Change};

/// A change in words.
pub(crate) fn sentence(change: &Change) -> String {
    let named = change.now.as_ref().or(change.before.as_ref());
    let what = named
        .map_or(String::new(), |e| format!("{} {}", e.name, if e.workload.is_empty() { "all" } else { &e.workload }));
    let said = |entry: &CoverageEntry| match entry.reason.as_str() {
        "" => entry.state.word().to_owned(),
        reason => format!("{} ({reason})", entry.state.word()),
    };
    match (&change.before, &change.now) {
        (Some(before), Some(now)) => format!("{what}: {} → {}", before.state.word(), said(now)),
        (None, Some(now)) => format!("{what}: new, {}", said(now)),
        (Some(before), None) => format!("{what}: gone, was {}", before.state.word()),
        (None, None) => what,
    }
}

/// The coverage as CSV (RFC 4180), times in a time zone.
pub(crate) fn csv(entries: &[CoverageEntry], zone: &TimeZone) -> Result<String> {
    let failed = |e| Error::internal("The table cannot be written").with_source(e);
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(["owner", "name", "workload", "state", "items", "gaps", "since", "reason"]).map_err(failed)?;
    for entry in entries {
        let (items, gaps) = (entry.items.to_string(), entry.gaps.to_string());
        let since = output::time(entry.since_us, zone);
        let cells =
            [&entry.owner, &entry.name, &entry.workload, entry.state.word(), &items, &gaps, &since, &entry.reason];
        writer.write_record(cells.map(harmless)).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|e| Error::internal(format!("The table cannot be written: {e}")))?;
    String::from_utf8(bytes).map_err(|e| Error::internal("The table is no text").with_source(e))
}

/// What spreadsheets would take for a formula gets an apostrophe before it: names come from the tenant.
fn harmless(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{cell}") } else { cell.to_owned() }
}

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8885;--good:#1a7f37;--part:#9a6700;--bad:#cf222e;--none:#6e7781}\
@media(prefers-color-scheme:dark){:root{--good:#3fb950;--part:#d29922;--bad:#f85149;--none:#8b949e}}\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}\
th{position:sticky;top:0;background:Canvas}td.n{text-align:right;font-variant-numeric:tabular-nums}\
.protected{color:var(--good)}.partly,.left{color:var(--part)}.unreadable,.impossible{color:var(--bad)}.nothing,.not-selected{color:var(--none)}";

/// The coverage as a web page that needs nothing from anywhere.
pub(crate) fn html(title: &str, entries: &[CoverageEntry], changes: &[Change], zone: &TimeZone) -> String {
    let mut page = String::new();
    let title = escaped(title);
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>\n{}",
        summary(entries)
    );
    if !changes.is_empty() {
        page.push_str("<h2>Changed since the snapshot before</h2><ul>\n");
        for change in changes {
            let _ = writeln!(page, "<li>{}</li>", escaped(&sentence(change)));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2>Everything</h2><table><thead><tr><th>Whose</th><th>What</th><th>State</th><th>Items</th><th>Since</th><th>Why</th></tr></thead><tbody>\n");
    for entry in entries {
        let state = entry.state.word();
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td class=\"{state}\">{state}</td><td class=\"n\">{}</td><td>{}</td><td>{}</td></tr>",
            escaped(&entry.name),
            escaped(if entry.workload.is_empty() { "all" } else { &entry.workload }),
            output::number(entry.items),
            output::time(entry.since_us, zone),
            escaped(&entry.reason)
        );
    }
    page.push_str("</tbody></table></body></html>\n");
    page
}

fn summary(entries: &[CoverageEntry]) -> String {
    const STATES: [Protection; 7] = [
        Protection::Protected,
        Protection::Partly,
        Protection::Left,
        Protection::Unreadable,
        Protection::Impossible,
        Protection::Nothing,
        Protection::NotSelected,
    ];
    let counts = coverage::counts(entries);
    let workloads: std::collections::BTreeSet<&String> = counts.keys().map(|(workload, _)| workload).collect();
    let mut table = String::from("<table><thead><tr><th>What</th>");
    for state in STATES {
        let _ = write!(table, "<th class=\"{0}\">{0}</th>", state.word());
    }
    table.push_str("</tr></thead><tbody>\n");
    for workload in workloads {
        let _ = write!(table, "<tr><td>{}</td>", escaped(if workload.is_empty() { "all" } else { workload }));
        for state in STATES {
            let count = counts.get(&(workload.clone(), state)).copied().unwrap_or(0);
            let _ = write!(
                table,
                "<td class=\"n\">{}</td>",
                if count == 0 { String::new() } else { output::number(count) }
            );
        }
        table.push_str("</tr>\n");
    }
    table.push_str("</tbody></table>\n");
    table
}

/// Text that stays text in HTML.
fn escaped(text: &str) -> String {
    let text = output::plain(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, reason: &str) -> CoverageEntry {
        CoverageEntry {
            owner: "users/1".into(),
            name: name.into(),
            workload: "mail".into(),
            state: Protection::Partly,
            reason: reason.into(),
            items: 7,
            gaps: 1,
            since_us: 0,
        }
    }

    #[test]
    fn foreign_names_stay_text_in_tables_and_pages() {
        let entries =
            [entry("=cmd|'/c calc'!A1", "a \"quoted\", reason\nin two lines"), entry("<script>x</script>", "&")];
        let csv = csv(&entries, &TimeZone::UTC).unwrap();
        assert!(csv.contains("'=cmd|") && csv.contains("\"a \"\"quoted\"\", reason\nin two lines\""), "{csv}");
        assert_eq!(csv.lines().next(), Some("owner,name,workload,state,items,gaps,since,reason"));
        let page = html("T", &entries, &[], &TimeZone::UTC);
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;") && page.contains("&amp;"), "{page}");
    }
}
