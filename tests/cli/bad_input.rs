//! Bad input gets a clear error: the right exit code, what failed, and what to do.

use tenantvault::sim::{BACKUP_ROLES, SimOptions};

use crate::support::{Done, Place, shared};

#[test]
fn no_repository_is_exit_10() {
    let place = Place::empty();
    place.write("pw", "secret");
    place
        .run(&["snapshots", "-r", "nowhere", "-p", "pw"])
        .fails(10, &["Error: There is no repository at", "nowhere", "Hint: "]);
    // Nobody is asked for the passphrase of nothing.
    place.run(&["snapshots", "-r", "nowhere"]).fails(10, &["There is no repository at"]);
    // Nor told that a file holds none: init makes both.
    place.run(&["snapshots", "-r", "nowhere", "-p", "pw.not"]).fails(10, &["There is no repository at"]);
}

#[test]
fn a_passphrase_that_does_not_come_is_told_with_its_source() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    place.write("empty", "\n");
    place.run(&["snapshots", "-p", "empty"]).fails(2, &["passphrase is empty", "Hint: ", "empty must hold it"]);
    place.run(&["snapshots", "-p", "nowhere"]).fails(1, &["nowhere for the repository's passphrase", "Hint: "]);
    place.run(&["snapshots", "--password-command", "false"]).fails(1, &["'false'", "Hint: Run it by hand"]);
    place.run(&["snapshots", "--password-command", "no-such-program"]).fails(1, &["'no-such-program'", "PATH"]);
}

#[test]
fn a_repository_in_a_file_is_refused() {
    let place = Place::empty();
    place.write("file", "x");
    let init = ["init", "-r", "file", "--generate-key", "--key-file", "key"];
    place.run(&init).fails(1, &["fs:", "is not a folder", "Hint: "]);
    assert!(!place.path("key").exists());
    place.write("pw", "x");
    place.run(&["snapshots", "-r", "file", "-p", "pw"]).fails(10, &["There is no repository at"]);
}

#[test]
fn a_cache_folder_that_cannot_be_is_told_and_keeps_no_backup_from_running() {
    let place = Place::with_snapshots(1);
    place.write("file", "x");
    place.run(&["snapshots", "--cache-dir", "file/cache"]).fails(1, &["Cache folder", "--no-cache"]);
    // The usual one nobody asked for.
    let mut command = place.command(&["backup", "everyone"]);
    command.env_remove("TENANTVAULT_CACHE_DIR").env("XDG_CACHE_HOME", place.path("file"));
    let done = Done::of(command.output().expect("it runs"));
    done.fails(3, &["Warning: The cache folder", "The run goes on without"]);
}

#[test]
fn a_wrong_passphrase_is_exit_12() {
    let place = shared();
    place.write("wrong", "not it");
    place.run(&["snapshots", "-p", "wrong"]).fails(12, &["Error: Wrong passphrase", "Hint: "]);
    let done = place.run(&["snapshots", "-p", "wrong", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&done.err).expect("one line of JSON");
    assert_eq!((done.code, error["kind"].as_str(), error["code"].as_i64()), (12, Some("wrong_key"), Some(12)));
    assert_eq!(done.out, "");
}

#[test]
fn a_passphrase_that_nobody_gives_is_asked_for_by_name() {
    let place = Place::empty();
    place.write("pw", "secret");
    assert_eq!(place.run(&["init", "-r", "repo", "-p", "pw"]).code, 0);
    place.run(&["snapshots", "-r", "repo"]).fails(2, &["No passphrase is given", "TENANTVAULT_PASSWORD"]);
    let mut command = place.command(&["snapshots", "-r", "repo"]);
    assert!(command.env("TENANTVAULT_PASSWORD", "secret").output().expect("it runs").status.success());
    let mut command = place.command(&["snapshots", "-r", "repo", "--password-command", "cat pw"]);
    assert!(command.output().expect("it runs").status.success());
}

#[test]
fn no_place_and_several_places_are_told() {
    let place = Place::empty();
    place.run(&["snapshots"]).fails(2, &["Which repository?", "-r", "TENANTVAULT_REPOSITORY"]);
    place.write("tenantvault.toml", "[destinations.near]\nurl = \"a\"\n[destinations.far]\nurl = \"b\"\n");
    place.run(&["snapshots"]).fails(2, &["several destinations", "far, near"]);
}

#[test]
fn a_bad_configuration_is_told_with_file_line_and_nearest_key() {
    let place = Place::empty();
    place.write("tenantvault.toml", "[destinations.nas]\nurl = \"x\"\npasword_file = \"y\"\n");
    place
        .run(&["snapshots"])
        .fails(2, &["tenantvault.toml, line 3: unknown key 'pasword_file'", "Did you mean 'password_file'?"]);
    place.write("tenantvault.toml", "[destinations.nas]\nurl = \"x\"\npassword_file = \"y\"\npassword_env = \"z\"\n");
    place.run(&["config", "show"]).fails(2, &["line 4", "'password_env' is given beside 'password_file'"]);
    place.write("tenantvault.toml", "[destinations.nas]\nurl = \"x\"\nurl = \"y\"\n");
    place.run(&["config", "show"]).fails(2, &["line 3: the key 'url' stands here twice", "Keep one of them"]);
    place.run(&["--config", "other.toml", "config", "show"]).fails(1, &["other.toml is not there", "--config"]);
}

#[test]
fn unknown_names_are_told_with_what_there_is() {
    let place = shared();
    place.run(&["backup", "everybody"]).fails(1, &["There is no backup set 'everybody'", "Hint: ", "everyone"]);
    place.run(&["test", "everybody"]).fails(1, &["everybody", "Hint: "]);
    place.run(&["ls", "nobody@latest"]).fails(1, &["There is no snapshot of a set named 'nobody'", "everyone"]);
    place.run(&["snapshots", "nobody"]).fails(1, &["There is no snapshot of a set named 'nobody'", "everyone"]);
    place.run(&["ls", "ffffffffffff"]).fails(1, &["There is no snapshot 'ffffffffffff'", "Hint: "]);
    place.run(&["ls", "users/alice"]).fails(1, &["There is no snapshot 'users/alice'", "latest:users/alice"]);
    place.run(&["ls", "everyone@yesterday"]).fails(2, &["'yesterday'"]);
    place.run(&["ls", "latest:users/nobody@contoso.com"]).fails(1, &["users/nobody@contoso.com", "ls shows"]);
    place.run(&["cat", "latest:users"]).fails(2, &["'users' is a folder"]);
    place.run(&["cat", "latest"]).fails(2, &["A whole snapshot is a folder"]);
    place.run(&["forget", "--set", "nobody", "--keep-last", "1"]).fails(1, &["nobody", "everyone"]);
    place.run(&["forget", "--keep-tag", "mistyped"]).fails(2, &["every snapshot of set 'everyone'", "Hint: "]);
    place.run(&["key", "remove", "ffffffffffff"]).fails(1, &["There is no key 'ffffffffffff'"]);
}

#[test]
fn an_id_that_fits_several_snapshots_is_refused_with_both() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    // Among seventeen ids two begin with the same digit.
    let ids = add_empty_snapshots(&place, 17);
    let digit = |id: &String| id.get(..1).map(str::to_owned).expect("a digit");
    let twice = ids.iter().map(digit).find(|d| ids.iter().filter(|id| digit(id) == *d).count() > 1).expect("pigeons");
    place.run(&["ls", &twice]).fails(2, &["begins several snapshots' ids", "both fit"]);
    assert_eq!(place.run(&["ls", &ids[0]]).code, 0);
}

/// Writes snapshots of nothing, and gives their ids.
fn add_empty_snapshots(place: &Place, count: i64) -> Vec<String> {
    use tenantvault::format::snapshot::{SnapshotFile, Totals};
    use tenantvault::snapshot::store;
    let passphrase = tenantvault::crypto::Passphrase::new(place.read("repository.key").trim()).expect("a passphrase");
    let url = place.path("repository");
    let storage = tenantvault::storage::open(url.to_str().expect("text"), &Default::default()).expect("a storage");
    crate::support::runtime().block_on(async {
        let repo = tenantvault::repo::Repository::open(storage, &passphrase, None).await.expect("a repository");
        let mut ids = Vec::new();
        for n in 0..count {
            let file = SnapshotFile {
                set: store::set_id(&repo, "everyone"),
                set_name: "everyone".into(),
                tenant: "t".into(),
                time_us: n,
                ended_us: n,
                host: String::new(),
                program: String::new(),
                tags: Vec::new(),
                parent: None,
                complete: true,
                catalog: None,
                gaps: None,
                totals: Totals::default(),
            };
            ids.push(store::save(&repo, &file).await.expect("it writes").to_string());
        }
        ids
    })
}

#[test]
fn wrong_arguments_are_exit_2() {
    let place = Place::empty();
    for arguments in [
        &["frobnicate"][..],
        &["ls"],
        &["ls", ":users"],
        &["backup"],
        &["prune", "--grace", "soon"],
        &["prune", "--max-unused", "120%"],
        &["forget", "--keep-last", "many"],
        &["forget", "--keep-within", "3w"],
        &["check", "--read-data", "--read-data-subset", "5%"],
        &["check", "--read-data-subset", "0%"],
        &["snapshots", "--latest", "0"],
        &["demo", "--users", "0"],
        &["sim", "--users", "0"],
        &["init", "--yes"],
        &["snapshots", "-p", "x", "--password-command", "y"],
        &["backup", "everyone", "--tag", ""],
        &["completions", "fnord"],
        &["sim", "--port", "70000"],
    ] {
        let done = place.run(arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.err);
        assert!(done.err.starts_with("error: ") && done.out.is_empty(), "{arguments:?}: {}", done.err);
    }
    let done = place.run(&["prune", "--grace", "soon", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&done.err).expect("one line of JSON");
    assert_eq!((error["message_type"].as_str(), error["kind"].as_str()), (Some("error"), Some("usage")));
}

#[test]
fn a_repository_that_is_there_is_not_made_again() {
    shared()
        .run(&["init", "--generate-key", "--key-file", "again.key"])
        .fails(1, &["There is a repository at", "already"]);
    assert!(!shared().path("again.key").exists(), "a key that opens nothing was left behind");
}

#[test]
fn a_refused_sign_in_is_explained_in_words() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    place.write("sim.secret", "not-the-secret");
    for arguments in [&["backup", "everyone"][..], &["test", "everyone"]] {
        place.run(arguments).fails(
            1,
            &["refuses the sign-in", "client secret is wrong", "AADSTS7000215", "Hint: Use the secret's Value"],
        );
    }
    assert!(!place.run(&["backup", "everyone"]).err.contains("not-the-secret"));
}

#[test]
fn an_unknown_app_and_an_unknown_tenant_are_explained_in_words() {
    let place = Place::with_tenant(SimOptions::tiny());
    let config = place.read("tenantvault.toml");
    for (key, value, parts) in [
        ("client_id", "00000000-0000-0000-0000-000000000001", ["the app is not known", "AADSTS700016", "Hint: Check"]),
        ("tenant_id", "nosuch.onmicrosoft.com", ["there is no such tenant", "AADSTS90002", "Hint: Check the tenant"]),
    ] {
        let changed = config.lines().map(|line| match line.starts_with(key) {
            true => format!("{key} = \"{value}\"\n"),
            false => format!("{line}\n"),
        });
        place.write("tenantvault.toml", &changed.collect::<String>());
        place.run(&["test"]).fails(1, &parts);
    }
}

#[test]
fn a_missing_permission_is_told_with_its_cost() {
    let roles = BACKUP_ROLES.iter().filter(|role| !role.starts_with("Files.") && !role.starts_with("Sites."));
    let roles = roles.map(ToString::to_string).collect();
    let place = Place::with_tenant(SimOptions { roles, ..SimOptions::tiny() });
    let done = place.run(&["test"]);
    done.fails(1, &["permissions are missing", "Grant admin consent"]);
    let line = |name: &str| done.out.lines().find(|line| line.contains(name)).expect(name).to_owned();
    assert!(line("Mail.Read").contains("granted"));
    assert!(line("Files.Read.All").contains("missing") && line("Files.Read.All").contains("no OneDrive is backed up"));
}

#[test]
fn the_permission_for_labels_is_named_to_sets_that_ask_for_labels() {
    const NAME: &str = "RecordsManagement.Read.All";
    let roles = BACKUP_ROLES.iter().filter(|role| **role != NAME).map(ToString::to_string).collect();
    let place = Place::with_tenant(SimOptions { roles, ..SimOptions::tiny() });
    let done = place.run(&["test", "everyone"]);
    assert!(!done.out.contains(NAME), "{}", done.out);
    let config = place.read("tenantvault.toml") + "retention_labels = true\n";
    place.write("tenantvault.toml", &config);
    for name in ["everyone", "sim"] {
        let done = place.run(&["test", name]);
        done.fails(1, &["1 permission is missing"]);
        assert!(done.out.lines().any(|line| line.contains("missing") && line.contains(NAME)), "{}", done.out);
    }
}

#[test]
fn a_user_that_does_not_exist_is_told_and_is_a_gap() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    let config = place.read("tenantvault.toml") + "include = [\"nobody@contoso.com\"]\n";
    place.write("tenantvault.toml", &config);
    place.run(&["backup", "everyone"]).fails(3, &["nobody@contoso.com", "no such user"]);
}

#[test]
fn a_mailbox_that_is_not_in_exchange_online_is_told() {
    let done = Place::with_snapshots(1).run(&["backup", "everyone"]);
    assert!(done.out.contains("Nothing to read:"), "{}", done.out);
    let line = done.out.lines().find(|line| line.contains("no mailbox in Exchange Online")).expect("a line");
    assert!(line.contains("@contoso.com") && line.contains("MailboxNotEnabledForRESTAPI"), "{line}");
}

#[test]
fn a_selection_that_fits_nobody_is_no_success() {
    let place = Place::with_tenant(SimOptions::tiny());
    place.init();
    let config = place.read("tenantvault.toml") + "include = [\"*@elsewhere.example\"]\n";
    place.write("tenantvault.toml", &config);
    place.run(&["backup", "everyone"]).fails(3, &["Warning: ", "'include' and 'exclude'"]);
}

#[test]
fn a_secret_that_others_can_read_is_warned_about() {
    let place = Place::with_tenant(SimOptions::tiny());
    let config = place.read("tenantvault.toml").replace("client_secret_file = \"sim.secret\"", "client_secret = \"x\"");
    place.write("tenantvault.toml", &config);
    let done = place.run(&["config", "show"]);
    assert_eq!(done.code, 0);
    assert!(
        done.err.contains("Warning: ") && done.err.contains("line 4") && done.err.contains("Hint: "),
        "{}",
        done.err
    );
    assert_eq!(place.run(&["config", "show", "--quiet"]).err, "");
}
