//! A request as Graph reads it: path segments, query options, headers.

use axum::http::HeaderMap;
use bytes::Bytes;

use super::reply::Reply;

/// A request, path and query decoded.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query as sent.
    pub(super) target: String,
    /// Segments after the version, decoded; `mailFolders('id')` is two, `delta(token='x')` one and an option.
    pub(super) segments: Vec<String>,
    options: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// How many parts the batch has that it is one of; 1: it came alone.
    pub(super) parts: usize,
}

fn decode(text: &str) -> String {
    // `+` stands for a blank in queries only.
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(format!("k={}", text.replace('&', "%26")).as_bytes())
        .next()
        .map_or(String::new(), |(_, v)| v.into_owned())
}

impl Request {
    /// Takes a request apart. `path` starts after the version.
    pub(super) fn new(method: &str, target: &str, path: &str, headers: HeaderMap, body: Bytes) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut options: Vec<_> = url::form_urlencoded::parse(query.as_bytes())
            .map(|(k, v)| (k.to_ascii_lowercase(), v.into_owned()))
            .collect();
        let mut segments = Vec::new();
        for raw in path.split('/').filter(|s| !s.is_empty()) {
            let text = decode(raw);
            match text.strip_suffix(')').and_then(|t| t.split_once('(')) {
                None => segments.push(text),
                Some((name, inner)) => {
                    segments.push(name.to_string());
                    match inner.split_once('=').filter(|_| !inner.starts_with('\'')) {
                        Some((key, value)) => options.push((key.to_ascii_lowercase(), unquoted(value))),
                        None if !inner.is_empty() => segments.push(unquoted(inner)),
                        None => {}
                    }
                }
            }
        }
        Self { method: method.into(), target: target.into(), segments, options, headers, body, parts: 1 }
    }

    /// A query option; the leading `$` may be missing, as Graph allows.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        let bare = name.trim_start_matches('$');
        let found = self.options.iter().find(|(k, _)| k == name || (name.starts_with('$') && k == bare));
        found.map(|(_, v)| v.as_str())
    }

    /// All query options, their names as they came.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// A field of a form in the body.
    pub(super) fn form(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(&self.body);
        fields.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Refuses `$` options other than those named.
    pub(super) fn allow(&self, names: &[&str]) -> Result<(), Reply> {
        for (key, _) in &self.options {
            if key.starts_with('$') && !names.contains(&key.as_str()) {
                let message = format!("The query parameter '{key}' is not supported.");
                return Err(Reply::fail(400, "BadRequest", &message));
            }
        }
        Ok(())
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn preferences(&self) -> impl Iterator<Item = &str> {
        let all = self.headers.get_all("prefer").into_iter();
        all.filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim)
    }

    /// Whether a preference is stated.
    pub(super) fn prefers(&self, preference: &str) -> bool {
        self.preferences().any(|p| p.eq_ignore_ascii_case(preference))
    }

    /// Whether beta was asked for.
    pub(super) fn is_beta(&self) -> bool {
        self.target.starts_with("/beta/")
    }

    /// Whether ids are to be immutable.
    pub(super) fn immutable_ids(&self) -> bool {
        self.preferences().any(|p| p.eq_ignore_ascii_case("IdType=\"ImmutableId\""))
    }

    /// The zone in which times are to be told.
    pub(super) fn time_zone(&self) -> Option<&str> {
        self.preferences().find_map(|p| p.strip_prefix("outlook.timezone=")).map(|zone| zone.trim_matches('"'))
    }

    /// Rows of a page: the preference, else `usual`; never above `most`.
    pub(super) fn page_size(&self, usual: usize, most: usize) -> usize {
        let asked = self.preferences().find_map(|p| p.strip_prefix("odata.maxpagesize=")?.parse().ok());
        asked.unwrap_or(usual).clamp(1, most)
    }

    /// `$top`, refused when it is no number.
    pub(super) fn top(&self) -> Result<Option<usize>, Reply> {
        let Some(text) = self.option("$top") else { return Ok(None) };
        let bad = || Reply::fail(400, "BadRequest", &format!("Invalid value '{text}' for $top query option found."));
        text.parse().map(Some).map_err(|_| bad())
    }

    /// Properties asked for; `None`: the usual ones. Unknown names are refused.
    pub(super) fn select(&self, kind: &str, known: &[&str]) -> Result<Fields, Reply> {
        Fields::parse(self.option("$select"), kind, known)
    }
}

fn unquoted(text: &str) -> String {
    text.trim_matches('\'').replace("''", "'")
}

/// The properties an answer carries.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(pub(super) Option<Vec<String>>);

impl Fields {
    pub(super) fn parse(text: Option<&str>, kind: &str, known: &[&str]) -> Result<Self, Reply> {
        let Some(text) = text.filter(|t| !t.trim().is_empty()) else { return Ok(Self(None)) };
        let mut names = Vec::new();
        for name in text.split(',').map(str::trim) {
            let Some(exact) = known.iter().find(|k| k.eq_ignore_ascii_case(name)) else {
                let message = format!("Could not find a property named '{name}' on type 'microsoft.graph.{kind}'.");
                return Err(Reply::fail(400, "RequestBroker--ParseUri", &message));
            };
            names.push((*exact).to_string());
        }
        Ok(Self(Some(names)))
    }

    /// Whether a property that is usually there is wanted.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|n| n == name))
    }

    /// Whether a property that comes only when asked for is wanted.
    pub(super) fn asks(&self, name: &str) -> bool {
        self.0.as_ref().is_some_and(|names| names.iter().any(|n| n == name))
    }

    /// As text, to be frozen into a delta token.
    pub(super) fn text(&self) -> String {
        self.0.as_ref().map_or(String::new(), |names| names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Request {
        Request::new("GET", path, path, HeaderMap::new(), Bytes::new())
    }

    #[test]
    fn paths_read_in_every_spelling_that_graph_knows() {
        let r = get("users('a%40b.c')/mailFolders('AQ%3D%3D')/messages/delta?$select=id&$top=5");
        assert_eq!(r.segments, ["users", "a@b.c", "mailFolders", "AQ==", "messages", "delta"]);
        assert_eq!((r.option("$select"), r.top().ok().flatten()), (Some("id"), Some(5)));
        let r = get("drives/b!x/root/delta(token='ab''c')?select=id");
        assert_eq!(r.segments, ["drives", "b!x", "root", "delta"]);
        assert_eq!((r.option("token"), r.option("$select")), (Some("ab'c"), Some("id")));
    }

    #[test]
    fn unknown_options_and_properties_are_refused() {
        assert!(get("users?$foo=1").allow(&["$top"]).is_err());
        assert!(get("users?$select=id,nonsense").select("user", &["id"]).is_err());
        assert!(get("users?$top=x").top().is_err());
    }
}
