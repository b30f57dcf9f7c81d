//! Looking inside: `mount`, walked by the programs that everybody has, and `serve webdav`, asked as a client asks.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::support::{Place, collect, shared};

/// What the kernel calls an I/O error.
const EIO: i32 = 5;

/// The program while it serves; ended with the test, however that ends.
struct Serving {
    child: Child,
    /// What it said when it was ready.
    status: Value,
    mounted: Option<PathBuf>,
}

impl Serving {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut command = place.process(&[arguments, &["--json"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("stdout");
        // Byte by byte: what comes after the line is for whoever reads the rest.
        let mut byte = [0];
        while out.read(&mut byte).is_ok_and(|n| n == 1) && byte[0] != b'\n' {
            line.push(byte[0] as char);
        }
        let status = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut err = String::new();
            let _ = child.stderr.take().expect("stderr").read_to_string(&mut err);
            panic!("it is not ready: {line} {err}")
        });
        Self { child, status, mounted: None }
    }

    fn mount(place: &Place, folder: &str) -> Self {
        std::fs::create_dir_all(place.path(folder)).expect("a folder");
        let mut serving = Self::start(place, &["mount", folder]);
        serving.mounted = Some(place.path(folder));
        serving
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for its end; gives the exit code, the summary and what it said on stderr.
    fn ended(mut self) -> (Option<i32>, Value, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().expect("stdout").read_to_string(&mut out).expect("it reads");
        self.child.stderr.take().expect("stderr").read_to_string(&mut err).expect("it reads");
        let code = self.child.wait().expect("it ends").code();
        (code, out.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).expect("JSON")), err)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(folder) = &self.mounted {
            let _ = Command::new("fusermount3").args(["-u", "-z", "-q"]).arg(folder).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says whether this machine can mount; tells if it cannot.
fn can_mount(what: &str) -> bool {
    let can = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
        && Command::new("fusermount3").arg("-V").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !can {
        eprintln!("NOT TESTED: {what}: this machine has no FUSE");
    }
    can
}

fn is_mounted(folder: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    mounts.lines().any(|line| line.split(' ').nth(1) == folder.to_str())
}

/// What a program prints, which must succeed.
fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let done = Command::new(program).args(arguments).current_dir(folder).output().expect("it runs");
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = Vec::new();
    collect(root, &mut all);
    let relative = |path: &PathBuf| path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
    all.iter().filter_map(|path| Some((relative(path), std::fs::read(path).ok()?))).collect()
}

#[test]
fn find_grep_and_cp_see_in_the_mount_what_an_export_writes() {
    if !can_mount("find, grep and cp in a mount") {
        return;
    }
    let place = shared();
    place.run(&["export", "latest", "beside-the-mount"]);
    let exported = place.path("beside-the-mount");
    let serving = Serving::mount(place, "mounted");
    let latest = place.path("mounted/sets/everyone/latest");
    let wanted = files(&exported);
    assert!(wanted.len() > 50);
    // find: each file once, of the right size, or it is one whose contents were a gap.
    let found = run("find", &[".", "-type", "f", "-printf", "%P\t%s\t%m\t%u\n"], &latest);
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    let me = run("id", &["-un"], &latest);
    for line in found.lines() {
        let [path, size, mode, owner] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert_eq!((mode, owner), ("444", me.trim()), "{line}");
        assert!(sizes.insert(path, size.parse().expect("a size")).is_none(), "{path} twice");
    }
    for (path, contents) in &wanted {
        assert_eq!(sizes.get(path.as_str()), Some(&(contents.len() as u64)), "{path}");
    }
    assert!(sizes.len() < wanted.len() + 20);
    // grep: the same files hold the same words.
    let hits = |folder: &Path| {
        let done = Command::new("grep").args(["-rlsi", "the", "."]).current_dir(folder).output().expect("grep runs");
        let mut hits: Vec<String> = String::from_utf8_lossy(&done.stdout).lines().map(str::to_owned).collect();
        hits.sort();
        hits
    };
    assert_eq!(hits(&latest), hits(&exported));
    assert!(!hits(&latest).is_empty());
    // cp: what can be read arrives, byte for byte, with its time.
    let copied = place.path("copied");
    let mut copy = Command::new("cp");
    copy.args(["-rp", "--no-preserve=mode,ownership"]).arg(latest.join("users")).arg(&copied);
    let said = copy.output().expect("cp runs").stderr;
    for line in String::from_utf8_lossy(&said).lines() {
        assert!(line.contains("Input/output error"), "{line}");
    }
    let users = |files: BTreeMap<String, Vec<u8>>| -> BTreeMap<String, Vec<u8>> {
        files.into_iter().filter_map(|(path, c)| Some((path.strip_prefix("users/")?.to_owned(), c))).collect()
    };
    let arrived: BTreeMap<String, Vec<u8>> = files(&copied).into_iter().filter(|(_, c)| !c.is_empty()).collect();
    let wanted: BTreeMap<String, Vec<u8>> = users(wanted).into_iter().filter(|(_, c)| !c.is_empty()).collect();
    assert!(arrived == wanted, "{:?}", arrived.keys().filter(|k| !wanted.contains_key(*k)).collect::<Vec<_>>());
    let one = wanted.keys().find(|path| path.ends_with(".eml")).expect("a message");
    let time = |root: &Path| std::fs::metadata(root.join(one)).expect("it is there").modified().expect("a time");
    let apart = time(&copied).duration_since(time(&exported.join("users"))).unwrap_or_else(|e| e.duration());
    assert!(apart < Duration::from_secs(2), "{apart:?}");
    // Nothing can be changed.
    let error = std::fs::write(latest.join("new"), "x").expect_err("it is read-only");
    assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    serving.signal("-INT");
    let (code, summary, err) = serving.ended();
    assert_eq!((code, &summary["in_use"]), (Some(0), &Value::Bool(false)), "{err}");
    assert!(!is_mounted(&place.path("mounted")));
}

#[test]
fn a_mount_ends_by_sigterm_from_outside_and_while_somebody_looks() {
    if !can_mount("the ends of a mount") {
        return;
    }
    let place = shared();
    let serving = Serving::mount(place, "ends");
    let folder = place.path("ends");
    serving.signal("-TERM");
    assert_eq!(serving.ended().0, Some(0));
    assert!(!is_mounted(&folder));

    let serving = Serving::mount(place, "ends");
    run("fusermount3", &["-u", "ends"], folder.parent().expect("a parent"));
    assert_eq!(serving.ended().0, Some(0));

    let serving = Serving::mount(place, "ends");
    let open = std::fs::File::open(folder.join("sets")).expect("it opens");
    serving.signal("-INT");
    let (code, summary, err) = serving.ended();
    assert_eq!((code, &summary["in_use"]), (Some(0), &Value::Bool(true)), "{err}");
    assert!(err.contains("in use"), "{err}");
    assert!(!is_mounted(&folder));
    drop(open);
}

#[test]
fn a_folder_that_cannot_be_mounted_on_is_named_with_what_to_do() {
    let place = shared();
    std::fs::create_dir_all(place.path("full/inside")).expect("folders");
    place.write("file", "x");
    place.run(&["mount", "not-there"]).fails(1, &["not-there", "mkdir"]);
    place.run(&["mount", "full"]).fails(2, &["full is not empty", "an empty folder"]);
    place.run(&["mount", "file"]).fails(2, &["file is a file", "an empty folder"]);
    if !can_mount("mounting twice") {
        return;
    }
    let serving = Serving::mount(place, "twice");
    place.run(&["mount", "twice"]).fails(1, &["is mounted on", "fusermount3 -u"]);
    serving.signal("-INT");
    assert_eq!(serving.ended().0, Some(0));
}

#[test]
fn a_new_snapshot_is_seen_in_a_mount_and_a_forgotten_one_goes() {
    if !can_mount("a mount beside a backup") {
        return;
    }
    let place = Place::with_snapshots(1);
    let serving = Serving::mount(&place, "mounted");
    let sets = place.path("mounted/sets/everyone");
    let names = |folder: &Path| -> Vec<String> { run("ls", &[], folder).lines().map(str::to_owned).collect() };
    assert_eq!(names(&sets).len(), 2);
    let first = place.snapshots().remove(0);
    place.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    // It looks again now and then.
    while names(&sets).len() < 3 {
        std::thread::sleep(Duration::from_millis(200));
    }
    let mail = run("find", &["latest/users", "-name", "*.eml"], &sets);
    assert!(mail.lines().count() > 5);
    assert_eq!(place.run(&["forget", &first]).code, 0);
    while names(&sets).len() > 2 {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(names(&place.path("mounted/snapshots")).len(), 1);
    run("grep", &["-rqs", "Subject", "latest/users"], &sets);
    serving.signal("-INT");
    assert_eq!(serving.ended().0, Some(0));
}

/// Reads an open file from its beginning: it gives its bytes, or an I/O error. Says whether it gave them.
fn reads(mut file: &std::fs::File, contents: &[u8]) -> bool {
    file.rewind().expect("it seeks");
    let mut found = Vec::new();
    match file.read_to_end(&mut found) {
        Ok(_) => {
            assert!(found == contents, "other bytes");
            true
        }
        Err(e) => {
            assert_eq!(e.raw_os_error(), Some(EIO), "{e}");
            false
        }
    }
}

/// Prunes once, while somebody goes on reading all files that were there.
fn prune_under(place: &Place, latest: &Path, known: &BTreeMap<String, Vec<u8>>) {
    let mut prune = place.process(&["prune", "--grace", "0", "--max-unused", "0"]);
    let mut prune = prune.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let code = loop {
        for (path, contents) in known {
            match std::fs::read(latest.join(path)) {
                Ok(found) => assert!(found == *contents, "{path}: other bytes"),
                // The snapshot is in no listing any more.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => assert_eq!(e.raw_os_error(), Some(EIO), "{path}: {e}"),
            }
        }
        if let Some(status) = prune.try_wait().expect("it can be asked") {
            break status.code();
        }
    };
    assert_eq!(code, Some(0));
}

#[test]
fn programs_in_a_mount_of_which_all_is_forgotten_and_pruned_get_its_bytes_or_an_io_error() {
    if !can_mount("a mount beside forget and prune") {
        return;
    }
    let place = Place::with_snapshots(1);
    // In the one all files were read before, in the other none.
    let (known, fresh) = (Serving::mount(&place, "known"), Serving::mount(&place, "fresh"));
    let latest = place.path("known/sets/everyone/latest");
    let all = files(&latest);
    let (path, contents) = all.iter().find(|(path, c)| path.ends_with(".eml") && !c.is_empty()).expect("a message");
    let open = |latest: &Path| std::fs::File::open(latest.join(path)).expect("it opens");
    let (again, first) = (open(&latest), open(&place.path("fresh/sets/everyone/latest")));
    let snapshots = place.path("fresh/snapshots");
    let names = || -> Vec<String> { run("ls", &[], &snapshots).lines().map(str::to_owned).collect() };
    let (packs, before) = (place.stored("packs"), names());
    let snapshot = place.snapshots().remove(0);
    assert_eq!(place.run(&["forget", &snapshot]).code, 0);
    // What the first one marks the second deletes.
    for _ in 0..2 {
        prune_under(&place, &latest, &all);
    }
    assert!(!packs.is_empty() && packs.iter().all(|pack| !pack.exists()), "{packs:?}");
    // What is open goes on, or says so.
    reads(&again, contents);
    assert!(!reads(&first, contents), "nobody has these bytes any more");
    // A failure has the mount look whether the snapshot is still there.
    while names() == before {
        assert!(!reads(&first, contents));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!reads(&first, contents) && names().is_empty());

    place.tenant.as_ref().expect("a tenant").advance_day();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    while names().is_empty() {
        // These bytes may be stored anew.
        reads(&first, contents);
        std::thread::sleep(Duration::from_millis(100));
    }
    let new = snapshots.join(names().remove(0));
    let mail = run("find", &["users", "-name", "*.eml"], &new);
    assert!(mail.lines().count() > 5, "{mail}");
    run("grep", &["-rqs", "Subject", "users"], &new);
    reads(&first, contents);
    drop((again, first));
    for (serving, is_told) in [(known, false), (fresh, true)] {
        serving.signal("-INT");
        let (code, _, err) = serving.ended();
        assert!(code == Some(0) && !err.contains("panicked"), "{err}");
        assert!(!is_told || err.contains(&format!("{snapshot} is no more")), "{err}");
    }
}

/// Asks, with the head of a request but for the password, and gives status, head and body.
fn ask(serving: &Serving, password: Option<&str>, request: &str) -> (u16, String, Vec<u8>) {
    let url = serving.status["url"].as_str().expect("a URL");
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = TcpStream::connect(address).expect("it connects");
    let login = password.map(|p| format!("Authorization: Basic {}\r\n", BASE64.encode(format!("me:{p}"))));
    let (first, rest) = request.split_once('\n').unwrap_or((request, ""));
    let rest: String = rest.lines().map(|line| format!("{line}\r\n")).collect();
    let head = format!("{first} HTTP/1.0\r\nHost: x\r\n{}{rest}\r\n", login.unwrap_or_default());
    stream.write_all(head.as_bytes()).expect("it takes it");
    let mut reader = BufReader::new(stream);
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|n| n > 0) && line != "\r\n" {
        head.push_str(&line.to_lowercase());
        line.clear();
    }
    let mut body = Vec::new();
    let _ = reader.read_to_end(&mut body);
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_else(|| panic!("no answer: {head}"));
    (status, head, body)
}

#[test]
fn webdav_asks_for_the_password_and_refuses_what_would_change_or_lead_away() {
    let place = shared();
    let serving = Serving::start(place, &["serve", "webdav"]);
    let password = serving.status["password"].as_str().expect("a password").to_owned();
    assert!(serving.status["url"].as_str().is_some_and(|url| url.starts_with("http://127.0.0.1:")));
    let asked = |request: &str| ask(&serving, Some(&password), request);
    let longer = format!("{password}x");
    for wrong in [None, Some(""), Some("wrong"), Some(&password[1..]), Some(longer.as_str())] {
        for request in ["GET /", "OPTIONS /", "PROPFIND /\nDepth: 0", "PUT /x\nContent-Length: 0"] {
            let (status, head, _) = ask(&serving, wrong, request);
            assert!(status == 401 && head.contains("basic realm"), "{wrong:?} {request}: {head}");
        }
    }
    let (status, head, _) = asked("OPTIONS /");
    assert!(status == 200 && head.contains("\r\ndav: 1\r\n") && !head.contains("lock"), "{head}");
    for method in ["PUT", "DELETE", "MKCOL", "MOVE", "COPY", "LOCK", "UNLOCK", "PROPPATCH", "PATCH", "POST", "REPORT"] {
        let (status, ..) = asked(&format!("{method} /sets/new\nContent-Length: 0\nDestination: http://x/sets/other"));
        assert!(matches!(status, 403 | 405), "{method}: {status}");
    }
    let (status, head, body) = asked("PROPFIND /\nDepth: infinity\nX-Litmus: 1");
    assert!(status == 403 && String::from_utf8_lossy(&body).contains("propfind-finite-depth"), "{head}");
    for path in [
        "/..",
        "/../etc/passwd",
        "/sets/../../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/sets/%2e%2e/%2e%2e/etc/passwd",
        "/sets%2f..%2f..%2fetc%2fpasswd",
        "/sets/everyone%2flatest",
        "/sets/%00",
        "/sets/%ff",
        "/sets/\\..\\..",
        "//etc/passwd",
    ] {
        let (status, head, body) = asked(&format!("GET {path}"));
        assert!((400..=405).contains(&status), "{path}: {head}");
        assert!(!String::from_utf8_lossy(&body).contains("root:"), "{path}");
    }
    serving.signal("-TERM");
    let (code, _, err) = serving.ended();
    assert_eq!(code, Some(0), "{err}");
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn webdav_gives_files_whole_and_in_ranges() {
    let place = shared();
    place.write("web.key", "a password of one's own\n");
    crate::support::close(&place.path("web.key"));
    let serving = Serving::start(place, &["serve", "webdav", "--access-password-file", "web.key"]);
    assert_eq!(serving.status["password"], Value::Null);
    let asked = |request: &str| ask(&serving, Some("a password of one's own"), request);
    let (_, items) = place.json(&["ls", "-R", "latest"]);
    let path = items.iter().filter(|l| l["kind"] == "message").find_map(|l| l["path"].as_str()).expect("a message");
    let whole = place.run(&["cat", &format!("latest:{path}")]).out.into_bytes();
    let escaped: String = path
        .bytes()
        .map(|b| if b == b'/' || b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") })
        .collect();
    let url = format!("/sets/everyone/latest/{escaped}");
    let (status, head, body) = asked(&format!("GET {url}"));
    assert_eq!((status, body.len()), (200, whole.len()), "{head}");
    assert!(body == whole && head.contains("message/rfc822") && head.contains("sandbox"), "{head}");
    let (status, head, body) = asked(&format!("HEAD {url}"));
    assert!(status == 200 && body.is_empty() && head.contains(&format!("content-length: {}", whole.len())), "{head}");
    let middle = whole.len() / 2;
    for (range, wanted) in [
        ("bytes=0-9".to_owned(), &whole[..10]),
        (format!("bytes={middle}-"), &whole[middle..]),
        ("bytes=-7".to_owned(), &whole[whole.len() - 7..]),
    ] {
        let (status, head, body) = asked(&format!("GET {url}\nRange: {range}"));
        assert!(status == 206 && body == wanted, "{range}: {head}");
    }
    assert_eq!(asked(&format!("GET {url}\nRange: bytes={}-", whole.len() + 1)).0, 416);
    let folder = url.rsplit_once('/').expect("a folder").0;
    let (status, _, body) = asked(&format!("PROPFIND {folder}/\nDepth: 1"));
    let listed = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 207 && listed.matches("<D:response>").count() > 1, "{listed}");
    assert!(listed.contains(&format!("<D:getcontentlength>{}</D:getcontentlength>", whole.len())), "{listed}");
    assert_eq!(asked(&format!("PROPFIND {folder}/nothing\nDepth: 0")).0, 404);
    serving.signal("-INT");
    assert_eq!(serving.ended().0, Some(0));
}

#[test]
fn a_short_password_and_an_address_that_is_taken_are_named() {
    let place = shared();
    place.write("short.key", "1234");
    crate::support::close(&place.path("short.key"));
    place.run(&["serve", "webdav", "--access-password-file", "short.key"]).fails(2, &["too short", "8 characters"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    place.run(&["serve", "webdav", "--listen", &address]).fails(1, &[&address, "--listen"]);
    place.run(&["serve", "webdav", "--listen", "nowhere"]).fails(2, &["nowhere"]);
}

/// `.ci/servers FOLDER` installs the clients, then
/// `PATH="FOLDER/bin:$PATH" cargo test --test cli -- --ignored browse::`.
#[test]
#[ignore = "needs clients of WebDAV; .ci/run runs it"]
fn webdav_shows_other_peoples_clients_what_an_export_writes() {
    let place = shared();
    place.run(&["export", "latest", "beside-webdav"]);
    let serving = Serving::start(place, &["serve", "webdav"]);
    let url = format!("{}sets/everyone/latest", serving.status["url"].as_str().expect("a URL"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/webdav_clients.py");
    let mut clients = Command::new("servers-python")
        .arg(script)
        .arg(url)
        .arg(place.path("beside-webdav"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the clients are installed");
    let password = serving.status["password"].as_str().expect("a password");
    writeln!(clients.stdin.take().expect("stdin"), "{password}").expect("it takes it");
    let done = clients.wait_with_output().expect("it ends");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.contains("files are the same"), "{out}{err}");
    serving.signal("-TERM");
    assert_eq!(serving.ended().0, Some(0));
}
