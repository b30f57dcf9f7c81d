//! Groups, teams, plans and chats as Graph tells them.

use super::client::start;
use crate::sim::SimOptions;

#[tokio::test]
async fn groups_are_listed_by_kind_and_tell_their_members() {
    let (_sim, client) = start(SimOptions { groups: 3, ..SimOptions::tiny() }).await;
    let all = client.all("groups").await;
    let unified = client.all("groups?$filter=groupTypes/any(c:c eq 'Unified')&$select=id,displayName").await;
    let teams = client.all("groups?$filter=resourceProvisioningOptions/Any(x:x eq 'Team')").await;
    assert_eq!((all.len(), unified.len(), teams.len()), (4, 3, 2));
    assert!(unified.iter().all(|group| group.get("mail").is_none()));
    let name = unified[0]["displayName"].as_str().unwrap();
    let named = client.all(&format!("groups?$filter=displayName eq '{name}'&$select=id")).await;
    assert_eq!(named.iter().map(|group| &group["id"]).collect::<Vec<_>>(), [&unified[0]["id"]]);
    let id = teams[0]["id"].as_str().unwrap();
    let (members, owners) =
        (client.all(&format!("groups/{id}/members")).await, client.all(&format!("groups/{id}/owners")).await);
    assert!(!owners.is_empty() && owners.iter().all(|owner| members.contains(owner)));
    for wrong in ["groups?$filter=description eq 'Sales'", "groups?$select=nonsense", "groups?$top=5000", "groups/none"]
    {
        assert!((400..500).contains(&client.get(wrong).await.status), "{wrong}");
    }
}
