//! Against bytes as linux/wireguard.h and linux/netlink.h lay them out, on a machine with the low byte first.

use imp_core::vpn::{PresharedKey, PrivateKey};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use rtnetlink::packet_core::ParseableParametrized;

use super::*;

/// The flag of attributes that hold attributes.
const NESTED: u16 = 0x8000;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(4 + value.len()).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn emitted(message: &Message) -> Vec<u8> {
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn from_kernel(bytes: &[u8]) -> Message {
    Message::parse_with_param(bytes, GenlHeader { cmd: 0, version: 1 }).unwrap()
}

fn peer(number: u8) -> DevicePeer {
    DevicePeer {
        key: PublicKey::from_bytes([number; 32]),
        psk: PresharedKey::from_bytes([9; 32]),
        allowed: vec!["10.0.0.5/32".parse().unwrap()],
        endpoint: None,
        keepalive_secs: None,
    }
}

#[test]
fn an_interface_gets_its_key_port_and_mark_and_no_peers() {
    let spec = DeviceSpec {
        name: "imp0".to_owned(),
        private_key: PrivateKey::from_bytes([7; 32]),
        listen_port: 51_820,
        addresses: Vec::new(),
        mtu: 1420,
        fwmark: Some(0x1234),
    };
    let message = set_up(&spec);
    assert_eq!(message.command(), 1, "WG_CMD_SET_DEVICE");
    let mut expected = attribute(2, b"imp0\0");
    expected.extend(attribute(5, &1_u32.to_ne_bytes()));
    expected.extend(attribute(3, &[7; 32]));
    expected.extend(attribute(6, &51_820_u16.to_ne_bytes()));
    expected.extend(attribute(7, &0x1234_u32.to_ne_bytes()));
    assert_eq!(emitted(&message), expected);
}

#[test]
fn a_peer_is_put_with_its_secret_and_the_networks_that_it_has_from_now_on() {
    let put = put(
        "imp0",
        &[DevicePeer {
            allowed: vec!["10.0.0.5/32".parse().unwrap(), "2001:db8::/64".parse().unwrap()],
            endpoint: Some("192.0.2.7:51820".parse().unwrap()),
            keepalive_secs: Some(25),
            ..peer(1)
        }],
    );
    let network = |family: u16, address: &[u8], length: u8| {
        let mut bytes = attribute(1, &family.to_ne_bytes());
        bytes.extend(attribute(2, address));
        bytes.extend(attribute(3, &[length]));
        attribute(NESTED, &bytes)
    };
    let mut networks = network(2, &[10, 0, 0, 5], 32);
    networks.extend(network(10, &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 64));
    let mut address = 2_u16.to_ne_bytes().to_vec();
    address.extend(51_820_u16.to_be_bytes());
    address.extend([192, 0, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut inner = attribute(1, &[1; 32]);
    inner.extend(attribute(3, &2_u32.to_ne_bytes()));
    inner.extend(attribute(2, &[9; 32]));
    inner.extend(attribute(5, &25_u16.to_ne_bytes()));
    inner.extend(attribute(4, &address));
    inner.extend(attribute(9 | NESTED, &networks));
    let mut expected = attribute(2, b"imp0\0");
    expected.extend(attribute(8 | NESTED, &attribute(NESTED, &inner)));
    assert_eq!(put.len(), 1);
    assert_eq!(emitted(&put[0]), expected);
}

#[test]
fn a_peer_is_removed_by_its_key_alone() {
    let removed = remove("imp0", &[PublicKey::from_bytes([1; 32])]);
    let mut inner = attribute(1, &[1; 32]);
    inner.extend(attribute(3, &1_u32.to_ne_bytes()));
    let mut expected = attribute(2, b"imp0\0");
    expected.extend(attribute(8 | NESTED, &attribute(NESTED, &inner)));
    assert_eq!(emitted(&removed[0]), expected);
}

#[test]
fn a_thousand_peers_go_in_messages_whose_lengths_fit_in_sixteen_bits() {
    let peers: Vec<_> = (0..1000).map(|number| peer(u8::try_from(number % 256).unwrap())).collect();
    let messages = put("imp0", &peers);
    assert!(messages.len() > 1);
    assert!(messages.iter().all(|message| message.buffer_len() <= usize::from(u16::MAX)));
    let read = read(messages.iter().map(|message| from_kernel(&emitted(message))).collect(), UnixMillis(0));
    assert_eq!(read.peers.len(), 1000);
}

#[test]
fn nothing_to_put_is_nothing_to_say() {
    assert!(put("imp0", &[]).is_empty());
    assert!(remove("imp0", &[]).is_empty());
}

#[test]
fn an_interface_is_read_from_parts_of_which_one_goes_on_with_the_peer_of_the_other() {
    let network = |address: [u8; 4]| {
        let mut bytes = attribute(1, &2_u16.to_ne_bytes());
        bytes.extend(attribute(2, &address));
        bytes.extend(attribute(3, &[32]));
        attribute(NESTED, &bytes)
    };
    let mut handshake = 1_000_i64.to_ne_bytes().to_vec();
    handshake.extend(500_000_000_i64.to_ne_bytes());
    let mut inner = attribute(1, &[1; 32]);
    inner.extend(attribute(2, &[0; 32]));
    inner.extend(attribute(6, &handshake));
    inner.extend(attribute(5, &0_u16.to_ne_bytes()));
    inner.extend(attribute(8, &111_u64.to_ne_bytes()));
    inner.extend(attribute(7, &222_u64.to_ne_bytes()));
    inner.extend(attribute(10, &1_u32.to_ne_bytes()));
    inner.extend(attribute(9 | NESTED, &network([10, 0, 0, 6])));
    let mut first = attribute(6, &51_820_u16.to_ne_bytes());
    first.extend(attribute(2, b"imp0\0"));
    first.extend(attribute(4, &[5; 32]));
    first.extend(attribute(8 | NESTED, &attribute(NESTED, &inner)));
    let mut inner = attribute(1, &[1; 32]);
    inner.extend(attribute(9 | NESTED, &network([10, 0, 0, 5])));
    let second = attribute(8 | NESTED, &attribute(NESTED, &inner));
    let interface = read(vec![from_kernel(&first), from_kernel(&second)], UnixMillis(1_002_000));
    let peer = PeerStatus {
        key: PublicKey::from_bytes([1; 32]),
        psk: None,
        allowed: vec!["10.0.0.5/32".parse().unwrap(), "10.0.0.6/32".parse().unwrap()],
        endpoint: None,
        rx_bytes: 222,
        tx_bytes: 111,
        last_handshake: Some(Duration::from_millis(1500)),
    };
    let key = Some(PublicKey::from_bytes([5; 32]));
    assert_eq!(interface, Interface { key, listen_port: 51_820, peers: vec![peer] });
}

#[test]
fn a_peer_that_never_spoke_has_no_handshake() {
    let mut inner = attribute(1, &[1; 32]);
    inner.extend(attribute(2, &[7; 32]));
    inner.extend(attribute(6, &[0; 16]));
    let bytes = attribute(8 | NESTED, &attribute(NESTED, &inner));
    let interface = read(vec![from_kernel(&bytes)], UnixMillis(1_000_000));
    assert_eq!(interface.peers[0].last_handshake, None);
    assert_eq!(interface.peers[0].psk, Some(PresharedKey::from_bytes([7; 32])));
}
