//! The general delta loop: page after page to the delta link that is saved for next time.
//!
//! Links are followed verbatim. The delta link is to be saved only when every item of the round is safe.
//! Source: Microsoft, "Use delta query to track changes in Microsoft Graph data".

use std::collections::HashSet;

use super::client::Client;
use super::page::Page;
use super::request::{GraphRequest, Scope};
use crate::error::{Error, ErrorKind, Result};

/// The pages of one delta round.
pub struct DeltaPages {
    client: Client,
    next: Option<GraphRequest>,
    seen: Seen,
    saved: bool,
    together: bool,
    delta_link: Option<String>,
}

impl DeltaPages {
    pub(crate) fn new(client: Client, start: GraphRequest, saved: Option<&str>) -> Self {
        let next = match saved {
            Some(link) => follow(&start, link.to_owned()),
            None => start,
        };
        Self {
            client,
            next: Some(next),
            seen: Seen::default(),
            saved: saved.is_some(),
            together: false,
            delta_link: None,
        }
    }

    /// Asks for the first page in one round trip with what others ask at the same time: see [`Client::ask_page`].
    #[must_use]
    pub fn together(mut self) -> Self {
        self.together = true;
        self
    }

    /// Gives the next page; `None` after the page that held the delta link.
    ///
    /// [`ErrorKind::ResyncRequired`] if the saved link is no longer honoured, or belongs to another Graph address:
    /// start again without it and compare by id. [`ErrorKind::Corrupt`] if the links run in a circle. After an
    /// error of kind [`ErrorKind::Unavailable`] the same page may be asked for again.
    pub async fn next(&mut self) -> Result<Option<Page>> {
        let Some(request) = self.next.take() else { return Ok(None) };
        let saved = std::mem::take(&mut self.saved);
        if let (true, Err(e)) = (saved, self.client.transport.graph_url(&request.url)) {
            let text = "The saved delta link belongs to another Graph address";
            return Err(Error::new(ErrorKind::ResyncRequired, text).with_source(e));
        }
        let page = match std::mem::take(&mut self.together) {
            true => self.client.ask_page(request.clone()).await,
            false => self.client.get_page(request.clone()).await,
        };
        let page = match page {
            Ok(page) => page,
            Err(e) => {
                if e.is_retryable() {
                    self.next = Some(request);
                }
                return Err(e);
            }
        };
        self.seen.check(&request.url)?;
        match (&page.delta_link, &page.next_link) {
            (Some(link), _) => self.delta_link = Some(link.clone()),
            (None, Some(link)) => self.next = Some(follow(&request, link.clone())),
            (None, None) => {
                return Err(Error::corrupt(format!("The changes of {} end without a delta link", request.shown())));
            }
        }
        Ok(Some(page))
    }

    /// The link of the page that comes next: where to go on if the round breaks off here. It lives shorter than a delta
    /// link.
    pub fn next_link(&self) -> Option<&str> {
        self.next.as_ref().map(|request| request.url.as_str())
    }

    /// The link to save, once the last page was read.
    pub fn delta_link(&self) -> Option<&str> {
        self.delta_link.as_deref()
    }
}

/// With a token a delta request on files costs one unit instead of two.
fn follow(request: &GraphRequest, link: String) -> GraphRequest {
    let mut next = request.with_url(link);
    if next.scope == Scope::Files && next.units == 2 {
        next.units = 1;
    }
    next
}

/// The links of one round, to find out when they run in a circle. Keeps hashes: links are long.
#[derive(Default)]
pub(crate) struct Seen(HashSet<[u8; 32]>);

impl Seen {
    pub(crate) fn check(&mut self, link: &str) -> Result<()> {
        if self.0.insert(*blake3::hash(link.as_bytes()).as_bytes()) {
            return Ok(());
        }
        Err(Error::corrupt(format!("The pages of {} run in a circle", super::links::shown(link)))
            .with_hint("A fault of the service; run again later"))
    }
}
