use super::*;

const START: UnixMillis = UnixMillis(1_700_000_000_000);

fn at(secs: u64) -> UnixMillis {
    START.plus(Duration::from_secs(secs))
}

/// A stream's message `seq` is named by its number.
fn id(stream: u32, seq: u32) -> MessageId {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&stream.to_be_bytes());
    bytes[4..8].copy_from_slice(&seq.to_be_bytes());
    MessageId::from_bytes(bytes)
}

fn position(stream: u32, seq: u32, floor: u32) -> Position {
    Position { stream, seq, floor_back: (seq - floor).try_into().unwrap() }
}

fn message(stream: u32, seq: u32, floor: u32) -> Held {
    Held { id: id(stream, seq), position: position(stream, seq, floor), bytes: 100 }
}

/// An order that has published numbers 0 up to `next` of stream 1.
fn order_at(next: u32) -> Order {
    let (order, released) = Order::restore(Snapshot { stream: 1, next: next.into() }, [], []);
    assert_eq!(released, []);
    order
}

fn in_order<const N: usize>(seqs: [u32; N]) -> Vec<Release> {
    seqs.map(|seq| Release { id: id(1, seq), late: false }).into()
}

fn late(stream: u32, seq: u32) -> Vec<Release> {
    vec![Release { id: id(stream, seq), late: true }]
}

#[test]
fn messages_in_order_pass_at_once() {
    let mut order = Order::new();
    for seq in 0..3 {
        assert_eq!(order.accept(message(1, seq, 0), START), in_order([seq]));
    }
    assert_eq!(order.deadline(), None);
    assert_eq!(order.snapshot(), Some(Snapshot { stream: 1, next: 3 }));
}

#[test]
fn the_first_message_seen_starts_at_its_floor() {
    let mut order = Order::new();
    assert_eq!(order.accept(message(1, 12, 10), START), []);
    assert_eq!(order.accept(message(1, 10, 10), START), in_order([10]));
    assert_eq!(order.accept(message(1, 11, 10), START), in_order([11, 12]));
}

#[test]
fn a_gap_is_waited_for_until_it_is_filled() {
    let mut order = order_at(0);
    assert_eq!(order.accept(message(1, 2, 0), START), []);
    assert_eq!(order.accept(message(1, 1, 0), at(1)), []);
    assert_eq!(order.waiting().map(|waiting| waiting.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(order.accept(message(1, 0, 0), at(2)), in_order([0, 1, 2]));
    assert_eq!((order.held_bytes(), order.deadline()), (0, None));
}

#[test]
fn a_gap_is_given_up_after_a_minute_from_the_first_message_behind_it() {
    let mut order = order_at(0);
    order.accept(message(1, 5, 0), START);
    order.accept(message(1, 3, 0), at(30));
    assert_eq!(order.deadline(), Some(at(60)));
    assert_eq!(order.expire(UnixMillis(at(60).0 - 1)), []);
    assert_eq!(order.expire(at(60)), in_order([3, 5]), "5 waited for 4 for a minute too");
    assert_eq!(order.accept(message(1, 2, 0), at(61)), late(1, 2));
    assert_eq!(order.accept(message(1, 6, 0), at(62)), in_order([6]));
}

#[test]
fn a_gap_that_is_younger_is_waited_for_longer() {
    let mut order = order_at(0);
    order.accept(message(1, 1, 0), START);
    order.accept(message(1, 3, 0), at(30));
    assert_eq!(order.expire(at(60)), in_order([1]));
    assert_eq!(order.deadline(), Some(at(90)));
    assert_eq!(order.accept(message(1, 2, 0), at(89)), in_order([2, 3]));
}

#[test]
fn a_later_floor_ends_the_wait_for_what_was_given_up() {
    let mut order = order_at(0);
    order.accept(message(1, 1, 0), START);
    order.accept(message(1, 4, 0), START);
    assert_eq!(order.accept(message(1, 7, 3), at(1)), in_order([1]));
    assert_eq!(order.observe(position(1, 9, 6), at(2)), in_order([4]), "a part tells the floor too");
    assert_eq!(order.accept(message(1, 6, 6), at(3)), in_order([6, 7]));
    assert_eq!(order.accept(message(1, 2, 0), at(4)), late(1, 2));
}

#[test]
fn an_old_floor_moves_nothing_back() {
    let mut order = order_at(5);
    assert_eq!(order.accept(message(1, 6, 0), START), []);
    assert_eq!(order.accept(message(1, 5, 0), START), in_order([5, 6]));
}

#[test]
fn parts_of_a_missing_message_lengthen_the_wait() {
    let mut order = order_at(0);
    order.observe(position(1, 0, 0), START);
    order.accept(message(1, 2, 0), at(10));
    assert_eq!(order.deadline(), Some(at(70)));
    order.observe(position(1, 0, 0), at(50));
    order.observe(position(1, 3, 0), at(69));
    assert_eq!(order.deadline(), Some(at(110)), "only parts of what is missing count");
    for secs in (100..=600).step_by(50) {
        order.observe(position(1, 0, 0), at(secs));
    }
    assert_eq!(order.deadline(), Some(at(610)), "10 min from the first message held");
    assert_eq!(order.accept(message(1, 0, 0), at(609)), in_order([0]));
    assert_eq!(order.deadline(), Some(at(70)), "1 was never seen");
    assert_eq!(order.expire(at(609)), in_order([2]));
}

#[test]
fn parts_of_what_was_given_up_lengthen_no_wait() {
    let mut order = order_at(0);
    order.accept(message(1, 1, 0), START);
    order.accept(message(1, 3, 0), START);
    order.observe(position(1, 0, 0), at(40));
    assert_eq!(order.deadline(), Some(at(100)));
    assert_eq!(order.give_up_oldest_gap(), in_order([1]));
    assert_eq!(order.deadline(), Some(at(60)));
    order.observe(position(1, 0, 0), at(50));
    assert_eq!(order.deadline(), Some(at(60)));
}

#[test]
fn a_higher_stream_publishes_what_the_old_one_held() {
    let mut order = order_at(0);
    order.accept(message(1, 2, 0), START);
    order.accept(message(1, 4, 0), START);
    let new = Release { id: id(2, 3), late: false };
    let released = order.accept(message(2, 3, 3), at(1));
    assert_eq!(released, [in_order([2, 4]), vec![new]].concat());
    assert_eq!(order.accept(message(1, 5, 5), at(2)), late(1, 5), "of the old stream, but new");
    assert_eq!(order.snapshot(), Some(Snapshot { stream: 2, next: 4 }));
    assert_eq!(order.observe(position(3, 0, 0), at(3)), [], "a part begins a stream too");
    assert_eq!(order.accept(message(2, 4, 4), at(4)), late(2, 4));
}

#[test]
fn too_many_held_messages_cost_the_oldest_gap() {
    let mut order = order_at(0);
    for seq in 1..=256 {
        assert_eq!(order.accept(message(1, seq * 2, 0), START), []);
    }
    assert_eq!(order.accept(message(1, 514, 0), START), in_order([2]));
    assert_eq!(order.waiting().count(), MAX_HELD);
    assert_eq!(order.accept(message(1, 1, 0), START), late(1, 1));
}

#[test]
fn too_many_held_bytes_cost_the_oldest_gap() {
    let mut order = order_at(0);
    let large = |seq| Held { bytes: MAX_HELD_BYTES / 2, ..message(1, seq, 0) };
    assert_eq!(order.accept(large(2), START), []);
    assert_eq!(order.accept(large(4), START), []);
    assert_eq!(order.held_bytes(), MAX_HELD_BYTES);
    assert_eq!(order.accept(message(1, 6, 0), START), in_order([2]));
    assert_eq!(
        order.accept(Held { bytes: MAX_HELD_BYTES + 1, ..message(1, 9, 0) }, START),
        in_order([4, 6, 9])
    );
    assert_eq!((order.held_bytes(), order.deadline()), (0, None));
}

#[test]
fn the_oldest_gap_can_be_given_up_for_the_sake_of_others() {
    let mut order = order_at(0);
    order.accept(message(1, 2, 0), START);
    order.accept(message(1, 3, 0), START);
    order.accept(message(1, 5, 0), START);
    assert_eq!(order.give_up_oldest_gap(), in_order([2, 3]));
    assert_eq!(order.give_up_oldest_gap(), in_order([5]));
    assert_eq!(order.give_up_oldest_gap(), []);
}

#[test]
fn a_jump_to_the_last_number_is_waited_for_and_survived() {
    let mut order = order_at(0);
    assert_eq!(order.accept(message(1, u32::MAX, u32::MAX - 1), START), []);
    assert_eq!(order.expire(at(60)), in_order([u32::MAX]));
    assert_eq!(order.accept(message(1, 0, 0), at(61)), late(1, 0));
    assert_eq!(order.snapshot(), Some(Snapshot { stream: 1, next: 1 << 32 }));
}

#[test]
fn a_number_given_twice_costs_the_second_message_its_place() {
    let mut order = order_at(0);
    order.accept(message(1, 1, 0), START);
    assert_eq!(order.accept(Held { id: id(9, 9), ..message(1, 1, 0) }, START), late(9, 9));
    assert_eq!(order.accept(message(1, 1, 0), START), [], "held already");
    assert_eq!(order.accept(message(1, 0, 0), START), in_order([0, 1]));
}

#[test]
fn a_restored_order_goes_on_where_it_was() {
    let mut order = order_at(4);
    order.observe(position(1, 4, 0), START);
    order.accept(message(1, 5, 0), START);
    order.accept(message(1, 7, 0), at(2));
    let held: Vec<_> = order.waiting().copied().collect();
    let unfinished = [(4, START), (4, START.minus(GAP_PATIENCE))];
    let (mut restored, released) = Order::restore(order.snapshot().unwrap(), held, unfinished);
    assert_eq!(released, []);
    assert_eq!((restored.deadline(), restored.held_bytes()), (order.deadline(), order.held_bytes()));
    assert_eq!(restored.deadline(), Some(at(60)));
    assert_eq!(restored.accept(message(1, 4, 0), at(3)), in_order([4, 5]));
}

#[test]
fn what_does_not_belong_to_a_snapshot_is_published_rather_than_held() {
    let held = [3, 4, 5, 7].map(|seq| Waiting { id: id(1, seq), seq, bytes: 100, since: START });
    let (order, released) = Order::restore(Snapshot { stream: 1, next: 4 }, held, []);
    assert_eq!(released, [late(1, 3), in_order([4, 5])].concat());
    assert_eq!(order.waiting().map(|waiting| waiting.seq).collect::<Vec<_>>(), [7]);
}

#[test]
fn after_the_clock_was_set_back_waits_begin_anew() {
    let mut order = order_at(0);
    order.observe(position(1, 0, 0), at(5000));
    order.accept(message(1, 1, 0), at(5000));
    order.expire(at(10));
    assert_eq!(order.deadline(), Some(at(70)));
}

#[test]
fn parts_of_many_unfinished_messages_are_not_all_remembered() {
    let mut order = order_at(0);
    for seq in 0..1000 {
        order.observe(position(1, seq, 0), START);
    }
    assert_eq!(order.unfinished.len(), MAX_UNFINISHED);
    assert!(order.unfinished.contains_key(&0), "the lowest matter most");
}
