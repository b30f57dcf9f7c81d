//! What an attacker with a user's rights would delete.

use serde_json::json;

use super::calendar::{CALENDAR, EVENT, GROUP, calendars, kind_of};
use super::contacts::{CONTACT, DEFAULT, FOLDER};
use super::groups::Group;
use super::planner::PLAN;
use super::settings::{CATEGORY, OVERRIDE, RULE};
use super::shelf::{Kind, Shelf};
use super::sites::{COLUMN, PAGE, Site, TYPE};
use super::state::User;
use super::tasks::{LIST, OWN, TASK};
use super::team_write;
use super::terms::GROUP as TERM_GROUP;

/// Deletes the things of a kind that may go.
fn all(shelf: &mut Shelf, kind: &'static Kind, may_go: impl Fn(&Shelf, u32) -> bool) {
    let numbers: Vec<u32> = shelf.all(kind).filter(|number| may_go(shelf, *number)).collect();
    for number in numbers {
        // It may have gone with what it was in.
        if shelf.thing(number).alive {
            shelf.delete(number);
        }
    }
}

/// Deletes all that is no mail from a mailbox, and spoils its settings.
pub(super) fn items(user: &mut User, now: i64) {
    let own = |shelf: &Shelf, number: u32| kind_of(shelf.thing(number).mark) == calendars::OWN;
    all(&mut user.calendars, &EVENT, |_, _| true);
    all(&mut user.calendars, &CALENDAR, own);
    all(&mut user.calendars, &GROUP, |shelf, number| shelf.below(&CALENDAR, number).next().is_none());
    all(&mut user.contacts, &CONTACT, |_, _| true);
    all(&mut user.contacts, &FOLDER, |_, number| number != DEFAULT);
    all(&mut user.tasks, &TASK, |_, _| true);
    all(&mut user.tasks, &LIST, |shelf, number| shelf.thing(number).mark >= OWN);
    for kind in [&RULE, &CATEGORY, &OVERRIDE] {
        all(&mut user.settings, kind, |_, _| true);
    }
    let spoilt = json!({"timeZone": "UTC", "automaticRepliesSetting": {"status": "alwaysEnabled"}});
    user.settings.write(0, [("~settings".to_owned(), spoilt)].into_iter().collect(), now);
}

/// Deletes the plans of a group, and what its team is made of.
pub(super) fn group(group: &mut Group) {
    all(&mut group.plans, &PLAN, |_, _| true);
    if let Some(team) = &mut group.team {
        team_write::wipe(team);
    }
}

/// Deletes the lists, the pages, the columns and the content types of a site.
pub(super) fn site(site: &mut Site) {
    site.lists.retain(|list| list.system);
    all(&mut site.pages, &PAGE, |_, _| true);
    for kind in [&COLUMN, &TYPE] {
        all(&mut site.facts, kind, |_, _| true);
    }
}

/// Deletes the tenant's terms.
pub(super) fn terms(shelf: &mut Shelf) {
    all(shelf, &TERM_GROUP, |_, _| true);
}
