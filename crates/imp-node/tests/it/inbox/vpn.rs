//! What comes in for the VPN: it is kept for it, with the payment that brought it.

use std::time::Duration;

use imp_core::federation::{Denial, Peer, Rights, Rules};
use imp_core::vpn::{Nonce, PrivateKey, Request};
use imp_node::federation::{Federation, FederationOptions, FederationPorts};
use imp_node::inbox::{Inbox, Received};
use imp_node::outbox::{Outbox, OutboxOptions, TEXT_BYTES};
use imp_node::runtime::clock::SystemClock;
use imp_node::runtime::tasks::Tasks;
use imp_node::store::federate::{FederateChange, PeerRow};
use imp_node::store::inbox::WithheldQuery;
use imp_node::store::journal::ServiceSet;
use imp_node::store::vpn::VpnInbound;
use imp_node::store::{FederateStore, InboxStore, JournalStore, SqliteStore, VpnStore};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;
use crate::lab::{EVERYTHING, open};

/// An inbox with the daemon's reception, and nobody who takes what is kept.
struct Bare {
    inbox: Inbox,
    store: SqliteStore,
    own: NodeId,
    arrived: Arc<Notify>,
    mallory: Stranger,
    _dir: TempDir,
}

impl Bare {
    async fn start(rules: Rules, blocked: bool) -> Self {
        let network = network(FakeOptions::default());
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), None);
        let (node, mallory) = (network.node("bob"), Stranger::new(&network, "mallory"));
        let peer = Peer { blocked, ..Peer::default() };
        let peers = vec![PeerRow { node: mallory.node.id(), peer }];
        store.commit_federation(FederateChange { peers, ..FederateChange::default() }).await.unwrap();
        let (own, port, clock) = (node.id(), Arc::new(store.clone()), Arc::new(SystemClock));
        let (records, tasks) = (RecordTable::default(), Tasks::new());
        let options = OutboxOptions {
            fee_limit: None,
            records: records.clone(),
            answers: Msat::ZERO,
            text_bytes: TEXT_BYTES,
        };
        let outbox = Outbox::open(port.clone(), node, clock.clone(), tasks.clone(), options).await.unwrap();
        let ports = FederationPorts { store: port.clone(), outbox, clock: clock.clone(), tasks };
        let options = FederationOptions { rules, ..FederationOptions::default() };
        let federation = Federation::open(ports, own, options).await.unwrap();
        let arrived = Arc::new(Notify::new());
        let front = Box::new(federation.front(Arc::clone(&arrived)));
        let genesis = Network::Regtest.genesis_hash();
        let inbox = Inbox::open(port, clock, records, own, genesis, front).await.unwrap();
        Self { inbox, store, own, arrived, mallory, _dir: dir }
    }

    /// A payment of 2.5 sat with a part of a message for the VPN.
    async fn pay(&mut self, header: Header, chunk: &str) -> VpnInbound {
        let preimage = self.mallory.preimage();
        let vpn = RecordTable::default().record_type(Service::Vpn);
        let id = header.id;
        let reply_to = header.reply_to.as_ref().map(ToString::to_string).unwrap_or_default();
        let record = self.mallory.envelope_of(vpn, self.own, header, chunk.as_bytes(), &preimage).await;
        let (hash, amount) = (preimage.payment_hash(), Msat(2_500));
        let received = Received { hash, amount, preimage, records: vec![(vpn.number(), record)] };
        self.inbox.take(received.clone()).await.unwrap();
        // As after a crash before it was acknowledged.
        self.inbox.take(received).await.unwrap();
        let sender = self.mallory.node.id();
        VpnInbound {
            hash,
            sender,
            id,
            reply_to,
            text: chunk.to_owned(),
            amount,
            at: Default::default(),
            repeated: false,
        }
    }

    /// What is kept. When each came is checked by itself.
    async fn kept(&self) -> Vec<VpnInbound> {
        let mut kept = self.store.vpn_inbound(100).await.unwrap();
        for inbound in &mut kept {
            assert!(std::mem::take(&mut inbound.at).0 > 0);
        }
        kept
    }

    async fn withheld(&self) -> Vec<(MessageId, Denial)> {
        let query = WithheldQuery { limit: 100, ..WithheldQuery::default() };
        let page = self.store.list_withheld(query).await.unwrap();
        page.messages.into_iter().map(|row| (row.id, row.reason)).collect()
    }

    async fn has_arrived(&self) {
        tokio::time::timeout(Duration::from_secs(20), self.arrived.notified()).await.expect("it is told");
    }
}

fn unordered(n: u8) -> Header {
    Header { unordered: true, ..header(n, 1, 0, 0) }
}

fn nonce() -> Nonce {
    "a".parse().unwrap()
}

fn contract() -> String {
    let public_key = PrivateKey::from_random([1; 32]).public();
    Request::Contract { nonce: nonce(), price_sat: 2, public_key }.to_json()
}

#[tokio::test]
async fn a_message_is_kept_once_with_its_payment_and_published_by_nobody() {
    let mut bob = Bare::start(Rules::default(), false).await;
    let first = bob.pay(unordered(1), &contract()).await;
    bob.has_arrived().await;
    let second = bob.pay(unordered(2), "no text of this service").await;
    bob.has_arrived().await;
    assert_eq!(bob.kept().await, [first, second]);
    assert!(bob.store.read_events(0, ServiceSet::all(), EVERYTHING).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn what_is_paid_twice_is_kept_twice_unless_it_only_asks() {
    let mut bob = Bare::start(Rules::default(), false).await;
    let first = bob.pay(unordered(1), &contract()).await;
    let again = bob.pay(unordered(1), &contract()).await;
    let asked = bob.pay(unordered(2), &Request::Quote.to_json()).await;
    bob.pay(unordered(2), &Request::Quote.to_json()).await;
    let repeated = VpnInbound { repeated: true, ..again };
    assert_eq!(bob.kept().await, [first, repeated, asked]);
    assert_eq!(bob.store.counter("inbox_repeated").await, Ok(2));
}

#[tokio::test]
async fn several_payments_for_one_message_count_together() {
    let mut bob = Bare::start(Rules::default(), false).await;
    let part = |index| Header { part: Some(PartOf { index, count: 2 }), ..unordered(1) };
    let last = bob.pay(part(1), "and the end").await;
    assert!(bob.kept().await.is_empty());
    bob.pay(part(0), "the begin ").await;
    let whole = VpnInbound { text: "the begin and the end".to_owned(), amount: Msat(5_000), ..last };
    assert_eq!(bob.kept().await, [whole]);
}

#[tokio::test]
async fn of_a_text_that_is_too_long_no_more_is_kept_than_shows_it() {
    let mut bob = Bare::start(Rules::default(), false).await;
    let part = |index| Header { part: Some(PartOf { index, count: 9 }), ..unordered(1) };
    for index in 0..9 {
        bob.pay(part(index), &"é".repeat(250)).await;
    }
    assert_eq!(bob.kept().await.pop().unwrap().text, "é".repeat(2_049));
}

#[tokio::test]
async fn what_had_to_wait_for_its_turn_comes_with_its_payment_too() {
    let mut bob = Bare::start(Rules::default(), false).await;
    let first = bob.pay(header(1, 1, 0, 0), "first").await;
    let third = bob.pay(header(3, 1, 2, 2), "third").await;
    assert_eq!(bob.kept().await, std::slice::from_ref(&first));
    let second = bob.pay(header(2, 1, 1, 1), "second").await;
    assert_eq!(bob.kept().await, [first, second, third]);
}

#[tokio::test]
async fn who_may_not_ask_is_withheld_and_what_was_paid_for_comes_all_the_same() {
    let no_quotes = Rights { vpn_quotes: false, ..Rights::ALL };
    let rules = Rules { stranger_rights: no_quotes, ..Rules::default() };
    for (rules, blocked, denial) in
        [(rules, false, Denial::NoRight), (Rules::default(), true, Denial::Blocked)]
    {
        let mut bob = Bare::start(rules, blocked).await;
        bob.pay(unordered(1), &Request::Quote.to_json()).await;
        let mut paid = vec![bob.pay(unordered(2), &contract()).await];
        let refresh = Request::Refresh { nonce: nonce(), price_sat: 2 };
        paid.push(bob.pay(unordered(3), &refresh.to_json()).await);
        let status = Request::Status { nonce: nonce(), id: id(3) };
        paid.push(bob.pay(unordered(4), &status.to_json()).await);
        paid.push(bob.pay(unordered(5), r#"{"recordId":"VPN_RESPONSE","type":"REFUND"}"#).await);
        assert_eq!(bob.kept().await, paid);
        assert_eq!(bob.withheld().await, [(id(1), denial)]);
    }
}
