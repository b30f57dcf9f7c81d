//! Contents that no memory holds: a file and a message larger than what the program may use for them.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use tenantvault::graph::{Client, ClientOptions, Cloud, Credential, GraphRequest, Scope};
use tenantvault::sim::{Blob, Contents, Fault, FaultKind, SimOptions};

use crate::support::{Place, runtime};

/// What a run may use at most, whatever it reads, in MiB.
const MOST_MIB: u64 = 256;

/// A tenant of one user, with a repository and a set of one workload.
fn place(workload: &str, options: SimOptions) -> Place {
    let place = Place::with_tenant(SimOptions { users: 1, shared_mailboxes: 0, awkward: false, ..options });
    place.write("tenantvault.toml", &format!("{}workloads = [\"{workload}\"]\n", place.read("tenantvault.toml")));
    place.init();
    place
}

/// Waits for the end of a process; gives its code, and the most memory that it used at once, in MiB.
fn watched(mut child: Child) -> (i32, u64) {
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak = kib.unwrap_or(0).max(peak);
        if let Some(code) = child.try_wait().expect("it is ours") {
            return (code.code().expect("it was not killed"), peak / 1024);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Backs up; gives the most memory that it used, in MiB.
fn backup(place: &Place) -> u64 {
    let said = File::create(place.path("said")).expect("a file");
    let child = place.process(&["backup", "everyone"]).stdout(Stdio::null()).stderr(said).spawn().expect("it starts");
    let (code, peak) = watched(child);
    println!("{peak} MiB at most");
    // One file of the tenant is infected, which is a gap.
    assert!(matches!(code, 0 | 3), "{code}: {}", place.read("said"));
    assert!(peak > 0 && peak < MOST_MIB, "{peak} MiB were in use");
    peak
}

/// Reads a path of the last snapshot, and compares it with what it must be, piece by piece.
fn assert_contents(place: &Place, path: &str, wanted: &Blob) {
    let path = format!("latest:{path}");
    let mut child = place.process(&["cat", &path]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut out = child.stdout.take().expect("stdout");
    let (mut at, mut piece) = (0, vec![0; 1 << 20]);
    loop {
        let n = out.read(&mut piece).expect("it reads");
        assert!(piece[..n] == wanted.read_at(at, n), "other bytes within {n} from {at} on");
        at += n as u64;
        if n == 0 {
            break;
        }
    }
    let (code, peak) = watched(child);
    assert_eq!((code, at), (0, wanted.len()));
    assert!(peak < MOST_MIB, "{peak} MiB were in use");
}

/// What a download of an item is called in its address.
fn unique_id(place: &Place, drive: &str, item: &str) -> String {
    let sim = place.tenant.as_ref().expect("a tenant");
    let cloud = Cloud::custom(sim.graph_url(), sim.login_url()).expect("addresses");
    let credential = Credential::secret(sim.client_secret());
    let client =
        Client::new(ClientOptions::new(cloud), sim.tenant_id(), sim.client_id(), credential).expect("a client");
    let request = GraphRequest::get(Scope::Files, format!("drives/{drive}/items/{item}?$select=id,eTag"));
    let json = runtime().block_on(client.get_json(request)).expect("the item");
    let tag = json["eTag"].as_str().expect("a tag");
    tag.trim_start_matches("\"{").split('}').next().expect("an id").to_lowercase()
}

/// A file of a size, whose download is cut so many times; gives the most memory that the backup used, in MiB.
fn a_file_of(bytes: u64, cuts: u64) -> u64 {
    let contents = Contents { huge_file_bytes: bytes, large_file_bytes: 1_000, ..Contents::tiny() };
    let place = place("onedrive", SimOptions { drive_items: 12, contents, ..SimOptions::tiny() });
    let sim = place.tenant.as_ref().expect("a tenant");
    let user = sim.expected().users.into_iter().find(|user| user.drive.is_some()).expect("a user with a drive");
    let drive = user.drive.expect("a drive");
    let file = drive.items.iter().find(|item| item.name.starts_with("Huge")).expect("the file");
    let wanted = file.content.clone().expect("contents");
    assert_eq!(wanted.len(), bytes);
    let path = format!("UniqueId={}", unique_id(&place, &drive.id, &file.id));
    sim.inject(Fault { kind: FaultKind::Drop, path, probability: 1.0, count: Some(cuts) });
    sim.clear_stats();
    let peak = backup(&place);
    // Gone on with by ranges, and not begun anew.
    let stats = sim.stats();
    assert!(stats.bytes < bytes + bytes / 10 + (8 << 20), "{} bytes were sent for {bytes}", stats.bytes);
    let downloads: u64 = stats.routes.iter().filter(|(route, _)| route.contains("download.aspx")).map(|(_, n)| n).sum();
    assert!(downloads > cuts, "{downloads} downloads: it was not cut");
    assert_contents(&place, &format!("users/{}/OneDrive/{}", user.upn, file.path), &wanted);
    peak
}

#[test]
fn a_large_file_comes_through_cut_connections_and_takes_no_more_memory_than_a_small_one() {
    let (small, large) = (a_file_of(40 << 20, 2), a_file_of(120 << 20, 5));
    assert!(large < small + 64, "{small} MiB were in use for one of 40 MiB, {large} MiB for one of 120 MiB");
}

/// `BYTES=… cargo test --release --test cli huge -- --ignored --nocapture`; 150 GB unless told otherwise. What such a file holds is
/// the same over and over, so that no disk is needed.
#[test]
#[ignore = "150 GB: some minutes"]
fn a_file_of_150_gb_comes_through_cut_connections_in_pieces() {
    let bytes = std::env::var("BYTES").ok().and_then(|text| text.parse().ok());
    a_file_of(bytes.unwrap_or(150_000_000_000), 12);
}

/// Messages with attachments of about so many bytes.
fn a_message_of(bytes: u64) {
    let contents = Contents { attachment_bytes: bytes as f64 * 50.0, attachment_max_bytes: bytes, ..Contents::tiny() };
    let place = place("mail", SimOptions { messages: 6, contents, ..SimOptions::tiny() });
    let sim = place.tenant.as_ref().expect("a tenant");
    let largest = |sim: &tenantvault::sim::SimHandle| {
        let users = sim.expected().users;
        let messages = users.into_iter().filter_map(|user| user.mailbox).flat_map(|mailbox| mailbox.messages);
        messages.filter(|message| !message.recoverable).map(|message| message.mime.bytes()).max_by_key(Vec::len)
    };
    let wanted = largest(sim).expect("a message");
    assert!(wanted.len() as u64 > bytes, "the largest message has {} bytes", wanted.len());
    backup(&place);
    let done = place.run(&["export", "latest:users", "out"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let mut files = Vec::new();
    crate::support::collect(&place.path("out"), &mut files);
    let same = |path: &std::path::PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes == wanted);
    assert!(files.iter().any(same), "the message is not among {} files", files.len());
}

#[test]
fn a_message_with_a_large_attachment_is_read_whole() {
    a_message_of(8 << 20);
}

#[test]
#[ignore = "messages of 150 MB: a minute"]
fn a_message_of_150_mb_is_read_whole() {
    a_message_of(110 << 20);
}
