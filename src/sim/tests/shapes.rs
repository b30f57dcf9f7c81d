//! Endpoints answer in Graph's shapes, to good questions and to bad ones.

use std::time::Duration;

use serde_json::json;

use super::client::start;
use crate::sim::{SimOptions, UserKind};

#[tokio::test]
async fn users_and_licences_read_as_in_a_real_tenant() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let users = client.all("users?$select=id,userPrincipalName,userType,accountEnabled,assignedPlans").await;
    assert_eq!(users.len(), sim.expected().users.len());
    let of = |upn: &str| users.iter().find(|u| u["userPrincipalName"] == upn).expect("listed");
    assert!(of("alice@contoso.com")["assignedPlans"].to_string().contains("\"exchange\""));
    assert_eq!(
        (&of("info@contoso.com")["accountEnabled"], &of("info@contoso.com")["assignedPlans"]),
        (&json!(false), &json!([]))
    );
    assert!(users.iter().any(|u| u["userType"] == "Guest"));
    let settings = client.ok("users/info@contoso.com/mailboxSettings").await;
    assert_eq!(settings["userPurpose"], "shared");
    let organization = client.ok("organization").await;
    assert_eq!(organization["value"][0]["id"], sim.tenant_id());
    assert_eq!(client.ok("users/alice@contoso.com/licenseDetails").await["value"][0]["skuPartNumber"], "SPE_E3");
    assert_eq!(client.ok("subscribedSkus").await["value"][0]["appliesTo"], "User");
    assert_eq!(client.all("users?$filter=userType%20eq%20'Guest'").await.len(), 1);
}

#[tokio::test]
async fn closed_mailboxes_and_drives_say_why() {
    let (sim, client) = start(SimOptions::tiny()).await;
    for (kind, what, status, code) in [
        (UserKind::Guest, "mailFolders", 404, "MailboxNotEnabledForRESTAPI"),
        (UserKind::WithoutMailbox, "mailFolders/inbox", 404, "MailboxNotEnabledForRESTAPI"),
        (UserKind::WithoutDrive, "drive", 404, "ResourceNotFound"),
        (UserKind::Shared, "drive", 404, "ResourceNotFound"),
        (UserKind::Blocked, "mailFolders", 403, "ErrorAccessDenied"),
        (UserKind::Blocked, "drive", 403, "notAllowed"),
    ] {
        let id = sim.expected().users.iter().find(|u| u.kind == kind).expect("there").id.clone();
        let answer = client.get(&format!("users/{id}/{what}")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{kind:?} {what}");
    }
}

#[tokio::test]
async fn bad_questions_get_graphs_error_body() {
    let (_sim, client) = start(SimOptions::tiny()).await;
    for (url, status, code) in [
        ("nonsense", 400, "BadRequest"),
        ("users/alice@contoso.com/nonsense", 400, "BadRequest"),
        ("users?$nonsense=1", 400, "BadRequest"),
        ("users?$select=nonsense", 400, "RequestBroker--ParseUri"),
        ("users/nobody@contoso.com", 404, "Request_ResourceNotFound"),
        ("users/nobody@contoso.com/mailFolders", 404, "ErrorInvalidUser"),
        ("users/alice@contoso.com/messages/short", 400, "ErrorInvalidIdMalformed"),
        ("users/alice@contoso.com/mailFolders/nothere/messages", 404, "ErrorItemNotFound"),
        ("users/alice@contoso.com/mailFolders/inbox/messages?$filter=a%20b", 400, "ErrorInvalidUrlQueryFilter"),
        ("drives/short", 400, "invalidRequest"),
        ("me", 400, "BadRequest"),
    ] {
        let request = client.request(url).header("client-request-id", "7f8e9d6c-1234-4bcd-8e0f-aabbccddeeff");
        let answer = super::client::got(request.send().await.expect("answers")).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{url}");
        let inner = &answer.json()["error"]["innerError"];
        assert_eq!(inner["client-request-id"], "7f8e9d6c-1234-4bcd-8e0f-aabbccddeeff");
        assert_eq!(answer.header("client-request-id"), "7f8e9d6c-1234-4bcd-8e0f-aabbccddeeff");
        assert!(inner["date"].is_string() && inner["request-id"] == answer.header("request-id"));
    }
}

#[tokio::test]
async fn folders_show_the_first_level_and_hide_what_is_hidden() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let base = "users/alice@contoso.com/mailFolders";
    let plain = client.all(base).await;
    let all = client.all(&format!("{base}?includeHiddenFolders=true&$top=100")).await;
    assert_eq!(all.len(), plain.len() + 1);
    assert!(all.iter().any(|f| f["@odata.type"] == "#microsoft.graph.mailSearchFolder"));
    let root = client.ok(&format!("{base}/msgfolderroot")).await;
    assert!(all.iter().all(|f| f["parentFolderId"] == root["id"]));
    assert!(!all.iter().any(|f| f["displayName"] == "Recoverable Items"));
    let deletions = client.ok(&format!("{base}/recoverableitemsdeletions")).await;
    assert_eq!(deletions["displayName"], "Deletions");
    assert_eq!(client.all(&format!("{base}/recoverableitemsroot/childFolders")).await.len(), 3);
    let bob = client.all("users/bob@contoso.com/mailFolders?$top=50").await;
    assert_eq!(bob.iter().filter(|f| f["displayName"] == "Archiv").count(), 2, "localised and doubled");
    let truth = sim.expected().users[0].mailbox.clone().expect("a mailbox");
    let shown = truth.folders.iter().filter(|f| !f.recoverable && !f.search).count();
    assert_eq!(shown, 12, "as many folders as asked for");
}

#[tokio::test]
async fn messages_list_newest_first_with_attachments_to_match_the_mime() {
    let (sim, client) = start(SimOptions { messages: 150, ..SimOptions::tiny() }).await;
    let rows = client.all("users/alice@contoso.com/messages?$top=20&$expand=attachments").await;
    let times: Vec<_> = rows.iter().map(|r| r["receivedDateTime"].as_str().unwrap_or_default().to_string()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b));
    let truth = sim.expected().users[0].mailbox.clone().expect("a mailbox");
    let shown = truth.messages.iter().filter(|m| !m.recoverable).count();
    assert_eq!(rows.len(), shown);
    let row = rows.iter().find(|r| r["hasAttachments"] == true).expect("one has");
    let base = format!("users/alice@contoso.com/messages/{}/attachments", row["id"].as_str().expect("an id"));
    let all = client.all(&base).await;
    assert_eq!(all, *row["attachments"].as_array().expect("expanded"));
    let file = all[0]["id"].as_str().expect("an id");
    let raw = client.get(&format!("{base}/{file}/$value")).await;
    assert_eq!(raw.status, 200);
    let full = client
        .ok(&format!(
            "users/alice@contoso.com/messages/{}?$select=internetMessageHeaders,body",
            row["id"].as_str().expect("an id")
        ))
        .await;
    assert!(full["internetMessageHeaders"].as_array().is_some_and(|h| h.len() > 10) && full["subject"].is_null());
}

#[tokio::test]
async fn downloads_take_ranges_expire_and_never_want_the_token() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let drive = sim.expected().users[0].drive.clone().expect("a drive");
    let file = drive.items.iter().find(|i| i.name.starts_with("Large")).expect("there");
    let bytes = file.content.as_ref().expect("bytes").bytes();
    let item = client.ok(&format!("drives/{}/items/{}?$select=id,content.downloadUrl", drive.id, file.id)).await;
    let url = item["@content.downloadUrl"].as_str().expect("a URL").to_string();
    let part = client.download(&url, Some("bytes=100-299")).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, &bytes[100..300]));
    assert_eq!(part.header("content-range"), format!("bytes 100-299/{}", bytes.len()));
    assert_eq!(client.download(&url, Some("bytes=999999999-")).await.status, 416);
    assert_eq!(sim.stats().token_leaks, 0);
    assert_eq!(client.get(&url).await.status, 401, "the token does not belong there");
    assert_eq!(sim.stats().token_leaks, 1);
    let (sim, client) = start(SimOptions { download_url_lifetime: Duration::ZERO, ..SimOptions::tiny() }).await;
    let drive = sim.expected().users[0].drive.clone().expect("a drive");
    let file = drive.items.iter().find(|i| i.name == "Empty.txt").expect("there");
    assert_eq!(client.content(&drive.id, &file.id).await.status, 401, "the URL has expired");
}

#[tokio::test]
async fn versions_are_listed_newest_first_and_read_one_by_one() {
    let (sim, client) = start(SimOptions::tiny()).await;
    sim.advance_day();
    let drive = sim.expected().users[0].drive.clone().expect("a drive");
    let file = drive.items.iter().find(|i| i.name.starts_with("Large")).expect("there");
    let base = format!("drives/{}/items/{}/versions", drive.id, file.id);
    let rows = client.all(&base).await;
    assert_eq!((rows.len(), &rows[0]["id"]), (2, &json!("2.0")));
    let old = client.get(&format!("{base}/1.0/content")).await;
    let got = client.download(old.header("location"), None).await;
    assert_eq!(got.bytes, file.older[0].bytes());
    assert_eq!(client.get(&format!("{base}/2.0/content")).await.status, 400);
}

#[tokio::test]
async fn a_batch_answers_each_part_for_itself() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let user = sim.expected().users[0].clone();
    let message = &user.mailbox.as_ref().expect("a mailbox").messages[0];
    let body = json!({"requests": [
        {"id": "1", "method": "GET", "url": "/organization"},
        {"id": "2", "method": "GET", "url": "/nonsense"},
        {"id": "3", "method": "GET", "url": format!("/users/{}/messages/{}/$value", user.id, message.id)},
        {"id": "4", "method": "GET", "url": "/users", "dependsOn": ["2"]},
    ]});
    let answer = client.post("/v1.0/$batch", &body).await;
    assert_eq!(answer.status, 200);
    let parts = answer.json()["responses"].clone();
    let part = |id: &str| parts.as_array().expect("parts").iter().find(|p| p["id"] == id).expect("answered").clone();
    assert_eq!(
        ["1", "2", "3", "4"].map(|id| part(id)["status"].as_u64()),
        [Some(200), Some(400), Some(200), Some(424)]
    );
    use base64::Engine as _;
    let mime = base64::engine::general_purpose::STANDARD.decode(part("3")["body"].as_str().expect("base64"));
    assert_eq!(mime.expect("base64"), message.mime.bytes());
    let many: Vec<_> = (0..21).map(|i| json!({"id": i.to_string(), "method": "GET", "url": "/users"})).collect();
    assert_eq!(client.post("/v1.0/$batch", &json!({"requests": many})).await.status, 400);
}

/// All that calendars have: a series has its exceptions among its occurrences, and not what is cancelled.
#[tokio::test]
async fn occurrences_of_a_series_are_those_that_are_not_cancelled() {
    let (_sim, client) = start(SimOptions::tiny()).await;
    let (mut series, mut exceptions) = (0, 0);
    for calendar in client.all("users/alice@contoso.com/calendars").await {
        let id = calendar["id"].as_str().expect("text");
        for event in client.all(&format!("users/alice@contoso.com/calendars/{id}/events")).await {
            let id = event["id"].as_str().expect("text").replace('/', "%2F").replace('+', "%2B");
            let url = format!("users/alice@contoso.com/events/{id}");
            assert_eq!(client.get(&format!("{url}/instances")).await.code(), "ErrorInvalidParameter");
            let year = "startDateTime=2026-01-01T00:00:00&endDateTime=2027-01-01T00:00:00Z";
            let told = client.all(&format!("{url}/instances?{year}&$top=20")).await;
            assert_eq!(told.is_empty(), event["type"] != "seriesMaster", "{told:?}");
            if told.is_empty() {
                continue;
            }
            series += 1;
            assert!(told.iter().all(|one| one["seriesMasterId"] == event["id"] && one["recurrence"].is_null()));
            let days: Vec<&str> = told.iter().filter_map(|one| one["start"]["dateTime"].as_str()?.get(..10)).collect();
            let alone = client.ok(&format!("{url}?$select=id,cancelledOccurrences")).await;
            for gone in alone["cancelledOccurrences"].as_array().into_iter().flatten() {
                assert!(days.iter().all(|day| !gone.as_str().expect("text").ends_with(day)), "{gone}");
            }
            let expanded = client.ok(&format!("{url}?$expand=exceptionOccurrences")).await;
            for exception in expanded["exceptionOccurrences"].as_array().into_iter().flatten() {
                let inside = exception["start"]["dateTime"].as_str().is_some_and(|start| start.starts_with("2026"));
                assert_eq!(told.iter().any(|one| one["id"] == exception["id"]), inside);
                exceptions += usize::from(inside);
            }
        }
    }
    assert!(series > 0 && exceptions > 0, "{series} series, {exceptions} exceptions");
}
