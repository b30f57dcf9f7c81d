//! What is used of a tenant's budgets, as plain numbers.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Budget, Lane, lock};
use crate::graph::window::Window;

/// How much is used of one of the budgets of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Which: `files_minute`, `files_day` (SharePoint and OneDrive), `directory`, `planner`; `mailbox`: of the mailbox that used
    /// most; `teams`: of the kind of call to Teams of which most is used. `mailboxes` counts mailboxes: `limit` were asked within
    /// a window, and `used` of them have to wait now.
    pub what: &'static str,
    /// Units used in the window that ends now.
    pub used: u32,
    /// Units that may be used in it.
    pub limit: u32,
}

impl Spent {
    /// The one of two of which the larger part is used.
    fn fuller(self, other: Self) -> Self {
        let part = |used: u32, of_other: u32| u64::from(used) * u64::from(of_other);
        if part(other.used, self.limit) > part(self.used, other.limit) { other } else { self }
    }
}

impl Budget {
    /// How much is used of what the whole tenant shares, and of the mailbox and the calls to Teams that are nearest to their
    /// limits.
    pub fn spent(&self) -> Vec<Spent> {
        let mut all = self.files.spent(&["files_minute", "files_day"]);
        all.extend(self.directory.spent(&["directory"]));
        all.extend(self.teams.iter().flat_map(|lane| lane.spent(&["teams"])).reduce(Spent::fuller));
        all.extend(self.planner.spent(&["planner"]));
        all.extend(self.spent_of_mailboxes());
        all
    }

    fn spent_of_mailboxes(&self) -> [Spent; 2] {
        // Others take permits meanwhile.
        let lanes: Vec<Arc<Lane>> = lock(&self.mailboxes).values().cloned().collect();
        let now = Instant::now();
        let limit = Window::new(self.limits.mailbox, self.limits.share, now).cap();
        let mut busiest = Spent { what: "mailbox", used: 0, limit };
        let mut asked = Spent { what: "mailboxes", used: 0, limit: 0 };
        for lane in lanes.iter().filter(|lane| !lane.is_idle(now)) {
            asked.limit += 1;
            asked.used += u32::from(lane.state().next_at(1, now).is_some());
            busiest = lane.spent(&["mailbox"]).into_iter().fold(busiest, Spent::fuller);
        }
        [busiest, asked]
    }
}
