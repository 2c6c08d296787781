//! Local ends of relays that another node offered.

use imp_node::runtime::clock::{Clock, SystemClock};
use imp_node::service::socket::{Connect, ConnectionView};
use imp_node::store::JournalStore;
use imp_node::store::journal::NewEvent;

use super::*;

async fn connect(node: &TestNode, request: Connect) -> Result<ConnectionView, Error> {
    node.call(|services| async move { sockets(services).connect(request).await }).await
}

async fn connections(node: &TestNode) -> Vec<ConnectionView> {
    node.call(|services| async move { sockets(services).connections() }).await
}

/// An event of the service `socket` at a node, as if another node had sent it.
async fn event(node: &TestNode, from: &TestNode, id: &str, data: &str) {
    let event = NewEvent {
        at: SystemClock.now(),
        id: id.to_owned(),
        reply_to: String::new(),
        from: from.id,
        service: imp_core::record::Service::Socket.into(),
        data: data.to_owned(),
        amount_sat: 1,
        late: false,
    };
    node.store.append(vec![event]).await.unwrap();
}

fn offer(ip: &str) -> String {
    let ip = ip.parse().unwrap();
    Offer { ip, port1: 6000, port2: 9000, id: None, token: None }.to_json()
}

fn by_event(id: &str) -> Connect {
    Connect { event_id: id.to_owned(), ..Connect::default() }
}

#[tokio::test]
async fn plain_programs_at_both_ends_talk_over_an_offered_relay() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let bob = TestNode::start(&network, "bob").await;
    let to = bob.id.to_string();
    let id = alice.call(|s| async move { sockets(s).send_default(&to, None).await }).await.unwrap();
    bob.has_published(1).await;
    let request = Connect { allow_private: true, ..by_event(&id.to_string()) };
    let opened = connect(&bob, request).await.unwrap();
    assert_eq!((opened.event_id, opened.from), (id.to_string(), alice.id));
    let relay = &list(&alice).await[0];
    assert_eq!(opened.remote.port(), relay.relay.ports[1], "the far end's side");
    assert!(opened.local.ip().is_loopback() && opened.local.port() != 0);

    let (one, two) = (Program::new().await, Program::new().await);
    join([&one, &two], [relay.relay.ports[0], opened.local.port()]).await;
    let now = &connections(&bob).await[0];
    assert_eq!((now.id, now.state.as_str(), now.program), (opened.id, "joined", Some(two.address())));
    assert!(now.packets_out > 0 && now.packets_in > 0 && now.last_heard.is_some());

    let close = async || {
        let id = opened.id.to_string();
        bob.call(|s| async move { sockets(s).close_connection(&id).await }).await
    };
    close().await.unwrap();
    UdpSocket::bind(opened.local).await.expect("the port is closed before the answer");
    assert_eq!(close().await.unwrap_err().code(), Code::NotFound);
    assert!(connections(&bob).await.is_empty());
}

#[tokio::test]
async fn only_public_addresses_are_sent_to_unless_the_owner_says_otherwise() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let bob = TestNode::start(&network, "bob").await;
    let private = [
        "127.0.0.1",
        "::1",
        "10.0.0.1",
        "169.254.1.1",
        "100.64.0.1",
        "fe80::1",
        "fd00::1",
        // Addresses that lead to IPv4 ones.
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "64:ff9b::a00:1",
    ];
    let never =
        ["0.0.0.0", "0.1.2.3", "224.0.0.1", "240.0.0.1", "255.255.255.255", "ff02::1", "64:ff9b::f000:1"];
    for ip in private.into_iter().chain(never) {
        event(&bob, &alice, ip, &offer(ip)).await;
        let error = connect(&bob, by_event(ip)).await.unwrap_err();
        assert_eq!((error.code(), error.reason()), (Code::FailedPrecondition, "ADDRESS_REFUSED"), "{ip}");
        let is_private = private.contains(&ip);
        assert_eq!(error.to_string().contains("--allow-private"), is_private, "{error}");
    }
    for ip in never {
        let request = Connect { allow_private: true, ..by_event(ip) };
        assert_eq!(connect(&bob, request).await.unwrap_err().code(), Code::FailedPrecondition, "{ip}");
    }
    assert!(connections(&bob).await.is_empty());
    let request = Connect { allow_private: true, side: 1, ..by_event("127.0.0.1") };
    assert_eq!(connect(&bob, request).await.unwrap().remote, "127.0.0.1:6000".parse().unwrap());
}

#[tokio::test]
async fn the_newest_offer_of_an_id_is_the_one_that_is_joined() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let bob = TestNode::start(&network, "bob").await;
    let find = async |id: &str| connect(&bob, Connect { allow_private: true, ..by_event(id) }).await;
    assert_eq!(find("").await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(find("x").await.unwrap_err().code(), Code::NotFound);
    event(&bob, &alice, "x", "no offer").await;
    let error = find("x").await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.to_string().contains("offers no relay"), "{error}");
    event(&bob, &alice, "x", &offer("127.0.0.2")).await;
    event(&bob, &alice, "x", &offer("127.0.0.3")).await;
    event(&bob, &alice, "x", "no offer").await;
    assert_eq!(find("x").await.unwrap().remote, "127.0.0.3:9000".parse().unwrap());
}

#[tokio::test]
async fn a_local_port_is_the_one_that_was_asked_for_or_an_error() {
    let network = network(FakeOptions::default());
    let alice = TestNode::start(&network, "alice").await;
    let bob = TestNode::start(&network, "bob").await;
    event(&bob, &alice, "x", &offer("127.0.0.2")).await;
    let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let at = |local_port| Connect { allow_private: true, local_port, ..by_event("x") };
    let error = connect(&bob, at(port.into())).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::AlreadyExists, "PORT_TAKEN"));
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    drop(taken);
    assert_eq!(connect(&bob, at(port.into())).await.unwrap().local.port(), port);
    for (field, request) in [("local_port", at(65_536)), ("side", Connect { side: 3, ..at(0) })] {
        let error = connect(&bob, request).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.to_string().starts_with(field), "{error}");
    }
}
