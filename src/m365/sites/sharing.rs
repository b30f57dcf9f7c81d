//! Whether lists tell who may use them. Not every cloud knows the question, and not every app may put it: so discovery asks a
//! few lists, and where none of them answers, no list is asked, which is said once.
//!
//! Source: Microsoft Graph, "List permissions".

use std::sync::Arc;

use tokio::sync::Mutex;

use super::list::PERMISSIONS;
use super::of_site;
use crate::error::Result;
use crate::graph::links::segment;
use crate::graph::{Client, Fate, fate, graph_error};

/// So many lists are asked, of as many sites: one alone may be gone by now, or refuse what others tell.
const LISTS: usize = 3;

/// Whether the lists of one discovery tell who may use them.
#[derive(Clone, Default)]
pub(in crate::m365) struct ListSharing(Arc<Mutex<Answers>>);

/// What the lists answered that were asked.
#[derive(Default)]
struct Answers {
    asked: usize,
    /// Why those refuse that do.
    refused: Vec<String>,
}

impl ListSharing {
    /// Asks a list of a site, unless enough were asked.
    ///
    /// # Errors
    /// What is no matter of one list: the sign-in, the network.
    pub(in crate::m365) async fn look(&self, client: &Client, site: &str, list: Option<&str>) -> Result<()> {
        let Some(list) = list else { return Ok(()) };
        let mut answers = self.0.lock().await;
        if answers.asked >= LISTS {
            return Ok(());
        }
        answers.asked += 1;
        let request = of_site(site, &format!("lists/{}/{PERMISSIONS}", segment(list))).units(5);
        let Err(error) = client.ask(request).await else {
            // One that tells is enough.
            answers.asked = LISTS;
            return Ok(());
        };
        let status = graph_error(&error).map_or(0, |answer| answer.status);
        let why = match fate(&error) {
            Fate::Denied(why) => why,
            Fate::Gap(why) if matches!(status, 405 | 501) => why,
            Fate::Gone => "not found".to_owned(),
            Fate::Fatal if status == 400 => "not known here".to_owned(),
            Fate::Fatal if matches!(status, 0 | 401) => return Err(error.context("Asking who may use a list failed")),
            // A matter of that list.
            _ => return Ok(()),
        };
        answers.refused.push(why);
        Ok(())
    }

    /// Says why lists do not tell, if they do not.
    pub(in crate::m365) async fn refused(&self) -> Option<String> {
        let answers = self.0.lock().await;
        answers.refused.last().filter(|_| answers.refused.len() >= LISTS).cloned()
    }
}
