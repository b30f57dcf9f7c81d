//! `test`: signs in to a tenant and tells, for each workload, whether it can be read or what is missing.

use jiff::Timestamp;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::config::{Config, SignIn};
use crate::cli::exit::Outcome;
use crate::cli::{output, tenant};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{Caller, Client, certificate_end};
use crate::m365::discover::directory_roles;
use crate::ops::access::{self, Permission, SecretEnd, State};
use crate::snapshot::set::Workload;

const EXAMPLES: &str = "\
Examples:
  tenantvault test everyone      what this backup set needs
  tenantvault test contoso       all that this program can need
  tenantvault test               every tenant of the configuration
  tenantvault test --restore     what the app that restores may write";

/// With fewer days left, a secret or certificate is warned of.
const DAYS_WARNED: i64 = 30;

/// Sign in to a tenant and tell for each workload whether it can be read, or what is missing
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A backup set or a tenant, by its name in the configuration; without one: every tenant
    #[arg(value_name = "SET|TENANT")]
    name: Option<String>,
    /// Look at the permissions of the app that restores instead
    #[arg(long)]
    restore: bool,
}

/// Looks at one tenant, or all; a missing permission makes it fail.
pub(crate) async fn run(args: Args, app: &App) -> Result<Outcome> {
    let config = app.need_config()?;
    let wanted = wanted(config, args.name.as_deref())?;
    let mut missing = 0;
    let mut hint = String::new();
    for (name, workloads, labels) in &wanted {
        let look = Look { app, config, name };
        let lacking = if args.restore { look.restore().await? } else { look.run(workloads, *labels).await? };
        if lacking > 0 {
            hint = look.how_to_grant()?;
        }
        missing += lacking;
    }
    app.screen.summary(&json!({"tenants": wanted.len(), "missing": missing}))?;
    if missing == 0 {
        return Ok(Outcome::Done);
    }
    let count = output::count(missing, "permission is", "permissions are");
    Err(Error::new(ErrorKind::Permission, format!("{count} missing")).with_hint(hint))
}

/// The tenants, what is to be read of each, and whether that has retention labels.
fn wanted(config: &Config, name: Option<&str>) -> Result<Vec<(String, Vec<Workload>, bool)>> {
    let labels = |tenant: &str| config.sets.values().any(|set| set.tenant == tenant && set.options.retention_labels);
    let all = |tenant: &str| (tenant.to_owned(), Workload::ALL.to_vec(), labels(tenant));
    let Some(name) = name else {
        if config.tenants.is_empty() {
            return Err(Error::not_found(format!("There is no tenant in {}", config.path.display())));
        }
        return Ok(config.tenants.keys().map(|tenant| all(tenant)).collect());
    };
    if let Some(set) = config.sets.get(name) {
        let reads = Workload::ALL.iter().copied().filter(|w| set.selection.reads(*w)).collect();
        return Ok(vec![(set.tenant.clone(), reads, set.options.retention_labels)]);
    }
    if config.tenants.contains_key(name) {
        return Ok(vec![all(name)]);
    }
    // Neither: the complaint about sets has the nearest name, unless there are none.
    let complaint = if config.sets.is_empty() { config.tenant(name).err() } else { config.set(name).err() };
    Err(complaint.unwrap_or_else(|| Error::not_found(format!("There is no set or tenant '{name}'"))))
}

/// A look at one tenant.
struct Look<'a> {
    app: &'a App,
    config: &'a Config,
    name: &'a str,
}

impl Look<'_> {
    /// Tells all there is to tell; gives the number of permissions that are missing.
    async fn run(&self, workloads: &[Workload], labels: bool) -> Result<u64> {
        let monitor = self.app.progress(false);
        let client = tenant::client(self.config, self.name, None, &[], monitor.clone())?;
        let mut found = access::look(&client, workloads).await;
        if let (true, Ok(found)) = (labels, &mut found) {
            found.push(access::look_labels(&client).await?);
        }
        let me = client.me().await;
        monitor.finish();
        let (found, me) = (found?, me?);
        let who = me.map_or_else(|| "signed in as an app".to_owned(), |me| format!("signed in as {}", me.name));
        self.app.screen.line(format!("Tenant {}: {}", self.name, output::plain(&who)))?;
        let missing = self.permissions(&client, &found)?;
        self.workloads(&client, workloads, &found)?;
        self.roles(&client, workloads).await?;
        self.plans(&client).await?;
        self.proof(&client).await?;
        if missing > 0 {
            self.consent(&client)?;
        }
        Ok(missing)
    }

    /// Tells what the app that restores may write.
    async fn restore(&self) -> Result<u64> {
        let monitor = self.app.progress(false);
        let client = tenant::restore_client(self.config, self.name, monitor.clone())?;
        let found = access::look_restore(&client).await;
        monitor.finish();
        let app = &self.config.tenant(self.name)?.restore;
        let who = match app {
            Some(app) => format!("restores by the app {}", app.client_id),
            None => "restores by the app that backs up; [tenants.NAME.restore] names another one".to_owned(),
        };
        self.app.screen.line(format!("Tenant {}: {}", self.name, output::plain(&who)))?;
        self.permissions(&client, &found?)
    }

    fn line(&self, what: &str, text: &str) -> Result<()> {
        self.app.screen.line(format!("  {what:8} {}", output::plain(text)))
    }

    fn permissions(&self, client: &Client, found: &[(Permission, State)]) -> Result<u64> {
        let mut missing = 0;
        for (permission, state) in found {
            let (word, text) = match state {
                State::Granted => ("granted", format!("to {}", permission.purpose)),
                State::Missing if permission.is_optional() => {
                    ("optional", format!("not granted: without it {}", permission.cost))
                }
                State::Missing => ("missing", format!("without it {}", permission.cost)),
                State::Refused(reason) => {
                    ("refused", format!("granted, but Graph refuses everybody asked ({reason}): {}", permission.cost))
                }
                State::Unknown => ("unknown", format!("nobody could be asked; without it {}", permission.cost)),
            };
            missing += u64::from(lacks(state) && !permission.is_optional());
            let name = shown(client, permission);
            self.line(word, &format!("{name:16} {text}"))?;
            self.app.screen.record(
                "permission",
                &json!({"tenant": self.name, "permission": name, "state": word, "message": text}),
            )?;
        }
        Ok(missing)
    }

    fn workloads(&self, client: &Client, workloads: &[Workload], found: &[(Permission, State)]) -> Result<()> {
        for workload in workloads {
            let needed = found.iter().filter(|(p, _)| p.workload.is_none_or(|of| of == *workload));
            let missing: Vec<&str> =
                needed.clone().filter(|(_, state)| lacks(state)).map(|(p, _)| shown(client, p)).collect();
            let unknown = needed.clone().any(|(_, state)| *state == State::Unknown);
            let (word, text) = if !access::can_have(client.caller(), *workload) {
                ("none", "a personal account has none of it".to_owned())
            } else if !missing.is_empty() {
                ("missing", missing.join(", "))
            } else if unknown {
                ("unknown", "nobody could be asked".to_owned())
            } else {
                ("green", String::new())
            };
            let line = format!("  {:14} {word:8} {}", workload.word(), output::plain(&text));
            self.app.screen.line(line.trim_end())?;
            let facts = json!({"tenant": self.name, "workload": workload.word(), "state": word, "missing": missing});
            self.app.screen.record("workload", &facts)?;
        }
        Ok(())
    }

    /// Which roles of people matter: to see others' data as a user, and to write terms.
    async fn roles(&self, client: &Client, workloads: &[Workload]) -> Result<()> {
        if client.caller() == Caller::Work {
            let roles = directory_roles(client).await?;
            let text = match roles.as_deref() {
                Some([]) => "no directory role: of the other users nothing is seen".to_owned(),
                Some(roles) => roles.join(", "),
                None => "unknown: Graph does not tell the directory roles".to_owned(),
            };
            self.line("roles", &text)?;
            self.app.screen.record("roles", &json!({"tenant": self.name, "roles": roles, "message": text}))?;
        }
        if workloads.contains(&Workload::Sites) && client.caller() != Caller::Personal {
            let text =
                "Term Store Administrator: Graph does not tell who is one; needed to write terms, not to back them up";
            self.line("roles", text)?;
        }
        Ok(())
    }

    async fn plans(&self, client: &Client) -> Result<()> {
        let Some(plans) = access::plans(client).await? else { return Ok(()) };
        let users = output::count(plans.users, "user", "users");
        let text = format!(
            "of {users} {} have a plan for Exchange, {} for SharePoint and OneDrive, {} for Teams",
            output::number(plans.exchange),
            output::number(plans.sharepoint),
            output::number(plans.teams)
        );
        self.line("plans", &text)?;
        self.app.screen.record("plans", &json!({"tenant": self.name, "plans": plans}))
    }

    /// How long the app's proof is good.
    async fn proof(&self, client: &Client) -> Result<()> {
        let tenant = self.config.tenant(self.name)?;
        let (what, end) = match &tenant.sign_in {
            SignIn::Secret(source) => {
                let secret = source.resolve(&format!("client secret of tenant '{}'", self.name))?;
                // The registration tells secrets apart by their first three characters.
                let begins: String = secret.chars().take(3).collect();
                ("secret", access::secret_end(client, &tenant.client_id, &begins).await?)
            }
            SignIn::Certificate { certificate_file, .. } => {
                let pem = tenant::read(self.name, "certificate", certificate_file)?;
                ("certificate", SecretEnd::At(certificate_end(&pem)?))
            }
            SignIn::User { .. } => return Ok(()),
        };
        let days = match &end {
            SecretEnd::At(end) => Some(end.as_second().saturating_sub(Timestamp::now().as_second()).div_euclid(86_400)),
            SecretEnd::Unknown(_) => None,
        };
        let text = match (&end, days) {
            (SecretEnd::Unknown(why), _) => format!("unknown how long the {what} is good: {why}"),
            (_, Some(days)) if days < 0 => format!("the {what} has expired"),
            (_, days) => {
                format!("the {what} is good for {}", output::count(days.unwrap_or(0).unsigned_abs(), "day", "days"))
            }
        };
        self.line("proof", &text)?;
        if days.is_some_and(|days| days < DAYS_WARNED) {
            let hint = "Hint: make a new one: Entra admin center, App registrations, this app, Certificates & secrets";
            self.app.screen.warn(format!("Tenant {}: {text}\n{hint}", self.name));
        }
        self.app.screen.record("proof", &json!({"tenant": self.name, "kind": what, "days": days, "message": text}))
    }

    fn consent_address(&self) -> Result<String> {
        let tenant = self.config.tenant(self.name)?;
        Ok(tenant::cloud(tenant)?.admin_consent_url(&tenant.tenant_id, &tenant.client_id)?.to_string())
    }

    fn consent(&self, client: &Client) -> Result<()> {
        if client.caller() == Caller::Personal {
            return Ok(());
        }
        let address = self.consent_address()?;
        self.line("consent", &format!("{address} (a Global Administrator opens it once the permissions are added)"))?;
        self.app.screen.record("consent", &json!({"tenant": self.name, "address": address}))
    }

    fn how_to_grant(&self) -> Result<String> {
        Ok(match tenant::caller(self.config.tenant(self.name)?) {
            Caller::App => {
                "Entra admin center, App registrations, this app, API permissions: add them as application permissions of \
                 Microsoft Graph, then 'Grant admin consent'"
                    .to_owned()
            }
            _ => format!("Sign in again, so that they are asked for: tenantvault login {}", self.name),
        })
    }
}

fn lacks(state: &State) -> bool {
    matches!(state, State::Missing | State::Refused(_))
}

/// The permission's name for the one who is signed in.
fn shown<'p>(client: &Client, permission: &'p Permission) -> &'p str {
    match client.caller() {
        Caller::App => permission.name,
        _ => access::scope_of(permission.name),
    }
}
