//! The first words of a text, as the name of what has no other: a post, a message of Teams.

/// So many characters are kept.
const CHARACTERS: usize = 80;
/// Of a long text only so many bytes are looked at.
const LOOKED_AT: usize = 16_000;

/// Gives the first words of a text that may be HTML; empty if it has none.
pub(super) fn first_words(html: &str) -> String {
    let mut end = html.len().min(LOOKED_AT);
    while !html.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = String::new();
    let mut count = 0;
    for word in plain(html.get(..end).unwrap_or_default()).split_whitespace() {
        count += word.chars().count() + 1;
        if count > CHARACTERS + 1 {
            out.push_str(if out.is_empty() { "" } else { " " });
            out.push('…');
            break;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Takes away tags, and reads the commonest entities.
fn plain(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, from)) = rest.split_once('<') {
        out.push_str(before);
        match from.split_once('>') {
            // `a < b` is no tag.
            Some((tag, after)) if tag.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!')) => {
                out.push(' ');
                rest = after;
            }
            _ => {
                out.push('<');
                rest = from;
            }
        }
    }
    out.push_str(rest);
    for (entity, text) in
        [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
    {
        out = out.replace(entity, text);
    }
    out.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_and_words_stay() {
        for (html, words) in [
            ("<div><p>Hello &amp; <b>welcome</b></p>\r\n<img src=\"x\">all</div>", "Hello & welcome all"),
            ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
            ("<unclosed", "<unclosed"),
            ("", ""),
            ("\u{0}\u{7}", ""),
        ] {
            assert_eq!(first_words(html), words);
        }
        let long = first_words(&"wörd ".repeat(10_000));
        assert!(long.ends_with(" …") && long.chars().count() <= CHARACTERS + 2, "{long}");
        assert_eq!(first_words(&"x".repeat(500)), "…");
    }
}
