//! Puts a letter into MIME as Exchange Online gives it: CRLF, trace headers, alternative bodies in
//! quoted-printable or base64, attachments in base64 of 76 columns.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::letter::{Attachment, Cast, Letter, Person, Shape};
use super::rng::{Rng, mix};
use super::times;

/// The MIME stream of a letter.
pub(super) fn render(cast: &Cast, letter: &Letter) -> Vec<u8> {
    let mut out = Out { bytes: Vec::with_capacity(letter.store_size() as usize * 4 / 3 + 4_096), columns: 76 };
    trace_headers(letter, &mut out);
    letter_headers(letter, &mut out);
    match letter.shape {
        Shape::Odd(way) => super::odd::write(cast, letter, way, &mut out),
        _ => body(cast, letter, &mut out),
    }
    out.bytes
}

/// Where lines go.
pub(super) struct Out {
    pub(super) bytes: Vec<u8>,
    /// Columns of base64.
    pub(super) columns: usize,
}

impl Out {
    pub(super) fn line(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(super) fn base64(&mut self, data: &[u8]) {
        for chunk in data.chunks(self.columns / 4 * 3) {
            let line = STANDARD.encode(chunk);
            self.line(&line);
        }
    }

    pub(super) fn quoted_printable(&mut self, text: &str) {
        let mut column = 0;
        let bytes = text.as_bytes();
        for (i, byte) in bytes.iter().enumerate() {
            if *byte == b'\r' {
                continue;
            }
            if *byte == b'\n' {
                self.bytes.extend_from_slice(b"\r\n");
                column = 0;
                continue;
            }
            let at_end = bytes.get(i + 1).is_none_or(|next| *next == b'\r' || *next == b'\n');
            let plain = matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !at_end);
            let width = if plain { 1 } else { 3 };
            if column + width > 75 {
                self.bytes.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if plain {
                self.bytes.push(*byte);
            } else {
                self.bytes.extend_from_slice(format!("={byte:02X}").as_bytes());
            }
            column += width;
        }
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// The headers that servers add on the way.
fn trace_headers(letter: &Letter, out: &mut Out) {
    if letter.from.draft {
        return;
    }
    let seed = letter.from.seed;
    let mut at = letter.from.received;
    for hop in 0..3u64 {
        let (a, b) = (mix(seed ^ hop), mix(seed ^ (hop + 1)));
        out.line(&format!("Received: from {:013X}.eurprd0{}.prod.outlook.com", a >> 12, a % 7));
        out.line(&format!(" (2603:10a6:{:x}:{:x}::{:x}) by", a & 0xfff, a >> 20 & 0xfff, a >> 40 & 0xff));
        out.line(&format!(" {:013X}.eurprd0{}.prod.outlook.com with HTTPS; {}", b >> 12, b % 7, times::rfc5322(at)));
        at -= 1 + (a % 3) as i64;
    }
    out.line("Authentication-Results: spf=pass (sender IP is 40.107.22.51)");
    out.line(&format!(" smtp.mailfrom={}; dkim=pass (signature was verified)", domain(&letter.sender)));
    out.line(&format!(" header.d={};dmarc=pass action=none;compauth=pass reason=100", domain(&letter.sender)));
    out.line("Received-SPF: Pass (protection.outlook.com: domain designates 40.107.22.51 as permitted sender)");
}

fn domain(person: &Person) -> &str {
    person.address.split('@').nth(1).unwrap_or("invalid")
}

/// The headers of the letter itself.
fn letter_headers(letter: &Letter, out: &mut Out) {
    let seed = letter.from.seed;
    out.line(&format!("From: {}", mailbox(&letter.sender)));
    address_list("To", &letter.to, out);
    if !letter.cc.is_empty() {
        address_list("CC", &letter.cc, out);
    }
    header_text("Subject", &letter.subject, out);
    header_text("Thread-Topic", &letter.subject, out);
    let thread = [mix(letter.conversation).to_le_bytes(), mix(letter.conversation ^ 1).to_le_bytes()].concat();
    out.line(&format!("Thread-Index: {}", STANDARD.encode(&thread[..])));
    if letter.high_importance {
        out.line("Importance: high");
        out.line("X-Priority: 1");
    }
    out.line(&format!("Date: {}", times::rfc5322(letter.from.received - 4)));
    out.line(&format!("Message-ID: {}", letter.message_id));
    out.line("Accept-Language: en-GB, en-US");
    out.line("Content-Language: en-GB");
    out.line("X-MS-Exchange-Organization-AuthAs: Internal");
    out.line("X-MS-Exchange-Organization-AuthMechanism: 04");
    out.line(&format!("X-MS-Has-Attach: {}", if letter.has_attachments() { "yes" } else { "" }));
    out.line(&format!("X-MS-Exchange-Organization-Network-Message-Id: {}", super::rng::guid(seed)));
    out.line("X-MS-Exchange-Organization-SCL: -1");
    out.line("X-MS-TNEF-Correlator:");
    if !letter.from.draft {
        antispam(seed, out);
    }
    out.line("MIME-Version: 1.0");
}

/// The long, incompressible report of the spam filter.
fn antispam(seed: u64, out: &mut Out) {
    let mut rng = Rng::new(seed, &[0x59]);
    let data: Vec<u8> = (0..60 + rng.below(60)).flat_map(|_| rng.next().to_le_bytes()).collect();
    let text = STANDARD.encode(data);
    out.line("X-Microsoft-Antispam-Message-Info:");
    for chunk in text.as_bytes().chunks(72) {
        out.line(&format!(" {}", String::from_utf8_lossy(chunk)));
    }
}

fn mailbox(person: &Person) -> String {
    if !person.name.is_ascii() {
        format!("{} <{}>", encoded_words(&person.name), person.address)
    } else if person.name.contains(|c: char| !c.is_ascii_alphanumeric() && c != ' ') {
        format!("\"{}\" <{}>", person.name, person.address)
    } else {
        format!("{} <{}>", person.name, person.address)
    }
}

pub(super) fn address_list(name: &str, people: &[Person], out: &mut Out) {
    let list: Vec<_> = people.iter().map(mailbox).collect();
    out.line(&format!("{name}: {}", list.join(",\r\n ")));
}

/// A header of free text; encoded words where it is not plain ASCII.
pub(super) fn header_text(name: &str, text: &str, out: &mut Out) {
    if text.is_ascii() && !text.contains(|c: char| c.is_ascii_control()) {
        out.line(&format!("{name}: {text}"));
    } else {
        out.line(&format!("{name}: {}", encoded_words(text)));
    }
}

fn encoded_words(text: &str) -> String {
    let mut words = Vec::new();
    let mut part = String::new();
    for c in text.chars() {
        if part.len() + c.len_utf8() > 42 {
            words.push(std::mem::take(&mut part));
        }
        part.push(c);
    }
    words.push(part);
    let words: Vec<_> = words.iter().map(|w| format!("=?utf-8?B?{}?=", STANDARD.encode(w))).collect();
    words.join("\r\n ")
}

fn boundary(letter: &Letter, level: u32) -> String {
    format!("_{level:03}_{:016X}{:08X}_", mix(letter.from.seed), letter.from.seed & 0xffff_ffff)
}

/// The body with everything attached.
pub(super) fn body(cast: &Cast, letter: &Letter, out: &mut Out) {
    let outer = boundary(letter, 4);
    let files: Vec<_> = letter.attachments.iter().filter(|a| a.content_id.is_none()).collect();
    if files.is_empty() && letter.shape != Shape::Forward {
        return related(letter, out);
    }
    out.line("Content-Type: multipart/mixed;");
    out.line(&format!("\tboundary=\"{outer}\""));
    out.line("");
    out.line(&format!("--{outer}"));
    related(letter, out);
    for file in files {
        out.line("");
        out.line(&format!("--{outer}"));
        attachment(letter, file, out);
    }
    if letter.shape == Shape::Forward {
        out.line("");
        out.line(&format!("--{outer}"));
        out.line("Content-Type: message/rfc822");
        out.line("Content-Disposition: attachment;");
        out.line(&format!("\tcreation-date=\"{}\"", times::rfc5322(letter.from.received)));
        out.line("");
        let inner = render(cast, &letter.inner(cast));
        out.bytes.extend_from_slice(&inner);
    }
    out.line("");
    out.line(&format!("--{outer}--"));
}

/// The body and its inline pictures.
fn related(letter: &Letter, out: &mut Out) {
    let pictures: Vec<_> = letter.attachments.iter().filter(|a| a.content_id.is_some()).collect();
    if pictures.is_empty() {
        return alternative(letter, out);
    }
    let outer = boundary(letter, 5);
    out.line("Content-Type: multipart/related;");
    out.line(&format!("\tboundary=\"{outer}\";"));
    out.line("\ttype=\"multipart/alternative\"");
    out.line("");
    out.line(&format!("--{outer}"));
    alternative(letter, out);
    for picture in pictures {
        out.line("");
        out.line(&format!("--{outer}"));
        attachment(letter, picture, out);
    }
    out.line("");
    out.line(&format!("--{outer}--"));
}

fn alternative(letter: &Letter, out: &mut Out) {
    match letter.shape {
        Shape::Plain => return text_part(letter, out),
        Shape::Html => return html_part(letter, out),
        Shape::Empty => {
            out.line("Content-Type: text/plain; charset=\"us-ascii\"");
            out.line("Content-Transfer-Encoding: 7bit");
            return out.line("");
        }
        _ => {}
    }
    let outer = boundary(letter, 0);
    out.line("Content-Type: multipart/alternative;");
    out.line(&format!("\tboundary=\"{outer}\""));
    out.line("");
    out.line(&format!("--{outer}"));
    text_part(letter, out);
    out.line("");
    out.line(&format!("--{outer}"));
    html_part(letter, out);
    if letter.shape == Shape::Meeting {
        out.line("");
        out.line(&format!("--{outer}"));
        out.line("Content-Type: text/calendar; charset=\"utf-8\"; method=REQUEST");
        out.line("Content-Transfer-Encoding: base64");
        out.line("");
        out.base64(itip(letter).as_bytes());
    }
    out.line("");
    out.line(&format!("--{outer}--"));
}

pub(super) fn text_part(letter: &Letter, out: &mut Out) {
    let text = letter.paragraphs().join("\r\n\r\n");
    out.line("Content-Type: text/plain; charset=\"utf-8\"");
    if letter.from.seed & 4 == 0 {
        out.line("Content-Transfer-Encoding: base64");
        out.line("");
        out.base64(text.as_bytes());
    } else {
        out.line("Content-Transfer-Encoding: quoted-printable");
        out.line("");
        out.quoted_printable(&text);
    }
}

fn html_part(letter: &Letter, out: &mut Out) {
    let text = html(letter);
    out.line("Content-Type: text/html; charset=\"utf-8\"");
    if letter.from.seed & 4 == 0 {
        out.line("Content-Transfer-Encoding: base64");
        out.line("");
        out.base64(text.as_bytes());
    } else {
        out.line("Content-Transfer-Encoding: quoted-printable");
        out.line("");
        out.quoted_printable(&text);
    }
}

const STYLE: &str = "<html xmlns:v=\"urn:schemas-microsoft-com:vml\" xmlns:o=\"urn:schemas-microsoft-com:office:office\" \
xmlns:w=\"urn:schemas-microsoft-com:office:word\" xmlns=\"http://www.w3.org/TR/REC-html40\">\r\n<head>\r\n\
<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\">\r\n<meta name=\"Generator\" \
content=\"Microsoft Word 15 (filtered medium)\">\r\n<style><!--\r\n/* Font Definitions */\r\n@font-face\r\n\t\
{font-family:\"Cambria Math\";\r\n\tpanose-1:2 4 5 3 5 4 6 3 2 4;}\r\n@font-face\r\n\t{font-family:Calibri;\r\n\t\
panose-1:2 15 5 2 2 2 4 3 2 4;}\r\n/* Style Definitions */\r\np.MsoNormal, li.MsoNormal, div.MsoNormal\r\n\t\
{margin:0cm;\r\n\tfont-size:11.0pt;\r\n\tfont-family:\"Calibri\",sans-serif;}\r\na:link, span.MsoHyperlink\r\n\t\
{mso-style-priority:99;\r\n\tcolor:#0563C1;\r\n\ttext-decoration:underline;}\r\n@page WordSection1\r\n\t\
{size:612.0pt 792.0pt;\r\n\tmargin:72.0pt 72.0pt 72.0pt 72.0pt;}\r\ndiv.WordSection1\r\n\t{page:WordSection1;}\r\n\
--></style>\r\n</head>\r\n<body lang=\"EN-GB\" link=\"#0563C1\" vlink=\"#954F72\">\r\n<div class=\"WordSection1\">\r\n";

/// The HTML body.
pub(super) fn html(letter: &Letter) -> String {
    let mut out = String::from(STYLE);
    for paragraph in letter.paragraphs() {
        out.push_str("<p class=\"MsoNormal\">");
        out.push_str(&paragraph);
        out.push_str("<o:p></o:p></p>\r\n");
    }
    for id in letter.attachments.iter().filter_map(|a| a.content_id.as_ref()) {
        out.push_str(&format!("<p class=\"MsoNormal\"><img border=\"0\" src=\"cid:{id}\"></p>\r\n"));
    }
    out.push_str("</div>\r\n</body>\r\n</html>\r\n");
    out
}

fn itip(letter: &Letter) -> String {
    let at = letter.from.received / 3_600 * 3_600 + 7 * 86_400;
    format!(
        "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nPRODID:Microsoft Exchange Server 2010\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n\
         ORGANIZER;CN={}:mailto:{}\r\nSUMMARY;LANGUAGE=en-GB:{}\r\nDTSTART:{}\r\nDTEND:{}\r\n\
         UID:040000008200E00074C5B7101A82E008{:016X}\r\nSEQUENCE:0\r\nSTATUS:CONFIRMED\r\nEND:VEVENT\r\n\
         END:VCALENDAR\r\n",
        letter.sender.name,
        letter.sender.address,
        letter.subject,
        times::ical(at),
        times::ical(at + 3_600),
        letter.from.seed
    )
}

/// An attachment as a MIME part.
pub(super) fn attachment(letter: &Letter, file: &Attachment, out: &mut Out) {
    let name = if file.name.is_ascii() { file.name.clone() } else { encoded_words(&file.name) };
    out.line(&format!("Content-Type: {}; name=\"{name}\"", file.mime));
    out.line(&format!("Content-Description: {name}"));
    let disposition = if file.content_id.is_some() { "inline" } else { "attachment" };
    let date = times::rfc5322(letter.from.received);
    out.line(&format!("Content-Disposition: {disposition}; filename=\"{name}\"; size={};", file.blob.len()));
    out.line(&format!("\tcreation-date=\"{date}\"; modification-date=\"{date}\""));
    if let Some(id) = &file.content_id {
        out.line(&format!("Content-ID: <{id}>"));
    }
    out.line("Content-Transfer-Encoding: base64");
    out.line("");
    out.base64(&file.blob.bytes());
}
