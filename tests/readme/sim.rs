//! A simulated tenant in a process of its own, started as a user would start it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use toml::{Table, Value};

/// The process, and how to reach it. Dropping it ends the process.
pub struct Sim {
    process: Child,
    tenant: Table,
}

impl Sim {
    /// Starts `tenantvault sim` and waits till it has written its configuration.
    pub fn start(folder: &Path) -> Self {
        let path = folder.join("sim.toml");
        let mut process = Command::new(assert_cmd::cargo::cargo_bin("tenantvault"))
            .args(["sim", "--port", "0", "--users", "2", "--messages", "60", "--files", "30", "--config-out"])
            .arg(&path)
            .current_dir(folder)
            .env_clear()
            .env("HOME", folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the simulated tenant starts");
        let mut lines = BufReader::new(process.stderr.take().expect("stderr is a pipe")).lines();
        let mut said = String::new();
        let ready = |said: &str| {
            said.contains("http://127.0.0.1:") && fs::read_to_string(&path).is_ok_and(|t| t.contains("[sets"))
        };
        while !ready(&said) {
            said += &lines.next().unwrap_or_else(|| panic!("the simulated tenant ended: {said}")).expect("text");
        }
        // What it says later must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        let text = fs::read_to_string(&path).expect("it was there");
        let configuration: Table = text.parse().expect("TOML");
        let tenants = configuration["tenants"].as_table().expect("a table");
        let tenant = tenants.values().next().and_then(Value::as_table).expect("a tenant").clone();
        Self { process, tenant }
    }

    /// Writes a configuration of the README, with the simulated tenant's ids, secret and addresses.
    pub fn write_configuration(&self, folder: &Path, readme: &str) {
        let mut configuration: Table = readme.parse().expect("the README's configuration is TOML");
        let tenant = configuration["tenants"]["contoso"].as_table_mut().expect("a table");
        for key in ["tenant_id", "client_id", "graph_url", "login_url"] {
            tenant.insert(key.into(), self.tenant[key].clone());
        }
        if let Some(restore) = tenant.get_mut("restore").and_then(Value::as_table_mut) {
            let simulated = &self.tenant["restore"];
            restore.insert("client_id".into(), simulated["client_id"].clone());
            let secret = simulated["client_secret_file"].as_str().expect("a file's name");
            let secret = fs::read_to_string(folder.join(secret)).expect("the secret's file");
            let file = folder.join(restore["client_secret_file"].as_str().expect("a file's name"));
            fs::write(&file, secret).expect("it can be written");
            restrict(&file);
        }
        let file = folder.join(tenant["client_secret_file"].as_str().expect("a file's name"));
        fs::write(&file, self.secret(folder)).expect("it can be written");
        restrict(&file);
        fs::write(folder.join("tenantvault.toml"), configuration.to_string()).expect("it can be written");
    }

    fn secret(&self, folder: &Path) -> String {
        let text = |key: &str| self.tenant.get(key).and_then(Value::as_str);
        match (text("client_secret"), text("client_secret_file")) {
            (Some(secret), _) => secret.to_owned(),
            (None, Some(file)) => fs::read_to_string(folder.join(file)).expect("the secret's file"),
            _ => panic!("the simulated tenant's configuration has no secret"),
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(unix)]
fn restrict(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("it is ours");
}

#[cfg(not(unix))]
fn restrict(_file: &Path) {}
