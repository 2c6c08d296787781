//! What people are told about a net: lines to copy into a terminal.

use std::fmt::Write;
use std::path::Path;

use imp_devnet::devnet::{INTERNET, NodeInfo, built_program};

/// Any 16 bytes will do (RFC 6455, 4.1).
const WEBSOCKET_KEY: &str = "aW1wLWRldm5ldC1oZWxsbw==";

/// The nodes of a net, and what can be typed to use them.
pub(crate) fn net(nodes: &[NodeInfo], dir: &Path) -> String {
    let imp = program("imp", "imp-cli");
    let mut text = String::new();
    for (place, node) in nodes.iter().enumerate() {
        let next = &nodes[(place + 1) % nodes.len()];
        // Writing to a String does not fail.
        let _ = self::node(&mut text, node, next, &imp);
    }
    let dir = quoted(&shortest(dir).display().to_string());
    let own = program("imp-devnet", "imp-devnet");
    let _ = writeln!(text, "\nmore: {own} status|mine N|fund NODE|stop, each with --dir {dir}");
    text
}

/// How the first node of a net buys the VPN that the last one sells, and tries it.
pub(crate) fn vpn(nodes: &[NodeInfo], dir: &Path) -> String {
    let mut text = String::new();
    if let [buyer, .., seller] = nodes {
        let (imp, own) = (program("imp", "imp-cli"), program("imp-devnet", "imp-devnet"));
        let imp = format!("IMP_ADDR={} {imp}", buyer.grpc);
        let on = format!("{own} on --dir {} {}", quoted(&shortest(dir).display().to_string()), buyer.name);
        let key = &seller.pubkey;
        // Writing to a String does not fail.
        let _ = write!(
            text,
            "\n{} sells a VPN. {} buys it, goes through it, and leaves it; the page is there only in between:\n    \
             {imp} vpn buy {key} --max-price 100\n    {imp} vpn up NONCE\n    \
             {on} curl http://{INTERNET}/\n    {imp} vpn down NONCE\n\n",
            seller.name, buyer.name
        );
    }
    text
}

fn node(text: &mut String, node: &NodeInfo, next: &NodeInfo, imp: &str) -> std::fmt::Result {
    let NodeInfo { name, pubkey, http, grpc, data_dir, .. } = node;
    let (to, key) = (&next.name, &next.pubkey);
    writeln!(text, "\n{name}  {pubkey}")?;
    writeln!(text, "  REST, websocket http://{http}   gRPC {grpc}   files {}", shortest(data_dir).display())?;
    writeln!(text, "  message to {to}:")?;
    writeln!(
        text,
        "    curl -s http://{http}/v1/message/send -d '{{\"msg\":\"hello {to}\",\"pubkey\":\"{key}\"}}'"
    )?;
    writeln!(text, "    IMP_ADDR={grpc} {imp} message send {key} 'hello {to}'")?;
    writeln!(
        text,
        "  what others send to {name}: HTTP stream, websocket, websocket without websocat, command line:"
    )?;
    writeln!(text, "    curl -sN http://{http}/v1/subscribe")?;
    writeln!(text, "    websocat ws://{http}/v1/subscribe")?;
    writeln!(
        text,
        "    curl -sN -o- -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
         -H 'Sec-WebSocket-Key: {WEBSOCKET_KEY}' http://{http}/v1/subscribe"
    )?;
    writeln!(text, "    IMP_ADDR={grpc} {imp} watch")
}

/// How a program of this project is called.
fn program(name: &str, package: &str) -> String {
    built_program(name).map_or_else(
        || format!("cargo run -q -p {package} --bin {name} --"),
        |path| quoted(&shortest(&path).display().to_string()),
    )
}

/// A path as seen from the working folder, if it is below.
fn shortest(path: &Path) -> &Path {
    std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn node(name: &str, port: u16) -> NodeInfo {
        NodeInfo {
            name: name.to_owned(),
            pubkey: format!("key-of-{name}"),
            http: SocketAddr::from(([127, 0, 0, 1], port + 1)),
            grpc: SocketAddr::from(([127, 0, 0, 1], port)),
            pid: Some(1),
            data_dir: format!("/net/{name}").into(),
        }
    }

    #[test]
    fn the_first_node_is_told_how_to_buy_from_the_last() {
        let text = vpn(&[node("alice", 10), node("bob", 20), node("carol", 30)], Path::new("/net"));
        for part in [
            "carol sells",
            "IMP_ADDR=127.0.0.1:10",
            "vpn buy key-of-carol",
            "on --dir /net alice curl http://192.0.2.1/",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn each_node_is_shown_with_lines_to_the_next() {
        let text = net(&[node("alice", 10), node("bob", 20)], Path::new("/a net"));
        for part in [
            r#"curl -s http://127.0.0.1:11/v1/message/send -d '{"msg":"hello bob","pubkey":"key-of-bob"}'"#,
            r#"curl -s http://127.0.0.1:21/v1/message/send -d '{"msg":"hello alice","pubkey":"key-of-alice"}'"#,
            "curl -sN http://127.0.0.1:11/v1/subscribe",
            "ws://127.0.0.1:21/v1/subscribe",
            "IMP_ADDR=127.0.0.1:10",
            "/net/alice",
            "--dir '/a net'",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_part_them() {
        assert_eq!(quoted("/usr/bin/imp"), "/usr/bin/imp");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
