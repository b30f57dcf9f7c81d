//! HTML that is safe to open: whole in itself, without scripts, loading nothing from anywhere. Foreign HTML goes through the
//! sanitiser; pictures that are kept stand inside as `data:` addresses, all others are left out, so that opening a page tells
//! nobody.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ammonia::Builder;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Foreign HTML is cut after so many bytes: the sanitiser holds all of it in memory, several times over.
const HTML_BYTES: usize = 2 << 20;
/// Nothing is loaded, nothing runs, whatever the sanitiser should have missed.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}\
header{border-bottom:1px solid #8886;margin-bottom:1rem}h1{font-size:1.5rem;margin:0}\
article{margin:1rem 0;padding:.5rem 1rem;border-left:3px solid #58c8}article article{margin-left:1rem}\
.who{font-weight:600}.note,time,footer{opacity:.7;font-size:.85rem}\
img{max-width:100%;height:auto}pre{white-space:pre-wrap}table{border-collapse:collapse}td,th{border:1px solid #8886;padding:.2rem .5rem}\
blockquote{border-left:2px solid #8886;margin-left:0;padding-left:1rem}emoji::after{content:attr(alt)}";

/// Pictures that a text shows, by what it names them by; as `data:` addresses.
pub(super) type Pictures = Arc<HashMap<String, String>>;

/// Text as HTML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// The beginning of a page.
pub(super) fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header><h1>{title}</h1></header>\n"
    )
}

/// The end of a page.
pub(super) const TAIL: &str = "</body>\n</html>\n";

/// A link, if the address is one of the web or of a mailbox; else the text alone.
pub(super) fn link(address: &str, text: &str) -> String {
    let address = address.trim();
    let scheme = address.split(':').next().unwrap_or_default().to_ascii_lowercase();
    let text = escape(if text.trim().is_empty() { address } else { text });
    match scheme.as_str() {
        "http" | "https" | "mailto" => {
            format!("<a href=\"{}\" rel=\"noopener noreferrer\">{text}</a>", escape(address))
        }
        _ => text,
    }
}

/// Foreign HTML without what could run, load or look like something else.
pub(super) fn clean(html: &str, pictures: &Pictures) -> String {
    let mut builder = Builder::default();
    builder.url_schemes(HashSet::from(["http", "https", "mailto", "tel", "cid", "data"]));
    builder.link_rel(Some("noopener noreferrer"));
    // Teams' own: a picture of a mood, told by its text.
    builder.add_tags(["emoji"]).add_tag_attributes("emoji", ["alt"]);
    let pictures = pictures.clone();
    builder.attribute_filter(move |element, attribute, value| match (element, attribute) {
        ("img", "src") => pictures.get(&picture_key(value)).map(|data| Cow::Owned(data.clone())),
        (_, "href" | "cite" | "src") => {
            let scheme = value.trim_start().split(':').next().unwrap_or_default().to_ascii_lowercase();
            (!matches!(scheme.as_str(), "data" | "cid")).then_some(value.into())
        }
        _ => Some(value.into()),
    });
    builder.clean(cut(html)).to_string()
}

fn cut(html: &str) -> &str {
    let mut end = html.len().min(HTML_BYTES);
    while !html.is_char_boundary(end) {
        end -= 1;
    }
    html.get(..end).unwrap_or_default()
}

/// What a picture in a text is known by: the id of a hosted content, or of a part (`cid:`).
pub(super) fn picture_key(source: &str) -> String {
    let hosted = source.split_once("/hostedContents/").and_then(|(_, rest)| rest.split_once("/$value"));
    let key = hosted.map_or(source, |(id, _)| id);
    percent_decoded(key.strip_prefix("cid:").unwrap_or(key))
}

fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let byte = match (first, after) {
            (b'%', [a, b, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
                digit(a).zip(digit(b)).map(|(a, b)| a * 16 + b)
            }
            _ => None,
        };
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A picture as an address that holds it; `None`: it is no picture that browsers show.
pub(super) fn data_address(bytes: &[u8]) -> Option<String> {
    picture_type(bytes).map(|media| format!("data:{media};base64,{}", STANDARD.encode(bytes)))
}

/// The media type of a picture, by its first bytes. SVG is none of them: it can hold scripts.
pub(super) fn picture_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        [b'B', b'M', ..] => Some("image/bmp"),
        _ => None,
    }
}

/// The text of HTML, line by line as it would be shown; without what is not shown.
pub(super) fn text(html: &str) -> String {
    let clean = Builder::empty()
        .tags(HashSet::from([
            "p",
            "div",
            "br",
            "li",
            "tr",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "blockquote",
            "pre",
            "td",
            "hr",
        ]))
        .clean_content_tags(HashSet::from(["script", "style", "title", "head"]))
        .clean(cut(html))
        .to_string();
    let mut out = String::with_capacity(clean.len());
    let mut rest = clean.as_str();
    while let Some((before, from)) = rest.split_once('<') {
        words(&mut out, before);
        let Some((tag, after)) = from.split_once('>') else { break };
        rest = after;
        match tag {
            "li" => out.push_str(if out.is_empty() || out.ends_with('\n') { "- " } else { "\n- " }),
            "/td" => out.push('\t'),
            "br" | "hr" => out.push('\n'),
            // What begins a block and what ends one is one line end.
            _ if !out.is_empty() && !out.ends_with('\n') => out.push('\n'),
            _ => {}
        }
    }
    words(&mut out, rest);
    let lines: Vec<&str> = out.lines().map(str::trim).collect();
    let mut text = String::with_capacity(out.len());
    let mut empty = 0;
    for line in lines {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty < 2 {
            text.push_str(line);
            text.push('\n');
        }
    }
    text.trim().to_owned()
}

/// Adds text of clean HTML: white space is one blank, and of entities only these are left.
fn words(out: &mut String, html: &str) {
    let text = html.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    for c in text.replace("&amp;", "&").chars() {
        match c {
            c if c.is_whitespace() && c != '\u{a0}' => {
                if !out.ends_with([' ', '\n', '\t']) {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_html_can_neither_run_nor_load_anything() {
        let pictures = Arc::new(HashMap::from([("a/b==".to_owned(), "data:image/png;base64,AAAA".to_owned())]));
        let hosted = "https://graph.microsoft.com/v1.0/chats/1/messages/2/hostedContents/a%2Fb%3D%3D/$value";
        let html = format!(
            "<script>alert(1)</script><p onclick=x style='background:url(https://evil)'>Hello <b>all</b></p>\
             <img src=\"{hosted}\" onerror=alert(1)><img src=\"https://evil/pixel.gif\" alt=pixel><img src='data:image/svg+xml,<svg>'>\
             <a href='javascript:alert(1)'>x</a><a href='data:text/html,x'>y</a><a href='https://example.com'>z</a>\
             <iframe src='https://evil'></iframe><svg><script>1</script></svg><emoji alt='&#128077;'></emoji><at id='0'>Jane</at>"
        );
        let clean = clean(&html, &pictures);
        for bad in ["script", "onclick", "onerror", "evil", "javascript", "text/html", "iframe", "svg", "style"] {
            assert!(!clean.contains(bad), "{bad} in {clean}");
        }
        for good in ["<b>all</b>", "data:image/png;base64,AAAA", "alt=\"pixel\"", "https://example.com", "👍", "Jane"]
        {
            assert!(clean.contains(good), "no {good} in {clean}");
        }
        assert!(head("</title><script>").contains("&lt;script&gt;"));
        assert_eq!(link("javascript:alert(1)", "a<b"), "a&lt;b");
    }

    #[test]
    fn html_reads_as_lines_of_text() {
        let html = "<html><head><style>p{}</style><title>T</title></head><body><p>One &amp; two</p>\r\n<p>three<br>four</p>\
                    <ul><li>a</li><li>b</li></ul><script>x()</script><p>&lt;end&gt;</p></body></html>";
        assert_eq!(text(html), "One & two\nthree\nfour\n- a\n- b\n<end>");
        assert_eq!(text("plain"), "plain");
        assert_eq!(text(""), "");
    }

    #[test]
    fn deep_and_long_html_is_no_trouble() {
        let deep = "<div>".repeat(20_000);
        assert!(clean(&deep, &Pictures::default()).len() < 1 << 20);
        assert_eq!(text(&deep), "");
        text(&"<p>é".repeat(400_000));
    }

    #[test]
    fn a_picture_is_known_by_its_first_bytes_alone() {
        assert!(data_address(b"\x89PNG\r\n").unwrap().starts_with("data:image/png;base64,"));
        assert_eq!(data_address(b"<svg onload=x>"), None);
        assert_eq!(data_address(b""), None);
        assert_eq!(picture_key("cid:img%401"), "img@1");
        assert_eq!(picture_key("%"), "%");
    }
}
