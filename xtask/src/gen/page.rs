//! The page of documentation that a node serves under `/docs`: all of the interface in HTML that needs no script. Its
//! script, which stands with the code that serves it, makes the forms work.

use std::fmt::Write;

use super::interface::{Call, Field, Kind, Message, Service, first_sentence, short_name};
use super::{CODES, sample};

/// The page.
pub(super) fn document(services: &[Service]) -> String {
    let mut html = HEAD.to_owned();
    navigation(&mut html, services);
    html.push_str(MAIN);
    errors(&mut html);
    for service in services {
        let _ = writeln!(
            html,
            r#"<section class="service" id="service-{name}">
<h2>{name} <code>{full_name}</code></h2>
<p>{comment}</p>"#,
            name = escape(&service.name),
            full_name = escape(&service.full_name),
            comment = prose(&service.comment)
        );
        for call in &service.calls {
            write_call(&mut html, call);
        }
        html.push_str("</section>\n");
    }
    html + FOOT
}

fn navigation(html: &mut String, services: &[Service]) {
    html.push_str(
        "<nav id=\"contents\" aria-label=\"Calls\">\n<details open><summary>Calls</summary>\n<ul>\n",
    );
    for service in services {
        let name = escape(&service.name);
        let _ = writeln!(html, "<li><a href=\"#service-{name}\">{name}</a>\n<ul>");
        for call in &service.calls {
            let name = escape(&call.name);
            let _ = writeln!(html, "<li><a href=\"#{name}\">{name}</a></li>");
        }
        html.push_str("</ul></li>\n");
    }
    html.push_str("</ul>\n</details>\n</nav>\n");
}

fn errors(html: &mut String) {
    html.push_str(
        "<details class=\"aside\"><summary>Codes of errors</summary>\n<table><thead><tr><th>code<th>name\
         <th>HTTP status</thead><tbody>\n",
    );
    for (code, name, status) in CODES {
        let _ = writeln!(html, "<tr><td>{code}<td><code>{name}</code><td>{status}");
    }
    html.push_str("</tbody></table></details>\n</section>\n");
}

fn write_call(html: &mut String, call: &Call) {
    let marks = [
        (call.pays, "pays", "It pays, if only fees"),
        (call.owner_only, "owner", "It answers to the node's own machine only"),
        (call.streams, "stream", "It goes on answering"),
        (call.is_file, "file", "Its answer is a file"),
    ];
    let (name, verb) = (escape(&call.name), call.verb);
    let _ = writeln!(
        html,
        r#"<details class="call" id="{name}" data-verb="{verb}" data-path="{path}"{data}>
<summary><span class="verb {lower}">{verb}</span> <code class="path">{shown}</code>{badges}
<span class="name">{name}</span> <span class="gist">{gist}</span></summary>
<div class="body">
<p>{comment}</p>
<p class="grpc">gRPC <code>{grpc}</code></p>"#,
        path = escape(&call.path),
        shown = breakable(&call.path),
        lower = verb.to_lowercase(),
        gist = prose(first_sentence(&call.comment)),
        data = marks.iter().filter(|it| it.0).fold(String::new(), |data, it| data + " data-" + it.1),
        badges = marks.iter().filter(|it| it.0).fold(String::new(), |badges, (_, mark, title)| {
            badges + &format!(r#" <span class="badge {mark}" title="{}">{mark}</span>"#, escape(title))
        }),
        comment = prose(&call.comment),
        grpc = escape(&call.grpc_name),
    );
    html.push_str("<form class=\"request\" autocomplete=\"off\">\n");
    if call.input.fields.is_empty() {
        html.push_str("<p class=\"none\">It has no fields.</p>\n");
    }
    for field in &call.input.fields {
        input(html, call, field);
    }
    // Dots say that there is a question to come.
    let does = match (call.streams, call.pays, call.owner_only) {
        (true, ..) => "Listen",
        (_, false, false) => "Send",
        _ => "Send …",
    };
    let danger = if call.pays { " class=\"danger\"" } else { "" };
    let _ = writeln!(
        html,
        r#"<pre class="curl"><code>{curl}</code></pre>
<p class="act"><button type="submit"{danger} disabled>{does}</button> <button type="button" class="copy" disabled>Copy curl</button></p>
</form>
<div class="result" role="status" hidden></div>
<h3>{answer}</h3>
<p>{comment}</p>"#,
        curl = escape(&sample::curl(call)),
        answer = match (call.streams, call.is_file) {
            (true, _) => "Each answer",
            (_, true) => "Answer, over gRPC",
            _ => "Answer",
        },
        comment = prose(&call.output.comment),
    );
    fields(html, &call.output);
    html.push_str("</div>\n</details>\n");
}

/// A field of a request: what it is, and a place to write it.
fn input(html: &mut String, call: &Call, field: &Field) {
    let id = escape(&format!("{}-{}", call.name, field.name));
    let hint = sample::of(field).as_ref().and_then(|sample| sample.as_str().map(escape)).unwrap_or_default();
    let name = escape(&field.name);
    let data = match call.in_path(field) {
        true => format!(r#" data-segment="{}""#, escape(&format!("{{{}}}", field.proto_name))),
        false => String::new(),
    };
    let control = match (&field.kind, field.name.as_str()) {
        (Kind::Bool, _) => format!(
            r#"<select id="{id}" name="{name}" data-bool{data}><option value="">not given</option><option>true</option><option>false</option></select>"#
        ),
        (Kind::Text, "msg" | "invoice") => {
            format!(r#"<textarea id="{id}" name="{name}" rows="2" placeholder="{hint}"{data}></textarea>"#)
        }
        (Kind::Text, "pubkey") => format!(
            r#"<input id="{id}" name="{name}" list="pubkeys" placeholder="{hint}" spellcheck="false"{data}>"#
        ),
        (Kind::Text, _) => {
            format!(r#"<input id="{id}" name="{name}" placeholder="{hint}" spellcheck="false"{data}>"#)
        }
        _ => format!(r#"<input id="{id}" name="{name}" placeholder="{hint}" inputmode="numeric"{data}>"#),
    };
    let _ = writeln!(
        html,
        r#"<div class="field"><label for="{id}"><code>{name}</code> <span class="type">{kind}</span></label>
<p>{comment}</p>
{control}</div>"#,
        kind = escape(&kind(field)),
        comment = prose(&field.comment),
    );
}

/// The fields of an answer, with those of the messages within.
fn fields(html: &mut String, message: &Message) {
    if message.fields.is_empty() {
        return;
    }
    html.push_str("<dl class=\"fields\">\n");
    for field in &message.fields {
        let _ = write!(
            html,
            r#"<dt><code>{}</code> <span class="type">{}</span></dt><dd>{}"#,
            escape(&field.name),
            escape(&kind(field)),
            prose(&field.comment)
        );
        if let Kind::Message(inner) = &field.kind {
            html.push('\n');
            fields(html, inner);
        }
        html.push_str("</dd>\n");
    }
    html.push_str("</dl>\n");
}

fn kind(field: &Field) -> String {
    let list = if field.repeated { "list of " } else { "" };
    let optional = if field.optional { ", optional" } else { "" };
    match &field.kind {
        Kind::Message(message) => format!("{list}{}", short_name(&message.full_name)),
        kind => format!("{list}{}{optional}", kind.name()),
    }
}

/// A comment: what stands between backticks is code.
fn prose(comment: &str) -> String {
    let pieces = comment.split('`').enumerate();
    pieces.fold(String::new(), |html, (at, piece)| match at % 2 {
        0 => html + &escape(piece),
        _ => html + "<code>" + &escape(piece) + "</code>",
    })
}

/// A path that a narrow screen may break at its slashes.
fn breakable(path: &str) -> String {
    escape(path).replace('/', "/<wbr>")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

const HEAD: &str = r##"<!doctype html>
<!-- Generated from proto/ by `cargo xtask gen`. -->
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>IMP node</title>
<link rel="icon" href="/docs/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/docs/docs.css">
<script src="/docs/docs.js" defer></script>
</head>
<body>
<a class="skip" href="#main">Skip to the calls</a>
<header>
<a class="title" href="#main"><img src="/docs/icon.svg" alt="" width="28" height="28"> IMP node</a>
<span id="state" class="state" hidden></span>
<span class="links"><a href="#Subscribe">Events</a> <a href="/docs/openapi.json">OpenAPI</a> <a href="/metrics">Metrics</a></span>
</header>
"##;

const MAIN: &str = r##"<main id="main">
<section id="node">
<h1>This node</h1>
<p id="node-hint">Ask it who it is with <code>GET /v1/node</code>.</p>
<dl id="node-facts" hidden></dl>
<noscript><p>The forms on this page need its script; the rest does not.</p></noscript>
</section>
<section id="rules">
<h2>How to call it</h2>
<p>Each call below is HTTP with JSON, and the same over gRPC. <code>curl</code> is all you need; no key, no header.</p>
<ul>
<li>The fields of a <span class="verb get">GET</span> stand in the query, those of a <span class="verb post">POST</span>
in a JSON body. A name in braces in a path is a field too. Leave out what you do not need.</li>
<li>64-bit numbers are strings in answers, and strings or numbers in requests.</li>
<li>An error is <code>{"code":5,"message":"Not Found","details":[]}</code> with the code of gRPC; programs branch on the
code and on the <code>reason</code> in the details.</li>
<li><span class="badge pays">pays</span> spends the node's money, if only fees. <span class="badge owner">owner</span>
answers to the node's own machine only. This page asks before it sends either.</li>
<li><span class="badge file">file</span> answers with the bytes of a file. This page offers it for download, and shows
nothing of it.</li>
</ul>
"##;

const FOOT: &str = r##"</main>
<datalist id="pubkeys"></datalist>
<dialog id="confirm" aria-labelledby="confirm-title">
<h2 id="confirm-title"></h2>
<p id="confirm-text"></p>
<pre id="confirm-request"></pre>
<p class="act"><button type="button" id="confirm-yes"></button> <button type="button" id="confirm-no" class="quiet">Cancel</button></p>
</dialog>
</body>
</html>
"##;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_become_text_and_code() {
        assert_eq!(
            prose("a <b> & `c<d>` 'e' \"f\""),
            "a &lt;b&gt; &amp; <code>c&lt;d&gt;</code> &#39;e&#39; &quot;f&quot;"
        );
    }
}
