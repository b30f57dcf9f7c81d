//! The delegated permissions: what a user consents to, where an app is granted the application permissions.
//!
//! Source: Microsoft, "Microsoft Graph permissions reference": most have one name for both.

use super::restore::IMPORT;
use super::{PERMISSIONS, Permission, RESTORE_PERMISSIONS, can_have};
use crate::graph::Caller;
use crate::snapshot::set::Workload;

/// Those whose names differ: of an app, of a user.
const OTHER_NAMES: &[(&str, &str)] = &[
    // Of users it is only asked who they are.
    ("User.Read.All", "User.Read"),
    ("Files.Read.All", "Files.Read"),
    ("Files.ReadWrite.All", "Files.ReadWrite"),
    ("Tasks.Read.All", "Tasks.Read"),
    ("Tasks.ReadWrite.All", "Tasks.ReadWrite"),
    ("Chat.Read.All", "Chat.Read"),
    ("Chat.ReadWrite.All", "Chat.ReadWrite"),
    ("ChatMember.Read.All", "ChatMember.Read"),
    ("TeamsAppInstallation.ReadForTeam.All", "TeamsAppInstallation.ReadForTeam"),
    ("TeamworkTag.Read.All", "TeamworkTag.Read"),
];

/// What lets an administrator list the other users.
pub const DIRECTORY: &str = "User.Read.All";

/// The delegated permission that stands for an application permission.
pub fn scope_of(permission: &str) -> &str {
    OTHER_NAMES.iter().find(|(app, _)| *app == permission).map_or(permission, |(_, user)| user)
}

/// What a user is asked to consent to, for these workloads.
pub fn scopes(workloads: &[Workload], caller: Caller) -> Vec<String> {
    let needed = PERMISSIONS.iter().filter(|permission| {
        permission.workload.is_none_or(|workload| workloads.contains(&workload) && can_have(caller, workload))
    });
    let mut scopes: Vec<String> = Vec::new();
    for permission in needed {
        let scope = scope_of(permission.name);
        if !scopes.iter().any(|there| there == scope) {
            scopes.push(scope.to_owned());
        }
    }
    scopes
}

/// What a user is asked to consent to beside, so that these workloads can be restored.
pub fn restore_scopes(workloads: &[Workload], caller: Caller) -> Vec<String> {
    let of_these = |permission: &&Permission| {
        let is_of = |workload| workloads.contains(&workload) && can_have(caller, workload);
        permission.name != IMPORT && permission.workload.is_some_and(is_of)
    };
    RESTORE_PERMISSIONS.iter().filter(of_these).map(|permission| scope_of(permission.name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_follow_from_the_workloads() {
        let of = |workloads: &[Workload], caller| scopes(workloads, caller).join(" ");
        assert_eq!(of(&[Workload::Mail, Workload::OneDrive], Caller::Work), "User.Read Mail.Read Files.Read");
        assert_eq!(of(&[Workload::Contacts], Caller::Personal), "User.Read Contacts.Read");
        assert_eq!(of(&[Workload::Sites, Workload::Teams], Caller::Personal), "User.Read");
    }

    #[test]
    fn to_restore_is_asked_of_a_user_only_for_what_the_user_has() {
        let of = |workloads: &[Workload], caller| restore_scopes(workloads, caller).join(" ");
        assert_eq!(of(&[Workload::Mail, Workload::OneDrive], Caller::Work), "Mail.ReadWrite Files.ReadWrite");
        assert_eq!(of(&[Workload::Tasks, Workload::Teams], Caller::Personal), "Tasks.ReadWrite");
        let teams = of(&[Workload::Teams], Caller::Work);
        assert!(teams.contains("TeamMember.ReadWrite.All") && !teams.contains(IMPORT), "{teams}");
    }

    #[test]
    fn no_permission_of_apps_alone_is_asked_of_a_user() {
        for scope in scopes(Workload::ALL, Caller::Work) {
            assert!(!OTHER_NAMES.iter().any(|(app, _)| *app == scope), "{scope}");
        }
    }
}
