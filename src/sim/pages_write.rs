//! Pages of sites as clients write them: a page is a draft until it is published.

use serde_json::{Value, json};

use super::app::App;
use super::doors::{Door, New, create, gone, shown};
use super::query::Request;
use super::reply::{Answer, Reply};
use super::route::Route;
use super::schema::{self, Entity};
use super::shelf::TOP;
use super::sites::PAGE;
use super::sites_http::opened;

const WRITE: &[&str] = &["Sites.ReadWrite.All", "Sites.Manage.All", "Sites.FullControl.All"];
/// The web parts that may be on a page which is made, as far as simulated pages have them: divider, spacer.
pub(super) const ACCEPTED: &[&str] = &["2161a1c6-db61-4731-b97c-3cdb303f7cbb", "8654b779-4886-46d4-8ffb-b5ed960ee986"];

static PAGE_ENTITY: Entity = Entity {
    name: "sitePage",
    read_only: &[
        "createdBy",
        "createdDateTime",
        "eTag",
        "lastModifiedBy",
        "lastModifiedDateTime",
        "parentReference",
        "publishingState",
        "reactions",
        "webUrl",
    ],
    required: &["name", "title"],
    beside: &["canvasLayout"],
};

pub(super) const DOORS: &[Door] = &[
    Door { method: "POST", path: "/sites/{id}/pages", roles: WRITE, run: add },
    Door {
        method: "POST",
        path: "/sites/{id}/pages/{id}/microsoft.graph.sitePage/publish",
        roles: WRITE,
        run: publish,
    },
    Door { method: "PATCH", path: "/sites/{id}/pages/{id}/microsoft.graph.sitePage", roles: WRITE, run: change },
    Door { method: "DELETE", path: "/sites/{id}/pages/{id}", roles: WRITE, run: remove },
];

/// Refuses a canvas with a web part that cannot be made.
fn accepted(canvas: &Value) -> Answer<()> {
    let bad = |text: &str| Reply::fail(400, "invalidRequest", text);
    let sections = canvas["horizontalSections"].as_array().map(Vec::as_slice).unwrap_or_default();
    for section in sections {
        for column in section["columns"].as_array().into_iter().flatten() {
            for part in column["webparts"].as_array().into_iter().flatten() {
                let kind = part["webPartType"].as_str();
                if part.get("innerHtml").is_none() && !kind.is_some_and(|kind| ACCEPTED.contains(&kind)) {
                    return Err(bad("Invalid web part: its type is not supported."));
                }
            }
        }
    }
    Ok(())
}

fn add(app: &App, request: &Request, route: &Route) -> Answer {
    if schema::object(request)?.get("@odata.type") != Some(&json!("#microsoft.graph.sitePage")) {
        return Err(Reply::fail(400, "invalidRequest", "The type of the page is not valid."));
    }
    let body = PAGE_ENTITY.new_body(request)?;
    accepted(body.get("canvasLayout").unwrap_or(&Value::Null))?;
    let mut world = app.write();
    opened(&world, route.user)?;
    let now = world.now();
    let pages = &mut world.sites[route.user].pages;
    let same = |number: u32| pages.json(&app.cast, number)["name"] == body["name"];
    if pages.all(&PAGE).any(same) {
        return Err(Reply::fail(409, "nameAlreadyExists", "A page with that name exists already."));
    }
    let usual = json!({
        "pageLayout": "article", "promotionKind": "page", "showComments": true, "showRecommendedPages": true,
        "titleArea": {"layout": "plain", "textAlignment": "left"}, "canvasLayout": {"horizontalSections": []},
        "publishingState": {"level": "draft", "versionId": "0.1"},
    });
    let new = New { entity: &PAGE_ENTITY, kind: &PAGE, parent: TOP, mark: 0, usual };
    let number = create(&app.cast, pages, new, body, now);
    Ok(shown(app, 201, "pages", pages.json(&app.cast, number)))
}

fn change(app: &App, request: &Request, route: &Route) -> Answer {
    if schema::object(request)?.get("@odata.type") != Some(&json!("#microsoft.graph.sitePage")) {
        return Err(Reply::fail(400, "invalidRequest", "The type of the page is not valid."));
    }
    let body = PAGE_ENTITY.body(request)?;
    accepted(body.get("canvasLayout").unwrap_or(&Value::Null))?;
    let mut world = app.write();
    let now = world.now();
    let pages = &mut world.sites[route.user].pages;
    let number = pages.find(&PAGE, route.id(0)).ok_or_else(Reply::item_not_found)?;
    pages.write(number, body, now);
    Ok(shown(app, 200, "pages", pages.json(&app.cast, number)))
}

fn publish(app: &App, _: &Request, route: &Route) -> Answer {
    let mut world = app.write();
    let now = world.now();
    let pages = &mut world.sites[route.user].pages;
    let number = pages.find(&PAGE, route.id(0)).ok_or_else(Reply::item_not_found)?;
    let state = json!({"level": "published", "versionId": "1.0"});
    pages.write(number, [("publishingState".to_owned(), state)].into_iter().collect(), now);
    Ok(Reply::status(204))
}

fn remove(app: &App, _: &Request, route: &Route) -> Answer {
    let mut world = app.write();
    let pages = &mut world.sites[route.user].pages;
    let number = pages.find(&PAGE, route.id(0)).ok_or_else(Reply::item_not_found)?;
    Ok(gone(pages, number))
}
