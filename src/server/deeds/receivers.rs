//! Where reports and notices go; and the server's mail settings.

use std::fmt;

use serde::Deserialize;
use serde_json::json;
use url::Url;
use utoipa::ToSchema;

use super::note;
use crate::error::{Error, ErrorKind, Result};
use crate::server::audit::Deed;
use crate::server::auth::{Actor, Password, random_token};
use crate::server::db::{
    NewDelivery, NewReceiver, Receiver, ReceiverDefinition, ReceiverKind, ReceiverSecret, RunsTold,
};
use crate::server::id::Id;
use crate::server::notices::{self, MailSettings, Notice};
use crate::server::state::Server;
use crate::server::targets;

/// Receivers of one account.
const MOST_RECEIVERS: usize = 50;
/// Addresses of one receiver.
const MOST_ADDRESSES: usize = 20;
/// The longest beat of a ping: a week.
const LONGEST_BEAT_MINUTES: u32 = 7 * 24 * 60;
/// The shortest key that posts may be signed with.
const SHORTEST_KEY: usize = 16;

/// A receiver as it is to be.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiverToBe {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// What it is told of.
    pub(crate) definition: ReceiverDefinition,
    /// The address that is called. Left out: the one that is there stays.
    #[serde(default)]
    pub(crate) url: Option<Password>,
    /// What posts are signed with, at least 16 characters. Left out: the one that is there stays; where there is none, one is
    /// made.
    #[serde(default)]
    pub(crate) key: Option<Password>,
}

impl fmt::Debug for ReceiverToBe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReceiverToBe({:?})", self.name)
    }
}

async fn check(server: &Server, account: &Id, wanted: &ReceiverToBe) -> Result<()> {
    let definition = &wanted.definition;
    if let Some(set) = &definition.set {
        server.db.backup_set(account, set).await?;
    }
    notices::first_due(definition, server.now_us())?;
    let too_much =
        |what: &str| Error::invalid(format!("A receiver of kind {} takes no {what}", definition.kind.word()));
    if definition.kind == ReceiverKind::Mail {
        if definition.to.is_empty() || definition.to.len() > MOST_ADDRESSES {
            return Err(Error::invalid(format!("Mail needs 1 to {MOST_ADDRESSES} addresses")));
        }
        for to in &definition.to {
            notices::address(to)?;
        }
        if wanted.url.is_some() || wanted.key.is_some() {
            return Err(too_much("web address and no key"));
        }
    } else if !definition.to.is_empty() {
        return Err(too_much("mail addresses"));
    }
    if definition.kind == ReceiverKind::Ping {
        if definition.runs != RunsTold::None || definition.warnings || definition.digest.is_some() {
            return Err(too_much("reports: it is called while all goes well"));
        }
        if wanted.key.is_some() {
            return Err(too_much("key"));
        }
    } else if definition.beat_minutes.is_some() {
        return Err(too_much("beat"));
    }
    if definition.beat_minutes.is_some_and(|minutes| !(1..=LONGEST_BEAT_MINUTES).contains(&minutes)) {
        return Err(Error::invalid(format!("A ping comes every 1 to {LONGEST_BEAT_MINUTES} minutes")));
    }
    if let Some(url) = &wanted.url {
        if url.expose().len() > 2_000 {
            return Err(Error::invalid("The web address is too long"));
        }
        targets::reach(server, url.expose()).await?;
    }
    if wanted.key.as_ref().is_some_and(|key| !(SHORTEST_KEY..=500).contains(&key.expose().len())) {
        return Err(Error::invalid(format!("The key has {SHORTEST_KEY} to 500 characters")));
    }
    Ok(())
}

/// What of it is to be secret, from what was there and what was entered; and the key, when one was made.
fn secret(wanted: &ReceiverToBe, before: ReceiverSecret) -> Result<(ReceiverSecret, Option<String>)> {
    let kind = wanted.definition.kind;
    if kind == ReceiverKind::Mail {
        return Ok((ReceiverSecret::default(), None));
    }
    let mut secret = before;
    if let Some(url) = &wanted.url {
        secret.url = url.expose().trim().to_owned().into();
    }
    if secret.url.is_empty() {
        return Err(Error::invalid("The web address is missing").with_hint("Write it like https://example.com/path"));
    }
    if kind == ReceiverKind::Ping {
        secret.key = String::new().into();
        return Ok((secret, None));
    }
    if let Some(key) = &wanted.key {
        secret.key = key.expose().to_owned().into();
    }
    let mut made = None;
    if secret.key.is_empty() {
        let key = random_token();
        secret.key = key.clone().into();
        made = Some(key);
    }
    Ok((secret, made))
}

/// What may be shown of an address that is called: where it leads, not what follows, which often is a secret.
pub(crate) fn shown_address(server: &Server, receiver: &Receiver) -> Result<Option<String>> {
    let secret = receiver.secret(&server.vault)?;
    let url = Url::parse(&secret.url).ok();
    Ok(url.map(|url| format!("{}://{}/…", url.scheme(), url.host_str().unwrap_or_default())))
}

/// Adds a receiver. Gives the key that posts are signed with, when one was made: the one time that it can be read.
///
/// # Errors
/// `InvalidInput`, `AlreadyExists`; `Permission` for addresses that this server does not reach out to.
pub(crate) async fn add(
    server: &Server,
    actor: &Actor,
    account: &Id,
    wanted: &ReceiverToBe,
) -> Result<(Receiver, Option<String>)> {
    if server.db.receivers(account).await?.len() >= MOST_RECEIVERS {
        return Err(Error::invalid(format!("An account has at most {MOST_RECEIVERS} receivers")));
    }
    check(server, account, wanted).await?;
    let (secret, made) = secret(wanted, ReceiverSecret::default())?;
    let now = server.now_us();
    let new = NewReceiver {
        name: &wanted.name,
        definition: &wanted.definition,
        secret: &secret,
        next_us: notices::first_due(&wanted.definition, now)?,
    };
    let receiver = server.db.add_receiver(&server.vault, account, &new, now).await?;
    let detail = json!({"definition": receiver.definition});
    note(server, actor, account, "receiver.add", &receiver.name, detail).await?;
    Ok((receiver, made))
}

/// Changes a receiver.
///
/// # Errors
/// As [`add`]; `NotFound`.
pub(crate) async fn change(
    server: &Server,
    actor: &Actor,
    account: &Id,
    id: &Id,
    wanted: &ReceiverToBe,
) -> Result<(Receiver, Option<String>)> {
    let before = server.db.receiver(account, id).await?;
    check(server, account, wanted).await?;
    let (secret, made) = secret(wanted, before.secret(&server.vault)?)?;
    let new = NewReceiver {
        name: &wanted.name,
        definition: &wanted.definition,
        secret: &secret,
        next_us: notices::first_due(&wanted.definition, server.now_us())?,
    };
    let receiver = server.db.change_receiver(&server.vault, &before, &new).await?;
    let detail = json!({
        "before": before.definition, "after": receiver.definition,
        "new_address": wanted.url.is_some(), "new_key": wanted.key.is_some() || made.is_some(),
    });
    note(server, actor, account, "receiver.change", &receiver.name, detail).await?;
    Ok((receiver, made))
}

/// Removes a receiver.
///
/// # Errors
/// `NotFound`.
pub(crate) async fn remove(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<()> {
    let receiver = server.db.receiver(account, id).await?;
    server.db.remove_receiver(account, id).await?;
    note(server, actor, account, "receiver.remove", &receiver.name, json!({})).await
}

/// Sends a test, by the same way as all else. Gives the delivery.
///
/// # Errors
/// `NotFound`; `AlreadyExists` for more than one a minute.
pub(crate) async fn test(server: &Server, actor: &Actor, account: &Id, id: &Id) -> Result<Id> {
    let receiver = server.db.receiver(account, id).await?;
    let now = server.now_us();
    let name = server.db.account(account).await?.name;
    let title = format!("This is a test: what is sent to '{}' arrives", receiver.name);
    let notice = Notice::new("test", now, &name, title);
    let text = serde_json::to_string(&notice).map_err(|e| Error::internal("A notice cannot be kept").with_source(e))?;
    let event = format!("test {}", now.div_euclid(60_000_000));
    let new = NewDelivery { account, receiver: id, event: &event, notice: &text };
    let delivery = server.db.post(&new, now).await?.ok_or_else(|| {
        Error::new(ErrorKind::AlreadyExists, "A test was asked for within this minute").with_hint("Wait a minute")
    })?;
    note(server, actor, account, "receiver.test", &receiver.name, json!({"delivery": delivery})).await?;
    Ok(delivery)
}

/// Keeps the server's mail settings, or lets go of them.
///
/// # Errors
/// `InvalidInput`.
pub(crate) async fn keep_mail(
    server: &Server,
    actor: &Actor,
    wanted: Option<&MailSettings>,
    password: Option<&Password>,
) -> Result<()> {
    notices::keep_settings(server, wanted, password).await?;
    let detail = json!({"mail": wanted, "new_password": password.is_some()});
    let deed = Deed { account: None, action: "settings.mail", object: "mail", detail };
    server.db.note(actor, deed, server.now_us()).await
}

/// Sends a mail by the server's settings, at once. Gives why the mail server does not take it, if it does not.
///
/// # Errors
/// `InvalidInput` for what is no address, or when there are no settings.
pub(crate) async fn test_mail(server: &Server, actor: &Actor, to: &str) -> Result<Option<String>> {
    let deed = Deed { account: None, action: "settings.mail.test", object: "mail", detail: json!({}) };
    server.db.note(actor, deed, server.now_us()).await?;
    match notices::test_mail(server, to).await {
        Ok(()) => Ok(None),
        Err(e) if e.kind() == ErrorKind::Unavailable => Ok(Some(e.chain())),
        Err(e) => Err(e),
    }
}
