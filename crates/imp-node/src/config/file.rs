//! Reads the configuration file: YAML into settings by key.
//!
//! The YAML is read without a schema, so that a wrong value does not hide the faults after it, and scalars keep the text
//! they have in the file: a name `007` stays `007`.

use std::fmt;
use std::path::Path;

use imp_core::record::Service;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::AliasLimits;
use serde_saphyr::{NonFiniteFloatPolicy, Options, Spanned};

use super::fault::{Fault, Faults, Source, shown};
use super::keys::{self, Kind, SERVICE_LIST};
use super::settings::{Given, Settings};
use super::unreadable::Unreadable;

/// Largest configuration file in bytes; the sample is a hundredth of it.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// A key and what stands behind its colon.
type Entry = (Spanned<String>, Spanned<Node>);

/// A YAML node without a schema.
enum Node {
    Null,
    Text(String),
    /// A scalar that the parser took for a number or a truth value, in the parser's spelling.
    Typed(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<Entry>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Typed(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

/// Limits that no configuration comes near and that keep a hostile file from taking memory or stack.
fn options() -> Options {
    let mut alias_limits = AliasLimits::default();
    alias_limits.max_total_replayed_events = 10_000;
    alias_limits.max_replay_stack_depth = 8;
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 32,
            flow_nesting_limit: 32,
            max_documents: 1,
            max_events: 100_000,
            max_nodes: 50_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 10_000,
            max_recorded_anchor_bytes: MAX_FILE_BYTES,
            max_total_scalar_bytes: 4 * MAX_FILE_BYTES,
            max_merge_keys: 100,
        },
        alias_limits: alias_limits,
        // `imp_id: on` is a name; keys that take truth values read `on` themselves.
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        // A snippet would show the lines around the fault, passwords included.
        with_snippet: false,
    }
}

/// Puts what the file says into `settings`. What is wrong with single keys is noted there; an error means that the file
/// as a whole cannot be read.
pub(super) fn read(text: &str, path: &Path, settings: &mut Settings) -> Result<(), Faults> {
    let whole = |line, why: String, remedy: &str| {
        let source = Source::File { path: path.to_owned(), line };
        Faults::from(Fault { source, key: None, value: None, why, remedy: remedy.to_owned() })
    };
    if text.len() > MAX_FILE_BYTES {
        let why = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(whole(0, why, "Name a configuration file; `impd config sample` prints one"));
    }
    // Editors on Windows write a byte-order mark, which is no part of the first key.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root: Spanned<Node> = serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let Unreadable { line, why, remedy } = Unreadable::of(&error, text);
        whole(line, why, remedy)
    })?;
    let mut reader = Reader { text, path, settings };
    match root.value {
        Node::Null => Ok(()),
        Node::Map(entries) => {
            reader.section("", entries);
            Ok(())
        }
        Node::Text(_) | Node::Typed(_) | Node::List(_) => Err(whole(
            root.referenced.line(),
            "the file is no list of `section:` and `key: value` lines".to_owned(),
            "Compare it with `impd config sample`",
        )),
    }
}

struct Reader<'r> {
    text: &'r str,
    path: &'r Path,
    settings: &'r mut Settings,
}

impl Reader<'_> {
    fn section(&mut self, prefix: &str, entries: Vec<Entry>) {
        for (written, node) in entries {
            let place = self.source(&written);
            let name = if prefix.is_empty() { written.value } else { format!("{prefix}.{}", written.value) };
            if name == SERVICE_LIST {
                self.service_list(node);
            } else if let Some(key) = keys::find(&name) {
                let source = self.source(&node);
                match self.given(node) {
                    Some(given) => self.settings.put(key, given, source),
                    // What is not used is told, and need not make sense.
                    None if key.kind == Kind::Ignored => self.settings.ignored(&name, key, place),
                    None => self.settings.fault(
                        source,
                        &key.name,
                        None,
                        "it holds keys of its own where one value is expected",
                        "Write the value behind the colon",
                    ),
                }
            } else if keys::is_section(&name) {
                match node.value {
                    Node::Null => {}
                    Node::Map(entries) => self.section(&name, entries),
                    Node::Text(_) | Node::Typed(_) | Node::List(_) => match keys::ignored_section(&name) {
                        Some(key) => self.settings.ignored(&name, key, place),
                        None => self.settings.fault(
                            place,
                            &name,
                            None,
                            "this is a section, but no keys stand below it",
                            "Write its keys below it, indented; `impd config sample` shows them",
                        ),
                    },
                }
            } else {
                self.settings.unknown(place, &name);
            }
        }
    }

    /// The original's list of services: each entry names its service and holds that service's keys.
    fn service_list(&mut self, node: Spanned<Node>) {
        const REMEDY: &str = "Write `- service_type: message` and that service's keys below it";
        let source = self.source(&node);
        let entries = match node.value {
            Node::Null => return,
            Node::List(entries) => entries,
            Node::Text(_) | Node::Typed(_) | Node::Map(_) => {
                return self.settings.fault(source, SERVICE_LIST, None, "this is no list", REMEDY);
            }
        };
        let mut seen = Vec::new();
        for entry in entries {
            let source = self.source(&entry);
            let Node::Map(mut fields) = entry.value else {
                self.settings.fault(source, SERVICE_LIST, None, "an entry holds no keys", REMEDY);
                continue;
            };
            let named = fields
                .iter()
                .position(|(name, _)| name.value == "service_type")
                .map(|at| fields.remove(at).1);
            let name = match named.and_then(|node| self.given(node)) {
                Some(Given::Text(name)) => name,
                Some(Given::List(_)) | None => {
                    self.settings.fault(source, SERVICE_LIST, None, "an entry has no service_type", REMEDY);
                    continue;
                }
            };
            let Some(service) = Service::from_name(&name) else {
                let key = format!("{SERVICE_LIST}.{}", shown(&name));
                self.settings.unknown(source, &key);
                continue;
            };
            if seen.contains(&service) {
                let key = format!("{SERVICE_LIST}.{service}");
                self.settings.fault(
                    source,
                    &key,
                    None,
                    "this service stands in the list twice",
                    "Leave one entry",
                );
                continue;
            }
            seen.push(service);
            self.section(&format!("{SERVICE_LIST}.{service}"), fields);
        }
    }

    fn source<T>(&self, node: &Spanned<T>) -> Source {
        Source::File { path: self.path.to_owned(), line: node.referenced.line() }
    }

    /// The value of a key, or nothing where the node is a mapping or a list of other than scalars.
    fn given(&self, node: Spanned<Node>) -> Option<Given> {
        Some(match node.value {
            Node::List(items) => {
                Given::List(items.into_iter().map(|item| self.scalar(item)).collect::<Option<_>>()?)
            }
            Node::Null | Node::Text(_) | Node::Typed(_) | Node::Map(_) => Given::Text(self.scalar(node)?),
        })
    }

    fn scalar(&self, node: Spanned<Node>) -> Option<String> {
        match node.value {
            Node::Null => Some(String::new()),
            Node::Text(text) => Some(text),
            Node::Typed(spelling) => {
                let span = node.defined.span();
                let start = span.byte_offset().map(|offset| offset as usize);
                let written = start.zip(span.byte_len()).and_then(|(start, len)| {
                    let slice = self.text.get(start..start.checked_add(len as usize)?)?.trim();
                    (!slice.is_empty() && !slice.contains(char::is_whitespace)).then_some(slice)
                });
                Some(written.map_or(spelling, str::to_owned))
            }
            Node::List(_) | Node::Map(_) => None,
        }
    }
}
