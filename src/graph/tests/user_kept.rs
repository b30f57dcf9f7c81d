//! Going on with a sign-in: the token that is kept, replaced each time, and read by nobody else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::server::mail;
use super::user::{AGAIN, ALICE, sign_in, start, user_options};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::user::{FileKeeper, Held, Keeper, Kept, KeptIn, KeptSignIn, PERSONAL, Place, SignedIn};
use crate::graph::{Account, Caller, Client, ClientOptions, TokenSource, UserOptions, UserSignIn};
use crate::sim::{SimHandle, SimOptions};

fn keeper(folder: &Path) -> FileKeeper {
    FileKeeper::new(folder.join("sign-ins"), "contoso-1".into(), Place::File)
}

async fn keep(keeper: &FileKeeper, sign_in: &UserSignIn, signed_in: SignedIn) {
    let account = Account { id: "1".into(), name: ALICE.into() };
    let scopes = sign_in.scopes().to_vec();
    let kept = Kept { account, scopes, refresh: signed_in.refresh, claims: None, signed_in_us: 0 };
    keeper.hold().await.unwrap().save(&kept).await.unwrap();
}

async fn by_device(sim: &SimHandle, sign_in: &UserSignIn) -> SignedIn {
    let device = sign_in.begin_device_code().await.unwrap();
    assert!(sim.answer_device(&device.user_code, ALICE, true));
    sign_in.finish_device_code(&device).await.unwrap()
}

/// A tenant, and a user who signed in to it.
async fn signed_in(folder: &Path) -> (SimHandle, UserSignIn, FileKeeper) {
    let sim = start(SimOptions::tiny()).await;
    let (sign_in, keeper) = (sign_in(&sim), keeper(folder));
    let first = by_device(&sim, &sign_in).await;
    keep(&keeper, &sign_in, first).await;
    (sim, sign_in, keeper)
}

fn source(sign_in: &UserSignIn, keeper: &FileKeeper) -> KeptSignIn {
    KeptSignIn::new(sign_in.clone(), Arc::new(keeper.clone()))
}

async fn kept_token(keeper: &FileKeeper) -> String {
    keeper.hold().await.unwrap().load().await.unwrap().unwrap().refresh.0.to_string()
}

#[tokio::test]
async fn every_refresh_puts_the_new_token_in_the_old_ones_place() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, sign_in, keeper) = signed_in(folder.path()).await;
    let mut seen = std::collections::BTreeSet::from([kept_token(&keeper).await]);
    for _ in 0..3 {
        let access = source(&sign_in, &keeper).fetch(None).await.unwrap();
        assert_eq!(access.granted().unwrap().len(), 3);
        // The simulation honours each token once: the kept one is always the newest.
        assert!(seen.insert(kept_token(&keeper).await));
    }
}

#[tokio::test]
async fn many_who_refresh_at_once_lose_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, sign_in, keeper) = signed_in(folder.path()).await;
    // Each opens the lock file for itself, as processes do.
    let all = (0..8).map(|_| {
        let source = source(&sign_in, &keeper);
        async move { source.fetch(None).await }
    });
    futures::future::try_join_all(all).await.unwrap();
    source(&sign_in, &keeper).fetch(None).await.unwrap();
}

#[tokio::test]
async fn a_sign_in_that_has_ended_says_how_to_begin_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, sign_in, keeper) = signed_in(folder.path()).await;
    let refused = async |sign_in: &UserSignIn, keeper: &FileKeeper, code: u32| {
        let error = source(sign_in, keeper).fetch(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert!(error.to_string().contains(&format!("AADSTS{code}")), "{error}");
        assert!(error.hint().unwrap().ends_with(AGAIN), "{error:?}");
    };
    for code in [50_173, 70_000, 70_008, 700_082, 70_043, 50_076, 50_132] {
        sim.refuse_user(ALICE, Some(code));
        refused(&sign_in, &keeper, code).await;
    }
    sim.refuse_user(ALICE, None);
    // A refusal used nothing up.
    source(&sign_in, &keeper).fetch(None).await.unwrap();
    sim.pass_time(Duration::from_secs(91 * 24 * 3600));
    refused(&sign_in, &keeper, 700_082).await;
    sim.revoke_sign_ins();
    refused(&sign_in, &keeper, 50_173).await;
    let held = keeper.hold().await.unwrap();
    assert!(held.remove().await.unwrap() && !held.remove().await.unwrap());
    drop(held);
    let error = source(&sign_in, &keeper).fetch(None).await.unwrap_err();
    assert!(error.to_string().contains("Nobody is signed in"), "{error}");
    assert_eq!(error.hint(), Some(AGAIN));
}

fn client(sim: &SimHandle, sign_in: &UserSignIn, keeper: &FileKeeper, caller: Caller) -> Client {
    let cloud = crate::graph::Cloud::custom(sim.graph_url(), sim.login_url()).unwrap();
    Client::for_user(ClientOptions::new(cloud), Arc::new(source(sign_in, keeper)), caller).unwrap()
}

#[tokio::test]
async fn what_a_challenge_asks_for_is_passed_on_or_kept_for_the_next_sign_in() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, sign_in, keeper) = signed_in(folder.path()).await;
    let client = client(&sim, &sign_in, &keeper, Caller::Work);
    client.me().await.unwrap();
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
    sim.demand_claims(claims, false);
    client.get_json(mail("me/mailFolders/inbox")).await.unwrap();
    let further = r#"{"access_token":{"nbf":{"essential":true,"value":"2"}}}"#;
    sim.demand_claims(further, true);
    let error = client.get_json(mail("me/mailFolders/inbox")).await.unwrap_err();
    assert!(error.hint().unwrap().ends_with(AGAIN), "{error:?}");
    let kept = keeper.hold().await.unwrap().load().await.unwrap().unwrap();
    assert_eq!(kept.claims.as_deref(), Some(further));
    let request = sign_in.begin_paste(None, kept.claims.as_deref()).unwrap();
    assert!(request.address.query_pairs().any(|(key, value)| key == "claims" && value == further));
}

#[tokio::test]
async fn a_users_client_asks_for_the_users_own_by_me() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, sign_in, keeper) = signed_in(folder.path()).await;
    let work = client(&sim, &sign_in, &keeper, Caller::Work);
    let me = work.me().await.unwrap().unwrap();
    assert_eq!(me.name, ALICE);
    work.get_json(mail(&format!("users/{}/mailFolders/inbox", me.id))).await.unwrap();
    let other = work.get_json(mail("users/info@contoso.com/mailFolders/inbox")).await.unwrap_err();
    assert!(other.chain().contains("ErrorAccessDenied"), "{}", other.chain());

    let sign_in = UserSignIn::new(UserOptions { tenant: PERSONAL.to_owned(), ..user_options(&sim) }).unwrap();
    let first = by_device(&sim, &sign_in).await;
    keep(&keeper, &sign_in, first).await;
    let personal = client(&sim, &sign_in, &keeper, Caller::Personal);
    let inbox = format!("users/{}/mailFolders/inbox", me.id);
    // Before it is known who is signed in there is no `me` to put in its place.
    assert!(personal.get_json(mail(&inbox)).await.unwrap_err().chain().contains("MSA accounts"));
    assert_eq!(personal.me().await.unwrap(), Some(me));
    personal.get_json(mail(&inbox)).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn a_sign_in_is_kept_for_its_user_alone_and_refused_where_it_was_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (_sim, sign_in, keeper) = signed_in(folder.path()).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = folder.path().join("sign-ins");
    assert_eq!((mode(&keeper.path()), mode(&parent)), (0o600, 0o700));
    assert_eq!(keeper.kept_in().unwrap(), Some(KeptIn::File));
    let change = |path: &Path, bits| std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
    for (path, bad, good) in [(keeper.path(), 0o640, 0o600), (parent.clone(), 0o755, 0o700)] {
        change(&path, bad);
        let error = source(&sign_in, &keeper).fetch(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permission);
        assert!(error.to_string().contains("open to other users"), "{error}");
        assert!(error.hint().unwrap().contains("chmod"), "{error:?}");
        change(&path, good);
        source(&sign_in, &keeper).fetch(None).await.unwrap();
    }
    assert_eq!(mode(&keeper.path()), 0o600);
}

#[tokio::test]
async fn a_damaged_or_newer_file_is_named_without_what_stands_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, sign_in, keeper) = signed_in(folder.path()).await;
    let good = std::fs::read_to_string(keeper.path()).unwrap();
    let token = kept_token(&keeper).await;
    let told = |error: &Error| format!("{error:?} {} {}", error.chain(), error.hint().unwrap());
    for (text, kind) in [
        (good.replace("\"scopes\"", "\"scope\""), ErrorKind::Corrupt),
        (good[..good.len() / 2].to_owned(), ErrorKind::Corrupt),
        (good.replace("\"version\": 1", "\"version\": 2"), ErrorKind::UnsupportedVersion),
    ] {
        std::fs::write(keeper.path(), text).unwrap();
        let error = source(&sign_in, &keeper).fetch(None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(told(&error).contains("contoso-1.json") && !told(&error).contains(&token), "{error:?}");
    }
    // Signing in again, or out, puts it right.
    assert!(keeper.hold().await.unwrap().remove().await.unwrap());
}

#[tokio::test]
async fn no_debug_text_tells_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let (sim, sign_in, keeper) = signed_in(folder.path()).await;
    let kept = keeper.hold().await.unwrap().load().await.unwrap().unwrap();
    let device = sign_in.begin_device_code().await.unwrap();
    let request = sign_in.begin_paste(None, None).unwrap();
    let fresh = by_device(&sim, &sign_in).await;
    let text = format!("{kept:?} {device:?} {request:?} {sign_in:?} {fresh:?} {:?}", source(&sign_in, &keeper));
    let state = request.address.query_pairs().find(|(key, _)| key == "state").unwrap().1.into_owned();
    for secret in [kept.refresh.0.as_str(), &fresh.refresh.0, fresh.access.secret(), &device.user_code, &state] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// A keeper whose file cannot be written.
struct Full(FileKeeper);

#[async_trait]
impl Keeper for Full {
    async fn hold(&self) -> Result<Box<dyn Held>> {
        Ok(Box::new(FullHeld(self.0.hold().await?)))
    }
}

struct FullHeld(Box<dyn Held>);

#[async_trait]
impl Held for FullHeld {
    async fn load(&self) -> Result<Option<Kept>> {
        self.0.load().await
    }
    async fn save(&self, _: &Kept) -> Result<()> {
        Err(Error::new(ErrorKind::StorageFull, "No space left"))
    }
    async fn remove(&self) -> Result<bool> {
        self.0.remove().await
    }
}

#[tokio::test]
async fn a_token_that_cannot_be_kept_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let (_sim, sign_in, keeper) = signed_in(folder.path()).await;
    let error = KeptSignIn::new(sign_in, Arc::new(Full(keeper))).fetch(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}
