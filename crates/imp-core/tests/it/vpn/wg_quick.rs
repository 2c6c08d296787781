//! The file for `wg-quick`, of any configuration, and of what a hostile seller writes.

use imp_core::vpn::Config;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value};

use super::{any, lines};

proptest! {
    #[test]
    fn a_configuration_has_its_lines_and_no_more(config in any::config(), key in any::private_key()) {
        lines::check(&config, &key);
    }

    /// A seller that writes what it likes gets nothing into the file: what is accepted has the same lines.
    #[test]
    fn whatever_a_seller_writes_the_file_has_the_same_lines(
        config in any::config(),
        key in any::private_key(),
        exchanged in vec((any::<Index>(), hostile()), 1..4),
    ) {
        let mut object: Map<String, Value> = serde_json::from_str(&config.to_json()).unwrap();
        for (at, value) in exchanged {
            let key = object.keys().nth(at.index(object.len())).unwrap().clone();
            object.insert(key, value.into());
        }
        if let Ok(config) = Config::try_from(Value::Object(object).to_string()) {
            lines::check(&config, &key);
        }
    }
}

/// Values, some of which are right under some key, with what breaks out of a line.
fn hostile() -> impl Strategy<Value = String> {
    let right = prop_oneof![
        Just("1.1.1.1"),
        Just("2001:db8::1"),
        Just("::ffff:1.1.1.1"),
        Just("10.0.0.10/24"),
        Just("0.0.0.0/0, ::/0"),
        Just("::ffff:0:0/96"),
        Just("1420"),
        Just("d2gq+/8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        Just(""),
    ];
    let more = prop_oneof![
        4 => Just(""),
        1 => Just("\nPostUp = sh"),
        1 => Just("\r[Interface]\nPreUp=sh"),
        1 => Just("%eth0"),
        1 => Just(" #"),
    ];
    (right, more).prop_map(|(right, more)| format!("{right}{more}"))
}
