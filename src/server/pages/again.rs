//! A form that was refused comes again on its page, with what was typed in it and why it was refused: one way for all forms.
//!
//! The page is asked for anew (see `web::again`), and the form that was sent is found in its text and filled there. That text is our
//! own, as `maud` writes it: values of attributes stand in double quotes, and what comes from outside has no `<`, `>` or `"` of its own.
//! What is secret is never written into a page.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use maud::{Markup, html};
use url::form_urlencoded;

/// Under this name the address of a form says which page it stands on: what is sent from a page that was the answer to a form says by
/// itself only that form's address, which is no page's.
const PAGE: &str = "again";
/// What a form is called that has no name of its own.
const FORM: &str = "refused-form";
/// Names of fields, or parts of them, whose contents are secret. So is what browsers take for a password or a code, and what says it
/// by `data-secret`.
const SECRETS: &[&str] = &["password", "passphrase", "secret", "credentials", "certificate", "key", "code"];
/// Parts of the names of a storage's options that are secrets, and stand in its address by mistake.
const SECRET_OPTIONS: &[&str] = &["secret", "token", "password", "passphrase", "credential", "key", "sas", "sig"];
/// A form with more fields does not come again: each is looked for among all.
const MOST_FIELDS: usize = 2_000;

/// What a form sent, and to which path.
#[derive(Clone)]
pub(crate) struct Posted {
    /// The path.
    pub(crate) path: String,
    /// The fields, as they came.
    pub(crate) fields: Bytes,
}

impl fmt::Debug for Posted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was sent to {}", self.path)
    }
}

/// A form that was refused, beside the answer that says so.
#[derive(Clone)]
pub(crate) struct Refused {
    /// The page that it stands on, as an address within this server.
    pub(crate) page: String,
    pub(super) posted: Posted,
    pub(super) title: &'static str,
    pub(super) told: Markup,
}

impl Refused {
    /// Stands on top of the page, and takes the focus: who does not see the page hears it first.
    fn notice(&self, form: &str, filled: &Filling<'_>) -> Markup {
        html! {
            section #refused.notice.bad role="alert" tabindex="-1" autofocus {
                p { strong { (self.title) } }
                (self.told)
                @if filled.has_fields {
                    p.hint {
                        a href={ "#" (form) } { "To the form" } ", in which what you typed stands again"
                        @if filled.withheld { ", but for secrets: type those anew" } "."
                    }
                }
            }
        }
    }
}

/// The page that the address of a form says it stands on.
pub(crate) fn noted(query: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == PAGE).map(|(_, page)| page.into_owned())
}

/// A page with its form filled that was refused; none where it has no form that sends just that.
pub(crate) fn filled(page: &str, refused: &Refused) -> Option<String> {
    if refused.posted.fields.iter().filter(|byte| **byte == b'&').count() >= MOST_FIELDS {
        return None;
    }
    let all: Vec<Tag<'_>> = tags(page).collect();
    let sent = sent(&refused.posted.fields);
    let at = form_of(&all, &escaped(&refused.posted.path), &sent)?;
    let (form, main) = (all.get(at.start)?, all.iter().find(|tag| tag.name == "main")?);
    let mut filling = Filling { page, sent, folded: Vec::new(), edits: Vec::new(), has_fields: false, withheld: false };
    for tag in all.get(..at.start)? {
        filling.fold(tag);
    }
    filling.unfold();
    filling.fill(all.get(at.start..at.end)?);
    let own = form.value("id");
    let notice = refused.notice(own.unwrap_or(FORM), &filling).into_string();
    let mut edits = filling.edits;
    edits.push((main.to..main.to, notice));
    edits.push((form.end(), " aria-describedby=\"refused\"".to_owned()));
    if own.is_none() {
        edits.push((form.end(), format!(" id=\"{FORM}\"")));
    }
    if let Some(title) = all.iter().find(|tag| tag.name == "title" && !tag.closes) {
        edits.push((title.to..title.to, format!("{}: ", refused.title)));
    }
    let from: String = form_urlencoded::byte_serialize(refused.page.as_bytes()).collect();
    for action in all.iter().filter_map(Tag::posts_to).filter(|action| !action.value.contains('?')) {
        edits.push((action.at, format!(" action=\"{}?{PAGE}={from}\"", action.value)));
    }
    applied(page, edits)
}

/// Text as it stands in a page.
fn escaped(text: &str) -> String {
    html! { (text) }.into_string()
}

/// A field that was sent, as it stands in a page.
struct Sent {
    name: String,
    value: String,
    /// It stands in the form again.
    taken: bool,
}

fn sent(fields: &[u8]) -> Vec<Sent> {
    let all = form_urlencoded::parse(fields);
    // Browsers end lines by two characters.
    let lines = |value: &str| escaped(&value.replace("\r\n", "\n"));
    all.map(|(name, value)| Sent { name: escaped(name.as_ref()), value: lines(value.as_ref()), taken: false }).collect()
}

/// A tag in the text of a page.
struct Tag<'a> {
    name: &'a str,
    closes: bool,
    /// What stands in it behind its name, and where.
    rest: &'a str,
    rest_from: usize,
    /// Where the tag begins.
    from: usize,
    /// Where what follows it begins.
    to: usize,
}

struct Attribute<'a> {
    name: &'a str,
    value: &'a str,
    /// Where it stands in the page, with the space before it.
    at: Range<usize>,
}

fn tags(page: &str) -> impl Iterator<Item = Tag<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = at + page.get(at..)?.find('<')?;
        let to = from + page.get(from..)?.find('>')? + 1;
        at = to;
        let closes = page.get(from + 1..)?.starts_with('/');
        let name_from = from + 1 + usize::from(closes);
        let inner = page.get(name_from..to - 1)?;
        let (name, rest) = inner.split_at(inner.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(inner.len()));
        Some(Tag { name, closes, rest, rest_from: name_from + name.len(), from, to })
    })
}

impl<'a> Tag<'a> {
    fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> {
        let (rest, base, mut at) = (self.rest, self.rest_from, 0);
        std::iter::from_fn(move || {
            let from = base + at;
            let left = rest.get(at..)?;
            let text = left.trim_start();
            let first = text.chars().next()?;
            let name_to = text.find(['=', ' ']).unwrap_or(text.len());
            let (name, after) = text.split_at(name_to);
            let (value, len) = match after.strip_prefix("=\"") {
                Some(quoted) => {
                    let value = quoted.get(..quoted.find('"')?)?;
                    (value, name_to + value.len() + 3)
                }
                None => ("", name_to.max(first.len_utf8())),
            };
            at += left.len() - text.len() + len;
            Some(Attribute { name, value, at: from..base + at })
        })
    }

    fn attribute(&self, name: &str) -> Option<Attribute<'a>> {
        self.attributes().find(|attribute| attribute.name == name)
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.attribute(name).map(|attribute| attribute.value)
    }

    fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    /// Where one more attribute fits in.
    fn end(&self) -> Range<usize> {
        self.to - 1..self.to - 1
    }

    /// Where a form sends what it changes.
    fn posts_to(&self) -> Option<Attribute<'a>> {
        let posts = self.name == "form" && !self.closes && self.value("method") == Some("post");
        self.attribute("action").filter(|_| posts)
    }

    fn is_secret(&self) -> bool {
        let name = self.value("name").unwrap_or_default();
        let told = matches!(self.value("autocomplete"), Some("current-password" | "new-password" | "one-time-code"));
        told || self.has("data-secret")
            || self.value("type") == Some("password")
            || SECRETS.iter().any(|word| name.contains(word))
    }
}

/// Says whether an address, as it stands in a page, has a secret in it: who signs in there, or an option that is called like one. With
/// SFTP a user is none, nor where a key lies.
fn tells_secret(address: &str) -> bool {
    let address = address.replace("&amp;", "&");
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address.as_str()));
    let is_sftp = scheme.trim().eq_ignore_ascii_case("sftp");
    let signs_in = rest.rsplit_once('@').is_some_and(|(who, _)| !is_sftp || who.contains(':'));
    let (_, options) = rest.split_once(['?', '#']).unwrap_or_default();
    signs_in
        || form_urlencoded::parse(options.as_bytes()).any(|(name, _)| {
            let name = name.to_lowercase();
            let is_path = name == "key_file" || (is_sftp && name == "key");
            !is_path && SECRET_OPTIONS.iter().any(|word| name.contains(word))
        })
}

/// The tags of the form that sent something to a path, from its own on.
fn form_of(all: &[Tag<'_>], action: &str, sent: &[Sent]) -> Option<Range<usize>> {
    let posts = |tag: &Tag<'_>| tag.posts_to().is_some_and(|to| to.value == action);
    all.iter().enumerate().filter(|&(_, tag)| posts(tag)).find_map(|(from, _)| {
        let rest = all.get(from..)?;
        let to = from + rest.iter().position(|tag| tag.closes && tag.name == "form")?;
        sends(all.get(from..to)?, sent).then_some(from..to)
    })
}

/// Says whether something is what a form sends: no more than it has, all that it always sends, and what it holds unseen.
fn sends(form: &[Tag<'_>], sent: &[Sent]) -> bool {
    let can_be_sent = |tag: &&Tag<'_>| matches!(tag.name, "input" | "select" | "textarea" | "button") && !tag.closes;
    let fields: Vec<(&Tag<'_>, &str)> =
        form.iter().filter(can_be_sent).filter_map(|tag| Some((tag, tag.value("name")?))).collect();
    sent.iter().all(|sent| fields.iter().any(|(_, name)| *name == sent.name))
        && fields.iter().all(|(tag, name)| match (tag.name, tag.value("type")) {
            ("input", Some("hidden")) => {
                let value = tag.value("value").unwrap_or_default();
                sent.iter().any(|sent| sent.name == *name && sent.value == value)
            }
            ("input", Some("checkbox" | "radio" | "submit" | "file")) | ("select" | "button", _) => true,
            _ => tag.has("disabled") || sent.iter().any(|sent| sent.name == *name),
        })
}

/// What is changed in a page so that a form of it holds what was sent.
struct Filling<'a> {
    page: &'a str,
    sent: Vec<Sent>,
    /// Of what is folded around: where it is told to be open, unless it is.
    folded: Vec<Option<usize>>,
    edits: Vec<(Range<usize>, String)>,
    /// It has fields that people fill.
    has_fields: bool,
    /// A secret was sent.
    withheld: bool,
}

impl Filling<'_> {
    /// Notes what begins and ends that can be folded.
    fn fold(&mut self, tag: &Tag<'_>) {
        match (tag.name, tag.closes) {
            ("details", false) => self.folded.push((!tag.has("open")).then_some(tag.to - 1)),
            ("details", true) => {
                self.folded.pop();
            }
            _ => {}
        }
    }

    /// Opens what is folded around.
    fn unfold(&mut self) {
        for place in &mut self.folded {
            if let Some(at) = place.take() {
                self.edits.push((at..at, " open".to_owned()));
            }
        }
    }

    fn fill(&mut self, form: &[Tag<'_>]) {
        for (n, tag) in form.iter().enumerate() {
            self.fold(tag);
            if tag.closes || tag.has("disabled") {
                continue;
            }
            let after = form.get(n + 1..).unwrap_or_default();
            match (tag.name, tag.value("type")) {
                ("input", Some("hidden" | "submit" | "file")) => {}
                ("input", Some("checkbox" | "radio")) => self.tick(tag),
                ("input", _) => self.write(tag),
                ("textarea", _) => self.write_lines(tag, after),
                ("select", _) => self.choose(tag, after),
                _ => {}
            }
        }
    }

    /// What was typed into the next field of a name; nothing of a secret.
    fn typed(&mut self, tag: &Tag<'_>) -> Option<String> {
        let name = tag.value("name")?;
        self.has_fields = true;
        let sent = self.sent.iter_mut().find(|sent| !sent.taken && sent.name == name)?;
        sent.taken = true;
        let is_address = name.ends_with("url") || sent.value.contains("://");
        // Who pastes a private key into a field for something else shall not have it stand there either.
        let is_secret =
            tag.is_secret() || sent.value.contains("PRIVATE KEY") || (is_address && tells_secret(&sent.value));
        if !is_secret {
            return Some(sent.value.clone());
        }
        if !sent.value.is_empty() {
            self.withheld = true;
            self.unfold();
        }
        None
    }

    fn tick(&mut self, tag: &Tag<'_>) {
        let Some(name) = tag.value("name") else { return };
        let value = tag.value("value").unwrap_or("on");
        let is = self.sent.iter().any(|sent| sent.name == name && sent.value == value);
        self.has_fields = true;
        self.mark(tag, "checked", is);
    }

    /// Has a word stand in a tag, or not.
    fn mark(&mut self, tag: &Tag<'_>, word: &str, is: bool) {
        match (tag.attribute(word), is) {
            (None, true) => self.edits.push((tag.end(), format!(" {word}"))),
            (Some(was), false) => self.edits.push((was.at, String::new())),
            _ => return,
        }
        self.unfold();
    }

    fn write(&mut self, tag: &Tag<'_>) {
        let Some(value) = self.typed(tag) else { return };
        let (was, at) = tag.attribute("value").map_or_else(|| ("", tag.end()), |was| (was.value, was.at));
        if was != value {
            self.edits.push((at, format!(" value=\"{value}\"")));
            self.unfold();
        }
    }

    fn write_lines(&mut self, tag: &Tag<'_>, after: &[Tag<'_>]) {
        let Some(value) = self.typed(tag) else { return };
        let Some(end) = after.first().filter(|end| end.closes && end.name == "textarea") else { return };
        if self.page.get(tag.to..end.from) != Some(value.as_str()) {
            // A line's end right behind the tag is no part of what it holds.
            self.edits.push((tag.to..end.from, format!("\n{value}")));
            self.unfold();
        }
    }

    fn choose(&mut self, tag: &Tag<'_>, after: &[Tag<'_>]) {
        let Some(value) = self.typed(tag) else { return };
        let within = after.iter().take_while(|tag| tag.name != "select");
        let options: Vec<(&Tag<'_>, bool)> = within
            .filter(|tag| tag.name == "option" && !tag.closes)
            .map(|option| (option, option.value("value").unwrap_or_default() == value))
            .collect();
        // What is offered no more cannot be chosen.
        if options.iter().any(|(_, is)| *is) {
            for (option, is) in options {
                self.mark(option, "selected", is);
            }
        }
    }
}

/// A page with what is changed in it.
fn applied(page: &str, mut edits: Vec<(Range<usize>, String)>) -> Option<String> {
    edits.sort_by_key(|(at, _)| (at.start, at.end));
    let (mut whole, mut done) = (String::with_capacity(page.len() + page.len() / 4), 0);
    for (at, text) in edits {
        whole.push_str(page.get(done..at.start)?);
        whole.push_str(&text);
        done = at.end;
    }
    whole.push_str(page.get(done..)?);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(fields: &'static str) -> Refused {
        let posted = Posted { path: "/to".to_owned(), fields: Bytes::from_static(fields.as_bytes()) };
        Refused { page: "/from?x=1&y".to_owned(), posted, title: "No", told: html! { p { "Because." } } }
    }

    fn page() -> String {
        let form = |n: &str| {
            html! {
                details { summary { (n) }
                    form method="post" action="/to" {
                        input type="hidden" name="n" value=(n);
                        input name="a" value="b < \"c\"";
                        textarea name="t" { "before" }
                        select name="s" { option value="1" selected { "one" } option value="2" { "two" } }
                        details { summary { "More" } input type="checkbox" name="c" value="yes"; }
                        details { summary { "Secret" } input type="password" name="p"; }
                        button type="submit" name="do" value="it" { "Do" }
                    }
                }
            }
        };
        html! { title { "T" } main #main { h1 { "T" } (form("1")) (form("2")) form method="get" action="/to" {} } }
            .into_string()
    }

    #[test]
    fn the_form_that_was_sent_is_filled_and_no_other() {
        let fields = "n=2&a=%22%3E%3Cscript%3E&t=%0D%0Aone%0D%0Atwo&s=2&c=yes&p=&do=it";
        let whole = filled(&page(), &refused(fields)).expect("its form");
        let (first, second) = whole.split_once("<summary>2").expect("two forms");
        assert!(first.contains("<title>No: T</title><main id=\"main\"><section"), "{first}");
        assert!(first.contains(" value=\"b &lt; &quot;c&quot;\"") && first.contains(">before</textarea>"), "{first}");
        assert!(first.contains("selected>one") && !first.contains("checked"), "{first}");
        assert!(first.ends_with("<details open>") && first.matches("<details open>").count() == 1, "{first}");
        for words in [
            "value=\"&quot;&gt;&lt;script&gt;\"",
            "<textarea name=\"t\">\n\none\ntwo</textarea>",
            "<option value=\"1\">one",
            "<option value=\"2\" selected>two",
            "<details open><summary>More",
            "value=\"yes\" checked>",
            "<details><summary>Secret",
            "id=\"refused-form\"",
            "action=\"/to\">",
        ] {
            assert!(second.contains(words), "{words}: {second}");
        }
        assert_eq!(whole.matches("action=\"/to?again=%2Ffrom%3Fx%3D1%26y\"").count(), 2, "{whole}");
        assert!(!whole.contains("type those anew"), "{whole}");
        assert_eq!(noted("x=1&again=%2Ffrom%3Fx%3D1%26y").as_deref(), Some("/from?x=1&y"));
    }

    #[test]
    fn a_secret_is_told_to_be_typed_anew_and_not_shown() {
        let whole = filled(&page(), &refused("n=1&a=x&t=y&s=1&p=mine")).expect("its form");
        assert!(whole.contains("type those anew") && !whole.contains("mine"), "{whole}");
        assert!(whole.contains("<details open><summary>Secret"), "{whole}");
    }

    #[test]
    fn an_address_with_a_secret_in_it_is_not_shown_either() {
        for told in [
            "webdav://user:mine@host/x",
            "webdav://mine@host/x",
            "sftp://user:mine@host/x",
            "user:mi/ne?mine@host",
            "s3://bucket/x?secret_access_key=mine",
            "s3://bucket/x?region=y&amp;session%5ftoken=mine",
            "azblob://box/x?SAS_TOKEN=mine",
            "gcs://bucket?credential=mine",
            "s3://bucket?key=mine",
        ] {
            assert!(tells_secret(told), "{told}");
        }
        for plain in [
            "s3://bucket/x?endpoint=https://host&amp;region=y",
            "sftp://user@host/x?known_hosts=strict&amp;key=/keys/one",
            "gcs://bucket?key_file=/keys/one",
            "/srv/backup",
            "",
        ] {
            assert!(!tells_secret(plain), "{plain}");
        }
        let form = html! {
            main { form method="post" action="/to" {
                input name="new_url" autocomplete="off"; input name="zone" autocomplete="off"; input name="hook" data-secret;
            } }
        };
        let told = filled(&form.into_string(), &refused("new_url=s3%3A%2F%2Fb%3Ftoken%3Dmine&zone=UTC&hook=mine"));
        let told = told.expect("its form");
        assert!(told.contains("value=\"UTC\"") && told.contains("type those anew"), "{told}");
        assert!(!told.contains("mine"), "{told}");
    }

    #[test]
    fn a_form_of_very_many_fields_does_not_come_again() {
        let form = html! { main { form method="post" action="/to" { input type="checkbox" name="pick" value="x"; } } };
        let form = form.into_string();
        let with = |many: usize| {
            let posted = Posted { path: "/to".to_owned(), fields: Bytes::from(vec!["pick=x"; many].join("&")) };
            Refused { page: "/from".to_owned(), posted, title: "No", told: html! {} }
        };
        assert!(filled(&form, &with(MOST_FIELDS)).is_some());
        assert_eq!(filled(&form, &with(MOST_FIELDS + 1)), None);
    }

    #[test]
    fn what_no_form_of_the_page_sends_fills_none() {
        for fields in ["n=3&a=x&t=y&s=1&p=", "n=1&a=x&t=y&s=1&p=&more=x", "n=1&a=x&s=1&p=", ""] {
            assert_eq!(filled(&page(), &refused(fields)), None, "{fields}");
        }
        assert_eq!(filled("<", &refused("n=1")), None);
        assert_eq!(filled("<form method=\"post\" action=\"/to\"><input name=\"n", &refused("n=1")), None);
    }
}
