//! Any order of quoting, paying, refreshing, expiring, crashing and setting clocks: everybody gets what they paid for, or
//! their money back.

mod verdict;
mod world;

use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::vpn::{Limits, PrivateKey, PublicKey, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use world::{BUYERS, Crash, World, buyer_keys};

#[derive(Clone, Debug)]
enum Op {
    Quote {
        buyer: usize,
        blocked: bool,
    },
    /// Pays for a quote: mostly its own, at its price, with a good key.
    Contract {
        buyer: usize,
        pick: u16,
        key: u8,
        wrong: u8,
        blocked: bool,
    },
    /// Asks, pays and is taken in.
    Buy {
        buyer: usize,
        key: u8,
        crash: Crash,
    },
    Refresh {
        pick: u16,
        wrong: u8,
    },
    /// The payment for a message is made twice.
    Again {
        pick: u16,
    },
    Status {
        pick: u16,
    },
    Take {
        crash: Crash,
    },
    Network {
        pick: u16,
        how: u8,
        crash: Crash,
    },
    Tick {
        crash: Crash,
    },
    Reconcile,
    Meddle {
        pick: u16,
    },
    Use {
        pick: u16,
        bytes: u64,
    },
    Pass {
        secs: u32,
    },
    Jump {
        secs: i32,
    },
    Sell {
        on: bool,
    },
    Carry {
        on: bool,
    },
    Rest {
        secs: u64,
    },
    Direct {
        on: bool,
    },
    Allowance {
        on: bool,
    },
    Restart,
}

fn step(world: &mut World, keys: &[PublicKey], op: Op) {
    match op {
        Op::Quote { buyer, blocked } => world.come(buyer, Request::Quote, Msat(1000), blocked),
        Op::Contract { buyer, pick, key, wrong, blocked } => {
            let known = world.quotes.get(usize::from(pick) % world.quotes.len().max(1)).cloned();
            let Some((owner, nonce, price_sat)) = known else { return };
            // Few want what others were quoted.
            let buyer = if wrong == 1 { buyer } else { owner };
            let public_key = match key {
                0 => world_server_key(),
                1 => PublicKey::from_bytes([0; 32]),
                _ => keys[usize::from(key) % keys.len()],
            };
            let named_sat = if wrong == 2 { price_sat + 1 } else { price_sat };
            let amount = match wrong {
                3 => Msat::from_sat(price_sat.div_ceil(2)),
                4 => Msat::from_sat(5),
                5 => Msat(700),
                _ => Msat::from_sat(price_sat),
            };
            world.come(buyer, Request::Contract { nonce, price_sat: named_sat, public_key }, amount, blocked);
        }
        Op::Buy { buyer, key, crash } => {
            world.come(buyer, Request::Quote, Msat(1000), false);
            (0..=world.inbound.len()).for_each(|_| world.take(Crash::No));
            let Some((buyer, nonce, price_sat)) = world.quotes.last().cloned() else { return };
            let public_key = keys[usize::from(key) % keys.len()];
            let request = Request::Contract { nonce, price_sat, public_key };
            world.come(buyer, request, Msat::from_sat(price_sat), false);
            world.take(crash);
        }
        Op::Refresh { pick, wrong } => {
            // Mostly of what was bought.
            let bought = world.bought();
            let known = if wrong == 4 || bought.is_empty() { &world.quotes } else { &bought };
            let known = known.get(usize::from(pick) % known.len().max(1)).cloned();
            let Some((owner, nonce, price_sat)) = known else { return };
            let buyer = if wrong == 1 { (owner + 1) % BUYERS } else { owner };
            let amount = Msat::from_sat(if wrong == 2 { price_sat + 1 } else { price_sat });
            world.come(buyer, Request::Refresh { nonce, price_sat }, amount, wrong == 3);
        }
        Op::Again { pick } => {
            let row = world.paid.get(usize::from(pick) % world.paid.len().max(1)).cloned();
            row.into_iter().for_each(|row| world.come_again(&row));
        }
        Op::Status { pick } => {
            let Some(row) = world.paid.get(usize::from(pick) % world.paid.len().max(1)).cloned() else {
                return;
            };
            let nonce = row.request.nonce().unwrap().clone();
            world.come(row.buyer, Request::Status { nonce, id: row.id }, Msat(1000), false);
        }
        Op::Take { crash } => world.take(crash),
        Op::Network { pick, how, crash } => world.network(pick, how, crash),
        Op::Tick { crash } => world.tick(crash),
        Op::Reconcile => world.reconcile(),
        Op::Meddle { pick } => world.meddle(pick),
        Op::Use { pick, bytes } => world.use_tunnel(pick, bytes),
        Op::Pass { secs } => world.pass(Duration::from_secs(secs.into())),
        Op::Jump { secs } => world.jump(secs),
        Op::Sell { on } => world.set_selling(on),
        Op::Carry { on } => world.set_carrying(on),
        Op::Rest { secs } => world.set_rest(Duration::from_secs(secs)),
        Op::Direct { on } => world.direct = on,
        Op::Allowance { on } => world.allowance = on,
        Op::Restart => world.restart(),
    }
}

fn world_server_key() -> PublicKey {
    PrivateKey::from_random([99; 32]).public()
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![8 => Just(Crash::No), 1 => Just(Crash::BeforeCommit), 1 => Just(Crash::AfterCommit)]
}

fn op() -> impl Strategy<Value = Op> {
    let pick = || any::<u16>();
    prop_oneof![
        5 => (0..BUYERS, prop::bool::weighted(0.05)).prop_map(|(buyer, blocked)| Op::Quote { buyer, blocked }),
        4 => (0..BUYERS, pick(), 0..40_u8, 0..20_u8, prop::bool::weighted(0.05)).prop_map(
            |(buyer, pick, key, wrong, blocked)| Op::Contract { buyer, pick, key, wrong, blocked }
        ),
        8 => (0..BUYERS, any::<u8>(), crash()).prop_map(|(buyer, key, crash)| Op::Buy { buyer, key, crash }),
        12 => (pick(), 0..16_u8).prop_map(|(pick, wrong)| Op::Refresh { pick, wrong }),
        1 => pick().prop_map(|pick| Op::Again { pick }),
        1 => pick().prop_map(|pick| Op::Status { pick }),
        24 => crash().prop_map(|crash| Op::Take { crash }),
        14 => (pick(), 0..10_u8, crash()).prop_map(|(pick, how, crash)| Op::Network { pick, how, crash }),
        2 => crash().prop_map(|crash| Op::Tick { crash }),
        4 => Just(Op::Reconcile),
        1 => pick().prop_map(|pick| Op::Meddle { pick }),
        2 => (pick(), 0..400_u64).prop_map(|(pick, bytes)| Op::Use { pick, bytes }),
        4 => (0..600_u32).prop_map(|secs| Op::Pass { secs }),
        1 => (0..8_000_u32).prop_map(|secs| Op::Pass { secs }),
        1 => (-10_000..10_000_i32).prop_map(|secs| Op::Jump { secs }),
        1 => any::<bool>().prop_map(|on| Op::Sell { on }),
        1 => prop::bool::weighted(0.8).prop_map(|on| Op::Carry { on }),
        1 => (0..10_000_u64).prop_map(|secs| Op::Rest { secs }),
        1 => any::<bool>().prop_map(|on| Op::Direct { on }),
        1 => any::<bool>().prop_map(|on| Op::Allowance { on }),
        1 => Just(Op::Restart),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    prop::option::of(500..2_000_u64).prop_map(|data_bytes| Limits { data_bytes, bytes_per_sec: None })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_paid_for_is_served_or_paid_back_and_nothing_else_is_served(
        limits in limits(),
        price_sat in prop_oneof![Just(5_u64), Just(10), 50..2_000_u64],
        prefix in 29..=30_u8,
        ops in vec(op(), 0..80),
    ) {
        let keys = buyer_keys();
        let mut world = World::new(limits, price_sat, &format!("10.0.0.0/{prefix}"));
        for op in ops {
            step(&mut world, &keys, op);
        }
        world.finish();
    }
}
