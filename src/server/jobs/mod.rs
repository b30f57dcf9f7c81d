//! Jobs: what is done in the background, on schedule or because somebody asked.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::state::Server;

/// Starts what this process does in the background, until `stop`.
pub(crate) fn start(_server: &Arc<Server>, _tasks: &TaskTracker, _stop: &CancellationToken) {}
