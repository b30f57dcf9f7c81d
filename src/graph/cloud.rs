//! Where Microsoft Graph lives: the national clouds, and free choice of both addresses.
//!
//! Source: Microsoft, "National cloud deployments" (Graph root and sign-in hosts).

use url::{Host, Url};

use crate::error::{Error, Result};

/// One Microsoft cloud: where Graph answers and where apps sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cloud {
    graph: Url,
    login: Url,
}

/// The clouds that have names: name, Graph root, sign-in host.
const NAMED: [(&str, &str, &str); 4] = [
    ("global", "https://graph.microsoft.com", "https://login.microsoftonline.com"),
    ("usgov", "https://graph.microsoft.us", "https://login.microsoftonline.us"),
    ("usgov-dod", "https://dod-graph.microsoft.us", "https://login.microsoftonline.us"),
    ("china", "https://microsoftgraph.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
];

impl Cloud {
    /// Finds a cloud by name: `global`, `usgov`, `usgov-dod` or `china`.
    pub fn named(name: &str) -> Result<Self> {
        let wanted = name.trim().to_ascii_lowercase();
        match NAMED.iter().find(|(known, ..)| *known == wanted) {
            Some((_, graph, login)) => Self::custom(graph, login),
            None => Err(Error::invalid(format!("There is no cloud named '{name}'"))
                .with_hint(format!("Use one of: {}", Self::names().collect::<Vec<_>>().join(", ")))),
        }
    }

    /// Lists the names that [`Cloud::named`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().map(|(name, ..)| *name)
    }

    /// Takes any Graph root and sign-in address, such as a simulated tenant's.
    ///
    /// Both must be `https://`, or `http://` on the loopback interface; [`crate::ErrorKind::InvalidInput`] otherwise.
    pub fn custom(graph: &str, login: &str) -> Result<Self> {
        Ok(Self { graph: root("Graph address", graph)?, login: root("sign-in address", login)? })
    }

    /// The root of Graph, ending in `/`, without the version.
    pub fn graph_root(&self) -> &Url {
        &self.graph
    }

    /// The root of the sign-in server, ending in `/`.
    pub fn login_root(&self) -> &Url {
        &self.login
    }

    /// The scope that client credentials ask for: the Graph root and `/.default`.
    pub fn default_scope(&self) -> String {
        self.scope(".default")
    }

    /// The token endpoint of a tenant (its GUID or one of its domains).
    pub fn token_url(&self, tenant: &str) -> Result<Url> {
        self.sign_in_url(tenant, "oauth2/v2.0/token")
    }

    /// The address at which an administrator consents to all permissions that the registration of an app lists.
    pub fn admin_consent_url(&self, tenant: &str, client_id: &str) -> Result<Url> {
        let mut url = self.sign_in_url(tenant, "adminconsent")?;
        url.query_pairs_mut().append_pair("client_id", client_id.trim());
        Ok(url)
    }

    /// The same, leading back to `redirect` with `admin_consent` and `tenant`, or with an error; and with `state` either way. The
    /// tenant may be `organizations`: then that of the administrator who consents.
    /// Source: Microsoft, "Admin consent on the Microsoft identity platform" (v2.0).
    ///
    /// # Errors
    /// If the tenant makes no address.
    pub fn admin_consent_request(&self, tenant: &str, client_id: &str, redirect: &str, state: &str) -> Result<Url> {
        let mut url = self.sign_in_url(tenant, "v2.0/adminconsent")?;
        url.query_pairs_mut()
            .append_pair("client_id", client_id.trim())
            .append_pair("scope", &self.default_scope())
            .append_pair("redirect_uri", redirect)
            .append_pair("state", state);
        Ok(url)
    }

    /// Whether people sign in at an address that Microsoft is known by, or that is on this machine.
    pub fn signs_in_at_microsoft(&self) -> bool {
        let mut known = NAMED.iter().filter_map(|(.., login)| Url::parse(login).ok());
        known.any(|known| known.origin() == self.login.origin()) || is_loopback(&self.login)
    }

    /// The name of a delegated permission, or of `.default`, as sign-ins ask for it.
    pub fn scope(&self, name: &str) -> String {
        format!("{}{name}", self.graph)
    }

    /// An address of the sign-in server below a tenant.
    pub(crate) fn sign_in_url(&self, tenant: &str, path: &str) -> Result<Url> {
        if tenant.is_empty() || !tenant.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
            return Err(Error::invalid(format!("'{tenant}' is no tenant id or domain")).with_hint(
                "Give the tenant's GUID (Entra admin center, Overview) or a domain such as contoso.onmicrosoft.com",
            ));
        }
        self.login
            .join(&format!("{tenant}/{path}"))
            .map_err(|e| Error::invalid(format!("Tenant '{tenant}' makes no sign-in address")).with_source(e))
    }
}

impl Default for Cloud {
    /// The global cloud (also US GCC).
    fn default() -> Self {
        let (_, graph, login) = NAMED[0];
        Self::custom(graph, login).expect("the table holds valid addresses")
    }
}

fn root(what: &str, text: &str) -> Result<Url> {
    let bad = |why: &str| Error::invalid(format!("The {what} '{text}' {why}"));
    let mut url = Url::parse(text.trim()).map_err(|e| bad("is no URL").with_source(e))?;
    if !is_safe(&url) {
        return Err(bad("is not safe").with_hint("Use https://; http:// is allowed for a loopback address only"));
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(bad("must be a plain root address"));
    }
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// Says whether secrets may travel to this address: https anywhere, http to this machine only.
pub(crate) fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Says whether the address is on this machine's loopback interface.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_named_cloud_has_its_own_scope() {
        let scopes: Vec<_> = Cloud::names().map(|n| Cloud::named(n).unwrap().default_scope()).collect();
        assert_eq!(
            scopes,
            [
                "https://graph.microsoft.com/.default",
                "https://graph.microsoft.us/.default",
                "https://dod-graph.microsoft.us/.default",
                "https://microsoftgraph.chinacloudapi.cn/.default"
            ]
        );
        assert_eq!(Cloud::named("Global").unwrap(), Cloud::default());
    }

    #[test]
    fn an_unknown_cloud_is_refused_with_the_known_names() {
        let error = Cloud::named("germany").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.hint().unwrap().contains("usgov-dod"));
    }

    #[test]
    fn plain_http_is_refused_unless_loopback() {
        let login = "https://login.example.com";
        for bad in ["http://graph.example.com", "ftp://graph.example.com", "http://127.0.0.1.example.com", "graph"] {
            assert_eq!(Cloud::custom(bad, login).unwrap_err().kind(), ErrorKind::InvalidInput, "{bad}");
        }
        for good in ["http://127.0.0.1:9000", "http://localhost:1/", "http://[::1]:8080", "https://graph.example.com"] {
            assert!(Cloud::custom(good, login).is_ok(), "{good}");
        }
    }

    #[test]
    fn the_tenant_stands_in_the_token_url() {
        let cloud = Cloud::default();
        let url = cloud.token_url("contoso.onmicrosoft.com").unwrap();
        assert_eq!(url.as_str(), "https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token");
        assert!(cloud.token_url("a/b").is_err());
        assert!(cloud.token_url("").is_err());
    }
}
