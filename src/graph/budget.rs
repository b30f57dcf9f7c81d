//! Permits.
use super::limits::Limits;
use super::request::Scope;
use crate::monitor::Monitor;
use std::sync::Arc;
/// Hands out permits to send requests: one object per tenant, shared by all clients of it.
pub struct Budget {
    _limits: Limits,
}
impl Budget {
    /// Starts with unused budgets. `monitor` hears in words what is waited for.
    pub fn new(limits: Limits, _monitor: Arc<dyn Monitor>) -> Arc<Self> {
        Arc::new(Self { _limits: limits })
    }
    /// Gives a mailbox the name that waiting texts show in place of its id.
    pub fn name_mailbox(&self, _id: &str, _name: &str) {}
    /// Says in words what is waited for; empty if nothing is.
    pub fn waiting_text(&self) -> String {
        todo!()
    }
    /// Says whether a request of this scope would have to wait now.
    pub fn would_wait(&self, _scope: &Scope) -> bool {
        todo!()
    }
}
