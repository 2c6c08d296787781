//! What is the same for all commands: the node's address, texts, standard output.

use std::process::Stdio;

use imp_api::proto::messaging::SendMessageRequest;
use imp_api::proto::signing::{SignRequest, VerifyRequest};

use super::server::TestServer;
use super::{PEER, code, end_of, imp, run, run_with_input, stderr, stdout, text};

#[tokio::test]
async fn a_text_can_come_from_standard_input_or_a_file_to_the_last_byte() {
    let server = TestServer::start().await;
    let done = run_with_input(imp(&server.addr(), &["message", "send", PEER, "-"]), "é\n".as_bytes()).await;
    assert_eq!((code(&done), stdout(&done)), (0, "id: m1\n"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    let path = path.to_str().unwrap();
    std::fs::write(path, "from a file\n\n").unwrap();
    text(&server, &["message", "send", PEER, "--file", path]).await;
    let texts: Vec<String> =
        server.asked::<SendMessageRequest>().into_iter().map(|request| request.msg).collect();
    assert_eq!(texts, ["é\n", "from a file\n\n"]);
    text(&server, &["sign", "--file", path]).await;
    assert_eq!(server.asked::<SignRequest>()[0].msg, "from a file\n\n");
}

#[tokio::test]
async fn what_is_no_text_is_named() {
    let server = TestServer::start().await;
    let done = run_with_input(imp(&server.addr(), &["sign", "-"]), b"a\xff").await;
    assert_eq!((code(&done), stderr(&done)), (2, "imp: standard input is no UTF-8 text\n"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bytes");
    let path = path.to_str().unwrap();
    let done = run(imp(&server.addr(), &["sign", "--file", path])).await;
    let expected = format!("imp: {path} cannot be read: No such file or directory (os error 2)\n");
    assert_eq!((code(&done), stderr(&done)), (1, expected.as_str()));
    std::fs::write(path, b"\xff").unwrap();
    let done = run(imp(&server.addr(), &["sign", "--file", path])).await;
    assert_eq!((code(&done), stderr(&done)), (2, format!("imp: {path} is no UTF-8 text\n").as_str()));
    assert_eq!(server.asked::<SignRequest>(), []);
}

#[tokio::test]
async fn a_command_line_that_is_none_is_exit_code_2() {
    for args in [
        &["message", "send", PEER][..],
        &["nonsense"],
        &["message", "send", PEER, "hi", "--amount", "0"],
        &["message", "send", PEER, "hi", "--amount", "-1"],
        &["message", "send", PEER, "hi", "--file", "f"],
        &["message", "send", PEER, "hi", "--keep", "90"],
        &["message", "list", "--state", "nonsense"],
        &["message", "list", "--limit", "0"],
        &["message", "list", "--limit", "5", "--all"],
        &["invoice", "new", "1.5"],
        &["invoice", "new", "1k"],
        &["invoice", "new", "5", "--expiry", "soon"],
        &["keysend", PEER],
        &["wallet", "send", "bcrt1q"],
        &["wallet", "send", "bcrt1q", "5", "--all"],
        &["channel", "open", "02ab", "5"],
        &["peer", "connect", "02ab@"],
        &["vpn", "contract", PEER, "nonce", "free"],
        &["vpn", "contract", PEER, "no/nonce", "5"],
        &["vpn", "buy", PEER],
        &["vpn", "buy", PEER, "--max-price", "0"],
        &["vpn", "buy", PEER, "--max-price", "5", "--allow-private"],
        &["vpn", "refresh", "n"],
        &["vpn", "list", "--role", "lent"],
        &["vpn", "list", "--state", "nonsense"],
        &["vpn", "qr", "n", "--out", "n.jpg"],
        &["vpn", "payments", "--state", "active"],
        &["federate", "list", "--state", "nonsense"],
        &["federate", "rights", PEER],
        &["federate", "rights", PEER, "--messages", "maybe"],
        &["federate", "rights", PEER, "--messages", "no", "--reset"],
        &["federate", "rights", PEER, "--min-sat", "-1"],
        &["federate", "name", PEER],
        &["federate", "name", PEER, "bob", "--none"],
        &["federate", "request", ""],
        &["socket", "open", "--life", "90"],
        &["socket", "open", "--max-packets", "0"],
        &["socket", "watch", "--every", "10ms"],
        &["socket", "connect", "e1", "--port", "0"],
        &["socket", "connect", "e1", "--port", "65536"],
        &["socket", "connect", "e1", "--side", "3"],
        &["watch", "--after", "x"],
        &["node", "info", "--addr", "nonsense"],
        &["node", "info", "--addr", "unix:"],
        &["node", "info", "--addr", "127.0.0.1:1", "--data-dir", "/d"],
        &["completions", "cmd.exe"],
        &[],
    ] {
        let done = run(imp("127.0.0.1:1", args)).await;
        assert_eq!(code(&done), 2, "{args:?}: {}", stderr(&done));
        assert!(!stderr(&done).is_empty());
    }
}

#[tokio::test]
async fn the_option_names_another_node_than_the_variable() {
    let server = TestServer::start().await;
    let done = run(imp("127.0.0.1:1", &["--addr", &server.addr(), "wallet", "address"])).await;
    assert_eq!((code(&done), stdout(&done)), (0, "address: bcrt1q\n"));
}

#[tokio::test]
async fn a_node_is_reached_by_its_socket() {
    let server = TestServer::start().await;
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("imp.sock");
    server.listen_at(&socket).await;
    let dir = dir.path().to_str().unwrap();
    for args in [
        &["--addr", &format!("unix:{dir}/imp.sock"), "wallet", "address"][..],
        &["--addr", &format!("unix://{dir}/imp.sock"), "wallet", "address"],
        &["wallet", "address", "--data-dir", dir],
    ] {
        let done = run(imp("127.0.0.1:1", args)).await;
        assert_eq!((code(&done), stdout(&done)), (0, "address: bcrt1q\n"), "{args:?}: {}", stderr(&done));
    }
    // A socket has no host name, and a node lets only some names in.
    let hosts = server.hosts();
    assert!(hosts.iter().all(|host| host == "localhost"), "{hosts:?}");
}

#[tokio::test]
async fn texts_are_signed_and_signatures_judged() {
    let server = TestServer::start().await;
    for (args, expected, exit) in [
        (&["sign", "a"][..], "signature: over \"a\"\n", 0),
        (&["--json", "sign", "a"], "{\"signature\":\"over \\\"a\\\"\"}\n", 0),
        (&["verify", "same", "same"], "valid: yes\n", 0),
        (&["verify", "one", "other", "--pubkey", PEER], "valid: no\n", 4),
        (&["--json", "verify", "one", "other"], "{\"result\":false}\n", 4),
    ] {
        let done = run(imp(&server.addr(), args)).await;
        assert_eq!((stdout(&done), code(&done)), (expected, exit), "{args:?}");
    }
    let named = server.asked::<VerifyRequest>().into_iter().map(|request| request.pubkey);
    assert_eq!(named.collect::<Vec<_>>(), [None, Some(PEER.to_owned()), None]);
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let server = TestServer::start().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = imp(&server.addr(), &["node", "info"]);
    let child = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
    let done = end_of(child).await;
    assert_eq!((code(&done), stderr(&done)), (0, ""));
}
