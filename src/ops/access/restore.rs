//! The permissions that a restore needs. Nothing is written to try them: what stands in the token counts here.

use super::{Permission, State, can_have, scope_of};
use crate::error::Result;
use crate::graph::{Caller, Client};
use crate::snapshot::set::Workload;

const fn of(
    name: &'static str,
    contained_in: &'static [&'static str],
    purpose: &'static str,
    cost: &'static str,
    workload: Option<Workload>,
) -> Permission {
    Permission { name, contained_in, purpose, cost, workload }
}

/// The permissions, as application permissions of Microsoft Graph.
pub const RESTORE_PERMISSIONS: &[Permission] = &[
    of(
        "User.Read.All",
        &["User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"],
        "find who takes what is restored",
        "nothing can be restored to a user named by address",
        None,
    ),
    of("Mail.ReadWrite", &[], "write mail", "no mail can be restored", Some(Workload::Mail)),
    of(
        "Files.ReadWrite.All",
        &["Sites.ReadWrite.All", "Sites.FullControl.All"],
        "write OneDrive and libraries",
        "no files can be restored",
        Some(Workload::OneDrive),
    ),
    of("Calendars.ReadWrite", &[], "write calendars", "no calendars can be restored", Some(Workload::Calendar)),
    of("Contacts.ReadWrite", &[], "write contacts", "no contacts can be restored", Some(Workload::Contacts)),
    of(
        "Tasks.ReadWrite.All",
        &[],
        "write To Do and plans",
        "no tasks and no plans can be restored",
        Some(Workload::Tasks),
    ),
    of(
        "MailboxSettings.ReadWrite",
        &[],
        "write settings, rules and categories",
        "no settings of mailboxes can be restored",
        Some(Workload::Settings),
    ),
    of(
        "Sites.Manage.All",
        &["Sites.FullControl.All"],
        "write lists and pages",
        "no lists and no pages can be restored",
        Some(Workload::Sites),
    ),
    of("TermStore.ReadWrite.All", &[], "write the term store", "no terms can be restored", Some(Workload::Sites)),
    of(
        "Group.ReadWrite.All",
        &["Directory.ReadWrite.All"],
        "write what teams are made of",
        "no team can be restored",
        Some(Workload::Teams),
    ),
    of(
        "TeamMember.ReadWrite.All",
        &[],
        "write who is in a team",
        "members of teams are not restored",
        Some(Workload::Teams),
    ),
    of(
        "ChannelMember.ReadWrite.All",
        &[],
        "write who is in a private or shared channel",
        "members of channels are not restored",
        Some(Workload::Teams),
    ),
    of("TeamworkTag.ReadWrite.All", &[], "write tags of teams", "tags are not restored", Some(Workload::Teams)),
    of(
        IMPORT,
        &[],
        "bring posts back as posts, in channels that a restore makes",
        "what was written in channels comes back as pages alone, of those that are gone with --to",
        Some(Workload::Teams),
    ),
];

/// Lets an app import posts; of people it cannot be asked, and nothing fails without it.
pub(super) const IMPORT: &str = "Teamwork.Migrate.All";

impl Permission {
    /// Says whether everything can be restored without it, if in another form.
    pub fn is_optional(&self) -> bool {
        self.name == IMPORT
    }
}

/// Says which of them the app has.
///
/// # Errors
/// The sign-in's.
pub async fn look_restore(client: &Client) -> Result<Vec<(Permission, State)>> {
    let granted = client.sign_in().await?;
    let state = |permission: &Permission| match &granted {
        None => State::Unknown,
        Some(granted) => {
            // A user's have other names.
            let by_user = client.caller() != Caller::App;
            let has = |name: &str| granted.iter().any(|have| have == name || (by_user && have == scope_of(name)));
            match has(permission.name) || permission.contained_in.iter().any(|name| has(name)) {
                true => State::Granted,
                false => State::Missing,
            }
        }
    };
    let by_app = client.caller() == Caller::App;
    let can = |permission: &&Permission| {
        let has_any = permission.workload.is_none_or(|workload| can_have(client.caller(), workload));
        has_any && (by_app || permission.name != IMPORT)
    };
    Ok(RESTORE_PERMISSIONS.iter().filter(can).map(|permission| (*permission, state(permission))).collect())
}
