//! The documents that are generated from the protos, against the descriptors that the node works by.

use std::collections::{BTreeSet, HashSet};

use imp_api::error::Code;
use imp_api::rest::{Route, routes};
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value;

const REFERENCE: &str = include_str!("../../../docs/reference/api.md");
const PAGE: &str = include_str!("../../../docs/reference/index.html");

fn openapi() -> Value {
    let text = include_str!("../../../docs/reference/openapi.json");
    serde_json::from_str(text).expect("the document is JSON")
}

fn operation<'d>(document: &'d Value, route: &Route) -> &'d Value {
    let operation = &document["paths"][&route.path][route.verb.as_str().to_lowercase()];
    assert!(operation.is_object(), "{} {} is missing", route.verb, route.path);
    operation
}

fn path_fields(route: &Route) -> BTreeSet<String> {
    let segments = route.path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'));
    segments.map(str::to_owned).collect()
}

/// The object to which a reference leads, or the value itself.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect(reference),
        None => value,
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}"))
}

#[test]
fn openapi_has_every_route_once_and_nothing_else() {
    let document = openapi();
    assert_eq!(document["openapi"], "3.0.3");
    let tags: HashSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| text(tag, "name")).collect();
    let (mut ids, mut described) = (HashSet::new(), 0);
    for route in routes().iter() {
        let operation = operation(&document, route);
        described += 1;
        assert!(ids.insert(text(operation, "operationId")), "{} stands twice", operation["operationId"]);
        assert_eq!(format!("/{}", text(operation, "x-grpc-method")), route.grpc_path);
        assert!(!text(operation, "summary").is_empty() && !text(operation, "description").is_empty());
        assert!(tags.contains(operation["tags"][0].as_str().unwrap()), "{}", route.path);
        assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Error");
    }
    let operations = document["paths"].as_object().unwrap().values();
    assert_eq!(operations.map(|path| path.as_object().unwrap().len()).sum::<usize>(), described);
}

#[test]
fn openapi_says_where_each_field_of_a_request_stands() {
    let document = openapi();
    for route in routes().iter() {
        let operation = operation(&document, route);
        let named = |place: &str| -> BTreeSet<String> {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let here = parameters.filter(|parameter| parameter["in"] == place);
            here.map(|parameter| text(parameter, "name").to_owned()).collect()
        };
        let in_path = path_fields(route);
        assert_eq!(named("path"), in_path, "{}", route.path);
        let rest: BTreeSet<String> = route
            .input
            .fields()
            .filter(|field| !in_path.contains(field.name()))
            .map(|field| field.json_name().to_owned())
            .collect();
        let body = &operation["requestBody"]["content"]["application/json"]["schema"];
        let no_fields = BTreeSet::new();
        let (in_query, in_body) = if route.verb == "GET" { (&rest, &no_fields) } else { (&no_fields, &rest) };
        assert_eq!(&named("query"), in_query, "{}", route.path);
        let properties = resolve(&document, body)["properties"].as_object();
        let properties: BTreeSet<String> = properties.into_iter().flatten().map(|it| it.0.clone()).collect();
        assert_eq!(&properties, in_body, "{}", route.path);
        assert_eq!(resolve(&document, body).get("required"), None, "proto3 requires no field");
    }
}

#[test]
fn openapi_describes_answers_as_they_are_written() {
    let document = openapi();
    for route in routes().iter() {
        let content = &operation(&document, route)["responses"]["200"]["content"];
        if route.is_file {
            let file = serde_json::json!({ "*/*": { "schema": { "type": "string", "format": "binary" } } });
            assert_eq!(content, &file, "{}", route.path);
            continue;
        }
        let schema = &content["application/json"]["schema"];
        let answer = if route.server_streaming { &schema["properties"]["result"] } else { schema };
        assert_describes(&document, answer, &route.output);
    }
}

/// A schema has the fields of a message with their types, and requires those that are always written.
fn assert_describes(document: &Value, schema: &Value, message: &MessageDescriptor) {
    let schema = resolve(document, schema);
    let name = message.full_name();
    assert_eq!(schema["type"], "object", "{name}");
    let properties = schema["properties"].as_object().expect(name);
    assert_eq!(properties.len(), message.fields().len(), "{name}");
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for field in message.fields() {
        let property = &properties[field.json_name()];
        assert!(!text(property, "description").is_empty(), "{}", field.full_name());
        assert_eq!(
            required.contains(&field.json_name()),
            !field.supports_presence(),
            "{}",
            field.full_name()
        );
        let item = if field.is_list() { &property["items"] } else { property };
        match field.kind() {
            Kind::Message(inner) => {
                let one = item.get("allOf").map_or(item, |all| &all[0]);
                assert_describes(document, one, &inner);
            }
            Kind::Int64 | Kind::Uint64 => assert_eq!(item["type"], "string", "{}", field.full_name()),
            Kind::Int32 | Kind::Uint32 => assert_eq!(item["type"], "integer", "{}", field.full_name()),
            Kind::Bool => assert_eq!(item["type"], "boolean", "{}", field.full_name()),
            Kind::String => assert_eq!(item["type"], "string", "{}", field.full_name()),
            other => panic!("{}: {other:?}", field.full_name()),
        }
    }
}

#[test]
fn openapi_has_the_codes_and_statuses_of_the_node() {
    let document = openapi();
    let code = &document["components"]["schemas"]["Status"]["properties"]["code"];
    let errors = &Code::ALL[1..];
    let numbers: Vec<u8> = errors.iter().map(|code| code.number()).collect();
    let statuses: Vec<u16> = errors.iter().map(|code| code.http_status().as_u16()).collect();
    let names: Vec<&str> = errors.iter().map(|code| code.name()).collect();
    assert_eq!(code["enum"], serde_json::json!(numbers));
    assert_eq!(code["x-enum-varnames"], serde_json::json!(names));
    assert_eq!(code["x-http-statuses"], serde_json::json!(statuses));
}

#[test]
fn every_reference_in_openapi_leads_somewhere() {
    fn walk(document: &Value, value: &Value, seen: &mut usize) {
        if let Some(reference) = value.get("$ref") {
            assert!(resolve(document, value).is_object(), "{reference}");
            *seen += 1;
        }
        match value {
            Value::Array(list) => list.iter().for_each(|item| walk(document, item, seen)),
            Value::Object(map) => map.values().for_each(|item| walk(document, item, seen)),
            _ => {}
        }
    }
    let document = openapi();
    let mut seen = 0;
    walk(&document, &document, &mut seen);
    assert!(seen > 60, "{seen}");
}

#[test]
fn what_pays_or_is_the_owners_is_marked() {
    let document = openapi();
    let marked = |mark: &str| -> BTreeSet<&str> {
        let operations = routes().iter().map(|route| operation(&document, route));
        operations.filter(|it| it[mark] == true).map(|it| text(it, "operationId")).collect()
    };
    let pays = marked("x-pays");
    for route in routes().iter() {
        let repeatable = route.input.get_field_by_name("idempotency_key").is_some();
        assert!(!repeatable || pays.contains(route.method.as_str()), "{} is not marked", route.method);
    }
    assert!(pays.contains("OpenChannel") && pays.contains("RetryMessage") && !pays.contains("GetNode"));
    let owners = marked("x-owner-only");
    for name in ["NewAddress", "SendOnchain", "ConnectPeer", "OpenChannel", "CloseChannel", "SendKeysend"] {
        assert!(owners.contains(name), "{name}");
    }
    for name in ["GetVpnConfig", "GetVpnQr", "BringUpVpn", "TakeDownVpn", "SetVpnAutoRefresh"] {
        assert!(owners.contains(name), "{name}");
    }
    assert!(!owners.contains("GetNode") && !owners.contains("SendMessage"));
}

#[test]
fn the_reference_and_the_page_name_everything() {
    for route in routes().iter() {
        assert!(REFERENCE.contains(&format!("### {}\n", route.method)), "{}", route.method);
        assert!(REFERENCE.contains(&format!("`{} {}`", route.verb, route.path)), "{}", route.path);
        assert!(PAGE.contains(&format!("id=\"{}\"", route.method)), "{}", route.method);
        assert!(PAGE.contains(&format!("data-path=\"{}\"", route.path)), "{}", route.path);
        assert!(PAGE.contains(&format!("<code>{}</code>", &route.grpc_path[1..])), "{}", route.grpc_path);
        let place = PAGE.find(&format!("id=\"{}\"", route.method)).expect(&route.method);
        let opening = PAGE[place..].split('>').next().unwrap();
        assert_eq!(opening.contains(" data-file"), route.is_file, "{}", route.method);
        for field in route.input.fields() {
            let id = format!("id=\"{}-{}\"", route.method, field.json_name());
            assert!(PAGE.contains(&id), "{id}");
        }
        for field in route.input.fields().chain(route.output.fields()) {
            assert!(REFERENCE.contains(&format!("| `{}` |", field.json_name())), "{}", field.full_name());
        }
    }
}

#[test]
fn the_page_has_no_script_or_style_of_its_own_and_nothing_from_elsewhere() {
    assert!(!PAGE.contains("style="), "inline style");
    assert!(!PAGE.contains("<style"), "inline style");
    assert!(!PAGE.contains("javascript:"), "inline script");
    for tag in PAGE.split('<').skip(1).filter_map(|tag| tag.split_once('>')).map(|(tag, _)| tag) {
        let handler = |word: &str| word.starts_with("on") && word.contains('=');
        assert!(!tag.split_whitespace().any(handler), "a handler in <{tag}>");
        for attribute in ["src=\"", "href=\"", "action=\""] {
            if let Some((_, value)) = tag.split_once(attribute) {
                assert!(
                    value.starts_with('#') || value.starts_with("/docs/") || value.starts_with("/metrics")
                );
            }
        }
    }
    assert_eq!(PAGE.matches("<script").count(), 1);
    assert!(PAGE.contains(r#"<script src="/docs/docs.js" defer></script>"#));
}
