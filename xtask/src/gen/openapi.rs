//! The OpenAPI document.

use serde_json::{Map, Value, json};

use super::interface::{Call, Field, Kind, Message, Service, first_sentence};
use super::{CODES, sample};

const DESCRIPTION: &str = "\
Programs send each other texts over Lightning by this interface, which a node gives to the programs of its owner. \
Fields have lowerCamelCase names; their proto names are read too, unknown ones are ignored. 64-bit numbers are strings \
in answers and strings or numbers in requests. In answers fields stand also where they are zero or empty, but for those \
that are not required. No body at all is an empty object, and the content type does not matter. The same calls are \
there over gRPC.";

/// The document.
pub(super) fn document(services: &[Service]) -> String {
    let tags: Vec<Value> = services
        .iter()
        .map(|it| json!({ "name": it.name, "description": it.comment, "x-grpc-service": it.full_name }))
        .collect();
    let mut paths = Map::new();
    for service in services {
        for call in &service.calls {
            let path = paths.entry(&call.path).or_insert_with(|| json!({}));
            path[call.verb.to_lowercase()] = operation(service, call);
        }
    }
    let document = json!({
        "openapi": "3.0.3",
        "info": {
            "title": "IMP node",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "The node that this document comes from" }],
        "tags": tags,
        "paths": paths,
        "components": { "schemas": schemas(services), "responses": { "Error": error_response() } },
    });
    serde_json::to_string_pretty(&document).expect("every key is text") + "\n"
}

fn operation(service: &Service, call: &Call) -> Value {
    let mut operation = json!({
        "operationId": call.name,
        "tags": [service.name],
        "summary": first_sentence(&call.comment),
        "description": description(call),
        "x-grpc-method": call.grpc_name,
    });
    if call.owner_only {
        operation["x-owner-only"] = json!(true);
    }
    if call.pays {
        operation["x-pays"] = json!(true);
    }
    let parameters = parameters(call);
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
    if has_body(call) {
        operation["requestBody"] = json!({
            "description": call.input.comment,
            "content": { "application/json": { "schema": reference(&call.input) } },
        });
    }
    operation["responses"] =
        json!({ "200": answer(call), "default": { "$ref": "#/components/responses/Error" } });
    operation
}

fn description(call: &Call) -> String {
    if !call.streams {
        return call.comment.clone();
    }
    format!(
        "{} The answer is a stream of lines, each a JSON object. A request for a websocket at the same address gets \
         the same objects, each as a text frame.",
        call.comment
    )
}

fn parameters(call: &Call) -> Vec<Value> {
    let parameter = |field: &Field, place: &str| {
        // In a path a field goes by its proto name, as the path does.
        let name = if place == "path" { &field.proto_name } else { &field.name };
        let mut parameter = json!({ "name": name, "in": place, "description": field.comment });
        if place == "path" {
            parameter["required"] = json!(true);
        }
        parameter["schema"] = schema_of_kind(&field.kind);
        if let Some(sample) = sample::of(field).filter(|_| place == "path") {
            parameter["example"] = sample;
        }
        parameter
    };
    let in_path = call.input.fields.iter().filter(|field| call.in_path(field));
    let mut parameters: Vec<Value> = in_path.map(|field| parameter(field, "path")).collect();
    if call.verb == "GET" {
        parameters.extend(call.fields().map(|field| parameter(field, "query")));
    }
    if let Some(key) = call.fields().find(|field| field.proto_name == "idempotency_key") {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": format!("As the field {}.", key.name),
            "schema": { "type": "string" },
        }));
    }
    parameters
}

fn has_body(call: &Call) -> bool {
    call.verb == "POST" && call.fields().next().is_some()
}

fn answer(call: &Call) -> Value {
    if call.is_file {
        // Which of its types a file has the request may choose.
        return json!({
            "description": "The file. Its type is the header `content-type`.",
            "content": { "*/*": { "schema": { "type": "string", "format": "binary" } } },
        });
    }
    if !call.streams {
        return json!({
            "description": call.output.comment,
            "content": { "application/json": { "schema": reference(&call.output) } },
        });
    }
    let line = json!({
        "type": "object",
        "description": "One line, or one frame: an answer, or the error that ends them.",
        "properties": { "result": reference(&call.output), "error": { "$ref": "#/components/schemas/Status" } },
    });
    let mut answer = json!({
        "description": format!("{} Each line is an object of this kind.", call.output.comment),
        "content": { "application/json": { "schema": line } },
    });
    if call.output.fields.iter().any(|field| field.proto_name == "cursor") {
        answer["headers"] = json!({
            "imp-cursor": {
                "description": "The cursor at which the subscription stands.",
                "schema": { "type": "string", "format": "int64" },
            },
        });
    }
    answer
}

/// Every message that stands in a body.
fn schemas(services: &[Service]) -> Map<String, Value> {
    let mut schemas = Map::new();
    for call in services.iter().flat_map(|service| &service.calls) {
        let answers = if call.is_file { Vec::new() } else { call.output.with_inner() };
        let answers = answers.into_iter().map(|it| (it, true));
        let requests = if has_body(call) { call.input.with_inner() } else { Vec::new() };
        for (message, answered) in requests.into_iter().map(|it| (it, false)).chain(answers) {
            let fields: Vec<&Field> = message.fields.iter().collect();
            schemas.insert(message.full_name.clone(), schema(&message.comment, &fields, answered));
        }
        if has_body(call) {
            // What stands in the path does not stand in the body.
            let fields: Vec<&Field> = call.fields().collect();
            schemas.insert(call.input.full_name.clone(), schema(&call.input.comment, &fields, false));
        }
    }
    schemas.insert("Status".to_owned(), status());
    schemas.insert("ErrorInfo".to_owned(), error_info());
    schemas
}

/// The schema of a message with these fields. A request needs none; an answer has every one that is not optional.
fn schema(comment: &str, fields: &[&Field], answered: bool) -> Value {
    let mut schema = json!({ "type": "object", "description": comment });
    // A message within a message has no zero that could be written.
    let may_lack = |it: &Field| it.optional || (matches!(it.kind, Kind::Message(_)) && !it.repeated);
    let required: Vec<&str> =
        fields.iter().filter(|it| answered && !may_lack(it)).map(|it| it.name.as_str()).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema["properties"] =
        fields.iter().map(|field| (field.name.clone(), property(field, answered))).collect();
    schema
}

fn property(field: &Field, answered: bool) -> Value {
    let mut property = match &field.kind {
        // What stands beside a reference is ignored, so that the comment needs a schema around it.
        Kind::Message(message) if !field.repeated => json!({ "allOf": [reference(message)] }),
        kind if field.repeated => json!({ "type": "array", "items": schema_of_kind(kind) }),
        kind => schema_of_kind(kind),
    };
    let number = matches!(field.kind, Kind::Int64 | Kind::Uint64) && !answered;
    let hint = if number { " A JSON number is read too." } else { "" };
    property["description"] = json!(format!("{}{hint}", field.comment));
    if let Some(sample) = sample::of(field).filter(|_| !field.repeated) {
        property["example"] = sample;
    }
    property
}

fn schema_of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "format": "byte" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int32 => json!({ "type": "integer", "format": "int32" }),
        Kind::Uint32 => json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX }),
        Kind::Int64 => json!({ "type": "string", "format": "int64" }),
        Kind::Uint64 => json!({ "type": "string", "format": "uint64" }),
        Kind::Message(message) => reference(message),
    }
}

fn reference(message: &Message) -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", message.full_name) })
}

fn error_response() -> Value {
    let rows = CODES.map(|(code, name, status)| format!("| {code} | {name} | {status} |\n")).concat();
    let description = format!(
        "The call failed. The HTTP status follows from the code:\n\n| code | name | HTTP status |\n|---|---|---|\n{rows}"
    );
    json!({
        "description": description,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Status" } } },
    })
}

fn status() -> Value {
    json!({
        "type": "object",
        "description": "An error.",
        "required": ["code", "message", "details"],
        "properties": {
            "code": {
                "type": "integer",
                "format": "int32",
                "description": "The code of gRPC. Programs branch on it, and on the reason in `details`.",
                "enum": CODES.map(|(code, _, _)| code),
                "x-enum-varnames": CODES.map(|(_, name, _)| name),
                "x-http-statuses": CODES.map(|(_, _, status)| status),
            },
            "message": { "type": "string", "description": "For people: what was wrong, and what to do." },
            "details": {
                "type": "array",
                "description": "For programs: why. One, or none.",
                "items": { "$ref": "#/components/schemas/ErrorInfo" },
            },
        },
        "example": { "code": 5, "message": "Not Found", "details": [] },
    })
}

fn error_info() -> Value {
    json!({
        "type": "object",
        "description": "Why a call failed: google.rpc.ErrorInfo.",
        "required": ["@type", "reason", "domain", "metadata"],
        "properties": {
            "@type": { "type": "string", "enum": ["type.googleapis.com/google.rpc.ErrorInfo"] },
            "reason": { "type": "string", "description": "In capitals, such as NO_ROUTE." },
            "domain": { "type": "string", "description": "Whose reason it is: imp." },
            "metadata": {
                "type": "object",
                "description": "Facts; `messageId` names a message that failed.",
                "additionalProperties": { "type": "string" },
            },
        },
    })
}
