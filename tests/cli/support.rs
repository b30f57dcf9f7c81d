//! A folder to work in, a simulated tenant, and the program with nothing of this machine's user around it.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;
use tenantvault::sim::{SimHandle, SimOptions, SimTenant};
use tokio::runtime::Runtime;

/// Runs the simulated tenants of all tests.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime"))
}

/// A folder with a configuration, perhaps a repository, and perhaps a tenant.
pub struct Place {
    folder: TempDir,
    pub tenant: Option<SimHandle>,
}

impl Place {
    /// An empty folder.
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), tenant: None }
    }

    /// A folder with a tenant and its configuration; no repository yet.
    pub fn with_tenant(options: SimOptions) -> Self {
        let tenant = runtime().block_on(SimTenant::start(options)).expect("a tenant");
        let place = Self { folder: tempfile::tempdir().expect("a folder"), tenant: Some(tenant) };
        place.configure("everyone");
        place
    }

    /// A folder with a tenant, a repository, and so many snapshots, a day apart.
    pub fn with_snapshots(count: u32) -> Self {
        let place = Self::with_tenant(SimOptions::tiny());
        place.init();
        for day in 0..count {
            if day > 0 {
                place.tenant.as_ref().expect("a tenant").advance_day();
            }
            let done = place.run(&["backup", "everyone"]);
            // The tenant has a user whose mailbox cannot be read: gaps.
            assert_eq!(done.code, 3, "{}", done.err);
        }
        place
    }

    /// Writes the configuration, with one set of this name.
    pub fn configure(&self, set: &str) {
        let tenant = self.tenant.as_ref().expect("a tenant");
        self.write("sim.secret", tenant.client_secret());
        let config = format!(
            "{}\n[destinations.local]\nurl = \"repository\"\npassword_file = \"repository.key\"\n\n\
             [sets.{set}]\ntenant = \"sim\"\ndestination = \"local\"\n",
            tenant.config_toml("sim.secret"),
        );
        self.write("tenantvault.toml", &config);
        close(&self.path("sim.secret"));
    }

    /// Makes the repository, with a key in a file: a generated one opens in a moment.
    pub fn init(&self) {
        let done = self.run(&["init", "--generate-key", "--key-file", "repository.key"]);
        assert_eq!(done.code, 0, "{}", done.err);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it writes");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("it reads")
    }

    /// The program in this folder, without what the user of this machine has set.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        set_up(
            |name, value| {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            },
            self.folder.path(),
        );
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    /// The same for those who must hold the process in their hands.
    pub fn process(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(program());
        set_up(
            |name, value| {
                match value {
                    Some(value) => command.env(name, value),
                    None => command.env_remove(name),
                };
            },
            self.folder.path(),
        );
        command.current_dir(self.folder.path()).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).output().expect("it runs"))
    }

    /// Runs, and gives the lines of JSON on stdout.
    pub fn json(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let done = self.run(&[arguments, &["--json"]].concat());
        (done.code, done.json())
    }

    /// The ids of all snapshots, the oldest first.
    pub fn snapshots(&self) -> Vec<String> {
        let (code, lines) = self.json(&["snapshots"]);
        assert_eq!(code, 0);
        lines.iter().filter_map(|line| Some(line.get("id")?.as_str()?.to_owned())).collect()
    }

    /// Files of the repository below a folder of it.
    pub fn stored(&self, folder: &str) -> Vec<PathBuf> {
        let mut files = Vec::new();
        collect(&self.path("repository").join(folder), &mut files);
        files.sort();
        files
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tenantvault"))
}

fn set_up(mut set: impl FnMut(&str, Option<&std::ffi::OsStr>), folder: &Path) {
    for (name, _) in std::env::vars() {
        if name.starts_with("TENANTVAULT_") || name.starts_with("XDG_") {
            set(&name, None);
        }
    }
    set("HOME", Some(folder.as_os_str()));
    set("TZ", Some("UTC".as_ref()));
    set("COLUMNS", None);
    set("TENANTVAULT_CACHE_DIR", Some(folder.join("cache").as_os_str()));
}

/// Takes a file from other users, so that nothing warns of it.
pub fn close(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    }
    #[cfg(not(unix))]
    let _ = path;
}

pub fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("it lists").path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

/// How a run ended.
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it was not killed"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The lines of stdout, each of which must be a JSON object with a type, the last one the summary.
    pub fn json(&self) -> Vec<Value> {
        let lines: Vec<Value> =
            self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
        for line in &lines {
            assert!(line["message_type"].is_string(), "{line}");
        }
        lines
    }

    #[track_caller]
    pub fn fails(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "'{part}' is not in:\n{}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
    }
}

/// A place with two snapshots that no test changes.
pub fn shared() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| Place::with_snapshots(2))
}
