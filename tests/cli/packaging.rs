//! What the packages, the units and the compose file say of the program and of files here is so.

use std::path::Path;

use assert_cmd::Command;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

/// Says whether a file is there; `*` in its name stands for anything.
fn is_there(pattern: &str) -> bool {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(pattern);
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some((begin, end)) = name.split_once('*') else { return path.is_file() };
    let Ok(entries) = path.parent().expect("a folder").read_dir() else { return false };
    let mut names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.any(|name| name.starts_with(begin) && name.ends_with(end))
}

#[test]
fn every_file_that_the_debian_package_takes_is_there() {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("TOML");
    let deb = &manifest["package"]["metadata"]["deb"];
    let assets = deb["assets"].as_array().expect("assets");
    let text = |asset: &toml::Value, at: usize| asset[at].as_str().expect("text").to_owned();
    // What lies below target is made by packaging/debian/build.
    let sources: Vec<String> = assets.iter().map(|a| text(a, 0)).filter(|path| !path.starts_with("target/")).collect();
    assert!(sources.len() >= 5, "{sources:?}");
    for source in &sources {
        assert!(is_there(source), "there is no {source}");
    }
    let places: Vec<String> = assets.iter().map(|asset| text(asset, 1)).collect();
    for settings in deb["conf-files"].as_array().expect("a list") {
        let place = settings.as_str().expect("text").trim_start_matches('/');
        assert!(places.iter().any(|known| known == place), "nothing is put to {place}");
    }
    for script in ["postinst", "postrm", "prerm"] {
        let path = format!("{}{script}", deb["maintainer-scripts"].as_str().expect("a folder"));
        assert!(is_there(&path), "there is no {path}");
    }
}

/// The program must know a command line; asked for help, it does nothing.
fn is_known(file: &str, arguments: &[&str]) {
    assert!(!arguments.is_empty(), "{file}");
    Command::new(env!("CARGO_BIN_EXE_tenantvault")).args(arguments).arg("--help").assert().success();
}

#[test]
fn the_program_knows_what_the_units_and_the_compose_file_ask_of_it() {
    let units = ["tenantvault-server", "tenantvault-server@", "tenantvault-agent"];
    for unit in units.map(|name| format!("packaging/systemd/{name}.service")) {
        let text = read(&unit);
        let starts: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("ExecStart=")).collect();
        let [start] = starts[..] else { panic!("{unit} starts {starts:?}") };
        let words = start.strip_prefix("/usr/bin/tenantvault ").expect("the program of the package");
        for role in ["web", "scheduler", "worker"] {
            is_known(&unit, &words.replace("%i", role).split(' ').collect::<Vec<_>>());
        }
    }
    let compose = read("packaging/container/compose.yaml");
    let commands = compose.lines().filter_map(|line| line.trim().strip_prefix("command: [server, --role, "));
    let roles: Vec<&str> = commands.map(|rest| rest.trim_end_matches(']')).collect();
    assert_eq!(roles, ["web", "scheduler", "worker"]);
    for role in roles {
        is_known("compose.yaml", &["server", "--role", role]);
    }
}

#[test]
fn every_setting_that_the_packages_make_is_one_of_the_program() {
    let help = Command::new(env!("CARGO_BIN_EXE_tenantvault")).args(["server", "--help"]).output().expect("help");
    let help = String::from_utf8(help.stdout).expect("text");
    // `TENANTVAULT_SERVER_DIR, …_LISTEN`: what the help says of the environment, each name whole.
    let words = help.split(|c: char| !(c.is_ascii_uppercase() || c == '_'));
    let known: Vec<&str> =
        words.filter_map(|word| word.strip_prefix("TENANTVAULT_SERVER_").or(word.strip_prefix('_'))).collect();
    let files = [
        "packaging/debian/server.env",
        "packaging/systemd/tenantvault-server.service",
        "packaging/systemd/tenantvault-server@.service",
        "packaging/container/Containerfile",
        "packaging/container/compose.yaml",
    ];
    let mut found = 0;
    for file in files {
        for rest in read(file).split("TENANTVAULT_SERVER_").skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_uppercase() || *c == '_').collect();
            assert!(known.contains(&name.as_str()), "{file}: TENANTVAULT_SERVER_{name}");
            found += 1;
        }
    }
    assert!(found >= 8, "{found}");
}
