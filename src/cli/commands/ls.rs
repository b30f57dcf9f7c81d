//! `ls`: lists what is in a snapshot.

use serde_json::{Map, Value, json};

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::output;
use crate::cli::values::{Target, parser};
use crate::error::Result;
use crate::format::record::Record;
use crate::ops::present::{self, Face, Form, Mode};
use crate::ops::view::{Entry, Place, View};
use crate::snapshot::store;

const EXAMPLES: &str = "\
Examples:
  tenantvault ls latest
  tenantvault ls -l latest:users/alice@contoso.com/Mail/Inbox
  tenantvault ls -R everyone@2026-11-20:users/alice@contoso.com/OneDrive
With -R every line is a path that cat, export and restore take; \\u{…} in it stands
for a character that would upset the terminal. Times in the names of
messages are UTC; the times of -l are local.";

/// List what is in a snapshot
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The snapshot, and a path in it
    #[arg(value_name = "SNAPSHOT[:PATH]", value_parser = parser::<Target>)]
    target: Target,
    /// Also sizes and times
    #[arg(short, long)]
    long: bool,
    /// Also what is in the folders, and so on
    #[arg(short = 'R', long)]
    recursive: bool,
}

/// Lists a place, or a place and all below it.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let snapshot = find(&listing.snapshots, &args.target)?;
    let view = View::new(repo, snapshot.file.clone());
    let place = view.resolve(&args.target.path).await?;
    let mut lister = Lister { app, args: &args, items: 0 };
    match &place {
        Place::Item(_, record, path) | Place::Beside(_, record, path) if !place.is_container() => {
            let name = if args.recursive { path.as_str() } else { path.rsplit('/').next().unwrap_or(path) };
            let face = if matches!(place, Place::Beside(..)) { Face::Beside } else { Face::Item };
            lister.print(name, path, Some(record), face)?;
        }
        _ => lister.list(&view, place).await?,
    }
    app.screen.summary(&json!({"snapshot": snapshot.id.to_string(), "items": lister.items}))?;
    Ok(Outcome::Done)
}

/// Finds a snapshot; a path without one gets a hint.
pub(crate) fn find<'a>(snapshots: &'a [store::Snapshot], target: &Target) -> Result<&'a store::Snapshot> {
    store::find(snapshots, &target.snapshot).map_err(|e| {
        if target.snapshot.contains('/') {
            return e.with_hint(format!("A path comes after a snapshot: latest:{}", output::plain(&target.snapshot)));
        }
        e
    })
}

struct Lister<'a> {
    app: &'a App,
    args: &'a Args,
    items: u64,
}

impl Lister<'_> {
    async fn list(&mut self, view: &View, place: Place) -> Result<()> {
        let mut open = vec![place];
        while let Some(place) = open.pop() {
            let path = place.path().to_owned();
            let mut below = Vec::new();
            let mut visit = |entry: Entry| {
                let container = entry.is_container();
                let full = if path.is_empty() { entry.name.clone() } else { format!("{path}/{}", entry.name) };
                let shown = if self.args.recursive { &full } else { &entry.name };
                self.print(shown, &full, entry.record.as_ref(), entry.face)?;
                if container && self.args.recursive {
                    below.push(entry.place(&path));
                }
                Ok(())
            };
            view.list(&place, &mut visit).await?;
            open.extend(below.into_iter().rev());
        }
        Ok(())
    }

    fn print(&mut self, name: &str, path: &str, record: Option<&Record>, face: Face) -> Result<()> {
        self.items += 1;
        let screen = &self.app.screen;
        let container = record.is_none_or(|r| present::form(r, face, Mode::Presented) == Form::Folder);
        if screen.json {
            return screen.record("item", &value(path, record, face));
        }
        let end = if container { "/" } else { "" };
        if !self.args.long {
            return screen.line(format!("{}{end}", output::plain(name)));
        }
        let time = record.and_then(present::time_us).map_or(String::new(), |us| screen.time(us));
        let size = record.filter(|_| !container).and_then(|r| present::size_bytes(r, face, Mode::Presented));
        let size = size.map_or(String::new(), output::size);
        screen.line(format!("{size:>12}  {time:19}  {}{end}", output::plain(name)))
    }
}

/// An item as JSON; another face of one names the item that it is of.
pub(crate) fn value(path: &str, record: Option<&Record>, face: Face) -> Value {
    let mut fields = Map::new();
    fields.insert("path".into(), path.into());
    let Some(record) = record else {
        fields.insert("kind".into(), "place".into());
        return Value::Object(fields);
    };
    if face != Face::Item {
        let kind = if face == Face::Parts { "parts" } else { "view" };
        fields.insert("kind".into(), kind.into());
        fields.insert("of".into(), record.id.as_str().into());
        return Value::Object(fields);
    }
    fields.insert("kind".into(), record.kind.word().into());
    fields.insert("id".into(), record.id.as_str().into());
    fields.insert("name".into(), record.name.as_str().into());
    if let Some(size) = present::size_bytes(record, face, Mode::Presented) {
        fields.insert("size_bytes".into(), size.into());
    }
    for (name, time) in
        [("created_us", record.created_us), ("modified_us", record.modified_us), ("sort_us", record.sort_us)]
    {
        if let Some(time) = time {
            fields.insert(name.into(), time.into());
        }
    }
    let facts: Map<String, Value> = record.summary.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
    if !facts.is_empty() {
        fields.insert("facts".into(), Value::Object(facts));
    }
    Value::Object(fields)
}
