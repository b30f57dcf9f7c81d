//! Reports and notices: each event is told once, to whoever wants to know, and what cannot be sent is tried again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode as Status};
use hmac::{Hmac, KeyInit as _, Mac as _};
use mail_parser::MessageParser;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::{Bench, PLENTY, id};
use crate::server::auth::Role;
use crate::server::db::{JobKind, JobState, NewJob};
use crate::server::id::Id;
use crate::server::notices;

const MINUTE_US: i64 = 60_000_000;
const HOUR_US: i64 = 60 * MINUTE_US;
pub(super) const DAY_US: i64 = 24 * HOUR_US;

/// A server whose clock the test sets, and that does nothing by itself.
pub(super) async fn bench_at(time: &str) -> (Bench, Arc<AtomicI64>) {
    let now = Arc::new(AtomicI64::new(us(time)));
    let clock = {
        let now = now.clone();
        Arc::new(move || now.load(Ordering::Relaxed))
    };
    (Bench::with(|options| options.role = crate::server::ProcessRole::Web, Some(clock)).await, now)
}

fn us(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect(text).as_microsecond()
}

pub(super) async fn pass(bench: &Bench) {
    notices::pass(bench.server()).await.expect("a pass");
}

/// A mail server: takes all mails, keeps them as they came. Gives its port.
async fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let mails = Arc::new(Mutex::new(Vec::new()));
    let kept = mails.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let kept = kept.clone();
            tokio::spawn(async move {
                let (from, mut to) = socket.split();
                let mut lines = BufReader::new(from).lines();
                to.write_all(b"220 mail\r\n").await?;
                let mut mail = None::<String>;
                while let Some(line) = lines.next_line().await? {
                    if let Some(text) = &mut mail {
                        if line == "." {
                            kept.lock().expect("free").push(mail.take().unwrap_or_default());
                            to.write_all(b"250 taken\r\n").await?;
                        } else {
                            text.push_str(&line);
                            text.push_str("\r\n");
                        }
                        continue;
                    }
                    let answer: &[u8] = match line.get(..4).unwrap_or_default().to_ascii_uppercase().as_str() {
                        "EHLO" => b"250-mail\r\n250 8BITMIME\r\n",
                        "DATA" => {
                            mail = Some(String::new());
                            b"354 go on\r\n"
                        }
                        "QUIT" => b"221 bye\r\n",
                        _ => b"250 well\r\n",
                    };
                    to.write_all(answer).await?;
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    (port, mails)
}

/// What a webhook was sent: its headers and its body.
type Posts = Arc<Mutex<Vec<(HeaderMap, String)>>>;

#[derive(Clone, Default)]
pub(super) struct Hook {
    posts: Posts,
    /// What is answered first; then 200.
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Hook {
    /// Listens; gives the address.
    pub(super) async fn start(&self) -> String {
        async fn take(State(hook): State<Hook>, headers: HeaderMap, body: String) -> (Status, HeaderMap) {
            hook.posts.lock().expect("free").push((headers, body));
            let status = hook.answers.lock().expect("free").pop_front().unwrap_or(200);
            let mut back = HeaderMap::new();
            if status == 302 {
                back.insert("location", "http://127.0.0.1:1/elsewhere".parse().expect("a value"));
            }
            (Status::from_u16(status).expect("a status"), back)
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let app = axum::Router::new().fallback(take).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        format!("http://{address}/hook/s3cret-path")
    }

    pub(super) fn many(&self) -> usize {
        self.posts.lock().expect("free").len()
    }

    pub(super) fn body(&self, number: usize) -> Value {
        serde_json::from_str(&self.posts.lock().expect("free")[number].1).expect("JSON")
    }
}

/// A backup that ended.
async fn ended(bench: &Bench, account: &Id, state: JobState, error: Option<&str>) -> Id {
    let (db, now) = (&bench.server().db, bench.server().now_us());
    let job = NewJob {
        account,
        kind: JobKind::Backup,
        set: None,
        tenant: None,
        repository: None,
        client: None,
        arguments: json!({}),
        asked_by: "test",
        run_after_us: now,
    };
    let id = db.ask_for(&job, now).await.expect("asked");
    db.take_job("worker", None, PLENTY, HOUR_US, now).await.expect("asked").expect("a job");
    assert!(db.end_job(&id, "worker", state, &json!({}), error, now).await.expect("ended"));
    id
}

pub(super) async fn receiver(bench: &Bench, token: &str, account: &Id, wanted: Value) -> Value {
    bench.good(token, Method::POST, &format!("/accounts/{account}/receivers"), Some(wanted)).await
}

async fn deliveries(bench: &Bench, token: &str, account: &Id) -> Vec<Value> {
    let all = bench.good(token, Method::GET, &format!("/accounts/{account}/deliveries"), None).await;
    all["items"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_has_text_and_html_and_nobody_puts_headers_into_it() {
    let (bench, _) = bench_at("2026-11-26T10:00:00Z").await;
    let (port, mails) = mail_server().await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let account = bench.account("\"Con<b>toso\" & Söhne").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let wanted =
        json!({"name": "IT", "definition": {"kind": "mail", "to": ["IT <it@example.com>"], "runs": "trouble"}});
    receiver(&bench, &token, &account, wanted).await;
    ended(&bench, &account, JobState::Failed, Some("no\r\nBcc: victim@example.com\r\n\r\nnothing <script>x</script>"))
        .await;

    // Without settings it waits.
    pass(&bench).await;
    let waiting = deliveries(&bench, &token, &account).await;
    assert_eq!((waiting.len(), &waiting[0]["state"]), (1, &json!("waiting")), "{waiting:?}");
    assert!(waiting[0]["error"].as_str().expect("a reason").contains("mail settings"), "{waiting:?}");

    let settings = json!({"settings": {"host": "127.0.0.1", "port": port, "security": "none", "from": "Backup <backup@example.com>"}});
    bench.good(&admin, Method::PUT, "/settings/mail", Some(settings)).await;
    let tested = bench.good(&admin, Method::POST, "/settings/mail/test", Some(json!({"to": "me@example.com"}))).await;
    assert_eq!(tested, json!({"sent": true, "error": null}));
    for bad in ["me@example.com\r\nRCPT TO:<x@y.z>", "nobody", ""] {
        let (status, _) = bench.ask(&admin, Method::POST, "/settings/mail/test", Some(json!({"to": bad}))).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
    }
    let server = bench.server();
    sqlx::query("UPDATE outbox SET next_us = 0").execute(server.db.pool()).await.expect("hastened");
    pass(&bench).await;
    assert_eq!(deliveries(&bench, &token, &account).await[0]["state"], "sent");

    let mails = mails.lock().expect("free").clone();
    assert_eq!(mails.len(), 2);
    let mail = MessageParser::default().parse(mails[1].as_bytes()).expect("a mail");
    let subject = mail.subject().expect("a subject");
    assert!(subject.contains("\"Con<b>toso\" & Söhne") && subject.contains("failed"), "{subject}");
    assert_eq!(mail.headers_raw().filter(|(name, _)| name.eq_ignore_ascii_case("bcc")).count(), 0, "{}", mails[1]);
    assert_eq!(mail.to().expect("to").first().and_then(|to| to.address()), Some("it@example.com"));
    assert!(mail.message_id().is_some() && mail.date().is_some());
    let (text, html) = (mail.body_text(0).expect("text"), mail.body_html(0).expect("HTML"));
    assert!(text.contains("Bcc: victim") && text.contains(&format!("/a/{account}/jobs/")), "{text}");
    assert!(html.contains("&lt;script&gt;") && !html.contains("<script>") && !html.contains("<b>toso"), "{html}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_signed_and_tried_again_and_told_of_each_event_once() {
    let (bench, now) = bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let hook = Hook::default();
    let url = hook.start().await;
    hook.answers.lock().expect("free").extend([500, 302]);
    // What was before the receiver, it does not hear of.
    ended(&bench, &account, JobState::Failed, Some("before")).await;
    now.fetch_add(MINUTE_US, Ordering::Relaxed);
    let wanted = json!({"name": "hook", "definition": {"kind": "webhook", "runs": "all"}, "url": url});
    let made = receiver(&bench, &token, &account, wanted).await;
    let key = made["key"].as_str().expect("a key").to_owned();
    ended(&bench, &account, JobState::Done, None).await;

    pass(&bench).await;
    pass(&bench).await;
    assert_eq!(hook.many(), 1, "not again at once");
    let first = &deliveries(&bench, &token, &account).await[0];
    assert!(first["error"].as_str().expect("a reason").contains("500"), "{first}");
    now.fetch_add(2 * MINUTE_US, Ordering::Relaxed);
    pass(&bench).await;
    assert_eq!(hook.many(), 2);
    let second = &deliveries(&bench, &token, &account).await[0];
    assert!(second["error"].as_str().expect("a reason").contains("302"), "a redirect is not followed: {second}");
    now.fetch_add(4 * MINUTE_US, Ordering::Relaxed);
    pass(&bench).await;
    assert_eq!(deliveries(&bench, &token, &account).await[0]["state"], "sent");
    assert_eq!(hook.many(), 3);

    let (headers, body) = hook.posts.lock().expect("free")[2].clone();
    let signature = headers["tenantvault-signature"].to_str().expect("text").to_owned();
    let (time, hex) = signature.split_once(",v1=").expect("two parts");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    mac.update(format!("{}.{body}", time.strip_prefix("t=").expect("a time")).as_bytes());
    assert_eq!(hex, crate::server::id::hex(&mac.finalize().into_bytes()));
    assert_eq!(hook.body(2)["event"], "run.complete");
    assert_eq!(hook.body(0)["delivery"], hook.body(2)["delivery"], "the same, tried again");

    // A process that died after it told, and before it noted that it did: the same job is looked at again.
    sqlx::query("UPDATE jobs SET noticed = 0").execute(bench.server().db.pool()).await.expect("forgotten");
    for _ in 0..2 {
        pass(&bench).await;
    }
    assert_eq!(hook.many(), 3);

    // Neither address nor key is shown again.
    let shown = bench.good(&token, Method::GET, &format!("/accounts/{account}/receivers"), None).await.to_string();
    assert!(!shown.contains("s3cret") && !shown.contains(&key), "{shown}");
    let cookie = bench.sign_in("owner@contoso.com", super::PASSWORD).await.expect("signed in");
    let path = format!("/a/{account}/notices");
    for path in [path.clone(), format!("{path}/{}", id(&made["receiver"])), format!("/a/{account}/activity")] {
        let (status, page) = bench.page(&cookie, &path).await;
        assert!(status.is_success() && !page.contains("s3cret") && !page.contains(&key), "{page}");
    }
    let log = bench.good(&token, Method::GET, &format!("/accounts/{account}/audit"), None).await.to_string();
    assert!(log.contains("receiver.add") && !log.contains("s3cret") && !log.contains(&key), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_taken_is_given_up_after_a_day_and_the_page_says_so() {
    let (bench, now) = bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let hook = Hook::default();
    let url = hook.start().await;
    hook.answers.lock().expect("free").extend([503; 100]);
    let wanted = json!({"name": "hook", "definition": {"kind": "webhook", "runs": "all"}, "url": url});
    let made = receiver(&bench, &token, &account, wanted).await;
    let test = format!("/accounts/{account}/receivers/{}/test", id(&made["receiver"]));
    bench.good(&token, Method::POST, &test, None).await;
    assert_eq!(bench.ask(&token, Method::POST, &test, None).await.0, StatusCode::CONFLICT, "one a minute");
    for _ in 0..40 {
        pass(&bench).await;
        now.fetch_add(HOUR_US, Ordering::Relaxed);
    }
    assert_eq!(deliveries(&bench, &token, &account).await[0]["state"], "given-up");
    assert!((15..25).contains(&hook.many()), "{}", hook.many());
    let cookie = bench.sign_in("owner@contoso.com", super::PASSWORD).await.expect("signed in");
    let (_, page) = bench.page(&cookie, &format!("/a/{account}/notices")).await;
    assert!(page.contains("given up") && page.contains("503"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_counts_right_and_comes_once_a_day_also_when_the_clocks_change() {
    // In Berlin the hour from 2 to 3 is missing on 29 March 2026, and comes twice on 25 October.
    for (start, length) in [("2026-03-28T00:30:00Z", 23), ("2026-10-24T00:00:00Z", 25)] {
        let (bench, now) = bench_at(start).await;
        let account = bench.account("Contoso").await;
        let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
        let hook = Hook::default();
        let url = hook.start().await;
        let wanted = json!({"name": "day", "url": url, "definition": {
            "kind": "webhook", "digest": {"hour": 2, "zone": "Europe/Berlin"}}});
        receiver(&bench, &token, &account, wanted).await;
        let mut told = Vec::new();
        // Four days in steps of a quarter of an hour, one missed run each.
        for _ in 0..4 * 24 * 4 {
            now.fetch_add(15 * MINUTE_US, Ordering::Relaxed);
            missed(&bench, &account).await;
            notices::gather(bench.server()).await.expect("gathered");
            notices::pass(bench.server()).await.expect("sent");
            if hook.many() > told.len() {
                told.push(bench.server().now_us());
            }
        }
        let berlin = jiff::tz::TimeZone::get("Europe/Berlin").expect("a zone");
        let date =
            |us: &i64| jiff::Timestamp::from_microsecond(*us).expect("a time").to_zoned_datetime(berlin.clone()).date();
        let dates: Vec<_> = told.iter().map(date).collect();
        let next = |pair: &[jiff::civil::Date]| pair[0].tomorrow().is_ok_and(|next| next == pair[1]);
        assert!(dates.len() >= 3 && dates.windows(2).all(next), "{start}: once each day: {dates:?}");
        let mut before = us(start);
        let mut lengths = Vec::new();
        for (number, at) in told.iter().enumerate() {
            let body = hook.body(number);
            assert_eq!(body["event"], "digest");
            // All of them and each once: what is created at `at` is in the next.
            let expected = (at - before) / (15 * MINUTE_US) - i64::from(number == 0);
            assert_eq!(body["facts"]["Missed"], json!(expected.to_string()), "{start}: {body}");
            lengths.push((at - before) / HOUR_US);
            before = *at;
        }
        assert!(lengths[1..].contains(&length), "{start}: {lengths:?}");
    }
}

async fn missed(bench: &Bench, account: &Id) {
    let (db, now) = (&bench.server().db, bench.server().now_us());
    let job = NewJob {
        account,
        kind: JobKind::Backup,
        set: None,
        tenant: None,
        repository: None,
        client: None,
        arguments: json!({}),
        asked_by: "schedule",
        run_after_us: now,
    };
    db.note_missed(&job, now).await.expect("noted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_follows_good_runs_or_a_beat_and_nothing_else() {
    let (bench, now) = bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let (after, beat) = (Hook::default(), Hook::default());
    let (after_url, beat_url) = (after.start().await, beat.start().await);
    receiver(&bench, &token, &account, json!({"name": "runs", "definition": {"kind": "ping"}, "url": after_url})).await;
    let wanted = json!({"name": "beat", "definition": {"kind": "ping", "beat_minutes": 10}, "url": beat_url});
    receiver(&bench, &token, &account, wanted).await;
    ended(&bench, &account, JobState::Failed, Some("no")).await;
    ended(&bench, &account, JobState::Cancelled, None).await;
    pass(&bench).await;
    assert_eq!((after.many(), beat.many()), (0, 0));
    ended(&bench, &account, JobState::Done, None).await;
    pass(&bench).await;
    assert_eq!((after.many(), beat.many()), (1, 0));
    for _ in 0..6 {
        now.fetch_add(10 * MINUTE_US, Ordering::Relaxed);
        pass(&bench).await;
    }
    assert_eq!((after.many(), beat.many()), (1, 6));
    // Stood still for a day: one call, not a hundred.
    now.fetch_add(DAY_US, Ordering::Relaxed);
    pass(&bench).await;
    assert_eq!((after.many(), beat.many()), (1, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_to_come_is_warned_of_once_at_each_mark() {
    let (bench, now) = bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let hook = Hook::default();
    let url = hook.start().await;
    let tenant = json!({"name": "Con\"toso", "secret": "x", "definition": {"tenant_id": "t", "client_id": "c", "sign_in": "secret"}});
    let tenant =
        Id::parse(&id(&bench.good(&token, Method::POST, &format!("/accounts/{account}/tenants"), Some(tenant)).await))
            .expect("an id");
    let end = bench.server().now_us() + 40 * DAY_US;
    let state = json!({"secret_end_us": end, "missing": 0}).to_string();
    bench.server().db.keep_tenant_state(&tenant, &state, 0).await.expect("kept");
    let made = json!({"name": "Main", "destination": {"name": "here", "url": "server:"}});
    let made = bench.good(&token, Method::POST, &format!("/accounts/{account}/repositories"), Some(made)).await;
    let repository = Id::parse(&id(&made["repository"])).expect("an id");
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let limits = json!({"name": "Contoso", "limits": {"bytes": 100_000}});
    bench.good(&admin, Method::PUT, &format!("/accounts/{account}"), Some(limits)).await;
    receiver(
        &bench,
        &token,
        &account,
        json!({"name": "w", "url": url, "definition": {"kind": "webhook", "warnings": true}}),
    )
    .await;

    let folder = bench.server().storage_folder(&account).join(repository.as_str());
    let away = folder.with_extension("away");
    for day in 0..45_i64 {
        bench.server().db.keep_stored_bytes(&repository, 1_000 * (day + 1)).await.expect("kept");
        if day == 3 {
            std::fs::rename(&folder, &away).expect("moved");
        }
        if day == 4 {
            std::fs::remove_dir_all(&folder).ok();
            std::fs::rename(&away, &folder).expect("moved back");
        }
        for _ in 0..3 {
            pass(&bench).await;
            now.fetch_add(8 * HOUR_US, Ordering::Relaxed);
        }
    }
    let told: Vec<(String, String)> = (0..hook.many())
        .map(|n| hook.body(n))
        .map(|body| {
            (body["event"].as_str().expect("text").to_owned(), body["title"].as_str().expect("text").to_owned())
        })
        .collect();
    let of = |event: &str| -> Vec<&str> {
        told.iter().filter(|(found, _)| found == event).map(|(_, title)| title.as_str()).collect()
    };
    let secrets = of("secret.ends");
    assert_eq!(secrets.len(), 5, "30, 14, 7, 1 days and the end: {secrets:?}");
    assert!(secrets[0].contains("Con\"toso") && secrets[0].contains("30 days"), "{secrets:?}");
    assert!(secrets[4].contains("has ended"), "{secrets:?}");
    assert_eq!(of("storage.unreachable").len(), 2, "it was away on two days: {told:?}");
    assert!(of("quota.fills").is_empty(), "in 55 days: {told:?}");
    for day in 45..90_i64 {
        bench.server().db.keep_stored_bytes(&repository, 1_000 * (day + 1)).await.expect("kept");
        pass(&bench).await;
        now.fetch_add(DAY_US, Ordering::Relaxed);
    }
    let quotas: Vec<Value> =
        (0..hook.many()).map(|n| hook.body(n)).filter(|body| body["event"] == "quota.fills").collect();
    assert_eq!(quotas.len(), 2, "30 and 14 days: {quotas:?}");
    assert_eq!(quotas[0]["title"], "The account is full in 30 days");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_is_late_a_day_after_its_time_and_told_of_once() {
    let (bench, now) = bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let sim = crate::sim::SimTenant::start(crate::sim::SimOptions::tiny()).await.expect("a tenant");
    // It never runs: nothing of this server works at jobs.
    super::set_up(
        &bench,
        &token,
        &account,
        &sim,
        json!([{"cron": "0 12 * * *", "zone": "UTC", "jitter_s": 0, "catch_up": true}]),
    )
    .await;
    let sets = bench.good(&token, Method::GET, &format!("/accounts/{account}/sets"), None).await;
    let mut weekly =
        bench.good(&token, Method::GET, &format!("/accounts/{account}/sets/{}", id(&sets["items"][0])), None).await;
    let by_hand = json!({"name": "by-hand", "tenant": weekly["tenant"], "repository": weekly["repository"], "choices": weekly["choices"].take(), "schedules": []});
    let mut once_a_week = by_hand.clone();
    once_a_week["name"] = json!("weekly");
    // Fridays.
    once_a_week["schedules"] = json!([{"cron": "0 12 * * 5", "zone": "UTC", "jitter_s": 0, "catch_up": true}]);
    for set in [by_hand, once_a_week] {
        bench.good(&token, Method::POST, &format!("/accounts/{account}/sets"), Some(set)).await;
    }
    let hook = Hook::default();
    let url = hook.start().await;
    receiver(
        &bench,
        &token,
        &account,
        json!({"name": "w", "url": url, "definition": {"kind": "webhook", "warnings": true}}),
    )
    .await;
    let mut told = Vec::new();
    for hour in 0..10 * 24_i64 {
        pass(&bench).await;
        while told.len() < hook.many() {
            let body = hook.body(told.len());
            told.push((
                hour,
                body["event"].as_str().expect("text").to_owned(),
                body["title"].as_str().expect("text").to_owned(),
            ));
        }
        now.fetch_add(HOUR_US, Ordering::Relaxed);
    }
    told.retain(|(_, event, _)| event == "set.overdue");
    let names: Vec<(i64, bool)> = told.iter().map(|(hour, _, title)| (*hour, title.contains("'everyone'"))).collect();
    // 2026-11-26 is a Thursday: due at noon, late a day later; Friday's is due at noon, late on Saturday.
    assert_eq!(names.len(), 2, "{told:?}");
    assert!(names[0].1 && (26..=28).contains(&names[0].0), "{told:?}");
    assert!(!names[1].1 && (50..=52).contains(&names[1].0), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_inside_are_refused_where_strangers_enter_them() {
    let bench = Bench::with(
        |options| {
            options.role = crate::server::ProcessRole::Web;
            options.allow_private_targets = false;
        },
        None,
    )
    .await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let path = format!("/accounts/{account}/receivers");
    for url in [
        "http://127.0.0.1:1/x",
        "http://[::1]/x",
        "http://localhost/x",
        "https://169.254.169.254/x",
        "file:///etc/passwd",
        "x",
    ] {
        for kind in ["webhook", "ping"] {
            let wanted = json!({"name": "x", "definition": {"kind": kind}, "url": url});
            let (status, answer) = bench.ask(&token, Method::POST, &path, Some(wanted)).await;
            assert!(matches!(status.as_u16(), 403 | 422), "{url}: {status} {answer}");
        }
    }
    // One that was entered when it was public, and leads inside by now, is looked at again before it is called.
    let hook = Hook::default();
    let url = hook.start().await;
    let (db, vault) = (&bench.server().db, &bench.server().vault);
    let definition = serde_json::from_value(json!({"kind": "webhook", "runs": "all"})).expect("a definition");
    let secret = crate::server::db::ReceiverSecret { url: url.into(), key: String::from("key").into() };
    let new = crate::server::db::NewReceiver { name: "x", definition: &definition, secret: &secret, next_us: None };
    db.add_receiver(vault, &account, &new, 0).await.expect("added");
    ended(&bench, &account, JobState::Done, None).await;
    pass(&bench).await;
    assert_eq!(hook.many(), 0);
    let sent = deliveries(&bench, &token, &account).await;
    assert!(sent[0]["error"].as_str().expect("a reason").contains("private network"), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_cannot_be_is_refused_and_the_mail_password_is_nowhere() {
    let (bench, _) = bench_at("2026-11-26T10:00:00Z").await;
    let account = bench.account("Contoso").await;
    let token = bench.person(Some(&account), Role::Owner, "owner@contoso.com").await;
    let admin = bench.person(None, Role::Administrator, "admin@example.com").await;
    let url = "http://127.0.0.1:1/";
    for wanted in [
        json!({"name": "", "definition": {"kind": "ping"}, "url": url}),
        json!({"name": "x", "definition": {"kind": "ping"}}),
        json!({"name": "x", "definition": {"kind": "ping", "runs": "all"}, "url": url}),
        json!({"name": "x", "definition": {"kind": "ping", "beat_minutes": 0}, "url": url}),
        json!({"name": "x", "definition": {"kind": "webhook", "beat_minutes": 5}, "url": url}),
        json!({"name": "x", "definition": {"kind": "webhook"}, "url": url, "key": "short"}),
        json!({"name": "x", "definition": {"kind": "webhook", "to": ["a@b.c"]}, "url": url}),
        json!({"name": "x", "definition": {"kind": "mail", "to": []}}),
        json!({"name": "x", "definition": {"kind": "mail", "to": ["a@b.c\r\nBcc: d@e.f"]}}),
        json!({"name": "x", "definition": {"kind": "mail", "to": vec!["a@b.c"; 21]}}),
        json!({"name": "x", "definition": {"kind": "mail", "to": ["a@b.c"], "digest": {"hour": 24, "zone": "UTC", "jitter_s": 0, "catch_up": true}}}),
        json!({"name": "x", "definition": {"kind": "mail", "to": ["a@b.c"], "digest": {"hour": 1, "zone": "Moon"}}}),
    ] {
        let (status, answer) =
            bench.ask(&token, Method::POST, &format!("/accounts/{account}/receivers"), Some(wanted.clone())).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{wanted}: {answer}");
    }
    let settings = |host: &str, security: &str| json!({"settings": {"host": host, "port": 25, "security": security, "login": "me", "from": "a@b.c"}, "password": "hunter2-mail"});
    let (status, _) =
        bench.ask(&admin, Method::PUT, "/settings/mail", Some(settings("mail.example.com", "none"))).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "a password in the clear");
    bench.good(&admin, Method::PUT, "/settings/mail", Some(settings("mail.example.com", "tls"))).await;
    let shown = bench.good(&admin, Method::GET, "/settings/mail", None).await.to_string();
    let log = bench.good(&admin, Method::GET, "/audit", None).await.to_string();
    let kept = bench.server().db.setting("mail password").await.expect("read").expect("kept");
    for text in [&shown, &log, &kept] {
        assert!(!text.contains("hunter2"), "{text}");
    }
    // The password is not sent to a server that it was not entered for.
    let mut other = settings("mail.example.org", "tls");
    other.as_object_mut().expect("an object").remove("password");
    bench.good(&admin, Method::PUT, "/settings/mail", Some(other)).await;
    assert_eq!(bench.server().db.setting("mail password").await.expect("read"), None);
    let cookie = bench.sign_in("admin@example.com", super::PASSWORD).await.expect("signed in");
    let (status, page) = bench.page(&cookie, "/settings").await;
    assert!(status.is_success() && page.contains("mail.example.org") && !page.contains("hunter2"), "{page}");
}
