//! The seller's interface agrees with the contracts, whatever happens to either.

use std::sync::Arc;
use std::time::Duration;

use imp_core::vpn::{PresharedKey, PrivateKey, PublicKey};
use imp_node::exit::fake::ExitCall;
use imp_node::runtime::tasks::Tasks;
use imp_node::vpn::Station;
use imp_node::wireguard::{DeviceMaker, DevicePeer, DeviceSpec};
use tokio::time::Instant;

use super::{HOUR_MS, IMP0, Machine, Pair, accept, ask, contract, is, outcomes, quote, seller, sells};
use crate::lab::{PATIENCE, SetClock, TestNode, network, wait_for};

/// Within what time it agrees.
const SECOND: Duration = Duration::from_secs(1);

fn by_hand(n: u8, address: &str) -> DevicePeer {
    DevicePeer {
        key: PrivateKey::from_random([n; 32]).public(),
        psk: PresharedKey::from_random([n; 32]),
        allowed: vec![address.parse().unwrap()],
        endpoint: None,
        keepalive_secs: None,
    }
}

async fn key_of(pair: &Pair, nonce: &str) -> PublicKey {
    contract(&pair.alice, nonce).await.unwrap().client_public_key.parse().unwrap()
}

#[tokio::test]
async fn peers_that_somebody_removes_adds_or_changes_are_put_right_within_a_second() {
    let pair = Pair::start().await;
    let nonce = pair.buy().await;
    let (key, devices) = (key_of(&pair, &nonce).await, &pair.sellers.devices);
    wait_for("the peer", async || devices.has(IMP0, &key)).await;

    let begun = Instant::now();
    assert!(devices.remove_by_hand(IMP0, &key));
    wait_for("the peer to be back", async || devices.has(IMP0, &key)).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());

    let foreign = by_hand(7, "10.0.0.77/32");
    let begun = Instant::now();
    assert!(devices.add_by_hand(IMP0, foreign.clone()));
    wait_for("the foreign peer to be gone", async || !devices.has(IMP0, &foreign.key)).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());

    let wider = DevicePeer { key, allowed: vec!["0.0.0.0/0".parse().unwrap()], ..by_hand(7, "10.0.0.2/32") };
    let begun = Instant::now();
    assert!(devices.add_by_hand(IMP0, wider));
    wait_for("its own address only", async || {
        devices.peers(IMP0).iter().all(|peer| peer.allowed == ["10.0.0.2/32".parse().unwrap()])
    })
    .await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());

    let put = devices.peers(IMP0).remove(0);
    let begun = Instant::now();
    let other_secret = DevicePeer { psk: PresharedKey::from_random([9; 32]), ..put.clone() };
    assert!(devices.add_by_hand(IMP0, other_secret));
    wait_for("the secret that was sold", async || devices.peers(IMP0)[0].psk == put.psk).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_interface_of_somebody_else_and_its_rules_are_left_alone() {
    let machine = Machine::new();
    let theirs = DeviceSpec {
        name: IMP0.to_owned(),
        private_key: PrivateKey::from_random([5; 32]),
        listen_port: 1,
        addresses: Vec::new(),
        mtu: 1420,
        fwmark: None,
    };
    let theirs = machine.devices.open(theirs).await.unwrap();
    let network = network(imp_lightning::fake::FakeOptions::default());
    let bob = TestNode::start_at(&network, "bob", machine.sells(), SetClock::default(), None).await;
    wait_for("the problem", async || seller(&bob).await.problem.contains("imp0 already")).await;
    assert!(machine.exit.calls().is_empty(), "{:?}", machine.exit.calls());
    assert_eq!(machine.devices.interface(IMP0).unwrap().listen_port, 1);
    drop(theirs);
    sells(&bob).await;
}

#[tokio::test]
async fn rules_that_are_flushed_are_put_again_within_a_second_or_the_device_is_closed() {
    let pair = Pair::start().await;
    let nonce = pair.buy().await;
    let (key, devices, exit) = (key_of(&pair, &nonce).await, &pair.sellers.devices, &pair.sellers.exit);
    wait_for("the peer", async || devices.has(IMP0, &key)).await;
    let begun = Instant::now();
    exit.flush();
    wait_for("the rules", async || exit.rules(IMP0).is_some()).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    assert_eq!(devices.made(), 1, "nobody was cut off");
    let begun = Instant::now();
    exit.refuse(Some("the network overlaps"));
    exit.flush();
    wait_for("no device", async || devices.interface(IMP0).is_none()).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    wait_for("the problem", async || seller(&pair.bob).await.problem.contains("overlaps")).await;
    exit.refuse(None);
    wait_for("the peer", async || devices.has(IMP0, &key)).await;
    assert!(exit.rules(IMP0).is_some() && seller(&pair.bob).await.problem.is_empty());
}

#[tokio::test]
async fn who_bought_before_the_network_was_changed_is_carried_with_the_old_address() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    let (key, devices) = (key_of(&pair, &nonce).await, pair.sellers.devices.clone());
    let mut options = pair.sellers.sells();
    options.vpn.seller.subnet = "10.213.0.0/24".parse().unwrap();
    pair.bob = pair.bob.restart_with(options).await;
    wait_for("the peer", async || devices.has(IMP0, &key)).await;
    let addresses = || devices.interface(IMP0).map(|interface| interface.addresses).unwrap_or_default();
    assert_eq!(addresses(), ["10.213.0.1/24".parse().unwrap(), "10.0.0.1/24".parse().unwrap()]);
    assert_eq!(pair.sellers.exit.rules(IMP0).unwrap().earlier, ["10.0.0.0/24".parse().unwrap()]);
    let quote = quote(&pair.alice, pair.bob.id).await;
    accept(&pair.alice, &quote).await.unwrap();
    is(&pair.alice, &quote.nonce, "active").await;
    assert_eq!(contract(&pair.alice, &quote.nonce).await.unwrap().client_ip, "10.213.0.2/24");
    assert!(devices.has(IMP0, &key_of(&pair, &quote.nonce).await) && devices.has(IMP0, &key));
}

#[tokio::test]
async fn the_rules_stand_before_the_interface_and_go_after_it() {
    let mut pair = Pair::start().await;
    pair.buy().await;
    let calls = pair.sellers.exit.calls();
    assert!(matches!(&calls[..2], [ExitCall::Prepare(spec), ExitCall::Open(name)]
        if spec.interface == IMP0 && name == IMP0 && spec.earlier.is_empty()));
    pair.bob.stop().await;
    assert!(pair.sellers.devices.interface(IMP0).is_none());
    assert!(pair.sellers.exit.rules(IMP0).is_none() && !pair.sellers.exit.is_open(IMP0));
    assert_eq!(pair.sellers.exit.calls().last(), Some(&ExitCall::Remove(IMP0.to_owned())));
}

#[tokio::test]
async fn a_device_that_dies_is_made_again_with_its_peers() {
    let pair = Pair::start().await;
    let nonce = pair.buy().await;
    let (key, devices) = (key_of(&pair, &nonce).await, &pair.sellers.devices);
    wait_for("the peer", async || devices.has(IMP0, &key)).await;
    assert!(devices.kill(IMP0));
    wait_for("the peer on another device", async || devices.has(IMP0, &key)).await;
    assert_eq!(devices.made(), 2);
    assert!(seller(&pair.bob).await.selling);
}

#[tokio::test]
async fn contracts_are_carried_after_a_kill_and_only_while_they_last() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    let key = key_of(&pair, &nonce).await;
    pair.bob.kill();
    wait_for("the device to be gone", async || pair.sellers.devices.interface(IMP0).is_none()).await;
    pair.bob = pair.bob.restart().await;
    wait_for("the peer", async || pair.sellers.devices.has(IMP0, &key)).await;
    pair.bob.kill();
    pair.clock.step(HOUR_MS);
    pair.bob = pair.bob.restart().await;
    sells(&pair.bob).await;
    is(&pair.bob, &nonce, "expired").await;
    assert!(!pair.sellers.devices.has(IMP0, &key));
}

#[tokio::test]
async fn contracts_are_carried_and_cut_off_while_there_is_no_lightning_node() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    let key = key_of(&pair, &nonce).await;
    pair.bob.kill();
    wait_for("the device to be gone", async || pair.sellers.devices.interface(IMP0).is_none()).await;
    let (store, tasks) = (pair.bob.reopened(), Tasks::new());
    let options = pair.sellers.sells().vpn;
    let clock = Arc::new(pair.clock.clone());
    let opened = Station::open(&store, &options.hosts, options.seller, clock, tasks.clone());
    let _station = opened.await.unwrap();
    wait_for("the peer", async || pair.sellers.devices.has(IMP0, &key)).await;
    let begun = Instant::now();
    pair.clock.step(HOUR_MS);
    wait_for("the peer to be off", async || !pair.sellers.devices.has(IMP0, &key)).await;
    assert!(begun.elapsed() < SECOND, "{:?}", begun.elapsed());
    tasks.drain(PATIENCE).await.unwrap();
    assert!(pair.sellers.devices.interface(IMP0).is_none());
}

#[tokio::test]
async fn who_stops_selling_carries_what_was_sold() {
    let mut pair = Pair::start().await;
    let nonce = pair.buy().await;
    let key = key_of(&pair, &nonce).await;
    let mut options = pair.sellers.sells();
    options.vpn.seller.sell = false;
    pair.bob = pair.bob.restart_with(options).await;
    wait_for("the peer", async || pair.sellers.devices.has(IMP0, &key)).await;
    assert!(!seller(&pair.bob).await.selling);
    pair.clock.step(HOUR_MS);
    wait_for("the device to be closed", async || pair.sellers.devices.interface(IMP0).is_none()).await;
    assert!(pair.sellers.exit.rules(IMP0).is_none());
}

#[tokio::test]
async fn without_the_rights_a_seller_says_what_is_missing_and_sells_once_it_has_them() {
    let machine = Machine::new();
    machine.devices.lack(Some("give CAP_NET_ADMIN to this process"));
    let network = network(imp_lightning::fake::FakeOptions::default());
    let bob = TestNode::start_at(&network, "bob", machine.sells(), SetClock::default(), None).await;
    let alice = TestNode::start(&network, "alice").await;
    wait_for("the problem", async || seller(&bob).await.problem.contains("CAP_NET_ADMIN")).await;
    let view = seller(&bob).await;
    assert!(view.enabled && !view.selling);
    ask(&alice, bob.id).await.unwrap();
    assert_eq!(super::has_said(&alice, "REFUSED").await.data["reason"], "not selling");
    assert!(machine.exit.calls().is_empty(), "nothing is touched");
    machine.devices.lack(None);
    sells(&bob).await;
    assert!(seller(&bob).await.problem.is_empty());
    let quote = quote(&alice, bob.id).await;
    accept(&alice, &quote).await.unwrap();
    is(&alice, &quote.nonce, "active").await;
}

#[tokio::test]
async fn a_configuration_that_is_not_delivered_is_taken_back_before_the_money_goes_back() {
    let pair = Pair::start().await;
    let quoted = pair.quote().await;
    // What bob sends gets nowhere, and his device cannot be changed.
    pair.network.set_route("bob", "alice", false);
    accept(&pair.alice, &quoted).await.unwrap();
    is(&pair.bob, &quoted.nonce, "configuring").await;
    let key = contract(&pair.bob, &quoted.nonce).await.unwrap().client_public_key;
    wait_for("the peer", async || pair.sellers.lets_in(&key)).await;
    pair.sellers.devices.fail_changes(Some("out of order"));
    pair.clock.step(16 * 60_000);
    is(&pair.bob, &quoted.nonce, "refund_due").await;
    // A try that is under way could still settle, and what it may cost is kept back.
    pair.bob.outbox_is_done().await;
    pair.network.set_route("bob", "alice", true);
    assert!(pair.sellers.lets_in(&key));
    assert_eq!(outcomes(&pair.bob).await, ["refund_due"]);
    let refund_sat = super::payments(&pair.bob).await[0].refund_sat;
    assert_eq!(refund_sat, 0, "nothing is sent while the buyer is let in");
    pair.sellers.devices.fail_changes(None);
    pair.in_time("the refund", async || outcomes(&pair.bob).await == ["refunded"]).await;
    assert!(!pair.sellers.lets_in(&key));
    is(&pair.bob, &quoted.nonce, "refunded").await;
    is(&pair.alice, &quoted.nonce, "refunded").await;
    let (mine, theirs) = (
        contract(&pair.alice, &quoted.nonce).await.unwrap(),
        contract(&pair.bob, &quoted.nonce).await.unwrap(),
    );
    assert_eq!((mine.refunded_sat, theirs.refunded_sat), (100, 100));
    assert_eq!(mine.reason, "not delivered");
}
