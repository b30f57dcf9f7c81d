//! What a tenant has, and what rules choose of it.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::monitor::Silent;
use crate::server::connect;
use crate::server::contents::{Contents, Counts, Looked, Named, Read, Rules};
use crate::server::db::{Protected, Tenant};
use crate::server::id::Id;
use crate::server::state::Server;

/// How long a program waits for Microsoft; then it asks again.
const PATIENCE: Duration = Duration::from_secs(25);
/// Rules at most.
const MOST_RULES: usize = 1_000;
/// Characters of a rule at most.
const LONGEST_RULE: usize = 2_000;

/// What a tenant of the account has, for a program: it waits, and what is not known is an error.
///
/// # Errors
/// `NotFound`; `Unavailable` while Microsoft is being asked, or when it cannot be told.
pub(crate) async fn of_tenant(server: &Arc<Server>, account: &Id, tenant: &Id) -> Result<(Tenant, Arc<Contents>)> {
    let tenant = server.db.tenant(account, tenant).await?;
    match server.contents.look(server, &tenant, false, PATIENCE).await {
        Looked::Have(contents) => Ok((tenant, contents)),
        Looked::Asking => Err(asking()),
        Looked::Failed(trouble) => {
            let text = format!("What the tenant has cannot be told: {}", trouble.message);
            let hint = trouble.hint.unwrap_or_else(|| "Test the tenant; rules can be written all the same".to_owned());
            Err(Error::new(ErrorKind::Unavailable, text).with_hint(hint))
        }
    }
}

fn asking() -> Error {
    Error::new(ErrorKind::Unavailable, "Microsoft is still being asked what the tenant has")
        .with_hint("Ask again in some seconds")
}

/// Refuses rules that are too many, or too long, to be looked at.
///
/// # Errors
/// `InvalidInput`.
pub(crate) fn within(rules: &Rules) -> Result<()> {
    let all = || rules.include.iter().chain(&rules.exclude).chain(&rules.workloads);
    if all().count() > MOST_RULES {
        return Err(Error::invalid(format!("A backup set has at most {MOST_RULES} rules")));
    }
    if all().any(|rule| rule.len() > LONGEST_RULE) {
        return Err(Error::invalid("A rule is too long").with_hint("* stands for any characters"));
    }
    Ok(())
}

/// Finds out who is in the groups that rules name.
///
/// # Errors
/// As making a client.
pub(crate) async fn named(server: &Server, tenant: &Tenant, contents: &Contents, read: &Read) -> Result<Named> {
    let client = connect::client(server, tenant, None, Arc::new(Silent))?;
    Ok(contents.members().named(contents, &client, read).await)
}

/// Counts what rules choose.
///
/// # Errors
/// As [`of_tenant`]; `InvalidInput`.
pub(crate) async fn count(server: &Arc<Server>, account: &Id, tenant: &Id, rules: &Rules) -> Result<Counts> {
    within(rules)?;
    let (tenant, contents) = of_tenant(server, account, tenant).await?;
    let read = rules.read();
    let named = named(server, &tenant, &contents, &read).await?;
    server.contents.count(&contents, &read, &named).await
}

/// How much rules mean of what accounts have limits for; none: Microsoft does not tell, or there is too much to count.
///
/// # Errors
/// `Unavailable` while Microsoft is being asked.
pub(super) async fn meant(server: &Arc<Server>, tenant: &Tenant, rules: &Rules) -> Result<Option<Protected>> {
    let unknown = |why: &str| {
        tracing::warn!(tenant = tenant.id.as_str(), "What a backup set means is not held against the limits: {why}");
        Ok(None)
    };
    let contents = match server.contents.look(server, tenant, false, PATIENCE).await {
        Looked::Have(contents) => contents,
        Looked::Asking => return Err(asking()),
        Looked::Failed(trouble) => return unknown(&trouble.message),
    };
    let read = rules.read();
    match named(server, tenant, &contents, &read).await {
        Ok(named) => server.contents.meant(&contents, &read, &named).await,
        Err(e) => unknown(&e.chain()),
    }
}

/// Takes something in, or leaves it out: gives the rules as they are then, and what they choose.
///
/// # Errors
/// As [`count`]; `NotFound` when the tenant has nothing that the rule means alone.
pub(crate) async fn tick(
    server: &Arc<Server>,
    account: &Id,
    tenant: &Id,
    rules: &mut Rules,
    (rule, chosen): (&str, bool),
) -> Result<Counts> {
    within(rules)?;
    let (tenant, contents) = of_tenant(server, account, tenant).await?;
    let before = named(server, &tenant, &contents, &rules.read()).await?;
    let item = contents.by_rule(rule).ok_or_else(|| {
        Error::not_found("The tenant has nothing that this rule means alone").with_hint("Take a rule of the contents")
    })?;
    rules.tick(&contents, &item, &before, chosen)?;
    let read = rules.read();
    let named = named(server, &tenant, &contents, &read).await?;
    server.contents.count(&contents, &read, &named).await
}
