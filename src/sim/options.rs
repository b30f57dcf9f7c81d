//! What a simulated tenant is made of, and how strict it is.

use std::time::Duration;

/// Application roles that a backup asks for (REFERENCE section 7); what the sign-in grants by default.
pub const BACKUP_ROLES: &[&str] = &[
    "User.Read.All",
    "Group.Read.All",
    "Organization.Read.All",
    "LicenseAssignment.Read.All",
    "Mail.Read",
    "Calendars.Read",
    "Contacts.Read",
    "Tasks.Read.All",
    "MailboxSettings.Read",
    "Files.Read.All",
    "Sites.Read.All",
    "Sites.FullControl.All",
    "TermStore.Read.All",
    "RecordsManagement.Read.All",
    "Group-Conversation.Read.All",
    "Team.ReadBasic.All",
    "TeamSettings.Read.All",
    "TeamMember.Read.All",
    "Channel.ReadBasic.All",
    "ChannelSettings.Read.All",
    "ChannelMember.Read.All",
    "ChannelMessage.Read.All",
    "TeamsTab.Read.All",
    "TeamsAppInstallation.ReadForTeam.All",
    "TeamworkTag.Read.All",
    "Chat.Read.All",
];

/// Application roles that a restore asks for (REFERENCE section 7); what the sign-in grants to the application that restores.
pub const RESTORE_ROLES: &[&str] = &[
    "User.Read.All",
    "Group.ReadWrite.All",
    "Mail.ReadWrite",
    "Calendars.ReadWrite",
    "Contacts.ReadWrite",
    "Tasks.ReadWrite.All",
    "MailboxSettings.ReadWrite",
    "Files.ReadWrite.All",
    "Sites.ReadWrite.All",
    "Sites.Manage.All",
    "Sites.FullControl.All",
    "TermStore.ReadWrite.All",
    "Team.Create",
    "Channel.Create",
    "TeamMember.ReadWrite.All",
    "ChannelMember.ReadWrite.All",
    "TeamsTab.ReadWrite.All",
    "TeamworkTag.ReadWrite.All",
    "Chat.Create",
    "Teamwork.Migrate.All",
];

/// A ready-made size of tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// 4 users, 120 messages and 40 files each: for demonstrations.
    Small,
    /// 60 users, about 2,000 messages and 400 files each.
    Office,
    /// 500 users, sizes by distribution.
    Campus,
}

/// Everything that shapes a simulated tenant. Two tenants with equal options hold equal data.
#[derive(Clone, Debug)]
pub struct SimOptions {
    /// What all data follow from.
    pub seed: u64,
    /// TCP port on the loopback interface; 0: any free one.
    pub port: u16,
    /// Users with a mailbox and a drive.
    pub users: u32,
    /// Shared mailboxes beside them.
    pub shared_mailboxes: u32,
    /// Adds a guest, a user without mailbox, one without OneDrive and a blocked one.
    pub awkward: bool,
    /// Messages per mailbox (the median, if `spread` is not 0).
    pub messages: u32,
    /// Mail folders per mailbox that hold messages: well-known ones, one hidden one and the user's own (at least
    /// 10). A search folder and Recoverable Items come on top.
    pub folders: u32,
    /// Contacts per mailbox.
    pub contacts: u32,
    /// Events per mailbox.
    pub events: u32,
    /// Events in the calendar that somebody else shares with each mailbox; whoever reads the owner's own has them too.
    pub shared_events: u32,
    /// Tasks per mailbox.
    pub tasks: u32,
    /// v1.0 lacks what it lacks in national clouds: exceptions of series, delta of whole calendars.
    pub national_cloud: bool,
    /// Microsoft 365 groups; two of three have a team.
    pub groups: u32,
    /// Files and folders per drive (the median, if `spread` is not 0).
    pub drive_items: u32,
    /// Sites beside those of users; subsites and locked ones come on top.
    pub sites: u32,
    /// Items per list.
    pub list_items: u32,
    /// How much users differ in size: 0 not at all; 1: a few have ten times as much as most.
    pub spread: f64,
    /// Sizes of contents.
    pub contents: Contents,
    /// Throttling.
    pub limits: Limits,
    /// Waiting time added to each answer.
    pub latency: Duration,
    /// Page sizes when the client does not say.
    pub pages: Pages,
    /// Rows of a page at most, whatever the client asks for: the service may give fewer.
    pub largest_page: usize,
    /// How long an access token is honoured.
    pub token_lifetime: Duration,
    /// How long a download URL is honoured.
    pub download_url_lifetime: Duration,
    /// What a day brings.
    pub script: Script,
    /// Duplicates, empty pages and unordered pages in delta answers, as the service may give them.
    pub quirks: bool,
    /// Application roles the sign-in grants.
    pub roles: Vec<String>,
    /// Application roles the sign-in grants to the application that restores.
    pub restore_roles: Vec<String>,
    /// Delegated permissions that users and administrators have consented to; `None`: to whatever is asked for.
    pub scopes: Option<Vec<String>>,
    /// Users who are Global Administrators, by user principal name.
    pub admins: Vec<String>,
    /// Whether the app registration allows public client flows.
    pub public_client: bool,
    /// Addresses beside `http://localhost` that the app registration lists to lead back to. The port of one on loopback does not
    /// count, as at Microsoft.
    pub redirects: Vec<String>,
    /// Seconds that a device code's client is to wait between two questions.
    pub device_interval: u64,
    /// For how many days the app's secret is good.
    pub secret_days: u32,
    /// Certificate or public key (PEM, RSA) that client assertions must be signed with; none: signatures are not checked.
    pub certificate_pem: Option<String>,
    /// Remembers every access token and download permission given out, for [`super::SimHandle::given_out`].
    pub remembers: bool,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self::profile(Profile::Small)
    }
}

impl SimOptions {
    /// The options of a profile.
    pub fn profile(profile: Profile) -> Self {
        let (users, messages, folders, drive_items, spread) = match profile {
            Profile::Small => (4, 120, 14, 40, 0.0),
            Profile::Office => (60, 2_000, 24, 400, 0.5),
            Profile::Campus => (500, 3_000, 30, 800, 1.0),
        };
        Self {
            seed: 1,
            port: 0,
            users,
            shared_mailboxes: if profile == Profile::Small { 1 } else { users / 12 },
            awkward: true,
            messages,
            folders,
            contacts: messages / 20,
            events: messages / 10,
            shared_events: 0,
            tasks: messages / 20,
            national_cloud: false,
            groups: users.div_ceil(7) + 1,
            drive_items,
            sites: (users / 10).max(1),
            list_items: if profile == Profile::Small { 4 } else { messages / 12 },
            spread,
            contents: Contents::default(),
            limits: Limits::microsoft(),
            latency: Duration::ZERO,
            pages: Pages::default(),
            largest_page: 1_000,
            token_lifetime: Duration::from_secs(3_599),
            download_url_lifetime: Duration::from_secs(3_600),
            script: Script::default(),
            quirks: true,
            roles: BACKUP_ROLES.iter().map(ToString::to_string).collect(),
            restore_roles: RESTORE_ROLES.iter().map(ToString::to_string).collect(),
            scopes: None,
            admins: Vec::new(),
            public_client: true,
            redirects: Vec::new(),
            device_interval: 5,
            secret_days: 90,
            certificate_pem: None,
            remembers: false,
        }
    }

    /// A tenant that starts and is read in a blink, without limits: for tests. It has no groups: one team takes four
    /// requests a second, and who reads it keeps to that.
    pub fn tiny() -> Self {
        Self {
            users: 2,
            messages: 40,
            folders: 12,
            contacts: 9,
            events: 12,
            shared_events: 0,
            tasks: 14,
            groups: 0,
            drive_items: 24,
            sites: 2,
            list_items: 9,
            contents: Contents::tiny(),
            limits: Limits::unlimited(),
            pages: Pages { messages: 7, folders: 5, drive: 6, users: 3 },
            ..Self::default()
        }
    }
}

/// Sizes of contents: medians of log-normal distributions, in bytes.
#[derive(Debug, Clone)]
pub struct Contents {
    /// Words of a message's body (median).
    pub body_words: f64,
    /// Attachments (median). The default makes messages of 15 KB (median) and about 65 KB (mean).
    pub attachment_bytes: f64,
    /// Largest attachment.
    pub attachment_max_bytes: u64,
    /// Files of a drive (median).
    pub file_bytes: f64,
    /// Largest of the ordinary files.
    pub file_max_bytes: u64,
    /// The one large file of each drive that is edited in the middle from day to day.
    pub large_file_bytes: u64,
    /// One huge file in the first user's drive (0: none). Above 4 GiB it carries no hash, and is the
    /// same over and over.
    pub huge_file_bytes: u64,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            body_words: 420.0,
            attachment_bytes: 40_000.0,
            attachment_max_bytes: 25_000_000,
            file_bytes: 60_000.0,
            file_max_bytes: 60_000_000,
            large_file_bytes: 12_000_000,
            huge_file_bytes: 0,
        }
    }
}

impl Contents {
    /// A hundredth of the usual, for tests.
    pub fn tiny() -> Self {
        Self {
            body_words: 25.0,
            attachment_bytes: 900.0,
            attachment_max_bytes: 8_000,
            file_bytes: 1_500.0,
            file_max_bytes: 20_000,
            large_file_bytes: 200_000,
            huge_file_bytes: 0,
        }
    }
}

/// Throttling; `None` lifts a limit. Numbers are Microsoft's (REFERENCE section 4).
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests at once per mailbox.
    pub mailbox_concurrency: Option<u32>,
    /// Requests per mailbox in 10 minutes.
    pub mailbox_requests: Option<u32>,
    /// Whether resource units of SharePoint and OneDrive are counted against the table by licences.
    pub files: bool,
    /// Units a minute instead of the table's.
    pub files_minute_units: Option<u64>,
    /// Units a day instead of the table's.
    pub files_day_units: Option<u64>,
    /// Whether directory requests are limited.
    pub directory: bool,
    /// Whether requests to Teams are limited.
    pub teams: bool,
    /// Licences of the tenant, where they should not be counted.
    pub licences: Option<u32>,
    /// How much faster the limits' clock runs: 10 makes 10,000 requests in 10 minutes 10,000 in one.
    pub time_scale: f64,
}

impl Limits {
    /// Microsoft's limits.
    pub fn microsoft() -> Self {
        Self {
            mailbox_concurrency: Some(4),
            mailbox_requests: Some(10_000),
            files: true,
            files_minute_units: None,
            files_day_units: None,
            directory: true,
            teams: true,
            licences: None,
            time_scale: 1.0,
        }
    }

    /// No limits.
    pub fn unlimited() -> Self {
        Self {
            mailbox_concurrency: None,
            mailbox_requests: None,
            files: false,
            directory: false,
            teams: false,
            ..Self::microsoft()
        }
    }
}

/// Rows of a page when the client does not say.
#[derive(Debug, Clone)]
pub struct Pages {
    /// Message delta.
    pub messages: usize,
    /// Folder delta.
    pub folders: usize,
    /// Drive delta and children.
    pub drive: usize,
    /// Users.
    pub users: usize,
}

impl Default for Pages {
    fn default() -> Self {
        Self { messages: 100, folders: 100, drive: 200, users: 100 }
    }
}

/// What one day brings to each mailbox and each drive.
#[derive(Debug, Clone)]
pub struct Script {
    /// New messages.
    pub new_messages: u32,
    /// Messages read, flagged or put into a category.
    pub changed_messages: u32,
    /// Messages moved to another folder.
    pub moved_messages: u32,
    /// Messages put into Deleted Items.
    pub deleted_messages: u32,
    /// Messages gone for good, or into Recoverable Items.
    pub purged_messages: u32,
    /// Drafts edited.
    pub edited_drafts: u32,
    /// Whether a folder is created, renamed, moved or deleted each day.
    pub folders: bool,
    /// New files.
    pub new_files: u32,
    /// Files edited (and the large one: an insertion in its middle).
    pub edited_files: u32,
    /// Files renamed or moved, and a folder renamed.
    pub moved_files: u32,
    /// Files deleted.
    pub deleted_files: u32,
    /// Contacts and the like: how many of each are new, and changed; half as many are moved or deleted.
    pub others: u32,
    /// Whether a user comes on day 2 and one leaves on day 3.
    pub staff: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            new_messages: 8,
            changed_messages: 5,
            moved_messages: 4,
            deleted_messages: 2,
            purged_messages: 2,
            edited_drafts: 1,
            folders: true,
            new_files: 3,
            edited_files: 2,
            moved_files: 2,
            deleted_files: 1,
            others: 2,
            staff: true,
        }
    }
}

impl Script {
    /// A day on which nothing happens.
    pub fn nothing() -> Self {
        Self {
            new_messages: 0,
            changed_messages: 0,
            moved_messages: 0,
            deleted_messages: 0,
            purged_messages: 0,
            edited_drafts: 0,
            folders: false,
            new_files: 0,
            edited_files: 0,
            moved_files: 0,
            deleted_files: 0,
            others: 0,
            staff: false,
        }
    }
}
