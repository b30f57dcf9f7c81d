//! `cat`: prints the contents of one item.

use futures::StreamExt as _;

use crate::cli::app::App;
use crate::cli::commands::ls::find;
use crate::cli::exit::Outcome;
use crate::cli::values::{Target, parser};
use crate::error::{Error, Result};
use crate::format::record::StreamRole;
use crate::ops::present::{self, Face, Mode};
use crate::ops::read;
use crate::ops::view::View;

const EXAMPLES: &str = "\
Examples:
  tenantvault cat 'latest:users/alice@contoso.com/Mail/Inbox/2026-11-01 0914 Plan.eml'
  tenantvault cat latest:users/alice@contoso.com/OneDrive/Plan.docx > Plan.docx
A message is printed in MIME form (.eml), byte for byte as Exchange gave it. What
is kept as Graph's JSON is printed as what its name ends in; --raw gives the JSON.";

/// Print the contents of a message or file
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The snapshot, and the path of an item in it
    #[arg(value_name = "SNAPSHOT:PATH", value_parser = parser::<Target>)]
    target: Target,
    /// Print what Graph says of the item, as JSON, in place of its contents
    #[arg(long)]
    properties: bool,
    /// Print what is stored: Graph's JSON in place of an .ics, .vcf or .html made from it
    #[arg(long, conflicts_with = "properties")]
    raw: bool,
}

/// Prints an item's bytes.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let listing = app.snapshots(&repo).await?;
    let snapshot = find(&listing.snapshots, &args.target)?;
    let view = View::new(repo.clone(), snapshot.file.clone());
    let place = view.resolve(&args.target.path).await?;
    let path = place.path();
    // A folder has no contents, and may have properties.
    let shown = |face| !place.is_container() || (args.properties && face == Face::Item);
    let Some((state, record, face)) = place.item().filter(|(_, _, face)| shown(*face)) else {
        let what = if path.is_empty() { "A whole snapshot".to_owned() } else { format!("'{path}'") };
        return Err(Error::invalid(format!("{what} is a folder"))
            .with_hint("Name an item in it; ls lists it, export writes it out"));
    };
    let mut bytes = if args.properties {
        let stream = record
            .stream(StreamRole::Properties)
            .ok_or_else(|| Error::not_found(format!("No properties are kept of '{path}'")))?;
        read::read_stream(&repo, stream)
    } else {
        let view = if args.raw { view.clone().shown(Mode::Raw) } else { view.clone() };
        present::open(&view, state, record, face).await?
    };
    let mut first = true;
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        if !app.screen.is_terminal() {
            app.screen.bytes(&piece)?;
            continue;
        }
        if first && piece.contains(&0) {
            return Err(Error::invalid(format!("'{path}' is no text: it would upset the terminal"))
                .with_hint("Send it to a file: tenantvault cat … > FILE"));
        }
        first = false;
        app.screen.bytes(harmless(&String::from_utf8_lossy(&piece)).as_bytes())?;
    }
    Ok(Outcome::Done)
}

/// Text that cannot steer a terminal: control characters but tabs and line ends are shown, not sent.
fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => {}
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_cannot_steer_the_terminal() {
        assert_eq!(harmless("a\r\n\tb\x1b[2Jc\u{9b}"), "a\n\tb\\u{1b}[2Jc\\u{9b}");
    }
}
