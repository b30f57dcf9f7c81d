//! Plans of restores in the database: the head, and the steps in parts, so that a page of them is read without the rest.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::db::RestoreRow;
use super::id::Id;
use super::state::Server;
use crate::error::{Error, Result};
use crate::format::codec;
use crate::ops::restore::{Plan, Step, Steps};

/// Steps of a part.
const PART: usize = 4_096;

/// Keeps a plan.
///
/// # Errors
/// As any query.
pub(crate) async fn keep(server: &Server, restore: &Id, plan: &Plan) -> Result<()> {
    let bad = |e| Error::internal("A plan has no form").with_source(e);
    let head = Plan { steps: Steps::default(), ..plan.clone() };
    let head = serde_json::to_value(head).map_err(bad)?;
    let counts = json!({"counts": plan.counts(), "seconds": plan.seconds, "steps": plan.steps.len()});
    let (mut parts, mut steps) = (Vec::new(), plan.steps.iter().peekable());
    while steps.peek().is_some() {
        let part: Vec<Step> = steps.by_ref().take(PART).collect();
        let text = serde_json::to_vec(&part).map_err(bad)?;
        parts.push(STANDARD.encode(codec::compress_document(&text)));
    }
    server.db.keep_plan(&server.vault, restore, (&plan.run, &head, &counts), &parts).await
}

/// A part of the steps of a plan; none: there is no such part.
async fn part(server: &Server, restore: &Id, number: i64) -> Result<Option<Vec<Step>>> {
    let Some(text) = server.db.plan_part(&server.vault, restore, number).await? else { return Ok(None) };
    let bad = || Error::corrupt("A part of a plan in the database cannot be read");
    let packed = STANDARD.decode(text).map_err(|_| bad())?;
    let steps = codec::decompress_document("A part of a plan", &packed)?;
    serde_json::from_slice(&steps).map(Some).map_err(|e| bad().with_source(e))
}

/// Reads a plan whole.
///
/// # Errors
/// `NotFound` when there is none yet; `Corrupt`.
pub(crate) async fn read(server: &Server, restore: &RestoreRow) -> Result<Plan> {
    let head = restore.head(&server.vault)?;
    let head = head.ok_or_else(|| {
        Error::not_found("There is no plan of this restore").with_hint("Wait until it is made, or look why it failed")
    })?;
    let text = head.to_string();
    let mut plan = Plan::read(text.as_bytes())?;
    let mut number = 0;
    while let Some(steps) = part(server, &restore.id, number).await? {
        steps.into_iter().for_each(|step| plan.steps.push(step));
        number += 1;
    }
    Ok(plan)
}

/// Reads some steps of a plan, with their numbers.
///
/// # Errors
/// As [`read`].
pub(crate) async fn steps(server: &Server, restore: &Id, from: usize, most: usize) -> Result<Vec<(usize, Step)>> {
    let mut found = Vec::new();
    let mut number = from / PART;
    while found.len() < most {
        let Some(steps) = part(server, restore, i64::try_from(number).unwrap_or(i64::MAX)).await? else { break };
        let first = number * PART;
        let wanted = (first..).zip(steps).filter(|(at, _)| *at >= from);
        found.extend(wanted.take(most - found.len()));
        number += 1;
    }
    Ok(found)
}
