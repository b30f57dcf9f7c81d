//! `restore`: the plan, the run and the way back, as users meet them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use tenantvault::sim::{Fault, FaultKind, SimHandle, SimOptions, SimTenant};

use crate::support::{Place, close, collect, runtime};

const INBOX: &str = "latest:users/alice@contoso.com/Mail/Inbox";

fn place() -> Place {
    place_of(SimOptions { remembers: true, ..SimOptions::tiny() })
}

/// A place with a snapshot, whose configuration names an app that restores.
pub fn place_of(options: SimOptions) -> Place {
    let place = Place::with_tenant(options);
    place.init();
    assert_eq!(place.run(&["backup", "everyone"]).code, 3);
    let tenant = place.tenant.as_ref().expect("a tenant");
    let table = format!(
        "[tenants.sim.restore]\nclient_id = \"{}\"\nclient_secret_file = \"restore.secret\"\n\n[destinations.local]",
        tenant.restore_client_id()
    );
    place.write("restore.secret", tenant.restore_client_secret());
    close(&place.path("restore.secret"));
    let config = place.read("tenantvault.toml").replace("[destinations.local]", &table);
    place.write("tenantvault.toml", &config);
    place
}

fn summary(lines: &[Value]) -> &Value {
    lines.last().expect("a summary")
}

#[test]
fn a_plan_is_run_and_taken_back() {
    let place = place();
    let (code, planned) = place.json(&["restore", INBOX, "--to", "original", "--folder", "Back", "--plan"]);
    let plan = summary(&planned);
    assert_eq!(code, 0, "{plan}");
    let create = plan["counts"]["create"].as_u64().expect("a count");
    assert!(create > 3, "{plan}");
    assert_eq!(planned.iter().filter(|line| line["action"] == "create").count() as u64, create);
    let said = place.run(&["restore", INBOX, "--to", "original", "--plan"]);
    assert!(said.out.contains("150 MB in 5 minutes") && said.out.contains("restore run"), "{}", said.out);
    let name = plan["run"].as_str().expect("a name");
    let (code, done) = place.json(&["restore", "run", name]);
    assert_eq!((code, summary(&done)["created"].as_u64()), (0, Some(create)), "{}", summary(&done));
    // Again there is nothing left to do, and nothing is made.
    let (code, again) = place.json(&["restore", "run", name]);
    assert_eq!((code, summary(&again)["created"].as_u64()), (0, Some(create)));
    let folders = |place: &Place| {
        let truth = place.tenant.as_ref().expect("a tenant").expected();
        let mailbox = truth.user("alice@contoso.com").and_then(|user| user.mailbox.clone()).expect("a mailbox");
        mailbox.folders.iter().filter(|folder| folder.name == "Back").count()
    };
    assert_eq!(folders(&place), 1);
    let runs = place.run(&["restore", "runs"]);
    assert!(runs.out.contains(&format!("{name}  done")) && runs.out.contains("planned"), "{}", runs.out);
    let (code, back) = place.json(&["restore", "undo", name]);
    assert_eq!((code, summary(&back)["undone"].as_u64()), (0, Some(create)), "{}", summary(&back));
    assert_eq!(folders(&place), 0);
    place.run(&["restore", "run", name]).fails(2, &["taken back"]);
    // A plan that did nothing is not what `latest` takes back, nor is what was taken back.
    let runs = place.run(&["restore", "runs"]);
    assert!(runs.out.contains(&format!("{name}  undone")), "{}", runs.out);
    place.run(&["restore", "undo", "latest"]).fails(1, &["no restore run"]);
    let (_, done) = place.json(&["restore", INBOX, "--to", "original", "--folder", "Again"]);
    let again = summary(&done)["run"].as_str().expect("a name").to_owned();
    assert_eq!(place.run(&["restore", INBOX, "--to", "original", "--plan"]).code, 0);
    // Under a configuration in which the name is another tenant's, nothing is touched.
    let config = place.read("tenantvault.toml");
    let id = place.tenant.as_ref().expect("a tenant").tenant_id().to_owned();
    place.write("tenantvault.toml", &config.replace(&id, "00000000-0000-0000-0000-000000000001"));
    place.run(&["restore", "undo", "latest"]).fails(2, &[&again, "another one"]);
    place.run(&["restore", "run", &again]).fails(2, &[&again, "another one"]);
    place.write("tenantvault.toml", &config);
    let (_, done) = place.json(&["restore", INBOX, "--to", "original", "--folder", "Last"]);
    let last = summary(&done)["run"].as_str().expect("a name").to_owned();
    for run in [last, again] {
        let (code, back) = place.json(&["restore", "undo", "latest"]);
        assert_eq!((code, summary(&back)["run"].as_str()), (0, Some(&*run)), "{}", summary(&back));
    }
}

#[test]
fn plans_and_journals_hold_neither_secrets_nor_contents() {
    let place = place();
    assert_eq!(place.run(&["restore", INBOX, "--to", "original"]).code, 0);
    let tenant = place.tenant.as_ref().expect("a tenant");
    let mut files = Vec::new();
    collect(&place.path(""), &mut files);
    let of_runs = |name: &str| name.ends_with("journal.jsonl") || name.ends_with("plan.json");
    files.retain(|file| of_runs(&file.to_string_lossy()));
    assert_eq!(files.len(), 2, "{files:?}");
    let mut secrets: Vec<String> = tenant.given_out().into_iter().collect();
    secrets.push(tenant.restore_client_secret().to_owned());
    let truth = tenant.expected();
    let mailbox = truth.user("alice@contoso.com").and_then(|user| user.mailbox.clone()).expect("a mailbox");
    let journal = files.iter().find(|file| file.ends_with("journal.jsonl")).expect("a journal");
    let journal = std::fs::read_to_string(journal).expect("it reads");
    for message in mailbox.messages.iter().filter(|message| message.subject.len() > 12) {
        assert!(!journal.contains(&message.subject), "a subject stands in the journal");
    }
    for file in files {
        let mode = |path: &std::path::Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().expect("a folder"))), (0o600, 0o700), "{}", file.display());
        let text = std::fs::read_to_string(&file).expect("it reads");
        assert!(text.len() > 100);
        for secret in &secrets {
            assert!(!text.contains(secret), "a secret stands in {}", file.display());
        }
    }
}

#[test]
fn what_a_restore_lacks_is_said_with_the_way_to_get_it() {
    let place = place();
    let test = place.run(&["test", "--restore"]);
    assert!(test.code == 0 && test.out.contains("Mail.ReadWrite"), "{}{}", test.out, test.err);
    // A write-only key.
    let key = place.run(&["key", "add", "--write-only", "--generate-key", "--key-file", "server.key"]);
    assert_eq!(key.code, 0, "{}", key.err);
    let only = ["--password-file", "server.key", "restore", INBOX, "--to", "original"];
    place.run(&only).fails(12, &["write-only", "owner's key"]);
    place.run(&["restore", INBOX, "--to", "nobody@contoso.com"]).fails(1, &["nobody@contoso.com", "Hint: "]);
    place.run(&["restore", "run", "none"]).fails(1, &["restore runs"]);
    place.run(&["restore", "undo", "../../etc"]).fails(1, &["no such restore run"]);
    place.write("other.json", "{}");
    place.run(&["restore", "run", "other.json"]).fails(2, &["not a plan"]);
    // A calendar that refuses keeps the rest from nothing, and is no success.
    let tenant = place.tenant.as_ref().expect("a tenant");
    let kind = FaultKind::Status { status: 403 };
    tenant.inject(Fault { kind, path: "calendarGroups".into(), probability: 1.0, count: None });
    let done = place.run(&["restore", "latest:users/bob@contoso.com", "--to", "original", "--folder", "Some"]);
    done.fails(3, &["Refused: users/bob@contoso.com/Calendar", "Left out: users/bob@contoso.com/Settings"]);
    // By itself it is told with the next step, which for restores is a test of their own.
    let calendar = ["restore", "latest:users/bob@contoso.com/Calendar", "--to", "original"];
    place.run(&calendar).fails(1, &["403", "test --restore"]);
    tenant.clear_faults();
    // The backup's own app can only read.
    let config = place.read("tenantvault.toml");
    let from = config.find("[tenants.sim.restore]").expect("the table");
    let to = config.find("[destinations.local]").expect("the next one");
    place.write("tenantvault.toml", &format!("{}{}", &config[..from], &config[to..]));
    place.run(&["restore", INBOX, "--to", "original"]).fails(1, &["Mail.ReadWrite", "[tenants.sim.restore]"]);
    place.run(&["test", "--restore"]).fails(1, &["missing"]);
}

#[test]
fn a_run_whose_journal_cannot_be_kept_is_told_by_its_name() {
    let place = place();
    let (_, planned) = place.json(&["restore", INBOX, "--to", "original", "--folder", "Back", "--plan"]);
    let plan = summary(&planned);
    let name = plan["run"].as_str().expect("a name");
    let journal = Path::new(plan["plan"].as_str().expect("a file")).with_file_name("journal.jsonl");
    std::fs::create_dir(&journal).expect("a folder");
    let on = format!("Go on with: tenantvault restore run {name}");
    place.run(&["restore", "run", name]).fails(1, &["journal.jsonl cannot be used", &on]);
    let (code, told) = place.json(&["restore", "run", name]);
    assert_eq!((code, summary(&told)["run"].as_str()), (1, Some(name)));
    std::fs::remove_dir(&journal).expect("it goes");
    assert_eq!(place.run(&["restore", "run", name]).code, 0);
}

#[test]
fn the_term_store_goes_to_another_tenant_where_nobody_is_the_original() {
    let place = place();
    let options = SimOptions { seed: 4711, ..SimOptions::tiny() };
    let abroad = runtime().block_on(SimTenant::start(options)).expect("a tenant");
    place.write("abroad.secret", abroad.restore_client_secret());
    close(&place.path("abroad.secret"));
    let table = abroad.config_toml("abroad.secret").replace("[tenants.sim]", "[tenants.abroad]");
    let table = table.replace(abroad.client_id(), abroad.restore_client_id());
    place.write("tenantvault.toml", &format!("{}\n{table}", place.read("tenantvault.toml")));
    let terms = |tenant: &SimHandle| tenant.expected().collections["tenant/terms"].things.len();
    let home = place.tenant.as_ref().expect("a tenant");
    let before = (terms(home), terms(&abroad));
    let store = "latest:tenant/Term Store";
    let restore = |what: &[&'static str]| {
        [&["restore"][..], what, &["--to", "original", "--tenant", "abroad", "--in-place"]].concat()
    };
    for what in [&[INBOX] as &[&str], &[store, INBOX], &["latest"]] {
        place.run(&restore(what)).fails(2, &["nobody is the original there", "--to USER"]);
    }
    let (code, done) = place.json(&restore(&[store]));
    let created = summary(&done)["created"].as_u64().expect("a count");
    // Where terms are used again, and the store's languages, do not come back.
    assert!(matches!(code, 0 | 3) && created > 3, "{}", summary(&done));
    assert!(terms(home) == before.0 && terms(&abroad) > before.1, "{before:?}");
    let (code, back) = place.json(&["restore", "undo", summary(&done)["run"].as_str().expect("a name")]);
    assert_eq!((code, summary(&back)["undone"].as_u64()), (0, Some(created)), "{}", summary(&back));
    assert_eq!((terms(home), terms(&abroad)), before);
}
