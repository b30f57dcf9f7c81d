//! Real servers on the loopback interface, each started once, when the first test needs it, on a free port with a
//! temporary folder, and stopped when the tests' process ends, however it ends.
//!
//! `.ci/servers FOLDER` installs them; they are looked for on the `PATH`.

use std::env;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

/// The key of S3; moto takes any.
pub const S3_KEY: &str = "testing";
/// The account of the Azure server.
pub const ACCOUNT: &str = "teststore";

/// How often, and how long each time, a server is asked whether it is up: minutes, for a busy machine.
const ASKED: u32 = 1200;
const PAUSE: Duration = Duration::from_millis(100);

/// Runs a server, and waits on stdin, whose other end the kernel closes with the tests' process. Then the server's
/// folder and every process that has it among its arguments or in its group goes, this one last.
const KEEPER: &str = r#"
folder=$1; shift
"$@" </dev/null >"$folder/log" 2>&1 &
cat >/dev/null
for process in /proc/[0-9]*; do
    number=${process#/proc/}
    if [ "$number" != $$ ] && grep -qaF "$folder" "$process/cmdline" 2>/dev/null; then kill -KILL "$number"; fi
done
rm -rf "$folder"
kill -KILL -$$
"#;

/// A server that runs.
pub struct Server {
    pub port: u16,
    /// Its own folder, outside of what it serves.
    pub folder: PathBuf,
    keeper: Child,
}

/// Azure's account key: any, but the same for server and client.
pub fn account_key() -> String {
    BASE64.encode([7; 64])
}

/// S3: moto, with the bucket `bucket`.
pub fn s3() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start(|_, port| {
            let mut command = Command::new(program("servers-python"));
            command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/storage/moto_in_turn.py"));
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        });
        let signed = format!("Authorization: AWS4-HMAC-SHA256 Credential={S3_KEY}/20260101/us-east-1/s3/aws4_request");
        server.asks("PUT /bucket", &[&signed], "200");
        server
    })
}

/// Azure Blob: Azurite, with the container `box`.
pub fn azblob() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start(|folder, port| {
            let mut command = Command::new(program("azurite-blob"));
            command.args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--blobHost", "127.0.0.1"]);
            command.args(["--blobPort", &port.to_string(), "--location"]).arg(folder);
            command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{}", account_key()));
            command
        });
        let (date, version) = ("Thu, 01 Jan 2026 00:00:00 GMT", "2021-08-06");
        let signed = format!(
            "PUT{}\nx-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/box\nrestype:container",
            "\n".repeat(11)
        );
        let signature = BASE64.encode(hmac(&[7; 64], signed.as_bytes()));
        let headers = [
            format!("x-ms-date: {date}"),
            format!("x-ms-version: {version}"),
            format!("Authorization: SharedKey {ACCOUNT}:{signature}"),
        ];
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        server.asks(&format!("PUT /{ACCOUNT}/box?restype=container"), &headers, "201");
        server
    })
}

/// WebDAV: WsgiDAV, open to everybody.
pub fn webdav() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start(|folder, port| {
            let mut command = Command::new(program("wsgidav"));
            command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--auth", "anonymous", "--no-config"]);
            command.args(["--server", "cheroot", "--quiet", "--root"]).arg(made(folder, "served"));
            command
        });
        server.asks("OPTIONS /", &[], "200");
        server
    })
}

/// SFTP: OpenSSH, with the host's and the user's key in the folder; more than 10 connections at once that have not
/// signed in yet are refused, as by default (there by chance, here always).
pub fn sftp() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start(|folder, port| {
            made(folder, "served");
            for key in ["host", "user"] {
                let keygen = Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                    .arg(folder.join(key))
                    .status();
                assert!(keygen.expect("ssh-keygen runs").success());
            }
            let shown = folder.display();
            let config = format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {shown}/host\nAuthorizedKeysFile {shown}/user.pub\n\
                 PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nMaxStartups 10\n\
                 Subsystem sftp internal-sftp\n"
            );
            std::fs::write(folder.join("config"), config).unwrap();
            // Where root runs it, it wants an empty folder to lock itself into.
            let _ = std::fs::create_dir_all("/run/sshd");
            let mut command = Command::new(program("sshd"));
            command.args(["-D", "-e", "-f"]).arg(folder.join("config"));
            command
        });
        server.greets("SSH-2.0");
        server
    })
}

impl Server {
    /// Starts what `command` makes of a new folder and a free port.
    fn start(command: impl Fn(&Path, u16) -> Command) -> Self {
        let folder = tempfile::Builder::new().prefix("tenantvault-server-").tempdir().unwrap().keep();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let command = command(&folder, port);
        let mut keeper = Command::new("sh");
        keeper.args(["-c", KEEPER, "sh"]).arg(&folder).arg(command.get_program()).args(command.get_args());
        keeper.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let keeper = keeper.spawn().expect("sh runs");
        Self { port, folder, keeper }
    }

    /// Asks over HTTP until the answer has the status.
    fn asks(&self, request: &str, headers: &[&str], status: &str) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let host = format!("Host: 127.0.0.1:{}\r\nContent-Length: 0\r\nConnection: close\r\n", self.port);
        let request = format!("{request} HTTP/1.1\r\n{host}{headers}\r\n");
        self.until(&request, |answer| answer.split(' ').nth(1) == Some(status));
    }

    /// Connects until the server says who it is.
    fn greets(&self, greeting: &str) {
        self.until("\r\n", |answer| answer.starts_with(greeting));
    }

    fn until(&self, request: &str, good: impl Fn(&str) -> bool) {
        let mut last = String::new();
        for _ in 0..ASKED {
            if let Ok(answer) = self.answer(request) {
                if good(&answer) {
                    return;
                }
                last = answer;
            }
            std::thread::sleep(PAUSE);
        }
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!("The server (keeper {}) does not do what it should.\n{last}\n{log}", self.keeper.id());
    }

    fn answer(&self, request: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        let _ = stream.take(4096).read_to_end(&mut answer);
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn made(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir(&path).unwrap();
    path
}

fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian keeps sshd where users do not look.
    let mut folders = env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
        .unwrap_or_else(|| panic!("{name} is not on the PATH: run .ci/servers FOLDER, then put FOLDER/bin on the PATH"))
}

/// HMAC-SHA256 (RFC 2104), for a key of one block.
fn hmac(key: &[u8; 64], text: &[u8]) -> [u8; 32] {
    let padded = |with: u8| key.map(|byte| byte ^ with);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}
