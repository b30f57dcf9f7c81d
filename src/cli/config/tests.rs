use super::*;
use crate::snapshot::policy::Count;
use crate::snapshot::set::{Facts, Workload};

const TENANT: &str = "[tenants.contoso]\ntenant_id = \"t\"\nclient_id = \"c\"\nclient_secret_env = \"S\"\n";
const DESTINATION: &str = "[destinations.nas]\nurl = \"/srv/backup\"\n";

fn read(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("/etc/tv/tenantvault.toml"))
}

/// The complaint about a text: message and hint.
fn complaint(text: &str) -> String {
    let error = read(text).expect_err(text);
    assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
    format!("{error} | {}", error.hint().unwrap_or_default())
}

fn assert_complaint(text: &str, parts: &[&str]) {
    let found = complaint(text);
    for part in parts {
        assert!(found.contains(part), "'{part}' is not in: {found}");
    }
}

fn user(name: &str) -> Facts<'_> {
    Facts { names: vec![name], ..Facts::default() }
}

#[test]
fn the_example_in_the_docs_is_read_in_full() {
    let text = include_str!("../../../docs/config.toml");
    let config = read(text).expect("the example is good");
    let tenant = config.tenant("contoso").expect("contoso");
    assert!(matches!(&tenant.sign_in, SignIn::Secret(SecretSource::File(f)) if f.ends_with("contoso.secret")));
    assert_eq!(tenant.cloud.as_str(), "global");
    let offsite = config.destination("offsite").expect("offsite");
    assert_eq!(offsite.upload_bytes_per_second, Some(10 << 20));
    assert_eq!(offsite.download_bytes_per_second, Some(50 << 20));
    assert!(
        matches!(&offsite.credentials["secret_access_key"], SecretSource::Environment(e) if e == "OFFSITE_SECRET_KEY")
    );
    assert_eq!(config.warnings(), []);
    let definition = config.definition("everyone").expect("everyone");
    assert_eq!(definition.tenant.id, "contoso.onmicrosoft.com");
    assert_eq!(definition.time_zone, "Europe/Berlin");
    assert_eq!(definition.retention.keep_yearly, Count::UNLIMITED);
    assert_eq!(definition.retention.keep_tags, ["audit", "year,final"]);
    assert!(definition.selection.selects(&user("alice@contoso.com"), Workload::OneDrive));
    assert!(!definition.selection.selects(&user("test-1@contoso.com"), Workload::Mail));
    assert!(config.definition("mail-offsite").expect("mail").options.recoverable_items);
}

#[test]
fn the_example_shows_every_key() {
    let text = include_str!("../../../docs/config.toml");
    let shows = |key: &str| text.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
    // A complaint about an unknown key lists the known ones, so no list of ours can be out of date.
    let retention =
        format!("{TENANT}{DESTINATION}[sets.a]\ntenant = \"contoso\"\ndestination = \"nas\"\nretention.zzz = 1\n");
    let skip = retention.replace("retention.", "skip.");
    let mut seen = 0;
    for table in ["[tenants.a]\nzzz = 1\n", "[destinations.a]\nzzz = 1\n", "[sets.a]\nzzz = 1\n", &retention, &skip] {
        let complaint = complaint(table);
        let (_, known) = complaint.rsplit_once("Known here: ").expect("a list");
        for key in
            known.split(", ").filter(|key| !matches!(*key, "credentials" | "restore" | "retention" | "rules" | "skip"))
        {
            assert!(shows(key), "{key}");
            seen += 1;
        }
    }
    assert!(seen >= 46, "{seen}");
    assert!(text.contains("\n[tenants.contoso.restore]\n"));
    assert!(text.contains("\n[[sets.everyone.rules]]\n") && text.contains("\n[sets.everyone.skip]\n"));
    for key in raw::credential_keys().iter().filter(|key| raw::credential(key).is_some_and(|(_, form)| form == 0)) {
        assert!(text.contains(key.as_str()), "{key}");
    }
}

#[test]
fn a_set_names_one_destination_or_several() {
    let both = format!("{TENANT}{DESTINATION}[destinations.cloud]\nurl = \"s3://b\"\n[sets.a]\ntenant = \"contoso\"\n");
    let with = |line: &str| read(&format!("{both}{line}\n"));
    let config = with("destinations = [\"nas\", \"cloud\"]").expect("good");
    assert_eq!(config.set("a").expect("a").destinations, ["nas", "cloud"]);
    assert_eq!(config.definition("a").expect("a").destinations, ["nas", "cloud"]);
    assert_eq!((config.replicas("nas"), config.replicas("cloud")), (vec!["cloud"], vec!["nas"]));
    assert!(config.is_further("cloud") && !config.is_further("nas"));
    let one = with("destination = \"cloud\"").expect("good");
    assert!(one.replicas("cloud").is_empty() && !one.is_further("cloud"));
    for (line, part) in [
        ("", "'destination' is missing"),
        ("destinations = []", "is empty"),
        ("destinations = [\"nas\", \"nas\"]", "named twice"),
        ("destinations = [\"nas\", \"clod\"]", "Did you mean 'cloud'"),
        ("destination = \"nas\"\ndestinations = [\"cloud\"]", "beside 'destination'"),
    ] {
        let error = with(line).expect_err(line);
        let told = format!("{error} {}", error.hint().unwrap_or_default());
        assert!(told.contains(part) && told.contains("line"), "{line}: {told}");
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let config =
        read(&format!("{TENANT}{DESTINATION}[sets.all]\ntenant = \"contoso\"\ndestination = \"nas\"\n")).expect("good");
    let set = config.set("all").expect("all");
    assert!(
        set.selection.selects(&user("anyone@anywhere"), Workload::Mail)
            && set.selection.selects(&user("x@y"), Workload::OneDrive)
    );
    assert!(set.retention.is_empty() && !set.options.recoverable_items);
    assert!(config.destination("nas").expect("nas").password.is_none());
    assert!(read("").expect("an empty file is good").sets.is_empty());
}

#[test]
fn relative_paths_begin_at_the_file() {
    let config = read(
        "[tenants.a]\ntenant_id = \"t\"\nclient_id = \"c\"\ncertificate_file = \"a.crt\"\nprivate_key_file = \"/k/a.key\"\n\
         [destinations.b]\nurl = \"repo\"\npassword_file = \"pw\"\n[destinations.c]\nurl = \"s3://bucket\"\n",
    )
    .expect("good");
    let SignIn::Certificate { certificate_file, private_key_file } = &config.tenants["a"].sign_in else {
        panic!("certificate")
    };
    assert_eq!(certificate_file, Path::new("/etc/tv/a.crt"));
    assert_eq!(private_key_file, Path::new("/k/a.key"));
    assert_eq!(config.destinations["b"].url, "/etc/tv/repo");
    assert_eq!(config.destinations["b"].password.as_ref().and_then(SecretSource::file), Some(Path::new("/etc/tv/pw")));
    assert_eq!(config.destinations["c"].url, "s3://bucket");
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    assert_complaint(
        "[tenants.contoso]\ntenant_id = \"t\"\nclient_id = \"c\"\nclient_secret_fil = \"x\"\n",
        &["/etc/tv/tenantvault.toml, line 4: unknown key 'client_secret_fil'", "Did you mean 'client_secret_file'?"],
    );
    assert_complaint("\n\n[tenant.contoso]\n", &["line 3: unknown key 'tenant'", "Did you mean 'tenants'?"]);
    assert_complaint(
        &format!(
            "{TENANT}{DESTINATION}[sets.a]\ntenant = \"contoso\"\ndestination = \"nas\"\n[sets.a.retention]\nkeep-dayly = 3\n"
        ),
        &["line 11: unknown key 'keep-dayly'", "Did you mean 'keep-daily'?"],
    );
    assert_complaint(
        "[destinations.x]\nurl = \"s3://b\"\n[destinations.x.credentials]\nsecret_acces_key_env = \"E\"\n",
        &["line 4: unknown key 'secret_acces_key_env'", "Did you mean 'secret_access_key_env'?"],
    );
}

#[test]
fn contradictions_are_named_with_their_line() {
    let tenant = "[tenants.a]\ntenant_id = \"t\"\nclient_id = \"c\"\n";
    assert_complaint(
        &format!("{tenant}client_secret_file = \"f\"\nclient_secret_env = \"E\"\n"),
        &["line 5: 'client_secret_env' is given beside 'client_secret_file'"],
    );
    assert_complaint(
        &format!("{tenant}client_secret_file = \"f\"\ncertificate_file = \"x\"\nprivate_key_file = \"y\"\n"),
        &["line 5: the tenant has both a client secret and a certificate"],
    );
    assert_complaint(&format!("{tenant}certificate_file = \"x\"\n"), &["line 4", "without private_key_file"]);
    assert_complaint(&format!("{tenant}private_key_file = \"x\"\n"), &["line 4", "without certificate_file"]);
    assert_complaint(tenant, &["line 1: the tenant has no way to sign in", "client_secret_file"]);
    assert_complaint(
        "[destinations.x]\nurl = \"u\"\npassword_env = \"A\"\npassword_command = \"b\"\n",
        &["line 4: 'password_command' is given beside 'password_env'"],
    );
    assert_complaint(
        "[destinations.x]\nurl = \"u\"\ncredentials = { token = \"a\", token_file = \"b\" }\n",
        &["line 3: 'token_file' is given beside 'token'"],
    );
}

#[test]
fn references_to_nothing_are_named_with_the_nearest() {
    assert_complaint(
        &format!("{TENANT}{DESTINATION}[sets.a]\ntenant = \"contosso\"\ndestination = \"nas\"\n"),
        &["line 8: there is no tenant 'contosso' in this file", "Did you mean 'contoso'?"],
    );
    assert_complaint(
        &format!("{TENANT}[sets.a]\ntenant = \"contoso\"\ndestination = \"nas\"\n"),
        &["line 7: there is no destination 'nas' in this file", "There are none"],
    );
    let config = read(TENANT).expect("good");
    assert_eq!(config.set("x").expect_err("none").kind(), crate::ErrorKind::NotFound);
}

#[test]
fn values_that_cannot_be_used_are_named() {
    let set = format!("{TENANT}{DESTINATION}[sets.a]\ntenant = \"contoso\"\ndestination = \"nas\"\n");
    for (text, parts) in [
        (format!("{set}workloads = [\"mail\", \"maill\"]\n"), ["line 10", "'maill' is not a workload", "onedrive"]),
        (format!("{set}workloads = []\n"), ["line 10", "'workloads' is empty", "all"]),
        (format!("{set}include = []\n"), ["line 10", "'include' is empty", "*"]),
        (format!("{set}exclude = [\"\"]\n"), ["line 10", "is not a pattern", "any characters"]),
        (format!("{set}time_zone = \"Mars/Base\"\n"), ["line 10", "'Mars/Base' is not a time zone", "Europe/Berlin"]),
        (format!("{set}recoverable_items = \"yes\"\n"), ["line 10", "a boolean", "found: string"]),
        (format!("{set}[sets.a.retention]\nkeep-within = \"3w\"\n"), ["line 11", "not a duration", ""]),
        (format!("{set}[sets.a.retention]\nkeep-last = -1\n"), ["line 11", "not negative", ""]),
        (format!("{TENANT}cloud = \"mars\"\n"), ["line 5", "'mars' is not one of the values", "usgov-dod"]),
        (format!("{TENANT}graph_url = \"ftp://x\"\n"), ["line 5", "'graph_url' is not a web address", "https://"]),
        ("[tenants.\"a b\"]\ntenant_id = \"\"\n".into(), ["line 1", "", ""]),
        (TENANT.replace("\"t\"", "\"\""), ["line 2", "'tenant_id' is empty", ""]),
        (TENANT.replace("client_id = \"c\"\n", ""), ["line 1", "the key 'client_id' is missing", ""]),
        (format!("{DESTINATION}upload_limit = \"fast\"\n"), ["line 3", "'fast' is not a size", ""]),
        (format!("{DESTINATION}password_env = \" \"\n"), ["line 3", "'password_env' is empty", ""]),
        ("[tenants\n".into(), ["line 1", "", ""]),
        (format!("{DESTINATION}url = \"x\"\n"), ["line 3", "'url' stands here twice", ""]),
    ] {
        assert_complaint(&text, &parts);
    }
}

#[test]
fn no_complaint_repeats_a_secret() {
    let tenant = "[tenants.a]\ntenant_id = \"t\"\nclient_id = \"c\"\n";
    for text in [
        format!("{tenant}client_secret = 8675309\n"),
        format!("{tenant}client_secret = [\"8675309\"]\n"),
        format!("{tenant}client_secret = \"8675309\"\nclient_secret_file = \"f\"\n"),
        format!("{tenant}client_secret = \"8675309\" x\n"),
        format!("{tenant}client_secret = \"8675309\n"),
        format!("{tenant}client_secret = 8675309x\n"),
        "[destinations.x]\nurl = \"u\"\ncredentials = { token = 8675309 }\n".into(),
        "[destinations.x]\nurl = \"u\"\npassword = 8675309.5\n".into(),
    ] {
        let error = read(&text).expect_err(&text);
        let mut shown = format!("{error} {error:?} {:?}", error.hint());
        let mut cause = std::error::Error::source(&error);
        while let Some(e) = cause {
            shown.push_str(&e.to_string());
            cause = e.source();
        }
        assert!(!shown.contains("8675309"), "{shown}");
    }
    let config = read(&format!("{tenant}client_secret = \"8675309\"\n")).expect("good");
    assert!(!format!("{config:?} {config:#?}").contains("8675309"));
}

#[test]
fn an_inline_secret_is_warned_about_with_its_line() {
    let config = read(
        "[tenants.a]\ntenant_id = \"t\"\nclient_id = \"c\"\nclient_secret = \"s\"\n[destinations.x]\nurl = \"s3://b\"\n\
         credentials = { access_key_id = \"id\", secret_access_key = \"k\" }\n",
    )
    .expect("good");
    let lines: Vec<String> = config.warnings().into_iter().map(|w| w.text).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("line 4") && lines[1].contains("line 7"), "{lines:?}");
}

#[cfg(unix)]
#[test]
fn secrets_open_to_others_are_warned_about() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tenantvault.toml");
    let secret = folder.path().join("secret");
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
    std::fs::write(&secret, "s").expect("it writes");
    std::fs::write(&path, TENANT.replace("client_secret_env = \"S\"", "client_secret_file = \"secret\""))
        .expect("it writes");
    for (bits, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1), (0o602, 1)] {
        mode(&secret, bits);
        mode(&path, 0o644);
        assert_eq!(Config::load(&path).expect("good").warnings().len(), warnings, "{bits:o}");
    }
    std::fs::write(&path, TENANT.replace("client_secret_env", "client_secret")).expect("it writes");
    assert_eq!(Config::load(&path).expect("good").warnings().len(), 2);
    mode(&path, 0o600);
    assert_eq!(Config::load(&path).expect("good").warnings().len(), 1);
    let error = Config::load(&folder.path().join("other.toml")).expect_err("missing");
    assert!(error.to_string().contains("other.toml"));
}

#[test]
fn every_way_to_sign_in_is_read_and_no_two_are_mixed() {
    let work = "[tenants.a]\ntenant_id = \"t\"\nclient_id = \"c\"\n";
    let personal = "[tenants.a]\ntype = \"personal\"\nclient_id = \"c\"\n";
    let of = |text: &str| read(text).expect(text).tenants["a"].clone();
    let browser = of(&format!("{work}sign_in = \"browser\"\nuser = \"u\"\nkeep_tokens = \"system\"\n"));
    let SignIn::User { way: UserWay::Browser, user: Some(user), keep: crate::graph::user::Place::System } =
        &browser.sign_in
    else {
        panic!("{browser:?}")
    };
    assert_eq!((user.as_str(), browser.account), ("u", Account::Work));
    assert_eq!(of(personal).tenant_id, "consumers");
    assert!(matches!(of(personal).sign_in, SignIn::User { way: UserWay::Browser, .. }));
    let config = read(&format!("{work}sign_in = \"password\"\nuser = \"u\"\npassword_env = \"P\"\n")).expect("good");
    assert!(config.warnings().iter().any(|warning| warning.text.contains("signs in by password")));
    for (text, parts) in [
        (
            format!("{work}sign_in = \"browser\"\nclient_secret_env = \"S\"\n"),
            ["line 5", "both 'sign_in' and a client secret"],
        ),
        (format!("{work}sign_in = \"phone\"\n"), ["line 4", "'phone' is not one of the values"]),
        (format!("{work}sign_in = \"password\"\nuser = \"u\"\n"), ["line 4", "without user and password"]),
        (format!("{work}sign_in = \"password\"\npassword_env = \"P\"\n"), ["line 4", "without user and password"]),
        (format!("{work}sign_in = \"browser\"\npassword_env = \"P\"\n"), ["line 5", "no use here"]),
        (format!("{work}client_secret_env = \"S\"\nuser = \"u\"\n"), ["line 5", "no use here"]),
        (format!("{work}client_secret_env = \"S\"\nkeep_tokens = \"file\"\n"), ["line 5", "no use here"]),
        (
            format!("{work}sign_in = \"password\"\nuser = \"u\"\npassword_env = \"P\"\nkeep_tokens = \"file\"\n"),
            ["line 7", "nothing is kept"],
        ),
        (format!("{personal}client_secret_env = \"S\"\n"), ["line 4", "an app cannot sign in to a personal account"]),
        (
            format!("{personal}sign_in = \"password\"\nuser = \"u\"\npassword_env = \"P\"\n"),
            ["line 4", "cannot sign in by password"],
        ),
        (format!("{personal}tenant_id = \"t\"\n"), ["line 4", "no tenant of its own"]),
        (work.replace("tenant_id = \"t\"\n", ""), ["line 1", "the key 'tenant_id' is missing"]),
    ] {
        assert_complaint(&text, &parts);
    }
}

#[test]
fn a_tenants_workloads_are_those_of_its_sets() {
    let set = |name: &str, workload: &str| {
        format!("[sets.{name}]\ntenant = \"contoso\"\ndestination = \"nas\"\nworkloads = [\"{workload}\"]\n")
    };
    let config = read(&format!("{TENANT}{DESTINATION}{}{}", set("a", "mail"), set("b", "contacts"))).expect("good");
    assert_eq!(config.workloads("contoso"), [Workload::Mail, Workload::Contacts]);
    assert_eq!(config.workloads("other"), Workload::ALL);
}
