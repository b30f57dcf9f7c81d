//! What does not come back as it was, kind by kind: the table of `docs/restore.md` is made of this, and the round trips of the
//! tests hold every item to it.

use serde_json::Value;

/// Some properties of a kind of item that a restore cannot bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// The word of the kind in JSON, as [`crate::format::record::ItemKind::word`] gives it.
    pub kind: &'static str,
    /// The properties, in Graph's words; an inner one after a slash.
    pub properties: &'static [&'static str],
    /// Why, and what comes instead.
    pub why: &'static str,
}

const fn lost(kind: &'static str, properties: &'static [&'static str], why: &'static str) -> Lost {
    Lost { kind, properties, why }
}

/// What the service makes anew for whatever is made.
const SERVER: &str = "Microsoft gives new ones to whatever is made";
/// What says when something was made and changed.
const TIMES: &str = "Graph has no way to set them: they are those of the restore";

/// All of them.
pub const LOST: &[Lost] = &[
    lost("calendar_group", &["id", "changeKey"], SERVER),
    lost("calendar", &["id", "changeKey", "@odata.etag"], SERVER),
    lost("calendar", &["isTallyingResponses"], "Microsoft decides it for whatever is made"),
    lost("permission", &["*"], "whom a calendar is shared with: sharing sends mail"),
    lost("event", &["id", "changeKey", "@odata.etag", "iCalUId", "webLink", "seriesMasterId"], SERVER),
    lost("event", &["createdDateTime", "lastModifiedDateTime"], TIMES),
    lost("event", &["attendees"], "posting them invites them anew; they are noted at the end of the text"),
    lost("event", &["body/content", "bodyPreview"], "the note of the attendees; the preview follows from the text"),
    lost(
        "event",
        &["organizer", "isOrganizer", "responseStatus"],
        "whoever restores is the organizer: the mailbox's owner",
    ),
    lost("event", &["isCancelled", "isDraft"], "cannot be set; the subject still says \"Canceled\""),
    lost(
        "event",
        &["onlineMeeting", "onlineMeetingUrl", "isOnlineMeeting", "onlineMeetingProvider"],
        "setting them makes a new Teams meeting; the old link is still in the text",
    ),
    lost("event", &["transactionId"], "it carries the mark of the restore"),
    lost("event", &["location", "locations"], "what Microsoft adds to a place: its own ids"),
    lost("event", &["cancelledOccurrences"], "the ids in them; the dates are the same"),
    lost("attachment", &["id", "lastModifiedDateTime"], SERVER),
    lost(
        "attachment",
        &["@odata.type", "name", "contentType", "contentId"],
        "an attached item comes back as a file (.eml, .ics, .vcf); an attached link does not, as v1.0 makes none",
    ),
    lost("event", &["hasAttachments"], "false where all that was attached were links"),
    lost("attachment", &["size"], "Microsoft counts its own overhead"),
    lost("contact_folder", &["id", "parentFolderId"], SERVER),
    lost("contact", &["id", "parentFolderId", "changeKey", "@odata.etag"], SERVER),
    lost("contact", &["createdDateTime", "lastModifiedDateTime"], TIMES),
    lost("task_list", &["id", "@odata.etag"], SERVER),
    lost("task_list", &["isOwner", "isShared"], "sharing cannot be set: a shared list comes back as an own one"),
    lost("task", &["id", "@odata.etag"], SERVER),
    lost("task", &["createdDateTime", "lastModifiedDateTime", "bodyLastModifiedDateTime"], TIMES),
    lost(
        "task",
        &[
            "checklistItems/id",
            "checklistItems/createdDateTime",
            "checklistItems/checkedDateTime",
            "linkedResources/id",
        ],
        SERVER,
    ),
    lost("rule", &["id", "hasError", "isReadOnly"], SERVER),
    lost("category", &["id"], SERVER),
    lost("setting", &["id"], SERVER),
    lost("setting", &["archiveFolder", "userPurpose", "language/displayName"], "they follow from the mailbox"),
    lost("plan", &["id", "@odata.etag", "details/id", "details/@odata.etag", "createdBy", "createdDateTime"], SERVER),
    lost("bucket", &["id", "@odata.etag", "planId"], SERVER),
    lost("bucket", &["orderHint"], "the order is told in hints that only its own list understands"),
    lost(
        "task",
        &["planId", "bucketId", "createdBy", "details/id", "details/@odata.etag", "conversationThreadId"],
        SERVER,
    ),
    lost(
        "task",
        &["completedDateTime", "completedBy", "assignments/*/assignedDateTime", "assignments/*/assignedBy"],
        "Planner writes down when and by whom it happens, which is now and by the restore",
    ),
    lost(
        "task",
        &[
            "orderHint",
            "assigneePriority",
            "assignments/*/orderHint",
            "details/checklist/*/orderHint",
            "details/references/*/previewPriority",
        ],
        "the order is told in hints that only its own list understands",
    ),
    lost("channel", &["id", "createdDateTime", "webUrl", "email"], SERVER),
    lost("channel", &["migrationMode", "originalCreatedDateTime"], "they say that posts were imported"),
    lost(
        "tab",
        &["id", "webUrl", "teamsApp/externalId", "teamsApp/displayName", "teamsApp/distributionMethod"],
        SERVER,
    ),
    lost("member", &["id", "visibleHistoryStartDateTime"], SERVER),
    lost("tag", &["id", "teamId"], SERVER),
    lost("app", &["*"], "apps are not installed: a team's owner does that"),
    lost("page", &["id", "eTag", "@odata.etag", "webUrl", "parentReference", "publishingState/versionId"], SERVER),
    lost("page", &["createdDateTime", "lastModifiedDateTime", "createdBy", "lastModifiedBy"], TIMES),
    lost(
        "page",
        &["canvasLayout"],
        "web parts of kinds that Graph does not make are left out; text and fourteen kinds come back",
    ),
    lost("page", &["reactions"], "likes and comments are no part of what Graph makes"),
    lost("list", &["id", "name", "@odata.etag", "eTag", "webUrl", "parentReference", "sharepointIds"], SERVER),
    lost("list", &["createdDateTime", "lastModifiedDateTime", "createdBy", "lastModifiedBy"], TIMES),
    lost("column", &["id"], SERVER),
    lost("content_type", &["id"], SERVER),
    lost("content_type", &["columns", "columnLinks"], "columns that were added to a type are named, not added"),
    lost(
        "list_item",
        &["id", "@odata.etag", "eTag", "webUrl", "parentReference", "sharepointIds", "fields/id", "fields/@odata.etag"],
        SERVER,
    ),
    lost(
        "list_item",
        &[
            "createdDateTime",
            "lastModifiedDateTime",
            "createdBy",
            "lastModifiedBy",
            "fields/Created",
            "fields/Modified",
            "fields/Author",
            "fields/AuthorLookupId",
            "fields/Editor",
            "fields/EditorLookupId",
        ],
        TIMES,
    ),
    lost(
        "list_item",
        &["fields/_UIVersionString", "fields/Attachments"],
        "earlier versions and attachments of items do not come back",
    ),
    lost("term_group", &["id", "createdDateTime"], SERVER),
    lost("term_set", &["id", "createdDateTime"], SERVER),
    lost(
        "term",
        &["id", "createdDateTime", "lastModifiedDateTime"],
        "Microsoft gives new ones to whatever is made; a term that was used again comes back as one of its own",
    ),
];

/// The properties of a kind that a restore cannot bring back.
pub fn lost_of(kind: &str) -> Vec<&'static str> {
    LOST.iter().filter(|lost| lost.kind == kind).flat_map(|lost| lost.properties.iter().copied()).collect()
}

/// Takes out of the JSON of a kind what a restore cannot bring back; what is left is the same before and after. Keys come in order.
pub fn take_lost(kind: &str, value: &mut Value) {
    lost_of(kind).into_iter().for_each(|property| take(value, property));
    sort(value);
}

/// Takes a property away, an inner one after a slash; of lists, of every entry.
fn take(value: &mut Value, property: &str) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| take(one, property)),
        Value::Object(map) => match property.split_once('/') {
            Some(("*", inner)) => map.values_mut().for_each(|value| take(value, inner)),
            Some((outer, inner)) => drop(map.get_mut(outer).map(|value| take(value, inner))),
            None => drop(map.shift_remove(property)),
        },
        _ => {}
    }
}

/// Puts the keys of objects in order: their order says nothing.
fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.sort_keys();
            map.values_mut().for_each(sort);
        }
        Value::Array(all) => all.iter_mut().for_each(sort),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::ItemKind;

    /// The row of the table in the documentation.
    fn row(lost: &Lost) -> String {
        let properties: Vec<String> = lost.properties.iter().map(|property| format!("`{property}`")).collect();
        format!("| {} | {} | {} |", lost.kind, properties.join(", "), lost.why)
    }

    #[test]
    fn the_documentation_lists_exactly_what_is_lost() {
        let text = include_str!("../../../docs/restore.md");
        let written: Vec<&str> = text
            .lines()
            .filter(|line| line.strip_prefix("| ").and_then(|rest| ItemKind::of(rest.split(' ').next()?)).is_some())
            .collect();
        let wanted: Vec<String> = LOST.iter().map(row).collect();
        assert_eq!(written, wanted);
    }
}
