//! Sign-in: the token endpoint of the Microsoft identity platform, and the check of access tokens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

use super::login::Holder;
use super::options::SimOptions;
use super::reply::Reply;
use super::rng::{guid, hash, mix};
use super::state::DOMAIN;

/// What the sign-in knows.
pub(super) struct Auth {
    pub(super) tenant_id: String,
    pub(super) client_id: String,
    pub(super) secret: String,
    /// The application that restores.
    pub(super) restore_client_id: String,
    pub(super) restore_secret: String,
    pub(super) key: [u8; 32],
    token_url: String,
    base_url: String,
    lifetime: Duration,
    roles: Mutex<Vec<String>>,
    restore_roles: Mutex<Vec<String>>,
    certificate: Option<String>,
    secret_expired: AtomicBool,
    generation: AtomicU64,
    /// How far the sign-in's clock is ahead, in milliseconds.
    ahead: AtomicU64,
    demand: Mutex<Demand>,
}

/// What tokens must carry by now (continuous access evaluation).
#[derive(Debug, Default, Clone)]
struct Demand {
    claims: Option<String>,
    /// Only the user can satisfy it, by signing in.
    of_user: bool,
}

/// What a token allows.
#[derive(Debug, Default)]
pub(super) struct Access {
    /// Application roles, or the scopes of a user.
    pub(super) roles: Vec<String>,
    /// The id of the user who signed in; `None`: an app.
    pub(super) user: Option<String>,
    /// It is a personal account.
    pub(super) personal: bool,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

fn clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A failed sign-in, as the identity platform words it.
pub(super) fn refuse(status: u16, error: &str, code: u32, text: &str) -> Reply {
    let time = super::times::graph(clock().as_secs() as i64);
    let (trace, correlation) = (guid(u64::from(code)), guid(u64::from(code) + 1));
    let stamp = time.replace('T', " ");
    let body = json!({
        "error": error,
        "error_description": format!(
            "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}"
        ),
        "error_codes": [code],
        "timestamp": stamp,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
    });
    Reply { status, ..Reply::json(body) }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Auth {
    pub(super) fn new(options: &SimOptions, base_url: &str, tenant_id: &str) -> Self {
        let seed = hash(options.seed, &[0xa0]);
        let raw: Vec<u8> = (0..4u64).flat_map(|i| hash(seed, &[i]).to_le_bytes()).collect();
        let secret: String = B64.encode(&raw[..27]).replace(['-', '_'], "~");
        Self {
            tenant_id: tenant_id.into(),
            client_id: guid(mix(seed)),
            secret: format!("{}8Q~{}", &secret[..3], &secret[3..]),
            restore_client_id: guid(mix(seed ^ 0x7e57)),
            restore_secret: format!("re{}8Q~{}", &secret[5..7], &secret[7..]),
            key: *blake3::hash(&raw).as_bytes(),
            token_url: format!("{base_url}/{tenant_id}/oauth2/v2.0/token"),
            base_url: base_url.into(),
            lifetime: options.token_lifetime,
            roles: Mutex::new(options.roles.clone()),
            restore_roles: Mutex::new(options.restore_roles.clone()),
            certificate: options.certificate_pem.clone(),
            secret_expired: AtomicBool::new(false),
            generation: AtomicU64::new(0),
            ahead: AtomicU64::new(0),
            demand: Mutex::default(),
        }
    }

    /// The time of the sign-in.
    pub(super) fn now(&self) -> Duration {
        clock() + Duration::from_millis(self.ahead.load(Ordering::Relaxed))
    }

    /// Moves the sign-in's clock on.
    pub(super) fn pass(&self, time: Duration) {
        self.ahead.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// From now on a token must have been asked for with these claims; `of_user`: and the user must have been there.
    pub(super) fn demand(&self, claims: &str, of_user: bool) {
        *lock(&self.demand) = Demand { claims: Some(claims.to_owned()), of_user };
    }

    /// Whether only the user can get the next token.
    pub(super) fn wants_the_user(&self) -> bool {
        lock(&self.demand).of_user
    }

    /// Grants application roles, as an administrator does.
    pub(super) fn grant_roles(&self, roles: &[&str]) {
        *lock(&self.roles) = roles.iter().map(ToString::to_string).collect();
    }

    /// From now on the secret is refused as expired.
    pub(super) fn expire_secret(&self) {
        self.secret_expired.store(true, Ordering::Relaxed);
    }

    /// From now on all tokens given so far are refused.
    pub(super) fn revoke_tokens(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn knows_tenant(&self, tenant: &str) -> bool {
        tenant.eq_ignore_ascii_case(&self.tenant_id)
            || tenant.eq_ignore_ascii_case(DOMAIN)
            || tenant.eq_ignore_ascii_case("contoso.onmicrosoft.com")
    }

    pub(super) fn check_tenant(&self, tenant: &str) -> Result<(), Reply> {
        if self.knows_tenant(tenant) { Ok(()) } else { Err(Self::no_tenant(tenant)) }
    }

    fn no_tenant(tenant: &str) -> Reply {
        let text = format!(
            "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into \
             the correct cloud. Check with your subscription administrator, this may happen if there are no active \
             subscriptions for the tenant."
        );
        refuse(400, "invalid_request", 90_002, &text)
    }

    /// `GET /{tenant}/v2.0/.well-known/openid-configuration`
    pub(super) fn metadata(&self, tenant: &str) -> Reply {
        if !self.knows_tenant(tenant) {
            let mut reply = Self::no_tenant(tenant);
            if let super::reply::Payload::Json(body) = &mut reply.payload {
                body["error"] = "invalid_tenant".into();
            }
            return reply;
        }
        let root = format!("{}/{}", self.base_url, self.tenant_id);
        Reply::json(json!({
            "token_endpoint": self.token_url,
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{root}/discovery/v2.0/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "issuer": format!("{root}/v2.0"),
            "authorization_endpoint": format!("{root}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{root}/oauth2/v2.0/devicecode"),
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
            "msgraph_host": "graph.microsoft.com",
        }))
    }

    /// `POST /{tenant}/oauth2/v2.0/token`
    pub(super) fn token(&self, tenant: &str, body: &[u8]) -> Reply {
        self.grant(tenant, body).unwrap_or_else(|refusal| refusal)
    }

    fn grant(&self, tenant: &str, body: &[u8]) -> Result<Reply, Reply> {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(body).into_owned().collect();
        let field = |name: &str| form.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str());
        self.check_tenant(tenant)?;
        let grant = field("grant_type").unwrap_or_default();
        if grant != "client_credentials" {
            let text = format!("The app requested an unsupported grant type '{grant}'.");
            return Err(refuse(400, "unsupported_grant_type", 70_003, &text));
        }
        let client = field("client_id").unwrap_or_default();
        if client != self.restore_client_id {
            self.check_client(client)?;
        }
        self.check_scope(field("scope").unwrap_or_default())?;
        match (field("client_secret"), field("client_assertion")) {
            (Some(secret), _) if client == self.restore_client_id && secret == self.restore_secret => {}
            (Some(secret), _) => self.check_secret(secret)?,
            (None, Some(assertion)) => self.check_assertion(field("client_assertion_type"), assertion)?,
            (None, None) => {
                let text =
                    "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
                return Err(refuse(401, "invalid_client", 7_000_218, text));
            }
        }
        Ok(Reply::json(json!({
            "token_type": "Bearer",
            "expires_in": self.lifetime.as_secs(),
            "ext_expires_in": self.lifetime.as_secs(),
            "access_token": self.issue(client, field("claims")),
        }))
        .header("Cache-Control", "no-store, no-cache"))
    }

    pub(super) fn check_client(&self, client: &str) -> Result<(), Reply> {
        if client == self.client_id {
            return Ok(());
        }
        let text = format!(
            "Application with identifier '{client}' was not found in the directory 'Contoso'. This can happen if \
             the application has not been installed by the administrator of the tenant or consented to by any user \
             in the tenant. You may have sent your authentication request to the wrong tenant."
        );
        Err(refuse(400, "unauthorized_client", 700_016, &text))
    }

    fn check_scope(&self, scope: &str) -> Result<(), Reply> {
        let resource = scope.strip_suffix("/.default");
        match resource {
            Some(r) if r == "https://graph.microsoft.com" || r == self.base_url => Ok(()),
            Some(r) => {
                let text = format!("The resource principal named {r} was not found in the tenant named Contoso.");
                Err(refuse(400, "invalid_resource", 500_011, &text))
            }
            None => {
                let text = format!(
                    "The provided request must include a 'scope' input parameter. The provided value for the input \
                     parameter 'scope' is not valid. The scope {scope} is not valid."
                );
                Err(refuse(400, "invalid_scope", 70_011, &text))
            }
        }
    }

    fn check_secret(&self, secret: &str) -> Result<(), Reply> {
        if secret != self.secret {
            let text = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret \
                 value, not the client secret ID, for a secret added to app '{}'.",
                self.client_id
            );
            return Err(refuse(401, "invalid_client", 7_000_215, &text));
        }
        if self.secret_expired.load(Ordering::Relaxed) {
            let text = format!("The provided client secret keys for app '{}' are expired.", self.client_id);
            return Err(refuse(401, "invalid_client", 7_000_222, &text));
        }
        Ok(())
    }

    fn check_assertion(&self, kind: Option<&str>, assertion: &str) -> Result<(), Reply> {
        let bad = |code, text: &str| Err(refuse(401, "invalid_client", code, text));
        if kind != Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") {
            return bad(50_027, "JWT token is invalid or malformed.");
        }
        let parts: Vec<&str> = assertion.split('.').collect();
        let json = |text: &str| B64.decode(text).ok().and_then(|b| serde_json::from_slice::<Value>(&b).ok());
        let (Some(header), Some(claims), 3) =
            (parts.first().and_then(|p| json(p)), parts.get(1).and_then(|p| json(p)), parts.len())
        else {
            return bad(50_027, "JWT token is invalid or malformed.");
        };
        let alg = header["alg"].as_str().unwrap_or_default();
        if !matches!(alg, "PS256" | "RS256") || (header["x5t#S256"].is_null() && header["x5t"].is_null()) {
            return bad(700_027, "Client assertion failed signature validation: no x5t or unsupported algorithm.");
        }
        if claims["aud"] != self.token_url.as_str() {
            return bad(700_023, "Client assertion audience claim does not match Realm issuer.");
        }
        if claims["iss"] != self.client_id.as_str() || claims["sub"] != self.client_id.as_str() {
            return bad(700_021, "Client assertion application identifier doesn't match 'client_id' parameter.");
        }
        let (now, exp) = (self.now().as_secs(), claims["exp"].as_u64().unwrap_or(0));
        if exp < now || exp > now + 86_400 || claims["nbf"].as_u64().is_some_and(|nbf| nbf > now + 300) {
            return bad(700_024, "Client assertion is not within its valid time range.");
        }
        if claims["jti"].as_str().unwrap_or_default().is_empty() {
            return bad(50_027, "JWT token is invalid or malformed: no jti.");
        }
        match &self.certificate {
            Some(pem) if !signed_by(pem, alg, assertion) => {
                bad(700_027, "Client assertion failed signature validation. The key was not found.")
            }
            _ => Ok(()),
        }
    }

    /// Makes an app's access token.
    fn issue(&self, client: &str, claims: Option<&str>) -> String {
        let roles = if client == self.restore_client_id { &self.restore_roles } else { &self.roles };
        self.jwt(
            json!({
                "idtyp": "app",
                "oid": guid(mix(self.generation.load(Ordering::Relaxed))),
                "appid": client,
                "roles": *lock(roles),
            }),
            claims,
        )
    }

    /// Makes a user's access token, and says for how many seconds it is good. Those of personal accounts cannot be read.
    pub(super) fn issue_to(&self, holder: &Holder, claims: Option<&str>) -> (String, u64) {
        let scopes: Vec<&str> = holder.scope.split_whitespace().filter(|scope| *scope != "offline_access").collect();
        let names: Vec<&str> = scopes.iter().map(|scope| scope.rsplit('/').next().unwrap_or(scope)).collect();
        let token = self.jwt(
            json!({"idtyp": "user", "oid": holder.id, "upn": holder.upn, "scp": names.join(" "), "xms_personal": holder.personal}),
            claims,
        );
        let token = if holder.personal { format!("EwB{}", B64.encode(token)) } else { token };
        (token, self.lifetime.as_secs())
    }

    /// Makes an access token in the shape of a JWT.
    fn jwt(&self, about: Value, claims: Option<&str>) -> String {
        let now = self.now();
        let exp = now + self.lifetime;
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": "simulated", "x5t": "simulated"});
        let mut all = json!({
            "aud": "https://graph.microsoft.com",
            "iss": format!("https://sts.windows.net/{}/", self.tenant_id),
            "iat": now.as_secs(), "nbf": now.as_secs(), "exp": exp.as_secs(),
            "app_displayname": "Tenantvault", "appid": self.client_id,
            "tid": self.tenant_id, "ver": "1.0",
            "xms_sim": [exp.as_millis() as u64, self.generation.load(Ordering::Relaxed), claims],
        });
        for (name, value) in about.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        let body = format!("{}.{}", B64.encode(header.to_string()), B64.encode(all.to_string()));
        format!("{body}.{}", self.sign(&body))
    }

    fn sign(&self, body: &str) -> String {
        let mut signature = [0u8; 256];
        blake3::Hasher::new_keyed(&self.key).update(body.as_bytes()).finalize_xof().fill(&mut signature);
        B64.encode(signature)
    }

    /// Checks the `Authorization` header; says what the token allows.
    pub(super) fn check(&self, header: Option<&str>) -> Result<Access, Reply> {
        let realm = format!("Bearer realm=\"\", authorization_uri=\"{}/common\"", self.base_url);
        let refuse = |text: &str| {
            Err(Reply::fail(401, "InvalidAuthenticationToken", text).header("WWW-Authenticate", realm.clone()))
        };
        let Some(token) = header.and_then(|h| h.split_once(' ')).filter(|(s, _)| s.eq_ignore_ascii_case("bearer"))
        else {
            return refuse("Access token is empty.");
        };
        let opaque = token.1.strip_prefix("EwB").filter(|_| !token.1.contains('.'));
        let token = match opaque.map(|text| B64.decode(text).map(String::from_utf8)) {
            Some(Ok(Ok(inner))) => inner,
            _ => token.1.to_owned(),
        };
        let Some((body, signature)) = token.rsplit_once('.') else {
            return refuse("CompactToken parsing failed with error code: 80049217");
        };
        if self.sign(body) != signature {
            return refuse("Signature validation failed.");
        }
        let claims = body.split('.').nth(1).and_then(|c| B64.decode(c).ok());
        let claims: Value = claims.and_then(|c| serde_json::from_slice(&c).ok()).unwrap_or_default();
        let fresh = claims["xms_sim"][1].as_u64() == Some(self.generation.load(Ordering::Relaxed));
        if !fresh || claims["xms_sim"][0].as_u64().unwrap_or(0) <= self.now().as_millis() as u64 {
            return refuse("Lifetime validation failed, the token is expired.");
        }
        // A token from before the demand met nothing.
        let demand = lock(&self.demand).clone();
        if let Some(wanted) = demand.claims.filter(|wanted| claims["xms_sim"][2] != wanted.as_str()) {
            let wanted = base64::engine::general_purpose::STANDARD.encode(wanted);
            let text = "Continuous access evaluation resulted in challenge with result: InteractionRequired and code: LocationConditionEvaluationSatisfied";
            let asks = format!("{realm}, error=\"insufficient_claims\", claims=\"{wanted}\"");
            return Err(Reply::fail(401, "InvalidAuthenticationToken", text).header("WWW-Authenticate", asks));
        }
        let words =
            |value: &Value| value.as_str().into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect();
        let roles = match &claims["roles"] {
            Value::Array(roles) => roles.iter().filter_map(|r| r.as_str().map(str::to_string)).collect(),
            _ => words(&claims["scp"]),
        };
        let user = (claims["idtyp"] == "user").then(|| claims["oid"].as_str().unwrap_or_default().to_owned());
        Ok(Access { roles, user, personal: claims["xms_personal"] == true })
    }
}

/// Checks an assertion's signature against the registered certificate or key.
fn signed_by(pem: &str, alg: &str, assertion: &str) -> bool {
    use jsonwebtoken::{Algorithm, DecodingKey, crypto};
    let Ok(key) = DecodingKey::from_rsa_pem(pem.as_bytes()) else { return false };
    let Some((message, signature)) = assertion.rsplit_once('.') else { return false };
    let alg = if alg == "PS256" { Algorithm::PS256 } else { Algorithm::RS256 };
    crypto::verify(signature, message.as_bytes(), &key, alg).unwrap_or(false)
}
