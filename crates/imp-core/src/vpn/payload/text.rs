//! JSON objects of texts: how they are read and written.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

use super::{MAX_PAYLOAD_BYTES, PayloadError};

/// Every key of every text of this service.
const KEYS: [&str; 25] = [
    "recordId",
    "type",
    "nonce",
    "price",
    "pubkey",
    "id",
    "valid_secs",
    "expiry",
    "duration_secs",
    "max_secs",
    "remaining_secs",
    "data_bytes",
    "bytes_per_sec",
    "privkey",
    "serverIp",
    "serverPort",
    "serverPubKey",
    "clientIp",
    "allowedIp",
    "dnsIp",
    "psk",
    "mtu",
    "amount",
    "received",
    "reason",
];

/// The known keys of a text with their values.
pub(in crate::vpn) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(in crate::vpn) fn parse(text: &str) -> Result<Self, PayloadError> {
        if text.len() > MAX_PAYLOAD_BYTES {
            return Err(PayloadError::TooLong);
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let fields = json.deserialize_map(FieldsVisitor).map_err(|_| PayloadError::Malformed)?;
        json.end().map_err(|_| PayloadError::Malformed)?;
        Ok(fields)
    }

    pub(in crate::vpn) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| value.as_str())
    }

    pub(in crate::vpn) fn text(&self, field: &'static str) -> Result<&str, PayloadError> {
        self.get(field).ok_or(PayloadError::Missing { field })
    }

    /// A value of a type that reads one spelling of each of its values, or refuses what it should.
    pub(in crate::vpn) fn value<T: FromStr>(
        &self,
        field: &'static str,
        expected: &'static str,
    ) -> Result<T, PayloadError> {
        self.text(field)?.parse().map_err(|_| PayloadError::Field { field, expected })
    }

    pub(in crate::vpn) fn number(
        &self,
        field: &'static str,
        range: &RangeInclusive<u64>,
    ) -> Result<u64, PayloadError> {
        let wrong = PayloadError::Number { field, from: *range.start(), to: *range.end() };
        number(self.text(field)?).filter(|found| range.contains(found)).ok_or(wrong)
    }

    pub(in crate::vpn) fn optional_number(
        &self,
        field: &'static str,
        range: &RangeInclusive<u64>,
    ) -> Result<Option<u64>, PayloadError> {
        self.get(field).map(|_| self.number(field, range)).transpose()
    }
}

/// The number whose one spelling in decimal digits this is.
pub(super) fn number(text: &str) -> Option<u64> {
    // The length keeps a long text from being compared with a short one.
    let found = (text.len() <= 20).then(|| text.parse::<u64>().ok()).flatten()?;
    (found.to_string() == text).then_some(found)
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with texts as values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields(Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            let Some(known) = KEYS.into_iter().find(|known| *known == key) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // Of two values under one key, another reader may take the other one.
            if fields.get(known).is_some() {
                return Err(A::Error::duplicate_field(known));
            }
            fields.0.push((known, map.next_value()?));
        }
        Ok(fields)
    }
}

/// A text that is being written, key by key.
pub(in crate::vpn) struct Object(String);

impl Object {
    pub(in crate::vpn) fn new(record_id: &str, kind: &str) -> Self {
        Self(String::with_capacity(256)).text("recordId", record_id).text("type", kind)
    }

    pub(in crate::vpn) fn text(mut self, key: &'static str, value: &str) -> Self {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.push_text(key);
        self.0.push(':');
        self.push_text(value);
        self
    }

    pub(in crate::vpn) fn number(self, key: &'static str, value: u64) -> Self {
        self.text(key, &value.to_string())
    }

    pub(in crate::vpn) fn optional_number(self, key: &'static str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    pub(in crate::vpn) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn push_text(&mut self, text: &str) {
        self.0.push_str(&serde_json::to_string(text).expect("any text can be written as JSON"));
    }
}
