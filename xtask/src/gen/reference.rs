//! The reference in Markdown.

use std::fmt::Write;

use super::interface::{Call, Field, Kind, Message, Service, short_name};
use super::{CODES, sample};

const INTRODUCTION: &str = "\
<!-- Generated from proto/ by `cargo xtask gen`. -->

# The interface

Every call of a node, over REST and gRPC alike. A node shows the same on its page `/docs`, where calls can be
tried, and gives it as OpenAPI at `/docs/openapi.json`.

- The fields of a GET stand in the query, those of a POST in a JSON body; `{name}` in a path is a field too. No
  body is an empty object, unknown fields are ignored, content types do not matter.
- Names are lowerCamelCase; proto names are read too. 64-bit numbers are strings in answers, and strings or
  numbers in requests. Fields that are zero or empty are written, *optional* ones without a value are not.
- A stream is lines of JSON, `{\"result\":...}` each, or the same in the text frames of a websocket.
- **pays**: the call pays, if only fees. **owner**: it answers to the node's own machine only. **file**: over REST
  the answer's body is the file itself, its type the header `content-type`.

";

/// The document.
pub(super) fn document(services: &[Service]) -> String {
    let mut text = INTRODUCTION.to_owned();
    index(&mut text, services);
    errors(&mut text);
    for service in services {
        let _ = write!(text, "## {}\n\n`{}`. {}\n\n", service.name, service.full_name, service.comment);
        for call in &service.calls {
            write_call(&mut text, call);
        }
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn index(text: &mut String, services: &[Service]) {
    text.push_str("| service | call | REST | |\n|---|---|---|---|\n");
    for service in services {
        for call in &service.calls {
            let (name, anchor) = (&call.name, call.name.to_lowercase());
            let _ = writeln!(
                text,
                "| {} | [{name}](#{anchor}) | `{} {}` | {} |",
                service.name,
                call.verb,
                call.path,
                marks(call)
            );
        }
    }
    text.push('\n');
}

fn marks(call: &Call) -> String {
    let marks =
        [("pays", call.pays), ("owner", call.owner_only), ("stream", call.streams), ("file", call.is_file)];
    marks.iter().filter(|(_, given)| *given).map(|(mark, _)| *mark).collect::<Vec<_>>().join(", ")
}

fn errors(text: &mut String) {
    text.push_str(
        "## Errors\n\nAn error is `{\"code\":5,\"message\":\"Not Found\",\"details\":[]}`: the code of gRPC, a text for \
         people, and\nfor programs at most one `google.rpc.ErrorInfo` with `reason`, `domain` and `metadata`.\n\n\
         | code | name | HTTP status |\n|---|---|---|\n",
    );
    for (code, name, status) in CODES {
        let _ = writeln!(text, "| {code} | {name} | {status} |");
    }
    text.push('\n');
}

fn write_call(text: &mut String, call: &Call) {
    let _ = write!(text, "### {}\n\n`{} {}` · gRPC `{}`", call.name, call.verb, call.path, call.grpc_name);
    let marks = marks(call);
    if !marks.is_empty() {
        let _ = write!(text, " · **{marks}**");
    }
    let _ = write!(text, "\n\n{}\n\n```sh\n{}\n```\n\n", call.comment, sample::curl(call));
    fields(text, "Request", &call.input);
    let answer = if call.streams { "Each answer" } else { "Answer" };
    fields(text, answer, &call.output);
    for inner in call.output.with_inner().into_iter().skip(1) {
        fields(text, short_name(&inner.full_name), inner);
    }
}

fn fields(text: &mut String, what: &str, message: &Message) {
    let _ = write!(text, "{what}: {}\n\n", lower_first(&message.comment));
    if message.fields.is_empty() {
        return;
    }
    text.push_str("| field | type | |\n|---|---|---|\n");
    for field in &message.fields {
        let comment = field.comment.replace('|', "\\|");
        let _ = writeln!(text, "| `{}` | {} | {comment} |", field.name, kind(field));
    }
    text.push('\n');
}

fn kind(field: &Field) -> String {
    let list = if field.repeated { "list of " } else { "" };
    let optional = if field.optional { ", optional" } else { "" };
    match &field.kind {
        Kind::Message(message) => format!("{list}{}", short_name(&message.full_name)),
        kind => format!("{list}{}{optional}", kind.name()),
    }
}

/// A sentence that goes on after a colon. Acronyms stay as they are.
fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    match letters.next() {
        Some(first) if letters.clone().next().is_none_or(|second| !second.is_uppercase()) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => sentence.to_owned(),
    }
}
