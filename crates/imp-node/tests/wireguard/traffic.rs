//! What goes through tunnels, and what does not.

use std::io::{Read, Write};
use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;

use imp_core::vpn::{PresharedKey, PrivateKey};
use imp_node::wireguard::{DevicePeer, DeviceSpec, TunnelDevice};

use crate::lab::{Lab, PORT, deliver, new_key, peer, server, spec, wait_until};

/// A server with a client, and a program at each end.
struct Pair {
    server_key: PrivateKey,
    client_key: PrivateKey,
    server: Arc<dyn TunnelDevice>,
    client: Arc<dyn TunnelDevice>,
    at_server: UdpSocket,
    at_client: UdpSocket,
}

impl Pair {
    fn new(lab: &Lab) -> Self {
        let (server_key, client_key) = (new_key(), new_key());
        let device = lab.server.open(spec("imp0", &server_key, PORT, &["10.9.0.1/24"]));
        lab.server.put(&device, &[peer(&client_key, &["10.9.0.2/32"])]);
        let client = lab.client.open(spec("impt0", &client_key, 0, &["10.9.0.2/24"]));
        lab.client.put(&client, &[server(&server_key, &["10.9.0.0/24"])]);
        let (at_server, at_client) = (lab.server.socket("10.9.0.1:7000"), lab.client.socket("10.9.0.2:7000"));
        Self { server_key, client_key, server: device, client, at_server, at_client }
    }

    fn talk(&self) {
        deliver(&self.at_client, &self.at_server, "there");
        deliver(&self.at_server, &self.at_client, "and back");
    }

    fn close(self, lab: &Lab) {
        lab.server.close(&self.server);
        lab.client.close(&self.client);
    }
}

pub(crate) fn two_devices_reach_each_other_and_count_it(lab: &Lab) {
    let pair = Pair::new(lab);
    pair.talk();
    let (there, here) = (lab.server.peers(&pair.server), lab.client.peers(&pair.client));
    assert_eq!(there[0].key, pair.client_key.public());
    assert_eq!(there[0].endpoint.unwrap().ip().to_string(), "192.0.2.2");
    for peer in [&there[0], &here[0]] {
        assert!(peer.rx_bytes > 0 && peer.tx_bytes > 0, "{peer:?}");
        assert!(peer.last_handshake.unwrap().as_secs() < 60, "{peer:?}");
    }
    pair.close(lab);
}

pub(crate) fn ipv6_goes_through_the_tunnel(lab: &Lab) {
    let (server_key, client_key) = (new_key(), new_key());
    let device = lab.server.open(spec("imp0", &server_key, PORT, &["10.9.0.1/24", "2001:db8::1/64"]));
    lab.server.put(&device, &[peer(&client_key, &["10.9.0.2/32", "2001:db8::2/128"])]);
    let client = lab.client.open(spec("impt0", &client_key, 0, &["10.9.0.2/24", "2001:db8::2/64"]));
    lab.client.put(&client, &[server(&server_key, &["0.0.0.0/0", "::/0"])]);
    // An address can be used once the system knows that nobody else has it.
    wait_until("addresses", || {
        !lab.server.output("ip", "-6 address show dev imp0").contains("tentative")
            && !lab.client.output("ip", "-6 address show dev impt0").contains("tentative")
    });
    let (at_server, at_client) =
        (lab.server.socket("[2001:db8::1]:7000"), lab.client.socket("[2001:db8::2]:7000"));
    deliver(&at_client, &at_server, "there");
    deliver(&at_server, &at_client, "and back");
    lab.server.close(&device);
    lab.client.close(&client);
}

pub(crate) fn a_removed_peer_is_cut_off_at_once(lab: &Lab) {
    // The other client is there to know by that what is still under way has come.
    let (server_key, client_key, other_key) = (new_key(), new_key(), new_key());
    let device = lab.server.open(spec("imp0", &server_key, PORT, &["10.9.0.1/24", "10.9.1.1/24"]));
    lab.server.put(&device, &[peer(&client_key, &["10.9.0.2/32"]), peer(&other_key, &["10.9.1.2/32"])]);
    let client = lab.client.open(spec("impt0", &client_key, 0, &["10.9.0.2/24"]));
    lab.client.put(&client, &[server(&server_key, &["10.9.0.0/24"])]);
    let other = lab.client.open(spec("impt1", &other_key, 0, &["10.9.1.2/24"]));
    lab.client.put(&other, &[server(&server_key, &["10.9.1.0/24"])]);
    let at_server = lab.server.socket("0.0.0.0:7000");
    let (at_client, at_other) = (lab.client.socket("10.9.0.2:7000"), lab.client.socket("10.9.1.2:7000"));
    let mut room = [0; 64];
    let mut arrives = |from: &UdpSocket, to: &str, text: &str| {
        wait_until(text, || {
            from.send_to(text.as_bytes(), to).unwrap();
            at_server.recv(&mut room).is_ok_and(|count| &room[..count] == text.as_bytes())
        });
    };
    arrives(&at_client, "10.9.0.1:7000", "before");
    arrives(&at_other, "10.9.1.1:7000", "before");

    lab.server.run(device.remove_peers(&[client_key.public()])).unwrap();
    while at_server.recv(&mut [0; 64]).is_ok() {}
    let sent = |device: &Arc<dyn TunnelDevice>| lab.client.peers(device)[0].tx_bytes;
    let before = sent(&client);
    for _ in 0..50 {
        at_client.send_to(b"cut off", "10.9.0.1:7000").unwrap();
    }
    wait_until("all is sent", || sent(&client) >= before + 50 * 64);
    let mut received = Vec::new();
    wait_until("the other client still comes through", || {
        at_other.send_to(b"after", "10.9.1.1:7000").unwrap();
        let mut room = [0; 64];
        let Ok(count) = at_server.recv(&mut room) else { return false };
        received.push(String::from_utf8(room[..count].to_vec()).unwrap());
        received.iter().filter(|text| *text == "after").count() == 10
    });
    assert!(!received.iter().any(|text| text == "cut off"), "{received:?}");
    for closed in [&client, &other] {
        lab.client.close(closed);
    }
    lab.server.close(&device);
}

pub(crate) fn a_peer_with_another_secret_gets_no_session(lab: &Lab) {
    let pair = Pair::new(lab);
    let wrong =
        DevicePeer { psk: PresharedKey::from_random([2; 32]), ..server(&pair.server_key, &["10.9.0.0/24"]) };
    lab.client.put(&pair.client, &[wrong]);
    let handshakes =
        || (lab.server.peers(&pair.server)[0].rx_bytes, lab.client.peers(&pair.client)[0].last_handshake);
    let mut tries = 0;
    wait_until("the server hears the client", || {
        pair.at_client.send_to(b"nothing", pair.at_server.local_addr().unwrap()).unwrap();
        tries += 1;
        handshakes().0 > 0
    });
    assert!(pair.at_server.recv(&mut [0; 64]).is_err());
    assert_eq!(handshakes().1, None);
    // With the right one it does.
    lab.client.put(&pair.client, &[server(&pair.server_key, &["10.9.0.0/24"])]);
    pair.talk();
    pair.close(lab);
}

pub(crate) fn a_source_that_is_not_allowed_does_not_come_through(lab: &Lab) {
    let pair = Pair::new(lab);
    pair.talk();
    lab.client.namespace().ip("addr add 10.9.0.77/24 dev impt0").unwrap();
    let foreign = lab.client.socket("10.9.0.77:7000");
    let before = lab.server.peers(&pair.server)[0].rx_bytes;
    for _ in 0..20 {
        foreign.send_to(b"foreign", pair.at_server.local_addr().unwrap()).unwrap();
    }
    wait_until("they have come to the server", || {
        lab.server.peers(&pair.server)[0].rx_bytes >= before + 20 * 32
    });
    deliver(&pair.at_client, &pair.at_server, "own");
    let mut room = [0; 64];
    while let Ok(count) = pair.at_server.recv(&mut room) {
        assert_ne!(&room[..count], b"foreign");
    }
    pair.close(lab);
}

pub(crate) fn a_peer_that_is_put_again_keeps_its_session(lab: &Lab) {
    let pair = Pair::new(lab);
    pair.talk();
    let before = lab.server.peers(&pair.server)[0].clone();
    lab.server.put(&pair.server, &[peer(&pair.client_key, &["10.9.0.2/32", "10.9.0.3/32"])]);
    let after = lab.server.peers(&pair.server)[0].clone();
    assert_eq!(after.endpoint, before.endpoint);
    assert!(after.rx_bytes >= before.rx_bytes && after.last_handshake.is_some());
    // Only with a session does the server speak first.
    deliver(&pair.at_server, &pair.at_client, "still there");
    pair.close(lab);
}

pub(crate) fn encrypted_packets_have_their_mark(lab: &Lab) {
    let (server_key, client_key) = (new_key(), new_key());
    let device = lab.server.open(spec("imp0", &server_key, PORT, &["10.9.0.1/24"]));
    lab.server.put(&device, &[peer(&client_key, &["10.9.0.2/32"])]);
    let marked = DeviceSpec { fwmark: Some(0x696d), ..spec("impt0", &client_key, 0, &["10.9.0.2/24"]) };
    let client = lab.client.open(marked);
    lab.client.put(&client, &[server(&server_key, &["10.9.0.0/24"])]);
    let (at_server, at_client) = (lab.server.socket("10.9.0.1:7000"), lab.client.socket("10.9.0.2:7000"));
    // The way out for what has the mark, and for nothing else.
    let namespace = lab.client.namespace();
    namespace.ip("rule add fwmark 0x696d prohibit pref 10").unwrap();
    at_client.send_to(b"kept back", "10.9.0.1:7000").unwrap();
    assert!(at_server.recv(&mut [0; 64]).is_err());
    assert_eq!(lab.server.peers(&device)[0].rx_bytes, 0);
    namespace.ip("rule delete pref 10").unwrap();
    namespace.ip("rule add fwmark 0x696d lookup main pref 9").unwrap();
    namespace.ip("rule add to 192.0.2.0/24 prohibit pref 10").unwrap();
    deliver(&at_client, &at_server, "let go");
    lab.server.close(&device);
    lab.client.close(&client);
}

/// Long enough that packets are joined and split at every place where they can be.
const STREAM_BYTES: usize = 8 * 1024 * 1024;

pub(crate) fn streams_come_through_whole(lab: &Lab) {
    stream(lab, Pair::new(lab));
}

pub(crate) fn streams_come_through_where_the_way_carries_short_packets_only(lab: &Lab) {
    for side in [&lab.server, &lab.client] {
        side.namespace().ip("link set dev wan mtu 1300").unwrap();
    }
    stream(lab, Pair::new(lab));
}

/// Sends a stream there and back.
fn stream(lab: &Lab, pair: Pair) {
    pair.talk();
    let listener =
        lab.server.namespace().enter(|| std::net::TcpListener::bind("10.9.0.1:7001")).unwrap().unwrap();
    let sent: Vec<u8> = (0..STREAM_BYTES).map(|number| (number * number / 7) as u8).collect();
    let (there, back) = thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            (&stream).take(STREAM_BYTES as u64).read_to_end(&mut received).unwrap();
            stream.write_all(&received).unwrap();
            received
        });
        let mut stream =
            lab.client.namespace().enter(|| std::net::TcpStream::connect("10.9.0.1:7001")).unwrap().unwrap();
        stream.write_all(&sent).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        (server.join().unwrap(), received)
    });
    assert!(there == sent, "what came to the server is not what was sent");
    assert!(back == sent, "what came back is not what was sent");
    pair.close(lab);
}
