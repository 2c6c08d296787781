//! The second pass: the fields that a message knows, out of well-formed JSON, written as protobuf.

use std::borrow::Cow;

use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

use super::number::integer;
use super::{JsonError, Position};

/// Characters of a value that an error repeats.
const ECHO_MAX: usize = 60;

/// Messages within messages. Only a message type that holds itself could come near.
const MESSAGE_DEPTH: usize = 100;

/// The protobuf of `json`, which the first pass has proved to be one well-formed value, perhaps after blanks.
pub(super) fn message(desc: &MessageDescriptor, json: &str) -> Result<Vec<u8>, JsonError> {
    let mut cursor = Cursor { text: json, at: 0 };
    let mut protobuf = Vec::with_capacity(json.len());
    cursor.message(desc, &mut protobuf, 0)?;
    Ok(protobuf)
}

/// The wire form of a text that stands for a value of a scalar type, or `None` if it is none.
///
/// `text` is what stood between the quotes of a JSON string, or the value of a parameter of a query string.
pub(super) fn scalar_of_text(field: &FieldDescriptor, text: &str) -> Option<Scalar> {
    match field.kind() {
        Kind::String => Some(Scalar::Bytes(text.to_owned())),
        Kind::Enum(desc) => desc.get_value_by_name(text).map(|value| Scalar::of_i32(value.number())),
        kind => Scalar::of_integer(&kind, integer(text)?),
    }
}

/// The proto name of a field's type.
pub(super) fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::String => "string",
        Kind::Bool => "bool",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Uint32 => "uint32",
        Kind::Uint64 => "uint64",
        Kind::Enum(_) => "enum",
        _ => "message",
    }
}

/// A value that is no message, as it goes onto the wire.
pub(super) enum Scalar {
    Varint(u64),
    Bytes(String),
}

impl Scalar {
    /// Negative numbers take the ten bytes of their 64-bit form, as the encoding wants it for 32-bit types too.
    fn of_i32(number: i32) -> Self {
        Self::Varint(i64::from(number).cast_unsigned())
    }

    fn of_integer(kind: &Kind, number: i128) -> Option<Self> {
        match kind {
            Kind::Int32 | Kind::Enum(_) => i32::try_from(number).ok().map(Self::of_i32),
            Kind::Int64 => i64::try_from(number).ok().map(|number| Self::Varint(number.cast_unsigned())),
            Kind::Uint32 => u32::try_from(number).ok().map(|number| Self::Varint(number.into())),
            Kind::Uint64 => u64::try_from(number).ok().map(Self::Varint),
            _ => None,
        }
    }

    /// Writes the value under a field's number.
    pub(super) fn write(&self, number: u32, protobuf: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => {
                encode_key(number, WireType::Varint, protobuf);
                encode_varint(*value, protobuf);
            }
            Self::Bytes(text) => write_delimited(number, text.as_bytes(), protobuf),
        }
    }
}

fn write_delimited(number: u32, bytes: &[u8], protobuf: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, protobuf);
    encode_varint(bytes.len() as u64, protobuf);
    protobuf.extend_from_slice(bytes);
}

/// Cuts a value to what an error may repeat.
pub(super) fn echo(value: &str) -> String {
    match value.char_indices().nth(ECHO_MAX) {
        Some((end, _)) => format!("{}...", &value[..end]),
        None => value.to_owned(),
    }
}

/// A place in well-formed JSON. The methods lean on that: they look for no errors of form.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn message(
        &mut self,
        desc: &MessageDescriptor,
        protobuf: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), JsonError> {
        if self.peek() != Some(b'{') {
            return Err(self.unexpected("an object"));
        }
        if depth == MESSAGE_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.at += 1;
        let mut seen = Vec::new();
        while self.peek() == Some(b'"') {
            let name = self.string();
            self.skip(b':');
            let field = desc.get_field_by_json_name(&name).or_else(|| desc.get_field_by_name(&name));
            match field {
                None => self.skip_value(),
                Some(field) if seen.contains(&field.number()) => {
                    return Err(JsonError::DuplicateField { field: field.json_name().to_owned() });
                }
                Some(field) => {
                    seen.push(field.number());
                    if self.peek() == Some(b'n') {
                        self.skip_value();
                    } else if field.is_list() {
                        self.list(&field, protobuf, depth)?;
                    } else {
                        self.single(&field, protobuf, depth)?;
                    }
                }
            }
            self.skip(b',');
        }
        self.skip(b'}');
        Ok(())
    }

    fn list(
        &mut self,
        field: &FieldDescriptor,
        protobuf: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), JsonError> {
        if self.peek() != Some(b'[') {
            return Err(self.unexpected("an array"));
        }
        self.at += 1;
        while self.peek() != Some(b']') {
            self.single(field, protobuf, depth)?;
            self.skip(b',');
        }
        self.skip(b']');
        Ok(())
    }

    fn single(
        &mut self,
        field: &FieldDescriptor,
        protobuf: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), JsonError> {
        let scalar = match field.kind() {
            Kind::Message(desc) if !field.is_map() => {
                let mut inner = Vec::new();
                self.message(&desc, &mut inner, depth + 1)?;
                write_delimited(field.number(), &inner, protobuf);
                return Ok(());
            }
            // The common case, without a copy where nothing is escaped.
            Kind::String if self.peek() == Some(b'"') => {
                write_delimited(field.number(), self.string().as_bytes(), protobuf);
                return Ok(());
            }
            Kind::String => None,
            Kind::Bool => self.boolean(),
            Kind::Enum(desc) => self.enumerator(field, &desc),
            kind @ (Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64) => self.number(field, &kind),
            _ => return Err(JsonError::Unsupported { field: field.json_name().to_owned() }),
        };
        match scalar {
            Some(scalar) => {
                self.skip_value();
                scalar.write(field.number(), protobuf);
                Ok(())
            }
            None => Err(JsonError::InvalidValue {
                field: field.json_name().to_owned(),
                kind: kind_name(&field.kind()),
                value: echo(self.token()),
            }),
        }
    }

    /// The bool at hand, not taken.
    fn boolean(&mut self) -> Option<Scalar> {
        match self.peek()? {
            b't' => Some(Scalar::Varint(1)),
            b'f' => Some(Scalar::Varint(0)),
            _ => None,
        }
    }

    /// The whole number at hand, as a number or as text, not taken.
    fn number(&mut self, field: &FieldDescriptor, kind: &Kind) -> Option<Scalar> {
        match self.peek()? {
            b'"' => scalar_of_text(field, &self.lookahead().string()),
            _ => Scalar::of_integer(kind, integer(self.token())?),
        }
    }

    /// The enum value at hand, by name or by number, not taken.
    fn enumerator(&mut self, field: &FieldDescriptor, desc: &EnumDescriptor) -> Option<Scalar> {
        match self.peek()? {
            b'"' => scalar_of_text(field, &self.lookahead().string()),
            _ => Scalar::of_integer(&Kind::Enum(desc.clone()), integer(self.token())?),
        }
    }

    fn lookahead(&self) -> Self {
        Self { text: self.text, at: self.at }
    }

    /// Takes the string at hand.
    fn string(&mut self) -> Cow<'a, str> {
        let start = self.at + 1;
        self.skip_string();
        let raw = &self.text[start..self.at - 1];
        if raw.contains('\\') { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }

    /// Passes over the string at hand.
    fn skip_string(&mut self) {
        let bytes = self.text.as_bytes();
        self.at += 1;
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'"' => {
                    self.at += 1;
                    return;
                }
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
    }

    /// Passes over the value at hand, whatever is in it.
    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        while let Some(byte) = self.peek() {
            match byte {
                b'"' => self.skip_string(),
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.saturating_sub(1);
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                _ => self.at += self.token().len(),
            }
            if depth == 0 {
                return;
            }
        }
    }

    /// The token at hand as written, not taken: a bracket, a string with its quotes, or a bare word or number.
    fn token(&mut self) -> &'a str {
        self.peek();
        let mut end = self.lookahead();
        match self.text.as_bytes().get(self.at) {
            Some(b'"') => end.skip_string(),
            Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => end.at += 1,
            _ => {
                let rest = &self.text[self.at..];
                end.at += rest.find([',', ':', '}', ']', ' ', '\t', '\r', '\n']).unwrap_or(rest.len());
            }
        }
        &self.text[self.at..end.at]
    }

    /// Passes over blanks, and over `byte` if it comes next.
    fn skip(&mut self, byte: u8) {
        if self.peek() == Some(byte) {
            self.at += 1;
        }
    }

    /// The next byte that is no blank. Blanks are passed over.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at)?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn unexpected(&mut self, wanted: &'static str) -> JsonError {
        let token = echo(self.token());
        JsonError::UnexpectedToken { token, wanted, at: Position::of(self.text.as_bytes(), self.at) }
    }
}

/// What a JSON string denotes, from what stands between its quotes.
fn unescape(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(backslash) = rest.find('\\') {
        text.push_str(&rest[..backslash]);
        rest = &rest[backslash + 1..];
        let mut chars = rest.chars();
        match chars.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let (character, length) = unicode_escape(chars.as_str());
                text.push(character);
                rest = &rest[1 + length..];
                continue;
            }
            Some(itself) => text.push(itself),
            None => break,
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    text
}

/// The character of an escape, from what follows its `\u`, and how many bytes of that belong to it: 4, or 10 where the
/// escape is the first half of a surrogate pair.
fn unicode_escape(text: &str) -> (char, usize) {
    let hex4 = |at: usize| text.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    match (hex4(0), hex4(6)) {
        (Some(high @ 0xD800..=0xDBFF), Some(low @ 0xDC00..=0xDFFF)) => {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            (char::from_u32(code).expect("a surrogate pair makes a character"), 10)
        }
        (code, _) => {
            let character = code.and_then(char::from_u32);
            (character.expect("the first pass refuses half pairs and digits that are none"), 4)
        }
    }
}
