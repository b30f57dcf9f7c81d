//! The control door, for `tenantvault sim` and tests in other languages: not part of Graph.

use serde_json::{Value, json};

use super::app::App;
use super::faults::Fault;
use super::query::Request;
use super::reply::Reply;
use super::script;

/// Days that one request may advance.
const MOST_DAYS: u32 = 1_000;

/// Answers `/sim/advance?days=N`, `/sim/faults`, `/sim/expire?what=mail|drive|tokens|secret`, `/sim/stats`.
pub(super) fn answer(app: &App, request: &Request, path: &[&str]) -> Reply {
    match (request.method.as_str(), path) {
        ("POST", ["advance"]) => {
            let days: u32 = request.option("days").and_then(|d| d.parse().ok()).unwrap_or(1);
            let mut world = app.write();
            (0..days.min(MOST_DAYS)).for_each(|_| script::advance_day(&mut world, &app.options));
            Reply::json(json!({"day": world.day}))
        }
        ("POST", ["faults"]) => arm(app, &request.body),
        ("DELETE", ["faults"]) => {
            app.faults.clear();
            Reply::json(json!({"faults": 0}))
        }
        ("POST", ["expire"]) => {
            match request.option("what").unwrap_or_default() {
                "mail" => app.write().mail_generation += 1,
                "drive" => app.write().drive_generation += 1,
                "tokens" => app.auth.revoke_tokens(),
                "secret" => app.auth.expire_secret(),
                _ => return Reply::fail(400, "BadRequest", "what = mail | drive | tokens | secret"),
            }
            Reply::json(json!({}))
        }
        ("GET", ["stats"]) => Reply::json(serde_json::to_value(app.stats()).unwrap_or(Value::Null)),
        _ => Reply::fail(404, "NotFound", "Known: advance, faults, expire, stats"),
    }
}

/// Arms one fault or a list of them.
fn arm(app: &App, body: &[u8]) -> Reply {
    let one = serde_json::from_slice::<Fault>(body).map(|f| vec![f]);
    match one.or_else(|_| serde_json::from_slice::<Vec<Fault>>(body)) {
        Ok(faults) => {
            let n = faults.len();
            faults.into_iter().for_each(|f| app.faults.arm(f));
            Reply::json(json!({"armed": n}))
        }
        Err(error) => Reply::fail(400, "BadRequest", &format!("Not a fault: {error}")),
    }
}
