//! The tenant's present state: users, mailboxes, drives and the day. Everything that changes lies here,
//! behind one lock; contents do not.

use std::collections::HashMap;
use std::sync::Arc;

use super::groups::{self, Group};
use super::lazy::Lazy;
use super::letter::{Cast, Person};
use super::library::{self, Drive};
use super::mailbox::Mailbox;
use super::options::SimOptions;
use super::rng::{Rng, guid, hash};
use super::shelf::Shelf;
use super::sites::{self, Site};
use super::{calendar, chats, contacts, populate, settings, tasks, times, words};

/// What kind of account a user is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserKind {
    /// Has a licence, a mailbox and a drive.
    Regular,
    /// A shared mailbox: disabled account, no licence, no drive.
    Shared,
    /// A meeting room's mailbox.
    Room,
    /// A guest from another tenant: neither mailbox nor drive.
    Guest,
    /// Licensed, but its mailbox is not in Exchange Online.
    WithoutMailbox,
    /// Its OneDrive was never provisioned.
    WithoutDrive,
    /// Its mailbox and drive refuse the application.
    Blocked,
}

impl UserKind {
    pub(super) fn licensed(self) -> bool {
        matches!(self, Self::Regular | Self::WithoutMailbox | Self::WithoutDrive | Self::Blocked)
    }
}

/// A user of the directory.
#[derive(Debug)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) person: Person,
    pub(super) upn: String,
    pub(super) kind: UserKind,
    /// In the directory now: not yet come, or left, otherwise.
    pub(super) present: bool,
    pub(super) german: bool,
    pub(super) mailbox: Option<Lazy<Mailbox>>,
    pub(super) drive: Option<Lazy<Drive>>,
    /// Empty where there is no mailbox.
    pub(super) contacts: Lazy<Shelf>,
    /// Empty where there is no mailbox.
    pub(super) calendars: Lazy<Shelf>,
    /// Empty where there is no mailbox.
    pub(super) settings: Lazy<Shelf>,
    /// Empty where there is no mailbox.
    pub(super) tasks: Lazy<Shelf>,
}

/// The tenant.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) tenant_id: String,
    pub(super) cast: Arc<Cast>,
    pub(super) day: u32,
    pub(super) users: Vec<User>,
    pub(super) groups: Vec<Group>,
    /// All chats of the tenant.
    pub(super) chats: Shelf,
    pub(super) by_name: HashMap<String, usize>,
    pub(super) by_drive: HashMap<String, usize>,
    pub(super) sites: Vec<Site>,
    pub(super) by_site: HashMap<String, usize>,
    /// The libraries of sites: number of the site, number in it.
    pub(super) libraries: Vec<(usize, usize)>,
    /// The tenant's part of the term store.
    pub(super) terms: Shelf,
    /// Bytes that drives still take, where that is limited.
    pub(super) room: HashMap<usize, usize>,
    /// Mails that requests made the tenant send.
    pub(super) mails_sent: u64,
    /// Grows when mail delta tokens expire.
    pub(super) mail_generation: u32,
    /// Grows when drive delta tokens expire.
    pub(super) drive_generation: u32,
}

/// The object id of a user, from the tenant's seed and the user's number.
pub(super) fn user_id(seed: u64, number: u32) -> String {
    guid(hash(hash(seed, &[0x05e5, number.into()]), &[0x1d]))
}

/// The id of the tenant, from its seed.
pub(super) fn tenant_id(seed: u64) -> String {
    guid(hash(seed, &[0x7e]))
}

/// The domain of the tenant.
pub(super) const DOMAIN: &str = "contoso.com";

fn regular_person(number: u32) -> Person {
    let n = number as usize;
    let given = words::GIVEN[n % words::GIVEN.len()];
    let family = words::FAMILY[(n * 7 + n / words::GIVEN.len()) % words::FAMILY.len()];
    let address = match n / words::GIVEN.len() {
        0 => format!("{}@{DOMAIN}", given.to_lowercase()),
        round => format!("{}{round}@{DOMAIN}", given.to_lowercase()),
    };
    Person { name: format!("{given} {family}"), address }
}

fn named(name: &str, local: &str) -> Person {
    Person { name: name.into(), address: format!("{local}@{DOMAIN}") }
}

/// Who is there: kinds, people, and whether they are there on the first day.
fn roll(options: &SimOptions) -> Vec<(UserKind, Person, bool)> {
    let mut out: Vec<_> = (0..options.users).map(|n| (UserKind::Regular, regular_person(n), true)).collect();
    for n in 0..options.shared_mailboxes {
        let (name, local) = match n {
            0 => ("Info Desk".to_string(), "info".to_string()),
            _ => (format!("Team {n}"), format!("team{n}")),
        };
        out.push((UserKind::Shared, named(&name, &local), true));
    }
    if options.awkward {
        out.push((UserKind::Room, named("Meeting Room 1", "room1"), true));
        let guest = Person { name: "Gustav Guest".into(), address: "gustav@fabrikam.example".into() };
        out.push((UserKind::Guest, guest, true));
        out.push((UserKind::WithoutMailbox, named("Olaf Onprem", "olaf"), true));
        out.push((UserKind::WithoutDrive, named("Noah Nodrive", "noah"), true));
        out.push((UserKind::Blocked, named("Bea Blocked", "bea"), true));
    }
    if options.script.staff {
        out.push((UserKind::Regular, named("Nele Newcomer", "newcomer"), false));
    }
    out
}

impl World {
    /// Makes the tenant as it is on day 0.
    pub(super) fn new(options: &SimOptions) -> Self {
        let roll = roll(options);
        let shared = Arc::new(options.clone());
        let mailboxes = roll.len() as u64;
        let cast = Arc::new(Cast {
            seed: options.seed,
            domain: DOMAIN.into(),
            people: roll.iter().map(|(_, p, _)| p.clone()).collect(),
            contents: options.contents.clone(),
            shared_attachments: (mailboxes * u64::from(options.messages) / 60).max(6),
        });
        let mut world = Self {
            seed: options.seed,
            tenant_id: tenant_id(options.seed),
            cast,
            day: 0,
            users: Vec::new(),
            groups: Vec::new(),
            chats: chats::populate(options, options.users),
            by_name: HashMap::new(),
            by_drive: HashMap::new(),
            sites: Vec::new(),
            by_site: HashMap::new(),
            libraries: Vec::new(),
            terms: Shelf::default(),
            room: HashMap::new(),
            mails_sent: 0,
            mail_generation: 0,
            drive_generation: 0,
        };
        for (number, (kind, person, present)) in roll.into_iter().enumerate() {
            world.add_user(&shared, number as u32, kind, person, present);
        }
        sites::populate(&mut world, options);
        world.groups = groups::populate(options, &world.users);
        world
    }

    fn add_user(&mut self, options: &Arc<SimOptions>, number: u32, kind: UserKind, person: Person, present: bool) {
        let seed = hash(self.seed, &[0x05e5, number.into()]);
        let mut rng = Rng::new(seed, &[1]);
        let size = |rng: &mut Rng, median: u32| match options.spread {
            s if s > 0.0 => rng.lognormal(median.into(), s).min(u64::from(median) * 40) as u32,
            _ => median,
        };
        let german = number == 1;
        let messages = if kind == UserKind::Room { 5 } else { size(&mut rng, options.messages) };
        let items = size(&mut rng, options.drive_items);
        let has_mailbox = !matches!(kind, UserKind::Guest | UserKind::WithoutMailbox | UserKind::Blocked);
        let has_drive = matches!(kind, UserKind::Regular | UserKind::WithoutMailbox);
        let people = self.cast.people.len() as u32;
        let mailbox_of = |messages: u32| {
            let options = options.clone();
            Lazy::new(move || populate::mailbox(&options, seed, number, german, messages))
        };
        // Its folders alone: the settings name one of them.
        let folders = mailbox_of(0);
        let shelf = |make: fn(&SimOptions, u64, u32, u32) -> Shelf| {
            let options = options.clone();
            Lazy::new(move || if has_mailbox { make(&options, seed, number, people) } else { Shelf::default() })
        };
        let mailbox = has_mailbox.then(|| mailbox_of(messages));
        let contacts = shelf(|options, seed, _, _| contacts::populate(options, seed));
        let calendars = shelf(calendar::populate);
        let tasks = shelf(|options, seed, _, _| tasks::populate(options, seed));
        let settings = Lazy::new(move || {
            let archive = folders.find_folder("archive").map(|archive| folders.folder_id(archive)).unwrap_or_default();
            if has_mailbox { settings::populate(seed, archive) } else { Shelf::default() }
        });
        let drive = has_drive.then(|| {
            let options = options.clone();
            Lazy::new(move || populate::drive(&options, seed, number, items))
        });
        let upn = match kind {
            UserKind::Guest => format!("gustav_fabrikam.example#EXT#@{DOMAIN}"),
            _ => person.address.clone(),
        };
        let id = user_id(self.seed, number);
        let index = self.users.len();
        self.by_name.insert(id.clone(), index);
        self.by_name.insert(upn.to_lowercase(), index);
        if has_drive {
            self.by_drive.insert(library::id_of(populate::drive_seed(seed)), index);
        }
        self.users.push(User {
            id,
            person,
            upn,
            kind,
            present,
            german,
            mailbox,
            drive,
            contacts,
            calendars,
            settings,
            tasks,
        });
    }

    /// The user with that id or user principal name, if in the directory now.
    pub(super) fn user(&self, name: &str) -> Option<usize> {
        let index = self.by_name.get(name).or_else(|| self.by_name.get(&name.to_lowercase()))?;
        self.users.get(*index).filter(|u| u.present).map(|_| *index)
    }

    /// The present time of the tenant.
    pub(super) fn now(&self) -> i64 {
        times::EPOCH + i64::from(self.day) * times::DAY
    }

    /// Licences in use.
    pub(super) fn licences(&self) -> u32 {
        self.users.iter().filter(|u| u.present && u.kind.licensed()).count() as u32
    }
}
