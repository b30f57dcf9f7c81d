//! `server`: the backup server.

mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::Outcome;
use crate::cli::interrupt;
use crate::error::{Error, Result};
use crate::server::{DEMO_PASSWORD, ProcessRole, ServerOptions, new_link, start, start_demo};
use settings::options;

/// How many jobs a process may do at once.
const MOST_JOBS: std::ops::RangeInclusive<i64> = 1..=64;
/// How many connections a process may have open at once.
const MOST_CONNECTIONS: std::ops::RangeInclusive<i64> = 16..=1_000_000;
/// How many of these one address may have.
const MOST_PER_ADDRESS: std::ops::RangeInclusive<i64> = 1..=1_000_000;

const EXAMPLES: &str = "\
Examples:
  tenantvault server --demo                     one to look at, with history
  tenantvault server --dir /var/lib/tenantvault
  tenantvault server --dir /var/lib/tenantvault --listen 0.0.0.0:443 \\
      --tls-certificate /etc/ssl/backup.pem --tls-key /etc/ssl/backup.key \\
      --public-url https://backup.example.com
At the first start it prints a link by which the first administrator chooses a
password. Without TLS it is for this machine, or behind a proxy on it.
All but --demo can stand in the environment: TENANTVAULT_SERVER_DIR, …_LISTEN,
…_HEALTH_LISTEN,
…_DATABASE_URL, …_DATABASE_URL_FILE (a file that holds it), …_PUBLIC_URL, …_ROLE,
…_TLS_CERTIFICATE, …_TLS_KEY, …_JOBS, …_CONNECTIONS, …_CONNECTIONS_PER_ADDRESS,
…_PUBLIC_TARGETS_ONLY (true or false), …_TRUSTED_PROXIES (with commas between); or in
a file that --config or TENANTVAULT_SERVER_CONFIG names, in TOML, by the same names in
small letters: jobs = 8. A flag counts before the environment, and that before the file.";

/// Run the backup server: accounts, schedules, pages
#[derive(clap::Args, Clone, Default)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder of all that it keeps [env: TENANTVAULT_SERVER_DIR]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The address and port to listen to; port 0: any that is free [env: TENANTVAULT_SERVER_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// An address and port, beside --listen, where nothing but /healthz, /readyz and /metrics is answered, without TLS: for a process
    /// that is scheduler or worker alone, and listens nowhere else [env: TENANTVAULT_SERVER_HEALTH_LISTEN]
    #[arg(long, value_name = "ADDRESS:PORT")]
    health_listen: Option<SocketAddr>,
    /// What browsers reach it under, if it is not what it listens to [env: TENANTVAULT_SERVER_PUBLIC_URL]
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The certificate (PEM), with those between it and its authority [env: TENANTVAULT_SERVER_TLS_CERTIFICATE]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM) [env: TENANTVAULT_SERVER_TLS_KEY]
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// What this process does: all, web, scheduler or worker [env: TENANTVAULT_SERVER_ROLE]
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// Jobs done at once by this process, 4 unless told [env: TENANTVAULT_SERVER_JOBS]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(MOST_JOBS))]
    jobs: Option<u16>,
    /// Connections open at once to this process, 4096 unless told, and at most half of the files that it may open (ulimit -n);
    /// who comes over that waits [env: TENANTVAULT_SERVER_CONNECTIONS]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(MOST_CONNECTIONS))]
    connections: Option<u32>,
    /// Connections of one address (of IPv6: one /64) open at once to this process, 256 unless told; what comes over that is closed.
    /// This machine and trusted proxies have no such bound [env: TENANTVAULT_SERVER_CONNECTIONS_PER_ADDRESS]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(MOST_PER_ADDRESS))]
    connections_per_address: Option<u32>,
    /// Make one to look at: two accounts, a simulated tenant, some days of history; in a temporary folder, unless --dir
    /// names one
    #[arg(long)]
    demo: bool,
    /// Let --demo listen to other machines too: whoever reaches it knows the password of its administrator
    #[arg(long, requires = "demo")]
    demo_for_others: bool,
    /// Make a link by which somebody chooses a new password, and has no second factor any more, and end; also while the server
    /// runs. Once it is used, their sessions and API tokens end. For the last administrator: for all others administrators make
    /// one on the pages
    #[arg(long, value_name = "LOGIN", conflicts_with = "demo")]
    new_link: Option<String>,
    /// Refuse destinations and webhooks in private networks and on this machine, for servers that strangers use [env:
    /// TENANTVAULT_SERVER_PUBLIC_TARGETS_ONLY]
    #[arg(long)]
    public_targets_only: bool,
    /// A proxy on another machine, or their network, that is believed as to where requests come from (X-Forwarded-For,
    /// Forwarded); may be given several times [env: TENANTVAULT_SERVER_TRUSTED_PROXIES]
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    trusted_proxy: Vec<String>,
}

/// The options of a server, for who looks at what it keeps beside it. `dir`: its folder; none: as the environment or the file of
/// settings says.
///
/// # Errors
/// As the server's own start.
pub(crate) fn options_in(dir: Option<PathBuf>, app: &App) -> Result<ServerOptions> {
    options(&Args { dir, ..Args::default() }, app)
}

/// Serves until Ctrl-C.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let signalled = interrupt::listen()?;
    let screen = &app.screen;
    if args.demo {
        return demo(&args, app, signalled).await;
    }
    let options = options(&args, app)?;
    if let Some(login) = &args.new_link {
        let link = new_link(&options, login).await?;
        screen.line(format!("Good for seven days and for one use:\n  {link}"))?;
        screen.summary(&json!({"login": login, "link": link}))?;
        return Ok(Outcome::Done);
    }
    let is_plain = options.tls.is_none();
    let running = start(options).await?;
    if let Some(address) = running.address() {
        if !address.ip().is_loopback() && is_plain {
            screen.warn(format!(
                "{address} can be reached from other machines, and nothing is encrypted on the way\n\
                 Hint: give --tls-certificate and --tls-key, or listen to 127.0.0.1 behind a proxy with TLS"
            ));
        }
        screen.note(format!("The backup server is at {}, until Ctrl-C", running.url()));
    } else {
        screen.note("Running, until Ctrl-C");
    }
    if let Some(address) = running.health_address() {
        screen.note(format!("How it is can be asked at http://{address}/readyz"));
    }
    if let Some(link) = running.first_link() {
        screen.line(format!("The first administrator (login: admin) chooses a password here:\n  {link}"))?;
    }
    screen.record("status", &json!({"url": running.url(), "first_link": running.first_link()}))?;
    screen.flush()?;
    signalled.await;
    screen.note("Stopping: what is under way is brought to an end that can be gone on from");
    running.stop().await;
    screen.note("Stopped");
    screen.summary(&json!({}))?;
    Ok(Outcome::Done)
}

/// Serves one to look at, until Ctrl-C.
async fn demo(args: &Args, app: &App, signalled: impl Future<Output = ()>) -> Result<Outcome> {
    let screen = &app.screen;
    let (mut args, temporary) = (args.clone(), tempfile::Builder::new().prefix("tenantvault-server-").tempdir());
    let temporary = match &args.dir {
        Some(_) => None,
        None => Some(temporary.map_err(|e| Error::io("There is no temporary folder", e))?),
    };
    if let Some(folder) = &temporary {
        args.dir = Some(folder.path().join("server"));
    }
    let options = options(&args, app)?;
    check_demo(&options, args.demo_for_others)?;
    screen.note("Making two accounts, a tenant and its history");
    let tell = |text: &str| screen.note(text);
    let made = tokio::select! {
        made = start_demo(options, &tell) => made?,
        () = signalled => return Ok(Outcome::Interrupted),
    };
    screen.line(format!("The backup server is at {}", made.running.url()))?;
    screen.line(format!("Sign in with the password '{DEMO_PASSWORD}' as"))?;
    for (login, what) in &made.logins {
        screen.line(format!("  {login:24} {what}"))?;
    }
    screen.line(format!("The key of Contoso's repository, to look into snapshots:\n  {}", made.key))?;
    screen.record("status", &json!({"url": made.running.url(), "password": DEMO_PASSWORD, "key": made.key}))?;
    screen.flush()?;
    interrupt::signalled().await?;
    made.running.stop().await;
    screen.note("Stopped");
    screen.summary(&json!({}))?;
    Ok(Outcome::Done)
}

/// Refuses a demonstration that others could reach, unless that is wanted: its password is known to everybody.
fn check_demo(options: &ServerOptions, for_others: bool) -> Result<()> {
    if options.role != ProcessRole::All {
        return Err(Error::invalid("A demonstration needs all parts of a server in one process")
            .with_hint("Leave out --role, and TENANTVAULT_SERVER_ROLE"));
    }
    if !for_others && !options.listen.ip().is_loopback() {
        let listen = options.listen;
        let text = format!("{listen} can be reached from other machines, and a demonstration's password is no secret");
        return Err(Error::invalid(text)
            .with_hint("Give --listen 127.0.0.1:8484, or --demo-for-others where nobody else gets to the port"));
    }
    Ok(())
}
