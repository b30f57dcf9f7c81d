//! URLs and what becomes of them.

use super::*;
use crate::ErrorKind;
use crate::storage::Credentials;

fn with(credentials: &[(&str, &str)]) -> StorageOptions {
    StorageOptions { credentials: credentials.iter().copied().collect(), ..StorageOptions::default() }
}

fn remote_of(url: &str, credentials: &[(&str, &str)]) -> Remote {
    match parse(url, &with(credentials)) {
        Ok(Location::Remote(remote)) => remote,
        other => panic!("{url}: {other:?}"),
    }
}

fn refusal(url: &str, credentials: &[(&str, &str)]) -> Error {
    let error = parse(url, &with(credentials)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{url}");
    error
}

const KEYS: &[(&str, &str)] = &[("access_key_id", "AKIA"), ("secret_access_key", "s3cr3t")];

#[test]
fn folders_are_named_by_path_or_url() {
    for (url, path) in [
        ("/srv/backup", "/srv/backup"),
        ("backup", "backup"),
        ("./a:b", "./a:b"),
        ("C:\\backup", "C:\\backup"),
        ("fs:/srv/backup", "/srv/backup"),
        ("fs:///srv/backup", "/srv/backup"),
        ("fs:backup", "backup"),
        ("file:///srv/my%20backup", "/srv/my backup"),
        ("file://localhost/srv", "/srv"),
    ] {
        assert_eq!(parse(url, &with(&[])).unwrap(), Location::Folder(path.into()), "{url}");
    }
    refusal("", &[]);
    refusal("fs:", &[]);
    refusal("fs://server/share", &[]);
    assert_eq!(parse("memory:", &with(&[])).unwrap(), Location::Memory);
}

#[test]
fn services_get_their_settings() {
    let s3 = remote_of("s3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu-1", KEYS);
    for (key, value) in [
        ("bucket", "bucket"),
        ("root", "/a/b"),
        ("endpoint", "http://127.0.0.1:9000"),
        ("region", "eu-1"),
        ("secret_access_key", "s3cr3t"),
        ("disable_config_load", "true"),
        ("disable_ec2_metadata", "true"),
    ] {
        assert_eq!(s3.settings.get(key).map(String::as_str), Some(value), "{key}");
    }
    let azure = remote_of("azblob://box?account=acme", &[("account_key", "a2V5")]);
    assert_eq!(azure.settings["endpoint"], "https://acme.blob.core.windows.net");
    let gcs = remote_of("gcs://bucket", &[("credential", "{\"type\":\"authorized_user\"}")]);
    assert_eq!(gcs.settings["credential"], "eyJ0eXBlIjoiYXV0aG9yaXplZF91c2VyIn0=");
    let dav = remote_of("webdav+http://me:pa%2Fss@host:8080/dav/x%20y", &[]);
    assert_eq!(dav.settings["endpoint"], "http://host:8080");
    assert_eq!((dav.settings["username"].as_str(), dav.settings["password"].as_str()), ("me", "pa/ss"));
    assert_eq!(dav.settings["root"], "/dav/x y");
    let sftp = remote_of("sftp://me@host:2222/srv?key=/k", &[]);
    assert_eq!((sftp.settings["endpoint"].as_str(), sftp.settings["user"].as_str()), ("ssh://host:2222", "me"));
}

#[test]
fn an_unknown_scheme_lists_the_known_ones() {
    let error = refusal("ftp://host/x", &[]);
    assert!(error.to_string().contains("\"ftp:\""));
    for scheme in ["fs:", "memory:", "s3://", "azblob://", "gcs://", "webdav://", "sftp://"] {
        assert!(error.hint().unwrap().contains(scheme), "{scheme}");
    }
}

#[test]
fn an_unknown_key_names_the_nearest_valid_one() {
    let error = refusal("s3://bucket?regoin=x", KEYS);
    assert!(error.to_string().contains("regoin") && error.hint().unwrap().contains("Did you mean region?"), "{error}");
    let error = refusal("s3://bucket", &[("secret_key", "x")]);
    assert!(error.hint().unwrap().contains("secret_access_key"));
    refusal("s3://bucket?anonymous=yes", &[]);
    refusal("webdav://host/?endpoint=x", &[]);
}

#[test]
fn missing_credentials_are_said_not_searched_for() {
    assert!(refusal("s3://bucket", &[]).to_string().contains("secret_access_key"));
    assert!(refusal("azblob://box?account=a", &[]).to_string().contains("account_key"));
    assert!(refusal("gcs://bucket", &[]).to_string().contains("credential"));
    refusal("azblob://box", &[("account_key", "a2V5")]);
    remote_of("s3://bucket?anonymous=true", &[]);
    remote_of("s3://bucket?instance_metadata=true", &[]);
}

#[test]
fn no_secret_in_a_url_reaches_a_message() {
    for url in [
        "s3://AKIA:hunter2@bucket/x",
        "s3://bucket?secret_access_key=hunter2",
        "sftp://me:hunter2@host/x",
        "webdav://me:hunter2@/x",
        "webdav://me:hunter2@ho st/x",
        "webdav://me:hun/ter2@host/x?a=hunter2",
        "webdav://me:hunter2@host/../../x?b",
        "ftp://me:hunter2@host",
    ] {
        let error = refusal(url, &[]);
        let shown = format!("{error} {error:?} {:?}", error.hint());
        assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{shown}");
    }
    let dav = remote_of("webdav://me:hunter2@host/dav", &[]);
    assert_eq!(dav.place, "webdav://host/dav");
    assert!(!format!("{dav:?}").contains("hunter2"));
    let options = StorageOptions { credentials: Credentials::new(), ..StorageOptions::default() };
    assert!(!format!("{options:?}").contains("hunter2"));
}

#[test]
fn what_could_lead_elsewhere_than_it_seems_is_refused() {
    let twice = "s3://bucket/a?endpoint=http://93.184.216.34&endpoint=http://127.0.0.1:9000";
    assert!(refusal(twice, KEYS).to_string().contains("twice"));
    for account in ["127.0.0.1:1/%23", "a.b", "a%20b", "A", "%3F"] {
        let error = refusal(&format!("azblob://c/x?account={account}"), &[("account_key", "a2V5")]);
        assert!(error.to_string().contains("Azure"), "{account}: {error}");
    }
    remote_of("azblob://c/x?account=backup1", &[("account_key", "a2V5")]);
}

#[test]
fn a_google_credential_names_no_file_program_or_address() {
    let open = |credential: &str| {
        let credentials = crate::storage::Credentials::new().with("credential", credential);
        parse("gcs://bucket/x", &StorageOptions { credentials, ..StorageOptions::default() })
    };
    open(r#"{"type": "service_account", "client_email": "a@b.c", "private_key": "x"}"#).expect("a key");
    use base64::Engine as _;
    let outside = r#"{"type": "external_account", "audience": "x", "subject_token_type": "x", "token_url": "https://example.com",
        "credential_source": {"file": "/etc/passwd", "format": {"type": "text"}}}"#;
    for credential in [outside.to_owned(), base64::engine::general_purpose::STANDARD.encode(outside)] {
        let refused = open(&credential).expect_err("it reads a file");
        assert_eq!(refused.kind(), crate::ErrorKind::InvalidInput);
    }
}

#[test]
fn a_region_is_a_word_and_no_address() {
    let credentials = crate::storage::Credentials::new().with("access_key_id", "id").with("secret_access_key", "key");
    let options = StorageOptions { credentials, ..StorageOptions::default() };
    for region in ["", "x@127.0.0.1/?", "x/", "a%20b"] {
        parse(&format!("s3://bucket/x?region={region}"), &options).expect_err(region);
    }
    parse("s3://bucket/x?region=eu-central-1", &options).expect("a region");
}
