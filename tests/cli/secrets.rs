//! No secret is ever told: every command runs with the log at its loudest, on good roads and bad ones, and everything
//! that comes out of the program or stays on the disk is searched for every secret that was in play.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tenantvault::crypto::Passphrase;
use tenantvault::format::slot::open_slot;
use tenantvault::sim::{Expected, SimHandle, SimOptions};

use crate::store;
use crate::support::{Done, Place, close, collect};

const CHOSEN: &str = "correct horse battery staple 4711";
const WRONG: &str = "nQ5wNsXr0aYx1mTzVbC2kLfJ8uHgD3sEoRtIyUpAq7w=";
const S3_SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzEXAMPLEKEY";
const S3_SESSION: &str = "FwoGZXIvYXdzEBYaDsecretsessiontoken==";
const DAV_PASSWORD: &str = "dav-password-hunter2";
const USER: &str = "alice@contoso.com";
const WRONG_SECRET: &str = "wrong~client~secret~0815";

/// All that the program told: who told it, and what.
#[derive(Default)]
struct Told(Mutex<Vec<(String, Vec<u8>)>>);

/// Something that must not be told, in every shape it could take.
struct Hidden {
    what: String,
    shapes: Vec<Vec<u8>>,
}

impl Hidden {
    fn text(what: &str, text: &str) -> Self {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let debug = format!("{text:?}");
        let shapes = [text, &encoded, debug.trim_matches('"'), &STANDARD.encode(text), &URL_SAFE_NO_PAD.encode(text)];
        Self { what: what.into(), shapes: shapes.iter().map(|shape| shape.as_bytes().to_vec()).collect() }
    }

    fn bytes(what: &str, bytes: &[u8]) -> Self {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let debug = format!("{bytes:?}");
        let texts = [hex.to_uppercase(), hex, STANDARD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes), debug];
        let shapes = texts.into_iter().map(String::into_bytes).chain([bytes.to_vec()]).collect();
        Self { what: what.into(), shapes }
    }

    fn is_in(&self, bytes: &[u8]) -> bool {
        self.shapes.iter().any(|shape| memchr::memmem::find(bytes, shape).is_some())
    }
}

impl Told {
    fn add(&self, who: String, what: Vec<u8>) {
        self.0.lock().unwrap().push((who, what));
    }

    /// Runs a command at the loudest level; keeps what it says, and the arguments of it and its children.
    fn run(&self, place: &Place, arguments: &[&str]) -> Done {
        self.run_with(place, arguments, &[])
    }

    fn run_with(&self, place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
        let mut command = place.process(arguments);
        command.env("TENANTVAULT_LOG", "trace").env("RUST_LOG", "trace").env("RUST_BACKTRACE", "1");
        command.envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let readers = [reader(child.stdout.take().expect("piped")), reader(child.stderr.take().expect("piped"))];
        let who = arguments.join(" ");
        let mut seen = Vec::new();
        let status = loop {
            arguments_of(child.id(), &mut seen);
            match child.try_wait().expect("it ends") {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let [out, err] = readers.map(|reader| reader.join().expect("it reads"));
        self.add(format!("the arguments of '{who}'"), seen);
        // Contents are what `cat` is for.
        let shown = if arguments.contains(&"cat") { Vec::new() } else { out.clone() };
        self.add(format!("stdout of '{who}'"), shown);
        self.add(format!("stderr of '{who}'"), err.clone());
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done { code: status.code().expect("it was not killed"), out: text(out), err: text(err) }
    }

    /// Adds every file below a folder, its name included.
    fn add_files(&self, folder: &Path) -> usize {
        let mut files = Vec::new();
        collect(folder, &mut files);
        for file in &files {
            let mut bytes = file.display().to_string().into_bytes();
            bytes.extend(std::fs::read(file).expect("it reads"));
            self.add(format!("the file {}", file.display()), bytes);
        }
        files.len()
    }

    fn is_free_of(&self, hidden: &[Hidden]) {
        let told = self.0.lock().unwrap();
        let mut found = Vec::new();
        for (who, what) in told.iter() {
            found.extend(hidden.iter().filter(|h| h.is_in(what)).map(|h| format!("{who}: {}", h.what)));
        }
        assert!(found.is_empty(), "secrets were told:\n{}", found.join("\n"));
    }

    /// Whether something was told at all: else this test reads nothing.
    fn has(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|(_, what)| memchr::memmem::find(what, text.as_bytes()).is_some())
    }
}

fn reader(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// Adds the arguments of a process and of its children, where the system tells them.
fn arguments_of(id: u32, seen: &mut Vec<u8>) {
    if let Ok(line) = std::fs::read(format!("/proc/{id}/cmdline")) {
        if memchr::memmem::find(seen, &line).is_none() {
            seen.extend(line);
        }
        for thread in std::fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            children
                .split_whitespace()
                .filter_map(|child| child.parse().ok())
                .for_each(|child| arguments_of(child, seen));
        }
    }
}

/// The keys that a repository's slot holds.
fn master_keys(place: &Place, key_file: &str) -> Vec<Hidden> {
    let passphrase = Passphrase::new(place.read(key_file).trim()).expect("a passphrase");
    let open = |path: &std::path::PathBuf| open_slot("slot", &std::fs::read(path).expect("it reads"), &passphrase).ok();
    let (_, secrets) = place.stored("keys").iter().find_map(open).expect("a slot opens");
    let content = secrets.content_private.as_ref().expect("an owner's key");
    [("content private key", content), ("psk", &secrets.psk), ("state key", &secrets.state), ("id key", &secrets.id)]
        .map(|(what, secret)| Hidden::bytes(what, secret.expose()))
        .into()
}

/// Lines of the bodies of mails that stand in no subject.
fn bodies(truth: &Expected) -> Vec<Hidden> {
    let messages: Vec<_> = truth.users.iter().flat_map(|user| &user.mailbox).flat_map(|m| &m.messages).collect();
    let plain = |line: &&str| line.len() >= 50 && line.bytes().all(|b| b.is_ascii_alphabetic() || b" ,.".contains(&b));
    let marks: Vec<_> = messages
        .iter()
        .filter_map(|message| {
            let mime = String::from_utf8_lossy(&message.mime.bytes()).into_owned();
            let (_, body) = mime.split_once("\r\n\r\n")?;
            let line = body.lines().rev().find(plain)?.trim().to_owned();
            messages
                .iter()
                .all(|other| !other.subject.contains(&line))
                .then(|| Hidden::text("the body of a mail", &line))
        })
        .take(25)
        .collect();
    assert!(marks.len() >= 10, "only {} mails have a line to look for", marks.len());
    marks
}

fn hidden(place: &Place, tenant: &SimHandle) -> Vec<Hidden> {
    let mut all = vec![
        Hidden::text("a chosen passphrase", CHOSEN),
        Hidden::text("a wrong passphrase", WRONG),
        Hidden::text("the S3 secret", S3_SECRET),
        Hidden::text("the S3 session token", S3_SESSION),
        Hidden::text("the WebDAV password", DAV_PASSWORD),
        Hidden::text("a wrong client secret", WRONG_SECRET),
        Hidden::text("the client secret", tenant.client_secret()),
    ];
    for file in ["repository.key", "second.key", "third.key"] {
        all.push(Hidden::text(&format!("the key in {file}"), place.read(file).trim()));
    }
    let private = place.read("app.key");
    let lines = private.lines().filter(|line| !line.starts_with("-----"));
    all.extend(lines.map(|line| Hidden::text("a line of the certificate's private key", line)));
    all.extend(master_keys(place, "third.key"));
    all.push(Hidden::text("the user's password", &tenant.password_of(USER)));
    let given_out = tenant.given_out();
    let tokens = given_out.iter().filter(|token| token.contains('.')).count();
    assert!(tokens > 3 && given_out.len() - tokens > 10, "{tokens} of {} are access tokens", given_out.len());
    all.extend(given_out.iter().map(|token| Hidden::text("an access token or a download permission", token)));
    all.extend(bodies(&tenant.expected()));
    all
}

/// Writes a configuration whose tenant proves itself in another way, or whose destination lies elsewhere.
fn configure(place: &Place, file: &str, change: impl Fn(String) -> String) {
    place.write(file, &change(place.read("tenantvault.toml")));
}

fn prepare(place: &Place) {
    for (name, text) in [("chosen.txt", CHOSEN), ("wrong.key", WRONG), ("wrong.secret", WRONG_SECRET)] {
        place.write(name, text);
        close(&place.path(name));
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graph");
    for (from, to) in [("app-key.pem", "app.key"), ("app-cert.pem", "app.crt")] {
        std::fs::copy(fixtures.join(from), place.path(to)).expect("it copies");
        close(&place.path(to));
    }
    configure(place, "wrong.toml", |text| text.replace("sim.secret", "wrong.secret"));
    let certificate = "certificate_file = \"app.crt\"\nprivate_key_file = \"app.key\"";
    configure(place, "certificate.toml", |text| text.replace("client_secret_file = \"sim.secret\"", certificate));
    let by_user = "sign_in = \"device-code\"\nkeep_tokens = \"file\"";
    configure(place, "user.toml", |text| text.replace("client_secret_file = \"sim.secret\"", by_user));
    let by_password = format!("sign_in = \"password\"\nuser = \"{USER}\"\npassword_file = \"user.password\"");
    configure(place, "password.toml", |text| text.replace("client_secret_file = \"sim.secret\"", &by_password));
    place.write("user.password", &place.tenant.as_ref().expect("a tenant").password_of(USER));
    close(&place.path("user.password"));
    let store = store::start();
    let s3 = format!("s3://bucket/repo?endpoint={store}");
    let keys = format!(
        "\n[destinations.local.credentials]\naccess_key_id = \"AKIAEXAMPLE\"\nsecret_access_key = \"{S3_SECRET}\"\n\
         session_token = \"{S3_SESSION}\"\n"
    );
    configure(place, "s3.toml", |text| text.replace("url = \"repository\"", &format!("url = \"{s3}\"")) + &keys);
    // The store lets nobody in who does not speak S3.
    let refusing = format!("url = \"{}/x\"", store.replace("http", "webdav+http"));
    let dav = format!("\n[destinations.local.credentials]\nusername = \"u\"\npassword = \"{DAV_PASSWORD}\"\n");
    configure(place, "dav.toml", |text| text.replace("url = \"repository\"", &refusing) + &dav);
    for file in ["wrong.toml", "certificate.toml", "s3.toml", "dav.toml", "user.toml", "password.toml"] {
        close(&place.path(file));
    }
}

#[track_caller]
fn ended(done: &Done, code: i32) {
    assert_eq!(done.code, code, "{}", done.err.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
}

#[test]
fn no_secret_is_told_at_the_loudest_level() {
    let place = Place::with_tenant(SimOptions { remembers: true, device_interval: 0, ..SimOptions::tiny() });
    let tenant = place.tenant.as_ref().expect("a tenant");
    prepare(&place);
    let told = Told::default();
    good_roads(&told, &place, tenant);
    bad_roads(&told, &place, tenant);
    assert!(told.add_files(&place.path("cache")) > 3 && told.add_files(&place.path("repository")) > 10);
    assert!(
        told.has("TRACE hyper") && told.has("DEBUG rustls") | told.has("DEBUG reqwest"),
        "the libraries are silent"
    );
    told.is_free_of(&hidden(&place, tenant));
    // The passphrase in use was never one of the arguments, and the search finds what is there.
    assert!(told.has("repository.key"));
    let known = Hidden::text("the path of a key file", "repository.key");
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| told.is_free_of(&[known]))).is_err());
}

fn good_roads(told: &Told, place: &Place, tenant: &SimHandle) {
    let run = |arguments: &[&str], code| {
        let done = told.run(place, arguments);
        ended(&done, code);
        done.out
    };
    run(&["init", "--generate-key", "--key-file", "repository.key"], 0);
    run(&["test", "everyone"], 0);
    run(&["backup", "everyone"], 3);
    tenant.advance_day();
    tenant.revoke_tokens();
    run(&["backup", "everyone", "--json"], 3);
    tenant.advance_day();
    run(&["backup", "everyone", "--config", "certificate.toml", "--password-command", "cat repository.key"], 3);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !tenant.waiting_codes().iter().any(|code| tenant.answer_device(code, USER, true)) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        run(&["login", "sim", "--config", "user.toml"], 0);
    });
    run(&["test", "everyone", "--config", "user.toml"], 0);
    run(&["test", "everyone", "--json", "--config", "password.toml"], 0);
    tenant.demand_claims(r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#, false);
    run(&["test", "everyone", "--config", "user.toml"], 0);
    tenant.revoke_sign_ins();
    run(&["test", "everyone", "--config", "user.toml"], 1);
    run(&["logout", "sim", "--config", "user.toml"], 0);
    let mut ids = Vec::new();
    for word in run(&["snapshots", "--json"], 0).split('"') {
        if word.len() == 64 && !ids.contains(&word.to_owned()) {
            ids.push(word.to_owned());
        }
    }
    run(&["snapshots"], 0);
    let listed = run(&["ls", "-R", "latest"], 0);
    run(&["ls", "-R", "latest", "--json"], 0);
    let mail = listed.lines().find(|line| line.ends_with(".eml")).expect("a message");
    run(&["cat", &format!("latest:{mail}")], 0);
    run(&["export", "latest", "restored"], 3);
    run(&["diff", ids.first().expect("a snapshot"), "latest"], 0);
    run(&["key", "add", "--label", "bob", "--generate-key", "--key-file", "second.key"], 0);
    run(&["key", "add", "--write-only", "--new-password-file", "chosen.txt"], 0);
    let slots = run(&["key", "list"], 0);
    run(&["key", "list", "--json", "-p", "chosen.txt"], 0);
    let bob = slots.lines().find(|line| line.contains("bob")).and_then(|line| line.split_whitespace().next());
    run(&["key", "remove", bob.expect("bob's key")], 0);
    run(&["key", "passwd", "--generate-key", "--key-file", "third.key"], 0);
    let third: &[&str] = &["-p", "third.key"];
    let run = |arguments: &[&str], code| run(&[arguments, third].concat(), code);
    run(&["forget", "--keep-last", "1"], 0);
    run(&["prune", "--grace", "0s"], 0);
    run(&["check", "--read-data"], 0);
    run(&["repair", "index"], 0);
    run(&["stats"], 0);
    run(&["config", "show"], 0);
    run(&["config", "show", "--json", "--config", "s3.toml"], 0);
    for arguments in [&["init"][..], &["backup", "everyone"], &["snapshots"], &["check", "--read-data"]] {
        let code = if arguments[0] == "backup" { 3 } else { 0 };
        run(&[arguments, &["--config", "s3.toml"]].concat(), code);
    }
    let key = place.read("third.key");
    let done = told.run_with(place, &["stats"], &[("TENANTVAULT_PASSWORD", key.trim())]);
    ended(&done, 0);
}

fn bad_roads(told: &Told, place: &Place, tenant: &SimHandle) {
    let fails = |arguments: &[&str], code| ended(&told.run(place, arguments), code);
    fails(&["snapshots", "-p", "wrong.key"], 12);
    fails(&["key", "list", "-p", "wrong.key", "--json"], 12);
    fails(&["snapshots", "-p", "repository.key"], 12);
    fails(&["test", "everyone", "--config", "wrong.toml"], 1);
    fails(&["backup", "everyone", "--config", "wrong.toml", "-p", "third.key"], 1);
    fails(&["snapshots", "--config", "dav.toml", "-p", "third.key"], 1);
    fails(&["init", "-r", "s3://u:hunter2@bucket/x?secret_access_key=hunter2", "-p", "third.key"], 2);
    let packs = place.stored("packs");
    for pack in packs {
        let mut bytes = std::fs::read(&pack).expect("it reads");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::remove_file(&pack).expect("it goes");
        std::fs::write(&pack, bytes).expect("it writes");
    }
    fails(&["check", "--read-data", "-p", "third.key"], 1);
    fails(&["ls", "-R", "latest", "-p", "third.key", "--no-cache"], 1);
    fails(&["export", "latest", "again", "-p", "third.key", "--no-cache"], 1);
    fails(&["repair", "index", "-p", "third.key"], 0);
    tenant.expire_secret();
    tenant.revoke_tokens();
    fails(&["backup", "everyone", "-p", "third.key"], 1);
}
