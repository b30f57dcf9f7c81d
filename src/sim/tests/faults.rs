//! Faults strike as told, the same ones for the same seed.

use super::client::start;
use crate::sim::{Fault, FaultKind, SimOptions};

fn fault(kind: FaultKind, path: &str, count: Option<u64>) -> Fault {
    Fault { kind, path: path.into(), probability: 1.0, count }
}

#[tokio::test]
async fn statuses_and_waits_come_as_often_as_told() {
    let (sim, client) = start(SimOptions::tiny()).await;
    sim.inject(fault(FaultKind::TooManyRequests { retry_after: 2.128 }, "", Some(2)));
    sim.inject(fault(FaultKind::Status { status: 503 }, "organization", Some(1)));
    for _ in 0..2 {
        let answer = client.get("organization").await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, "2.128"));
    }
    let answer = client.get("organization").await;
    assert_eq!((answer.status, answer.bytes.len()), (503, 0));
    client.ok("organization").await;
    assert_eq!((sim.stats().faults, sim.stats().throttled()), (3, 2));
}

#[tokio::test]
async fn connections_break_and_bodies_end_early() {
    let (sim, client) = start(SimOptions::tiny()).await;
    for kind in [FaultKind::Drop, FaultKind::Truncate] {
        sim.inject(fault(kind.clone(), "subscribedSkus", Some(1)));
        let response = client.request("subscribedSkus").send().await.expect("a head");
        assert_eq!(response.status().as_u16(), 200);
        assert!(response.bytes().await.is_err(), "{kind:?}");
        client.ok("subscribedSkus").await;
    }
}

#[tokio::test]
async fn lasting_faults_belong_to_items() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let user = sim.expected().users[0].clone();
    let (mailbox, drive) = (user.mailbox.expect("a mailbox"), user.drive.expect("a drive"));
    let (corrupt, gone) = (&mailbox.messages[0].id, &mailbox.messages[1].id);
    let file = drive.items.iter().find(|i| i.name == "Company handbook.pdf").expect("a file");
    let mime = |id: &str| format!("users/{}/messages/{id}/$value", user.id);
    let row = format!("drives/{}/items/{}", drive.id, file.id);
    let right = client.ok(&row).await["file"]["hashes"].clone();
    sim.inject(fault(FaultKind::Corrupt, corrupt, None));
    sim.inject(fault(FaultKind::Vanish, gone, None));
    sim.inject(fault(FaultKind::WrongHash, &file.id, None));
    for _ in 0..2 {
        let answer = client.get(&mime(corrupt)).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "ErrorCorruptData"));
        let answer = client.get(&mime(gone)).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "ErrorItemNotFound"));
    }
    assert_eq!(client.get(&mime(&mailbox.messages[2].id)).await.status, 200);
    assert_ne!(client.ok(&row).await["file"]["hashes"], right);
}

#[tokio::test]
async fn chance_strikes_the_same_requests_again() {
    let hits = async || {
        let (sim, client) = start(SimOptions::tiny()).await;
        sim.inject(Fault {
            kind: FaultKind::Status { status: 500 },
            path: String::new(),
            probability: 0.3,
            count: None,
        });
        let mut out = Vec::new();
        for _ in 0..40 {
            out.push(client.get("organization").await.status);
        }
        out
    };
    let first = hits().await;
    assert_eq!(first, hits().await);
    let struck = first.iter().filter(|s| **s == 500).count();
    assert!((4..25).contains(&struck), "{struck} of 40");
}

#[tokio::test]
async fn delta_requests_alone_are_answered_410() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let drive = sim.expected().users[0].drive.clone().expect("a drive").id;
    sim.inject(fault(FaultKind::Gone, "", None));
    assert_eq!(client.get(&format!("drives/{drive}/root/delta")).await.status, 410);
    assert_eq!(client.get("users/alice@contoso.com/mailFolders/delta").await.code(), "SyncStateNotFound");
    client.ok(&format!("drives/{drive}/root")).await;
}

#[tokio::test]
async fn the_control_door_does_what_the_handle_does() {
    let (sim, client) = start(SimOptions::tiny()).await;
    let answer = client.post("/sim/advance?days=2", &serde_json::json!({})).await;
    assert_eq!((answer.json()["day"].as_u64(), sim.day()), (Some(2), 2));
    let body = serde_json::json!({"kind": {"type": "status", "status": 504}, "path": "users", "count": 1});
    assert_eq!(client.post("/sim/faults", &body).await.json()["armed"], 1);
    assert_eq!(client.get("users").await.status, 504);
    let stats = client.download(&format!("{}/sim/stats", sim.base_url()), None).await.json();
    assert_eq!((stats["day"].as_u64(), stats["faults"].as_u64()), (Some(2), Some(1)));
    let answer = client.post("/sim/faults", &serde_json::json!({"kind": {"type": "nonsense"}})).await;
    assert_eq!(answer.status, 400);
}
