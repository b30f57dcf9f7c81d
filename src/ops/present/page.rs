//! Pages of a site as HTML: what stands in their web parts, section by section.

use serde_json::Value;

use super::html::{self, Pictures};
use super::out::Out;
use super::stored::{Stored, list, word};
use crate::error::Result;
use crate::format::record::Record;
use crate::m365::facts::at;

/// Writes a page.
pub(super) async fn write(stored: &Stored, record: &Record, out: &mut Out) -> Result<()> {
    let json = stored.json(record).await?;
    let title = [word(&json, &["title"]), &record.name].into_iter().find(|title| !title.trim().is_empty());
    out.push(html::head(title.unwrap_or("Page"))).await;
    out.push(about(&json)).await;
    let layout = at(&json, &["canvasLayout"]);
    let sections = layout.map(|layout| list(layout, "horizontalSections")).unwrap_or_default();
    for section in sections {
        out.push("<section>\n").await;
        for part in list(section, "columns").iter().flat_map(|column| list(column, "webparts")) {
            out.push(web_part(part)).await;
        }
        out.push("</section>\n").await;
    }
    if let Some(section) = layout.and_then(|layout| at(layout, &["verticalSection"])) {
        out.push("<aside>\n").await;
        for part in list(section, "webparts") {
            out.push(web_part(part)).await;
        }
        out.push("</aside>\n").await;
    }
    out.push(html::TAIL).await;
    Ok(())
}

/// Who changed it last and when, where it was, what it is about.
fn about(json: &Value) -> String {
    let who = word(json, &["lastModifiedBy", "user", "displayName"]);
    let facts = [word(json, &["lastModifiedDateTime"]), who, word(json, &["publishingState", "level"])];
    let facts: Vec<String> = facts.into_iter().filter(|fact| !fact.is_empty()).map(html::escape).collect();
    let mut out = format!("<p class=\"note\">{}</p>\n", facts.join(" · "));
    let (description, address) = (word(json, &["description"]), word(json, &["webUrl"]));
    if !description.is_empty() {
        out.push_str(&format!("<p>{}</p>\n", html::escape(description)));
    }
    if !address.is_empty() {
        out.push_str(&format!("<p class=\"note\">{}</p>\n", html::link(address, "")));
    }
    out
}

pub(super) fn web_part(part: &Value) -> String {
    let inner = word(part, &["innerHtml"]);
    if !inner.is_empty() {
        return format!("<div>{}</div>\n", html::clean(inner, &Pictures::default()));
    }
    let Some(data) = at(part, &["data"]) else { return String::new() };
    let mut out = format!("<div>\n<p class=\"note\">[{}]</p>\n", html::escape(word(data, &["title"])));
    let Some(content) = at(data, &["serverProcessedContent"]) else { return out + "</div>\n" };
    for pair in list(content, "htmlStrings") {
        out.push_str(&format!("<div>{}</div>\n", html::clean(word(pair, &["value"]), &Pictures::default())));
    }
    for pair in list(content, "searchablePlainTexts") {
        out.push_str(&format!("<p>{}</p>\n", html::escape(word(pair, &["value"]))));
    }
    for pair in list(content, "links").iter().chain(list(content, "imageSources")) {
        out.push_str(&format!("<p>{}</p>\n", html::link(word(pair, &["value"]), "")));
    }
    out + "</div>\n"
}
