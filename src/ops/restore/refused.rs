//! What is said where a restore cannot go, or an item does not go by itself.

use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ItemKind, Record};
use crate::graph::{Caller, Fate, fate, graph_error};
use crate::ops::access::scope_of;

/// Says what it means that a target does not open.
pub(super) fn explain(e: Error, name: &str) -> Error {
    match fate(&e) {
        Fate::Gone | Fate::NotProvisioned(_) => {
            Error::not_found(format!("The target {name} is not there: it has no mailbox, drive or site"))
                .with_source(e)
                .with_hint("Name another one with --to USER")
        }
        _ => e,
    }
}

/// Fails if whoever calls was not granted what writing takes; `grantee` says to whom that is to be granted.
pub(super) fn may_write(permission: &str, (granted, caller): (Option<&[String]>, Caller), grantee: &str) -> Result<()> {
    let Some(granted) = granted else { return Ok(()) };
    let enough: &[&str] = match permission {
        "Files.ReadWrite.All" => &["Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"],
        "Sites.Manage.All" => &["Sites.Manage.All", "Sites.FullControl.All"],
        "Sites.ReadWrite.All" => &["Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"],
        "Group.ReadWrite.All" => &["Group.ReadWrite.All", "Directory.ReadWrite.All"],
        other => &[other],
    };
    // A user's have other names.
    let by_user = caller != Caller::App;
    let has = |name: &&str| granted.iter().any(|have| have == name || (by_user && have == scope_of(name)));
    if enough.iter().any(has) {
        return Ok(());
    }
    let permission = if by_user { scope_of(permission) } else { permission };
    let text = format!("The app may not write here: it lacks {permission}");
    Err(Error::new(ErrorKind::Permission, text).with_hint(format!("Grant {permission} to {grantee}")))
}

/// Says whether a target that does not open would take the items, if it did not refuse: what Graph answers to a question is no
/// word on what has a way back.
pub(super) fn is_refused(e: &Error) -> bool {
    e.kind() != ErrorKind::InvalidInput || graph_error(e).is_some()
}

/// Says whether a failure is one place's: others may do.
pub(super) fn is_of_target(e: &Error) -> bool {
    // A connection that broke may stand again: the plan is to be made anew then.
    let is_refused = || e.kind() != ErrorKind::Unavailable && !matches!(fate(e), Fate::Fatal | Fate::Resync { .. });
    matches!(e.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound | ErrorKind::Permission | ErrorKind::StorageFull)
        || is_refused()
}

/// What is said of an item that is made with what holds it.
pub(super) fn is_part(record: &Record, holder: &Record, path: &str) -> Error {
    let (kind, of) = (record.kind.word(), holder.kind.word());
    let (text, hint) = match record.kind {
        ItemKind::Permission => {
            (format!("'{path}' is a permission of a {of}"), format!("Restore the {of} with --permissions"))
        }
        ItemKind::Version => (format!("'{path}' is a version of a {of}"), format!("Restore the {of} with --versions")),
        ItemKind::ChatMessage | ItemKind::Post => (
            format!("'{path}' is a part of a conversation"),
            "Restore the conversation: it comes back as a whole".to_owned(),
        ),
        _ => (format!("'{path}' is a part ({kind}) of a {of}"), format!("Restore the {of}: it comes with it")),
    };
    Error::invalid(text).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::GraphError;

    #[test]
    fn a_question_that_graph_does_not_take_is_refused_and_no_way_back_is_not() {
        let answered =
            |status| GraphError::parse(status, b"").into_error("GET drive").context("The files cannot be opened");
        assert!([400, 403, 404, 422].into_iter().all(|status| is_refused(&answered(status))));
        assert!(!is_refused(&Error::invalid("Chats cannot be restored into a group")));
    }

    #[test]
    fn a_user_writes_by_the_permissions_of_users_and_an_app_by_those_of_apps() {
        let may = |permission, granted: &str, caller| {
            let granted: Vec<String> = granted.split(' ').map(str::to_owned).collect();
            may_write(permission, (Some(&granted), caller), "Alice")
                .map_err(|e| format!("{e}. {}", e.hint().unwrap_or_default()))
        };
        for caller in [Caller::Work, Caller::Personal] {
            for (permission, scope) in
                [("Files.ReadWrite.All", "Files.ReadWrite"), ("Tasks.ReadWrite.All", "Tasks.ReadWrite")]
            {
                assert_eq!(may(permission, &format!("User.Read {scope}"), caller), Ok(()));
                assert_eq!(may(permission, permission, caller), Ok(()));
                let e = may(permission, "User.Read Files.Read", caller).unwrap_err();
                assert_eq!(e, format!("The app may not write here: it lacks {scope}. Grant {scope} to Alice"));
                assert!(may(permission, scope, Caller::App).unwrap_err().contains(permission));
            }
            assert_eq!(may("Files.ReadWrite.All", "Sites.ReadWrite.All", caller), Ok(()));
        }
        assert!(may_write("Mail.ReadWrite", (None, Caller::App), "").is_ok(), "the token does not tell");
    }

    #[test]
    fn what_comes_with_its_holder_is_called_what_it_is() {
        let of = |kind, holder| {
            let record = |kind| Record::new(kind, "1", "0", "x");
            let e = is_part(&record(kind), &record(holder), "a/x");
            format!("{e}. {}", e.hint().unwrap_or_default())
        };
        assert_eq!(
            of(ItemKind::Permission, ItemKind::File),
            "'a/x' is a permission of a file. Restore the file with --permissions"
        );
        assert_eq!(
            of(ItemKind::Version, ItemKind::File),
            "'a/x' is a version of a file. Restore the file with --versions"
        );
        assert!(of(ItemKind::ChatMessage, ItemKind::Chat).contains("conversation"));
        assert_eq!(
            of(ItemKind::Attachment, ItemKind::Message),
            "'a/x' is a part (attachment) of a message. Restore the message: it comes with it"
        );
    }
}
