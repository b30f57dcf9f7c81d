//! What a message says, before it is put into MIME: subject, people, body, attachments. All of it follows
//! from the message's seed, so that only a few numbers per message are kept.

use super::content::{Blob, Texture};
use super::options::Contents;
use super::rng::{Rng, hash, mix};
use super::words;

/// A person of the tenant or outside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) address: String,
}

/// What all contents of a tenant follow from; never changes.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) seed: u64,
    pub(super) domain: String,
    pub(super) people: Vec<Person>,
    pub(super) contents: Contents,
    /// How many different attachments are passed round among all mailboxes.
    pub(super) shared_attachments: u64,
}

/// The few numbers a message follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LetterSeed {
    /// The message's own seed.
    pub(super) seed: u64,
    /// Owner of the mailbox (index into the cast).
    pub(super) owner: u32,
    /// Seconds since 1970 of its receipt.
    pub(super) received: i64,
    /// Times the text was edited (drafts).
    pub(super) revision: u16,
    /// Written by the owner.
    pub(super) outgoing: bool,
    /// Not sent yet.
    pub(super) draft: bool,
}

/// The outer form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text and HTML; with attachments if there are any.
    Usual,
    /// Text alone.
    Plain,
    /// HTML alone, one `text/html` part.
    Html,
    /// HTML with inline pictures.
    Inline,
    /// A meeting request with its iTIP part.
    Meeting,
    /// Carries another message.
    Forward,
    /// No body at all.
    Empty,
    /// Legal or tolerated, but unusual; the number says in which way.
    Odd(u8),
}

/// How many ways of being odd there are.
pub(super) const ODD_WAYS: u8 = 12;

/// One attachment.
#[derive(Debug, Clone)]
pub(super) struct Attachment {
    pub(super) name: String,
    pub(super) mime: &'static str,
    pub(super) blob: Blob,
    pub(super) content_id: Option<String>,
}

/// What a message says.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) from: LetterSeed,
    pub(super) shape: Shape,
    pub(super) subject: String,
    pub(super) sender: Person,
    pub(super) to: Vec<Person>,
    pub(super) cc: Vec<Person>,
    pub(super) words: u64,
    pub(super) high_importance: bool,
    pub(super) attachments: Vec<Attachment>,
    pub(super) message_id: String,
    pub(super) conversation: u64,
}

impl Letter {
    /// Works out what the message of a seed says.
    pub(super) fn of(cast: &Cast, from: LetterSeed) -> Self {
        let mut rng = Rng::new(from.seed, &[0x4c]);
        let shape = shape(&mut rng);
        let me = person(cast, from.owner as usize);
        let other = if rng.chance(0.7) { insider(cast, &mut rng) } else { outsider(&mut rng) };
        let (sender, first) = if from.outgoing { (me, other) } else { (other, me) };
        let mut to = vec![first];
        (0..rng.below(3)).for_each(|_| to.push(insider(cast, &mut rng)));
        let cc = (0..rng.below(6).saturating_sub(3)).map(|_| insider(cast, &mut rng)).collect();
        let words = if shape == Shape::Empty { 0 } else { rng.lognormal(cast.contents.body_words, 0.8).min(200_000) };
        let mut subject = subject(&mut rng, shape);
        if from.revision > 0 {
            subject.push_str(&format!(" (draft {})", from.revision + 1));
        }
        let attachments = attachments(cast, &mut rng, shape, words);
        Self {
            from,
            shape,
            subject,
            message_id: format!(
                "<{:016X}{:04X}@{:016X}.eurprd0{}.prod.outlook.com>",
                mix(from.seed),
                from.seed & 0xffff,
                mix(from.seed ^ 3),
                from.seed % 7
            ),
            sender,
            to,
            cc,
            words,
            high_importance: rng.chance(0.05),
            attachments,
            conversation: rng.below(1 << 40),
        }
    }

    /// The paragraphs of the body.
    pub(super) fn paragraphs(&self) -> Vec<String> {
        words::paragraphs(&mut Rng::new(self.from.seed, &[0x42, self.from.revision.into()]), self.words)
    }

    /// The first characters of the body, as `bodyPreview` shows them.
    pub(super) fn preview(&self) -> String {
        let mut rng = Rng::new(self.from.seed, &[0x42, self.from.revision.into()]);
        let text = words::paragraphs(&mut rng, self.words.min(60)).join("\r\n");
        text.chars().take(255).collect()
    }

    /// About the size Exchange keeps the message in, in bytes (not that of the MIME stream).
    pub(super) fn store_size(&self) -> u64 {
        let body = if self.shape == Shape::Plain { self.words * 6 } else { self.words * 7 + 1_900 };
        4_211 + body + self.attachments.iter().map(|a| a.blob.len() + 300).sum::<u64>()
    }

    /// What `hasAttachments` says: inline pictures do not count.
    pub(super) fn has_attachments(&self) -> bool {
        self.shape == Shape::Forward || self.attachments.iter().any(|a| a.content_id.is_none())
    }

    /// The message carried inside a forwarding one.
    pub(super) fn inner(&self, cast: &Cast) -> Self {
        let seed = LetterSeed {
            seed: hash(self.from.seed, &[0xf0]),
            revision: 0,
            draft: false,
            outgoing: false,
            received: self.from.received - 86_400,
            ..self.from
        };
        let mut letter = Self::of(cast, seed);
        if matches!(letter.shape, Shape::Forward | Shape::Odd(_)) {
            letter.shape = Shape::Usual;
        }
        letter
    }
}

fn shape(rng: &mut Rng) -> Shape {
    match rng.below(100) {
        0..=9 => Shape::Plain,
        10..=19 => Shape::Html,
        20..=25 => Shape::Inline,
        26..=28 => Shape::Meeting,
        29..=31 => Shape::Forward,
        32 => Shape::Empty,
        33..=35 => Shape::Odd((rng.below(ODD_WAYS.into())) as u8),
        _ => Shape::Usual,
    }
}

pub(super) fn person(cast: &Cast, index: usize) -> Person {
    cast.people
        .get(index)
        .cloned()
        .unwrap_or_else(|| Person { name: "Nobody".into(), address: format!("nobody@{}", cast.domain) })
}

fn insider(cast: &Cast, rng: &mut Rng) -> Person {
    person(cast, rng.index(cast.people.len()))
}

fn outsider(rng: &mut Rng) -> Person {
    let (given, family) = (*rng.pick(words::GIVEN), *rng.pick(words::FAMILY));
    let company = rng.pick(&["fabrikam", "tailspintoys", "northwind", "adatum", "litware", "proseware"]);
    Person {
        name: if rng.chance(0.3) { format!("{family}, {given}") } else { format!("{given} {family}") },
        address: format!("{}.{}@{company}.example", given.to_lowercase(), rng.below(900) + 100),
    }
}

fn subject(rng: &mut Rng, shape: Shape) -> String {
    let n = 2 + rng.below(6);
    let base = words::title(rng, n);
    match (shape, rng.below(40)) {
        (Shape::Odd(_), 0..=7) => "../../etc/passwd".into(),
        (Shape::Odd(_), 8..=15) => "x".repeat(300),
        (Shape::Odd(_), 16..=23) => format!("Tab\tand \u{202e}direction and <{base}>"),
        (Shape::Empty, 0..=19) => String::new(),
        (Shape::Meeting, _) => format!("Meeting: {base}"),
        (_, 0..=9) => format!("RE: {base}"),
        (_, 10..=13) => format!("FW: {base}"),
        (_, 14) => (*rng.pick(words::FOREIGN)).to_string(),
        _ => base,
    }
}

const KINDS: &[(&str, &str, Texture)] = &[
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", Texture::Mixed),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", Texture::Mixed),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation", Texture::Mixed),
    ("pdf", "application/pdf", Texture::Mixed),
    ("jpg", "image/jpeg", Texture::Random),
    ("png", "image/png", Texture::Random),
    ("zip", "application/zip", Texture::Random),
    ("csv", "text/csv", Texture::Text),
    ("txt", "text/plain", Texture::Text),
];

/// A file name, its type and how its bytes look.
pub(super) fn file_kind(rng: &mut Rng) -> (String, &'static str, Texture) {
    let (extension, mime, texture) = *rng.pick(KINDS);
    let n = 1 + rng.below(4);
    (format!("{}.{extension}", words::title(rng, n)), mime, texture)
}

fn attachments(cast: &Cast, rng: &mut Rng, shape: Shape, words: u64) -> Vec<Attachment> {
    let count = match shape {
        Shape::Usual | Shape::Html if rng.chance(0.32) => 1 + rng.below(3),
        Shape::Inline => rng.below(2),
        Shape::Odd(_) => rng.below(3),
        _ => 0,
    };
    let mut out: Vec<_> = (0..count).map(|_| attachment(cast, rng)).collect();
    if shape == Shape::Inline {
        for i in 0..1 + rng.below(2) {
            // A signature's picture is the same in all mails of a sender's company.
            let seed = if rng.chance(0.6) { hash(cast.seed, &[0x516, rng.below(6)]) } else { rng.next() };
            let len = 2_000 + mix(seed) % (4_000 + words.min(2_000) * 8);
            let len = if seed == hash(cast.seed, &[0x516, 0]) { 6_011 } else { len };
            let id = format!("image{:03}.png@01D{:05X}.{:08X}", i + 1, seed & 0xfffff, mix(seed) & 0xffff_ffff);
            out.push(Attachment {
                name: format!("image{:03}.png", i + 1),
                mime: "image/png",
                blob: Blob::new(Texture::Random, seed, len),
                content_id: Some(id),
            });
        }
    }
    out
}

/// An attachment; a third of all are passed round among many people.
fn attachment(cast: &Cast, rng: &mut Rng) -> Attachment {
    let seed =
        if rng.chance(0.34) { hash(cast.seed, &[0xa77, rng.below(cast.shared_attachments)]) } else { rng.next() };
    let mut rng = Rng::new(seed, &[0xa]);
    let (name, mime, texture) = file_kind(&mut rng);
    let name = if rng.chance(0.05) { format!("Ü{name}") } else { name };
    let len = rng.lognormal(cast.contents.attachment_bytes, 1.3).min(cast.contents.attachment_max_bytes);
    let len = if rng.chance(0.01) { 0 } else { len };
    Attachment { name, mime, blob: Blob::new(texture, seed, len), content_id: None }
}
