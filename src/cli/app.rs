//! What the commands share: the options, the configuration, and how a repository is opened.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::cli::args::Global;
use crate::cli::config::{Config, Destination, Places};
use crate::cli::environment::Environment;
use crate::cli::output;
use crate::cli::passphrase;
use crate::cli::progress::{Display, ProgressMonitor};
use crate::cli::screen::{self, Screen};
use crate::cli::values::absolute;
use crate::error::{Error, ErrorKind, Result};
use crate::repo::{ReadReplica, Repository};
use crate::snapshot::memory;
use crate::snapshot::store::{self, Listing};
use crate::storage::{self, Credentials, Storage, StorageOptions};

/// How often a passphrase that was typed wrong may be typed again.
const TRIES: usize = 3;

/// One run of the program.
pub(crate) struct App {
    /// The global options.
    pub(crate) global: Global,
    /// What is around the program.
    pub(crate) environment: Environment,
    /// Where results are printed.
    pub(crate) screen: Screen,
    config: OnceLock<Option<Config>>,
}

/// A place that may hold a repository.
pub(crate) struct Place {
    /// The path or URL.
    pub(crate) url: String,
    /// Its name in the configuration.
    pub(crate) name: Option<String>,
    /// What the configuration says of it.
    pub(crate) destination: Option<Destination>,
}

impl App {
    /// Begins a run. Nothing is read yet.
    pub(crate) fn new(global: Global, environment: Environment, screen: Screen) -> Self {
        Self { global, environment, screen, config: OnceLock::new() }
    }

    /// The configuration, if there is one; read at the first call, which also prints its warnings.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    pub(crate) fn config(&self) -> Result<Option<&Config>> {
        if let Some(config) = self.config.get() {
            return Ok(config.as_ref());
        }
        let places = self.config_places();
        let mut config = places.find()?.map(|path| Config::load(&path)).transpose()?;
        if let Some(config) = &mut config {
            config.data_folder = self.data_folder();
        }
        for warning in config.iter().flat_map(Config::warnings) {
            if !self.screen.quiet {
                self.screen.warn(format!("{}\nHint: {}", warning.text, warning.hint));
            }
        }
        Ok(self.config.get_or_init(|| config).as_ref())
    }

    /// The configuration, which must be there.
    ///
    /// # Errors
    /// As [`Self::config`]; `NotFound` if there is none.
    pub(crate) fn need_config(&self) -> Result<&Config> {
        self.config()?.ok_or_else(|| {
            let user = self
                .environment
                .config_folder
                .as_ref()
                .map(|f| format!(" or {}", f.join(crate::cli::config::FILE_NAME).display()));
            Error::not_found("There is no configuration").with_hint(format!(
                "Name one with --config or TENANTVAULT_CONFIG, or write ./tenantvault.toml{}",
                user.unwrap_or_default()
            ))
        })
    }

    /// Where this program keeps what is to last between its runs.
    pub(crate) fn data_folder(&self) -> Option<PathBuf> {
        let named = self.environment.variable("DATA_DIR").map(PathBuf::from);
        let named = named.map(|path| absolute(&self.environment.working_folder, &path));
        named.or_else(|| self.environment.data_folder.clone())
    }

    /// The folder that the runs of restores are kept in: plans and journals.
    ///
    /// # Errors
    /// When the system has no folder for it and none is named.
    pub(crate) fn restores(&self) -> Result<PathBuf> {
        self.data_folder().map(|folder| folder.join("restores")).ok_or_else(|| {
            Error::invalid("There is no folder to keep the journal of a restore in")
                .with_hint("Name one with TENANTVAULT_DATA_DIR")
        })
    }

    /// Where a configuration is looked for.
    pub(crate) fn config_places(&self) -> Places {
        let at = |path: PathBuf| absolute(&self.environment.working_folder, &path);
        Places {
            argument: self.global.config.clone().map(at),
            environment: self.environment.variable("CONFIG").map(PathBuf::from).map(at),
            working_folder: self.environment.working_folder.clone(),
            user_folder: self.environment.config_folder.clone(),
        }
    }

    /// The place that the options name; else `destination` of the configuration; else its only one.
    ///
    /// # Errors
    /// `InvalidInput` if nothing says where.
    pub(crate) fn place(&self, destination: Option<&str>) -> Result<Place> {
        let given = self.global.repo.as_deref().or(self.environment.variable("REPOSITORY"));
        let config = self.config()?;
        if let Some(text) = given.or(destination) {
            return self.named_place(text);
        }
        let destinations = config.map(|c| &c.destinations);
        match destinations.map(|d| d.iter().collect::<Vec<_>>()).as_deref() {
            Some([(name, only)]) => Ok(Place::of(name, only)),
            Some([_, _, ..]) => {
                let names: Vec<&str> = destinations.into_iter().flat_map(|d| d.keys()).map(String::as_str).collect();
                Err(Error::invalid("Which repository? The configuration has several destinations")
                    .with_hint(format!("Name one with -r or TENANTVAULT_REPOSITORY: {}", names.join(", "))))
            }
            _ => Err(Error::invalid("Which repository? None is named")
                .with_hint("Name it with -r or TENANTVAULT_REPOSITORY, or add a destination to the configuration")),
        }
    }

    /// The place that a destination's name, a path or a URL means, whatever the options say.
    ///
    /// # Errors
    /// As [`Self::config`].
    pub(crate) fn named_place(&self, text: &str) -> Result<Place> {
        Ok(match self.config()?.and_then(|c| c.destinations.get(text)) {
            Some(known) => Place::of(text, known),
            None => Place { url: self.absolute_url(text), name: None, destination: None },
        })
    }

    /// Says whether an option or the environment names a repository.
    pub(crate) fn names_a_repository(&self) -> bool {
        self.global.repo.is_some() || self.environment.variable("REPOSITORY").is_some()
    }

    /// A plain path begins at the working folder.
    fn absolute_url(&self, text: &str) -> String {
        if text.contains(':') || text.is_empty() {
            return text.to_owned();
        }
        absolute(&self.environment.working_folder, text.as_ref()).to_string_lossy().into_owned()
    }

    /// Opens the storage of a place; says nothing about whether a repository is there.
    ///
    /// # Errors
    /// When the URL, a secret or an option cannot be used.
    pub(crate) fn storage(&self, place: &Place) -> Result<Arc<dyn Storage>> {
        let mut options = StorageOptions::default();
        if let Some(destination) = &place.destination {
            let name = place.name.as_deref().unwrap_or_default();
            let mut credentials = Credentials::new();
            for (key, source) in &destination.credentials {
                let secret = source.resolve(&format!("{key} of destination '{name}'"))?;
                credentials = credentials.with(key.as_str(), secret.as_str());
            }
            options.credentials = credentials;
            options.upload_bytes_per_second = destination.upload_bytes_per_second;
            options.download_bytes_per_second = destination.download_bytes_per_second;
        }
        storage::open(&place.url, &options)
    }

    /// The folder of caches, unless none is wanted.
    pub(crate) fn cache_root(&self) -> Option<PathBuf> {
        if self.global.no_cache {
            return None;
        }
        let named = self.global.cache_dir.clone().or_else(|| self.environment.variable("CACHE_DIR").map(PathBuf::from));
        if let Some(path) = named {
            return Some(absolute(&self.environment.working_folder, &path));
        }
        // Nobody asked for this one: a home that cannot be written to must not keep a backup from running.
        let usual = self.environment.cache_folder.clone()?;
        match std::fs::create_dir_all(&usual) {
            Ok(()) => Some(usual),
            Err(e) => {
                let text = format!("The cache folder {} cannot be made: {e}. The run goes on without", usual.display());
                self.screen.warn(format!("{text}\nHint: choose another with --cache-dir, or say --no-cache"));
                None
            }
        }
    }

    /// The folder of the cache of a place. A replica has one of its own, for it may lag behind, and its packs be others.
    ///
    /// # Errors
    /// As [`Self::config`].
    pub(crate) fn cache_root_of(&self, place: &Place) -> Result<Option<PathBuf>> {
        let config = self.config()?;
        let further = place.name.as_deref().filter(|name| config.is_some_and(|c| c.is_further(name)));
        let root = self.cache_root();
        Ok(match further {
            Some(name) => root.map(|root| root.join("replicas").join(name)),
            None => root,
        })
    }

    /// The folder of the cache of a place that is used as a replica, whether a set says so or not.
    ///
    /// # Errors
    /// As [`Self::config`].
    pub(crate) fn replica_cache_root(&self, place: &Place) -> Result<Option<PathBuf>> {
        let (usual, own) = (self.cache_root(), self.cache_root_of(place)?);
        if own != usual {
            return Ok(own);
        }
        let name = blake3::hash(place.url.as_bytes()).to_hex();
        Ok(usual.map(|root| root.join("replicas").join(name.as_str())))
    }

    /// Opens the repository that the options name, to read from it. Where it fails, the other destinations of its sets
    /// are read, with a warning.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn open_to_read(&self) -> Result<Arc<Repository>> {
        let config = self.config()?;
        // Who only reads need not say which replica: one is as good as the other.
        let place = self.place(config.and_then(only_group))?;
        let others = place.name.as_deref().zip(config).map(|(name, config)| config.replicas(name)).unwrap_or_default();
        let mut others: VecDeque<Place> = others.iter().map(|name| self.named_place(name)).collect::<Result<_>>()?;
        let mut opened = self.open_at(&place).await;
        while let Err(e) = &opened
            && is_away(e)
            && let Some(next) = others.pop_front()
        {
            let name = next.name.clone().unwrap_or_default();
            self.screen.warn(format!("{}. '{name}' is read instead", e.chain()));
            opened = self.open_at(&next).await;
        }
        let repo = opened?;
        let mut replicas = Vec::new();
        for other in &others {
            let name = other.name.clone().unwrap_or_default();
            match self.storage(other) {
                Ok(storage) => replicas.push(ReadReplica { name, storage, cache_root: self.cache_root_of(other)? }),
                Err(e) => self.screen.warn(format!("Destination '{name}' cannot be used: {}", e.chain())),
            }
        }
        let json = self.screen.json;
        repo.read_also_from(replicas, Box::new(move |text| screen::warn(json, &output::plain(text))));
        Ok(repo)
    }

    /// Opens the repository that the options name, and no other.
    ///
    /// # Errors
    /// `NoRepository`, `WrongKey`, and what else opening brings.
    pub(crate) async fn open(&self) -> Result<Arc<Repository>> {
        self.open_at(&self.place(None)?).await
    }

    /// Opens the repository at a place. A passphrase that was typed may be typed again.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn open_at(&self, place: &Place) -> Result<Arc<Repository>> {
        let repo = self.unlock(place).await?;
        for damaged in repo.index().damaged() {
            self.screen.warn(format!("{}. repair index makes it anew from the packs", damaged.text));
        }
        Ok(repo)
    }

    async fn unlock(&self, place: &Place) -> Result<Arc<Repository>> {
        let storage = self.storage(place)?;
        let cache_root = self.cache_root_of(place)?;
        let given = passphrase::given(self, place);
        if let Ok(Some(passphrase)) = &given {
            return Repository::open(storage, passphrase, cache_root).await;
        }
        // Nobody is asked for the passphrase of nothing, nor told of a file that holds none.
        if let Err(e) = storage.stat("config").await {
            return Err(match e.kind() {
                ErrorKind::NotFound => no_repository(&*storage),
                _ => e,
            });
        }
        given?;
        let mut tries = 0;
        loop {
            let passphrase = passphrase::ask(self, &storage.describe())?;
            tries += 1;
            match Repository::open(storage.clone(), &passphrase, cache_root.clone()).await {
                Err(e) if e.kind() == ErrorKind::WrongKey && tries < TRIES => {
                    self.screen.note("Wrong passphrase, try again");
                }
                other => return other,
            }
        }
    }

    /// Lists the snapshots of a repository, and tells of those that cannot be read.
    ///
    /// # Errors
    /// The storage's.
    pub(crate) async fn snapshots(&self, repo: &Repository) -> Result<Listing> {
        let listing = store::list(repo).await?;
        for broken in &listing.broken {
            self.screen.warn(broken.text());
        }
        for surprise in memory::compare(repo, &listing) {
            self.screen.warn(format!(
                "{}\nHint: check tells it once more, and then takes it as it is",
                output::plain(&surprise.sentence())
            ));
        }
        Ok(listing)
    }

    /// Shows how an operation gets on. `problems`: also what it could not read, as it happens.
    pub(crate) fn progress(&self, problems: bool) -> Arc<ProgressMonitor> {
        let display = Display::choose(self.global.json, self.global.quiet);
        let hushed = self.global.quiet || self.screen.captured || !(problems || self.global.json);
        Arc::new(ProgressMonitor::new(display, hushed))
    }
}

impl Place {
    fn of(name: &str, destination: &Destination) -> Self {
        Self { url: destination.url.clone(), name: Some(name.to_owned()), destination: Some(destination.clone()) }
    }
}

/// Says whether an error means that a place cannot be read now, and another may.
pub(crate) fn is_away(error: &Error) -> bool {
    use ErrorKind::{Corrupt, Internal, NoRepository, NotFound, Permission, StorageFull, Unavailable};
    matches!(error.kind(), NoRepository | Unavailable | Permission | NotFound | Internal | Corrupt | StorageFull)
}

/// The first destination of a set that names all there are: they are replicas of one repository.
fn only_group(config: &Config) -> Option<&str> {
    let all = config.destinations.len();
    let set = config.sets.values().find(|set| all > 1 && set.destinations.len() == all)?;
    set.destinations.first().map(String::as_str)
}

fn no_repository(storage: &dyn Storage) -> Error {
    Error::new(ErrorKind::NoRepository, format!("There is no repository at {}", storage.describe()))
        .with_hint("Check the place, or make a repository with init")
}
