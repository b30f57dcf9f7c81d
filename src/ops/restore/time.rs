//! How long a restore takes at least under Microsoft's limits: requests at once, requests and bytes in a stretch of time.

use std::collections::HashMap;

use super::Step;
use crate::graph::{Limits, Scope, WindowLimit};

/// What is asked of one lane.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    units: u64,
    bytes: u64,
}

/// The seconds that the longest lane takes. `scopes`: which budget pays for each target.
pub(super) fn seconds(steps: impl Iterator<Item = Step>, scopes: &[Scope], limits: &Limits) -> u64 {
    let mut loads: HashMap<&Scope, Load> = HashMap::new();
    for step in steps {
        let Some(scope) = scopes.get(step.target) else { continue };
        let load = loads.entry(scope).or_default();
        load.units += step.cost.units;
        load.bytes += step.cost.bytes;
    }
    loads.iter().map(|(scope, load)| lane(scope, *load, limits)).max().unwrap_or(0)
}

fn lane(scope: &Scope, load: Load, limits: &Limits) -> u64 {
    match scope {
        Scope::Mailbox(_) => {
            within(load.units, limits.mailbox).max(within(load.bytes.div_ceil(1024), limits.mailbox_upload_kib))
        }
        Scope::Files => within(load.units, limits.files_minute).max(within(load.units, limits.files_day)),
        Scope::Directory => within(load.units, limits.directory),
        Scope::Planner => within(load.units, limits.planner),
        // Of one team.
        Scope::Teams(..) => within(load.units, limits.teams.one),
    }
}

/// What fits into a window at once takes no time of it.
fn within(units: u64, limit: WindowLimit) -> u64 {
    let cap = u64::from(limit.units.max(1));
    units.saturating_sub(1) / cap * limit.window.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::m365::restore::Cost;
    use crate::ops::restore::Action;

    fn step(target: usize, units: u64, bytes: u64) -> Step {
        Step {
            target,
            item: "i".into(),
            parent: String::new(),
            name: "n".into(),
            path: "p".into(),
            container: false,
            action: Action::Create,
            cost: Cost { requests: units, units, bytes },
        }
    }

    #[test]
    fn a_mailbox_takes_150_mb_in_five_minutes() {
        let (limits, mail) = (Limits::default(), Scope::Mailbox("a".into()));
        let of = |steps: &[Step]| seconds(steps.iter().cloned(), &[mail.clone(), Scope::Files], &limits);
        assert_eq!(of(&[step(0, 1, 150 << 20)]), 0);
        assert_eq!(of(&[step(0, 1, 450 << 20)]), 600);
        assert_eq!(of(&[step(0, 25_000, 0)]), 1200);
        assert_eq!(of(&[step(1, 12_500, 0), step(0, 1, 0)]), 540);
    }
}
