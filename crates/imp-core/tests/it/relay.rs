//! Any traffic of users and strangers, as properties of a relay's rules.

use std::time::Duration;

use imp_core::relay::{Due, GIVE_UP_AFTER, KEEP_ALIVE_EVERY, KeepAlive, KeepAliveState, Moment};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::traffic::Traffic;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_relay_keeps_its_rules_in_any_traffic(bytes in vec(any::<u8>(), 4..1_500)) {
        let mut rest = bytes.as_slice();
        let mut traffic = Traffic::new(&mut rest);
        while traffic.step(&mut rest) {}
        traffic.finish();
    }

    /// The flags that leave a relay without limits and ends, so that its pins come through many changes.
    #[test]
    fn users_keep_their_places_in_any_traffic(
        idle in any::<u8>(),
        token in any::<bool>(),
        bytes in vec(any::<u8>(), 100..3_000),
    ) {
        let options = [if token { 0x40 } else { 0 }, idle, 0, 0];
        let mut traffic = Traffic::new(&mut options.as_slice());
        let mut rest = bytes.as_slice();
        while traffic.step(&mut rest) {}
        traffic.finish();
    }

    /// However packets come and go, a relay that does not answer gets a few packets and no more.
    #[test]
    fn keep_alives_are_few_and_end(events in vec((0_u64..5_000, 0_u8..4), 1..200)) {
        let mut now = Moment(7_000_000);
        let mut keep_alive = KeepAlive::new(now);
        let mut sent: Vec<Moment> = Vec::new();
        let (mut heard, mut asked) = (None::<Moment>, now);
        for (pause, event) in events {
            now = now.plus(Duration::from_millis(pause));
            match event {
                0 => {
                    keep_alive.heard(now);
                    heard = Some(now);
                }
                1 if keep_alive.program_sends(now) => asked = now,
                _ => {}
            }
            let since = heard.map_or(asked, |heard| heard.max(asked));
            let is_silent = now.since(since) >= GIVE_UP_AFTER;
            prop_assert_eq!(keep_alive.state(now) == KeepAliveState::Silent, is_silent);
            match keep_alive.due(now) {
                Due::Send => {
                    prop_assert!(!is_silent);
                    sent.push(now);
                    prop_assert_ne!(keep_alive.due(now), Due::Send, "not twice at once");
                }
                Due::At(at) => {
                    prop_assert!(!is_silent && at > now);
                    prop_assert!(at.since(now) <= KEEP_ALIVE_EVERY);
                }
                Due::Never => prop_assert!(is_silent),
            }
        }
        for ten_secs in sent.windows(6) {
            prop_assert!(ten_secs[5].since(ten_secs[0]) >= KEEP_ALIVE_EVERY, "{:?}", ten_secs);
        }
    }
}
