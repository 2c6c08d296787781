//! iperf3 through a relay.
//!
//! Its UDP goes from the client through the relay to the server and back, each behind a router, with nothing else on the
//! way. Its TCP, by which the ends agree on what they do, goes to the same address and port, where a forward of this test
//! takes it to the server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;

use imp_api::proto::imp::socket::v1::{Relay, StartRelayRequest};
use imp_devnet::netns::Forward;
use serde_json::Value;
use tokio::time::timeout;

use crate::internet::{RELAY, USER_B};
use crate::lab::{Lab, PATIENCE, drops, side, source};
use crate::program::{Program, to};

/// Where the server listens, for TCP and UDP.
const PORT: u16 = 5201;

/// What is sent when nothing should be lost, in Mbit/s: so little that buffers last for a tenth of a second, in which
/// somebody may not have the processor.
const EASY_MBIT: u64 = 10;

/// The buffers of iperf3's sockets.
const BUFFER: &str = "256K";

/// Payload of a packet.
const LENGTH: u64 = 1200;

/// Packets of a hundred that may be lost on a machine that does other things too.
const MOST_LOST_PERCENT: f64 = 10.0;

/// A server, killed when dropped.
struct Server(Child);

impl Server {
    async fn start(lab: &Lab) -> Self {
        let mut command = lab.internet.user_b.command("iperf3");
        command.args(["-s", "-p", &PORT.to_string(), "--forceflush"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Self(command.spawn().unwrap());
        let lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        // Reads on, so that the server does not wait for a reader.
        std::thread::spawn(move || {
            let mut ready = Some(ready);
            for line in lines.map_while(Result::ok) {
                if line.contains("listening")
                    && let Some(ready) = ready.take()
                {
                    let _ = ready.send(());
                }
            }
        });
        timeout(PATIENCE, is_ready).await.expect("a server in time").expect("a server that listens");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was received.
struct Figures {
    mbit: f64,
    packets: f64,
    lost_percent: f64,
}

/// Runs a client for some seconds over a relay of its own.
async fn run(lab: &Arc<Lab>, mbit: u64, backwards: bool) -> Figures {
    let relay = lab.relay(StartRelayRequest::default()).await;
    // The server never speaks first. A packet from its port lets the router and the relay know where it is.
    Program::at(&lab.internet.user_b, to(USER_B, PORT)).send(b"", to(RELAY, relay.ports.1)).await;
    lab.wait(&relay, "the server is known", |now| source(now, 1).is_some()).await;
    let by_tcp = to(RELAY, relay.ports.0);
    let _control = Forward::start(
        (&lab.internet.relay, by_tcp),
        (&lab.internet.user_b, to("127.0.0.1".parse().unwrap(), PORT)),
    )
    .unwrap();
    let mut command = lab.internet.user_a.command("iperf3");
    command.args(["-J", "-u", "-t", "3"]);
    command.args(["-c", &RELAY.to_string(), "-p", &relay.ports.0.to_string()]);
    command.args(["-b", &format!("{mbit}M"), "-l", &LENGTH.to_string(), "-w", BUFFER]);
    if backwards {
        command.arg("-R");
    }
    let mut client = tokio::process::Command::from(command);
    let output = timeout(PATIENCE, client.stdin(Stdio::null()).kill_on_drop(true).output()).await;
    let output = output.expect("an end in time").unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{error}: {report}"));
    assert!(output.status.success(), "{}", report["error"]);
    let sum = &report["end"]["sum"];
    let figure = |name: &str| sum[name].as_f64().unwrap_or_else(|| panic!("no {name}: {}", report["end"]));
    let (packets, lost_percent) = (figure("packets"), figure("lost_percent"));
    let seconds = figure("seconds");
    let received = packets * (1.0 - lost_percent / 100.0);

    // What iperf3 has received has come by the relay and by no other way.
    let from = usize::from(backwards);
    let relayed = |now: &Relay| side(now, from).packets as f64 >= received;
    let now = lab.wait(&relay, "all is counted", relayed).await;
    assert_eq!(drops(&now, "other_source"), 0, "{now:?}");
    lab.stop_relay(&relay).await;
    Figures { mbit: received * LENGTH as f64 * 8.0 / seconds / 1e6, packets: received, lost_percent }
}

pub(crate) async fn iperf3_measures_the_relay(lab: Arc<Lab>) {
    let _server = Server::start(&lab).await;
    println!();
    for (mbit, backwards) in [(EASY_MBIT, false), (EASY_MBIT, true), (0, false), (0, true)] {
        let figures = run(&lab, mbit, backwards).await;
        let way = if backwards { "B to A" } else { "A to B" };
        let rate = if mbit == 0 { "as fast as it can".to_owned() } else { format!("{mbit} Mbit/s") };
        println!(
            "  iperf3, {way}, {rate}: {:.0} Mbit/s, {:.0} packets of {LENGTH} bytes, {:.2} % lost",
            figures.mbit, figures.packets, figures.lost_percent
        );
        if mbit > 0 {
            assert!(figures.lost_percent < MOST_LOST_PERCENT, "{} % are lost", figures.lost_percent);
            assert!(figures.mbit > mbit as f64 * 0.8, "{} Mbit/s of {mbit}", figures.mbit);
        } else {
            assert!(figures.packets > 0.0);
        }
    }
}
