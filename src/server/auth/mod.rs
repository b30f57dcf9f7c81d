//! Who asks, and what they may do.

mod password;
mod person;
mod role;
mod session;
mod sign_in;
mod throttle;
mod token;
mod totp;

pub(crate) use password::Password;
pub(crate) use person::{Invitation, NewPerson, Person};
pub(crate) use role::{Right, Role};
pub(crate) use session::SESSION_LASTS_US;
pub(crate) use sign_in::{Attempt, SignIn};
pub(crate) use throttle::place_of;
#[cfg(test)]
pub(crate) use totp::code_at;
pub(crate) use totp::{new_secret, to_scan};

use crate::crypto::random_bytes;
use crate::server::id::{Id, hex};

/// What somebody comes by in a session.
pub(crate) fn way_of_session(session: &Id) -> String {
    format!("session {session}")
}

/// What a program comes by with a token.
pub(crate) fn way_of_token(token: &Id) -> String {
    format!("token {token}")
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    /// The person.
    pub(crate) person: Id,
    /// Their login.
    pub(crate) login: String,
    /// What they may do.
    pub(crate) role: Role,
    /// The account that they belong to; an administrator of the server belongs to none.
    pub(crate) account: Option<Id>,
    /// The session, if they came by one; else it was an API token.
    pub(crate) session: Option<Id>,
    /// What they came by, among all sessions and tokens: what is unlocked is unlocked for that alone.
    pub(crate) way: String,
    /// Where the request came from.
    pub(crate) address: String,
}

impl Actor {
    /// Says whether the actor may do something in an account, or, without one, with the server.
    pub(crate) fn may(&self, right: Right, account: Option<&Id>) -> bool {
        let inside = match (&self.account, account) {
            (None, _) => true,
            (Some(own), Some(asked)) => own == asked,
            (Some(_), None) => right == Right::SignedIn,
        };
        inside && self.role.has(right)
    }
}

/// A token that nobody can guess: 256 random bits.
pub(crate) fn random_token() -> String {
    hex(&random_bytes::<32>())
}
