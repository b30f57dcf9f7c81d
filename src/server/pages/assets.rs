//! Style, script and icon: part of the program.

use axum::http::{Method, header};

use crate::server::web::{Access, Door, Routes};

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/script.js");
const ICON: &str = include_str!("assets/icon.svg");

/// Adds the routes.
pub(super) fn add(routes: Routes) -> Routes {
    let file = |routes: Routes, path, kind, text: &'static str| {
        let head = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=300")];
        routes.add(Door::Page, Method::GET, path, Access::Anybody, move || async move { (head, text) })
    };
    let routes = file(routes, "/assets/style.css", "text/css; charset=utf-8", STYLE);
    let routes = file(routes, "/assets/script.js", "text/javascript; charset=utf-8", SCRIPT);
    file(routes, "/assets/icon.svg", "image/svg+xml", ICON)
}
