//! The general delta loop.
use super::client::Client;
use super::request::Page;
use crate::error::Result;
/// The pages of one delta round.
pub struct DeltaPages {
    _client: Client,
}
impl DeltaPages {
    /// Gives the next page; `None` after the page that held the delta link.
    pub async fn next(&mut self) -> Result<Option<Page>> {
        todo!()
    }
    /// The link to save, once the last page was read.
    pub fn delta_link(&self) -> Option<&str> {
        todo!()
    }
}
