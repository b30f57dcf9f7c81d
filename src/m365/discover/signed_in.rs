//! What a signed-in user lets be seen: the user's own, of others only what a directory role opens; of a personal account
//! a few workloads and nobody else.
//!
//! Source: Microsoft, "Overview of permissions and consent": a delegated permission never opens more than the user may.

use serde_json::Value;

use super::{Coverage, CoverageState, Selection, User};
use crate::error::Result;
use crate::graph::{Account, Caller, Client, Fate, GraphRequest, Scope, fate};
use crate::m365::door::{Owner, Workload};
use crate::snapshot::set::{Effect, Rule, Selection as Rules, Subject, Workload as Part};

/// What personal accounts have that can be read.
pub const PERSONAL_PARTS: &[Part] = &[Part::Mail, Part::Calendar, Part::Contacts, Part::Tasks, Part::OneDrive];

/// Directory roles that open more than the user's own: template ids and names.
const ROLES: &[(&str, &str)] = &[
    (GLOBAL_ADMINISTRATOR, "Global Administrator"),
    ("f2ef992c-3afb-46b9-b7cf-a126ee74c451", "Global Reader"),
    ("f28a1f50-f6e7-4571-818b-6a12f2af6b6c", "SharePoint Administrator"),
    ("29232cdf-9323-42fd-ade2-1d097af3e4de", "Exchange Administrator"),
    ("69091246-20e8-4a56-aa4d-066075b2a7a8", "Teams Administrator"),
    ("fe930be7-5e62-47db-91af-98c3a49a38b1", "User Administrator"),
];
/// The template id of the role that may everything.
pub const GLOBAL_ADMINISTRATOR: &str = "62e90394-69f5-4237-9190-012177145e10";

/// Lists the directory roles of the signed-in user, by name, as far as they open anything; `None`: Graph does not say.
///
/// # Errors
/// The network's.
pub async fn directory_roles(client: &Client) -> Result<Option<Vec<&'static str>>> {
    let url = "me/transitiveMemberOf/microsoft.graph.directoryRole";
    match client.get_all(GraphRequest::get(Scope::Directory, url)).await {
        Ok(rows) => {
            let has = |id: &str| rows.iter().any(|row| row.get("roleTemplateId").and_then(Value::as_str) == Some(id));
            Ok(Some(ROLES.iter().filter(|(id, _)| has(id)).map(|(_, name)| *name).collect()))
        }
        Err(error) => match fate(&error) {
            Fate::Fatal => Err(error),
            _ => Ok(None),
        },
    }
}

/// What is left of a selection, and of the directory.
pub(super) struct Narrowed {
    pub(super) selection: Selection,
    /// The users to look at; `None`: those that the directory lists.
    pub(super) users: Option<Vec<User>>,
}

/// Narrows a selection down to what the caller can see, and tells in the coverage what it cannot.
pub(super) async fn narrow(client: &Client, wanted: &Selection, coverage: &mut Vec<Coverage>) -> Result<Narrowed> {
    let mut selection = wanted.clone();
    let Some(me) = alone(client).await? else { return Ok(Narrowed { selection, users: None }) };
    let owner = Owner::User(me.id.clone());
    if client.caller() == Caller::Personal {
        let lacking = |workload: &&Workload| wanted.reads(**workload) && !PERSONAL_PARTS.contains(&workload.part());
        for workload in Workload::ALL.iter().filter(lacking) {
            let state = CoverageState::Impossible("a personal account has none of it that can be read".to_owned());
            coverage.push(Coverage { owner: owner.clone(), name: me.name.clone(), workload: Some(*workload), state });
        }
        let workloads: Vec<Part> = Workload::ALL.iter().filter(lacking).map(|workload| workload.part()).collect();
        if !workloads.is_empty() {
            selection.rules.rules.push(Rule { effect: Effect::Exclude, subject: Subject::Everything, workloads });
        }
    }
    tell_of_others(&wanted.rules, &me, client.caller(), coverage);
    let user = User { id: me.id, name: me.name, ..User::default() };
    let users = match selection.rules.selects_any(&user.facts()) {
        true => vec![user],
        false => {
            coverage.push(Coverage { owner, name: user.name, workload: None, state: CoverageState::NotSelected });
            Vec::new()
        }
    };
    Ok(Narrowed { selection, users: Some(users) })
}

/// The user who is signed in and sees nothing of others; nobody: an app, or somebody with a role that opens more.
pub(super) async fn alone(client: &Client) -> Result<Option<Account>> {
    let me = client.me().await.map_err(|error| error.context("Asking who is signed in failed"))?;
    match me {
        Some(_) if client.caller() != Caller::Personal && sees_others(client).await? => Ok(None),
        me => Ok(me),
    }
}

/// Says whether the signed-in user may list the others and has a role that opens something of theirs.
async fn sees_others(client: &Client) -> Result<bool> {
    if directory_roles(client).await?.is_none_or(|roles| roles.is_empty()) {
        return Ok(false);
    }
    let list = client.get_page(GraphRequest::get(Scope::Directory, "users?$select=id,userType&$top=1")).await;
    match list {
        Ok(_) => Ok(true),
        Err(error) => match fate(&error) {
            Fate::Fatal => Err(error),
            _ => Ok(false),
        },
    }
}

fn tell_of_others(rules: &Rules, me: &Account, caller: Caller, coverage: &mut Vec<Coverage>) {
    let why = match caller {
        Caller::Personal => "a personal account sees itself alone",
        _ => {
            "the user who is signed in sees nothing of others: sign in as each of them, as an administrator \
             (login --admin), or as an app"
        }
    };
    let mut others = |name: &str| {
        let state = CoverageState::Impossible(format!("{} is signed in: {why}", me.name));
        coverage.push(Coverage { owner: Owner::Tenant, name: name.to_owned(), workload: None, state });
    };
    let is_me = |name: &str| name.eq_ignore_ascii_case(&me.name) || name.eq_ignore_ascii_case(&me.id);
    let meant = rules.rules.iter().filter(|rule| rule.effect == Effect::Include);
    let means_others = meant.filter(|rule| match &rule.subject {
        Subject::User(glob) => glob.is_pattern() || !is_me(glob.as_str()),
        _ => caller != Caller::Personal || !matches!(rule.subject, Subject::Everything),
    });
    if means_others.count() > 0 {
        others("everybody else");
    }
}
