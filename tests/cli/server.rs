//! The backup server as a process: starting, being asked, ending.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::support::{Done, Place};

/// A server that runs; it is killed if the test ends without it.
pub struct Server {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Server {
    pub fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::start_with(place, arguments, &[])
    }

    pub fn start_with(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_logging(place, arguments, variables, Stdio::null())
    }

    /// The same, with its log to somewhere.
    fn start_logging(place: &Place, arguments: &[&str], variables: &[(&str, &str)], log: Stdio) -> Self {
        let mut process = place.process(arguments);
        process.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(log);
        let mut child = process.spawn().expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        Self { child, lines }
    }

    /// The next line of its status.
    pub fn status(&mut self) -> serde_json::Value {
        for line in self.lines.by_ref() {
            let line: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
            if line["message_type"] == "status" {
                return line;
            }
        }
        panic!("it ended before it said where it is");
    }

    /// Ends it without a word, as the kernel does.
    pub fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("it ends");
    }

    pub fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().expect("kill runs").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What a server answers to a GET.
pub fn get(url: &str, path: &str) -> String {
    let host = url.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(host).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_demonstration_of_the_server_shows_a_living_one() {
    let place = Place::empty();
    let mut server = Server::start(&place, &["server", "--demo", "--listen", "127.0.0.1:0", "--json"]);
    let status = server.status();
    let url = status["url"].as_str().expect("an address").to_owned();
    assert_eq!(status["key"].as_str().map(str::len), Some(44));
    assert!(get(&url, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&url, "/sign-in").contains("Sign in"));
    let figures = get(&url, "/metrics");
    assert!(figures.contains("tenantvault_accounts 2") && figures.contains("tenantvault_sets 1"), "{figures}");
    assert!(figures.contains("kind=\"backup\""), "{figures}");
    assert_eq!(server.interrupt(), Some(0));
}

#[test]
fn a_demonstration_is_for_this_machine_alone_unless_it_is_told_otherwise() {
    let place = Place::empty();
    let told = ["can be reached from other machines", "--demo-for-others"];
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8484"] {
        place.run(&["server", "--demo", "--listen", listen]).fails(2, &told);
    }
    // As the container's image says it.
    let mut command = place.command(&["server", "--demo"]);
    let done = Done::of(command.env("TENANTVAULT_SERVER_LISTEN", "0.0.0.0:0").output().expect("it runs"));
    done.fails(2, &told);
    for role in ["web", "scheduler", "worker"] {
        place.run(&["server", "--demo", "--role", role]).fails(2, &["all parts of a server", "--role"]);
    }
    place.run(&["server", "--dir", "vault", "--demo-for-others"]).fails(2, &["--demo"]);
    let open = ["server", "--demo", "--demo-for-others", "--listen", "0.0.0.0:0", "--json"];
    let mut server = Server::start(&place, &open);
    assert_eq!(server.status()["message_type"], "status");
    assert_eq!(server.interrupt(), Some(0));
}

#[test]
fn a_server_keeps_what_it_has_and_asks_for_its_master_key() {
    let place = Place::empty();
    let start = || Server::start(&place, &["server", "--dir", "vault", "--listen", "127.0.0.1:0", "--json"]);
    let mut server = start();
    let status = server.status();
    let link = status["first_link"].as_str().expect("nobody is there yet").to_owned();
    let url = status["url"].as_str().expect("an address").to_owned();
    assert!(get(&url, link.strip_prefix(&url).expect("its own")).contains("Choose a password"));
    assert_eq!(server.interrupt(), Some(0));
    // A new start, a new link; the old one has ended.
    let mut server = start();
    let status = server.status();
    let url = status["url"].as_str().expect("an address").to_owned();
    let path = link.rfind("/welcome").map(|at| &link[at..]).expect("a path");
    assert!(get(&url, path).starts_with("HTTP/1.1 404"));
    // Whom nobody on the pages can help gets a link beside the server.
    let (code, lines) = place.json(&["server", "--dir", "vault", "--new-link", "Admin"]);
    let made = lines.last().and_then(|line| line["link"].as_str()).unwrap_or_default().to_owned();
    assert_eq!(code, 0, "{lines:?}");
    let path = made.rfind("/welcome").map(|at| &made[at..]).expect("a path");
    assert!(get(&url, path).contains("Choose a password"));
    assert_eq!(server.interrupt(), Some(0));
    place.run(&["server", "--dir", "vault", "--new-link", "nobody"]).fails(1, &["Nobody has the login 'nobody'"]);
    place.run(&["server", "--dir", "nowhere", "--new-link", "admin"]).fails(1, &["no server's database in"]);

    std::fs::write(place.path("vault/master.key"), "no key").expect("written");
    place
        .run(&["server", "--dir", "vault", "--listen", "127.0.0.1:0"])
        .fails(1, &["does not hold a master key", "Hint"]);
    place.run(&["server"]).fails(2, &["Which folder?", "--dir"]);
    place.run(&["server", "--dir", "vault", "--role", "king"]).fails(2, &["not a role", "scheduler"]);
}

#[test]
fn the_number_that_the_page_of_a_servers_error_names_stands_in_its_log() {
    let place = Place::empty();
    // As the units and the container start it: nothing is said of a log.
    let log = std::fs::File::create(place.path("log")).expect("a file");
    let arguments = ["server", "--dir", "vault", "--listen", "127.0.0.1:0", "--json"];
    let mut server = Server::start_logging(&place, &arguments, &[], log.into());
    let status = server.status();
    let url = status["url"].as_str().expect("an address").to_owned();
    let link = status["first_link"].as_str().expect("nobody is there yet").to_owned();
    let path = link.strip_prefix(&url).expect("its own");
    assert!(!get(&url, "/welcome/nothing").contains("log says more"), "there it says no more");
    let file = place.path("vault/server.db");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        use sqlx::Connection as _;
        let mut db = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("open");
        sqlx::query("ALTER TABLE invitations RENAME TO lost").execute(&mut db).await.expect("renamed");
        db.close().await.expect("closed");
    });
    let page = get(&url, path);
    assert!(page.starts_with("HTTP/1.1 500"), "{page}");
    let number = page.split("<code>").nth(1).and_then(|rest| rest.split("</code>").next()).expect("a number");
    assert_eq!(number.len(), 32, "{page}");
    assert_eq!(server.interrupt(), Some(0));
    let log = std::fs::read_to_string(place.path("log")).expect("text");
    assert!(log.contains(number), "{number}: {log}");
}

#[test]
fn what_the_environment_says_of_a_server_counts_or_is_refused() {
    let place = Place::empty();
    let asked = |variables: &[(&str, &str)]| {
        let mut process = place.process(&["server", "--dir", "server", "--listen", "127.0.0.1:0"]);
        let ended = process.envs(variables.iter().copied()).output().expect("it runs");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    for (variables, told) in [
        (&[("TENANTVAULT_SERVER_JOBS", "zzz")][..], "a number from 1 to 64"),
        (&[("TENANTVAULT_SERVER_JOBS", "65")], "a number from 1 to 64"),
        (&[("TENANTVAULT_SERVER_CONNECTIONS", "0")], "a number from 16 to 1000000"),
        (&[("TENANTVAULT_SERVER_HEALTH_LISTEN", "8485")], "an address and a port"),
        (&[("TENANTVAULT_SERVER_PUBLIC_TARGETS_ONLY", "yes")], "true or false"),
        (&[("TENANTVAULT_SERVER_TRUSTED_PROXIES", "10.0.0.1,proxy")], "addresses and networks"),
        (&[("TENANTVAULT_SERVER_TLS_KEY", "a.key")], "TENANTVAULT_SERVER_TLS_CERTIFICATE"),
        (&[("TENANTVAULT_SERVER_TLS_CERTIFICATE", "a.pem"), ("TENANTVAULT_SERVER_TLS_KEY", "a.key")], "a.pem"),
    ] {
        let (code, text) = asked(variables);
        assert!(code.is_some_and(|code| code != 0) && text.contains(told), "{variables:?}: {code:?} {text}");
    }
}

#[test]
fn a_file_says_what_neither_flag_nor_environment_does() {
    let place = Place::empty();
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let text = format!(
        "# the server\ndir = \"vault\"\nlisten = \"127.0.0.1:{port}\"\njobs = 2\nconnections = 64\nconnections_per_address = 8\npublic_url = \"https://backup.example.com\"\n\
         public_targets_only = true\ntrusted_proxies = [\"10.0.0.1\", \"172.16.0.0/12\"]\n"
    );
    std::fs::create_dir(place.path("etc")).expect("a folder");
    std::fs::write(place.path("etc/server.toml"), text).expect("written");
    // Its paths begin at its folder; what it is reached under is what it says.
    let mut server = Server::start(&place, &["server", "--config", "etc/server.toml", "--json"]);
    assert_eq!(server.status()["url"], "https://backup.example.com");
    assert!(get(&format!("http://127.0.0.1:{port}"), "/healthz").starts_with("HTTP/1.1 200"));
    assert_eq!(server.interrupt(), Some(0));
    assert!(place.path("etc/vault/master.key").is_file());
    // A flag counts before it; the variable of other commands is none of the server's.
    let mut process = place.process(&["server", "--dir", "other", "--listen", "127.0.0.1:0", "--role", "king"]);
    let variables = [("TENANTVAULT_SERVER_CONFIG", "etc/server.toml"), ("TENANTVAULT_CONFIG", "nowhere.toml")];
    let ended = process.envs(variables).output().expect("it runs");
    let text = String::from_utf8_lossy(&ended.stderr);
    assert!(text.contains("--role: 'king' is not a role"), "{text}");
    // What all three say.
    std::fs::write(place.path("etc/server.toml"), "dir = \"vault\"\nrole = \"king\"\n").expect("written");
    let refused = |flags: &[&str], variables: &[(&str, &str)]| {
        let mut process = place.process(&[&["server", "--config", "etc/server.toml"], flags].concat());
        let ended = process.envs(variables.iter().copied()).output().expect("it runs");
        String::from_utf8_lossy(&ended.stderr).into_owned()
    };
    let variable = [("TENANTVAULT_SERVER_ROLE", "queen")];
    for (flags, variables, told) in [
        (&["--role", "jack"][..], &variable[..], "--role: 'jack' is not"),
        (&["--role", "jack"], &[], "--role: 'jack' is not"),
        (&[], &variable, "TENANTVAULT_SERVER_ROLE: 'queen' is not"),
        (&[], &[], "server.toml, line 2: role: 'king' is not"),
    ] {
        let text = refused(flags, variables);
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[test]
fn a_file_that_cannot_be_meant_is_refused_with_its_line() {
    let place = Place::empty();
    for (text, told) in [
        ("\njob = 3\nrole = \"king\"\n", &["server.toml, line 2: unknown key 'job'", "'jobs'"][..]),
        ("\n\njobs = \"3\"\n", &["server.toml, line 3: jobs must be a number; found: string"]),
        ("jobs = 0\n", &["server.toml, line 1: jobs is '0'", "1 to 64"]),
        ("\nconnections = 15\n", &["server.toml, line 2: connections is '15'", "16 to 1000000"]),
        ("connections_per_address = 0\n", &["line 1: connections_per_address is '0'", "1 to 1000000"]),
        ("public_targets_only = \"yes\"\n", &["line 1: public_targets_only must be true or false"]),
        ("\ntrusted_proxies = [\"10.0.0.0/40\"]\n", &["line 2: trusted_proxies is '10.0.0.0/40'"]),
        ("trusted_proxies = \"10.0.0.1\"\n", &["trusted_proxies must be a list of texts"]),
        ("listen = \"8080\"\n", &["line 1: listen is '8080'", "127.0.0.1:8080"]),
        ("role = \"king\"\n", &["line 1: role: 'king' is not a role"]),
        ("jobs = 1\njobs = 2\n", &["server.toml, line 2", "twice"]),
        ("database_url = \"a\"\ndatabase_url_file = \"b\"\n", &["given twice"]),
        ("dir = [\n", &["server.toml, line"]),
    ] {
        std::fs::write(place.path("server.toml"), text).expect("written");
        place.run(&["server", "--dir", "vault", "--config", "server.toml"]).fails(2, told);
    }
    place.run(&["server", "--dir", "vault", "--config", "nowhere.toml"]).fails(1, &["nowhere.toml cannot be read"]);
    place.run(&["server", "--dir", "vault", "--trusted-proxy", "x"]).fails(2, &["--trusted-proxy is 'x'"]);
}

#[test]
fn the_audit_log_of_a_folder_is_verified_beside_the_server() {
    let place = Place::empty();
    let mut server =
        Server::start(&place, &["server", "--demo", "--dir", "vault", "--listen", "127.0.0.1:0", "--json"]);
    server.status();
    // Also while it runs.
    let (code, lines) = place.json(&["audit", "verify", "--dir", "vault"]);
    assert_eq!(code, 0, "{lines:?}");
    let summary = lines.last().expect("a summary").clone();
    let last = summary["hash"].as_str().expect("a hash");
    assert!(summary["entries"].as_u64().is_some_and(|many| many > 0), "{summary}");
    let done = place.run(&["audit", "verify", "--dir", "vault", "--known", last]);
    assert!(done.code == 0 && done.out.contains(last), "{}{}", done.out, done.err);
    place.run(&["audit", "verify", "--dir", "vault", "--known", "0"]).fails(1, &["No entry has the hash", "Hint"]);
    // A second server does not work in the same folder.
    place.run(&["server", "--dir", "vault", "--listen", "127.0.0.1:0"]).fails(1, &["Another backup server works in"]);
    assert_eq!(server.interrupt(), Some(0));
    // Of an older version it stays what it is.
    let file = place.path("vault/server.db");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let older = "DELETE FROM migrations WHERE number = (SELECT MAX(number) FROM migrations)";
    runtime.block_on(async {
        use sqlx::Connection as _;
        let mut db = sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.expect("open");
        sqlx::query(older).execute(&mut db).await.expect("written");
        db.close().await.expect("closed");
    });
    let before = std::fs::read(&file).expect("read");
    let (code, lines) = place.json(&["audit", "verify", "--dir", "vault"]);
    assert!(code == 0 && std::fs::read(&file).expect("read") == before, "{lines:?}");
    place.run(&["audit", "verify", "--dir", "nowhere"]).fails(1, &["no server's database in"]);
    std::fs::write(place.path("x.json"), "{}").expect("written");
    place.run(&["audit", "verify", "x.json"]).fails(2, &["x.json is no export of an audit log"]);
}
