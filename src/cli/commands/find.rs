//! `find`: finds items over all snapshots.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::cli::app::App;
use crate::cli::commands::ls::value;
use crate::cli::environment::now_us;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::error::Result;
use crate::format::id::SnapshotId;
use crate::ops::find::{self, Found, Here, Query, QueryError, Report, Seen};
use crate::ops::present::{self, Face, Mode};
use crate::snapshot::store::{self, Snapshot};

const EXAMPLES: &str = "\
Examples:
  tenantvault find invoice
  tenantvault find 'from:dana subject:\"annual report\" after:2026-10-01'
  tenantvault find 'name:*.xlsx size:>10MB in:alice@contoso.com'
  tenantvault find --set everyone 'kind:message has:attachment before:30d -in:Archive'
A query:
  invoice \"two words\"    in the name, the subject or the sender; no upper and lower case
  from: to: subject:     a part of it; to: are all recipients and attendees
  name:*.docx            a part of a name, or with * and ? a pattern for all of it
  in:Inbox               below a folder, mailbox or path: in:alice@contoso.com, in:/sites/*/Documents
  kind:message           message, event, contact, file, folder, task, chat_message, page, …
  has:attachment
  after: before:         2026-11-01, 2026-11, 2026-11-01T09:30, 30d, 2w, 6mo, today; local time
  size:>10MB             also <, >=, <=, 1MB..5MB
  a b    a OR b    -a    (a b) OR c
after: takes in the day itself, before: does not. An item matches if it did in any of
the snapshots, and is shown as it was in the newest of these. TAKE is what cat and
export take. A query that begins with a minus comes after --.";

/// Find items over all snapshots
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to look for
    #[arg(value_name = "QUERY", required = true)]
    query: Vec<String>,
    /// Only in the snapshots of this backup set; given several times: of any of them
    #[arg(long, value_name = "SET")]
    set: Vec<String>,
    /// Only in this snapshot; given several times: in any of them
    #[arg(long, value_name = "SNAPSHOT")]
    snapshot: Vec<String>,
    /// Show the newest N; 0: all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

/// Finds items, and prints them, the newest first.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let text = args.query.join(" ");
    let here = Here { now_us: now_us(), zone: app.screen.zone.clone() };
    let query = Query::parse(&text, &here).map_err(|wrong| {
        point_at(app, &text, &wrong);
        wrong.into_error()
    })?;
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    for set in &args.set {
        store::need_set(&listing.snapshots, set)?;
    }
    let named: HashSet<SnapshotId> = find::named(&listing.snapshots, &args.snapshot)?;
    let wanted = |s: &Snapshot| {
        (args.set.is_empty() || args.set.contains(&s.file.set_name)) && (named.is_empty() || named.contains(&s.id))
    };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut rows = Vec::new();
    let mut show = |found: Found| {
        app.screen.record("item", &as_json(&found))?;
        if !app.screen.json {
            rows.push(row(app, &found));
        }
        Ok(())
    };
    let report = find::find(&repo, &listing.snapshots, &wanted, &query, limit, &mut show).await?;
    if !rows.is_empty() {
        app.screen.table(&columns(), &rows)?;
    }
    conclude(app, &report)?;
    let is_whole = report.trouble.damaged.is_empty() && listing.broken.is_empty();
    Ok(if is_whole { Outcome::Done } else { Outcome::Gaps })
}

/// Shows where a query is wrong.
fn point_at(app: &App, text: &str, wrong: &QueryError) {
    let before: String = text.chars().take(wrong.at).collect();
    let blanks = " ".repeat(output::plain(&before).chars().count());
    app.screen.note(format!("  {}\n  {blanks}^", output::plain(text)));
}

fn columns() -> [Column; 4] {
    [Column::Fixed("Time"), Column::Number("Size"), Column::Fixed("Snapshots"), Column::Text("Take")]
}

fn row(app: &App, found: &Found) -> Vec<String> {
    let record = &found.record;
    let time = record.sort_us.or(record.modified_us).or(record.created_us);
    vec![
        time.map_or(String::new(), |us| app.screen.time(us).chars().take(16).collect()),
        // What is made when it is read has no size before.
        present::size_bytes(record, Face::Item, Mode::Presented).map_or_else(String::new, output::size),
        format!("{}{}", output::number(found.snapshots.into()), if found.in_latest { "" } else { ", gone" }),
        format!("{}:{}", found.newest.snapshot.short(), found.path),
    ]
}

fn as_json(found: &Found) -> Value {
    let seen = |seen: &Seen| json!({"id": seen.snapshot.to_string(), "time_us": seen.time_us});
    let mut line = json!({
        "take": format!("{}:{}", found.newest.snapshot, found.path),
        "set": found.set,
        "collection": found.collection,
        "snapshot": found.newest.snapshot.to_string(),
    });
    if let (Some(line), Value::Object(item)) =
        (line.as_object_mut(), value(&found.path, Some(&found.record), Face::Item))
    {
        line.extend(item);
        line.insert("first_snapshot".into(), seen(&found.first));
        line.insert("last_snapshot".into(), seen(&found.last));
        line.insert("snapshots".into(), found.snapshots.into());
        line.insert("in_latest".into(), found.in_latest.into());
    }
    line
}

fn conclude(app: &App, report: &Report) -> Result<()> {
    for damaged in &report.trouble.damaged {
        app.screen.warn(format!("{damaged}. What could be read was searched; check tells what else is damaged"));
    }
    for vanished in &report.trouble.vanished {
        app.screen.note(format!("Snapshot {} was forgotten meanwhile, and is left out", vanished.short()));
    }
    let found = output::count(report.matches, "item", "items");
    let searched = output::count(report.searched, "snapshot", "snapshots");
    let shown = match report.shown < report.matches {
        true => format!("; the newest {} are shown (--limit 0 shows all)", output::number(report.shown)),
        false => String::new(),
    };
    app.screen.line(format!("{found} in {searched}{shown}"))?;
    app.screen.summary(&json!({
        "matches": report.matches,
        "shown": report.shown,
        "snapshots": report.searched,
        "damaged": report.trouble.damaged.len(),
        "vanished": report.trouble.vanished.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}
