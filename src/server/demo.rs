//! A server to look at: two accounts, a simulated tenant, and some days of history. Everything in it is made by the same
//! functions as for real, with a clock that begins some days ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use super::auth::{Actor, NewPerson, Password, Role};
use super::choices::Choices;
use super::connect::user::CALLBACK;
use super::db::{Account, Entitlements, RestoreApp, SetRow, SignInWay, TenantDefinition};
use super::deeds::keys;
use super::deeds::repositories::{self, PlaceToBe, RepositoryToMake};
use super::deeds::sets::{self, SetWanted};
use super::deeds::tenants::{self, TenantToBe};
use super::id::Id;
use super::options::ServerOptions;
use super::run::{Running, start_at};
use super::schedule::Timing;
use super::state::Server;
use super::targets::OWN;
use crate::error::{Error, Result};
use crate::sim::{SimHandle, SimOptions, SimTenant};

const DAY_US: i64 = 86_400_000_000;
/// Days of history.
const DAYS: i64 = 5;
/// How long a run of the demonstration may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The password of everybody in the demonstration. Such a server is for this machine alone.
pub const PASSWORD: &str = "look around freely";

/// A server to look at.
pub struct Demo {
    /// The server.
    pub running: Running,
    /// The logins, with what each is; all have [`PASSWORD`].
    pub logins: Vec<(String, String)>,
    /// The key of the first account's repository.
    pub key: String,
    /// The tenant that it reads; it serves as long as this is kept.
    _tenant: SimHandle,
}

/// Starts a server to look at. `tell` hears what is being made.
///
/// # Errors
/// When the folder holds a server already, or something of it cannot be made.
pub async fn start_demo(options: ServerOptions, tell: &(dyn Fn(&str) + Sync)) -> Result<Demo> {
    if options.folder.join("server.db").exists() {
        let text = format!("Folder {} holds a server already", options.folder.display());
        return Err(Error::new(crate::ErrorKind::AlreadyExists, text)
            .with_hint("Name another folder, or none for a temporary one"));
    }
    let back_us = Arc::new(AtomicI64::new(DAYS * DAY_US));
    let clock = {
        let back_us = back_us.clone();
        Arc::new(move || Timestamp::now().as_microsecond() - back_us.load(Ordering::Relaxed))
    };
    let redirects = vec![format!("http://127.0.0.1{CALLBACK}")];
    let tenant = SimTenant::start(SimOptions { redirects, ..SimOptions::default() }).await?;
    let running = start_at(options, Some(clock)).await?;
    let server = running.server().clone();
    let mut logins = vec![("admin".to_owned(), "administrator of the server".to_owned())];
    let administrator = administrator(&server, running.first_link()).await?;
    let (contoso, key, set) = contoso(&server, &administrator, &tenant, &mut logins).await?;
    server
        .db
        .add_account("Fabrikam", Entitlements { mailboxes: Some(25), ..Entitlements::default() }, server.now_us())
        .await?;
    for day in 1..=DAYS {
        tell(&format!("Day {day} of {DAYS}"));
        let job = sets::run(&server, &administrator, &contoso.id, &set.id).await?;
        ended(&server, &contoso.id, &job).await?;
        settled(&server, &contoso.id).await?;
        tenant.advance_day();
        back_us.store((DAYS - day) * DAY_US, Ordering::Relaxed);
    }
    Ok(Demo { running, logins, key, _tenant: tenant })
}

async fn administrator(server: &Server, link: Option<&str>) -> Result<Actor> {
    let token = link.and_then(|link| link.rsplit('/').next()).unwrap_or_default();
    let person = server.db.accept(&server.vault, token, &Password::new(PASSWORD), server.now_us()).await?;
    Ok(Actor {
        person: person.id,
        login: person.login,
        role: Role::Administrator,
        account: None,
        session: None,
        way: String::new(),
        address: "127.0.0.1".to_owned(),
    })
}

async fn contoso(
    server: &Arc<Server>,
    by: &Actor,
    tenant: &SimHandle,
    logins: &mut Vec<(String, String)>,
) -> Result<(Account, String, SetRow)> {
    let account = server.db.add_account("Contoso", Entitlements::default(), server.now_us()).await?;
    for role in [Role::Owner, Role::Operator, Role::Restore, Role::Auditor] {
        let login = format!("{role}@contoso.com");
        let new = NewPerson { account: Some(&account.id), login: &login, role };
        let (_, invitation) = server.db.add_person(&server.vault, &new, server.now_us()).await?;
        server.db.accept(&server.vault, &invitation.token, &Password::new(PASSWORD), server.now_us()).await?;
        logins.push((login, format!("{role} of Contoso")));
    }
    let connected = tenants::add(
        server,
        by,
        &account.id,
        &TenantToBe {
            name: "contoso.com".to_owned(),
            definition: TenantDefinition {
                tenant_id: tenant.tenant_id().to_owned(),
                client_id: tenant.client_id().to_owned(),
                sign_in: SignInWay::Secret,
                cloud: "global".to_owned(),
                graph_url: Some(tenant.graph_url().to_owned()),
                login_url: Some(tenant.login_url().to_owned()),
                restore: Some(RestoreApp {
                    client_id: tenant.restore_client_id().to_owned(),
                    sign_in: SignInWay::Secret,
                    certificate: None,
                }),
                ..TenantDefinition::default()
            },
            secret: Some(Password::new(tenant.client_secret())),
            restore_secret: Some(Password::new(tenant.restore_client_secret())),
            consent: None,
        },
    )
    .await?;
    tenants::test(server, by, &account.id, &connected.id).await?;
    let made = repositories::make(
        server,
        by,
        &account.id,
        &RepositoryToMake {
            name: "Main".to_owned(),
            destination: PlaceToBe {
                name: "Main (server)".to_owned(),
                url: OWN.to_owned(),
                credentials: Default::default(),
            },
            passphrase: None,
        },
    )
    .await?;
    let key = made.key.expose_text().to_owned();
    let last: String = key.chars().skip(key.chars().count() - super::store::TYPED_BACK).collect();
    keys::confirm(server, by, &account.id, &made.row.id, &Password::new(key.as_str()), &last).await?;
    let set = sets::add(
        server,
        by,
        &account.id,
        &SetWanted {
            name: "everyone".to_owned(),
            tenant: connected.id,
            repository: made.row.id,
            choices: Choices::default(),
            schedules: vec![Timing {
                cron: "0 22 * * *".to_owned(),
                zone: "UTC".to_owned(),
                jitter_s: 0,
                catch_up: false,
            }],
            enabled: true,
            client: None,
        },
    )
    .await?;
    Ok((account, key, set))
}

/// Waits a while for what follows a run: were it under way when the clock goes to the next day, its worker would seem gone.
async fn settled(server: &Server, account: &Id) -> Result<()> {
    for _ in 0..100 {
        if server.db.open_jobs(account).await?.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Waits for the end of a job.
async fn ended(server: &Server, account: &Id, job: &Id) -> Result<()> {
    let began = std::time::Instant::now();
    loop {
        let found = server.db.job(account, job).await?;
        if found.state.has_ended() {
            return match found.error {
                None => Ok(()),
                Some(text) => Err(Error::internal(format!("A run of the demonstration failed: {text}"))),
            };
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::internal(format!("A run of the demonstration does not end: {}", json!({"job": job}))));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
