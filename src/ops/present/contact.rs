//! Contacts as vCard 4.0 (RFC 6350), with the photo.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::calendar::stamp;
use super::html::picture_type;
use super::lines::{Lines, percent};
use super::out::Out;
use super::stored::{Stored, list, texts, word};
use crate::error::Result;
use crate::format::record::Record;
use crate::m365::facts::at;

/// The longest photo that is put in, in bytes.
const PHOTO_BYTES: u64 = 4 << 20;
/// The year that Outlook gives to a birthday without one.
const NO_YEAR: i16 = 1604;

/// Writes a contact.
pub(super) async fn write(stored: &Stored, record: &Record, out: &mut Out) -> Result<()> {
    let json = stored.json(record).await?;
    let photo = stored.contents(record, PHOTO_BYTES).await?;
    let mut lines = Lines::default();
    card(&mut lines, &json, record, photo.as_deref());
    out.push(lines.finish()).await;
    Ok(())
}

fn card(lines: &mut Lines, json: &Value, record: &Record, photo: Option<&[u8]>) {
    let field = |key: &str| word(json, &[key]);
    lines.begin("VCARD");
    lines.raw("VERSION", &[], "4.0");
    lines.raw("PRODID", &[], "-//Tenantvault//Tenantvault//EN");
    lines.text_with("UID", &[("VALUE", "text")], &record.id);
    let names = [field("displayName"), field("fileAs"), field("companyName"), record.name.as_str(), "(no name)"];
    // The one property that every card has.
    lines.text("FN", names.iter().find(|name| !name.trim().is_empty()).copied().unwrap_or_default());
    let parts = [field("surname"), field("givenName"), field("middleName"), field("title"), field("generation")];
    let sort = [field("yomiSurname"), field("yomiGivenName")].map(str::trim).join(",");
    let sort_as = [("SORT-AS", sort.as_str())];
    lines.texts("N", if sort == "," { &[] } else { &sort_as }, ';', &parts);
    lines.text("NICKNAME", field("nickName"));
    let company = [field("companyName"), field("department")];
    let yomi = [("SORT-AS", field("yomiCompanyName"))];
    let of_company = if company[1].is_empty() { &company[..1] } else { &company[..] };
    lines.texts("ORG", if yomi[0].1.is_empty() { &[] } else { &yomi }, ';', of_company);
    lines.text("TITLE", field("jobTitle"));
    lines.text("ROLE", field("profession"));
    reach(lines, json);
    if let Some(day) = stamp(json, "birthday") {
        lines.raw("BDAY", &[], &birthday(day));
    }
    related(lines, json);
    lines.text("X-INITIALS", field("initials"));
    lines.text("X-FILE-AS", field("fileAs"));
    lines.text("X-OFFICE-LOCATION", field("officeLocation"));
    lines.texts("CATEGORIES", &[], ',', &texts(json, "categories"));
    lines.text("NOTE", field("personalNotes"));
    if let Some(photo) = photo {
        let media = picture_type(photo).unwrap_or("application/octet-stream");
        lines.raw("PHOTO", &[], &format!("data:{media};base64,{}", STANDARD.encode(photo)));
    }
    if let Some(at) = stamp(json, "lastModifiedDateTime") {
        lines.raw("REV", &[], &super::calendar::utc(at));
    }
    lines.end("VCARD");
}

/// Where a contact is reached.
fn reach(lines: &mut Lines, json: &Value) {
    for (n, address) in list(json, "emailAddresses").iter().enumerate() {
        let n = (n + 1).min(100).to_string();
        lines.text_with("EMAIL", &[("PREF", &n)], word(address, &["address"]));
    }
    for (key, kind) in [("businessPhones", "work"), ("homePhones", "home")] {
        for number in texts(json, key) {
            lines.text_with("TEL", &[("TYPE", kind)], number);
        }
    }
    lines.text_with("TEL", &[("TYPE", "cell")], word(json, &["mobilePhone"]));
    for (key, kind) in [("businessAddress", "work"), ("homeAddress", "home"), ("otherAddress", "")] {
        let Some(address) = at(json, &[key]) else { continue };
        let part = |key| word(address, &[key]);
        let parts = ["", "", part("street"), part("city"), part("state"), part("postalCode"), part("countryOrRegion")];
        let params = [("TYPE", kind)];
        lines.texts("ADR", if kind.is_empty() { &[] } else { &params }, ';', &parts);
    }
    for address in texts(json, "imAddresses") {
        match address.contains(':') {
            true => lines.uri("IMPP", &[], address),
            false => lines.raw("IMPP", &[], &format!("x-im:{}", percent(address, "-._~@"))),
        }
    }
    let page = word(json, &["businessHomePage"]).trim();
    match page.contains("://") {
        true => lines.uri("URL", &[("TYPE", "work")], page),
        false if !page.is_empty() => lines.uri("URL", &[("TYPE", "work")], &format!("http://{page}")),
        false => {}
    }
}

fn related(lines: &mut Lines, json: &Value) {
    let mut one = |kind: &str, name: &str| lines.text_with("RELATED", &[("TYPE", kind), ("VALUE", "text")], name);
    one("spouse", word(json, &["spouseName"]));
    texts(json, "children").into_iter().for_each(|name| one("child", name));
    lines.text("X-ASSISTANT", word(json, &["assistantName"]));
    lines.text("X-MANAGER", word(json, &["manager"]));
}

/// Outlook keeps a birthday as an instant at noon or midnight, UTC.
fn birthday(at: Timestamp) -> String {
    let day = super::calendar::day_of(at);
    if day.year() == NO_YEAR { day.strftime("--%m%d").to_string() } else { day.strftime("%Y%m%d").to_string() }
}

#[cfg(test)]
pub(super) fn written(json: &Value, photo: Option<&[u8]>) -> String {
    let mut lines = Lines::default();
    let record = Record::new(crate::format::record::ItemKind::Contact, "id", "", "");
    card(&mut lines, json, &record, photo);
    String::from_utf8_lossy(&lines.finish()).into_owned()
}
