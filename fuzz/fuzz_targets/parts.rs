//! Bytes as the parts of a message, many of which do not fit, and as unfinished messages of which some must go.

#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId};
use imp_core::order::Position;
use imp_core::parts::{
    Added, GivenUp, MAX_UNFINISHED_BYTES, MAX_UNFINISHED_BYTES_PER_SENDER, Parts, UNFINISHED_KEPT,
    Unfinished, to_go,
};
use imp_core::time::UnixMillis;
use imp_core::wire::envelope::{Header, PartOf};
use libfuzzer_sys::fuzz_target;
use secp256k1::{SECP256K1, SecretKey};

static SENDERS: LazyLock<[NodeId; 4]> = LazyLock::new(|| {
    [1, 2, 3, 4].map(|byte| {
        let secret = SecretKey::from_slice(&[byte; 32]).expect("a key in range");
        NodeId::from(secret.public_key(SECP256K1))
    })
});

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, rest)) = bytes.split_first() else { return };
    match kind & 1 {
        0 => put_together(rest),
        _ => make_room(rest),
    }
});

/// Six bytes for each part: index, how it differs from the first, number, size.
fn put_together(bytes: &[u8]) {
    let Some((&[high, low], ops)) = bytes.split_first_chunk() else { return };
    let count = u16::from_be_bytes([high, low]) % 500;
    let mut parts = Parts::new();
    let mut there = BTreeMap::<u16, usize>::new();
    let mut stored = Vec::new();
    for op in ops.chunks_exact(6) {
        let index = u16::from_be_bytes([op[0], op[1]]) % 500;
        let differs = op[2];
        let header = Header {
            id: MessageId::from_bytes([u8::from(differs == 1); 16]),
            stream: 1 + u32::from(op[3] / 128),
            seq: op[3].into(),
            floor_back: 0,
            part: (differs != 2).then_some(PartOf { index, count: count + u16::from(differs == 3) }),
            reply_to: None,
            unordered: differs == 4,
        };
        let sender = SENDERS[usize::from(differs == 5)];
        let size = usize::from(u16::from_be_bytes([op[4], op[5]]));
        let before = (parts.present(), parts.amount(), parts.bytes(), parts.position());
        match parts.add(sender, &header, size, Msat(size as u64)) {
            Ok(Added::New) => {
                assert!(there.insert(index, size).is_none(), "a part is new once");
                stored.push((sender, header, size));
            }
            Ok(Added::Duplicate) => assert!(there.contains_key(&index)),
            Err(_) => {}
        }
        if stored.len() == usize::from(before.0) {
            assert_eq!(before, (parts.present(), parts.amount(), parts.bytes(), parts.position()));
        }
    }
    let sum: usize = there.values().sum();
    assert_eq!((parts.bytes(), parts.amount()), (sum, Msat(sum as u64)));
    assert!((0..520).all(|index| parts.has(index) == there.contains_key(&index)));
    assert_eq!(parts.whole(), parts.count().is_some_and(|count| (0..count).all(|index| parts.has(index))));

    // In another order, as after a restart, they are the same message.
    let mut restored = Parts::new();
    for (sender, header, size) in stored.iter().rev() {
        assert_eq!(restored.add(*sender, header, *size, Msat(*size as u64)), Ok(Added::New));
    }
    let all = |parts: &Parts| (parts.whole(), parts.amount(), parts.bytes(), parts.position());
    assert_eq!(all(&restored), all(&parts));
    let place = |position: Position| (position.stream, position.seq);
    let newest = stored.iter().filter_map(|(_, header, _)| header.position().map(place)).max();
    assert_eq!(parts.position().map(place), newest);
}

/// Four bytes for each unfinished message: sender, age, size.
fn make_room(bytes: &[u8]) {
    let message = |op: &[u8]| Unfinished {
        sender: SENDERS[usize::from(op[0] % 4)],
        id: MessageId::from_bytes([op[1]; 16]),
        bytes: usize::from(u16::from_be_bytes([op[2], op[3]])) << (op[0] / 16),
        since: NOW.minus(Duration::from_secs(u64::from(op[1]) * 400)),
    };
    let all: Vec<Unfinished> = bytes.chunks_exact(4).map(message).collect();
    let mut kept: Vec<Option<Unfinished>> = all.iter().copied().map(Some).collect();
    for (at, why) in to_go(&all, NOW) {
        let left = || kept.iter().flatten();
        let gone = kept[at].expect("each goes once");
        let held_by = |sender| sum(left().filter(|other| other.sender == sender));
        let its_oldest = left().all(|other| other.sender != gone.sender || other.since >= gone.since);
        let holds_most = SENDERS.iter().all(|sender| held_by(*sender) <= held_by(gone.sender));
        match why {
            GivenUp::TooOld => assert!(NOW.since(gone.since) >= UNFINISHED_KEPT),
            GivenUp::SenderLimit => assert!(held_by(gone.sender) > MAX_UNFINISHED_BYTES_PER_SENDER),
            GivenUp::TotalLimit => assert!(sum(left()) > MAX_UNFINISHED_BYTES),
        }
        assert!(its_oldest && (holds_most || why == GivenUp::TooOld));
        kept[at] = None;
    }
    let unfinished: Vec<Unfinished> = kept.into_iter().flatten().collect();
    assert!(unfinished.iter().all(|message| NOW.since(message.since) < UNFINISHED_KEPT));
    assert!(sum(unfinished.iter()) <= MAX_UNFINISHED_BYTES);
    for sender in *SENDERS {
        assert!(
            sum(unfinished.iter().filter(|message| message.sender == sender))
                <= MAX_UNFINISHED_BYTES_PER_SENDER
        );
    }
}

fn sum<'u>(messages: impl Iterator<Item = &'u Unfinished>) -> usize {
    messages.map(|message| message.bytes).sum()
}
