//! What a server is told: by flags, by the environment, by a file; the first that says something counts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::{Spanned, Value};

use super::{Args, MOST_CONNECTIONS, MOST_JOBS, MOST_PER_ADDRESS};
use crate::cli::app::App;
use crate::cli::config::Complaints;
use crate::cli::values::absolute;
use crate::error::{Error, Result};
use crate::server::{Network, ProcessRole, ServerOptions, Tls};

/// How a file says a setting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    /// A path, which begins at the folder of the file.
    Path,
    Number,
    Switch,
    List,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Text | Self::Path => "a text",
            Self::Number => "a number",
            Self::Switch => "true or false",
            Self::List => "a list of texts",
        }
    }
}

/// Every setting, by its name in a file; in capitals, its name in the environment.
const SETTINGS: &[(&str, Kind)] = &[
    ("dir", Kind::Path),
    ("listen", Kind::Text),
    ("health_listen", Kind::Text),
    ("database_url", Kind::Text),
    ("database_url_file", Kind::Path),
    ("public_url", Kind::Text),
    ("role", Kind::Text),
    ("tls_certificate", Kind::Path),
    ("tls_key", Kind::Path),
    ("jobs", Kind::Number),
    ("connections", Kind::Number),
    ("connections_per_address", Kind::Number),
    ("public_targets_only", Kind::Switch),
    ("trusted_proxies", Kind::List),
];

/// Where settings are written about.
const EXPLAINED: &str = "docs/operating.md explains every key";

/// What was said of a setting, and where: `--jobs`, `TENANTVAULT_SERVER_JOBS`, `/etc/server.toml, line 3: jobs`.
struct Said {
    text: String,
    place: String,
}

impl Said {
    /// It does not say what it should.
    fn wrong(&self, wanted: &str) -> Error {
        Error::invalid(format!("{} is '{}'", self.place, self.text.escape_debug()))
            .with_hint(format!("Set it to {wanted}"))
    }

    fn read<T>(&self, wanted: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        read(&self.text).ok_or_else(|| self.wrong(wanted))
    }
}

type Settings = BTreeMap<&'static str, Said>;

/// The options of a server.
///
/// # Errors
/// `InvalidInput` naming what cannot be used, and where it stands; what reading a file brings.
pub(super) fn options(args: &Args, app: &App) -> Result<ServerOptions> {
    let mut settings = match file(app) {
        Some(path) => of_file(&path)?,
        None => Settings::new(),
    };
    of_environment(&mut settings, app);
    of_flags(&mut settings, args);
    // A flag's path may be no text at all.
    let path = |flag: &Option<PathBuf>, name: &str| {
        let named = flag.clone().or_else(|| settings.get(name).map(|said| PathBuf::from(&said.text)));
        named.map(|path| absolute(&app.environment.working_folder, &path))
    };
    let text = |name: &str| settings.get(name).map(|said| said.text.clone());
    let dir = path(&args.dir, "dir").ok_or_else(|| {
        Error::invalid("Which folder? The server needs one for all that it keeps")
            .with_hint("Name it with --dir, TENANTVAULT_SERVER_DIR, or dir in the file of settings")
    })?;
    let mut options = ServerOptions::in_folder(dir);
    options.listen = match settings.get("listen") {
        Some(said) => said.read("an address and a port, like 127.0.0.1:8080", |text| text.parse().ok())?,
        None => SocketAddr::from(([127, 0, 0, 1], 8484)),
    };
    if let Some(said) = settings.get("health_listen") {
        let wanted = "an address and a port, like 127.0.0.1:8485";
        options.health_listen = Some(said.read(wanted, |text| text.parse().ok())?);
    }
    options.public_url = text("public_url");
    options.database_url = database(&settings, path(&None, "database_url_file"))?;
    options.role = match settings.get("role") {
        Some(said) => role(said)?,
        None => ProcessRole::All,
    };
    if let Some(said) = settings.get("jobs") {
        let good = |jobs: &u16| MOST_JOBS.contains(&i64::from(*jobs));
        let jobs: u16 = said.read("a number from 1 to 64", |text| text.parse().ok().filter(good))?;
        options.jobs_at_once = jobs.into();
    }
    if let Some(most) = connections(&settings, "connections", &MOST_CONNECTIONS)? {
        options.connections_at_once = most;
    }
    if let Some(most) = connections(&settings, "connections_per_address", &MOST_PER_ADDRESS)? {
        options.connections_per_address = most;
    }
    if let Some(said) = settings.get("public_targets_only") {
        options.allow_private_targets = !said.read("true or false", |text| text.parse::<bool>().ok())?;
    }
    if let Some(said) = settings.get("trusted_proxies") {
        let names = said.text.split(',').map(str::trim).filter(|name| !name.is_empty());
        let all: Option<Vec<Network>> = names.map(|name| name.parse().ok()).collect();
        options.trusted_proxies =
            all.ok_or_else(|| said.wrong("addresses and networks, like 10.0.0.1,172.16.0.0/12"))?;
    }
    options.tls = match (path(&args.tls_certificate, "tls_certificate"), path(&args.tls_key, "tls_key")) {
        (Some(certificate_file), Some(private_key_file)) => Some(Tls { certificate_file, private_key_file }),
        (None, None) => None,
        _ => {
            return Err(Error::invalid("A certificate needs its private key, and a key its certificate")
                .with_hint("Set both TENANTVAULT_SERVER_TLS_CERTIFICATE and TENANTVAULT_SERVER_TLS_KEY"));
        }
    };
    Ok(options)
}

/// How many connections a setting allows, where it says so.
fn connections(settings: &Settings, name: &str, range: &RangeInclusive<i64>) -> Result<Option<usize>> {
    let Some(said) = settings.get(name) else { return Ok(None) };
    let wanted = format!("a number from {} to {}", range.start(), range.end());
    let good = |many: &usize| i64::try_from(*many).is_ok_and(|many| range.contains(&many));
    said.read(&wanted, |text| text.parse().ok().filter(good)).map(Some)
}

fn role(said: &Said) -> Result<ProcessRole> {
    match said.text.as_str() {
        "all" => Ok(ProcessRole::All),
        "web" => Ok(ProcessRole::Web),
        "scheduler" => Ok(ProcessRole::Scheduler),
        "worker" => Ok(ProcessRole::Worker),
        other => Err(Error::invalid(format!("{}: '{}' is not a role", said.place, other.escape_debug()))
            .with_hint("There are all, web, scheduler and worker")),
    }
}

/// The database's address, which may stand in a file of its own.
fn database(settings: &Settings, file: Option<PathBuf>) -> Result<Option<String>> {
    match (settings.get("database_url"), file) {
        (Some(_), Some(_)) => Err(Error::invalid("The database's address is given twice")
            .with_hint("Keep TENANTVAULT_SERVER_DATABASE_URL_FILE: a password is safer in a file")),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(&file).map_err(|e| {
                Error::io(format!("The file {} with the database's address cannot be read", file.display()), e)
            })?;
            Ok(Some(text.trim().to_owned()))
        }
        (url, None) => Ok(url.map(|said| said.text.clone())),
    }
}

/// The file of settings. The variable of the other commands' configuration is none of the server's.
fn file(app: &App) -> Option<PathBuf> {
    let named = app.global.config.clone().or_else(|| app.environment.variable("SERVER_CONFIG").map(PathBuf::from));
    named.map(|path| absolute(&app.environment.working_folder, &path))
}

fn of_file(path: &Path) -> Result<Settings> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::io(format!("The server's settings {} cannot be read", path.display()), e))?;
    let complaints = Complaints::new(&text, path);
    let all: BTreeMap<Spanned<String>, Spanned<Value>> =
        toml::from_str(&text).map_err(|e| complaints.explain(&e).with_hint(EXPLAINED))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut settings = Settings::new();
    for (key, value) in all {
        let Some((name, kind)) = SETTINGS.iter().find(|(name, _)| name == key.get_ref()) else {
            let known: Vec<&str> = SETTINGS.iter().map(|(name, _)| *name).collect();
            return Err(complaints.unknown_key(key.span(), key.get_ref(), &known));
        };
        let text = text_of(value.get_ref(), *kind, folder).ok_or_else(|| {
            let text = format!("{name} must be {}; found: {}", kind.words(), value.get_ref().type_str());
            complaints.at(key.span(), &text, EXPLAINED)
        })?;
        let place = format!("{}, line {}: {name}", path.display(), complaints.line(key.span().start));
        settings.insert(name, Said { text, place });
    }
    Ok(settings)
}

/// A value of a file as it would stand in the environment.
fn text_of(value: &Value, kind: Kind, folder: &Path) -> Option<String> {
    match (kind, value) {
        (Kind::Text, Value::String(text)) => Some(text.clone()),
        (Kind::Path, Value::String(text)) => folder.join(text).to_str().map(str::to_owned),
        (Kind::Number, Value::Integer(number)) => Some(number.to_string()),
        (Kind::Switch, Value::Boolean(on)) => Some(on.to_string()),
        (Kind::List, Value::Array(all)) => {
            let all: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
            all.map(|all| all.join(","))
        }
        _ => None,
    }
}

fn of_environment(settings: &mut Settings, app: &App) {
    let mut said = Settings::new();
    for (name, _) in SETTINGS {
        let variable = format!("SERVER_{}", name.to_ascii_uppercase());
        if let Some(text) = app.environment.variable(&variable) {
            said.insert(name, Said { text: text.to_owned(), place: format!("TENANTVAULT_{variable}") });
        }
    }
    // The database is one setting that is said in two ways.
    if said.keys().any(|name| name.starts_with("database_url")) {
        settings.retain(|name, _| !name.starts_with("database_url"));
    }
    settings.extend(said);
}

fn of_flags(settings: &mut Settings, args: &Args) {
    let proxies = (!args.trusted_proxy.is_empty()).then(|| args.trusted_proxy.join(","));
    let flags = [
        ("listen", args.listen.map(|listen| listen.to_string()), "--listen"),
        ("health_listen", args.health_listen.map(|listen| listen.to_string()), "--health-listen"),
        ("public_url", args.public_url.clone(), "--public-url"),
        ("role", args.role.clone(), "--role"),
        ("jobs", args.jobs.map(|jobs| jobs.to_string()), "--jobs"),
        ("connections", args.connections.map(|many| many.to_string()), "--connections"),
        (
            "connections_per_address",
            args.connections_per_address.map(|many| many.to_string()),
            "--connections-per-address",
        ),
        ("public_targets_only", args.public_targets_only.then(|| "true".to_owned()), "--public-targets-only"),
        ("trusted_proxies", proxies, "--trusted-proxy"),
    ];
    for (name, text, flag) in flags {
        if let Some(text) = text {
            settings.insert(name, Said { text, place: flag.to_owned() });
        }
    }
}
