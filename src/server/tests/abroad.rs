//! Restoring into another tenant of the same account.

use std::collections::HashSet;

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::restoring::{ALICE, Place};
use super::{connect, id};
use crate::server::auth::Role;
use crate::sim::{SimHandle, SimOptions, SimTenant};

const FOLDER: &str = "From Contoso";

/// How many mails Alice has in all, and how many of them below the folder of the restore.
fn mails(sim: &SimHandle) -> (usize, usize) {
    let expected = sim.expected();
    let mailbox = expected.user(ALICE).and_then(|user| user.mailbox.as_ref()).expect("a mailbox");
    let mut below: HashSet<&str> =
        mailbox.folders.iter().filter(|folder| folder.name == FOLDER).map(|folder| folder.id.as_str()).collect();
    let mut known = 0;
    while known < below.len() {
        known = below.len();
        let inner = mailbox.folders.iter().filter(|folder| below.contains(folder.parent_id.as_str()));
        let inner: Vec<&str> = inner.map(|folder| folder.id.as_str()).collect();
        below.extend(inner);
    }
    let all: Vec<_> = mailbox.messages.iter().filter(|mail| !mail.recoverable).collect();
    (all.len(), all.iter().filter(|mail| below.contains(mail.folder_id.as_str())).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_moves_into_another_tenant_and_back_out() {
    let place = Place::new().await;
    let (here, account) = (&place.bench, &place.account);
    let options = SimOptions { seed: 4711, ..SimOptions::tiny() };
    let abroad = SimTenant::start(options.clone()).await.expect("a tenant");
    let tenant = connect(here, &place.owner, account, &abroad, "Fabrikam").await;
    // Somebody else's tenant is none.
    let other = here.account("Other").await;
    let stranger = here.person(Some(&other), Role::Owner, "owner@other.com").await;
    let theirs = connect(here, &stranger, &other, &abroad, "Theirs").await;
    place.unlock(&place.restorer).await;
    let wanted = |tenant: &str| json!({"snapshot": "latest", "paths": [format!("users/{ALICE}/Mail")], "tenant": tenant, "to": ALICE, "folder": FOLDER});
    // The directory is connected a second time, by a user who may not restore, and comes first in every list.
    let user = json!({"name": "A user", "definition": {
        "tenant_id": place.sim.tenant_id(), "client_id": place.sim.client_id(), "sign_in": "user",
        "graph_url": place.sim.graph_url(), "login_url": place.sim.login_url()}});
    here.good(&place.owner, Method::POST, &place.at("tenants"), Some(user)).await;
    let mut at_home = wanted("");
    at_home.as_object_mut().expect("an object").remove("tenant");
    assert_eq!(place.planned(at_home).await["can_run"], true, "by the connection that the set is read by");

    let path = place.of_repository("restores");
    let (status, problem) = here.ask(&place.restorer, Method::POST, &path, Some(wanted(&theirs))).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    let mut to_nobody = wanted(&tenant);
    to_nobody["to"] = json!("original");
    let (status, problem) = here.ask(&place.restorer, Method::POST, &path, Some(to_nobody)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "nobody is the original abroad: {problem}");
    // But for what is no owner's: that this snapshot has none of it is for the plan to say.
    let mut terms = wanted(&tenant);
    (terms["to"], terms["paths"]) = (json!("original"), json!(["tenant/Term Store"]));
    let (status, asked) = here.ask(&place.restorer, Method::POST, &path, Some(terms)).await;
    assert!(status.is_success(), "{asked}");

    let before = (mails(&place.sim), mails(&abroad));
    let planned = place.planned(wanted(&tenant)).await;
    let create = planned["counts"]["counts"]["create"].as_u64().expect("a count");
    assert!(create > 10, "{planned}");
    let restore = id(&planned);
    let job = place.begin(&restore, "run").await;
    let ended = here.ended(&place.restorer, account, &job).await;
    assert!(matches!(ended["state"].as_str(), Some("done" | "gaps")), "{ended}");
    let after = (mails(&place.sim), mails(&abroad));
    assert_eq!(after.0, before.0, "the tenant that was backed up is not touched");
    assert!(after.1.1 > 10 && after.1.0 == before.1.0 + after.1.1, "{before:?} {after:?}");

    let job = place.begin(&restore, "undo").await;
    assert_eq!(here.ended(&place.restorer, account, &job).await["state"], "done");
    assert_eq!(mails(&abroad), before.1);
}
