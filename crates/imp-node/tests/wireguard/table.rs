//! What a device has, and what it says about it.

use std::time::Duration;

use imp_core::vpn::PublicKey;
use imp_node::wireguard::DeviceError;
use tokio::time::Instant;

use crate::lab::{Lab, networks, new_key, peer, spec};

pub(crate) fn an_interface_is_there_until_it_is_closed(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    assert_eq!(device.name(), "imp0");
    assert_ne!(device.listen_port(), 0);
    assert!(lab.server.has_interface("imp0"));
    assert!(lab.server.peers(&device).is_empty());
    lab.server.close(&device);
    assert!(!lab.server.has_interface("imp0"));
    let again = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    lab.server.close(&again);
}

pub(crate) fn peers_that_are_put_are_there_in_order(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    let keys: Vec<_> = (0..5).map(|_| new_key()).collect();
    let mut peers: Vec<_> = keys.iter().map(|key| peer(key, &[])).collect();
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.allowed = networks(&[&format!("10.9.0.{}/32", number + 2), "2001:db8::/64"]);
    }
    peers[0].endpoint = Some("192.0.2.2:1234".parse().unwrap());
    lab.server.put(&device, &peers);
    let there = lab.server.peers(&device);
    let mut expected: Vec<PublicKey> = keys.iter().map(|key| key.public()).collect();
    expected.sort();
    assert_eq!(there.iter().map(|peer| peer.key).collect::<Vec<_>>(), expected);
    let first = there.iter().find(|peer| peer.key == keys[0].public()).unwrap();
    assert_eq!(first.endpoint, peers[0].endpoint);
    assert_eq!((first.rx_bytes, first.tx_bytes, first.last_handshake), (0, 0, None));
    // The network that all of them got is the last one's.
    assert_eq!(first.allowed, networks(&["10.9.0.2/32"]));
    let last = there.iter().find(|peer| peer.key == keys[4].public()).unwrap();
    assert_eq!(last.allowed, networks(&["10.9.0.6/32", "2001:db8::/64"]));
    lab.server.close(&device);
}

pub(crate) fn a_peer_that_is_put_again_is_changed(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    let mut changed = peer(&new_key(), &["10.9.0.2/32", "10.9.0.3/32"]);
    changed.endpoint = Some("192.0.2.2:1234".parse().unwrap());
    lab.server.put(&device, std::slice::from_ref(&changed));
    let endpoint = changed.endpoint.take();
    changed.allowed = networks(&["10.9.0.4/32"]);
    lab.server.put(&device, &[changed]);
    let there = lab.server.peers(&device);
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].allowed, networks(&["10.9.0.4/32"]));
    assert_eq!(there[0].endpoint, endpoint, "nothing new is said of where it is");
    lab.server.close(&device);
}

pub(crate) fn a_network_belongs_to_the_peer_that_got_it_last(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    let (one, other) = (new_key(), new_key());
    lab.server.put(&device, &[peer(&one, &["10.9.0.2/32", "10.9.0.3/32"])]);
    lab.server.put(&device, &[peer(&other, &["10.9.0.2/32"])]);
    let allowed = |key: PublicKey| {
        let there = lab.server.peers(&device);
        there.into_iter().find(|peer| peer.key == key).unwrap().allowed
    };
    assert_eq!(allowed(one.public()), networks(&["10.9.0.3/32"]));
    assert_eq!(allowed(other.public()), networks(&["10.9.0.2/32"]));
    lab.server.close(&device);
}

pub(crate) fn removed_peers_are_gone_and_others_are_not(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    let (one, other, never) = (new_key(), new_key(), new_key());
    lab.server.put(&device, &[peer(&one, &["10.9.0.2/32"]), peer(&other, &["10.9.0.3/32"])]);
    lab.server.run(device.remove_peers(&[one.public(), never.public()])).unwrap();
    let there = lab.server.peers(&device);
    assert_eq!(there.iter().map(|peer| peer.key).collect::<Vec<_>>(), [other.public()]);
    lab.server.close(&device);
}

pub(crate) fn a_thousand_peers_are_put_at_once(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/16"]));
    let peers: Vec<_> = (0..1000)
        .map(|number| peer(&new_key(), &[&format!("10.9.{}.{}/32", 1 + number / 250, 1 + number % 250)]))
        .collect();
    let keys: Vec<_> = peers.iter().map(|peer| peer.key).collect();
    let began = Instant::now();
    lab.server.put(&device, &peers);
    let put = began.elapsed();
    assert_eq!(lab.server.peers(&device).len(), 1000);
    lab.server.put(&device, &peers);
    lab.server.run(device.remove_peers(&keys)).unwrap();
    assert!(lab.server.peers(&device).is_empty());
    assert!(put < Duration::from_secs(5), "it took {put:?}");
    lab.server.close(&device);
}

pub(crate) fn the_name_of_another_interface_is_refused(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    let refused = lab.server.try_open(spec("imp0", &new_key(), 0, &["10.9.1.1/24"]));
    assert!(matches!(refused, Err(DeviceError::NameInUse { ref name }) if name == "imp0"), "{refused:?}");
    let asked = lab.server.check(&spec("imp0", &new_key(), 0, &["10.9.1.1/24"]));
    assert!(matches!(asked, Err(DeviceError::NameInUse { ref name }) if name == "imp0"), "{asked:?}");
    lab.server.check(&spec("imp9", &new_key(), 0, &["10.9.1.1/24"])).unwrap();
    assert!(!lab.server.has_interface("imp9"), "asking makes nothing");
    assert!(lab.server.has_interface("imp0"));
    assert!(lab.server.peers(&device).is_empty(), "it is as it was");
    lab.server.close(&device);
}

pub(crate) fn a_closed_device_is_gone_for_every_call(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    lab.server.close(&device);
    lab.server.close(&device);
    let gone = |error: DeviceError| assert!(matches!(error, DeviceError::Gone { .. }), "{error}");
    gone(lab.server.run(device.peers()).unwrap_err());
    gone(lab.server.run(device.put_peers(&[peer(&new_key(), &[])])).unwrap_err());
    gone(lab.server.run(device.remove_peers(&[new_key().public()])).unwrap_err());
}

pub(crate) fn a_device_whose_interface_is_deleted_fails(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    lab.server.delete("imp0");
    lab.server.run(device.failed());
    let error = lab.server.run(device.peers()).unwrap_err();
    assert!(matches!(error, DeviceError::Gone { .. }), "{error}");
    lab.server.close(&device);
    let again = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24"]));
    lab.server.close(&again);
}

pub(crate) fn an_interface_without_ipv6_has_none(lab: &Lab) {
    let device = lab.server.open(spec("imp0", &new_key(), 0, &["10.9.0.1/24", "10.9.1.1/24"]));
    let shown = lab.server.output("ip", "-brief address show dev imp0");
    assert!(shown.contains("10.9.0.1/24") && shown.contains("10.9.1.1/24"), "{shown}");
    assert_eq!(lab.server.output("ip", "-brief -6 address show dev imp0"), "");
    lab.server.close(&device);
}

pub(crate) fn a_port_in_use_is_refused(lab: &Lab) {
    let _taken = lab.server.socket("0.0.0.0:51999");
    let refused = lab.server.try_open(spec("imp0", &new_key(), 51_999, &["10.9.0.1/24"]));
    assert!(matches!(refused, Err(DeviceError::PortInUse { port: 51_999 })), "{refused:?}");
    assert!(!lab.server.has_interface("imp0"), "nothing is left");
}
