//! Any text as what another node says of federation: refused, or one payload with one text; and whatever it says, a peer
//! stays one that can be.

#![no_main]

use imp_core::federation::{Incoming, MAX_IMP_ID_BYTES, MAX_REASON_BYTES, Payload, Peer, Policy, Rules, State};
use imp_core::id::{MessageId, NodeId};
use imp_core::time::UnixMillis;
use libfuzzer_sys::fuzz_target;
use secp256k1::{SECP256K1, SecretKey};

fuzz_target!(|text: &str| {
    let Ok(payload) = Payload::parse(text) else { return };
    let written = payload.to_json();
    assert_eq!(Payload::parse(&written).as_ref(), Ok(&payload));
    // Names of control characters are the longest that JSON makes of a character; none of them comes through.
    assert!(written.len() < 200 + 2 * (MAX_IMP_ID_BYTES + MAX_REASON_BYTES));
    assert!(!written.contains(char::is_control));

    let secret = SecretKey::from_slice(&[1; 32]).expect("a key in range");
    let node = NodeId::from(secret.public_key(SECP256K1));
    let asked = MessageId::from_random([1; 16]);
    let now = UnixMillis(1_700_000_000_000);
    for policy in Policy::ALL {
        let rules = Rules { policy, ..Rules::default() };
        let mut requested = Peer::default();
        requested.request(asked, &rules, now, 0);
        for mut peer in [Peer::default(), requested] {
            let incoming = Incoming {
                node,
                id: MessageId::from_random([2; 16]),
                reply_to: &asked.to_string(),
                payload: &payload,
                late: text.len() % 2 == 1,
                now,
                random: text.len() as u64,
                room_for_pending: true,
            };
            peer.receive(&incoming, &rules);
            assert_eq!(peer.until.is_some(), peer.is_alive());
            assert_eq!(peer.standing.is_some(), peer.state == State::Federated);
            assert!(peer.lasts_secs <= rules.ttl_secs);
        }
    }
});
