//! Settings by key, as they were given in file, environment and flags, and their conversion into typed values.
//!
//! Later layers replace earlier ones. A placeholder is noted and replaces nothing. A value that cannot be read is noted
//! as a fault and the default stands in for it, so that all faults come out of one run.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::fault::{Fault, Notice, NoticeKind, Source, shown};
use super::keys::{self, KEYS, Key, Kind};
use super::number;

/// A value as it was given.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Given {
    Text(String),
    List(Vec<String>),
}

#[derive(Default)]
pub(super) struct Settings {
    values: BTreeMap<&'static str, (Given, Source)>,
    pub(super) faults: Vec<Fault>,
    pub(super) notices: Vec<Notice>,
}

impl Settings {
    /// Takes a value over those of earlier layers.
    pub(super) fn put(&mut self, key: &'static Key, given: Given, source: Source) {
        if key.kind == Kind::Ignored {
            // The sample file of 2021 has this key everywhere, always empty.
            let empty = given == Given::Text(String::new());
            if !(empty && key.name.ends_with(".additional_service_data")) {
                self.ignored(&key.name, key, source);
            }
            return;
        }
        if let Given::Text(text) = &given
            && let Some(what) = placeholder(text)
        {
            // An empty list is a list.
            if !(key.kind == Kind::List && text.is_empty()) {
                self.notice(NoticeKind::Placeholder, source, &key.name, format!("{what}: not used"));
                return;
            }
        }
        self.values.insert(&key.name, (given, source));
    }

    /// Notes that what is given under a name, that of a key or of its section, is not used.
    pub(super) fn ignored(&mut self, name: &str, key: &Key, source: Source) {
        self.notice(NoticeKind::Ignored, source, name, format!("is ignored. {}", key.doc));
    }

    pub(super) fn fault(&mut self, source: Source, key: &str, value: Option<&str>, why: &str, remedy: &str) {
        let secret = keys::find(key).is_some_and(|key| key.secret);
        let value = value.map(|value| if secret { "***".to_owned() } else { shown(value) });
        self.faults.push(Fault {
            source,
            key: Some(key.to_owned()),
            value,
            why: why.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    pub(super) fn notice(&mut self, kind: NoticeKind, source: Source, key: &str, text: String) {
        self.notices.push(Notice { kind, source, key: key.to_owned(), text });
    }

    /// Notes a name that is no key.
    pub(super) fn unknown(&mut self, source: Source, name: &str) {
        let nearest = match &source {
            Source::Env(_) => keys::nearest(name, KEYS.iter().map(|key| key.env.as_str())),
            Source::File { .. } => {
                keys::nearest(name, KEYS.iter().map(|key| key.name.as_str()).chain(keys::sections()))
            }
            Source::Flag(_) | Source::Nowhere => {
                keys::nearest(name, KEYS.iter().map(|key| key.name.as_str()))
            }
        };
        let hint = nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest}?"));
        self.notice(
            NoticeKind::UnknownKey,
            source,
            &shown(name),
            format!("is no known key and has no effect{hint}"),
        );
    }

    /// Whether a value was given that is no placeholder.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Where the value comes from.
    pub(super) fn source(&self, name: &str) -> Source {
        self.values.get(name).map_or(Source::Nowhere, |(_, source)| source.clone())
    }

    /// A key without a default.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name)?;
        parse(&text).map_err(|why| self.fault(self.source(name), name, Some(&text), &why, remedy)).ok()
    }

    /// A key with a default.
    pub(super) fn required<T>(
        &mut self,
        name: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.optional(name, remedy, &parse).unwrap_or_else(|| default(name, parse))
    }

    /// A key of 2021 whose nonsense values did no harm then: such a value is noted and not used.
    pub(super) fn lenient<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(name)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(why) => {
                let source = self.source(name);
                let text = format!("is \"{}\", {why}: not used", shown(&text));
                self.notice(NoticeKind::Placeholder, source, name, text);
                self.values.remove(name);
                None
            }
        }
    }

    /// Like [`Self::lenient`] for a key with a default.
    pub(super) fn lenient_or_default<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> T {
        self.lenient(name, &parse).unwrap_or_else(|| default(name, parse))
    }

    pub(super) fn bool(&mut self, name: &str) -> bool {
        self.required(name, "Write true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(true),
            "false" | "no" | "off" | "0" => Ok(false),
            _ => Err("this is neither true nor false".to_owned()),
        })
    }

    /// A whole number with a default.
    pub(super) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> u64 {
        let remedy = format!("Write a whole number from {} to {}", range.start(), range.end());
        self.required(name, &remedy, |text| number_within(text, &range))
    }

    /// A whole number without a default.
    pub(super) fn optional_number(&mut self, name: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let remedy = format!("Write a whole number from {} to {}", range.start(), range.end());
        self.optional(name, &remedy, |text| number_within(text, &range))
    }

    /// A UDP or TCP port with a default.
    pub(super) fn port(&mut self, name: &str) -> u16 {
        // The range makes the conversion exact.
        self.number(name, 1..=u64::from(u16::MAX)) as u16
    }

    /// A list; each item that cannot be read is a fault of its own.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let items = match self.values.get(name) {
            Some((Given::List(items), _)) => items.clone(),
            Some((Given::Text(text), _)) => split(text),
            None => split(default_text(name)),
        };
        let mut list = Vec::new();
        for item in items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()) {
            match parse(item) {
                Ok(value) => list.push(value),
                Err(why) => self.fault(self.source(name), name, Some(item), &why, remedy),
            }
        }
        list
    }

    /// The text that was given for a key of one value.
    fn text(&mut self, name: &str) -> Option<String> {
        debug_assert!(keys::find(name).is_some(), "{name} is not in the table");
        match self.values.get(name)? {
            (Given::Text(text), _) => Some(text.trim().to_owned()),
            (Given::List(_), source) => {
                self.fault(
                    source.clone(),
                    name,
                    None,
                    "a list is given where one value is expected",
                    "Write one value behind the colon",
                );
                None
            }
        }
    }
}

fn default_text(name: &str) -> &'static str {
    keys::find(name).and_then(|key| key.default).unwrap_or("")
}

fn default<T>(name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
    parse(default_text(name)).expect("each default of the table can be read, which a test holds")
}

/// The items of a list in one text: commas between them, brackets around them or not.
fn split(text: &str) -> Vec<String> {
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    inner.split(',').map(str::to_owned).collect()
}

fn number_within(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let number = number::whole_number(text)?;
    if range.contains(&number) { Ok(number) } else { Err("this number is out of range".to_owned()) }
}

/// Why a text stands for no value: sample files of 2021 are full of such.
fn placeholder(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let is_asdf = text.len() >= 8
        && text.len().is_multiple_of(4)
        && text.as_bytes().chunks(4).all(|chunk| chunk == b"asdf");
    if text.is_empty() {
        Some("is empty")
    } else if is_asdf || text == "YOUR_IMP_ID" || text.starts_with("/path/to/") {
        Some("is the placeholder of a sample file")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_told_from_values() {
        for text in ["", "  ", "asdfasdf", "asdfasdfasdf", "YOUR_IMP_ID", "/path/to/tls.cert"] {
            assert!(placeholder(text).is_some(), "{text:?}");
        }
        for text in ["asdf", "asdfasdfasd", "alice", "/home/me/tls.cert", "0"] {
            assert!(placeholder(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn lists_are_read_with_and_without_brackets() {
        assert_eq!(split("[a, b]"), ["a", " b"]);
        assert_eq!(split("a,b"), ["a", "b"]);
        assert_eq!(split("[]"), [""]);
    }
}
