//! What a person at a terminal sees and is asked.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imp_api::proto::imp::node::v1::{CloseChannelRequest, SendOnchainRequest};
use imp_api::proto::vpn::{AcceptContractRequest, RefreshContractRequest};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::process::Command;

use super::server::TestServer;
use super::{PATIENCE, PEER, code, end_of, imp, interrupt, stdout};

/// A terminal, and all that was written to it so far.
struct Terminal {
    keyboard: File,
    line: File,
    screen: Arc<Mutex<String>>,
}

impl Terminal {
    fn open() -> Self {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let line = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let (keyboard, line) = (File::from(keyboard), File::from(line));
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut seen, on_screen) = (keyboard.try_clone().unwrap(), Arc::clone(&screen));
        // Ends with an error once the last program has closed the terminal.
        std::thread::spawn(move || {
            let mut buffer = [0; 1024];
            while let Ok(length @ 1..) = seen.read(&mut buffer) {
                on_screen.lock().unwrap().push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
        });
        Self { keyboard, line, screen }
    }

    /// The command with this terminal for input and errors, and a pipe for output.
    fn run(&self, mut command: Command) -> tokio::process::Child {
        let line = || Stdio::from(self.line.try_clone().unwrap());
        command.env("TERM", "xterm").stdin(line()).stderr(line()).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn screen(&self) -> String {
        self.screen.lock().unwrap().clone()
    }

    async fn shows(&self, text: &str) {
        let wait = async {
            while !self.screen().contains(text) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{text:?} is not on the screen: {:?}", self.screen());
        }
    }

    fn types(&self, text: &str) {
        (&self.keyboard).write_all(text.as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn a_terminal_shows_one_look_at_relays_at_a_time() {
    let server = TestServer::start().await;
    let terminal = Terminal::open();
    let mut command = imp(&server.addr(), &["socket", "watch"]);
    command.env("TERM", "xterm").stdout(Stdio::from(terminal.line.try_clone().unwrap()));
    let child = command.spawn().unwrap();
    let wait = async {
        while terminal.screen().matches("\x1b[H\x1b[2JID ").count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("two looks are shown");
    interrupt(&child);
    assert_eq!(code(&end_of(child).await), 0);
}

#[tokio::test]
async fn only_a_yes_sends_bitcoin() {
    let server = TestServer::start().await;
    for (typed, exit, sent) in [("n\n", 1, 0), ("\n", 1, 0), ("\x04", 1, 0), ("yes\n", 0, 1)] {
        let terminal = Terminal::open();
        let child = terminal.run(imp(&server.addr(), &["wallet", "send", "bcrt1q", "5000"]));
        terminal.shows("send 5000 sat to bcrt1q? [y/N] ").await;
        terminal.types(typed);
        let done = end_of(child).await;
        assert_eq!(code(&done), exit, "{typed:?}: {}", terminal.screen());
        assert_eq!(server.asked::<SendOnchainRequest>().len(), sent, "{typed:?}");
        if sent == 0 {
            terminal.shows("imp: not done").await;
        } else {
            assert_eq!(stdout(&done), "txid: ff\n");
        }
    }
}

#[tokio::test]
async fn a_channel_is_closed_alone_after_a_yes() {
    let server = TestServer::start().await;
    let terminal = Terminal::open();
    let child = terminal.run(imp(&server.addr(), &["channel", "close", "17", "--force"]));
    terminal.shows("close channel 17 without the other node").await;
    terminal.types("Y\n");
    assert_eq!(code(&end_of(child).await), 0);
    assert!(server.asked::<CloseChannelRequest>()[0].force);
}

#[tokio::test]
async fn a_price_that_nobody_allowed_beforehand_is_paid_after_a_yes() {
    let server = TestServer::start().await;
    for (typed, exit, paid) in [("\n", 1, 0), ("y\n", 0, 1)] {
        let terminal = Terminal::open();
        let child = terminal.run(imp(&server.addr(), &["vpn", "buy", PEER]));
        terminal.shows(&format!("pay 100 sat to {PEER} for 1h, 5.0 GB in all? [y/N] ")).await;
        terminal.types(typed);
        assert_eq!(code(&end_of(child).await), exit, "{}", terminal.screen());
        assert_eq!(server.asked::<AcceptContractRequest>().len(), paid);
    }
    let terminal = Terminal::open();
    let child = terminal.run(imp(&server.addr(), &["vpn", "refresh", "active1"]));
    terminal.shows("for 1h more on active1? [y/N] ").await;
    terminal.types("y\n");
    assert_eq!((code(&end_of(child).await), server.asked::<RefreshContractRequest>().len()), (0, 1));
}

#[tokio::test]
async fn what_takes_long_shows_its_time_to_people_only() {
    let server = TestServer::start().await;
    server.hold(true);
    let send = ["message", "send", PEER, "hi"];
    let for_a_program = Terminal::open();
    let with_json = for_a_program.run(imp(&server.addr(), &[&send[..], &["--json"]].concat()));
    let dumb = Terminal::open();
    let mut command = imp(&server.addr(), &send);
    command.env("TERM", "dumb");
    let line = || Stdio::from(dumb.line.try_clone().unwrap());
    let on_dumb = command.stdin(line()).stderr(line()).stdout(Stdio::piped()).spawn().unwrap();
    let terminal = Terminal::open();
    let child = terminal.run(imp(&server.addr(), &send));
    // The others wait for longer by then.
    terminal.shows("\rsending: 2 s").await;
    server.hold(false);
    let done = end_of(child).await;
    assert_eq!((code(&done), stdout(&done)), (0, "id: m1\n"));
    terminal.shows("2 s\x1b[K\r\x1b[K").await;
    assert_eq!(code(&end_of(with_json).await), 0);
    assert_eq!(code(&end_of(on_dumb).await), 0);
    assert_eq!((for_a_program.screen(), dumb.screen()), (String::new(), String::new()));
}

#[tokio::test]
async fn ctrl_c_leaves_a_clean_line() {
    let server = TestServer::start().await;
    server.hold(true);
    let terminal = Terminal::open();
    let child = terminal.run(imp(&server.addr(), &["keysend", PEER, "5"]));
    terminal.shows("\rpaying: 1 s").await;
    interrupt(&child);
    assert_eq!(code(&end_of(child).await), 130);
    terminal
        .shows("\r\x1b[Kimp: interrupted\r\nhint: it may go on at the node: look with `imp payment list`")
        .await;
}
