//! What a body may hold: every property must be one of its type and have the form that Graph's metadata gives it; what only
//! the service sets is refused.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::query::Request;
use super::reply::{Answer, Reply};

/// The types, one a line, from the public service metadata.
const TEXT: &str = include_str!("schema.txt");

/// An entity that clients write.
#[derive(Debug)]
pub(super) struct Entity {
    /// Its name in Graph: `contact`.
    pub(super) name: &'static str,
    /// What only the service sets.
    pub(super) read_only: &'static [&'static str],
    /// What must come when one is made.
    pub(super) required: &'static [&'static str],
    /// What may come beside the properties of the type: navigations, checked by the handler.
    pub(super) beside: &'static [&'static str],
}

struct Type {
    open: bool,
    properties: HashMap<&'static str, &'static str>,
}

struct Schema {
    types: HashMap<&'static str, Type>,
    enumerations: HashMap<&'static str, Vec<&'static str>>,
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let mut schema = Schema { types: HashMap::new(), enumerations: HashMap::new() };
    let lines = TEXT.lines().filter(|line| !line.starts_with('#'));
    for (name, rest) in lines.filter_map(|line| line.split_once(':')) {
        let all = rest.split(',').map(str::trim).filter(|part| !part.is_empty());
        match name.strip_prefix('=') {
            Some(name) => drop(schema.enumerations.insert(name, all.collect())),
            None => {
                let properties = all.filter_map(|part| part.split_once(' ')).collect();
                let open = name.ends_with('*');
                schema.types.insert(name.trim_end_matches('*'), Type { open, properties });
            }
        }
    }
    schema
});

fn refuse(text: &str) -> Reply {
    Reply::fail(400, "RequestBodyRead", text)
}

/// A body that is a JSON object.
pub(super) fn object(request: &Request) -> Answer<Map<String, Value>> {
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(map)) => Ok(map),
        _ => Err(Reply::fail(400, "BadRequest", "Unable to read JSON request payload.")),
    }
}

impl Entity {
    /// The body of a request that makes one.
    pub(super) fn new_body(&self, request: &Request) -> Answer<Map<String, Value>> {
        self.of_new(object(request)?)
    }

    /// The same of a body out of which something was taken.
    pub(super) fn of_new(&self, map: Map<String, Value>) -> Answer<Map<String, Value>> {
        let body = self.checked(map)?;
        for name in self.required {
            if body.get(*name).is_none_or(Value::is_null) {
                let text = format!("The property '{name}' is required when creating the entity.");
                return Err(Reply::fail(400, "ErrorInvalidRequest", &text));
            }
        }
        Ok(body)
    }

    /// The body of a request that makes or changes one.
    pub(super) fn body(&self, request: &Request) -> Answer<Map<String, Value>> {
        self.checked(object(request)?)
    }

    fn checked(&self, mut map: Map<String, Value>) -> Answer<Map<String, Value>> {
        let own = format!("#microsoft.graph.{}", self.name);
        if map.shift_remove("@odata.type").is_some_and(|given| given != own.as_str()) {
            return Err(refuse(&format!("A value of the type '{own}' was expected.")));
        }
        self.check(&map)?;
        Ok(map)
    }

    /// Checks what is given of one.
    pub(super) fn check(&self, map: &Map<String, Value>) -> Answer<()> {
        let Some(known) = SCHEMA.types.get(self.name) else { return Ok(()) };
        for (name, value) in map.iter().filter(|(name, _)| !self.beside.contains(&name.as_str())) {
            let Some(form) = known.properties.get(name.as_str()) else {
                return Err(unknown(name, self.name));
            };
            if name == "id" || self.read_only.contains(&name.as_str()) {
                let text = format!("The property '{name}' is read-only and cannot be set.");
                return Err(Reply::fail(400, "ErrorInvalidPropertySet", &text));
            }
            check(value, form, name)?;
        }
        Ok(())
    }

    /// What a new one has where nothing was given: of the rows that are shown, those that can be set.
    pub(super) fn defaults(&self, shown: &Map<String, Value>) -> Map<String, Value> {
        let known = SCHEMA.types.get(self.name);
        let mut map = Map::new();
        for name in shown.keys().filter(|name| *name != "id" && !self.read_only.contains(&name.as_str())) {
            let Some(form) = known.and_then(|known| known.properties.get(name.as_str())) else { continue };
            let value = match *form {
                "Boolean" => Value::from(false),
                form if form.starts_with("Collection(") => Value::Array(Vec::new()),
                _ => Value::Null,
            };
            map.insert(name.clone(), value);
        }
        map
    }
}

fn unknown(name: &str, of: &str) -> Reply {
    refuse(&format!(
        "The property '{name}' does not exist on type 'microsoft.graph.{of}'. Make sure to only use property names that \
         are defined by the type."
    ))
}

fn check(value: &Value, form: &str, name: &str) -> Answer<()> {
    let wrong = || refuse(&format!("Cannot convert the value of '{name}' to the expected type '{form}'."));
    if let Some(inner) = form.strip_prefix("Collection(").and_then(|form| form.strip_suffix(')')) {
        let all = value.as_array().ok_or_else(wrong)?;
        return all.iter().try_for_each(|one| check(one, inner, name));
    }
    if value.is_null() {
        return Ok(());
    }
    if let Some(members) = SCHEMA.enumerations.get(form) {
        let known = |given: &str| members.iter().any(|member| member.eq_ignore_ascii_case(given));
        return if value.as_str().is_some_and(known) { Ok(()) } else { Err(wrong()) };
    }
    if let Some(known) = SCHEMA.types.get(form) {
        let map = value.as_object().ok_or_else(wrong)?;
        for (name, value) in map.iter().filter(|(name, _)| !name.starts_with("@odata.")) {
            match known.properties.get(name.as_str()) {
                Some(form) => check(value, form, name)?,
                None if known.open => {}
                None => return Err(unknown(name, form)),
            }
        }
        return Ok(());
    }
    let text = value.as_str();
    let right = match form {
        "Boolean" => value.is_boolean(),
        "Int32" | "Int64" | "Byte" => value.is_i64(),
        "Double" | "Single" | "Decimal" => value.is_number(),
        "DateTimeOffset" => text.is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        "Date" => text.is_some_and(|text| text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()),
        "TimeOfDay" => text.is_some_and(|text| text.parse::<jiff::civil::Time>().is_ok()),
        "String" | "Guid" | "Binary" | "Duration" | "Stream" => value.is_string(),
        // What is told of identities and places in the service alone.
        _ => value.is_object(),
    };
    if right { Ok(()) } else { Err(wrong()) }
}
