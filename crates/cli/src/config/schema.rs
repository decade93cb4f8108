//! The JSON schema of the configuration: for editors, and for the pages that are made of it.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};
use tamis_filters::kind;

use super::filters::{Common, KEY};
use super::sections::Sections;

/// The whole schema, for a file.
pub(super) fn whole() -> Value {
    let mut generator = generator();
    let mut root = Sections::json_schema(&mut generator).to_value();
    let variants: Vec<Value> = kind::ALL.iter().map(|entry| filter(entry, &mut generator)).collect();
    root["properties"][KEY] = json!({
        "description": "The filters, in the order in which they are asked.",
        "type": "array",
        "items": { "oneOf": variants },
        "default": [],
    });
    // Conditions have conditions inside.
    let definitions = generator.take_definitions(true);
    if !definitions.is_empty() {
        root["$defs"] = Value::Object(definitions);
    }
    root["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    root["title"] = json!("tamis.toml");
    root
}

/// The keys that every filter has.
pub(super) fn common(generator: &mut SchemaGenerator) -> Value {
    Common::json_schema(generator).to_value()
}

/// The keys of a type of filter: those that all have, and its own.
pub(super) fn filter(entry: &kind::Entry, generator: &mut SchemaGenerator) -> Value {
    let mut common = common(generator);
    let own = entry.schema(generator).to_value();
    common["properties"]["type"] = json!({ "const": entry.name, "description": entry.summary });
    if let (Some(all), Some(own)) = (common["properties"].as_object_mut(), own["properties"].as_object()) {
        all.extend(own.iter().map(|(key, schema)| (key.clone(), schema.clone())));
    }
    if let (Some(all), Some(own)) = (common["required"].as_array_mut(), own["required"].as_array()) {
        all.extend(own.iter().cloned());
    }
    common["description"] = own.get("description").cloned().unwrap_or_else(|| json!(entry.summary));
    common
}

/// Everything stands where it is used, so that pages can be made of it.
pub(super) fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).into_generator()
}

/// The properties of an object, in the order of the source.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    schema["properties"].as_object().unwrap_or(&NONE).iter()
}

/// The object that a value is, or an array of, with keys of its own.
pub(super) fn object(value: &Value) -> Option<&Value> {
    if value["properties"].is_object() {
        return Some(value);
    }
    let within = [&value["items"]].into_iter().chain(value["anyOf"].as_array().into_iter().flatten());
    within.filter(|it| !it.is_null()).find_map(object)
}

/// What is said about a place.
pub(super) fn description(schema: &Value) -> &str {
    schema["description"].as_str().unwrap_or_default()
}

/// Whether a key must be there.
pub(super) fn is_required(object: &Value, key: &str) -> bool {
    object["required"].as_array().is_some_and(|keys| keys.iter().any(|it| it == key))
}
