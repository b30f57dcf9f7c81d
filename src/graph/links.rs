//! Putting ids into URLs and taking links apart.
//!
//! Ids may hold `/`, `+`, `=` and other signs; inside a path segment each must be percent-encoded.

use std::fmt::Write as _;

use url::Url;

/// Percent-encodes a text so that it is one path segment, whatever it holds.
///
/// Letters, digits and `-._~!,` stay (site ids hold commas, ids often hold `!`); everything else is encoded byte by byte (RFC 3986,
/// section 2.1).
pub fn segment(id: &str) -> String {
    encode(id, b"-._~!,")
}

/// Percent-encodes a text for the value of a query option.
pub fn query_value(text: &str) -> String {
    encode(text, b"-._~,:$()*'")
}

/// Writes a text as an OData string literal, ready for a query option: quoted, quotes doubled, percent-encoded.
pub fn odata_string(text: &str) -> String {
    query_value(&format!("'{}'", text.replace('\'', "''")))
}

fn encode(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Says whether two URLs have the same origin: scheme, host and port.
pub(crate) fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin().is_tuple() && a.origin() == b.origin()
}

/// What may be shown of a URL: its path without query, as tokens and signatures stand in the query.
pub(crate) fn shown(url: &str) -> &str {
    let without_query = url.split(['?', '#']).next().unwrap_or_default();
    match without_query.split_once("://") {
        Some((_, rest)) => rest.split_once('/').map_or("", |(_, path)| path),
        None => without_query.trim_start_matches('/'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_path_segment() {
        assert_eq!(segment("AAMk+a/b=="), "AAMk%2Ba%2Fb%3D%3D");
        assert_eq!(segment("contoso.sharepoint.com,1a,2b"), "contoso.sharepoint.com,1a,2b");
        assert_eq!(segment("b!x?y#z%"), "b!x%3Fy%23z%25");
        assert_eq!(segment("é"), "%C3%A9");
    }

    #[test]
    fn an_encoded_segment_comes_back_from_the_url() {
        let id = "a/../b?c#d e\u{1}ü+%2F";
        let url = Url::parse(&format!("https://graph.example.com/v1.0/users/{}/x", segment(id))).unwrap();
        let path: Vec<_> = url.path_segments().unwrap().collect();
        assert_eq!(path.len(), 4);
        assert_eq!(path[2], segment(id));
    }

    #[test]
    fn quotes_in_literals_are_doubled() {
        assert_eq!(odata_string("O'Neil & co"), "'O''Neil%20%26%20co'");
    }

    #[test]
    fn what_is_shown_of_a_url_has_no_query() {
        assert_eq!(shown("https://h.example.com/a/b?token=secret"), "a/b");
        assert_eq!(shown("users/delta?$deltatoken=secret"), "users/delta");
        assert_eq!(shown("https://h.example.com?x=secret"), "");
    }
}
