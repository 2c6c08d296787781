//! Any history of a sender and any behaviour of the network, as properties of the receiver's order.

use imp_core::id::NodeId;
use proptest::collection::vec;
use proptest::prelude::*;
use secp256k1::{SECP256K1, SecretKey};

use crate::exchange::{Exchange, Op};

fn exchange() -> Exchange {
    Exchange::new(NodeId::from(SecretKey::from_slice(&[1; 32]).unwrap().public_key(SECP256K1)))
}

fn send() -> impl Strategy<Value = Op> {
    let kib = prop_oneof![0..2_u16, 0..430_u16];
    (0..4_u8, kib).prop_map(|(parts, kib)| Op::Send { parts, kib })
}

/// What happens where nothing goes wrong for long.
fn calm() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => send(),
        9 => any::<u16>().prop_map(|pick| Op::Deliver { pick }),
        2 => any::<u16>().prop_map(|pick| Op::Repeat { pick }),
        4 => any::<u16>().prop_map(|pick| Op::Settle { pick }),
        1 => Just(Op::Crash),
    ]
}

fn anything() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => calm(),
        2 => (any::<u16>(), any::<bool>()).prop_map(|(pick, gone)| Op::GiveUp { pick, gone }),
        2 => any::<u16>().prop_map(|pick| Op::TryAgain { pick }),
        1 => Just(Op::Restart),
        2 => (0..100_u16).prop_map(|secs| Op::Pass { secs }),
        1 => (0..700_u16).prop_map(|secs| Op::Pass { secs }),
        1 => (0..100_u16).prop_map(|secs| Op::SetBack { secs }),
        1 => Just(Op::GiveUpGap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_message_comes_out_once_and_in_order_unless_marked_late(ops in vec(anything(), 0..200)) {
        let mut exchange = exchange();
        for op in ops {
            exchange.step(op);
        }
        exchange.finish();
    }

    /// Small messages, far fewer than a receiver holds, over streams that begin once the last one is at its end.
    #[test]
    fn nothing_is_late_where_nothing_was_given_up(ops in vec(calm(), 0..120), restarts in any::<bool>()) {
        let mut exchange = exchange();
        for op in ops {
            match op {
                Op::Send { parts, .. } => exchange.step(Op::Send { parts, kib: 1 }),
                op => exchange.step(op),
            }
            if restarts && exchange.is_quiet() {
                exchange.step(Op::Restart);
            }
        }
        exchange.finish_in_order();
    }
}

#[test]
fn a_full_window_behind_one_missing_message_is_held_and_comes_out_in_order() {
    let mut exchange = exchange();
    for _ in 0..300 {
        exchange.step(Op::Send { parts: 0, kib: 1 });
    }
    // The last one each time, so that the first comes last.
    for _ in 0..255 {
        exchange.step(Op::Deliver { pick: 255 });
        exchange.step(Op::Repeat { pick: 1 });
    }
    exchange.finish_in_order();
}
