//! Fields of a request that stand in its URL: in the query string of a GET, and in the path of either verb.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::JsonError;
use super::decode::{Scalar, echo, kind_name, scalar_of_text};

pub(super) fn message(desc: &MessageDescriptor, query: &str) -> Result<Vec<u8>, JsonError> {
    let mut protobuf = Vec::new();
    let mut seen = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(field) = desc.get_field_by_json_name(&name).or_else(|| desc.get_field_by_name(&name)) else {
            continue;
        };
        if !field.is_list() {
            if seen.contains(&field.number()) {
                return Err(JsonError::DuplicateField { field: field.json_name().to_owned() });
            }
            seen.push(field.number());
        }
        scalar(&field, &value)?.write(field.number(), &mut protobuf);
    }
    Ok(protobuf)
}

/// Of a field that stands twice the last one counts, so that what is appended replaces what a body said.
pub(super) fn path_fields(
    desc: &MessageDescriptor,
    protobuf: &mut Vec<u8>,
    fields: &[(&str, &str)],
) -> Result<(), JsonError> {
    for (name, value) in fields {
        let Some(field) = desc.get_field_by_name(name) else { continue };
        scalar(&field, value)?.write(field.number(), protobuf);
    }
    Ok(())
}

fn scalar(field: &FieldDescriptor, value: &str) -> Result<Scalar, JsonError> {
    let scalar = match field.kind() {
        Kind::Bool => match value {
            "true" | "1" => Some(Scalar::Varint(1)),
            "false" | "0" => Some(Scalar::Varint(0)),
            _ => None,
        },
        Kind::String | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Enum(_) => {
            scalar_of_text(field, value)
        }
        _ => return Err(JsonError::Unsupported { field: field.json_name().to_owned() }),
    };
    scalar.ok_or_else(|| JsonError::InvalidValue {
        field: field.json_name().to_owned(),
        kind: kind_name(&field.kind()),
        value: format!("{:?}", echo(value)),
    })
}
