use proptest::prelude::*;

use super::*;

fn node(byte: u8) -> NodeId {
    let key = secp256k1::SecretKey::from_slice(&[byte; 32]).unwrap();
    NodeId::from(key.public_key(secp256k1::SECP256K1))
}

fn header(index: u16, count: u16) -> Header {
    Header {
        id: MessageId::from_random([7; 16]),
        stream: 100,
        seq: 5,
        floor_back: 0,
        part: Some(PartOf { index, count }),
        reply_to: None,
        unordered: false,
    }
}

fn add(parts: &mut Parts, header: &Header) -> Result<Added, PartRefused> {
    parts.add(node(1), header, 10, Msat::from_sat(1))
}

#[test]
fn a_message_is_whole_once_every_part_is_there() {
    let mut parts = Parts::new();
    assert!(!parts.whole());
    for index in [2, 0] {
        assert_eq!(add(&mut parts, &header(index, 3)), Ok(Added::New));
        assert!(!parts.whole());
    }
    assert_eq!(add(&mut parts, &header(1, 3)), Ok(Added::New));
    assert!(parts.whole());
    assert_eq!((parts.amount(), parts.bytes()), (Msat::from_sat(3), 30));
}

#[test]
fn a_message_may_have_480_parts() {
    let mut parts = Parts::new();
    for index in 0..480 {
        assert!(!parts.whole() && !parts.has(index));
        assert_eq!(add(&mut parts, &header(index, 480)), Ok(Added::New));
    }
    assert!(parts.whole() && parts.has(479) && !parts.has(480) && !parts.has(u16::MAX));
}

#[test]
fn a_repeated_part_counts_once() {
    let mut parts = Parts::new();
    add(&mut parts, &header(1, 3)).unwrap();
    assert_eq!(add(&mut parts, &header(1, 3)), Ok(Added::Duplicate));
    assert_eq!((parts.present(), parts.amount(), parts.bytes()), (1, Msat::from_sat(1), 10));
}

#[test]
fn a_part_that_does_not_fit_is_refused_and_changes_nothing() {
    let mut parts = Parts::new();
    add(&mut parts, &header(0, 3)).unwrap();
    let other = MessageId::from_random([8; 16]);
    let cases = [
        (Header { part: None, ..header(1, 3) }, PartRefused::Whole),
        (Header { id: other, ..header(1, 3) }, PartRefused::OtherMessage(other)),
        (header(1, 4), PartRefused::OtherCount { expected: 3, found: 4 }),
        (header(3, 3), PartRefused::NoSuchPart(3)),
        (Header { unordered: true, seq: 0, ..header(1, 3) }, PartRefused::OtherOrder),
    ];
    for (wrong, reason) in cases {
        assert_eq!(add(&mut parts, &wrong), Err(reason));
    }
    let stranger = parts.add(node(2), &header(1, 3), 10, Msat::from_sat(1));
    assert_eq!(stranger, Err(PartRefused::OtherSender(node(2))));
    assert_eq!((parts.present(), parts.amount(), parts.bytes()), (1, Msat::from_sat(1), 10));
    assert_eq!(add(&mut Parts::new(), &header(480, 481)), Err(PartRefused::NoSuchPart(480)));
}

#[test]
fn the_newest_number_of_a_message_that_was_tried_again_counts() {
    let at = |stream, seq, floor_back| Position { stream, seq, floor_back };
    let mut parts = Parts::new();
    let told = [at(100, 5, 0), at(100, 9, 4), at(100, 9, 2), at(99, 70, 0), at(101, 3, 0)];
    let newest = [at(100, 5, 0), at(100, 9, 4), at(100, 9, 2), at(100, 9, 2), at(101, 3, 0)];
    for (index, (Position { stream, seq, floor_back }, newest)) in (0..).zip(told.into_iter().zip(newest)) {
        add(&mut parts, &Header { stream, seq, floor_back, ..header(index, 5) }).unwrap();
        assert_eq!(parts.position(), Some(newest));
    }
    assert!(parts.whole());
    let mut unordered = Parts::new();
    add(&mut unordered, &Header { unordered: true, seq: 0, ..header(0, 2) }).unwrap();
    assert_eq!(unordered.position(), None);
}

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
const MIB: usize = 1 << 20;

fn unfinished(sender: u8, bytes: usize, age_secs: u64) -> Unfinished {
    let since = NOW.minus(Duration::from_secs(age_secs));
    Unfinished { sender: node(sender), id: MessageId::from_random([sender; 16]), bytes, since }
}

#[test]
fn what_is_within_the_limits_stays() {
    assert_eq!(to_go(&[], NOW), []);
    let full: Vec<_> = (1..=32).map(|sender| unfinished(sender, 8 * MIB, 24 * 3600 - 1)).collect();
    assert_eq!(to_go(&full, NOW), []);
}

#[test]
fn a_message_whose_first_part_is_a_day_old_goes() {
    let list = [unfinished(1, 8 * MIB, 5), unfinished(1, 1, 24 * 3600), unfinished(2, 1, 24 * 3600 - 1)];
    assert_eq!(to_go(&list, NOW), [(1, GivenUp::TooOld)]);
}

#[test]
fn over_a_senders_limit_its_oldest_goes() {
    let list =
        [unfinished(2, 1, 90), unfinished(1, 4 * MIB, 10), unfinished(1, 1, 20), unfinished(1, 4 * MIB, 5)];
    assert_eq!(to_go(&list, NOW), [(2, GivenUp::SenderLimit)]);
    assert_eq!(to_go(&[list[0], list[1], list[3]], NOW), []);
}

#[test]
fn over_the_limit_for_all_the_largest_holders_oldest_goes() {
    let mut list: Vec<_> = (1..=32).map(|sender| unfinished(sender, 8 * MIB - 2, sender.into())).collect();
    list.push(unfinished(5, 1, 100));
    list.push(unfinished(5, 1, 1));
    assert_eq!(to_go(&list, NOW), []);
    list.push(unfinished(60, 63, 200));
    assert_eq!(to_go(&list, NOW), [(32, GivenUp::TotalLimit)]);
    list.push(unfinished(60, 1, 200));
    assert_eq!(to_go(&list, NOW), [(32, GivenUp::TotalLimit), (4, GivenUp::TotalLimit)]);
}

proptest! {
    /// The slow way, one message at a time, leads to the same.
    #[test]
    fn as_much_goes_as_must(
        sizes in prop::collection::vec((1_u8..6, 0_usize..9 * MIB, 0_u64..30 * 3600), 0..120)
    ) {
        let list: Vec<_> =
            sizes.into_iter().map(|(sender, bytes, age)| unfinished(sender, bytes, age)).collect();
        let gone = to_go(&list, NOW);
        let mut left: Vec<_> = (0..list.len()).collect();
        for (at, why) in &gone {
            let now: Vec<_> = left.iter().map(|at| list[*at]).collect();
            let first = to_go(&now, NOW).first().map(|(place, why)| (left[*place], *why));
            prop_assert_eq!(first, Some((*at, *why)));
            left.retain(|kept| kept != at);
        }
        let kept: Vec<_> = left.iter().map(|at| list[*at]).collect();
        prop_assert_eq!(to_go(&kept, NOW), vec![]);
        prop_assert!(kept.iter().all(|message| NOW.since(message.since) < UNFINISHED_KEPT));
        prop_assert!(kept.iter().map(|message| message.bytes).sum::<usize>() <= MAX_UNFINISHED_BYTES);
        for sender in kept.iter().map(|message| message.sender) {
            let of_sender = kept.iter().filter(|message| message.sender == sender);
            let bytes: usize = of_sender.map(|message| message.bytes).sum();
            prop_assert!(bytes <= MAX_UNFINISHED_BYTES_PER_SENDER);
        }
    }
}
