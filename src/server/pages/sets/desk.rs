//! What lies before whoever describes a set: what was typed, what is shown of the tenant, which button was pressed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use maud::Markup;
use serde::Deserialize;

use super::fields::Fields;
use super::steps::Step;
use super::{choose, connect, key, place, when};
use crate::error::{Error, Result};
use crate::server::auth::Actor;
use crate::server::choices::Choices;
use crate::server::contents::Kind;
use crate::server::db::{Account, SetRow};
use crate::server::deeds;
use crate::server::id::Id;
use crate::server::schedule;
use crate::server::state::Server;

/// How long a page waits for Microsoft; then it says that Microsoft is being asked.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);

/// What of the tenant is shown beside the rules.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in crate::server::pages) struct View {
    /// Which kind is open.
    #[serde(default)]
    pub(super) open: String,
    /// A part of the name.
    #[serde(default)]
    pub(super) q: String,
    /// How many are passed over.
    #[serde(default)]
    pub(super) from: usize,
    /// It was saved.
    #[serde(default)]
    pub(super) saved: String,
}

impl View {
    fn of(sent: &[(String, String)]) -> Self {
        let last = |name: &str| sent.iter().rfind(|(found, _)| found == name).map_or("", |(_, value)| value.as_str());
        let cut = |text: &str| text.chars().take(200).collect::<String>();
        Self {
            open: cut(last("open")),
            q: cut(last("q")),
            from: last("from").parse().unwrap_or_default(),
            saved: String::new(),
        }
    }

    /// The kind that is open.
    pub(super) fn kind(&self) -> Option<Kind> {
        Kind::named(&self.open).or_else(|| (!self.q.trim().is_empty()).then_some(Kind::Users))
    }
}

/// What comes of a button.
pub(super) enum Done {
    /// The same step again.
    Stay,
    /// Another address.
    Go(String),
    /// A step that shows what is shown only now.
    Show(Step, Markup),
}

/// All of it.
pub(super) struct Desk {
    pub(super) server: Arc<Server>,
    pub(super) actor: Actor,
    pub(super) account: Account,
    /// The set that is changed; none: it is yet to be made.
    pub(super) set: Option<SetRow>,
    pub(super) fields: Fields,
    pub(super) view: View,
    /// What the form sent, with secrets: they are used and not kept.
    sent: Vec<(String, String)>,
    /// What was done, in words.
    pub(super) told: Option<String>,
    /// What Microsoft said before does not do.
    pub(super) anew: bool,
}

impl Desk {
    /// With what somebody typed of a new set.
    pub(super) async fn of_draft(server: Arc<Server>, actor: Actor, account: &Id) -> Result<Self> {
        let account = server.db.account(account).await?;
        let draft = server.db.draft(&account.id, &actor.person).await?;
        // What a newer version asks has its default in a draft of an older one.
        let mut fields = Fields::fresh();
        match draft {
            Some(draft) => fields.0.extend(draft.fields),
            // A name that is taken is none to begin with.
            None => {
                let all = server.db.sets(&account.id).await?;
                if all.iter().any(|set| set.name == fields.get("name")) {
                    fields.set("name", "");
                }
            }
        }
        Ok(Self::with(server, actor, account, None, fields))
    }

    /// With a set that is there.
    pub(super) async fn of_set(server: Arc<Server>, actor: Actor, account: &Id, set: &Id) -> Result<Self> {
        let account = server.db.account(account).await?;
        let set = server.db.backup_set(&account.id, set).await?;
        let fields = Fields::of(&set, &server.db.schedules(&set.id).await?);
        Ok(Self::with(server, actor, account, Some(set), fields))
    }

    fn with(server: Arc<Server>, actor: Actor, account: Account, set: Option<SetRow>, fields: Fields) -> Self {
        Self { server, actor, account, set, fields, view: View::default(), sent: Vec::new(), told: None, anew: false }
    }

    /// Takes what a form sent; gives the button that was pressed.
    pub(super) fn take(&mut self, step: Step, sent: Vec<(String, String)>) -> String {
        self.fields.take(step, &sent);
        if let Some(set) = &self.set {
            // By these its snapshots are found; no form changes them.
            for (name, value) in
                [("name", &set.name), ("tenant", &set.tenant.to_string()), ("repository", &set.repository.to_string())]
            {
                self.fields.set(name, value);
            }
        }
        self.view = View::of(&sent);
        self.sent = sent;
        self.sent("do").to_owned()
    }

    /// What the form sent under a name.
    pub(super) fn sent(&self, name: &str) -> &str {
        self.sent.iter().rfind(|(found, _)| found == name).map_or("", |(_, value)| value.as_str())
    }

    /// All that the form sent under a name.
    pub(super) fn all_sent<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.sent.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Lets go of what the form sent under a name.
    pub(super) fn forget_sent(&mut self, name: &str) {
        self.sent.retain(|(found, _)| found != name);
    }

    /// Where the steps are.
    pub(super) fn base(&self) -> String {
        match &self.set {
            None => format!("/a/{}/sets/new", self.account.id),
            Some(set) => format!("/a/{}/sets/{}/change", self.account.id, set.id),
        }
    }

    /// What a set has that no step asks for.
    pub(super) fn before(&self) -> Choices {
        self.set.as_ref().map(|set| set.choices.clone()).unwrap_or_default()
    }

    /// How far it is.
    pub(super) fn reached(&self) -> Step {
        Step::named(self.fields.get("reached")).unwrap_or(Step::Connect)
    }

    /// Notes that a step was come to.
    pub(super) fn reach(&mut self, step: Step) {
        if step > self.reached() {
            self.fields.set("reached", step.word());
        }
    }

    /// Keeps what was typed of a new set.
    pub(super) async fn keep(&self) -> Result<()> {
        if self.set.is_some() {
            return Ok(());
        }
        let known = |name: &str| name == "reached" || Step::ALL.iter().any(|step| step.fields().contains(&name));
        let fields: BTreeMap<String, String> = self
            .fields
            .0
            .iter()
            .filter(|(name, _)| known(name))
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect();
        self.server.db.keep_draft(&self.account.id, &self.actor.person, &fields, self.server.now_us()).await
    }

    /// What is typed in a step.
    pub(super) async fn part(&self, step: Step) -> Result<Markup> {
        match step {
            Step::Connect => connect::part(self).await,
            Step::Choose => choose::part(self).await,
            Step::When => Ok(when::part(self)),
            Step::Where => place::part(self).await,
            Step::Key => key::part(self).await,
        }
    }

    /// Does what a button of a step says, but for going on and saving.
    pub(super) async fn press(&mut self, step: Step, button: &str) -> Result<Done> {
        match step {
            Step::Connect => connect::press(self, button).await,
            Step::Choose => choose::press(self, button).await,
            Step::When => when::press(self, button),
            Step::Where => place::press(self, button).await,
            Step::Key => key::press(self, button).await,
        }
    }

    /// Looks at what was typed in a step.
    ///
    /// # Errors
    /// What cannot be used.
    pub(super) async fn check(&self, step: Step) -> Result<()> {
        let account = &self.account.id;
        match step {
            Step::Connect => {
                let name = self.fields.get("name").trim();
                if name.is_empty() {
                    return Err(Error::invalid("The name is missing"));
                }
                crate::snapshot::set::check_name(name)?;
                let tenant = self.fields.id("tenant", "a tenant, or connect one")?;
                self.server.db.tenant(account, &tenant).await?;
                let taken = self.server.db.sets(account).await?.iter().any(|set| set.name == name);
                if taken && self.set.is_none() {
                    return Err(Error::invalid(format!("There is a backup set '{name}' already"))
                        .with_hint("Choose another name"));
                }
                Ok(())
            }
            Step::Choose => {
                let mut choices = Choices::default();
                self.fields.put_choice(&mut choices)?;
                deeds::contents::within(&self.fields.rules())?;
                choices.read()?;
                // Of a set that is there the change is looked at.
                if let (None, Ok(tenant)) = (&self.set, self.fields.id("tenant", "a tenant")) {
                    deeds::sets::room(&self.server, account, &tenant, &choices, None).await?;
                }
                Ok(())
            }
            Step::When => {
                let mut choices = self.before();
                self.fields.put_kept(&mut choices)?;
                choices.zone()?;
                if choices.retention.is_empty() {
                    return Err(
                        Error::invalid("The retention keeps nothing").with_hint("Keep at least the last snapshots")
                    );
                }
                let timings = self.fields.timings()?;
                for timing in &timings {
                    schedule::next(timing, self.server.now_us())?;
                }
                Ok(())
            }
            Step::Where => {
                let repository = self.fields.id("repository", "a repository, or make one")?;
                self.server.db.repository(account, &repository).await?;
                if let Some(client) = self.fields.client()? {
                    self.server.db.client(account, &client).await?;
                }
                Ok(())
            }
            Step::Key => key::check(self).await,
        }
    }
}
