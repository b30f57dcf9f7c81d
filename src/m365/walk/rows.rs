//! The rows of a list, page by page: by delta where the service knows it, else plainly.

use std::collections::VecDeque;

use serde_json::Value;

use super::{Walk, id_of};
use crate::error::{Error, Result};
use crate::graph::{Client, DeltaPages, GraphRequest, Page};
use crate::m365::contents::{Trouble, is_over_quota, trouble};
use crate::m365::facts::{IdKey, at};

/// What a row tells.
pub(in crate::m365) enum Row {
    /// An item is there, as this JSON says.
    There(Value),
    /// An item is gone.
    Gone(String),
}

/// The rows of a list. To be read to their end, then [`Rows::close`]d.
pub(in crate::m365) struct Rows {
    client: Client,
    /// The name of its cursor; empty: it has none.
    name: String,
    start: GraphRequest,
    pages: Pages,
    waiting: VecDeque<Value>,
    /// It began from a saved link: what is not told is as it was.
    incremental: bool,
    /// What was told since the round began.
    told: Vec<String>,
    restarts: u32,
    /// Where a link is no longer honoured, the one that the service gives instead is not taken.
    own_start: bool,
    /// An enumeration that is broken off may be gone on with: see [`Rows::resumable`].
    resumable: bool,
    /// It began at the page at which an earlier reading was broken off.
    resumed: bool,
}

/// What the link of a page begins with among cursors.
pub(super) const PAGE: &str = "page:";

/// The pages of a plain list from a link on.
fn plain(link: &str) -> Pages {
    Pages::Plain { next: Some(link.to_owned()), followed: Default::default(), together: false }
}

enum Pages {
    Delta(Box<DeltaPages>),
    Plain { next: Option<String>, followed: std::collections::HashSet<IdKey>, together: bool },
}

impl Rows {
    /// Reads by delta, from where the last reading ended under this name.
    pub(in crate::m365) fn delta(walk: &Walk<'_>, client: &Client, name: &str, start: GraphRequest) -> Self {
        let saved = walk.before.get(name).filter(|link| !link.is_empty() && !link.starts_with(PAGE));
        let pages = Pages::Delta(Box::new(client.delta(start.clone(), saved)));
        Self { incremental: saved.is_some(), ..Self::new(client, name, start, pages) }
    }

    /// Begins anew, where it must, as it began at first: the link that the service gives instead lacks what was expanded.
    pub(in crate::m365) fn starting_anew_itself(mut self) -> Self {
        self.own_start = true;
        self
    }

    /// Reads all pages of a list that knows no delta.
    pub(in crate::m365) fn list(client: &Client, start: GraphRequest) -> Self {
        let pages = plain(&start.url);
        Self::new(client, "", start, pages)
    }

    /// Asks for the first page in one round trip with what others ask at the same time: for lists whose first page is short.
    pub(in crate::m365) fn together(mut self) -> Self {
        self.pages = match self.pages {
            Pages::Delta(pages) => Pages::Delta(Box::new(pages.together())),
            Pages::Plain { next, followed, .. } => Pages::Plain { next, followed, together: true },
        };
        self
    }

    fn new(client: &Client, name: &str, start: GraphRequest, pages: Pages) -> Self {
        Self {
            client: client.clone(),
            name: name.to_owned(),
            start,
            pages,
            waiting: VecDeque::new(),
            incremental: false,
            told: Vec::new(),
            restarts: 0,
            own_start: false,
            resumable: false,
            resumed: false,
        }
    }

    /// Goes on with an enumeration of what lies below `parent` that an earlier reading was broken off in, and lets later ones do
    /// so. Only for lists of which no other list's reading depends: what is not told again is not listed anew.
    ///
    /// One that begins anew can be gone on with only where nothing is known that an earlier enumeration told: of what vanished
    /// since, no page of this one says so. Its fields may have changed, and its cursor's name with them.
    ///
    /// # Errors
    /// As reading what is known.
    pub(in crate::m365) async fn resumable(mut self, walk: &Walk<'_>, parent: &str) -> Result<Self> {
        if let Some(page) = walk.before.get(&self.name).and_then(|link| link.strip_prefix(PAGE)) {
            self.pages = Pages::Delta(Box::new(self.client.delta(self.start.clone(), Some(page))));
            (self.resumed, self.incremental) = (true, true);
        }
        self.resumable = self.incremental || walk.is_first() || walk.doubts_all_below(parent).await?;
        Ok(self)
    }

    /// Says whether only what changed is told.
    pub(in crate::m365) fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// Says whether all rows that came so far were given: then everything told must be taken before the next is asked for.
    pub(in crate::m365) fn is_page_end(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How often the reading began anew: what was told before is void then.
    pub(in crate::m365) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Gives the next row. Where a saved link is no longer honoured, begins anew, from the start.
    ///
    /// # Errors
    /// Graph's; a second loss of the link in one reading.
    pub(in crate::m365) async fn next(&mut self, walk: &mut Walk<'_>) -> Result<Option<Row>> {
        while self.waiting.is_empty() {
            self.checkpoint(walk).await?;
            match self.page().await {
                Ok(None) if self.resumed => self.follow_up(),
                Ok(Some(page)) => self.waiting = page.rows.values().collect::<Result<_>>()?,
                Ok(None) => return Ok(None),
                Err(error) => self.restart(walk, error)?,
            }
        }
        Ok(self.waiting.pop_front().map(|row| {
            let Some(id) = id_of(&row).map(str::to_owned) else { return Row::There(row) };
            // SharePoint marks what is deleted with a facet.
            let deleted = at(&row, &["deleted"]).is_some_and(Value::is_object);
            if deleted || at(&row, &["@removed"]).is_some() {
                return Row::Gone(id);
            }
            self.told.push(id);
            Row::There(row)
        }))
    }

    /// Says where to go on if the reading is broken off: everything told so far was taken.
    async fn checkpoint(&mut self, walk: &mut Walk<'_>) -> Result<()> {
        let Pages::Delta(pages) = &self.pages else { return Ok(()) };
        let enumerates = self.resumable && self.restarts == 0 && (self.resumed || !self.incremental);
        match pages.next_link().filter(|_| enumerates && !self.told.is_empty()) {
            Some(next) => walk.checkpoint(&self.name, format!("{PAGE}{next}")).await,
            None => Ok(()),
        }
    }

    /// After an enumeration with a pause in it: asks what changed meanwhile.
    fn follow_up(&mut self) {
        self.resumed = false;
        if let Pages::Delta(pages) = &self.pages
            && let Some(link) = pages.delta_link()
        {
            let pages = self.client.delta(self.start.clone(), Some(link));
            self.pages = Pages::Delta(Box::new(pages));
        }
    }

    async fn page(&mut self) -> Result<Option<Page>> {
        match &mut self.pages {
            Pages::Delta(pages) => pages.next().await,
            Pages::Plain { next, followed, together } => {
                let Some(link) = next.take() else { return Ok(None) };
                if !followed.insert(IdKey::of(&link)) {
                    return Err(Error::corrupt(format!("The pages of {} run in a circle", self.start.shown()))
                        .with_hint("A fault of the service; run again later"));
                }
                let request = self.start.with_url(link);
                let page = match std::mem::take(together) {
                    true => self.client.ask_page(request).await?,
                    false => self.client.get_page(request).await?,
                };
                next.clone_from(&page.next_link);
                Ok(Some(page))
            }
        }
    }

    /// Begins anew where that can help; else gives the error back.
    fn restart(&mut self, walk: &mut Walk<'_>, error: Error) -> Result<()> {
        let again = match trouble(&error) {
            Trouble::Resync { location } if self.restarts == 0 => location,
            // The page is known no more, whatever the service calls it.
            Trouble::Gap { .. } if self.resumed => None,
            _ => return Err(error),
        };
        self.restarts += 1;
        (walk.resynced, walk.restarted) = (true, true);
        for id in std::mem::take(&mut self.told) {
            walk.untell(&id);
        }
        let again = again.filter(|_| !self.own_start);
        let start = again.map_or_else(|| self.start.clone(), |link| self.start.with_url(link));
        (self.incremental, self.resumed) = (false, false);
        self.pages = match self.pages {
            Pages::Delta(_) => Pages::Delta(Box::new(self.client.delta(start, None))),
            Pages::Plain { .. } => plain(&start.url),
        };
        Ok(())
    }

    /// Ends the reading of what lies directly below `parent`: saves the link for next time, and, where only changes
    /// were told, says that the rest is as it was.
    pub(in crate::m365) fn close(self, walk: &mut Walk<'_>, parent: &str) {
        if let Pages::Delta(pages) = &self.pages {
            let link = pages.delta_link().unwrap_or_default();
            if self.resumable && !link.is_empty() {
                walk.finished.set(self.name.as_str(), link);
            }
            walk.cursors.set(self.name, link);
        }
        if self.incremental {
            walk.unchanged_below(parent);
        }
        walk.was_read(parent);
    }

    /// Says whether an error means that this list knows no delta now, and a plain one is to be tried: the mailbox is
    /// full.
    pub(in crate::m365) fn needs_plain_list(error: &Error) -> bool {
        is_over_quota(error)
    }
}
