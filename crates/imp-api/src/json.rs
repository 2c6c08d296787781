//! JSON of the REST interface, to and from protobuf, by the rules that the gateway of the 2021 API had.
//!
//! The proto3 JSON mapping, with the liberties that its clients lean on: no body at all is an empty message, whatever
//! follows the first value is ignored, fields are known by both their spellings, unknown fields are ignored, and 64-bit
//! numbers may be text. A field that stands twice is refused.
//!
//! Reading is two passes. [`scan`](self) finds the first value and proves it well-formed without recursion; then
//! the fields that the descriptor knows are written as protobuf. The general decoder of prost-reflect takes duplicates
//! and refuses `"10.0"` and `"1e2"`; repairing that would need the first pass anyway, and most of the second.

mod decode;
mod number;
mod query;
mod scan;

#[cfg(test)]
mod tests;

use std::fmt;

use prost::{DecodeError, Message, Name};
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};
use thiserror::Error;

use crate::descriptors;

/// Nesting of arrays and objects that is read, known fields or not.
pub const MAX_DEPTH: usize = 10_000;

/// Why a body or a query string is no such message. Always the caller's mistake: INVALID_ARGUMENT.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The text is no JSON from this byte on.
    #[error("invalid character {} {context} {at}", Quoted(*byte))]
    Character {
        /// The byte that cannot stand here.
        byte: u8,
        /// Where in the grammar "here" is.
        context: &'static str,
        /// Where in the text.
        at: Position,
    },
    /// The text ends within a value.
    #[error("unexpected EOF: the JSON is cut off")]
    UnexpectedEof,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    #[error("exceeded max depth: more than {MAX_DEPTH} arrays and objects within each other")]
    TooDeep,
    /// The text is not UTF-8.
    #[error("invalid UTF-8 in string {at}")]
    InvalidUtf8 {
        /// Where in the text.
        at: Position,
    },
    /// Half of a surrogate pair stands alone.
    #[error("invalid escape code {escape:?} in string {at}: half of a surrogate pair")]
    LoneSurrogate {
        /// The escape as written.
        escape: String,
        /// Where in the text.
        at: Position,
    },
    /// Another kind of value is needed here, such as an object for the body itself.
    #[error("syntax error {at}: unexpected token {token}, {wanted} is needed")]
    UnexpectedToken {
        /// The token, cut to a bearable length.
        token: String,
        /// What would have been right.
        wanted: &'static str,
        /// Where in the text.
        at: Position,
    },
    /// A field stands twice, in whichever of its spellings.
    #[error("duplicate field {field:?}")]
    DuplicateField {
        /// The field's JSON name.
        field: String,
    },
    /// A value is none of the field's type.
    #[error("field {field}: invalid value for {kind} type: {value}")]
    InvalidValue {
        /// The field's JSON name.
        field: String,
        /// The proto name of the type.
        kind: &'static str,
        /// The value as written, cut to a bearable length.
        value: String,
    },
    /// The field has a type that this interface does not carry; a test keeps such fields out of the protos.
    #[error("field {field}: has a type that REST does not carry; use gRPC")]
    Unsupported {
        /// The field's JSON name.
        field: String,
    },
}

/// A place in a text, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl Position {
    /// The place of the byte `offset` of `text`.
    fn of(text: &[u8], offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(line {}:{})", self.line, self.column)
    }
}

/// A byte between single quotes; Latin-1 beyond ASCII, which is how clients of 2021 saw a byte-order mark: `'ï'`.
struct Quoted(u8);

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b'"' => f.write_str("'\"'"),
            byte => write!(f, "'{}'", char::from(byte).escape_debug()),
        }
    }
}

/// The protobuf bytes of a request's JSON body.
///
/// Pure, and for any bytes: never panics, needs memory in proportion to the body.
///
/// # Errors
/// What was wrong, and where.
pub fn decode_request(desc: &MessageDescriptor, body: &[u8]) -> Result<Vec<u8>, JsonError> {
    match scan::first_value(body)? {
        Some(value) => decode::message(desc, value),
        None => Ok(Vec::new()),
    }
}

/// The protobuf bytes of the message whose fields stand in a URL's query string, without the question mark.
///
/// Values follow the rules of text in a JSON body; a bool may also be `1` or `0`. Unknown names are ignored.
///
/// # Errors
/// [`JsonError::InvalidValue`] and [`JsonError::DuplicateField`].
pub fn decode_query(desc: &MessageDescriptor, query: &str) -> Result<Vec<u8>, JsonError> {
    query::message(desc, query)
}

/// Adds fields that stood in a URL's path to the protobuf of a request. They count, whatever the body or the query says.
///
/// # Errors
/// [`JsonError::InvalidValue`].
pub fn add_path_fields(
    desc: &MessageDescriptor,
    protobuf: &mut Vec<u8>,
    fields: &[(&str, &str)],
) -> Result<(), JsonError> {
    query::path_fields(desc, protobuf, fields)
}

/// The JSON of a message: lowerCamelCase names in order of field numbers, zero values written, absent `optional` fields
/// not, 64-bit numbers as text, no newline.
///
/// # Errors
/// If the bytes are no such message.
pub fn encode_response(desc: &MessageDescriptor, protobuf: &[u8]) -> Result<String, DecodeError> {
    let message = DynamicMessage::decode(desc.clone(), protobuf)?;
    let mut json = Vec::with_capacity(128 + protobuf.len() + protobuf.len() / 8);
    message
        .serialize_with_options(
            &mut serde_json::Serializer::new(&mut json),
            &SerializeOptions::new().skip_default_fields(false),
        )
        .expect("writing to memory cannot fail, and every key is text");
    Ok(String::from_utf8(json).expect("the serializer writes UTF-8"))
}

/// A request of a known type from its JSON body.
///
/// # Errors
/// As [`decode_request`].
pub fn from_json<M: Message + Name + Default>(body: &[u8]) -> Result<M, JsonError> {
    let protobuf = decode_request(&descriptors::of::<M>(), body)?;
    Ok(M::decode(protobuf.as_slice()).expect("the bytes were written for this very message"))
}

/// The JSON of a message of a known type, as REST answers it.
pub fn to_json<M: Message + Name>(message: &M) -> String {
    encode_response(&descriptors::of::<M>(), &message.encode_to_vec())
        .expect("the bytes were written by this very message")
}
