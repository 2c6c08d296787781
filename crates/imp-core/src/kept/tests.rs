use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn in_secs(secs: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(secs))
}

/// A line of messages that send 1 sat each and are kept for an hour.
fn line(places: impl IntoIterator<Item = Place>) -> Line {
    let mut line = Line::default();
    for place in places {
        line.join(place, 1, in_secs(3600), NOW);
    }
    line
}

fn due(line: &mut Line, now: UnixMillis) -> Option<UnixMillis> {
    match line.next(now) {
        Step::Wait(due) => due,
        step => panic!("{step:?}"),
    }
}

#[test]
fn a_line_is_tried_from_its_front_after_a_pause() {
    let mut line = line([7, 3, 5]);
    assert_eq!(due(&mut line, NOW), Some(in_secs(2)));
    assert_eq!(line.next(in_secs(2)), Step::Send(3));
    assert_eq!(due(&mut line, in_secs(2)), Some(in_secs(3600)), "one at a time, until one has settled");
    line.ended(3, TryEnd::Settled);
    assert_eq!(line.next(in_secs(3)), Step::Send(5));
    assert_eq!(line.next(in_secs(3)), Step::Send(7));
    line.ended(7, TryEnd::Settled);
    line.ended(5, TryEnd::Over);
    assert_eq!(line.next(in_secs(3)), Step::Wait(None));
    assert!(line.is_empty());
}

#[test]
fn what_fails_holds_what_is_behind_it() {
    let mut line = line([1, 2]);
    assert_eq!(line.next(in_secs(2)), Step::Send(1));
    line.ended(1, TryEnd::Failed);
    assert_eq!(due(&mut line, in_secs(2)), Some(in_secs(4)));
    assert_eq!(line.next(in_secs(4)), Step::Send(1));
}

#[test]
fn what_is_too_large_holds_only_what_is_as_large() {
    let mut line = Line::default();
    for (place, amount_sat) in [(1, 500), (2, 700), (3, 1), (4, 499), (5, 500)] {
        line.join(place, amount_sat, in_secs(3600), NOW);
    }
    assert_eq!(line.next(in_secs(2)), Step::Send(1));
    line.ended(1, TryEnd::Failed);
    assert_eq!(line.next(in_secs(2)), Step::Send(3));
    line.ended(3, TryEnd::Settled);
    assert_eq!(line.next(in_secs(2)), Step::Send(4));
    assert!(matches!(line.next(in_secs(2)), Step::Wait(_)));
    line.ended(4, TryEnd::Settled);
    assert_eq!(due(&mut line, in_secs(2)), Some(in_secs(4)), "the others have another pass soon");
}

#[test]
fn whoever_cannot_be_reached_at_all_is_asked_once_in_a_pass() {
    let mut line = Line::default();
    line.join(1, 500, in_secs(3600), NOW);
    line.join(2, 1, in_secs(3600), NOW);
    assert_eq!(line.next(in_secs(2)), Step::Send(1));
    line.ended(1, TryEnd::Unreachable);
    assert_eq!(due(&mut line, in_secs(2)), Some(in_secs(4)));
}

#[test]
fn pauses_double_up_to_five_minutes_and_news_cut_them_short() {
    let mut line = line([1]);
    let mut now = in_secs(2);
    let mut pauses = Vec::new();
    for _ in 0..10 {
        assert_eq!(line.next(now), Step::Send(1));
        line.ended(1, TryEnd::Unreachable);
        let next = due(&mut line, now).unwrap();
        pauses.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    assert_eq!(line.next(now), Step::Send(1));
    line.ended(1, TryEnd::Unreachable);
    due(&mut line, now);
    line.wake(now.plus(Duration::from_secs(1)));
    assert_eq!(due(&mut line, now), Some(now.plus(FIRST_PAUSE)), "but not at once after the last pass");
}

#[test]
fn news_that_lead_to_nothing_count_for_less_and_less() {
    let mut line = line([1]);
    line.wake(NOW);
    let mut now = NOW;
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert_eq!(line.next(now), Step::Send(1));
        line.wake(now);
        line.ended(1, TryEnd::Failed);
        let next = due(&mut line, now).unwrap();
        line.wake(now);
        assert_eq!(due(&mut line, now), Some(next), "more of the same is no news");
        pauses.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [2, 4, 4, 8, 16, 32, 64, 128, 256]);
    line.join(2, 0, in_secs(360_000), now);
    assert_eq!(line.next(now), Step::Send(1));
    line.ended(1, TryEnd::Failed);
    assert_eq!(line.next(now), Step::Send(2));
    line.ended(2, TryEnd::Settled);
    assert_eq!(due(&mut line, now), Some(now.plus(FIRST_PAUSE)), "until something settles");
}

#[test]
fn what_joins_a_pass_is_part_of_it_only_behind_its_place() {
    let mut line = line([5]);
    assert_eq!(line.next(in_secs(2)), Step::Send(5));
    line.join(6, 1, in_secs(3600), in_secs(2));
    line.join(4, 1, in_secs(3600), in_secs(2));
    line.ended(5, TryEnd::Settled);
    assert_eq!(line.next(in_secs(2)), Step::Send(6));
    line.ended(6, TryEnd::Settled);
    assert_eq!(due(&mut line, in_secs(2)), Some(in_secs(4)));
    assert_eq!(line.next(in_secs(4)), Step::Send(4));
}

#[test]
fn what_is_not_settled_in_time_is_given_up_unless_it_is_under_way() {
    let mut line = Line::default();
    line.join(1, 1, in_secs(10), NOW);
    line.join(2, 1, in_secs(20), NOW);
    assert_eq!(line.next(in_secs(2)), Step::Send(1));
    assert_eq!(due(&mut line, in_secs(15)), Some(in_secs(20)));
    line.ended(1, TryEnd::Unreachable);
    assert_eq!(line.next(in_secs(15)), Step::GiveUp(1));
    assert_eq!(line.next(in_secs(20)), Step::GiveUp(2));
    assert_eq!(line.next(in_secs(20)), Step::Wait(None));
}

/// What happens to a line.
#[derive(Clone, Debug)]
enum Event {
    Join {
        place: Place,
        amount_sat: u64,
        keep_secs: u64,
    },
    Wake,
    /// The try that ends is the `which`th that is under way.
    End {
        which: usize,
        end: TryEnd,
    },
    Pass {
        ms: u64,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let end = prop_oneof![
        3 => Just(TryEnd::Settled),
        1 => Just(TryEnd::Over),
        2 => Just(TryEnd::Failed),
        2 => Just(TryEnd::Unreachable),
    ];
    prop_oneof![
        (0..200_u64, 1..4_u64, 1..400_u64).prop_map(|(place, amount_sat, keep_secs)| Event::Join {
            place,
            amount_sat,
            keep_secs
        }),
        Just(Event::Wake),
        (0..16_usize, end).prop_map(|(which, end)| Event::End { which, end }),
        (0..20_000_u64).prop_map(|ms| Event::Pass { ms }),
    ]
}

/// A line with what is to be true of it beside.
#[derive(Default)]
struct Watched {
    line: Line,
    /// What waits, and until when.
    waiting: BTreeMap<Place, UnixMillis>,
    under_way: Vec<Place>,
    gone: BTreeSet<Place>,
    settled_since_idle: bool,
}

impl Watched {
    /// Takes every step that is due.
    fn settle_down(&mut self, now: UnixMillis) {
        loop {
            match self.line.next(now) {
                Step::Send(place) => {
                    let until = self.waiting.remove(&place).expect("only what waits is sent");
                    assert!(until > now, "what is over is not sent");
                    self.under_way.push(place);
                    let most = if self.settled_since_idle { MAX_UNDER_WAY } else { 1 };
                    assert!(self.under_way.len() <= most);
                }
                Step::GiveUp(place) => {
                    assert!(self.waiting.remove(&place).expect("only what waits is given up") <= now);
                    self.gone.insert(place);
                }
                Step::Wait(until) => {
                    assert!(until.is_none_or(|until| until > now), "nothing that is due is left");
                    assert_eq!(until.is_none(), self.waiting.is_empty(), "whatever waits has its time");
                    self.settled_since_idle &= !self.under_way.is_empty();
                    break;
                }
            }
        }
        assert_eq!(self.line.len(), self.waiting.len() + self.under_way.len());
    }

    fn take(&mut self, event: &Event, now: &mut UnixMillis, untils: &mut BTreeMap<Place, UnixMillis>) {
        match *event {
            Event::Join { place, amount_sat, keep_secs } => {
                if untils.contains_key(&place) {
                    return;
                }
                let until = now.plus(Duration::from_secs(keep_secs));
                untils.insert(place, until);
                self.waiting.insert(place, until);
                self.line.join(place, amount_sat, until, *now);
            }
            Event::Wake => self.line.wake(*now),
            Event::End { which, end } => {
                if self.under_way.is_empty() {
                    return;
                }
                let place = self.under_way.remove(which % self.under_way.len());
                self.line.ended(place, end);
                if matches!(end, TryEnd::Settled | TryEnd::Over) {
                    self.gone.insert(place);
                    self.settled_since_idle |= end == TryEnd::Settled;
                } else {
                    self.waiting.insert(place, untils[&place]);
                }
            }
            Event::Pass { ms } => *now = now.plus(Duration::from_millis(ms)),
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_each_message_is_sent_or_given_up_in_the_end(events in prop::collection::vec(event(), 0..300)) {
        let (mut watched, mut now, mut untils) = (Watched::default(), NOW, BTreeMap::new());
        for event in &events {
            watched.take(event, &mut now, &mut untils);
            watched.settle_down(now);
        }
        // From here on nothing happens but time, and every try fails.
        for _ in 0..100_000 {
            if watched.line.is_empty() {
                break;
            }
            let end = Event::End { which: 0, end: TryEnd::Unreachable };
            watched.take(&end, &mut now, &mut untils);
            if let Step::Wait(Some(next)) = watched.line.clone().next(now) {
                now = now.max(next);
            }
            watched.settle_down(now);
        }
        prop_assert!(watched.line.is_empty());
        prop_assert_eq!(watched.gone.len(), untils.len());
    }

    #[test]
    fn a_recipient_that_is_back_gets_the_line_in_order(
        joins in prop::collection::btree_map(0..100_u64, 0..10_000_u64, 1..40),
        away_secs in 0..2_000_u64,
    ) {
        let mut line = Line::default();
        let back = in_secs(away_secs);
        let mut joins: Vec<_> = joins.into_iter().map(|(place, at)| (NOW.plus(Duration::from_millis(at)), place)).collect();
        joins.sort_unstable();
        let (mut now, mut sent, mut last) = (NOW, Vec::new(), NOW);
        let count = joins.len();
        let mut joins = joins.into_iter().peekable();
        while sent.len() < count {
            while let Some((at, place)) = joins.next_if(|(at, _)| *at <= now) {
                line.join(place, 1, at.plus(LONGEST_KEEP), at);
            }
            match line.next(now) {
                Step::Send(place) if now >= back => {
                    line.ended(place, TryEnd::Settled);
                    sent.push(place);
                    last = now;
                }
                Step::Send(place) => line.ended(place, TryEnd::Unreachable),
                Step::GiveUp(place) => prop_assert!(false, "{place} was given up"),
                Step::Wait(until) => {
                    let next = until.into_iter().chain(joins.peek().map(|(at, _)| *at)).min();
                    now = next.expect("something is to come").max(now);
                }
            }
        }
        let longest = back.max(in_secs(10)).plus(LONGEST_PAUSE + FIRST_PAUSE);
        prop_assert!(last <= longest, "the last one went {:?} after it could", last.since(back));
        if away_secs >= 10 {
            let mut in_order = sent.clone();
            in_order.sort_unstable();
            prop_assert_eq!(sent, in_order, "all had joined before the recipient was back");
        }
    }
}
