//! Many relays, and no more than there are ports for.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use imp_api::client::{Client, ClientError};
use imp_api::error::Code;
use imp_api::proto::imp::socket::v1::{ListRelaysRequest, StartRelayRequest, StopRelayRequest};
use tokio::task::JoinSet;

use crate::internet::RELAY;
use crate::lab::{BOB_PORTS, Lab, Pair, side, wait_for};
use crate::program::{Program, to};

const RELAYS: usize = 1_000;

/// What a thousand relays that have been used may take, and the calls and rows that made them.
const MOST_MIB: u64 = 64;

/// Packets under way at once: fewer than a socket's buffer holds.
const AT_ONCE: usize = 50;

/// Callers at once: what comes at the same time shares a commit, of which a busy disk does few.
const CALLERS: usize = 64;

/// Starts relays, some at the same time.
async fn start(client: &Client, count: usize) -> Vec<Pair> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let client = client.clone();
        callers.spawn(async move {
            let mut relays = Vec::new();
            for number in (caller..count).step_by(CALLERS) {
                let label = format!("number {number}");
                let request = StartRelayRequest { label, ..StartRelayRequest::default() };
                relays.push(Pair::of(client.start_relay(request).await.unwrap()));
            }
            relays
        });
    }
    callers.join_all().await.into_iter().flatten().collect()
}

async fn stop(client: &Client, relays: &[Pair]) {
    let mut callers = JoinSet::new();
    for share in relays.chunks(relays.len().div_ceil(CALLERS).max(1)) {
        let (client, share) = (client.clone(), share.to_vec());
        callers.spawn(async move {
            for Pair { id, .. } in share {
                client.stop_relay(StopRelayRequest { id }).await.unwrap();
            }
        });
    }
    callers.join_all().await;
}

/// What a process holds.
struct Held {
    memory_kib: u64,
    files: usize,
    /// Of its whole host.
    udp_sockets: usize,
}

fn held(pid: u32) -> Held {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory_kib = resident.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let rows = |file: &str| read(file).lines().skip(1).count();
    Held {
        memory_kib: memory_kib.expect("a process has memory"),
        files: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        udp_sockets: rows("net/udp") + rows("net/udp6"),
    }
}

/// Sends a packet to a port of each relay; where `ways` says so, it must arrive at the other program, from the relay's
/// other port.
async fn through_each(from: &Program, other: &Program, ways: &[(u16, u16)], arrives: bool) {
    for chunk in ways.chunks(AT_ONCE) {
        let mut missing: HashMap<u16, u16> = HashMap::new();
        for &(into, out) in chunk {
            from.send(&into.to_be_bytes(), to(RELAY, into)).await;
            missing.insert(out, into);
        }
        while arrives && !missing.is_empty() {
            let (packet, relay) = other.receive().await;
            let into = missing.remove(&relay.port()).expect("one packet by each relay");
            assert_eq!(packet, into.to_be_bytes());
        }
    }
}

pub(crate) async fn a_thousand_relays_work_at_once(lab: Arc<Lab>) {
    let alice = lab.alice().await;
    let pid = lab.node("alice").pid.unwrap();
    let before = held(pid);
    let began = Instant::now();
    let relays = start(&alice, RELAYS).await;
    let started = began.elapsed();
    assert_eq!(relays.len(), RELAYS);
    let idle = held(pid);
    assert_eq!(idle.udp_sockets, before.udp_sockets + 2 * RELAYS);

    // One program on each side, which all relays know by one address.
    let (a, b) = (Program::on(&lab.internet.user_a), Program::on(&lab.internet.user_b));
    let ways: Vec<_> = relays.iter().map(|relay| relay.ports).collect();
    let back: Vec<_> = ways.iter().map(|(first, second)| (*second, *first)).collect();
    through_each(&a, &b, &ways, false).await;
    let list = || async { alice.list_relays(ListRelaysRequest::default()).await.unwrap().relays };
    wait_for("all know the first user", || async {
        let relays = list().await;
        let known = relays.iter().filter(|relay| !side(relay, 0).source.is_empty()).count();
        (known == RELAYS).then_some(())
    })
    .await;
    through_each(&b, &a, &back, true).await;
    through_each(&a, &b, &ways, true).await;
    wait_for("all are firm", || async {
        list().await.iter().all(|relay| side(relay, 0).firm && side(relay, 1).firm).then_some(())
    })
    .await;
    let now = held(pid);
    let grown_kib = |held: &Held| held.memory_kib.saturating_sub(before.memory_kib);
    println!(
        "\n  {RELAYS} relays: started in {:.1} s, used after {:.1} s; +{} KiB idle, +{} KiB used; {} files",
        started.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        grown_kib(&idle),
        grown_kib(&now),
        now.files
    );
    // Beside the sockets, there is a connection or a file more or less at any time.
    assert!(now.files <= before.files + 2 * RELAYS + 100, "{} files of {} before", now.files, before.files);
    assert!(grown_kib(&now) < MOST_MIB * 1024, "{} KiB of {} before", now.memory_kib, before.memory_kib);

    stop(&alice, &relays).await;
    assert!(list().await.is_empty());
    assert_eq!(held(pid).udp_sockets, before.udp_sockets);
}

pub(crate) async fn ports_that_are_used_up_are_told_and_come_back(lab: Arc<Lab>) {
    let bob = lab.client("bob").await;
    let mut relays = Vec::new();
    for _ in 0..2 {
        let relay = bob.start_relay(StartRelayRequest::default()).await.unwrap();
        // bob was not told any address: it is that of the default route.
        assert_eq!(relay.ip, RELAY.to_string());
        relays.push(Pair::of(relay));
    }
    let mut ports: Vec<u16> = relays.iter().flat_map(|relay| [relay.ports.0, relay.ports.1]).collect();
    ports.sort_unstable();
    assert_eq!(ports, (BOB_PORTS.0..=BOB_PORTS.1).collect::<Vec<_>>());
    for _ in 0..3 {
        match bob.start_relay(StartRelayRequest::default()).await {
            Err(ClientError::Refused(body)) => assert_eq!(body.code, Code::ResourceExhausted, "{body}"),
            other => panic!("{other:?}"),
        }
    }
    let ended = relays.remove(0);
    stop(&bob, std::slice::from_ref(&ended)).await;
    let next = Pair::of(bob.start_relay(StartRelayRequest::default()).await.unwrap());
    let sorted = |(one, other): (u16, u16)| (one.min(other), one.max(other));
    assert_eq!(sorted(next.ports), sorted(ended.ports));
    relays.push(next);

    // What is full works.
    let (a, b) = (Program::on(&lab.internet.user_a), Program::on(&lab.internet.user_b));
    for relay in &relays {
        let (into, out) = (to(RELAY, relay.ports.0), to(RELAY, relay.ports.1));
        b.send(b"first", out).await;
        wait_for("a packet through", || async {
            a.send(b"hello", into).await;
            let received = b.receive_within(std::time::Duration::from_millis(200)).await?.unwrap();
            (received.0 == b"hello" && received.1 == out).then_some(())
        })
        .await;
    }
    stop(&bob, &relays).await;
}
