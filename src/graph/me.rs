//! Who calls: an app, or a user. What is the user's own is asked for by the name `me`.

use std::borrow::Cow;
use std::sync::OnceLock;

use super::links::segment;
use super::user::Account;

/// Who is signed in by a client's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// An app, by itself: it reads what was granted to it, of everybody.
    App,
    /// A user of a tenant: what the user may see, as far as the app was granted it.
    Work,
    /// A personal account: itself alone.
    Personal,
}

/// What is known of the caller.
#[derive(Debug)]
pub(crate) struct Me {
    pub(crate) caller: Caller,
    pub(crate) account: OnceLock<Account>,
}

impl Me {
    pub(crate) fn new(caller: Caller) -> Self {
        Self { caller, account: OnceLock::new() }
    }

    /// Puts `me` in the place of `users/ID` at the beginning of a relative URL, if that is who is signed in.
    pub(crate) fn own<'a>(&self, url: &'a str) -> Cow<'a, str> {
        let mine = self.account.get().and_then(|account| {
            let rest = url.strip_prefix("users/")?.strip_prefix(segment(&account.id).as_str())?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
        });
        mine.map_or(Cow::Borrowed(url), |rest| Cow::Owned(format!("me{rest}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_users_own_is_asked_for_by_me() {
        let me = Me::new(Caller::Personal);
        assert_eq!(me.own("users/a+b/drive"), "users/a+b/drive");
        me.account.get_or_init(|| Account { id: "a+b".into(), name: "alice@example.com".into() });
        for (url, asked) in [
            ("users/a%2Bb/mailFolders/delta?$top=1", "me/mailFolders/delta?$top=1"),
            ("users/a%2Bb?$select=id", "me?$select=id"),
            ("users/a%2Bb", "me"),
            ("users/a%2Bbc/drive", "users/a%2Bbc/drive"),
            ("users?$top=1", "users?$top=1"),
            ("drives/a%2Bb", "drives/a%2Bb"),
        ] {
            assert_eq!(me.own(url), asked);
        }
    }
}
