//! What strangers may send: envelopes that are damaged, foreign, repeated, early, or not text.

mod answers;
mod vpn;

use std::sync::Arc;

use imp_core::amount::Msat;
use imp_core::id::{MessageId, NodeId, Preimage};
use imp_core::record::{RecordTable, RecordType, Service};
use imp_core::wire::envelope::{Binding, CarrierBinding, Envelope, Header, PartOf};
use imp_lightning::fake::{FakeNetwork, FakeNode, FakeOptions};
use imp_lightning::{Keysend, LightningEvent, LightningNode, Network};

use crate::lab::{TestNode, network, wait_for};

/// A node without a daemon, which pays whatever it likes.
pub(crate) struct Stranger {
    pub(crate) node: Arc<FakeNode>,
    next: u16,
}

impl Stranger {
    pub(crate) fn new(network: &FakeNetwork, name: &str) -> Self {
        Self { node: network.node(name), next: 0 }
    }

    pub(crate) fn preimage(&mut self) -> Preimage {
        self.next += 1;
        let mut bytes = *self.node.id().as_bytes().last_chunk().unwrap();
        bytes[..2].copy_from_slice(&self.next.to_be_bytes());
        Preimage(bytes)
    }

    /// The bytes of an envelope for `to`, bound to a payment.
    async fn envelope(&self, to: NodeId, header: Header, chunk: &[u8], preimage: &Preimage) -> Vec<u8> {
        self.envelope_of(messages(), to, header, chunk, preimage).await
    }

    pub(crate) async fn envelope_of(
        &self,
        record_type: RecordType,
        to: NodeId,
        header: Header,
        chunk: &[u8],
        preimage: &Preimage,
    ) -> Vec<u8> {
        let binding = Binding {
            genesis_hash: Network::Regtest.genesis_hash(),
            recipient: to,
            record_type,
            carrier: CarrierBinding::keysend(preimage),
        };
        let signature = self.node.sign(&header.signing_bytes(&binding, chunk)).await.unwrap();
        Envelope::seal(header, chunk, signature, &self.node.id()).unwrap().encode()
    }

    /// Pays a record to `to` and waits until the payment has settled.
    async fn pay(&self, to: NodeId, preimage: Preimage, record: Vec<u8>) {
        let keysend = Keysend {
            recipient: to,
            preimage,
            amount: Msat::from_sat(1),
            fee_limit: Msat::ZERO,
            record: Some((messages(), record)),
        };
        self.node.send_keysend(keysend).await.unwrap();
        loop {
            let event = self.node.next_event().await;
            self.node.acknowledge_event().await.unwrap();
            if matches!(event, LightningEvent::PaymentSettled { hash, .. } if hash == preimage.payment_hash())
            {
                return;
            }
        }
    }

    async fn send(&mut self, to: NodeId, header: Header, chunk: &[u8]) {
        let preimage = self.preimage();
        let record = self.envelope(to, header, chunk, &preimage).await;
        self.pay(to, preimage, record).await;
    }
}

fn messages() -> RecordType {
    RecordTable::default().record_type(Service::Message)
}

pub(crate) fn id(n: u8) -> MessageId {
    MessageId::from_random([n; 16])
}

pub(crate) fn header(n: u8, stream: u32, seq: u32, floor_back: u16) -> Header {
    Header { id: id(n), stream, seq, floor_back, part: None, reply_to: None, unordered: false }
}

async fn bob_and_mallory() -> (FakeNetwork, TestNode, Stranger) {
    let network = network(FakeOptions::default());
    let bob = TestNode::start(&network, "bob").await;
    let mallory = Stranger::new(&network, "mallory");
    (network, bob, mallory)
}

/// Waits until bob has taken so many payments in, by whatever counter counts them.
async fn counted(bob: &TestNode, counter: &'static str, count: u64) {
    wait_for(counter, async || bob.counter(counter).await == count).await;
}

#[tokio::test]
async fn what_is_damaged_foreign_or_of_a_later_version_is_counted_and_not_published() {
    let (network, bob, mut mallory) = bob_and_mallory().await;
    let carol = TestNode::start(&network, "carol").await;

    let preimage = mallory.preimage();
    let mut later = mallory.envelope(bob.id, header(1, 1, 0, 0), b"later", &preimage).await;
    later[0] = 2;
    mallory.pay(bob.id, preimage, later).await;
    counted(&bob, "inbox_unread", 1).await;

    let preimage = mallory.preimage();
    let mut damaged = mallory.envelope(bob.id, header(2, 1, 0, 0), b"damaged", &preimage).await;
    *damaged.last_mut().unwrap() ^= 1;
    mallory.pay(bob.id, preimage, damaged).await;
    counted(&bob, "inbox_unverified", 1).await;

    let preimage = mallory.preimage();
    let for_carol = mallory.envelope(carol.id, header(3, 1, 0, 0), b"for carol", &preimage).await;
    mallory.pay(bob.id, preimage, for_carol).await;
    counted(&bob, "inbox_unverified", 2).await;

    let (first, second) = (mallory.preimage(), mallory.preimage());
    let bound_to_first = mallory.envelope(bob.id, header(4, 1, 0, 0), b"replayed", &first).await;
    mallory.pay(bob.id, second, bound_to_first).await;
    counted(&bob, "inbox_unverified", 3).await;

    let preimage = mallory.preimage();
    mallory.pay(bob.id, preimage, b"no envelope at all".to_vec()).await;
    counted(&bob, "inbox_unread", 2).await;
    let preimage = mallory.preimage();
    mallory.pay(bob.id, preimage, vec![1, 0, 5]).await;
    counted(&bob, "inbox_malformed", 1).await;

    assert!(bob.journal().await.is_empty());
    mallory.send(bob.id, header(5, 1, 0, 0), b"at last").await;
    bob.has_published(1).await;
    assert_eq!(bob.texts().await, ["at last"], "none of it stands in the way of what is good");
}

#[tokio::test]
async fn a_part_that_is_paid_twice_counts_once() {
    let (_network, bob, mut mallory) = bob_and_mallory().await;
    mallory.send(bob.id, header(1, 1, 0, 0), b"once").await;
    mallory.send(bob.id, header(1, 1, 1, 0), b"once, under another number").await;
    counted(&bob, "inbox_repeated", 1).await;
    assert_eq!(bob.texts().await, ["once"]);
}

#[tokio::test]
async fn what_comes_early_is_held_over_a_restart_until_the_gap_is_filled() {
    let (_network, bob, mut mallory) = bob_and_mallory().await;
    mallory.send(bob.id, header(1, 1, 0, 0), b"zero").await;
    mallory.send(bob.id, header(3, 1, 2, 1), b"two").await;
    mallory.send(bob.id, header(4, 1, 3, 2), b"three").await;
    counted(&bob, "inbox_parts", 3).await;
    assert_eq!(bob.texts().await, ["zero"]);
    let bob = bob.restart().await;
    assert_eq!(bob.texts().await, ["zero"]);
    mallory.send(bob.id, header(2, 1, 1, 0), b"one").await;
    bob.has_published(4).await;
    assert_eq!(bob.texts().await, ["zero", "one", "two", "three"]);
}

#[tokio::test]
async fn the_next_run_of_the_sender_lets_out_what_the_last_one_left() {
    let (_network, bob, mut mallory) = bob_and_mallory().await;
    mallory.send(bob.id, header(1, 1, 0, 0), b"zero").await;
    mallory.send(bob.id, header(2, 1, 2, 1), b"two, and one never came").await;
    counted(&bob, "inbox_parts", 2).await;
    mallory.send(bob.id, header(3, 9, 0, 0), b"of the next run").await;
    bob.has_published(3).await;
    assert_eq!(bob.texts().await, ["zero", "two, and one never came", "of the next run"]);
    mallory.send(bob.id, header(4, 1, 1, 0), b"one, after all").await;
    bob.has_published(4).await;
    let last = bob.journal().await.pop().unwrap().event;
    assert_eq!((last.data.as_str(), last.late), ("one, after all", true));
}

#[tokio::test]
async fn a_floor_that_moves_says_that_a_gap_was_given_up() {
    let (_network, bob, mut mallory) = bob_and_mallory().await;
    mallory.send(bob.id, header(1, 1, 5, 0), b"five").await;
    mallory.send(bob.id, header(2, 1, 7, 1), b"seven, six is on its way").await;
    counted(&bob, "inbox_parts", 2).await;
    mallory.send(bob.id, header(3, 1, 8, 1), b"eight, six was given up").await;
    bob.has_published(3).await;
    assert_eq!(bob.texts().await, ["five", "seven, six is on its way", "eight, six was given up"]);
}

#[tokio::test]
async fn what_is_no_text_is_counted_and_does_not_hold_up_what_follows() {
    let (_network, bob, mut mallory) = bob_and_mallory().await;
    mallory.send(bob.id, header(1, 1, 0, 0), &[0xff, 0xfe]).await;
    counted(&bob, "inbox_not_text", 1).await;
    mallory.send(bob.id, header(2, 1, 1, 0), b"text").await;
    bob.has_published(1).await;
    assert_eq!(bob.texts().await, ["text"]);
}

#[tokio::test]
async fn parts_of_two_senders_do_not_mix_and_an_unfinished_message_outlives_a_restart() {
    let (network, bob, mut mallory) = bob_and_mallory().await;
    let mut eve = Stranger::new(&network, "eve");
    let part = |index| Header { part: Some(PartOf { index, count: 2 }), ..header(1, 1, 0, 0) };
    mallory.send(bob.id, part(0), b"mallory's first, ").await;
    eve.send(bob.id, part(1), b"eve's second").await;
    counted(&bob, "inbox_parts", 2).await;
    assert!(bob.journal().await.is_empty());
    let bob = bob.restart().await;
    mallory.send(bob.id, part(1), b"mallory's second").await;
    bob.has_published(1).await;
    let event = bob.journal().await.remove(0).event;
    assert_eq!(event.data, "mallory's first, mallory's second");
    assert_eq!((event.from, event.amount_sat), (mallory.node.id(), 2));
}

#[tokio::test]
async fn a_part_that_does_not_fit_the_others_is_refused() {
    let (_network, bob, mut mallory) = bob_and_mallory().await;
    let part = |index, count| Header { part: Some(PartOf { index, count }), ..header(1, 1, 0, 0) };
    mallory.send(bob.id, part(0, 2), b"of two, ").await;
    mallory.send(bob.id, part(1, 3), b"of three").await;
    counted(&bob, "inbox_part_refused", 1).await;
    mallory.send(bob.id, part(1, 2), b"of two").await;
    bob.has_published(1).await;
    assert_eq!(bob.texts().await, ["of two, of two"]);
}

#[tokio::test]
async fn an_id_that_is_used_for_two_messages_hurts_only_its_sender_and_no_restart() {
    let (network, bob, mut mallory) = bob_and_mallory().await;
    let part = |n, index| Header { part: Some(PartOf { index, count: 2 }), ..header(n, 1, 9, 9) };
    // A message that is held, and then a part under its id; and the other way round.
    mallory.send(bob.id, header(1, 1, 5, 5), b"held").await;
    mallory.send(bob.id, part(1, 1), b"a part under the same id").await;
    mallory.send(bob.id, part(2, 1), b"a part").await;
    mallory.send(bob.id, header(2, 1, 6, 6), b"whole, under the same id").await;
    counted(&bob, "inbox_part_refused", 2).await;
    let bob = bob.restart().await;
    let mut eve = Stranger::new(&network, "eve");
    eve.send(bob.id, header(3, 1, 0, 0), b"another sender").await;
    bob.has_published(1).await;
    mallory.send(bob.id, header(4, 2, 0, 0), b"of the next run").await;
    bob.has_published(3).await;
    assert_eq!(bob.texts().await, ["another sender", "held", "of the next run"]);
}
