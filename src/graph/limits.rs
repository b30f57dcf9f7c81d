//! How much Microsoft allows: requests and resource units per window, requests at once.
//!
//! Source: Microsoft, "Microsoft Graph service-specific throttling limits" and "Avoid getting throttled or blocked in
//! SharePoint Online".

use std::time::Duration;

use super::request::TeamsCall;

/// So many units in any stretch of time of this length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowLimit {
    /// Units allowed.
    pub units: u32,
    /// The length of the window.
    pub window: Duration,
}

/// What one app may do in one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Requests per mailbox.
    pub mailbox: WindowLimit,
    /// Requests at once per mailbox.
    pub mailbox_concurrent: usize,
    /// KiB sent into a mailbox.
    pub mailbox_upload_kib: WindowLimit,
    /// SharePoint and OneDrive resource units of the tenant, short window.
    pub files_minute: WindowLimit,
    /// SharePoint and OneDrive resource units of the tenant, long window.
    pub files_day: WindowLimit,
    /// SharePoint and OneDrive requests at once (no figure of Microsoft's).
    pub files_concurrent: usize,
    /// Downloads of file contents at once (no figure of Microsoft's).
    pub downloads_concurrent: usize,
    /// Directory units of the tenant.
    pub directory: WindowLimit,
    /// Directory requests at once (no figure of Microsoft's).
    pub directory_concurrent: usize,
    /// Calls to Teams of each kind.
    pub teams: TeamsLimits,
    /// Calls to Teams at once of each kind (no figure of Microsoft's).
    pub teams_concurrent: usize,
    /// Requests to Planner (Microsoft gives no figure).
    pub planner: WindowLimit,
    /// Requests to Planner at once (no figure of Microsoft's).
    pub planner_concurrent: usize,
    /// Which part of each window is used, 0 to 1; the rest stays free for the tenant's people and for other clocks.
    pub share: f64,
}

/// What one app may ask of Teams in one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TeamsLimits {
    /// [`TeamsCall::Team`].
    pub team: WindowLimit,
    /// [`TeamsCall::Channels`].
    pub channels: WindowLimit,
    /// [`TeamsCall::Message`].
    pub message: WindowLimit,
    /// [`TeamsCall::Export`].
    pub export: WindowLimit,
    /// [`TeamsCall::Other`].
    pub other: WindowLimit,
    /// Of any one team or channel.
    pub one: WindowLimit,
}

impl TeamsLimits {
    /// The limit of a kind of call.
    pub(crate) fn of(&self, call: TeamsCall) -> WindowLimit {
        match call {
            TeamsCall::Team => self.team,
            TeamsCall::Channels => self.channels,
            TeamsCall::Message => self.message,
            TeamsCall::Export => self.export,
            TeamsCall::Other => self.other,
        }
    }
}

const fn per(units: u32, seconds: u64) -> WindowLimit {
    WindowLimit { units, window: Duration::from_secs(seconds) }
}

impl Limits {
    /// The limits of a tenant with so many licences.
    pub fn for_licences(licences: u32) -> Self {
        let step = match licences {
            0..=1_000 => 1,
            1_001..=5_000 => 2,
            5_001..=15_000 => 3,
            15_001..=50_000 => 4,
            _ => 5,
        };
        let directory = match licences {
            0..50 => 3_500,
            50..=500 => 5_000,
            _ => 8_000,
        };
        Self {
            mailbox: per(10_000, 600),
            mailbox_concurrent: 4,
            mailbox_upload_kib: per(150 * 1024, 300),
            files_minute: per(1_250 * step, 60),
            files_day: per(1_200_000 * step, 24 * 3600),
            files_concurrent: 16,
            downloads_concurrent: 16,
            directory: per(directory, 10),
            directory_concurrent: 8,
            teams: TeamsLimits {
                team: per(30, 1),
                channels: per(60, 1),
                message: per(20, 1),
                export: per(200, 1),
                other: per(30, 1),
                one: per(4, 1),
            },
            teams_concurrent: 16,
            planner: per(20, 1),
            planner_concurrent: 4,
            share: 0.98,
        }
    }

    /// The same limits with every window shorter by this factor, for simulated tenants.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let teams = &mut self.teams;
        for limit in [
            &mut self.mailbox,
            &mut self.mailbox_upload_kib,
            &mut self.files_minute,
            &mut self.files_day,
            &mut self.directory,
            &mut teams.team,
            &mut teams.channels,
            &mut teams.message,
            &mut teams.export,
            &mut teams.other,
            &mut teams.one,
            &mut self.planner,
        ] {
            limit.window = limit.window.div_f64(factor.max(1e-6)).max(Duration::from_millis(1));
        }
        self
    }
}

impl Default for Limits {
    /// The limits of the smallest tenants: safe everywhere.
    fn default() -> Self {
        Self::for_licences(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_licence_table() {
        for (licences, minute, day) in [
            (1_000, 1_250, 1_200_000),
            (1_001, 2_500, 2_400_000),
            (15_000, 3_750, 3_600_000),
            (15_001, 5_000, 4_800_000),
            (50_001, 6_250, 6_000_000),
        ] {
            let limits = Limits::for_licences(licences);
            assert_eq!((limits.files_minute.units, limits.files_day.units), (minute, day), "{licences}");
        }
    }

    #[test]
    fn scaling_shortens_windows_only() {
        let limits = Limits::default().scaled(10.0);
        assert_eq!(limits.mailbox, WindowLimit { units: 10_000, window: Duration::from_secs(60) });
        assert_eq!(limits.mailbox_concurrent, 4);
    }
}
