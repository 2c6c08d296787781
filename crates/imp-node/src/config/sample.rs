//! A configuration file with every key, its default and what it does.

use std::fmt::Write;

use imp_core::record::Service;

use super::keys::{self, KEYS, Key, SERVICE_LIST};

/// The sample. It parses to the defaults: keys that have none stand in comments.
pub fn sample() -> String {
    let mut text = String::from(
        "# Configuration of impd. Every key may be left out; the values here are the defaults.\n\
         # Variables IMP_<SECTION>_<KEY> in the environment go over this file, flags --section-key over both.\n\n",
    );
    let mut section: Vec<&str> = Vec::new();
    for key in KEYS.iter().filter(|key| !key.name.starts_with(SERVICE_LIST)) {
        write_key(&mut text, key, &mut section).expect("writing to a string cannot fail");
    }
    write_services(&mut text).expect("writing to a string cannot fail");
    text
}

/// Writes the headings that lead to the key and the key; `section` is where the text before ends.
fn write_key<'k>(text: &mut String, key: &'k Key, section: &mut Vec<&'k str>) -> std::fmt::Result {
    let mut path: Vec<&str> = key.name.split('.').collect();
    let leaf = path.pop().unwrap_or_default();
    let shared = path.iter().zip(section.iter()).take_while(|(a, b)| a == b).count();
    for (depth, name) in path.iter().enumerate().skip(shared) {
        if depth == 0 {
            text.push('\n');
        }
        // A section of comments only would read as a key without a value.
        let empty = !KEYS.iter().any(|other| {
            other.default.is_some() && other.name.starts_with(&format!("{}.", path[..=depth].join(".")))
        });
        writeln!(text, "{}{}{name}:", "  ".repeat(depth), if empty { "# " } else { "" })?;
    }
    *section = path;
    write_leaf(text, &"  ".repeat(section.len()), leaf, key)
}

fn write_leaf(text: &mut String, indent: &str, leaf: &str, key: &Key) -> std::fmt::Result {
    writeln!(text, "{indent}# {}", key.doc)?;
    match key.default {
        Some(default) => writeln!(text, "{indent}{leaf}: {default}"),
        None if key.example.is_empty() => writeln!(text, "{indent}# {leaf}:"),
        None => writeln!(text, "{indent}# {leaf}: {}", key.example),
    }
}

fn write_services(text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "\n# The services. Their record numbers must be the same on every node that is to be reached."
    )?;
    writeln!(text, "{SERVICE_LIST}:")?;
    for service in Service::ALL {
        writeln!(text, "  - service_type: {service}")?;
        for leaf in ["active", "custom_record_number", "additional_service_data"] {
            if let Some(key) = keys::find(&format!("{SERVICE_LIST}.{service}.{leaf}")) {
                write_leaf(text, "    ", leaf, key)?;
            }
        }
    }
    Ok(())
}
