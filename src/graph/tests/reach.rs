//! A client that may not connect everywhere.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;

use super::server::{Reply, Server, mail};
use crate::graph::{Client, Cloud, Credential};
use crate::reach::Reach;

const OUTSIDE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const INSIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

#[tokio::test]
async fn a_client_connects_to_what_it_may_reach_alone() {
    let server = Server::graph(|_, _| Reply::json(200, &json!({}))).await;
    let named = server.root.replace("127.0.0.1", "localhost");
    let outside: fn(IpAddr) -> bool = |ip| ip == OUTSIDE;
    let nowhere: fn(IpAddr) -> bool = |_| false;
    for (root, may, found, works) in [
        (&server.root, outside, OUTSIDE, true),
        (&named, outside, OUTSIDE, true),
        (&named, outside, INSIDE, false),
        (&server.root, nowhere, OUTSIDE, false),
    ] {
        let before = server.seen("/").len();
        let mut options = server.options();
        options.cloud = Cloud::custom(root, root).unwrap();
        options.reach = Some(Reach::of_test(may, move |_| found));
        let client = Client::new(options, "contoso.onmicrosoft.com", "app-1", Credential::secret("secret")).unwrap();
        let asked = client.get_json(mail("users/alice/messages")).await;
        assert_eq!(asked.is_ok(), works, "{root} {found}: {asked:?}");
        if let Err(e) = asked {
            assert!(e.chain().contains("private network"), "{}", e.chain());
            assert_eq!(server.seen("/").len(), before, "{root} {found}");
        }
    }
}
