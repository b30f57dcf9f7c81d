//! `stats`: tells the sizes of a repository.

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Column};
use crate::error::Result;
use crate::ops::stats::stats;

/// Tell how large the repository is, and what is in it
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Prints the sizes.
pub(crate) async fn run(_args: Args, app: &App) -> Result<Outcome> {
    let repo = app.open_to_read().await?;
    let stats = stats(&repo).await?;
    let number = |n: usize| output::number(n as u64);
    let rows = [
        ("Snapshots", number(stats.snapshots)),
        ("Backup sets", number(stats.sets)),
        ("Items in the newest snapshots", output::number(stats.items)),
        ("Contents read by all runs", output::size(stats.read_bytes)),
        ("Contents kept, each once", output::size(stats.content_plain_bytes)),
        ("Stored, compressed and encrypted", output::size(stats.stored_bytes)),
        ("Packs", number(stats.packs)),
        ("  of them waiting to be deleted", number(stats.packs_marked)),
        ("Blobs of contents", output::number(stats.content_blobs)),
        ("Blobs of trees", output::number(stats.tree_blobs)),
        ("Index files", number(stats.index_files)),
    ];
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    app.screen.table(&[Column::Text(""), Column::Number("")], &rows)?;
    app.screen.summary(&stats)?;
    Ok(Outcome::Done)
}
