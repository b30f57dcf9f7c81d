//! The requests of calendars. Times come in UTC, bodies as they are stored, ids stay when an event moves.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::events::Way;
use crate::error::{Error, Result};
use crate::graph::links::segment;
use crate::graph::{Client, GraphRequest, IMMUTABLE_IDS, Scope, graph_error};
use crate::m365::walk::{Rows, Walk, unfold};

pub(super) const UTC: &str = "outlook.timezone=\"UTC\"";
pub(super) const WHOLE_BODIES: &str = "outlook.allow-unsafe-html";
const PAGE: &str = "odata.maxpagesize=250";
const SMALL_PAGE: &str = "odata.maxpagesize=10";
/// All properties of an event: those that are told of a series only when they are named bring the others' names with them.
const SERIES: &str = "$select=id,createdDateTime,lastModifiedDateTime,changeKey,categories,transactionId,\
    originalStartTimeZone,originalEndTimeZone,iCalUId,reminderMinutesBeforeStart,isReminderOn,hasAttachments,subject,\
    bodyPreview,importance,sensitivity,isAllDay,isCancelled,isOrganizer,isDraft,responseRequested,seriesMasterId,showAs,\
    type,webLink,onlineMeetingUrl,isOnlineMeeting,onlineMeetingProvider,allowNewTimeProposals,hideAttendees,\
    originalStart,recurrence,responseStatus,body,start,end,location,locations,attendees,organizer,onlineMeeting,\
    cancelledOccurrences,exceptionOccurrences&$expand=exceptionOccurrences";
/// All of an attachment but its bytes.
const ATTACHMENTS: &str = "$select=id,name,size,contentType,isInline,lastModifiedDateTime,\
    microsoft.graph.fileAttachment/contentId&$top=100";

/// One mailbox, as Graph shows it.
pub(super) struct Api {
    client: Client,
    user: String,
    /// v1.0 does not tell of exceptions here.
    series_in_beta: AtomicBool,
}

/// Says whether an error means that this version of Graph does not know what was asked for.
pub(super) fn is_unknown_here(error: &Error) -> bool {
    graph_error(error).is_some_and(|answer| matches!(answer.status, 400 | 405 | 501))
}

impl Api {
    pub(super) fn new(client: Client, user: &str) -> Self {
        Self { client, user: user.to_owned(), series_in_beta: AtomicBool::new(false) }
    }

    fn get(&self, url: &str) -> GraphRequest {
        self.get_in("", url)
    }

    fn get_in(&self, version: &str, url: &str) -> GraphRequest {
        let url = format!("{version}users/{}/{url}", segment(&self.user));
        GraphRequest::get(Scope::Mailbox(self.user.clone()), url).prefer(IMMUTABLE_IDS)
    }

    fn of_events(request: GraphRequest) -> GraphRequest {
        request.prefer(UTC).prefer(WHOLE_BODIES)
    }

    pub(super) async fn calendars(&self) -> Result<Vec<Value>> {
        self.client.ask_all(self.get("calendars?$top=250")).await
    }

    pub(super) async fn groups(&self) -> Result<Vec<Value>> {
        self.client.ask_all(self.get("calendarGroups?$top=250")).await
    }

    pub(super) async fn calendars_in(&self, group: &str) -> Result<Vec<Value>> {
        let url = format!("calendarGroups/{}/calendars?$select=id&$top=250", segment(group));
        self.client.ask_all(self.get(&url)).await
    }

    pub(super) async fn permissions(&self, calendar: &str) -> Result<Vec<Value>> {
        let url = format!("calendars/{}/calendarPermissions?$top=250", segment(calendar));
        self.client.ask_all(self.get(&url)).await
    }

    /// The events of a calendar, or what changed of them since the link that is saved under `name`.
    pub(super) fn events(&self, walk: &Walk<'_>, way: Way, name: &str, calendar: &str) -> Rows {
        let calendar = segment(calendar);
        if way == Way::Plain {
            let url = format!("calendars/{calendar}/events?$top=100");
            return Rows::list(&self.client, Self::of_events(self.get(&url)));
        }
        let version = if way == Way::Beta { "/beta/" } else { "" };
        let start = Self::of_events(self.get_in(version, &format!("calendars/{calendar}/events/delta")));
        let start = start.prefer(if way == Way::SmallPages { SMALL_PAGE } else { PAGE });
        Rows::delta(walk, &self.client, name, start)
    }

    pub(super) async fn event(&self, id: &str) -> Result<Value> {
        self.client.get_json(Self::of_events(self.get(&format!("events/{}", segment(id))))).await
    }

    /// The master of a series, with its exceptions and cancelled occurrences.
    pub(super) async fn series(&self, id: &str) -> Result<Value> {
        let mut series = self.first_of_series(id).await?;
        unfold(&self.client, &Self::of_events(self.get("events")), &mut series).await?;
        Ok(series)
    }

    /// The same with the first page of its exceptions.
    async fn first_of_series(&self, id: &str) -> Result<Value> {
        let url = format!("events/{}?{SERIES}", segment(id));
        if !self.series_in_beta.load(Ordering::Relaxed) {
            match self.client.get_json(Self::of_events(self.get(&url))).await {
                Err(error) if is_unknown_here(&error) => self.series_in_beta.store(true, Ordering::Relaxed),
                answer => return answer,
            }
        }
        self.client.get_json(Self::of_events(self.get_in("/beta/", &url))).await
    }

    pub(super) async fn attachments(&self, event: &str) -> Result<Vec<Value>> {
        self.client.get_all(self.get(&format!("events/{}/attachments?{ATTACHMENTS}", segment(event)))).await
    }

    pub(super) fn contents(&self, event: &str, attachment: &str) -> GraphRequest {
        self.get(&format!("events/{}/attachments/{}/$value", segment(event), segment(attachment)))
    }
}
