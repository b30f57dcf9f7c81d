//! Digests of one account go without those of another.

use std::sync::atomic::Ordering;

use serde_json::json;

use super::id;
use super::notices::{DAY_US, Hook, bench_at, receiver};
use crate::server::auth::Role;
use crate::server::notices;

/// What cannot be told of one account keeps nothing from the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_cannot_be_made_keeps_none_from_others() {
    let (bench, now) = bench_at("2026-11-26T10:00:00Z").await;
    let hook = Hook::default();
    let url = hook.start().await;
    let mut receivers = Vec::new();
    for name in ["Contoso", "Fabrikam"] {
        let account = bench.account(name).await;
        let token = bench.person(Some(&account), Role::Owner, &format!("owner@{name}.com")).await;
        let wanted = json!({"name": "day", "url": url, "definition": {
            "kind": "webhook", "digest": {"hour": 2, "zone": "Europe/Berlin"}}});
        receivers.push(id(&receiver(&bench, &token, &account, wanted).await["receiver"]));
    }
    // As no version of this program writes it.
    let broken =
        "UPDATE receivers SET definition = REPLACE(definition, 'Europe/Berlin', 'Nowhere/Atall') WHERE id = $1";
    let pool = bench.server().db.pool();
    sqlx::query(broken).bind(receivers[0].as_str()).execute(pool).await.expect("written");
    now.fetch_add(DAY_US, Ordering::Relaxed);
    notices::gather(bench.server()).await.expect("gathered");
    notices::pass(bench.server()).await.expect("sent");
    assert_eq!((hook.many(), &hook.body(0)["account"]["name"]), (1, &json!("Fabrikam")), "{}", hook.body(0));
}
