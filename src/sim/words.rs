//! Plausible words, names and sentences, so that bodies and names compress and sort as real ones do.

use super::rng::Rng;

/// Words of a business letter, the frequent ones first.
pub(super) const WORDS: &[&str] = &[
    "the",
    "to",
    "and",
    "of",
    "a",
    "in",
    "for",
    "is",
    "on",
    "that",
    "we",
    "with",
    "you",
    "be",
    "this",
    "as",
    "are",
    "at",
    "it",
    "will",
    "have",
    "our",
    "by",
    "from",
    "not",
    "please",
    "or",
    "an",
    "your",
    "can",
    "was",
    "if",
    "has",
    "all",
    "which",
    "more",
    "would",
    "they",
    "been",
    "there",
    "any",
    "their",
    "other",
    "should",
    "also",
    "new",
    "one",
    "project",
    "team",
    "meeting",
    "week",
    "report",
    "customer",
    "contract",
    "price",
    "review",
    "next",
    "today",
    "delivery",
    "update",
    "schedule",
    "invoice",
    "order",
    "number",
    "quality",
    "design",
    "plan",
    "office",
    "budget",
    "market",
    "service",
    "product",
    "support",
    "issue",
    "change",
    "request",
    "detail",
    "attached",
    "document",
    "version",
    "draft",
    "final",
    "approval",
    "signature",
    "manager",
    "director",
    "department",
    "supplier",
    "partner",
    "account",
    "payment",
    "quarter",
    "forecast",
    "revenue",
    "margin",
    "target",
    "result",
    "figure",
    "chart",
    "table",
    "agenda",
    "minutes",
    "action",
    "owner",
    "deadline",
    "milestone",
    "risk",
    "option",
    "decision",
    "proposal",
    "question",
    "answer",
    "call",
    "phone",
    "mail",
    "address",
    "travel",
    "flight",
    "hotel",
    "booking",
    "conference",
    "training",
    "course",
    "policy",
    "security",
    "access",
    "password",
    "system",
    "server",
    "network",
    "backup",
    "restore",
    "test",
    "release",
    "feature",
    "requirement",
    "specification",
    "drawing",
    "sample",
    "prototype",
    "material",
    "machine",
    "factory",
    "warehouse",
    "shipment",
    "transport",
    "customs",
    "certificate",
    "audit",
    "compliance",
    "regulation",
    "law",
    "court",
    "claim",
    "insurance",
    "damage",
    "repair",
    "maintenance",
    "spare",
    "part",
    "tool",
    "equipment",
    "vehicle",
    "building",
    "floor",
    "room",
    "parking",
    "kitchen",
    "garden",
    "energy",
    "water",
    "heating",
    "cooling",
    "light",
    "cable",
    "sensor",
    "valve",
    "pump",
    "motor",
    "battery",
    "screen",
    "printer",
    "scanner",
    "camera",
    "laptop",
    "tablet",
    "software",
    "licence",
    "subscription",
    "renewal",
    "offer",
    "discount",
    "campaign",
    "brochure",
    "website",
    "banner",
    "video",
    "photo",
    "interview",
    "candidate",
    "position",
    "salary",
    "holiday",
    "absence",
    "sickness",
    "handover",
    "onboarding",
    "farewell",
    "celebration",
    "lunch",
    "dinner",
    "coffee",
    "weather",
    "morning",
    "afternoon",
    "evening",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "January",
    "March",
    "June",
    "September",
    "December",
    "regards",
    "thanks",
    "kindly",
    "shortly",
    "immediately",
    "carefully",
    "clearly",
    "probably",
    "certainly",
    "unfortunately",
    "however",
    "therefore",
    "because",
    "although",
    "during",
    "between",
    "without",
    "within",
    "according",
    "regarding",
    "following",
    "including",
    "available",
    "possible",
    "necessary",
    "important",
    "urgent",
    "additional",
    "several",
    "previous",
    "current",
    "annual",
    "internal",
    "external",
    "technical",
    "financial",
    "legal",
    "personal",
    "general",
    "special",
    "local",
    "global",
    "confirm",
    "send",
    "receive",
    "discuss",
    "agree",
    "propose",
    "prepare",
    "finish",
    "start",
    "continue",
    "check",
    "clarify",
    "explain",
    "decide",
    "approve",
    "reject",
    "deliver",
    "install",
    "measure",
    "calculate",
    "estimate",
    "compare",
    "improve",
    "reduce",
    "increase",
    "replace",
    "extend",
    "cancel",
    "postpone",
    "arrange",
    "organise",
];

/// Given names; the first users of a tenant are called so.
pub(super) const GIVEN: &[&str] = &[
    "Alice", "Bob", "Carol", "Dave", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy", "Kevin", "Laura", "Mallory",
    "Nina", "Oscar", "Peggy", "Quentin", "Rupert", "Sybil", "Trent", "Ursula", "Victor", "Wendy", "Xavier", "Yvonne",
    "Zoe",
];

/// Family names.
pub(super) const FAMILY: &[&str] = &[
    "Adams",
    "Baker",
    "Clarke",
    "Dupont",
    "Eriksson",
    "Fischer",
    "García",
    "Horváth",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lefèvre",
    "Müller",
    "Nakamura",
    "O'Brien",
    "Petersen",
    "Quinn",
    "Rossi",
    "Şahin",
    "Tanaka",
    "Underwood",
    "Varga",
    "Weiß",
    "Xu",
    "Young",
    "Zieliński",
];

/// Phrases beyond ASCII.
pub(super) const FOREIGN: &[&str] = &[
    "Grüße aus München",
    "Réunion d'équipe décalée",
    "Añadir más información",
    "会議の議事録を送付します",
    "Срочно: новый договор",
    "Überprüfung der Maße",
    "Ø 40 mm – 5 € Stück",
    "🎉 Glückwunsch!",
];

/// A word; frequent ones come often.
fn word(rng: &mut Rng) -> &'static str {
    let r = rng.next();
    let n = WORDS.len() as u64;
    let (a, b) = ((r & 0xffff_ffff) % n, (r >> 32) % n);
    WORDS[(a * b / n) as usize]
}

/// A few words, the first with a capital: a subject, a name.
pub(super) fn title(rng: &mut Rng, words: u64) -> String {
    let mut out = String::new();
    for i in 0..words {
        let w = *rng.pick(&WORDS[47..]);
        if i > 0 {
            out.push(' ');
        }
        push_word(&mut out, w, i == 0);
    }
    out
}

fn push_word(out: &mut String, word: &str, capital: bool) {
    match word.chars().next() {
        Some(first) if capital => {
            out.push(first.to_ascii_uppercase());
            out.push_str(&word[first.len_utf8()..]);
        }
        _ => out.push_str(word),
    }
}

/// One sentence with its full stop.
pub(super) fn sentence(rng: &mut Rng, out: &mut String) {
    let n = 5 + rng.below(14);
    for i in 0..n {
        if i > 0 {
            out.push(if i % 6 == 5 { ',' } else { ' ' });
            if i % 6 == 5 {
                out.push(' ');
            }
        }
        push_word(out, word(rng), i == 0);
    }
    out.push_str(if rng.chance(0.1) { "?" } else { "." });
}

/// Paragraphs of about `words` words in all.
pub(super) fn paragraphs(rng: &mut Rng, words: u64) -> Vec<String> {
    let (mut out, mut left) = (Vec::new(), words as i64);
    while left > 0 {
        let mut text = String::new();
        for i in 0..2 + rng.below(5) {
            if i > 0 {
                text.push(' ');
            }
            sentence(rng, &mut text);
            left -= 12;
            if left <= 0 {
                break;
            }
        }
        if rng.chance(0.04) {
            text.push(' ');
            let phrase: &str = FOREIGN[rng.index(FOREIGN.len())];
            text.push_str(phrase);
        }
        out.push(text);
    }
    out
}

/// A block of prose of exactly `len` bytes of ASCII, for text files.
pub(super) fn text_block(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::new(seed, &[]);
    let mut out = String::with_capacity(len + 256);
    while out.len() < len {
        sentence(&mut rng, &mut out);
        out.push_str(if rng.below(4) == 0 { "\r\n" } else { " " });
    }
    let mut bytes = out.into_bytes();
    bytes.truncate(len);
    bytes
}
