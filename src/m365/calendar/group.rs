//! The calendar of a group, as a member sees it who signs in: no app is let at it.
//!
//! The list of events knows no delta and is read whole each time. It tells single events and masters of series; which
//! occurrences were changed, and what is attached, Graph does not give for a group.
//!
//! Source: Microsoft Graph, "List group events".

use async_trait::async_trait;

use super::api::{UTC, WHOLE_BODIES};
use super::model;
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope};
use crate::m365::door::{Owner, Workload};
use crate::m365::walk::{Row, Rows, Source, Walk, Walked};

/// The request for the events of a group.
pub(in crate::m365) fn events_request(group: &str, options: &str) -> GraphRequest {
    let url = format!("groups/{}/events?{options}", segment(group));
    let request = GraphRequest::get(Scope::Mailbox(group.to_owned()), url);
    request.prefer(IMMUTABLE_IDS).prefer(UTC).prefer(WHOLE_BODIES)
}

/// Names the calendar of a group.
pub(in crate::m365) fn group_calendar(client: Client, group: &str, name: &str) -> Walked<GroupCalendar> {
    let source = GroupCalendar { client: client.clone(), group: group.to_owned() };
    Walked::new(client, Owner::Group(group.to_owned()), name, Workload::Calendar, source)
}

/// The calendar of one group.
pub(in crate::m365) struct GroupCalendar {
    client: Client,
    group: String,
}

#[async_trait]
impl Source for GroupCalendar {
    async fn walk(&self, walk: &mut Walk<'_>) -> Result<()> {
        let mut rows = Rows::list(&self.client, events_request(&self.group, "$top=100"));
        while let Some(row) = rows.next(walk).await? {
            if let Row::There(row) = row
                && let Some(event) = model::event(row, "", 0)
            {
                walk.put(event).await?;
            }
        }
        rows.close(walk, "");
        Ok(())
    }
}
