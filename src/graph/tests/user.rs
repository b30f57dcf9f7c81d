//! Users' sign-ins against the simulated one: every way, and every way to fail.

use std::time::Duration;

use url::Url;

use crate::error::{Error, ErrorKind};
use crate::graph::user::{CodeRequest, Loopback, PERSONAL, SignedIn};
use crate::graph::{Cloud, RetryOptions, UserOptions, UserSignIn};
use crate::sim::{SimHandle, SimOptions, SimTenant};

pub(super) const ALICE: &str = "alice@contoso.com";
pub(super) const AGAIN: &str = "tenantvault login contoso";

pub(super) async fn start(options: SimOptions) -> SimHandle {
    SimTenant::start(SimOptions { device_interval: 0, ..options }).await.unwrap()
}

pub(super) fn user_options(sim: &SimHandle) -> UserOptions {
    UserOptions {
        cloud: Cloud::custom(sim.graph_url(), sim.login_url()).unwrap(),
        tenant: sim.tenant_id().to_owned(),
        client_id: sim.client_id().to_owned(),
        scopes: ["User.Read", "Mail.Read", "Files.Read"].map(str::to_owned).to_vec(),
        again: AGAIN.to_owned(),
        retry: RetryOptions { base: Duration::from_millis(1), attempts: 3, ..RetryOptions::default() },
        reach: None,
    }
}

pub(super) fn sign_in(sim: &SimHandle) -> UserSignIn {
    UserSignIn::new(user_options(sim)).unwrap()
}

/// What a browser is led back to, when a user signs in (or declines) without a click.
async fn browse(address: &Url, user: &str, more: &str) -> Url {
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let answer = http.get(format!("{address}&sim_user={user}{more}")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 302, "{}", answer.text().await.unwrap());
    answer.headers()["location"].to_str().unwrap().parse().unwrap()
}

fn is_told_to_sign_in_again(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Permission, "{error:?}");
    assert!(error.hint().unwrap().ends_with(AGAIN), "{error:?}");
}

fn scopes(signed_in: &SignedIn) -> String {
    signed_in.access.granted().unwrap().join(" ")
}

#[tokio::test]
async fn a_device_code_that_is_typed_and_approved_signs_in() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    let device = sign_in.begin_device_code().await.unwrap();
    assert_eq!((device.user_code.len(), device.lifetime.as_secs()), (9, 900));
    assert!(device.address.ends_with("/devicelogin"));
    assert_eq!(sim.waiting_codes(), std::slice::from_ref(&device.user_code));
    let finish = sign_in.finish_device_code(&device);
    let (signed_in, ()) = tokio::join!(finish, async {
        // It is pending for a while.
        while sim.stats().requests_to("/token") < 3 {
            tokio::task::yield_now().await;
        }
        assert!(sim.answer_device(&device.user_code, ALICE, true));
    });
    assert_eq!(scopes(&signed_in.unwrap()), "User.Read Mail.Read Files.Read");
}

#[tokio::test]
async fn a_device_code_that_is_declined_too_old_or_unknown_is_explained() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    let device = sign_in.begin_device_code().await.unwrap();
    assert!(sim.answer_device(&device.user_code, ALICE, false));
    let error = sign_in.finish_device_code(&device).await.unwrap_err();
    assert!(error.to_string().contains("declined"), "{error}");
    is_told_to_sign_in_again(&error);
    let device = sign_in.begin_device_code().await.unwrap();
    sim.pass_time(Duration::from_secs(901));
    let error = sign_in.finish_device_code(&device).await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    is_told_to_sign_in_again(&error);
    assert!(!sim.answer_device("WRONGCODE", ALICE, true));
    // A code is good once.
    let device = sign_in.begin_device_code().await.unwrap();
    assert!(sim.answer_device(&device.user_code, ALICE, true));
    sign_in.finish_device_code(&device).await.unwrap();
    let error = sign_in.finish_device_code(&device).await.unwrap_err();
    assert!(error.to_string().contains("AADSTS70018"), "{error}");
}

#[tokio::test]
async fn an_app_that_is_no_public_client_is_told_what_to_allow() {
    let sim = start(SimOptions { public_client: false, ..SimOptions::tiny() }).await;
    let error = sign_in(&sim).begin_device_code().await.unwrap_err();
    assert!(error.to_string().contains("AADSTS7000218"), "{error}");
    assert!(error.hint().unwrap().contains("allow public client flows"));
}

#[tokio::test]
async fn the_browser_comes_back_to_this_machine_with_a_code() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    let loopback = Loopback::listen().await.unwrap();
    let request = sign_in.begin_code(loopback.redirect(), None, None).unwrap();
    let back = browse(&request.address, ALICE, "").await;
    assert!(back.as_str().starts_with(&format!("{}/?code=", loopback.redirect())), "{back}");
    let (signed_in, page) = tokio::join!(sign_in.finish_code(&request, &loopback), visit(&back));
    assert_eq!(page.0, 200);
    assert!(page.1.contains("You are signed in"), "{}", page.1);
    assert_eq!(scopes(&signed_in.unwrap()), "User.Read Mail.Read Files.Read");
}

async fn visit(page: &Url) -> (u16, String) {
    let local = page.as_str().replace("localhost", "127.0.0.1");
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().get(local).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// The address with another value of a query key.
fn with(page: &Url, key: &str, value: &str) -> Url {
    let pairs: Vec<(String, String)> = page.query_pairs().into_owned().collect();
    let mut changed = page.clone();
    changed.query_pairs_mut().clear().extend_pairs(pairs.iter().map(|(k, v)| (k, if k == key { value } else { v })));
    changed
}

#[tokio::test]
async fn whoever_else_knocks_is_shown_the_door_and_waiting_goes_on() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    let loopback = Loopback::listen().await.unwrap();
    let request = sign_in.begin_code(loopback.redirect(), None, None).unwrap();
    let back = browse(&request.address, ALICE, "").await;
    let (signed_in, ()) = tokio::join!(sign_in.finish_code(&request, &loopback), async {
        let foreign = with(&back, "state", "0000000000000000000000000000000000000000000");
        assert_eq!(visit(&foreign).await.0, 400);
        let refused = Url::parse(&format!("{}/?error=access_denied&state=x", loopback.redirect())).unwrap();
        assert_eq!(visit(&refused).await.0, 400);
        assert_eq!(visit(&back.join("/favicon.ico").unwrap()).await.0, 404);
        let port = back.port().unwrap();
        drop(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap());
        let mut rubbish = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut rubbish, &[0xff; 100_000]).await.unwrap_or_default();
        drop(rubbish);
        assert_eq!(visit(&back).await.0, 200);
    });
    signed_in.unwrap();
}

#[tokio::test]
async fn a_user_who_declines_in_the_browser_is_told_with_microsofts_code() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    let loopback = Loopback::listen().await.unwrap();
    let request = sign_in.begin_code(loopback.redirect(), None, None).unwrap();
    let back = browse(&request.address, ALICE, "&sim_answer=decline").await;
    let (signed_in, page) = tokio::join!(sign_in.finish_code(&request, &loopback), visit(&back));
    assert!(page.1.contains("failed"), "{}", page.1);
    let error = signed_in.unwrap_err();
    assert!(error.to_string().contains("declined the consent (AADSTS65004)"), "{error}");
    assert!(error.hint().unwrap().contains("/adminconsent?client_id="), "{error:?}");
}

async fn paste(sign_in: &UserSignIn, request: &CodeRequest, text: &str) -> Result<SignedIn, Error> {
    sign_in.finish_paste(request, text).await
}

#[tokio::test]
async fn the_last_pages_address_or_its_code_can_be_pasted() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    for whole in [true, false] {
        let request = sign_in.begin_paste(Some(ALICE), None).unwrap();
        let back = browse(&request.address, ALICE, "").await;
        assert!(back.path().ends_with("/common/oauth2/nativeclient"), "{back}");
        let code = back.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned();
        let text = if whole { format!("  <{back}>\r\n") } else { code };
        paste(&sign_in, &request, &text).await.unwrap();
        // Redeemed already.
        let error = paste(&sign_in, &request, &text).await.unwrap_err();
        assert!(error.to_string().contains("AADSTS54005"), "{error}");
    }
}

#[tokio::test]
async fn what_belongs_to_another_sign_in_or_to_none_is_refused() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    let request = sign_in.begin_paste(None, None).unwrap();
    let back = browse(&request.address, ALICE, "").await;
    let other = sign_in.begin_paste(None, None).unwrap();
    let error = paste(&sign_in, &other, back.as_str()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("another sign-in"), "{error}");
    // Without its state the verifier still does not fit.
    let code = back.query_pairs().find(|(key, _)| key == "code").unwrap().1.into_owned();
    let error = paste(&sign_in, &other, &code).await.unwrap_err();
    assert!(error.to_string().contains("AADSTS501481"), "{error}");
    for rubbish in
        ["", "short", "https://example.com/", "https://example.com/?x=1", "two words", "ä".repeat(40).as_str()]
    {
        let error = paste(&sign_in, &request, rubbish).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{rubbish}");
        assert!(error.hint().unwrap().contains(AGAIN));
    }
    sim.pass_time(Duration::from_secs(601));
    let error = paste(&sign_in, &request, back.as_str()).await.unwrap_err();
    assert!(error.to_string().contains("AADSTS70008"), "{error}");
}

#[tokio::test]
async fn a_password_signs_in_where_nothing_more_is_wanted() {
    let sim = start(SimOptions::tiny()).await;
    let sign_in = sign_in(&sim);
    let password = sim.password_of(ALICE);
    let access = sign_in.password(ALICE, &password, None).await.unwrap();
    assert_eq!(access.granted().unwrap().len(), 3);
    let refusal = async |user: &str, password: &str| sign_in.password(user, password, None).await.unwrap_err();
    let error = refusal(ALICE, "wrong").await;
    assert!(error.to_string().contains("user name or password is wrong (AADSTS50126)"), "{error}");
    assert!(!format!("{error:?} {}", error.chain()).contains(&password));
    assert!(refusal("nobody@contoso.com", "x").await.to_string().contains("AADSTS50034"));
    assert!(
        refusal("info@contoso.com", &sim.password_of("info@contoso.com")).await.to_string().contains("AADSTS50057")
    );
    for code in [50_072, 50_074, 50_076, 50_078, 50_079, 50_158] {
        sim.refuse_user(ALICE, Some(code));
        let error = refusal(ALICE, &password).await;
        assert!(error.to_string().contains(&format!("AADSTS{code}")), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("a password alone cannot work") && hint.ends_with(AGAIN), "{hint}");
    }
}

#[tokio::test]
async fn a_permission_that_nobody_consented_to_names_the_address_for_administrators() {
    let scopes = Some(vec!["User.Read".to_owned()]);
    let sim = start(SimOptions { scopes, ..SimOptions::tiny() }).await;
    let error = sign_in(&sim).password(ALICE, &sim.password_of(ALICE), None).await.unwrap_err();
    assert!(error.to_string().contains("AADSTS65001"), "{error}");
    let address = format!("{}/{}/adminconsent?client_id={}", sim.login_url(), sim.tenant_id(), sim.client_id());
    assert!(error.hint().unwrap().contains(&address), "{error:?}");
}

#[tokio::test]
async fn a_personal_account_signs_in_and_its_token_cannot_be_read() {
    let sim = start(SimOptions::tiny()).await;
    let options = UserOptions { tenant: PERSONAL.to_owned(), ..user_options(&sim) };
    let sign_in = UserSignIn::new(options.clone()).unwrap();
    let request = sign_in.begin_paste(None, None).unwrap();
    let back = browse(&request.address, ALICE, "").await;
    let signed_in = paste(&sign_in, &request, back.as_str()).await.unwrap();
    assert!(!signed_in.access.secret().contains('.'));
    // What the server said beside the token is all there is.
    assert_eq!(scopes(&signed_in), "User.Read Mail.Read Files.Read");
    let sites = UserSignIn::new(UserOptions { scopes: vec!["Sites.Read.All".into()], ..options }).unwrap();
    let error = sites.begin_device_code().await.unwrap_err();
    assert!(error.to_string().contains("AADSTS70011"), "{error}");
}
