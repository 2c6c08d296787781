use std::process::Stdio;

use imp_api::proto::messaging::SendMessageRequest;
use serde_json::{Value, json};

use super::server::TestServer;
use super::{code, imp, run, run_with_input, stderr, stdout};

#[tokio::test]
async fn a_message_is_sent_with_all_its_parts() {
    let server = TestServer::start().await;
    let addr = server.addr();
    let done =
        run(imp(&addr, &["message", "send", "02ab", "hi there", "--amount", "10", "--reply-to", "r"])).await;
    assert_eq!((code(&done), stdout(&done), stderr(&done)), (0, "id: m1\n", ""));
    let done = run(imp(&addr, &["message", "send", "02ab", "--json", "-hyphen"])).await;
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer, json!({"id": "m1"}));
    assert_eq!(stdout(&done).lines().count(), 1);
    let first = SendMessageRequest {
        msg: "hi there".into(),
        pubkey: "02ab".into(),
        amount: 10,
        reply_to_id: "r".into(),
        ..Default::default()
    };
    let second = SendMessageRequest { msg: "-hyphen".into(), pubkey: "02ab".into(), ..Default::default() };
    assert_eq!(server.asked::<SendMessageRequest>(), [first, second]);
}

#[tokio::test]
async fn a_text_can_come_from_standard_input_to_the_last_byte() {
    let server = TestServer::start().await;
    let done = run_with_input(imp(&server.addr(), &["message", "send", "02ab", "-"]), "é\n".as_bytes()).await;
    assert_eq!((code(&done), stdout(&done)), (0, "id: m1\n"));
    assert_eq!(server.asked::<SendMessageRequest>()[0].msg, "é\n");
    let done = run_with_input(imp(&server.addr(), &["sign", "-"]), b"a\xff").await;
    assert_eq!((code(&done), stderr(&done)), (2, "imp: standard input is no UTF-8 text\n"));
}

#[tokio::test]
async fn a_refusal_is_one_line_and_exit_code_1() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["message", "send", "nowhere", "hi"])).await;
    assert_eq!((code(&done), stdout(&done)), (1, ""));
    assert_eq!(stderr(&done), "imp: send failed: no route\\nat all (UNAVAILABLE)\n");
}

#[tokio::test]
async fn a_command_line_that_is_none_is_exit_code_2() {
    for args in [
        &["message", "send", "02ab"][..],
        &["nonsense"],
        &["message", "send", "02ab", "hi", "--amount", "0"],
        &["message", "send", "02ab", "hi", "--amount", "-1"],
        &["invoice", "new", "1.5"],
        &["watch", "--after", "x"],
        &["node", "info", "--addr", "nonsense"],
        &[],
    ] {
        let done = run(imp("127.0.0.1:1", args)).await;
        assert_eq!(code(&done), 2, "{args:?}: {}", stderr(&done));
        assert!(!stderr(&done).is_empty());
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_exit_code_3_and_a_hint() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for args in [&["node", "info"][..], &["watch"], &["invoice", "check", "ln"]] {
        let done = run(imp(&free.to_string(), args)).await;
        let expected = format!(
            "imp: no IMP node answers at {free}: is impd running? (--addr or IMP_ADDR name another address)\n"
        );
        assert_eq!((code(&done), stderr(&done)), (3, expected.as_str()), "{args:?}");
    }
}

#[tokio::test]
async fn a_node_that_ends_during_a_call_is_exit_code_3_and_a_warning() {
    // Takes the connection and answers the greeting of HTTP/2 with rubbish.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let done = run(imp(&addr, &["invoice", "pay", "ln"])).await;
    assert_eq!(code(&done), 3, "{}", stderr(&done));
    assert_eq!(stderr(&done).lines().count(), 1);
}

#[tokio::test]
async fn the_flag_names_another_node_than_the_environment() {
    let server = TestServer::start().await;
    let done = run(imp("127.0.0.1:1", &["--addr", &server.addr(), "node", "address"])).await;
    assert_eq!((code(&done), stdout(&done)), (0, "address: bcrt1q\n"));
}

#[tokio::test]
async fn the_node_is_shown_line_by_line_and_safely() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["node", "info"])).await;
    let expected = "\
pubkey:       02ab
alias:        alice\\u{1b}[2J
network:      regtest
backend:      ldk
version:      0.1.0
synced:       yes
block height: 120
on-chain:     1000 sat
in channels:  500000 sat
spendable:    490000 sat
listens:      127.0.0.1:9735
";
    assert_eq!((code(&done), stdout(&done)), (0, expected));
    let done = run(imp(&server.addr(), &["--json", "node", "info"])).await;
    let answer: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["onchainSat"], json!("1000"));
    assert_eq!(answer["alias"], json!("alice\x1b[2J"));
}

#[tokio::test]
async fn channels_are_a_table() {
    let server = TestServer::start().await;
    let done = run(imp(&server.addr(), &["node", "channels"])).await;
    let expected = "\
PEER  CAPACITY  CAN SEND  CAN RECEIVE  STATE      ID
03cd   1000000    490000            7  usable     17
03cd   1000000    490000            7  peer away  17
03cd   1000000    490000            7  opening    17
";
    assert_eq!((code(&done), stdout(&done)), (0, expected));
}

#[tokio::test]
async fn invoices_are_made_paid_and_checked() {
    let server = TestServer::start().await;
    for (args, expected, exit) in [
        (&["invoice", "new", "25"][..], "invoice: ln 25 \"\"\n", 0),
        (&["invoice", "new", "25", "a memo"], "invoice: ln 25 \"a memo\"\n", 0),
        (&["invoice", "pay", "ln1"], "preimage: for ln1\n", 0),
        (&["invoice", "check", "paid"], "paid: yes\n", 0),
        (&["invoice", "check", "unpaid"], "paid: no\n", 4),
        (&["--json", "invoice", "check", "unpaid"], "{\"paid\":false}\n", 4),
        (&["invoice", "check", "other"], "", 1),
    ] {
        let done = run(imp(&server.addr(), args)).await;
        assert_eq!((stdout(&done), code(&done)), (expected, exit), "{args:?}: {}", stderr(&done));
    }
}

#[tokio::test]
async fn texts_are_signed_and_signatures_judged() {
    let server = TestServer::start().await;
    for (args, expected, exit) in [
        (&["sign", "a"][..], "signature: over \"a\"\n", 0),
        (&["verify", "same", "same"], "valid: yes\n", 0),
        (&["verify", "one", "other"], "valid: no\n", 4),
    ] {
        let done = run(imp(&server.addr(), args)).await;
        assert_eq!((stdout(&done), code(&done)), (expected, exit), "{args:?}");
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let server = TestServer::start().await;
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = imp(&server.addr(), &["node", "info"]);
    let child = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
    let done =
        tokio::time::timeout(super::PATIENCE, child.wait_with_output()).await.expect("imp ends").unwrap();
    assert_eq!((code(&done), stderr(&done)), (0, ""));
}
