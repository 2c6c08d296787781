//! Whatever sellers say, clocks do and crashes lose: nothing is paid twice, too late or because of an answer, and keys do
//! not outlive their contracts.

mod verdict;
mod world;

use std::time::Duration;

use imp_core::id::MessageId;
use imp_core::vpn::buyer::{Purchase, PurchaseState};
use imp_core::vpn::{EndReason, Limits, Nonce, PAID_TWICE, PrivateKey, Quote, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use world::{Crash, SELLERS, World};

#[derive(Clone, Debug)]
struct Quoted {
    seller: usize,
    nonce: u8,
    price_sat: u64,
    valid_secs: u64,
    duration_secs: u64,
    /// Payments that a contract can have left at once.
    payments: u64,
    data_bytes: Option<u64>,
}

impl Quoted {
    fn quote(&self, nonce: Nonce) -> Quote {
        Quote {
            nonce,
            price_sat: self.price_sat,
            valid_secs: self.valid_secs,
            expiry_secs: 0,
            duration_secs: self.duration_secs,
            max_secs: self.payments * self.duration_secs,
            limits: Limits { data_bytes: self.data_bytes, bytes_per_sec: None },
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Quote(Quoted),
    Accept {
        pick: u16,
        wrong: u8,
        crash: Crash,
    },
    /// Is quoted, accepts and pays, and mostly gets the configuration.
    Buy {
        quote: Quoted,
        served: bool,
    },
    Refresh {
        pick: u16,
        crash: Crash,
    },
    AutoRefresh {
        pick: u16,
        limit_sat: u64,
    },
    Network {
        pick: u16,
        how: u8,
        crash: Crash,
    },
    Config {
        pick: u16,
        wrong: u8,
        crash: Crash,
    },
    Refreshed {
        pick: u16,
        remaining_secs: u64,
        wrong: u8,
    },
    Refund {
        pick: u16,
        which: u8,
        sat: u64,
    },
    /// The seller says that it has ended.
    Expired {
        pick: u16,
        reason: EndReason,
        wrong: bool,
    },
    Use {
        pick: u16,
        bytes: u64,
    },
    Switch {
        on: bool,
    },
    Tick {
        crash: Crash,
    },
    Pass {
        secs: u32,
    },
    Jump {
        secs: i32,
    },
    Restart,
}

fn step(world: &mut World, op: Op) {
    match op {
        Op::Quote(quoted) => {
            world.quote(quoted.seller, quoted.quote(Nonce::from_random([quoted.nonce; 16])));
        }
        Op::Buy { quote, served } => {
            let random = world.random();
            let nonce = Nonce::from_random(std::array::from_fn(|at| random[at]));
            let Quoted { seller, price_sat, .. } = quote;
            world.quote(seller, quote.quote(nonce.clone()));
            world.accept(seller, &nonce, price_sat, Crash::No);
            let Some(purchase) = world.purchases.get(&nonce).cloned() else { return };
            world.settle(purchase.contract_id);
            if served {
                let config = Response::Config(Box::new(world.config(&purchase)));
                world.hear(seller, &purchase.contract_id.to_string(), &config, 1, Crash::No);
            }
        }
        Op::Accept { pick, wrong, crash } => {
            let Some((seller, quote, _)) = picked(&world.given, pick) else { return };
            let seller = if wrong == 1 { (seller + 1) % SELLERS } else { seller };
            world.accept(seller, &quote.nonce, quote.price_sat + u64::from(wrong == 2), crash);
        }
        Op::Refresh { pick, crash } => {
            if let Some(purchase) = purchase(world, pick) {
                world.refresh(purchase.nonce(), crash);
            }
        }
        Op::AutoRefresh { pick, limit_sat } => {
            if let Some(purchase) = purchase(world, pick) {
                world.auto_refresh(purchase.nonce(), limit_sat);
            }
        }
        Op::Network { pick, how, crash } => world.network(pick, how, crash),
        Op::Config { pick, wrong, crash } => {
            let Some(purchase) = purchase(world, pick) else { return };
            let mut config = world.config(&purchase);
            match wrong {
                1 => config.client_key = PrivateKey::from_random([7; 32]).public(),
                2 => config.duration_secs += 1,
                3 => config.limits.data_bytes = Some(1),
                _ => {}
            }
            let reply_to = purchase.contract_id.to_string();
            let seller = seller_of(world, &purchase, wrong == 4);
            world.hear(seller, &reply_to, &Response::Config(Box::new(config)), 1, crash);
        }
        Op::Refreshed { pick, remaining_secs, wrong } => {
            let Some(purchase) = purchase(world, pick) else { return };
            let id = purchase.refresh.map_or(purchase.contract_id, |refresh| refresh.id);
            let response = Response::Refreshed {
                nonce: purchase.nonce().clone(),
                duration_secs: purchase.quote.duration_secs,
                remaining_secs,
                expiry_secs: 0,
            };
            let seller = seller_of(world, &purchase, wrong == 1);
            let id = if wrong == 2 { purchase.contract_id } else { id };
            world.hear(seller, &id.to_string(), &response, 1, Crash::No);
        }
        Op::Refund { pick, which, sat } => {
            let Some(purchase) = purchase(world, pick) else { return };
            let refresh = purchase.refresh.map(|refresh| refresh.id);
            let id = match which {
                0..=4 => refresh.unwrap_or(purchase.contract_id),
                5 => MessageId::from_random([9; 16]),
                _ => purchase.contract_id,
            };
            let response = Response::Refund {
                nonce: purchase.nonce().clone(),
                amount_sat: 21_000_000,
                received_sat: 1,
                reason: if which == 6 { PAID_TWICE.to_owned() } else { "price".to_owned() },
            };
            let seller = seller_of(world, &purchase, which == 7);
            world.hear(seller, &id.to_string(), &response, sat, Crash::No);
        }
        Op::Expired { pick, reason, wrong } => {
            let Some(purchase) = purchase(world, pick) else { return };
            let seller = seller_of(world, &purchase, wrong);
            world.hear(
                seller,
                "",
                &Response::Expired { nonce: purchase.nonce().clone(), reason },
                1,
                Crash::No,
            );
            let ends_it = !wrong && reason == EndReason::Data && purchase.quote.limits.data_bytes.is_some();
            let state = match purchase.state {
                PurchaseState::Active if ends_it => PurchaseState::Expired,
                state => state,
            };
            assert_eq!(world.purchases[purchase.nonce()].state, state);
        }
        Op::Use { pick, bytes } => {
            if let Some(purchase) = purchase(world, pick) {
                world.use_tunnel(purchase.nonce(), bytes);
            }
        }
        Op::Switch { on } => world.set_active(on),
        Op::Tick { crash } => world.tick(crash),
        Op::Pass { secs } => world.pass(Duration::from_secs(secs.into())),
        Op::Jump { secs } => world.jump(secs),
        Op::Restart => world.restart(),
    }
}

fn picked<T: Clone>(all: &[T], pick: u16) -> Option<T> {
    all.get(usize::from(pick) % all.len().max(1)).cloned()
}

fn purchase(world: &World, pick: u16) -> Option<Purchase> {
    let all: Vec<_> = world.purchases.values().collect();
    picked(&all, pick).cloned()
}

fn seller_of(world: &World, purchase: &Purchase, wrong: bool) -> usize {
    let seller = world.sellers.iter().position(|seller| *seller == purchase.seller).unwrap();
    if wrong { (seller + 1) % SELLERS } else { seller }
}

fn crash() -> impl Strategy<Value = Crash> {
    prop_oneof![8 => Just(Crash::No), 1 => Just(Crash::BeforeCommit), 1 => Just(Crash::AfterCommit)]
}

fn quoted() -> impl Strategy<Value = Quoted> {
    let data_bytes = prop::option::of(500..2_000_u64);
    let quoted = (0..SELLERS, any::<u8>(), 1..100_u64, 1..2_000_u64, 60..8_000_u64, 0..4_u64, data_bytes);
    quoted.prop_map(|(seller, nonce, price_sat, valid_secs, duration_secs, payments, data_bytes)| Quoted {
        seller,
        nonce,
        price_sat,
        valid_secs,
        duration_secs,
        payments,
        data_bytes,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let pick = || any::<u16>();
    prop_oneof![
        4 => quoted().prop_map(Op::Quote),
        5 => (quoted(), prop::bool::weighted(0.7)).prop_map(|(quote, served)| Op::Buy { quote, served }),
        8 => (pick(), 0..12_u8, crash()).prop_map(|(pick, wrong, crash)| Op::Accept { pick, wrong, crash }),
        12 => (pick(), crash()).prop_map(|(pick, crash)| Op::Refresh { pick, crash }),
        4 => (pick(), 0..600_u64).prop_map(|(pick, limit_sat)| Op::AutoRefresh { pick, limit_sat }),
        12 => (pick(), 0..10_u8, crash()).prop_map(|(pick, how, crash)| Op::Network { pick, how, crash }),
        12 => (pick(), 0..12_u8, crash()).prop_map(|(pick, wrong, crash)| Op::Config { pick, wrong, crash }),
        5 => (pick(), 0..20_000_u64, 0..12_u8).prop_map(|(pick, remaining_secs, wrong)| Op::Refreshed { pick, remaining_secs, wrong }),
        2 => (pick(), 0..10_u8, 1..100_u64).prop_map(|(pick, which, sat)| Op::Refund { pick, which, sat }),
        1 => (pick(), prop_oneof![Just(EndReason::Time), Just(EndReason::Data)], prop::bool::weighted(0.2))
            .prop_map(|(pick, reason, wrong)| Op::Expired { pick, reason, wrong }),
        2 => (pick(), 0..600_u64).prop_map(|(pick, bytes)| Op::Use { pick, bytes }),
        1 => prop::bool::weighted(0.7).prop_map(|on| Op::Switch { on }),
        1 => crash().prop_map(|crash| Op::Tick { crash }),
        4 => (0..400_u32).prop_map(|secs| Op::Pass { secs }),
        3 => (0..8_000_u32).prop_map(|secs| Op::Pass { secs }),
        1 => (0..300_000_u32).prop_map(|secs| Op::Pass { secs }),
        1 => (-10_000..10_000_i32).prop_map(|secs| Op::Jump { secs }),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_paid_twice_or_late_and_no_key_outlives_its_contract(ops in vec(op(), 0..80)) {
        let mut world = World::new();
        for op in ops {
            step(&mut world, op);
        }
        world.finish();
    }
}
