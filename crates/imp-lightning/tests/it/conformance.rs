//! What every adapter does. A behaviour is a function over a [`Lab`]; [`conformance!`] makes a test of each.

pub(crate) mod closing;
pub(crate) mod events;
pub(crate) mod invoice;
pub(crate) mod keysend;
pub(crate) mod node;
pub(crate) mod resume;
pub(crate) mod wallet;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use imp_core::amount::Msat;
use imp_core::id::{NodeId, PaymentHash, Preimage};
use imp_core::record::{RecordTable, RecordType, Service};
use imp_lightning::{FailureReason, Keysend, LightningEvent, LightningNode, ReceivedKind};

/// Longer than anything in the suite takes, reconnecting included.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node of the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
    /// Only after [`Lab::add_third`].
    C,
}

/// Two nodes of one adapter that are peers: a channel of 1,000,000 sat, half of it on each side, usable.
pub(crate) trait Lab: Sized {
    /// Makes the two nodes. No event is waiting.
    fn new() -> impl Future<Output = Self>;
    /// A node as it runs now.
    fn node(&self, side: Side) -> Arc<dyn LightningNode>;
    /// Where a node listens.
    fn address(&self, side: Side) -> String;
    /// Stops a node; its state is kept.
    fn stop(&mut self, side: Side) -> impl Future<Output = ()>;
    /// Starts a node that was stopped, on its state.
    fn start(&mut self, side: Side) -> impl Future<Output = ()>;
    /// Adds a third node with a channel to B like the one between A and B.
    fn add_third(&mut self) -> impl Future<Output = ()>;
    /// Mines blocks, and lets the nodes see them.
    fn mine(&self, blocks: u32) -> impl Future<Output = ()>;
    /// Stops everything.
    fn down(self) -> impl Future<Output = ()>;
}

/// Makes a test of every behaviour.
macro_rules! conformance {
    ($lab:ty, #[$test:meta]) => {
        $crate::conformance::conformance! { @tests $lab, #[$test],
            keysend::a_keysend_arrives_with_its_record_amount_and_preimage,
            keysend::a_keysend_without_a_record_arrives_as_one,
            keysend::the_same_keysend_twice_pays_once,
            keysend::an_unknown_node_is_no_route,
            keysend::a_peer_that_is_away_is_no_route,
            keysend::more_than_the_balance_is_refused,
            keysend::a_record_of_1000_bytes_arrives_and_a_larger_one_is_refused,
            keysend::payments_that_make_no_sense_are_refused,
            keysend::more_payments_than_slots_are_busy_and_pass_later,
            keysend::a_refused_keysend_fails_for_the_recipients_reason,
            keysend::a_refusal_before_the_start_leaves_the_keysend_unused,
            events::an_event_repeats_until_it_is_acknowledged,
            events::an_unacknowledged_event_is_told_again_after_a_restart,
            events::nothing_is_acknowledged_before_it_was_handed_out,
            resume::a_settled_keysend_is_known_after_a_restart,
            resume::a_failed_keysend_is_known_after_a_restart,
            resume::a_failure_is_undecided_until_its_event_has_told_why,
            resume::a_keysend_that_never_went_is_sent,
            resume::a_keysend_in_flight_over_a_restart_pays_once,
            resume::a_settled_invoice_is_known_after_a_restart,
            resume::a_failed_invoice_is_known_after_a_restart,
            resume::an_invoice_that_was_never_paid_is_paid,
            resume::an_invoice_in_flight_over_a_restart_is_paid_once,
            resume::an_invoice_that_has_expired_meanwhile_is_not_paid,
            resume::an_invoice_that_nobody_can_pay_is_not_resumed,
            invoice::an_invoice_is_paid_once_and_both_ends_know,
            invoice::each_bad_invoice_has_its_own_error,
            invoice::an_invoice_in_a_link_of_capitals_is_paid,
            invoice::an_invoice_for_more_than_the_balance_is_refused,
            invoice::hashes_of_others_are_not_known,
            invoice::terms_that_no_invoice_can_say_are_refused,
            node::a_signature_names_its_signer,
            node::both_ends_agree_on_their_channel,
            node::after_the_shutdown_every_call_is_unavailable,
            node::a_peer_that_was_away_is_back_within_seconds,
            node::a_new_channel_is_announced_by_an_event_and_usable,
            node::impossible_channels_and_addresses_are_refused,
            node::addresses_are_fresh_and_of_the_network,
            node::the_chain_is_followed,
            node::this_node_and_its_peers_are_known_and_strangers_are_not,
            wallet::onchain_payments_reach_the_other_node,
            wallet::all_but_the_reserve_can_be_sent,
            wallet::onchain_payments_that_cannot_be_made_are_refused,
            closing::a_peer_with_a_channel_stays_connected,
            closing::a_channel_closed_by_both_ends_is_money_on_the_chain,
            closing::a_channel_closed_alone_is_money_on_the_chain_later,
            closing::the_end_of_a_channel_that_was_never_ready_is_no_event,
            closing::a_channel_that_was_ready_in_an_earlier_run_closes_with_an_event,
        }
    };
    (@tests $lab:ty, #[$test:meta], $($group:ident :: $name:ident,)*) => {
        $(
            #[$test]
            async fn $name() {
                let mut lab = <$lab as $crate::conformance::Lab>::new().await;
                $crate::conformance::$group::$name(&mut lab).await;
                $crate::conformance::Lab::down(lab).await;
            }
        )*
    };
}
pub(crate) use conformance;

/// A payment of 1 sat that no other test makes.
pub(crate) fn keysend(recipient: NodeId, record: &[u8]) -> Keysend {
    Keysend {
        recipient,
        preimage: Preimage(fresh_bytes()),
        amount: Msat::from_sat(1),
        fee_limit: Msat::from_sat(10),
        record: Some((record_type(), record.to_vec())),
    }
}

pub(crate) fn record_type() -> RecordType {
    RecordTable::default().record_type(Service::Message)
}

/// 32 bytes that no other call gets.
pub(crate) fn fresh_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

/// A key that no node of the lab has.
pub(crate) fn stranger() -> NodeId {
    NodeId::from(secp256k1::SecretKey::from_slice(&fresh_bytes()).unwrap().public_key(secp256k1::SECP256K1))
}

/// Waits until `look` finds something; fails the test after [`PATIENCE`].
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
}

/// Acknowledges events until one is what is looked for, and that one, too.
pub(crate) async fn event<T>(
    node: &dyn LightningNode,
    what: &str,
    mut pick: impl FnMut(&LightningEvent) -> Option<T>,
) -> T {
    let looking = async {
        loop {
            let event = node.next_event().await;
            let found = pick(&event);
            node.acknowledge_event().await.unwrap();
            if let Some(found) = found {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("no event: {what}"))
}

/// Waits until a payment of the node has ended.
pub(crate) async fn outcome(node: &dyn LightningNode, hash: PaymentHash) -> Result<Preimage, FailureReason> {
    event(node, "the end of a payment", |event| match event {
        LightningEvent::PaymentSettled { hash: ended, preimage, .. } if *ended == hash => Some(Ok(*preimage)),
        LightningEvent::PaymentFailed { hash: ended, reason } if *ended == hash => Some(Err(reason.clone())),
        _ => None,
    })
    .await
}

/// Waits until the node has been paid.
pub(crate) async fn receipt(node: &dyn LightningNode, hash: PaymentHash) -> (Msat, ReceivedKind) {
    event(node, "a payment received", |event| match event {
        LightningEvent::PaymentReceived { hash: received, amount, kind } if *received == hash => {
            Some((*amount, kind.clone()))
        }
        _ => None,
    })
    .await
}

/// Waits until a payment of 1 sat from A to B passes: all that was away is back.
pub(crate) async fn paid<L: Lab>(lab: &L) {
    let (a, b) = (lab.node(Side::A), lab.node(Side::B));
    let payment = keysend(b.id(), b"fence");
    let hash = payment.preimage.payment_hash();
    until("a payment can be begun", async || a.send_keysend(payment.clone()).await.ok()).await;
    assert!(outcome(&*a, hash).await.is_ok());
    receipt(&*b, hash).await;
}

/// What a node holds in its usable channels.
pub(crate) async fn balance(node: &dyn LightningNode) -> Msat {
    node.status().await.unwrap().in_channels
}
